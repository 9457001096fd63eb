{%- from 'docker_registry/map.jinja' import names with context %}

include:
  - .modules

Registry is left alone unless forced:
  registry_host.configuration_guard:
    - config: {{ names.config | json }}
    - storage: {{ names.storage | json }}
    - require:
      - test: Modules of the formula are loaded
