# state.apply syncs no modules by itself, and the ones of this formula may be new to this minion. What was synced while
# this file is rendered becomes visible to the running states with the reload that follows it, also in test mode.
{%- set kinds = ('utils', 'modules', 'states', 'output', 'beacons') %}
{%- if '__master_opts__' in opts %}
{#- salt-ssh renders on the master and has shipped them; the target has no files to sync from, and would lose these. #}
{%- elif saltenv == 'base' %}
{%- for kind in kinds if 'saltutil.sync_' ~ kind in salt %}
{%- do salt['saltutil.sync_' ~ kind](refresh=False) %}
{%- endfor %}
{%- else %}
{#- A sync from another environment would take away the modules of all others, whatever formula they are of. #}
{%- for kind in kinds %}
{%- set directory = opts.extension_modules ~ '/' ~ kind %}
{%- do salt['file.mkdir'](directory) %}
{%- for file in salt['cp.cache_dir']('salt://_' ~ kind, saltenv, include_pat='*registry_*.py') %}
{%- do salt['file.copy'](file, directory ~ '/' ~ file.rpartition('/')[2]) %}
{%- endfor %}
{%- endfor %}
{%- endif %}

Modules of the formula are loaded:
  test.nop:
    - force_reload_modules: true
