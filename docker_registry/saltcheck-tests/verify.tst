# salt MINION saltcheck.run_state_tests docker_registry.verify: every pointer leads to a file of the right size. The
# bytes are hashed by registry_sync.verify alone, which takes longer.
Every image is whole:
  module_and_function: registry_sync.verify
  kwargs:
    fast: true
  assertions:
    - assertion: assertEqual
      expected_return: 0
      assertion_section: summary:bad
    - assertion: assertEmpty
      assertion_section: unread
