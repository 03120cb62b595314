"""Everything that needs an accelerator, in order of value, within a budget of minutes.

`python -m bench.accelerator --minutes 8 --out DIR` measures matrix rates, rollouts, fits, solves,
many-body potentials, systems side by side and epochs of gradient descent. Each part runs in a
process of its own with a time limit, and what it measured is written to DIR/accelerator.json as it
ends. A second call on the same device measures what was not finished. jax-md is timed beside where
it is installed. No data are needed beyond those in the package.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax

from .accelerator_parts import PARTS
from .record import Record, environment

NAME = "accelerator"
SPARE = 5.0
"""Seconds below which no part is begun."""
FINISHED = "finished"


def main() -> None:
    """Measures what is missing, as far as the time allows."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{NAME}", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="budget of all parts together")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), help="folder of results")
    parser.add_argument("--only", help=f"parts, by commas: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the script")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    if options.part is not None:
        for record in PARTS[options.part].measure(options.quick):
            print(json.dumps(record), flush=True)
        return
    names = list(PARTS) if options.only is None else options.only.split(",")
    if unknown := sorted(set(names) - set(PARTS)):
        raise SystemExit(f"--only: {unknown} are none of {', '.join(PARTS)}")
    # This process asks for the device's name; its memory is for the parts.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{NAME}.json"
    records: list[Record] = json.loads(path.read_text()) if path.exists() else []
    where, end = environment() | {"quick": options.quick}, time.monotonic() + 60 * options.minutes
    mine = [r for r in records if _same(r["environment"], where)]
    finished = {r["part"] for r in mine if r.get("ended") == FINISHED}
    for name in names:
        left = end - time.monotonic()
        if name in finished or left < SPARE:
            print(f"{name}: {'measured before' if name in finished else 'no time left'}")
            continue
        # What an unfinished run left of the part is measured again.
        records = [r for r in records if r["part"] != name or not _same(r["environment"], where)]
        for record in outcome(name, options.quick, min(PARTS[name].seconds, left)):
            print(name, record, flush=True)
            records.append({"part": name} | record | {"environment": where})
            path.write_text(json.dumps(records, indent=1, allow_nan=False) + "\n")
    print(f"wrote {path}")


def outcome(name: str, quick: bool, limit: float) -> list[Record]:
    """Records that the process of a part printed within the limit, then how it ended."""
    command = [sys.executable, "-m", f"bench.{NAME}", "--part", name] + ["--quick"] * quick
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        try:
            code = process.wait(limit)
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["no message"])[-1]
            words = f"failed: {last[-300:]}" if code else FINISHED
        except subprocess.TimeoutExpired:
            words = f"stopped after {limit:.0f} s"
        finally:
            process.kill()
            process.wait()  # its memory on the device is free for the next part
        output.seek(0)
        # A killed process may have left half a line.
        lines = [line for line in output if line.startswith("{") and line.endswith("}\n")]
    end = {"ended": words, "seconds": round(time.monotonic() - begin, 1)}
    return [*map(json.loads, lines), end]


def _same(a: Record, b: Record) -> bool:
    return all(a[key] == b[key] for key in ("device", "quick", "versions"))


if __name__ == "__main__":
    main()
