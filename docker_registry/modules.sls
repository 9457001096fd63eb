# state.apply syncs no modules by itself, and the ones of this formula may be new to this minion. What was synced while
# this file is rendered becomes visible to the running states with the reload that follows it, also in test mode.
{%- for kind in ('utils', 'modules', 'states', 'output') if 'saltutil.sync_' ~ kind in salt %}
{%- do salt['saltutil.sync_' ~ kind](refresh=False) %}
{%- endfor %}

Modules of the formula are loaded:
  test.nop:
    - force_reload_modules: true
