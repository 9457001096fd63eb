# The registry runs, and restarts when a file that it reads has changed.
{%- from 'docker_registry/map.jinja' import names with context %}

include:
  - .config

Registry is running:
  registry_service.running:
    - name: {{ names.service | json }}
    - require:
      - registry_host: Storage directory exists
    - watch:
      - file: Registry is configured
      - file: Registry has a certificate
      - file: Registry has a key
      - registry_tls: Registry certificate is signed by its own CA
      - registry_htpasswd: Registry htpasswd file is managed
      - file: Registry has a quadlet
      - file: Registry has a unit
