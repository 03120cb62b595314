"""Trained on a small graph, used on a large one; five fresh snapshots drawn the same way."""

from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import jax.random as jr

import hgn_jax as hgn

from .record import Record, main


def run(quick: bool, out: Path) -> Iterator[Record]:
    graphs = hgn.graphs
    cube, square = graphs.lattice((2, 2, 2)), graphs.lattice((2, 2))
    large = graphs.lattice((8, 8, 8)) if quick else graphs.lattice((16, 16, 16))
    plane = graphs.lattice((30, 30)) if quick else graphs.lattice((100, 100))
    cases = (
        ("2x2x2", cube, "8x8x8" if quick else "16x16x16", large),
        ("2x2x2", cube, "chain of 64", graphs.chain(64)),
        ("2x2", square, "30x30" if quick else "100x100", plane),
        ("chain of 8", graphs.chain(8, dimension=3), "8x8x8" if quick else "16x16x16", large),
    )
    starts = {"uniform": hgn.systems.Uniform(), "normal": hgn.systems.Normal()}
    for draw, start in starts.items():
        for potential in ("spring", "anharmonic", "morse"):
            system = hgn.systems.mass_spring(potential)
            for small_name, small, large_name, big in cases:
                train = hgn.systems.simulate(system, small, key=jr.key(0), start=start)
                test = hgn.systems.simulate(system, big, key=jr.key(1), trajectories=5, start=start)
                model = hgn.fit(train, key=jr.key(2)).model
                yield {
                    "starts": draw,
                    "potential": potential,
                    "trained_on": small_name,
                    "used_on": large_name,
                    "nodes": int(big.n_node[0]),
                    "relative_force_error": float(hgn.metrics.relative_error(model, test)["force"]),
                    "pairs": int(jnp.sum(test.n_edge)) // 2,
                    "pairs_out_of_range": int(jnp.sum(model.out_of_range(test)["pair"])),
                }


if __name__ == "__main__":
    main("zero_shot", "Zero-shot: relative force error, 1000 independent training starts", run)
