# state.apply syncs no modules by itself, and the ones of this formula may be new to this minion. What was synced while
# this file is rendered becomes visible to the running states with the reload that follows it, also in test mode.
# In another environment than base Salt would sync what the top file names, and take away what was synced from that
# environment: there it is state.apply docker_registry saltenv=… sync_mods=all.
{%- for kind in ('utils', 'modules', 'states', 'output') if saltenv == 'base' and 'saltutil.sync_' ~ kind in salt %}
{%- do salt['saltutil.sync_' ~ kind](refresh=False) %}
{%- endfor %}

Modules of the formula are loaded:
  test.nop:
    - force_reload_modules: true
