# The simple signatures that sync keeps are served to engines, where the pillar's signatures:serve names a port: by an
# nginx of its own, with the certificate of the registry.
{%- from 'docker_registry/map.jinja' import names with context %}
{%- set service = 'docker-registry-signatures' %}
{%- set unit = '/etc/systemd/system/' ~ service ~ '.service' %}
{%- set config = names.config.rpartition('/')[0] ~ '/signatures.conf' %}

include:
  - .config
  - .firewall

Web server of signatures is installed:
  pkg.installed:
    - name: {{ names.nginx_package | json }}
    - onlyif:
      - fun: registry_lookaside.should_manage
        what: package
    - require:
      - registry_host: Registry is left alone unless forced

# What the package starts would take port 80, for a page of its own.
Web server of the system does not run for our sake:
  service.dead:
    - name: nginx
    - enable: false
    - onchanges:
      - pkg: Web server of signatures is installed
    - require:
      - registry_host: Registry is left alone unless forced

# Before, only root could pass; what else lies here is still only to be read by root, or holds no secret.
Directory of the formula lets the web server pass:
  file.directory:
    - name: /var/lib/docker_registry
    - mode: '0711'
    - onlyif:
      - fun: registry_lookaside.should_manage
        what: passage
    - require:
      - registry_host: Registry is left alone unless forced

Directory of signatures exists:
  file.directory:
    - name: __slot__:salt:registry_lookaside.directory()
    - mode: '0755'
    - makedirs: true
    - onlyif:
      - fun: registry_lookaside.should_manage
        what: serve
    - require:
      - file: Directory of the formula lets the web server pass

Web server of signatures is configured:
  file.managed:
    - name: {{ config | json }}
    - contents: __slot__:salt:registry_lookaside.config({{ names.nginx_user }}, {{ names.config }}, {{ names.storage }})
    - mode: '0644'
    - onlyif:
      - fun: registry_lookaside.should_manage
        what: serve
    - require:
      - file: Registry has a certificate
      - file: Registry has a key
      - registry_tls: Registry certificate is signed by its own CA

Web server of signatures has a unit:
  file.managed:
    - name: {{ unit }}
    - contents: __slot__:salt:registry_lookaside.unit({{ names.nginx_program }}, {{ config }})
    - mode: '0644'
    - onlyif:
      - fun: registry_lookaside.should_manage
        what: serve
    - require:
      - registry_host: Registry is left alone unless forced

Web server of signatures is running:
  service.running:
    - name: {{ service }}
    - enable: true
    - onlyif:
      - fun: registry_lookaside.should_manage
        what: serve
    - require:
      - pkg: Web server of signatures is installed
      - service: Web server of the system does not run for our sake
      - file: Directory of signatures exists
    - watch:
      - file: Web server of signatures is configured
      - file: Web server of signatures has a unit
      - file: Registry has a certificate
      - file: Registry has a key
      - registry_tls: Registry certificate is signed by its own CA

Web server of signatures does not run where none is wanted:
  service.dead:
    - name: {{ service }}
    - enable: false
    - onlyif:
      - fun: registry_lookaside.should_manage
        what: absent
    - require:
      - registry_host: Registry is left alone unless forced

Files of the web server are absent where none is wanted:
  file.absent:
    - names:
      - {{ config | json }}
      - {{ unit }}
    - onlyif:
      - fun: registry_lookaside.should_manage
        what: absent
    - require:
      - service: Web server of signatures does not run where none is wanted
