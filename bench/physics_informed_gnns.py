"""Springs and gravity of the NeurIPS 2022 benchmark: rollouts of 10 time units from fresh starts.

Thangamuthu et al., arXiv 2211.05520: n springs (|r|^2 - 1)^2 on a closed ring in the plane, and
four bodies under gravity, all of unit mass; 100 training rollouts of 100 points. The suite tests
on training starts (springs) or their mirror image (gravity). Here all test starts are fresh, except
with the suite's own files in `--data` (5 springs: its fresh rollouts; gravity: later parts of its
only run). The suite has one start for gravity, two binaries; ours lie around it, with coordinates
within 0.2 and momenta within 0.05. The baseline, a Hamiltonian graph network, is trained as in the
suite (Adam, mean square error of all rates, minibatches of 100, a quarter of the data for
validation), for a part of its 10,000 epochs.
"""

import argparse
import zipfile
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import matplotlib.pyplot as plt
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Float
from jraph import GraphsTuple
from matplotlib.figure import Figure

import hgn_jax as hgn

from .hgnn import HGNN, parameters
from .record import Case, Record, main, seconds

OURS = "random features"
RIVALS = {"HGNN of width 5": 5, "HGNN of width 32": 32}
EPOCHS = {5: 600, 32: 60}
# From the suite's own code and tests, for all 10,000 epochs, run once on two CPU cores.
SUITE_GM = {5: 4.2e-3, 20: 6.0e-3, 50: 8.6e-3}
SUITE_SECONDS = 1414

TIMES = 0.1 * np.arange(101)
DT, RIVAL_DT = 0.01, 0.05

MOVING = ("position", "velocity", "momentum", "acceleration")
KEYS = (*MOVING, "mass", "t", "senders", "receivers")
FILES = ("spring5_train.npz", "spring5_test.npz", "nbody4_train.npz")

States = tuple[Float[Array, "g n d"], Float[Array, "g n d"]]
Arrays = dict[str, np.ndarray]


