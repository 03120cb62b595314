"""Runs every benchmark, one process each, then refreshes the README's table."""

import subprocess
import sys

from .readme import NAMES

for name in (*NAMES, "readme"):
    print(f"\n== bench.{name}", flush=True)
    subprocess.run([sys.executable, "-m", f"bench.{name}", *sys.argv[1:]], check=True)
