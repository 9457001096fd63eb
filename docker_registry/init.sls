include:
  - .package
  - .config
  - .service
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
