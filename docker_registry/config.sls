# The registry's configuration, and the files that it names.
{%- from 'docker_registry/map.jinja' import names with context %}
{%- set directory = names.config.rpartition('/')[0] %}

include:
  - .package

Storage directory exists:
  registry_host.storage:
    - default: {{ names.storage | json }}
    - user: __slot__:salt:registry_host.owner({{ names.user }})
    - group: __slot__:salt:registry_host.owner({{ names.group }})
    - require:
      - pkg: Registry package is installed

Configuration directory exists:
  file.directory:
    - name: {{ directory }}
    - mode: '0755'
    - makedirs: true
    - onlyif:
      - fun: registry_host.should_manage
        what: service
    - require:
      - pkg: Registry package is installed

Registry has a certificate:
  file.managed:
    - name: {{ directory }}/tls-certificate.pem
    - contents: __slot__:salt:registry_host.text(certificate)
    - user: __slot__:salt:registry_host.owner({{ names.user }})
    - group: __slot__:salt:registry_host.owner({{ names.group }})
    - mode: '0644'
    - onlyif:
      - fun: registry_host.should_manage
        what: certificate
    - require:
      - file: Configuration directory exists

Registry has a key:
  file.managed:
    - name: {{ directory }}/tls-key.pem
    - contents: __slot__:salt:registry_host.text(key)
    - user: __slot__:salt:registry_host.owner({{ names.user }})
    - group: __slot__:salt:registry_host.owner({{ names.group }})
    - mode: '0600'
    - show_changes: false
    - onlyif:
      - fun: registry_host.should_manage
        what: key
    - require:
      - file: Configuration directory exists

Registry certificate is signed by its own CA:
  registry_tls.certificate:
    - name: {{ directory }}
    - user: __slot__:salt:registry_host.owner({{ names.user }})
    - group: __slot__:salt:registry_host.owner({{ names.group }})
    - require:
      - file: Configuration directory exists

Registry CA is published to the mine:
  registry_tls.ca_published:
    - require:
      - registry_tls: Registry certificate is signed by its own CA

Registry htpasswd file is managed:
  registry_htpasswd.managed:
    - name: {{ directory }}/htpasswd
    - user: __slot__:salt:registry_host.owner({{ names.user }})
    - group: __slot__:salt:registry_host.owner({{ names.group }})
    - require:
      - file: Configuration directory exists

Registry is configured:
  file.serialize:
    - name: {{ names.config | json }}
    - dataset: __slot__:salt:registry_host.service_config({{ names.config }}, {{ names.storage }})
    - serializer: yaml
    - user: __slot__:salt:registry_host.owner({{ names.user }})
    - group: __slot__:salt:registry_host.owner({{ names.group }})
    - mode: '0600'
    # It holds http.secret, and may hold the keys of an object store.
    - show_changes: false
    - onlyif:
      - fun: registry_host.should_manage
        what: service
    - require:
      - file: Configuration directory exists

# Of the second service, through which this host alone pushes. It shares the secret, so that an upload may go on through
# either of them.
Registry is configured for pushes of this host:
  file.serialize:
    - name: {{ directory }}/push.yml
    - dataset: __slot__:salt:registry_host.push_config({{ names.config }}, {{ names.storage }})
    - serializer: yaml
    - user: __slot__:salt:registry_host.owner({{ names.user }})
    - group: __slot__:salt:registry_host.owner({{ names.group }})
    - mode: '0600'
    - show_changes: false
    - onlyif:
      - fun: registry_host.should_manage
        what: push
    - require:
      - file: Registry is configured
