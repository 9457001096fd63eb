include:
  - .modules

Images are mirrored:
  registry_sync.synced:
    - require:
      - test: Modules of the formula are loaded
