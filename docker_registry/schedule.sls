# The minion syncs, checks, verifies, prunes, collects, exports or imports by itself, as the pillar's docker_registry:schedule
# says: one mapping, or a list with one for each function. A job that is in the pillar no more is removed.
# The jobs are Salt's own: `salt MINION schedule.list`.
{%- set schedule = salt['pillar.get']('docker_registry:schedule', {}) %}
{%- set wanted = {} %}
{%- if schedule is mapping and schedule %}
  {%- do wanted.update({'docker_registry': schedule}) %}
{%- elif schedule is not string and schedule is iterable %}
  {%- for entry in schedule if entry is mapping %}
    {%- do wanted.update({'docker_registry_' ~ entry.get('function', 'sync'): entry}) %}
  {%- endfor %}
{%- endif %}
{%- from 'docker_registry/jobs.jinja' import jobs with context %}
{%- set unwanted = jobs | reject('in', wanted) | list %}

include:
  - .pillar
{%- for name, entry in wanted.items() %}
{%- set function = entry.get('function', 'sync') | string %}

{{ ('Mirror schedule is present' if name == 'docker_registry' else 'Schedule of ' ~ function ~ ' is present') | json }}:
  schedule.present:
    - name: {{ name | json }}
    - function: {{ ('registry_sync.' ~ function) | json }}
    {%- if entry.get('function') == 'prune' %}
    - job_kwargs: {automatic: true}
    {%- endif %}
    # A run that takes longer than the time between two is not joined by another.
    - maxrunning: 1
    # Kept for a day by the master's job cache; registry_sync.last and metrics know what was found all the same.
    - return_job: {{ entry.get('return_job', false) | json }}
    {%- for key in ('minutes', 'hours', 'days', 'cron', 'when', 'range', 'splay', 'returner') if key in entry %}
    - {{ key }}: {{ entry[key] | json }}
    {%- endfor %}
    - require:
      - registry_sync: Pillar has no mistake
{%- endfor %}
{%- if unwanted %}

Mirror schedule is absent:
  schedule.absent:
    - names: {{ unwanted | json }}
    - require:
      - registry_sync: Pillar has no mistake
{%- endif %}
