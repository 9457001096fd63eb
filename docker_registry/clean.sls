# Undoes what the other states did, and nothing else. The images stay unless docker_registry:registry:purge is true;
# docker and podman stay installed, as other containers may run in them by now.
{%- from 'docker_registry/map.jinja' import names with context %}
{%- from 'docker_registry/jobs.jinja' import jobs with context %}
{%- set push = names.service ~ '-push' %}
{%- set push_config = names.config.rpartition('/')[0] ~ '/push.yml' %}

include:
  - .pillar

Registry is stopped:
  registry_service.stopped:
    - name: {{ names.service | json }}
    - require:
      - registry_sync: Pillar has no mistake

Registry for pushes is absent:
  registry_push.absent:
    - name: {{ push | json }}
    - config: {{ push_config | json }}
    - require:
      - registry_sync: Pillar has no mistake
{%- if names.init_script %}

# The package's prerm runs it, and stopping a stopped service is an error there, which would keep the package.
Init script is disabled while the package is removed:
  file.managed:
    - name: {{ names.init_script | json }}
    - mode: '0644'
    - replace: false
    - create: false
    - onlyif:
      - fun: registry_backup.installed
        package: {{ names.package | json }}
    - require:
      - registry_service: Registry is stopped
    - require_in:
      - registry_backup: Registry package is removed unless it was installed before
{%- endif %}

Registry unit is absent:
  registry_host.unit_absent:
    - names:
      - /etc/containers/systemd/{{ names.service }}.container
      - /etc/systemd/system/{{ names.service }}.service
    - require:
      - registry_service: Registry is stopped

# While its configuration and what was saved still tell whether the registry is this formula's.
Images are purged if the pillar says so:
  registry_host.images_purged:
    - default: {{ names.storage | json }}
    - require:
      - registry_service: Registry is stopped
      - registry_push: Registry for pushes is absent

# Before the package is removed, which would keep our files as its own.
Previous configuration is restored:
  registry_backup.files_restored:
    - require:
      - registry_service: Registry is stopped
      - registry_push: Registry for pushes is absent

Registry package is removed unless it was installed before:
  registry_backup.package_restored:
    - name: {{ names.package | json }}
    - require:
      - registry_backup: Previous configuration is restored

Previous service state is restored:
  registry_backup.service_restored:
    - name: {{ names.service | json }}
    - require:
      - registry_host: Registry unit is absent
      - registry_backup: Registry package is removed unless it was installed before

Web server of signatures is stopped:
  service.dead:
    - name: docker-registry-signatures
    - enable: false
    - onlyif:
      - fun: file.file_exists
        args:
          - /etc/systemd/system/docker-registry-signatures.service
    - require:
      - registry_sync: Pillar has no mistake

# nginx stays installed, as something else may be served by it by now, and so do the signatures.
Files of the web server are absent:
  file.absent:
    - names:
      - {{ (names.config.rpartition('/')[0] ~ '/signatures.conf') | json }}
      - /etc/systemd/system/docker-registry-signatures.service
    - require:
      - service: Web server of signatures is stopped

Registry port is closed:
  registry_firewall.port_closed:
    - require:
      - registry_sync: Pillar has no mistake

Registries are absent from Docker's sysconfig:
  registry_engine.file_cleaned:
    - name: /etc/sysconfig/docker
    - of: sysconfig
    - require:
      - registry_sync: Pillar has no mistake

Registries are absent from Docker's daemon.json:
  registry_engine.file_cleaned:
    - name: /etc/docker/daemon.json
    - of: daemon
    - require:
      - registry_sync: Pillar has no mistake

Docker is restarted without the registries:
  registry_service.engine_restarted:
    - name: {{ names.docker_service | json }}
    - watch:
      - registry_engine: Registries are absent from Docker's sysconfig

Docker is reloaded without the registries:
  registry_engine.reloaded:
    - name: {{ names.docker_service | json }}
    - watch:
      - registry_engine: Registries are absent from Docker's daemon.json

# Only now: docker forgets no registry at a reload for a list that is not there.
Empty list is absent from Docker's daemon.json:
  registry_engine.file_cleaned:
    - name: /etc/docker/daemon.json
    - of: tidy
    - require:
      - registry_engine: Docker is reloaded without the registries

Registries are absent from Podman's configuration:
  file.absent:
    - name: /etc/containers/registries.conf.d/docker_registry.conf
    - require:
      - registry_sync: Pillar has no mistake

Podman refuses nothing for our sake:
  registry_policy.absent:
    - name: /etc/containers/policy.json
    - of: policy
    - require:
      - registry_sync: Pillar has no mistake

Podman asks upstream again for its images:
  registry_policy.absent:
    - name: /etc/containers/registries.conf.d/docker_registry-upstream.conf
    - of: mirrors
    - require:
      - registry_sync: Pillar has no mistake

# Once no policy of ours asks for signatures.
Podman knows no place of signatures of the mirror:
  registry_policy.absent:
    - name: /etc/containers/registries.d/docker_registry.yaml
    - of: lookaside
    - require:
      - registry_policy: Podman refuses nothing for our sake

CAs of the registries are absent from the engines:
  registry_engine.authorities_absent:
    - names:
      - /etc/docker/certs.d
      - /etc/containers/certs.d
    - require:
      - registry_sync: Pillar has no mistake

Registry CA is absent:
  registry_tls.absent:
    - require:
      - registry_sync: Pillar has no mistake
{%- if jobs %}

Mirror schedule is removed:
  schedule.absent:
    - names: {{ jobs | json }}
    - require:
      - registry_sync: Pillar has no mistake
{%- endif %}
