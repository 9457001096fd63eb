{%- from 'docker_registry/map.jinja' import names with context %}

include:
  - .guard

Registry package is installed:
  pkg.installed:
    - name: {{ names.package | json }}
    - unless:
      - fun: registry_host.left_alone
    - require:
      - registry_host: Registry is left alone unless forced
