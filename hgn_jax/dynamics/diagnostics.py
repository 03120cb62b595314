"""Diagnosis of a failed rollout: body, closest pair, suggested time step."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

from .._tree import all_finite
from .._types import Rates
from ..graphs.cell import Cell
from ..graphs.geometry import distance, edge_mask, graph_index, graph_mask, node_mask
from ..integrators.cell_rescaling import GREATEST
from ..integrators.thermostat import AbstractThermostat
from ..models.base import AbstractModel
from ..models.network import HamiltonianGraphNetwork
from .state import Run, State
from .stepper import Motion
from .trajectory import Trajectory

TOLERATED = 0.5
"""Energy change, relative to the largest kinetic energy so far, above which a rollout failed."""
ROUNDING = 1e4
"""Allowed rounding error of the energy, in units of its last digit."""
NEAR = 1.03
"""Ratio to the least height below which a cell counts as too small."""
PERIOD = 30
"""Number of suggested steps per period of the fastest oscillation."""


def raise_if_wrong(motion: Motion, run: Run, path: Trajectory) -> None:
    """Raises `RuntimeError` if a rollout did not stay finite, or its energy jumped."""
    model, before = motion.model, _graph_at(motion, run.before)
    if not bool(path.finite):
        if cell := _cell_failed(motion, run):
            raise RuntimeError(f"rollout stopped at time {float(path.stopped_time):.6g}: {cell}")
        if not bool(run.after.solved):
            cause = "the step could not be solved"
        elif not bool(all_finite(run.after.y)):
            cause = _left_the_skin(motion, before)
            cause = cause or culprit(model, before, _graph_at(motion, run.after))
        else:
            cause = "the step could not be solved, or bodies met and the energy is not finite"
        raise RuntimeError(
            f"rollout stopped at time {float(path.stopped_time):.6g}: {cause}. "
            f"{_advice(motion, before)}"
        )
    if not model.conserves_energy or "momentum" not in model.dynamics.state:
        return
    if isinstance(motion.integrator, AbstractThermostat):
        return
    graph_count = path.energy.reshape(len(path.times), -1).shape[1]
    # Outputs of the run hold padding, the path does not.
    energy, kinetic = (
        np.asarray(values)[:, :graph_count] for values in (run.outputs.energy, run.outputs.kinetic)
    )
    jump = first_jump(energy, kinetic)
    if jump is None:
        return
    output, number = jump
    whose = f" of graph {number}" if graph_count > 1 else ""
    raise RuntimeError(
        f"the energy{whose} went from {energy[0, number]:.6g} to {energy[output, number]:.6g} by "
        f"time {float(path.times[output]):.6g}, a change of more than half of the greatest kinetic "
        f"energy {kinetic[: output + 1, number].max():.6g}: the step is too long, or bodies "
        f"collide. {_advice(motion, at_start(motion))}"
    )


def warn_about_range(motion: Motion) -> None:
    """Warns of a start outside of the trained range of a learned model."""
    counts = {name: int(np.sum(count)) for name, count in _out_of_range(motion).items()}
    if any(counts.values()):
        words = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
        warnings.warn(
            f"the start is outside of the model's trained range ({words}): there the model "
            "extrapolates",
            stacklevel=3,
        )


@eqx.filter_jit
def at_start(motion: Motion) -> GraphsTuple:
    """The graph at the first time, with its neighbour list."""
    return motion.at(motion.begin(), motion.find(motion.begin()), motion.time_at_start())


@eqx.filter_jit
def _out_of_range(motion: Motion) -> dict[str, Array]:
    assert isinstance(motion.model, HamiltonianGraphNetwork)
    return motion.model.out_of_range(at_start(motion))


@eqx.filter_jit
def _graph_at(motion: Motion, state: State) -> GraphsTuple:
    return motion.graph_at(state)


def _left_the_skin(motion: Motion, before: GraphsTuple) -> str:
    """Message about a step longer than half the skin, for which any list is stale; empty if the
    step is shorter."""
    if motion.neighbours is None:
        return ""
    velocity = np.asarray(_vector_field(motion.model, before)[0])
    # A body whose rate is NaN must not hide the others.
    farthest = abs(float(motion.dt)) * float(np.nanmax(np.linalg.norm(velocity, axis=1)))
    if not farthest > motion.neighbours.skin / 2:
        return ""
    return (
        f"a body moves by {farthest:.3g} in one step, more than half of the neighbours' skin "
        f"{motion.neighbours.skin:g}: use a larger skin or a smaller dt"
    )


def _cell_failed(motion: Motion, run: Run) -> str:
    """Message about a barostat that moves the cell too far, or makes it too small for its
    neighbours; empty otherwise."""
    if motion.barostat is None:
        return ""
    if not bool(run.after.solved):
        return (
            f"the barostat would change the cell by more than {GREATEST:.0%} at once. Check the "
            "units of pressure (energy / length^d) and compressibility, start nearer to the "
            "pressure, or give the barostat a longer time"
        )
    cell, spec = Cell(np.asarray(run.before.cell, float)[0]), motion.neighbours
    least = cell.heights.min()
    if spec is None or (least > NEAR * 2 * spec.cutoff and bool(spec.spans(cell))):
        return ""
    return (
        f"the cell has shrunk to the height {least:.4g}, too small for neighbours up to the cutoff "
        f"{spec.cutoff:g} and the skin {spec.skin:g}: repeat the cell along short axes, or ask for "
        "a lower pressure"
    )


def _advice(motion: Motion, graph: GraphsTuple) -> str:
    dt = abs(float(motion.dt))
    enough = float(suggested_step(motion.model, graph)) if _oscillates(motion.model) else np.inf
    step = f"such as dt={min(enough, dt / 2):.2g}" if np.isfinite(enough) else "such as half of it"
    return (
        f"Use a smaller dt, {step}; if that does not help, the start may lie outside of the "
        "model's trained range"
    )


def _oscillates(model: AbstractModel) -> bool:
    return model.dynamics.state == ("position", "momentum")


def first_jump(
    energy: Float[np.ndarray, "t g"], kinetic: Float[np.ndarray, "t g"]
) -> tuple[int, int] | None:
    """The first output and graph whose energy has changed more than a valid step allows."""
    greatest = np.maximum.accumulate(kinetic, axis=0)
    rounding = ROUNDING * np.finfo(energy.dtype).eps * np.abs(energy[:1])
    jumped = np.abs(energy - energy[:1]) > TOLERATED * greatest + rounding
    if not jumped.any():
        return None
    output, graph = np.argwhere(jumped)[0]
    return int(output), int(graph)


def culprit(model: AbstractModel, before: GraphsTuple, after: GraphsTuple) -> str:
    """Names the body that is not finite after the step.

    NaN spreads within a step: if all bodies are NaN, it names the one with the greatest
    acceleration before.
    """
    mask = np.asarray(node_mask(before))
    bad = mask & ~np.isfinite(_state(after)).all(axis=1)
    node, words = int(np.argmax(bad)), "is not finite"
    if bad[mask].all():
        with np.errstate(over="ignore"):  # squares of huge forces
            rate = np.linalg.norm(np.asarray(_vector_field(model, before)[-1]), axis=1)
        mass = before.nodes.get("mass", np.ones(len(rate)))
        pull = np.where(mask, rate / np.where(mask, mass, 1), -np.inf)  # padding has no mass
        node = int(np.argmax(np.where(np.isnan(pull), np.inf, pull)))
        fastest = "acceleration" if _oscillates(model) else "rate"
        words = f"had the greatest {fastest} before all bodies ceased to be finite"
    return f"{named(before, node)} {words}{nearest(before)}"


def nearest(graph: GraphsTuple) -> str:
    """Names the closest joined pair."""
    mask = np.asarray(edge_mask(graph))
    if not mask.any():
        return ""
    r = np.where(mask, np.asarray(distance(graph)), np.inf)
    edge = int(np.argmin(r))
    pair = sorted((int(graph.senders[edge]), int(graph.receivers[edge])))
    first, second = (named(graph, node) for node in pair)
    return f" (nearest: {first} and {second.removeprefix('node ')}, {r[edge]:.3g} apart)"


def named(graph: GraphsTuple, node: int) -> str:
    """Name of a body: its number within its graph."""
    number = int(graph_index(graph)[node])
    several = int(np.sum(graph_mask(graph))) > 1
    where = f" of graph {number}" if several else ""
    return f"node {node - int(np.asarray(graph.n_node)[:number].sum())}{where}"


@eqx.filter_jit
def suggested_step(model: AbstractModel, graph: GraphsTuple) -> Float[Array, ""]:
    r"""Time step with 30 steps per period of the fastest oscillation about the state.

    Its frequency $\omega$ is the greatest of the linearised motion, $J^2 v = -\omega^2 v$, by power
    iteration with products of the Jacobian J of Hamilton's equations.
    """
    at = (graph.nodes["position"], graph.nodes["momentum"])

    def rates(q: Array, p: Array) -> Rates:
        moved = graph.nodes | {"position": q, "momentum": p}
        return model.vector_field(graph._replace(nodes=moved))

    def along(v: Rates) -> Rates:
        return jax.jvp(rates, at, v)[1]

    def scaled(v: Rates) -> tuple[Rates, Array]:
        size = jnp.sqrt(sum(jnp.sum(x**2) for x in v))
        return jax.tree.map(lambda x: x / jnp.where(size > 0, size, 1), v), size

    def power(_: Array, carry: tuple[Rates, Array]) -> tuple[Rates, Array]:
        # Positions only: momenta have another unit.
        q, p = along(along(carry[0]))
        return scaled((q, jnp.zeros_like(p)))

    q, p = (jr.normal(jr.key(0), x.shape, x.dtype) for x in at)  # random: no direction is missed
    first, _ = scaled((q, jnp.zeros_like(p)))
    _, square = jax.lax.fori_loop(0, 30, power, (first, jnp.ones((), q.dtype)))
    return 2 * jnp.pi / PERIOD / jnp.sqrt(square)  # inf if nothing oscillates


@eqx.filter_jit
def _vector_field(model: AbstractModel, graph: GraphsTuple) -> Rates:
    return model.vector_field(graph)


def _state(graph: GraphsTuple) -> np.ndarray:
    names = [name for name in ("position", "momentum") if name in graph.nodes]
    return np.concatenate([graph.nodes[name] for name in names], axis=1)
