# The container engines of this host trust the registries of the pillar. Alone it makes any host a client.
{%- from 'docker_registry/map.jinja' import names with context %}

include:
  - .guard

Docker is installed:
  pkg.installed:
    - name: {{ names.docker_package | json }}
    - onlyif:
      - fun: registry_engine.should_manage
        what: package
    - require:
      - registry_host: Registry is left alone unless forced

Docker trusts the registries through its sysconfig:
  registry_engine.file_managed:
    - name: /etc/sysconfig/docker
    - of: sysconfig
    - require:
      - pkg: Docker is installed

Docker trusts the registries through its daemon.json:
  registry_engine.file_managed:
    - name: /etc/docker/daemon.json
    - of: daemon
    - require:
      - pkg: Docker is installed

# Its containers stop with it, unless it has live-restore; and only this file needs it.
Docker is restarted:
  registry_service.engine_restarted:
    - name: {{ names.docker_service | json }}
    - watch:
      - registry_engine: Docker trusts the registries through its sysconfig

Docker is running:
  registry_service.engine_running:
    - name: {{ names.docker_service | json }}
    - start: __slot__:salt:registry_engine.installs()
    - require:
      - registry_service: Docker is restarted
      - registry_engine: Docker trusts the registries through its daemon.json

Docker is reloaded:
  registry_engine.reloaded:
    - name: {{ names.docker_service | json }}
    - watch:
      - registry_engine: Docker trusts the registries through its daemon.json

Registry CA is fetched from the mine:
  registry_tls.ca_fetched:
    - require:
      - registry_host: Registry is left alone unless forced

Docker trusts the CAs of the registries:
  registry_engine.authorities:
    - name: /etc/docker/certs.d
    - engine: docker
    - require:
      - pkg: Docker is installed
      - registry_tls: Registry CA is fetched from the mine

Podman trusts the registries:
  file.managed:
    - name: /etc/containers/registries.conf.d/docker_registry.conf
    - contents: __slot__:salt:registry_engine.text(podman)
    - makedirs: true
    - mode: '0644'
    - onlyif:
      - fun: registry_engine.should_manage
        what: podman
    - require:
      - registry_host: Registry is left alone unless forced

Podman knows where signatures of the mirror are:
  registry_policy.managed:
    - name: /etc/containers/registries.d/docker_registry.yaml
    - of: lookaside
    - require:
      - registry_host: Registry is left alone unless forced

Podman asks the mirror first for images of upstream:
  registry_policy.managed:
    - name: /etc/containers/registries.conf.d/docker_registry-upstream.conf
    - of: mirrors
    - require:
      - registry_host: Registry is left alone unless forced

# After the files that say where signatures are: without these it would refuse what is signed.
Podman refuses what nobody of the pillar has signed:
  registry_policy.managed:
    - name: /etc/containers/policy.json
    - of: policy
    - require:
      - registry_policy: Podman knows where signatures of the mirror are

Podman trusts the CAs of the registries:
  registry_engine.authorities:
    - name: /etc/containers/certs.d
    - engine: podman
    - require:
      - registry_tls: Registry CA is fetched from the mine
