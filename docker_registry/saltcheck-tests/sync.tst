# salt MINION saltcheck.run_state_tests docker_registry.sync: every image of the list is here as upstream has it.
Every image of the list is here:
  module_and_function: registry_sync.check
  assertions:
    {%- for status in ('missing', 'stale', 'unreadable', 'failed') %}
    - assertion: assertEqual
      expected_return: 0
      assertion_section: summary:{{ status }}
    {%- endfor %}
