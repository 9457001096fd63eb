# The whole way: a registry that runs, is trusted and reachable, and holds the images of the list.

include:
  - .package
  - .config
  - .service
  - .engine
  - .firewall
  - .sync
  - .check

extend:
  Images are mirrored:
    registry_sync:
      - require:
        - registry_host: Registry is running
  Registry serves the images:
    registry_sync:
      - require:
        - registry_sync: Images are mirrored
