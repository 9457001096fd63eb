# On an OpenStack undercloud its own command line writes the list of images and, if it is to, uploads them.

include:
  - .guard

Undercloud is recognised:
  registry_undercloud.recognised:
    - require:
      - registry_host: Registry is left alone unless forced

Undercloud image list is prepared:
  registry_undercloud.prepared:
    - require:
      - registry_undercloud: Undercloud is recognised

Undercloud images are uploaded:
  registry_undercloud.uploaded:
    - require:
      - registry_undercloud: Undercloud image list is prepared
