# The whole way: a registry that runs, is trusted and reachable, and holds the images of the list.

include:
  - .package
  - .config
  - .service
  - .engine
  - .firewall
  - .undercloud
  - .sync
  - .check

extend:
  # The image of a registry that runs as a container may come from a registry of the pillar.
  Podman trusts the registries:
    file:
      - require:
        - pkg: Podman is installed
  Registry is running:
    registry_service:
      - require:
        - file: Podman trusts the registries
        - registry_engine: Podman knows the authorities of the registries
  # The command line asks the registry whether it speaks TLS.
  Undercloud has its list of images:
    registry_undercloud:
      - require:
        - registry_service: Registry is running
  Undercloud has uploaded its images:
    registry_undercloud:
      - require:
        - registry_service: Docker has read its settings
  Images are mirrored:
    registry_sync:
      - require:
        - registry_undercloud: Undercloud has uploaded its images
  Registry serves the images:
    registry_sync:
      - require:
        - registry_sync: Images are mirrored
