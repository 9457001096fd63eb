# The registry runs, and restarts when a file that it reads has changed. Where nobody but this host may push there are two
# services over one storage: clients reach one that is read-only, the other one listens on a socket.
{%- from 'docker_registry/map.jinja' import names with context %}
{%- set push = names.service ~ '-push' %}
{%- set push_config = names.config.rpartition('/')[0] ~ '/push.yml' %}
{%- set arguments = [push, push_config, names.storage, names.program, names.user, names.group] | join(', ') %}

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
      - registry_host: Units beside the quadlets are absent

Registry for pushes has a quadlet:
  file.managed:
    - name: /etc/containers/systemd/{{ push }}.container
    - contents: __slot__:salt:registry_push.text(quadlet, {{ arguments }})
    - makedirs: true
    - mode: '0644'
    - onlyif:
      - fun: registry_host.should_manage
        what: push_quadlet
    - require:
      - pkg: Podman is installed

Registry for pushes has a unit:
  file.managed:
    - name: /etc/systemd/system/{{ push }}.service
    - contents: __slot__:salt:registry_push.text(unit, {{ arguments }})
    - mode: '0644'
    - onlyif:
      - fun: registry_host.should_manage
        what: push_unit
    - require:
      - pkg: Podman is installed

Registry for pushes has an init script:
  file.managed:
    - name: /etc/init.d/{{ push }}
    - contents: __slot__:salt:registry_push.text(script, {{ arguments }})
    - mode: '0755'
    - onlyif:
      - fun: registry_host.should_manage
        what: push_script
    - require:
      - pkg: Registry package is installed

Registry for pushes is running:
  registry_service.running:
    - name: {{ push | json }}
    - instance: push
    - require:
      - registry_host: Storage directory exists
    - watch:
      - file: Registry is configured for pushes of this host
      - file: Registry for pushes has a quadlet
      - file: Registry for pushes has a unit
      - registry_host: Units beside the quadlets are absent
      - file: Registry for pushes has an init script

Registry for pushes is absent where everyone may push:
  registry_push.absent:
    - name: {{ push | json }}
    - config: {{ push_config | json }}
    - onlyif:
      - fun: registry_host.should_manage
        what: single
    - require:
      - registry_host: Registry is left alone unless forced
