"""A Lennard-Jones liquid with edges by cutoff: learned from two snapshots, used on other states.

Units are reduced. The true potential is Lennard-Jones, smoothed to zero between the onset 2.0 and
the cutoff 2.5; its second derivative jumps at the onset. The model knows the cutoff; the envelope
of its units shares a factor with this smoothing, but not its onset. Two other true potentials label
the same snapshots, to show what limits the error: "force-shifted", the potential minus its value
and slope at the cutoff, and "cut", the plain potential of all pairs within 2.5, learned without an
envelope.
"""

from collections.abc import Iterator
from functools import cache, partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple
from matplotlib.figure import Figure

import hgn_jax as hgn
from hgn_jax.graphs.geometry import distance

from .liquid import (
    CUTOFF,
    DT,
    NEIGHBOURS,
    ONSET,
    SMOOTHED,
    Point,
    joined,
    lattice,
    thermostat,
    tiled,
)
from .record import Case, Record, main


class ForceShifted(hgn.systems.AbstractPotential):
    """Lennard-Jones minus its value and slope at CUTOFF, and zero beyond: forces do not jump."""

    def __call__(self, r: Float[Array, ""], type: Int[Array, ""]) -> Float[Array, ""]:
        plain = hgn.systems.LennardJones()
        end, slope = jax.value_and_grad(plain)(jnp.asarray(CUTOFF, r.dtype), type)
        return jnp.where(r < CUTOFF, plain(r, type) - end - (r - CUTOFF) * slope, 0)


EDGES = 20_000
MELT = 3.0
TRUTHS = {
    "smoothed": SMOOTHED,
    "force-shifted": hgn.systems.System(ForceShifted()),
    "cut": hgn.systems.lennard_jones(),
}
# The floor was chosen by the residual on the training data: steep units resolve the onset.
SAMPLING = {"SWIM": hgn.SWIM(floor=0.05), "ELM": hgn.ELM()}
R = np.linspace(0.8, CUTOFF, 341)


