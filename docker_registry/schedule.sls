# The minion checks or mirrors by itself, as the pillar's docker_registry:schedule says; without that key the job is removed.
# The job is one of Salt's own: `salt MINION schedule.list`.
{%- set schedule = salt['pillar.get']('docker_registry:schedule', {}) %}

include:
  - .modules
{%- if schedule %}

Mirror schedule is present:
  schedule.present:
    - name: docker_registry
    - function: registry_sync.{{ schedule.get('function', 'sync') }}
    {%- if schedule.get('function') == 'prune' %}
    - job_kwargs: {automatic: true}
    {%- endif %}
    # A run that takes longer than the time between two is not joined by another.
    - maxrunning: 1
    {%- for key in ('minutes', 'hours', 'days', 'cron', 'when', 'range', 'splay') if key in schedule %}
    - {{ key }}: {{ schedule[key] | json }}
    {%- endfor %}
    - require:
      - test: Modules of the formula are loaded
{%- else %}

Mirror schedule is absent:
  schedule.absent:
    - name: docker_registry
{%- endif %}
