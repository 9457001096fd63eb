# Nothing is changed: the registry is asked whether it answers and holds images.

include:
  - .modules

Registry serves the images:
  registry_sync.serving:
    - require:
      - test: Modules of the formula are loaded