class Square(hgn.systems.AbstractStart):
    """The suite's starts: positions uniform in a square of side 2, momenta uniform in (0, 0.1)
    minus their mean."""

    sites: Float[Array, "n d"]

    def offsets(self, key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> tuple[Array, Array]:
        q, p = jr.split(key)
        momentum = 0.1 * jr.uniform(p, shape, dtype)
        return (
            2 * jr.uniform(q, shape, dtype) - self.sites[None],
            momentum - momentum.mean(axis=1, keepdims=True),
        )


class Problem(NamedTuple):
    """A system, training snapshots, and a graph and test starts for every number of nodes."""

    system: hgn.systems.System
    train: GraphsTuple
    tests: dict[int, tuple[GraphsTuple, States]]


class Motion(NamedTuple):
    """Trajectories of all starts: `position` and `momentum` `[g t n d]`, `finite` `[g]`."""

    position: Array
    momentum: Array
    finite: Array


def cases(quick: bool, data: Path | None) -> list[Case]:
    if data is not None:
        suite_arrays(data)
    source = "regenerated" if data is None else f"the suite's in {data}"
    systems = ("springs",) if quick else ("springs", "gravity")
    return [
        Case(
            {"system": system, "model": model, "data": source},
            partial(measure, system, model, data, quick=quick),
        )
        for system in systems
        for model in (OURS, *RIVALS)[: 2 if quick else 3]
    ]


def measure(name: str, model: str, folder: Path | None, *, quick: bool) -> list[Record]:
    system, data, tests = problem(name, folder, quick)
    if quick:
        data = hgn.graphs.take(data, np.arange(len(data.n_node)) % 5 == 0)
    if model == OURS:
        (learned, cost, details), dt = _fitted(data), DT
    else:
        hidden = RIVALS[model]
        learned, cost, details = _trained(data, hidden, 4 if quick else EPOCHS[hidden])
        dt = RIVAL_DT
    records = []
    for nodes, (graph, start) in tests.items():
        truth, coarse = truths(name, nodes, folder, quick)
        path = rollouts(learned, graph, start, dt)
        of = errors(system, graph, path, truth)
        suite = None
        if name == "springs" and model == "HGNN of width 5":
            suite = {
                "position_error_gm": SUITE_GM[nodes],
                "training_seconds": SUITE_SECONDS,
            }
        records.append(
            {"nodes": nodes}
            | {f"{key}_error_gm": geometric_mean(error) for key, error in of.items()}
            | {"pairs_out_of_range": _out_of_range(learned, graph, truth)}
            | cost
            | {
                "details": details
                | {
                    "snapshots": len(data.n_node),
                    "rollouts": len(start[0]),
                    "diverged": int((~path.finite).sum()),
                    "worst_position_error": float(of["position"].max()),
                    "integration_error_gm": geometric_mean(
                        errors(system, graph, coarse, truth)["position"]
                    )
                    if dt == DT
                    else None,
                    "pairs": truth.position[:, :, 0, 0].size * len(graph.senders) // 2,
                },
                "suite": suite,
                "times": TIMES.round(6).tolist(),
                "position_error": [float(f"{e:.3g}") for e in _over_rollouts(of["position"])],
            }
        )
    return records


def relative_difference(a: Float[np.ndarray, "... k"], b: Float[np.ndarray, "... k"]) -> np.ndarray:
    r"""The suite's $Z = |a - b| / (|a| + |b|)$ over the last axis, at least the rounding error.

    If a is not finite it is 1, the limit for infinite |a|.
    """
    size = np.linalg.norm(a, axis=-1) + np.linalg.norm(b, axis=-1)
    return _relative(np.linalg.norm(a - b, axis=-1), size)


def errors(
    system: hgn.systems.System, graph: GraphsTuple, path: Motion, truth: Motion
) -> dict[str, Float[np.ndarray, "g t"]]:
    r"""Errors of positions, energy and momentum of every rollout at all times.

    Position: Z over all bodies' coordinates. Energy: Z of the true Hamiltonian along both paths.
    Momentum: $|P - P'| / \sum_i (|p_i| + |p_i'|)$: the springs' total P is zero.
    """
    q, p, q_true, p_true = (
        np.asarray(a) for a in (path.position, path.momentum, truth.position, truth.momentum)
    )
    size = sum(np.linalg.norm(a, axis=-1).sum(axis=-1) for a in (p, p_true))
    return {
        "position": relative_difference(*(a.reshape(*a.shape[:2], -1) for a in (q, q_true))),
        "energy": relative_difference(
            *(_energies(system, graph, x)[..., None] for x in (path, truth))
        ),
        "momentum": _relative(np.linalg.norm((p - p_true).sum(axis=2), axis=-1), size),
    }


def geometric_mean(error: Float[np.ndarray, "g t"]) -> float:
    """Geometric mean over the rollouts, then over t > 0."""
    return float(np.exp(np.log(_over_rollouts(error)[1:]).mean()))


def rollouts(model: hgn.AbstractModel, graph: GraphsTuple, start: States, dt: float) -> Motion:
    """Rollouts by Dormand-Prince 8(7) with a fixed step: separate, as any of them may diverge."""
    return _rollouts(model, graph, start, jnp.asarray(TIMES), jnp.asarray(dt))


@eqx.filter_jit
def _rollouts(
    model: hgn.AbstractModel, graph: GraphsTuple, start: States, times: Array, dt: Array
) -> Motion:
    def one(position: Array, momentum: Array) -> Motion:
        at = graph._replace(nodes=graph.nodes | {"position": position, "momentum": momentum})
        path = hgn.rollout(model, at, times, dt=dt, integrator=diffrax.Dopri8(), throw=False)
        return Motion(path.position, path.momentum, path.finite)

    return jax.vmap(one)(*start)


@cache
def truths(name: str, nodes: int, folder: Path | None, quick: bool) -> tuple[Motion, Motion]:
    """True motion, also with twice the step, which is that of the random features."""
    system, _, tests = problem(name, folder, quick)
    graph, start = tests[nodes]
    return rollouts(system, graph, start, DT / 2), rollouts(system, graph, start, DT)


@cache
def problem(name: str, folder: Path | None, quick: bool) -> Problem:
    """Problem with regenerated data or, if there is a folder, the suite's arrays."""
    arrays = None if folder is None else suite_arrays(folder)
    count = 5 if quick else 20
    if name == "gravity":
        return _gravity(arrays, count)
    return _springs(arrays, count, (5,) if quick else (5, 20, 50))


def _springs(arrays: dict[str, Arrays] | None, count: int, sizes: tuple[int, ...]) -> Problem:
    system = hgn.systems.mass_spring("double_well")

    def drawn(nodes: int, seed: int, count: int) -> tuple[GraphsTuple, States]:
        graph = hgn.graphs.ring(nodes)
        return graph, _starts(system, graph, Square(graph.nodes["position"]), seed, count)

    tests = {nodes: drawn(nodes, 1, count) for nodes in sizes}
    if arrays is None:
        return Problem(system, _simulated(system, *drawn(5, 0, 100)), tests)
    test = arrays["spring5_test.npz"]
    tests[5] = hgn.graphs.ring(5), _states(test["position"][:count, 0], test["momentum"][:count, 0])
    return Problem(system, _observed(arrays["spring5_train.npz"]), tests)


def _gravity(arrays: dict[str, Arrays] | None, count: int) -> Problem:
    system = hgn.systems.gravity()
    sites = jnp.array([[1.0, 0, 0], [9, 0, 0], [11, 0, 0], [-1, 0, 0]])
    momentum = jnp.zeros_like(sites).at[:, 1].set(jnp.array([0.05, -0.05, 0.65, -0.65]))
    graph = hgn.graphs.fully_connected(4, 3, position=sites)
    graph = system.couple(graph._replace(nodes=graph.nodes | {"momentum": momentum}))
    if arrays is None:
        draw = partial(_starts, system, graph, hgn.systems.Uniform(0.2, 0.05))
        return Problem(
            system, _simulated(system, graph, draw(0, 100)), {4: (graph, draw(1, count))}
        )
    whole = arrays["nbody4_train.npz"]
    # One long run, which the suite cuts into 100 pieces; the last quarter is held out.
    moving = {key: whole[key].reshape(100, -1, *whole[key].shape[2:]) for key in MOVING}
    train = {key: array[:75] for key, array in moving.items()}
    train |= {"t": whole["t"].reshape(100, -1)[:75]}
    start = (moving[key][75 : 75 + count, 0] for key in ("position", "momentum"))
    return Problem(system, system.couple(_observed(whole | train)), {4: (graph, _states(*start))})


def _starts(
    system: hgn.systems.System,
    graph: GraphsTuple,
    start: hgn.systems.AbstractStart,
    seed: int,
    count: int,
) -> States:
    data = hgn.systems.simulate(system, graph, key=jr.key(seed), trajectories=count, start=start)
    shape = (count, *graph.nodes["position"].shape)
    return _states(*(data.nodes[key].reshape(shape) for key in ("position", "momentum")))


def _states(position: ArrayLike, momentum: ArrayLike) -> States:
    return jnp.asarray(position), jnp.asarray(momentum)


def _simulated(system: hgn.systems.System, graph: GraphsTuple, start: States) -> GraphsTuple:
    """Snapshots with exact rates from rollouts of 100 points."""
    path, count = rollouts(system, graph, start, DT), len(start[0])
    data = _snapshots(graph, Motion(path.position[:, :100], path.momentum[:, :100], path.finite))
    velocity, force = system.vector_field(data)
    return data._replace(
        nodes=data.nodes | {"velocity": velocity, "force": force},
        globals={"trajectory": jnp.repeat(jnp.arange(count), 100)},
    )


def _snapshots(graph: GraphsTuple, path: Motion) -> GraphsTuple:
    shape = (-1, *path.position.shape[2:])
    states = {"position": path.position, "momentum": path.momentum}
    return hgn.graphs.snapshots(graph, {k: jnp.reshape(a, shape) for k, a in states.items()}, {})


def _observed(arrays: Arrays) -> GraphsTuple:
    ends = np.stack([arrays["senders"], arrays["receivers"]], axis=1)
    return hgn.graphs.from_trajectories(
        arrays["t"],
        arrays["position"],
        velocity=arrays["velocity"],
        momentum=arrays["momentum"],
        force=arrays["mass"][:, None] * arrays["acceleration"],
        mass=arrays["mass"],
        edges=ends[ends[:, 0] < ends[:, 1]],
    )


@cache
def suite_arrays(folder: Path) -> dict[str, Arrays]:
    """The suite's files by name. Exits with an error that names a missing folder, file or array."""
    if not folder.is_dir():
        raise SystemExit(f"--data: there is no folder {folder}")
    return {name: _read(folder / name) for name in FILES}


def _read(path: Path) -> Arrays:
    if not path.is_file():
        raise SystemExit(f"--data: there is no file {path}; needed are {', '.join(FILES)}")
    try:
        with np.load(path, allow_pickle=False) as file:
            if missing := [key for key in KEYS if key not in file]:
                raise SystemExit(f"--data: {path} lacks {missing}; it holds {sorted(file)}")
            return {key: file[key] for key in KEYS}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise SystemExit(f"--data: {path} cannot be read: {error}") from error


def _fitted(data: GraphsTuple) -> tuple[hgn.AbstractModel, Record, Record]:
    fits = []

    def fit() -> hgn.Fit:
        fits.append(hgn.fit(data, key=jr.key(2)))
        return fits[-1]

    first, warm = seconds(fit, 2)
    model = fits[-1].model
    size = sum(theta.size for theta in model.theta)
    details = {"training_seconds_with_compilation": first}
    return model, {"parameters": size, "training_seconds": warm}, details


def _trained(
    data: GraphsTuple, hidden: int, epochs: int
) -> tuple[hgn.AbstractModel, Record, Record]:
    dimension = data.nodes["position"].shape[1]
    training = hgn.train(
        HGNN(hidden, dimension, key=jr.key(3)),
        data,
        key=jr.key(4),
        optimizer=optax.adam(1e-3),
        epochs=epochs,
        batch_size=100,
        validation=0.25,
        weights="uniform",
    )
    total = float(training.seconds[-1])
    each = (total - float(training.seconds[0])) / (epochs - 1)
    cost = {
        "parameters": parameters(training.model),
        "training_seconds": epochs * each,
        "seconds_extrapolated_to_10000_epochs": 10_000 * each,
    }
    details = {
        "training_seconds_with_compilation": total,
        "epochs": epochs,
        "batch_size": 100,
        "relative_validation_loss": float(training.validation.min()),
    }
    return training.model, cost, details


def _energies(system: hgn.systems.System, graph: GraphsTuple, path: Motion) -> np.ndarray:
    energies = eqx.filter_jit(system)(_snapshots(graph, path))
    return np.asarray(energies).reshape(path.position.shape[:2])


def _out_of_range(model: hgn.AbstractModel, graph: GraphsTuple, path: Motion) -> int | None:
    """Number of pairs out of range along the true trajectories."""
    if not isinstance(model, hgn.HamiltonianGraphNetwork):
        return None
    return int(eqx.filter_jit(model.out_of_range)(_snapshots(graph, path))["pair"].sum())


def _relative(difference: np.ndarray, size: np.ndarray) -> np.ndarray:
    relative = np.divide(difference, size, out=np.ones_like(size), where=np.isfinite(size))
    return np.maximum(relative, np.finfo(size.dtype).eps)


def _over_rollouts(error: Float[np.ndarray, "g t"]) -> Float[np.ndarray, " t"]:
    return np.exp(np.log(error).mean(axis=0))


def draw(records: list[Record]) -> Figure:
    """Error of positions against time, one panel for every system and number of nodes."""
    panels = list(dict.fromkeys((r["system"], r["nodes"]) for r in records))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(3.1 * len(panels), 3.8), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    colours = dict(zip((OURS, *RIVALS), ("#2a4d7a", "#c8443c", "#e08a2e")))
    for ax, (system, nodes) in zip(axes[0], panels):
        for record in records:
            if (record["system"], record["nodes"]) == (system, nodes):
                name = record["model"]
                ax.semilogy(record["times"][1:], record["position_error"][1:], color=colours[name],
                            lw=1.6, label=name)  # fmt: skip
        if system == "springs":
            ax.axhline(SUITE_GM[nodes], color="0.4", lw=1, ls=":",
                       label="HGNN, all 10,000 epochs: mean over time")  # fmt: skip
        bodies = "springs" if system == "springs" else "bodies under gravity"
        ax.set_title(f"{nodes} {bodies}", fontsize=10, loc="left")
        ax.set_xlabel("time")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    axes[0, 0].set_ylabel("relative error of positions\n|a - b| / (|a| + |b|)")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, help="folder of the suite's arrays, to be used instead"
    )


if __name__ == "__main__":
    main("physics_informed_gnns", "Rollouts over 10 time units: geometric means of relative errors",
         cases, draw, arguments=arguments)  # fmt: skip
