"""Writes docs/benchmarks.md, and the README's table, from the results of the other scripts."""

import argparse
import json
from pathlib import Path

from .markdown import filled
from .record import Record
from .sections import (
    axes,
    broken_symmetry,
    brownian,
    charged_particles,
    constrained,
    depth,
    devices,
    energies,
    few_shot_planets,
    gpu,
    gradient_descent,
    group_ridge,
    headline,
    holstein,
    interaction_graph,
    interatomic_potentials,
    least_squares,
    liquid,
    measured_data,
    node_classification,
    physics_informed_gnns,
    planets,
    potentials,
    real_systems,
    rollouts,
    roofline,
    symmetry_and_speed,
    thermostats,
    transfer,
    widths,
    zero_shot,
)

SECTIONS = (
    (gradient_descent, "optimizers"),
    (potentials, "potentials"),
    (widths, "widths"),
    (depth, "depth", "frames"),
    (zero_shot, "zero_shot"),
    (liquid, "molecular_dynamics"),
    (physics_informed_gnns, "physics_informed_gnns"),
    (planets, "solar_system"),
    (interatomic_potentials, "interatomic_potentials"),
    (least_squares, "least_squares"),
    (group_ridge, "group_ridge"),
    (broken_symmetry, "broken_symmetry"),
    (interaction_graph, "interaction_graph"),
    (transfer, "transfer"),
    (charged_particles, "charged_particles", "two_frames"),
    (few_shot_planets, "few_shot_planets"),
    (measured_data, "measured_data"),
    (real_systems, "real_systems"),
    (constrained, "constrained"),
    (axes, "axes"),
    (node_classification, "node_classification"),
    (brownian, "brownian"),
    (holstein, "holstein"),
    (rollouts, "rollout", "output_file"),
    (gpu, "h100/accelerator"),
    (devices, "devices", "h100/accelerator"),
    (roofline, "roofline"),
    (thermostats, "thermostats"),
    (energies, "energy_drift", "integrators"),
    (symmetry_and_speed, "invariance", "fit_time", "cold_start"),
)
"""Each section of the page, and the results that it shows. Its template has the module's name."""
FILES = tuple(dict.fromkeys(name for _, *names in SECTIONS for name in names))
NAMES = tuple(name for name in FILES if "/" not in name)
"""Names of the benchmarks."""
ROOT = Path(__file__).parent.parent
README, PAGE = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
START, END = "<!-- figures -->", "<!-- /figures -->"


def page(results: dict[str, list[Record]]) -> str:
    """All sections as one Markdown page."""
    sections = {}
    for module, *names in SECTIONS:
        name = module.__name__.rpartition(".")[2]
        sections[name] = filled(name, module.figures(*(results[n] for n in names)))
    return filled("benchmarks", sections) + "\n"


def table(results: dict[str, list[Record]]) -> str:
    """The README's table."""
    return filled("headline", headline.figures(results))


def read(folder: Path) -> dict[str, list[Record]]:
    """Records of all benchmarks."""
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in FILES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no effect: quick results stay out")
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    results = read(parser.parse_args().out)
    if any(r[0]["environment"]["quick"] for r in results.values()):
        print("quick results: the pages stay as they are")
        return
    before, rest = README.read_text().split(START)
    _, after = rest.split(END)
    README.write_text(f"{before}{START}\n{table(results)}\n{END}{after}")
    PAGE.write_text(page(results))
    print("wrote README.md and docs/benchmarks.md")


if __name__ == "__main__":
    main()
