{%- from 'docker_registry/map.jinja' import names with context %}

include:
  - .package

Registry has a place for its images:
  registry_host.storage:
    - default: {{ names.storage | json }}
    - user: {{ names.user | json }}
    - group: {{ names.group | json }}
    - require:
      - pkg: Registry package is installed

Registry is configured:
  file.serialize:
    - name: {{ names.config | json }}
    - dataset: __slot__:salt:registry_host.service_config({{ names.config | json }}, {{ names.storage | json }})
    - serializer: yaml
    - user: {{ names.user | json }}
    - group: {{ names.group | json }}
    - mode: '0600'
    - makedirs: true
    # It holds http.secret, and may hold the keys of an object store.
    - show_changes: false
    - unless:
      - fun: registry_host.left_alone
    - require:
      - pkg: Registry package is installed
