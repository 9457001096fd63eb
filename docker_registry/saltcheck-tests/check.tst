# salt MINION saltcheck.run_state_tests docker_registry.check: what the state asked for, asked again.
Local registry answers and holds images:
  module_and_function: registry_sync.registry
  assertions:
    - assertion: assertTrue
      assertion_section: up
    - assertion: assertNotEqual
      expected_return: 0
      assertion_section: tags
    - assertion: assertEqual
      expected_return: ''
      assertion_section: error
