# Undoes what the other states did. The images stay.
{%- from 'docker_registry/map.jinja' import names with context %}

include:
  - .modules

Registry is stopped:
  registry_host.stopped:
    - name: {{ names.service | json }}
    - require:
      - test: Modules of the formula are loaded
{%- if names.init_script %}

# The package's prerm calls it, and to stop what is stopped is an error there, which would keep the package.
Registry is not stopped twice:
  file.managed:
    - name: {{ names.init_script | json }}
    - mode: '0644'
    - replace: false
    - create: false
    - require:
      - registry_host: Registry is stopped
    - require_in:
      - pkg: Registry package is removed
{%- endif %}

Registry package is removed:
  pkg.purged:
    - name: {{ names.package | json }}
    - require:
      - registry_host: Registry is stopped

Registry is not configured:
  file.absent:
    - name: {{ names.config | json }}
    - require:
      - pkg: Registry package is removed
