"""Runs every benchmark, one process each, then writes the pages that show their results."""

import subprocess
import sys

from .pages import NAMES

for name in (*NAMES, "pages"):
    print(f"\n== bench.{name}", flush=True)
    subprocess.run([sys.executable, "-m", f"bench.{name}", *sys.argv[1:]], check=True)
