# docker-distribution as the system's package, or as a container of podman where there is none.
{%- from 'docker_registry/map.jinja' import names with context %}
{%- set directory = names.config.rpartition('/')[0] %}

include:
  - .guard

# For .clean, which restores these files and the service, and keeps a package that was installed before.
Previous configuration is saved:
  registry_backup.saved:
    - package: {{ names.package | json }}
    - service: {{ names.service | json }}
    - files:
      - {{ names.config | json }}
      - {{ directory }}/tls-certificate.pem
      - {{ directory }}/tls-key.pem
      - {{ directory }}/htpasswd
      - {{ directory }}/push.yml
    - require:
      - registry_host: Registry is left alone unless forced

Registry package is installed:
  pkg.installed:
    - name: {{ names.package | json }}
    - onlyif:
      - fun: registry_host.should_manage
        what: package
    - require:
      - registry_backup: Previous configuration is saved

Podman is installed:
  pkg.installed:
    - name: podman
    - onlyif:
      - fun: registry_host.should_manage
        what: container
    - require:
      - registry_backup: Previous configuration is saved

# Of an older podman: it would hide what is generated from a quadlet.
Units beside the quadlets are absent:
  registry_host.unit_absent:
    - names:
      - /etc/systemd/system/{{ names.service }}.service
      - /etc/systemd/system/{{ names.service }}-push.service
    - onlyif:
      - fun: registry_host.should_manage
        what: quadlet
    - require:
      - registry_backup: Previous configuration is saved

Registry has a quadlet:
  file.managed:
    - name: /etc/containers/systemd/{{ names.service }}.container
    - contents: __slot__:salt:registry_host.container_unit(quadlet, {{ names.service }}, {{ names.config }}, {{ names.storage }})
    - makedirs: true
    - mode: '0644'
    - onlyif:
      - fun: registry_host.should_manage
        what: quadlet
    - require:
      - pkg: Podman is installed

Registry has a unit:
  file.managed:
    - name: /etc/systemd/system/{{ names.service }}.service
    - contents: __slot__:salt:registry_host.container_unit(unit, {{ names.service }}, {{ names.config }}, {{ names.storage }})
    - mode: '0644'
    - onlyif:
      - fun: registry_host.should_manage
        what: unit
    - require:
      - pkg: Podman is installed
