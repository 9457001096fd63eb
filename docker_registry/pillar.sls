# With a mistake in the pillar nothing is undone by halves, and no job runs at other times, does something else, or fails
# where nobody looks.
include:
  - .modules

Pillar has no mistake:
  registry_sync.pillar_checked:
    - require:
      - test: Modules of the formula are loaded
