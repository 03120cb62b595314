"""Springs: a model learned on 8 bodies, used on larger graphs and rolled out against the truth."""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from rich.console import Console
from rich.table import Table

from .. import graphs, metrics, plots, systems
from ..dynamics.rollout import rollout
from ..fitting.fit import Fit, fit


def run(out: Path, console: Console) -> dict[str, Any]:
    """Runs the example, prints a table and writes pictures to `out`. Returns the figures."""
    console.rule("[bold]1. Springs: learned on 8 bodies")
    system = systems.mass_spring("spring", rest_length=1.0)
    cube = graphs.lattice((2, 2, 2))
    train = systems.simulate(system, cube, key=jr.key(0), trajectories=1000)
    # Fitted twice: the second time excludes compilation.
    fitted, first_seconds = timed_fit(train, jr.key(1))
    fitted, seconds = timed_fit(train, jr.key(1))
    console.print(
        f"1000 snapshots of a 2x2x2 lattice, solved in {seconds:.2f} s "
        f"({first_seconds:.1f} s with compilation)\n{fitted.summary()}"
    )
    model = fitted.model

    test = systems.simulate(system, cube, key=jr.key(2), trajectories=1000)
    error = float(metrics.mean_square_error(model, test))
    plots.parity(fitted, test).savefig(out / "springs_parity.png")
    plots.potential(fitted, system).savefig(out / "springs_potential.png")

    table = Table(title="Zero-shot: five new snapshots each")
    for heading in ("graph", "bodies", "relative force error", "pairs out of range"):
        table.add_column(heading, justify="left" if heading == "graph" else "right")
    zero_shot = []
    for name, graph in (
        ("2x2x2 (trained)", cube),
        ("16x16x16", graphs.lattice((16, 16, 16))),
        ("chain of 64", graphs.chain(64)),
    ):
        snapshots = systems.simulate(system, graph, key=jr.key(3), trajectories=5)
        record = {
            "graph": name,
            "nodes": int(graph.n_node[0]),
            "relative_error": float(metrics.relative_error(model, snapshots)["force"]),
            "out_of_range_pairs": int(jnp.sum(model.out_of_range(snapshots)["pair"])),
        }
        zero_shot.append(record)
        table.add_row(name, str(record["nodes"]), f"{record['relative_error']:.1e}",
                      f"{record['out_of_range_pairs']}")  # fmt: skip
    console.print(table)
    console.print(f"Rates of new 2x2x2 states: mean square error {error:.1e} of the mean square")

    start = systems.simulate(
        system, cube, key=jr.key(4), trajectories=1, start=systems.Uniform(0.1, 0.1)
    )
    times = jnp.linspace(0, 100, 1001)
    learned, true = (rollout(m, start, times, dt=0.01) for m in (model, system))
    early = times <= 20
    distance = jnp.linalg.norm((learned.position - true.position)[early], axis=-1)
    rolled = {
        "position_error": float(jnp.max(distance)),
        "energy_drift": _drift(learned.energy),
        "true_energy_drift": _drift(true.energy),
    }
    plots.energy({"learned Hamiltonian": learned, "true Hamiltonian": true}).savefig(
        out / "springs_energy.png"
    )
    console.print(
        "Rollout, Störmer-Verlet with dt = 0.01: greatest distance between learned and true "
        f"positions over 20 time units {rolled['position_error']:.1e} (spacing 1); greatest energy "
        f"error over 10,000 steps {rolled['energy_drift']:.2e} learned, "
        f"{rolled['true_energy_drift']:.2e} true"
    )
    return {
        "train_seconds": seconds,
        "first_fit_seconds": first_seconds,
        "gradient_mse_relative": error,
        "zero_shot": zero_shot,
        "rollout": rolled,
    }


def timed_fit(data: Any, key: Any) -> tuple[Fit, float]:
    """A fit, and the seconds until its result is ready."""
    start = time.perf_counter()
    fitted = jax.block_until_ready(fit(data, key=key))
    return fitted, time.perf_counter() - start


def _drift(energy: jax.Array) -> float:
    """Greatest change of the energy, relative to its start."""
    values = np.asarray(energy)
    return float(np.abs(values - values[0]).max() / abs(values[0]))