@cache
def liquid(
    point: Point, seed: int, snapshots: int, quick: bool
) -> tuple[GraphsTuple, list[GraphsTuple]]:
    """The melt from which the liquid was cooled, and snapshots of the liquid far apart in time."""
    melt, cool, spread, *keys = jr.split(jr.key(seed), snapshots + 3)
    pace = 20 if quick else 60
    hot = thermostat(lattice(point), MELT, pace, melt)
    state = thermostat(hot, point.temperature, pace, cool)
    if point.copies > 1:
        state = thermostat(tiled(state, point.copies), point.temperature, pace // 4, spread)
    apart = []
    for key in keys:
        state = thermostat(state, point.temperature, pace // (4 if point.copies > 1 else 2), key)
        apart.append(state)
    return hot, apart


def observed(truth: str, states: list[GraphsTuple]) -> GraphsTuple:
    """The states with their true rates, and edges up to the cutoff."""
    graphs = []
    for state in states:
        graph = joined(state, CUTOFF)
        rates = {
            "velocity": graph.nodes["momentum"],
            "force": forces_of(TRUTHS[truth], graph),
        }
        graphs.append(graph._replace(nodes=graph.nodes | rates))
    return hgn.graphs.batch(graphs)


def forces_of(model: hgn.AbstractModel, graph: GraphsTuple) -> Float[Array, "n 3"]:
    return _vector_field(model, _padded(graph))[1][: len(graph.nodes["mass"])]


def _padded(graph: GraphsTuple) -> GraphsTuple:
    """Pads to a multiple of EDGES, so that few shapes are compiled."""
    edges = -(-len(graph.senders) // EDGES) * EDGES
    return hgn.graphs.pad(graph, n_node=len(graph.nodes["position"]) + 1, n_edge=edges, n_graph=3)


@eqx.filter_jit
def _vector_field(model: hgn.AbstractModel, graph: GraphsTuple) -> tuple[Array, Array]:
    return model.vector_field(graph)


@eqx.filter_jit
def _out_of_range(model: hgn.HamiltonianGraphNetwork, graph: GraphsTuple) -> Array:
    """Number of pairs out of range, or of bodies for the paper's encoder; speeds do not count."""
    counts = model.out_of_range(graph)
    return sum(jnp.sum(count) for name, count in counts.items() if name != "kinetic")


def trained_on(training: str, quick: bool) -> list[GraphsTuple]:
    """Two training snapshots: with 512 units a fit to four would take four gigabytes."""
    melt, liquids = liquid(Point(4 if quick else 6), 0, 2, quick)
    return [melt, liquids[0]] if training == "liquid and melt" else liquids


def tests(quick: bool) -> dict[str, tuple[Point, list[GraphsTuple]]]:
    """Test snapshots of other runs, from other seeds."""
    cells, count = (4, 1) if quick else (6, 3)
    points = {
        "same state": (Point(cells), count),
        "larger": (Point(6) if quick else Point(7, copies=2), 1),
        "hot, dilute": (Point(cells, density=0.7, temperature=1.5), count),
    }
    return {
        name: (point, liquid(point, 1 + i, count, quick)[1])
        for i, (name, (point, count)) in enumerate(points.items())
    }


@cache
def learned(truth: str, training: str, sampling: str, units: int, quick: bool) -> hgn.Fit:
    cutoff = None if truth == "cut" else CUTOFF
    pair = hgn.Pair(units, SAMPLING[sampling], cutoff=cutoff)
    data = observed(truth, trained_on(training, quick))
    return hgn.fit(data, key=jr.key(0), terms=[hgn.Kinetic(), pair])


def encoder(quick: bool) -> hgn.Fit:
    data = observed("smoothed", trained_on("liquid and melt", quick))
    return hgn.fit(data, key=jr.key(0), terms=[hgn.MessagePassing(128, 64)])


def forces(fit: hgn.Fit, truth: str, quick: bool) -> list[Record]:
    """Records of the force error of each test; the paper's encoder is left out if too large."""
    records = []
    for name, (point, states) in tests(quick).items():
        if name == "larger" and not fit.model.separable:
            continue
        graphs = [observed(truth, [state]) for state in states]
        force = np.concatenate([graph.nodes["force"] for graph in graphs])
        wrong = np.concatenate([forces_of(fit.model, graph) for graph in graphs]) - force
        records.append(
            {
                "used_on": name,
                "atoms": len(states[0].nodes["mass"]),
                "relative_force_error": float(np.linalg.norm(wrong) / np.linalg.norm(force)),
                "out_of_range": sum(int(_out_of_range(fit.model, _padded(g))) for g in graphs),
                "training_residual": float(fit.residual),
                "state": {
                    "snapshots": len(states),
                    "density": point.density,
                    "temperature": point.temperature,
                    "nearest_pair": min(float(jnp.min(distance(graph))) for graph in graphs),
                },
            }
        )
    return records


def pair_force(fit: hgn.Fit, truth: str) -> Record:
    """Error of the pair force at distances inside the trained range and beyond."""
    learned, true = (
        jax.vmap(jax.grad(model.pair_energy))(jnp.asarray(R))
        for model in (fit.model, TRUTHS[truth])
    )
    return {
        "r": R.tolist(),
        "error": np.abs(learned - true).tolist(),
        "trained_range": fit.trained_range["pair"].ravel().tolist(),
    }


def structure(units: int, quick: bool) -> Record:
    """g(r) and energy drift of the learned and the true motion from one start."""
    start = tests(quick)["same state"][1][0]
    atoms = len(start.nodes["mass"])
    reach = min(5.0, float(start.globals["cell"][0, 0, 0]) / 2)
    watch = hgn.RadialDistribution(reach, bins=int(reach / 0.05))
    steps = 120 if quick else 2000
    model = learned("smoothed", "liquid and melt", "SWIM", units, quick).model
    g, energy = {}, {}
    for name, hamiltonian in (("learned", model), ("true", SMOOTHED)):
        path = hgn.rollout(hamiltonian, start, hgn.Every(10, steps // 10), dt=DT,
                           neighbours=NEIGHBOURS, observables=[watch], states=False)  # fmt: skip
        g[name] = np.asarray(path.observed[watch.name])[1:]
        energy[name] = np.asarray(path.energy)[1:] / atoms
    early, late = np.array_split(g["true"], 2)
    return {
        "atoms": atoms,
        "steps": steps,
        "max_difference_of_g": float(
            np.max(np.abs(np.mean(g["learned"], 0) - np.mean(g["true"], 0)))
        ),
        "of_halves_of_the_true_run": float(np.max(np.abs(np.mean(early, 0) - np.mean(late, 0)))),
        "energy_per_atom": {
            name: {"drift": _drift(e), "deviation": float(np.std(e))} for name, e in energy.items()
        },
        "g": {"r": watch.r.tolist()}
        | {name: np.mean(samples, 0).tolist() for name, samples in g.items()},
    }


def _drift(energy: np.ndarray) -> float:
    """Difference between the means over the last and the first tenth of the run."""
    tenth = max(len(energy) // 10, 1)
    return float(np.mean(energy[-tenth:]) - np.mean(energy[:tenth]))


def cases(quick: bool) -> Iterator[Case]:
    best = ("smoothed", "liquid and melt", "SWIM")
    few = ((*best, 128), ("smoothed", "liquid and melt", "ELM", 256))
    all_ = (
        *((*best, units) for units in (64, 128, 256, 512)),
        ("smoothed", "liquid", "SWIM", 256),
        *((truth, "liquid and melt", "ELM", 256) for truth in TRUTHS),
        ("force-shifted", "liquid and melt", "SWIM", 256),
        ("cut", "liquid", "ELM", 256),
    )
    for *names, units in few if quick else all_:
        settings = dict(zip(("truth", "training", "sampling"), names)) | {"units": units}
        yield Case(settings, partial(measure, **settings, quick=quick))
    settings = {"truth": "smoothed", "training": best[1], "sampling": "paper's encoder"}
    yield Case(settings, lambda: forces(encoder(quick), "smoothed", quick))
    settings = dict(zip(("truth", "training", "sampling"), best)) | {"units": 128}
    yield Case(settings | {"used_on": "rollout"}, partial(structure, 128, quick))


def measure(truth: str, training: str, sampling: str, units: int, quick: bool) -> list[Record]:
    fit = learned(truth, training, sampling, units, quick)
    first, *others = forces(fit, truth, quick)
    return [first | {"pair_force": pair_force(fit, truth)}, *others]


def draw(records: list[Record]) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    curves = (
        ("smoothed", "liquid and melt", "SWIM", 128, "#2a4d7a", "-"),
        ("smoothed", "liquid and melt", "ELM", 256, "#e08a2e", "-"),
        ("force-shifted", "liquid and melt", "ELM", 256, "#7a9a3a", "-"),
        ("cut", "liquid and melt", "ELM", 256, "#c8443c", "--"),
    )
    words = {
        "smoothed": f"smoothed from {ONSET}",
        "force-shifted": "force-shifted",
        "cut": f"cut at {CUTOFF}",
    }
    kept = {
        (r["truth"], r["training"], r["sampling"], r["units"]): r["pair_force"]
        for r in records
        if "pair_force" in r
    }
    for *which, colour, line in curves:
        if curve := kept.get(tuple(which)):
            label = f"{words[which[0]]}: {which[2]}, {which[3]} units"
            left.semilogy(curve["r"], curve["error"], line, color=colour, lw=1.2, label=label)
            near = curve["trained_range"][0]
    left.axvspan(R[0], near, color="0.9", lw=0)
    left.text(near, 0.98, " nearest trained pair", transform=left.get_xaxis_transform(),
              va="top", fontsize=8)  # fmt: skip
    for place, name in ((ONSET, "onset"), (CUTOFF, "cutoff")):
        left.axvline(place, color="0.5", lw=0.7, ls=":")
        left.text(place, 0.98, f"{name} ", transform=left.get_xaxis_transform(), ha="right",
                  va="top", fontsize=8)  # fmt: skip
    left.set(xlabel="distance r / sigma", ylabel="error (epsilon / sigma)",
             xlim=(R[0], R[-1]), ylim=(1e-11, None))  # fmt: skip
    figure.legend(*left.get_legend_handles_labels(), frameon=False, fontsize=9, ncols=4,
                  loc="outside lower center")  # fmt: skip
    (record,) = (r for r in records if "g" in r)
    g = record["g"]
    right.plot(g["r"], g["true"], color="0.6", lw=4, label="true")
    right.plot(g["r"], g["learned"], color="#c8443c", lw=1.2, label="learned")
    right.set(xlabel="distance r / sigma", ylabel="radial distribution g(r)")
    left.set_title(
        "Error of the learned pair force, by truth and sampling", fontsize=10, loc="left"
    )
    right.set_title(
        f"{record['atoms']} atoms, {record['steps']} steps of {DT}: "
        f"greatest difference {record['max_difference_of_g']:.2g}",
        fontsize=10,
        loc="left",
    )
    right.legend(frameon=False)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return figure


if __name__ == "__main__":
    main("molecular_dynamics", "Lennard-Jones liquid, edges by cutoff: relative force errors",
         cases, draw)  # fmt: skip
