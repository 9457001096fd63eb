"""Build the formula's Python as a Salt extension; docs/wheel.md tells when that is of use."""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
NAME = "saltext.docker_registry"
# Salt's loader looks for these names below the package; the formula has each with an underscore.
KINDS = ("modules", "states", "utils", "output", "runners", "beacons")

folders = {f"{NAME}.{kind}": f"_{kind}" for kind in KINDS if (HERE / f"_{kind}").is_dir()}
version = re.search(r"^version: '(.+)'$", (HERE / "FORMULA").read_text(encoding="utf-8"), re.M)
assert version, "FORMULA has no version"

setup(
    version=version[1],
    packages=[NAME, *folders],
    package_dir={NAME: NAME.replace(".", "/"), **folders},
)
