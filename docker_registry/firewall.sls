# The registry's port is open in the firewall that runs here.

include:
  - .guard

Registry port is open:
  registry_firewall.port_open:
    - require:
      - registry_host: Registry is left alone unless forced
