"""How often a test kills what it is about, each time at a random moment."""

from __future__ import annotations

import os

# Dozens were tried when each test was written; each run tries some, and `test/run thorough` more.
KILLS = int(os.environ.get("KILLS", "2"))
