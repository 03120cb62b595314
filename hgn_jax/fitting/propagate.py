"""Motion of a model over windows, and its derivatives by the starts and by theta."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree
from jraph import GraphsTuple

from .unknowns import Mover, columns_of, network_of, values_of, with_values
from .windows import Trajectories

_RUNGE_KUTTA = ((0, 1 / 6), (1 / 2, 1 / 3), (1 / 2, 1 / 3), (1, 1 / 6))
"""Nodes and weights of the four stages; each starts along the slope of the one before."""


def motion(
    model: Mover,
    trajectories: Trajectories,
    begins: Bool[Array, " f"],
    starts: Float[Array, "f D"],
    substeps: Int[Array, ""],
) -> Float[Array, "f D"]:
    """States at all frames, from the `starts` at the frames that begin a window; the starts
    themselves for frames in no window.

    The classical Runge-Kutta method of fourth order takes `substeps` equal steps between two
    frames.
    """

    def rates(state: Array, time: Array) -> Array:
        return _field(model, trajectories, state, time)

    states = _along(rates, trajectories, begins, starts, substeps, lambda start: start)
    return starts.at[trajectories.series].set(states)


def tangents(
    model: Mover,
    trajectories: Trajectories,
    begins: Bool[Array, " f"],
    starts: Float[Array, "f D"],
    substeps: Int[Array, ""],
    *,
    by_theta: bool,
) -> tuple[Float[Array, "f D"], Float[Array, "f D c"]]:
    r"""States as in `motion`, and their derivatives T by the start of their window, followed by
    those by unknown masses or charges and those by theta.

    The method is applied to the variational equations, $\dot T = J T + [0 \; U \; Z]$ with the
    derivatives J, U and Z of the rates by the state, by what is unknown and by theta: these are
    the exact derivatives of the discrete motion.
    """
    d, unknown = starts.shape[1], values_of(model, starts.dtype)
    both = d + len(unknown)
    width = sum(len(theta) for theta in network_of(model).theta) if by_theta else 0

    def rates(pair: tuple[Array, Array], time: Array) -> tuple[Array, Array]:
        state, tangent = pair

        def field(arguments: Array) -> Array:
            moved = with_values(model, arguments[d:])
            return _field(moved, trajectories, arguments[:d], time)

        # One linearisation of the rates serves all columns.
        value, push = jax.linearize(field, jnp.concatenate([state, unknown]))
        jacobian = jax.vmap(push, in_axes=1, out_axes=1)(jnp.eye(both, dtype=state.dtype))
        change = (jacobian[:, :d] @ tangent).at[:, d:both].add(jacobian[:, d:])
        if by_theta:
            change = change.at[:, both:].add(_columns(model, trajectories, state, time))
        return value, change

    def begun(start: Array) -> tuple[Array, Array]:
        return start, jnp.eye(d, both + width, dtype=start.dtype)

    states, derivatives = _along(rates, trajectories, begins, starts, substeps, begun)
    return starts.at[trajectories.series].set(states), trajectories.by_frame(derivatives)


def _moved(trajectories: Trajectories, state: Array, time: Array) -> GraphsTuple:
    """The graph in that state, at that time."""
    graph, names = trajectories.graph, trajectories.names
    arrays = state.reshape(len(names), *graph.nodes["position"].shape)
    nodes = graph.nodes | dict(zip(names, arrays))
    return graph._replace(nodes=nodes, globals=graph.globals | {"time": time[None]})


def _field(
    model: Mover, trajectories: Trajectories, state: Array, time: Array
) -> Float[Array, " D"]:
    """Rates of the state as one vector."""
    rates = model.vector_field(_moved(trajectories, state, time))
    return jnp.concatenate([rate.ravel() for rate in rates])


def _columns(
    model: Mover, trajectories: Trajectories, state: Array, time: Array
) -> Float[Array, "D K"]:
    """Z: derivatives of the rates by the coefficients of all terms."""
    each = len(state) // len(trajectories.names)
    rows = [
        jnp.concatenate(
            [
                jnp.zeros((each, len(theta)), state.dtype)
                if column is None
                else column.reshape(each, -1)
                for column, theta in zip(of_terms, network_of(model).theta)
            ],
            axis=1,
        )
        for of_terms in columns_of(model, _moved(trajectories, state, time))
    ]
    return jnp.concatenate(rows)


def _along(
    rates: Callable[[Any, Array], Any],
    trajectories: Trajectories,
    begins: Bool[Array, " f"],
    starts: Float[Array, "f D"],
    substeps: Int[Array, ""],
    begun: Callable[[Array], Any],
) -> Any:
    """Integrates all stretches side by side, `[s t ...]`; at the first frame of a window the state
    is `begun` from its start."""

    def add(tree: PyTree, scale: Array, change: PyTree) -> PyTree:
        return jax.tree.map(lambda a, b: a + scale * b, tree, change)

    def step(y: PyTree, t: Array, h: Array) -> PyTree:
        def stage(
            carry: tuple[PyTree, PyTree], of_stage: Array
        ) -> tuple[tuple[PyTree, PyTree], None]:
            slope, total = carry
            node, weight = of_stage
            slope = rates(add(y, node * h, slope), t + node * h)
            return (slope, add(total, weight * h, slope)), None

        # A loop, so that the rates are compiled once and not four times.
        still = jax.tree.map(jnp.zeros_like, y)  # unused: the first node is 0
        return jax.lax.scan(stage, (still, y), jnp.asarray(_RUNGE_KUTTA, t.dtype))[0][1]

    def stretch(
        times: Float[Array, " t"], begins: Bool[Array, " t"], starts: Float[Array, "t D"]
    ) -> PyTree:
        count = substeps.astype(times.dtype)

        def frame(y: PyTree, to: tuple[Array, Array, Array, Array]) -> tuple[PyTree, PyTree]:
            before, after, begins, start = to
            h = (after - before) / count
            # A traced number of steps: more of them need no compilation.
            y = jax.lax.fori_loop(
                jnp.zeros_like(substeps),
                substeps,
                lambda k, y: step(y, before + k.astype(h.dtype) * h, h),
                y,
            )
            # A window that begins here discards the motion so far.
            y = jax.tree.map(lambda new, old: jnp.where(begins, new, old), begun(start), y)
            return y, y

        first = begun(starts[0])
        _, after = jax.lax.scan(frame, first, (times[:-1], times[1:], begins[1:], starts[1:]))
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, after)

    return jax.vmap(stretch)(
        trajectories.along(trajectories.time),
        # Repeated frames begin nothing: they would undo the window of their last frame.
        trajectories.along(begins) & _new(trajectories.series),
        trajectories.along(starts),
    )


def _new(series: Int[Array, "s t"]) -> Bool[Array, "s t"]:
    """True for frames that do not repeat the one before."""
    return jnp.concatenate([jnp.full((len(series), 1), True), series[:, 1:] != series[:, :-1]], 1)
