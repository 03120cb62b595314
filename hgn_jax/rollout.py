"""Motion: Hamilton's equations of a model or a known system, integrated with a fixed step."""

from collections.abc import Sequence
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int
from jraph import GraphsTuple

from ._types import Rates
from .checks import check, is_concrete
from .graphs.geometry import graph_index
from .hamiltonian import AbstractHamiltonian
from .integrators.stormer_verlet import StormerVerlet


class Path(eqx.Module):
    """A trajectory of n bodies at t times."""

    times: Float[Array, " t"]
    position: Float[Array, "t n d"]
    momentum: Float[Array, "t n d"]
    energy: Float[Array, "t ..."]
    """H of the model that was integrated, `[t]`; `[t g]` for a batch of several graphs."""
    finite: Bool[Array, ""]
    """Whether state and energy stayed finite and every step could be solved. If not, outputs after
    `stopped_time` are not to be used; those that the integration never reached are NaN."""
    stopped_time: Float[Array, ""]
    stopped_node: Int[Array, ""]
    """The first body without a finite state, or -1."""


def rollout(
    model: AbstractHamiltonian,
    graph: GraphsTuple,
    times: ArrayLike | Sequence[float],
    *,
    dt: float,
    solver: diffrax.AbstractSolver = StormerVerlet(),
    throw: bool = True,
) -> Path:
    """Integrates the motion of `graph` from `times[0]` and returns it at all `times`.

    The chain of steps has the constant length `dt` whatever the output times: symplectic
    integrators lose their virtues if it varies. An output time between two steps is reached by a
    shorter step to the side, which never re-enters the chain.

    **Arguments:**

    - `model`: a learned model or a known system.
    - `graph`: start state at `times[0]`; a batch of graphs moves side by side.
    - `times`: `[t]`, strictly increasing, or strictly decreasing to go back in time.
    - `dt`: step, positive (time).
    - `solver`: `StormerVerlet()` needs a Hamiltonian that separates; `ImplicitMidpoint()` takes
        any, as do diffrax's explicit solvers (`diffrax.Dopri8()`: not symplectic, but accurate).
    - `throw`: raise if the state does not stay finite; if False look at `path.finite`.

    May be jitted and vmapped (over start graphs of one shape, or over models).

    **Raises:** `ValueError` for bad times, a bad graph, a graph of another dimension than the
    model's, or a solver that needs H = T(p) + V(q) and a model that is not. `RuntimeError` naming
    time and node if the state does not stay finite.
    """
    explicit = isinstance(solver.term_structure, tuple)
    if explicit and not model.separable:
        raise ValueError(
            f"{type(solver).__name__} needs H = T(p) + V(q), but this model mixes positions and "
            "momenta; use solver=hgn.ImplicitMidpoint()"
        )
    if is_concrete(graph):
        check(graph)
    steps = None if isinstance(times, jax.core.Tracer) else _check_times(np.asarray(times), dt)
    ts = jnp.asarray(times, graph.nodes["position"].dtype)
    step = jnp.asarray(dt, ts.dtype)
    path = _rollout(model, graph, ts, step, solver, steps)
    if isinstance(path.finite, jax.core.Tracer):
        if throw:
            words = (
                "the rollout did not stay finite: use a smaller dt, or throw=False to look at it"
            )
            path = eqx.error_if(path, ~path.finite, words)
        return path
    if throw and not bool(path.finite):
        cause = "the step could not be solved, or bodies met and the energy is not finite"
        if int(path.stopped_node) >= 0:
            stop = path.stopped_time
            again = jnp.stack([ts[0], stop - jnp.sign(stop - ts[0]) * dt, stop])
            cause = _culprit(model, graph, _rollout(model, graph, again, step, solver, steps))
        raise RuntimeError(
            f"rollout stopped at time {float(path.stopped_time):.6g}: {cause}. Use a smaller dt; "
            "if that does not help, the start may lie outside of the model's trained range"
        )
    return path


def _culprit(model: AbstractHamiltonian, graph: GraphsTuple, path: Path) -> str:
    """The body that is not finite at the end of the path; if all of them, since NaN spreads within
    a step, the one with the greatest acceleration just before."""
    bad = ~jnp.isfinite(path.position[-1] + path.momentum[-1]).all(axis=-1)
    node, words = int(jnp.argmax(bad)), "is not finite"
    if bool(bad.all()):
        state = (path.position[-2], path.momentum[-2])
        force = jnp.linalg.norm(model.vector_field(_at(graph, state))[1], axis=-1)
        mass = jnp.where(graph.nodes["mass"] > 0, graph.nodes["mass"], 1)
        node = int(jnp.argmax(jnp.where(jnp.isfinite(force), force / mass, jnp.inf)))
        words = "had the greatest acceleration before all bodies ceased to be finite"
    number = int(graph_index(graph)[node])
    where = f" of graph {number}" if graph.n_node.shape[0] > 1 else ""
    return f"node {node - int(jnp.sum(graph.n_node[:number]))}{where} {words}"


