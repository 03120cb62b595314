"""Force error on large graphs of models trained on a small one, against the number of nodes.

Test snapshots are sampled like the training starts. The paper's encoder is measured on uniform
starts; it works in the trained dimension only, and thus not on the 1-D chain.
"""

from collections.abc import Iterator
from functools import partial

import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from jraph import GraphsTuple
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import hgn_jax as hgn

from .polynomial import Polynomial
from .record import Case, Record, main

Shape = tuple[int, ...]

POTENTIALS = ("spring", "anharmonic", "morse")
STARTS = {"uniform": hgn.systems.Uniform(), "normal": hgn.systems.Normal()}
FEATURES = {
    "invariants": [hgn.Kinetic(), hgn.Pair()],
    "with r, r^2": [hgn.Kinetic(), hgn.Pair(), Polynomial()],
    "paper": [hgn.MessagePassing(512, 128)],
}
PLANES = ((10, 10), (30, 30), (100, 100))
CUBES = ((4, 4, 4), (8, 8, 8), (16, 16, 16))
USED_ON = {
    (2, 2): PLANES,
    (3, 3): PLANES,
    (8, 1): PLANES[1:2],
    (2, 2, 2): ((64,), *CUBES),
    (8, 1, 1): CUBES[2:],
}
"""Shapes of the large lattices for each small one."""


def cases(quick: bool) -> Iterator[Case]:
    shapes = {(2, 2): PLANES[:2]} if quick else USED_ON
    for starts in STARTS:
        for potential in POTENTIALS[2:] if quick else POTENTIALS:
            for features in FEATURES:
                if features == "paper" and starts == "normal":
                    continue
                for small, large in shapes.items():
                    settings = {"starts": starts, "potential": potential, "features": features}
                    yield Case(
                        settings | {"trained_on": _name(small), "dimension": len(small)},
                        partial(measure, **settings, small=small, large=large),
                    )


def measure(
    starts: str, potential: str, features: str, small: Shape, large: tuple[Shape, ...]
) -> list[Record]:
    """Errors on the trained lattice and on each large one, a record for each."""
    system, start = hgn.systems.mass_spring(potential), STARTS[starts]
    train = hgn.systems.simulate(system, hgn.graphs.lattice(small), key=jr.key(0), start=start)
    model = hgn.fit(train, key=jr.key(2), terms=FEATURES[features]).model
    (seen,) = hgn.sample([hgn.Pair()], train, key=jr.key(2))
    records = []
    for shape in (small, *large):
        if features == "paper" and len(shape) != len(small):
            continue
        lattice = hgn.graphs.lattice(shape)
        test = hgn.systems.simulate(system, lattice, key=jr.key(1), trajectories=5, start=start)
        records.append(
            {
                "used_on": _name(shape),
                "nodes": int(test.n_node[0]),
                "relative_force_error": _force_error(model, test),
                "pairs": int(jnp.sum(test.n_edge)) // 2,
                "pairs_out_of_range": int(jnp.sum(seen.out_of_range(test))),
            }
        )
    return records


def _name(shape: Shape) -> str:
    sides = [k for k in shape if k > 1]
    return f"chain of {sides[0]}" if len(sides) == 1 else "x".join(map(str, sides))


def _force_error(model: hgn.AbstractModel, data: GraphsTuple) -> float:
    """Force error on all snapshots, one at a time: all messages at once would take gigabytes."""
    wrong = size = 0.0
    for snapshot in hgn.graphs.unbatch(data):
        square = float(jnp.sum(snapshot.nodes["force"] ** 2))
        wrong += float(hgn.metrics.relative_error(model, snapshot)["force"]) ** 2 * square
        size += square
    return float(np.sqrt(wrong / size))


def draw(records: list[Record]) -> Figure:
    potentials = list(dict.fromkeys(r["potential"] for r in records))
    figure, axes = plt.subplots(
        2, len(potentials), figsize=(4 + 3 * len(potentials), 6.5), sharex=True, sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    colours = dict(zip(USED_ON, ("#2a4d7a", "#3f9fbf", "#7a9a3a", "#c8443c", "#e08a2e")))
    styles = dict(zip(FEATURES, (("o", "-"), ("x", "--"), ("s", ":"))))
    for row, starts in zip(axes, STARTS):
        for ax, potential in zip(row, potentials):
            here = [r for r in records if (r["starts"], r["potential"]) == (starts, potential)]
            for small, colour in colours.items():
                for features, (marker, line) in styles.items():
                    mine = [
                        r
                        for r in here
                        if (r["trained_on"], r["dimension"]) == (_name(small), len(small))
                        and r["features"] == features
                    ]
                    apart = [r for r in mine if r["used_on"] == "chain of 64"]
                    for some, style in (([r for r in mine if r not in apart], line), (apart, "")):
                        nodes = [r["nodes"] for r in some]
                        errors = [r["relative_force_error"] for r in some]
                        ax.loglog(nodes, errors, marker=marker, ls=style, color=colour, ms=4, lw=1,
                                  mfc="none")  # fmt: skip
            ax.set_title(f"{potential}, {starts} starts", fontsize=10, loc="left")
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(alpha=0.25)
    for ax in axes[:, 0]:
        ax.set_ylabel("relative force error")
    for ax in axes[-1]:
        ax.set_xlabel("nodes of the graph it is used on")
    handles = [
        Line2D([], [], color=colour, lw=2, label=f"trained on {_name(small)}, {len(small)}-D")
        for small, colour in colours.items()
    ] + [
        Line2D(
            [], [], color="0.3", marker=marker, ls=line, ms=5, mfc="none", label=f"features: {name}"
        )
        for name, (marker, line) in styles.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


if __name__ == "__main__":
    main("zero_shot", "Zero-shot: relative force error, 1000 independent training starts",
         cases, draw)  # fmt: skip
