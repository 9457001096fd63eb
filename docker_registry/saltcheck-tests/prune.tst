# salt MINION saltcheck.run_state_tests docker_registry.prune: nothing is left that the rules would forget.
Nothing is doomed:
  module_and_function: registry_sync.prune
  assertions:
    - assertion: assertEqual
      expected_return: 0
      assertion_section: summary:doomed
    - assertion: assertEqual
      expected_return: ''
      assertion_section: refused