def _check_times(times: np.ndarray, dt: float) -> int:
    """Checks them and returns a bound on the number of steps, a power of two so that jit compiles
    seldom."""
    if times.ndim != 1 or len(times) < 1 or not np.isfinite(times).all():
        raise ValueError("times must be a finite array [t] with at least one entry")
    step = np.diff(times)
    if not ((step > 0).all() or (step < 0).all()):
        raise ValueError("times must be strictly increasing or strictly decreasing")
    if not 0 < dt < np.inf:
        raise ValueError(f"dt must be positive and finite, got {dt}")
    return 1 << int(abs(times[-1] - times[0]) / dt + 2).bit_length()


@eqx.filter_jit
def _rollout(
    model: AbstractHamiltonian,
    graph: GraphsTuple,
    times: Float[Array, " t"],
    dt: Float[Array, ""],
    solver: diffrax.AbstractSolver,
    max_steps: int | None,
) -> Path:
    # Time is counted in steps: integers are exact, a sum of many dt is not.
    elapsed = jnp.abs(times - times[0]) / dt
    rounding = 8 * jnp.finfo(times.dtype).eps * jnp.maximum(elapsed, 1)
    step = jnp.floor(elapsed + rounding)
    fraction = jnp.where(elapsed - step > rounding, elapsed - step, 0)
    h = jnp.where(times[-1] < times[0], -dt, dt)
    terms = _terms(model, graph, h, isinstance(solver.term_structure, tuple))
    start = (graph.nodes["position"], graph.nodes["momentum"])
    solution = diffrax.diffeqsolve(
        terms,
        solver,
        t0=0.0,
        t1=step[-1],
        dt0=1.0,
        y0=start,
        saveat=diffrax.SaveAt(
            subs=[diffrax.SubSaveAt(ts=step), diffrax.SubSaveAt(t1=True)],
        ),
        event=diffrax.Event(lambda t, y, args, **_: ~_finite(y)),
        max_steps=max_steps,
        throw=False,
    )
    (chain, end), (saved, _) = solution.ys, solution.ts
    last = jax.tree.map(lambda y: y[0], end)

    def aside(output: tuple[Array, Array, Rates]) -> tuple[Rates, Array]:
        k, part, y = output

        def move() -> tuple[Rates, Array]:
            state = solver.init(terms, k, k + part, y, None)
            moved, *_, result = solver.step(terms, k, k + part, y, None, state, False)
            return moved, jnp.asarray(result == diffrax.RESULTS.successful)

        return jax.lax.cond(part > 0, move, lambda: (y, jnp.array(True)))

    reached = jnp.isfinite(saved)
    chain = jax.tree.map(lambda y: jnp.where(reached[:, None, None], y, jnp.nan), chain)
    (q, p), stepped = jax.lax.map(aside, (step, fraction, chain))

    def energy(y: Rates) -> Array:
        return model(_at(graph, y))

    energies = jax.lax.map(energy, (q, p))
    bad_node = jnp.any(~jnp.isfinite(last[0]) | ~jnp.isfinite(last[1]), axis=-1)
    node = jnp.where(jnp.any(bad_node), jnp.argmax(bad_node), -1)
    solved = (solution.result == diffrax.RESULTS.successful) | (
        solution.result == diffrax.RESULTS.event_occurred
    )
    taken = solution.stats["num_accepted_steps"].astype(times.dtype)
    stopped = times[0] + h * taken
    good = stepped & _finite_each(energies) & _finite_each(q) & _finite_each(p)
    chained = solved & ~jnp.any(bad_node)
    return Path(
        times=times,
        position=q,
        momentum=p,
        energy=energies[:, 0] if energies.shape[1] == 1 else energies,
        finite=chained & jnp.all(good),
        stopped_time=jnp.where(chained & ~jnp.all(good), times[jnp.argmin(good)], stopped),
        stopped_node=node,
    )


def _terms(model: AbstractHamiltonian, graph: GraphsTuple, h: Array, explicit: bool) -> Any:
    def rates(q: Array, p: Array) -> Rates:
        return jax.tree.map(lambda rate: h * rate, model.vector_field(_at(graph, (q, p))))

    if not explicit:
        return diffrax.ODETerm(lambda t, y, args: rates(*y))
    # What a separable Hamiltonian does not look at is filled in with the start, and compiled away.
    q0, p0 = graph.nodes["position"], graph.nodes["momentum"]
    return (
        diffrax.ODETerm(lambda t, p, args: rates(q0, p)[0]),
        diffrax.ODETerm(lambda t, q, args: rates(q, p0)[1]),
    )


def _at(graph: GraphsTuple, y: Rates) -> GraphsTuple:
    return graph._replace(nodes=graph.nodes | {"position": y[0], "momentum": y[1]})


def _finite_each(outputs: Float[Array, "t ..."]) -> Bool[Array, " t"]:
    return jnp.all(jnp.isfinite(outputs.reshape(len(outputs), -1)), axis=1)


def _finite(y: tuple[Array, Array]) -> Bool[Array, ""]:
    return jnp.all(jnp.isfinite(y[0])) & jnp.all(jnp.isfinite(y[1]))
