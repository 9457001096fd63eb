# The registry's configuration, and the files that it names.
{%- from 'docker_registry/map.jinja' import names with context %}
{%- set directory = names.config.rpartition('/')[0] %}

include:
  - .package

Registry has a place for its images:
  registry_host.storage:
    - default: {{ names.storage | json }}
    - user: {{ names.user | json }}
    - group: {{ names.group | json }}
    - require:
      - pkg: Registry package is installed

Registry has a certificate:
  file.managed:
    - name: {{ directory }}/tls-certificate.pem
    - contents: __slot__:salt:registry_host.text(certificate)
    - user: {{ names.user | json }}
    - group: {{ names.group | json }}
    - mode: '0644'
    - makedirs: true
    - onlyif:
      - fun: registry_host.configures
        what: certificate
    - require:
      - pkg: Registry package is installed

Registry has a key:
  file.managed:
    - name: {{ directory }}/tls-key.pem
    - contents: __slot__:salt:registry_host.text(key)
    - user: {{ names.user | json }}
    - group: {{ names.group | json }}
    - mode: '0600'
    - makedirs: true
    - show_changes: false
    - onlyif:
      - fun: registry_host.configures
        what: key
    - require:
      - pkg: Registry package is installed

Registry knows its users:
  file.managed:
    - name: {{ directory }}/htpasswd
    - contents: __slot__:salt:registry_host.text(htpasswd)
    - user: {{ names.user | json }}
    - group: {{ names.group | json }}
    - mode: '0600'
    - makedirs: true
    - show_changes: false
    - onlyif:
      - fun: registry_host.configures
        what: htpasswd
    - require:
      - pkg: Registry package is installed

Registry is configured:
  file.serialize:
    - name: {{ names.config | json }}
    - dataset: __slot__:salt:registry_host.service_config({{ names.config }}, {{ names.storage }})
    - serializer: yaml
    - user: {{ names.user | json }}
    - group: {{ names.group | json }}
    - mode: '0600'
    - makedirs: true
    # It holds http.secret, and may hold the keys of an object store.
    - show_changes: false
    - onlyif:
      - fun: registry_host.configures
        what: service
    - require:
      - pkg: Registry package is installed
