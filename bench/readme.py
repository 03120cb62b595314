"""Writes the README's figures from the results of the other scripts."""

import argparse
import json
from pathlib import Path

from .record import Record
from .sections import (
    energies,
    gradient_descent,
    least_squares,
    liquid,
    physics_informed_gnns,
    planets,
    potentials,
    rollouts,
    symmetry_and_speed,
    zero_shot,
)

SECTIONS = (
    (gradient_descent, "optimizers"),
    (potentials, "potentials"),
    (zero_shot, "zero_shot"),
    (liquid, "molecular_dynamics"),
    (physics_informed_gnns, "physics_informed_gnns"),
    (planets, "solar_system"),
    (least_squares, "least_squares"),
    (rollouts, "rollout", "h200/rollout"),
    (energies, "energy_drift", "integrators"),
    (symmetry_and_speed, "invariance", "fit_time", "cold_start"),
)
"""In the README's order, each with the results that it shows."""
FILES = tuple(name for _, *names in SECTIONS for name in names)
NAMES = tuple(name for name in FILES if "/" not in name)
"""The benchmarks."""
README = Path(__file__).parent.parent / "README.md"
START, END = "<!-- figures -->", "<!-- /figures -->"


def figures(results: dict[str, list[Record]]) -> str:
    """All sections as Markdown."""
    return "\n\n".join(
        module.section(*(results[name] for name in names)) for module, *names in SECTIONS
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no effect: quick results stay out")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    folder = parser.parse_args().out
    results = {name: json.loads((folder / f"{name}.json").read_text()) for name in FILES}
    if any(r[0]["environment"]["quick"] for r in results.values()):
        print("quick results: README left as it is")
        return
    before, rest = README.read_text().split(START)
    _, after = rest.split(END)
    README.write_text(f"{before}{START}\n{figures(results)}\n{END}{after}")
    print("wrote README.md")


if __name__ == "__main__":
    main()
