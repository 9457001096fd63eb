"""Print the `Packages` index of a directory of .debs, as apt reads it from a `file:` source."""

import hashlib
import subprocess
import sys
from pathlib import Path

for deb in sorted(Path(sys.argv[1]).glob("*.deb")):
    fields = subprocess.run(["dpkg-deb", "--field", deb], capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    print(f"{fields.rstrip()}\nFilename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n")
