# Everything: a running registry that engines trust, reachable through the firewall, with the images of the list.

include:
  - .package
  - .config
  - .service
  - .engine
  - .firewall
  - .signatures
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
        - registry_engine: Podman trusts the CAs of the registries
  Registry for pushes is running:
    registry_service:
      - require:
        - file: Podman trusts the registries
        - registry_engine: Podman trusts the CAs of the registries
  # The command line asks the registry whether it speaks TLS.
  Undercloud image list is prepared:
    registry_undercloud:
      - require:
        - registry_service: Registry is running
  Undercloud images are uploaded:
    registry_undercloud:
      - require:
        - registry_service: Docker is running
        - registry_engine: Docker is reloaded
  Images are mirrored:
    registry_sync:
      - require:
        - registry_undercloud: Undercloud images are uploaded
        - registry_service: Registry for pushes is running
  Registry serves the images:
    registry_sync:
      - require:
        - registry_sync: Images are mirrored
