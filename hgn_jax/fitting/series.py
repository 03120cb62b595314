"""The bodies of a batch as time series, cut into windows, and sums along them."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from jraph import GraphsTuple

from ..graphs.geometry import graph_index, graph_mask, movable

GAP = 3.0
"""Steps longer than this many times the median step are gaps."""


class Series(eqx.Module):
    """Nodes in an order in which the frames of one body follow one another.

    All arrays are in that order. A window holds consecutive frames of one trajectory, without a
    gap; sizes may differ from window to window, so everything works inside jit.
    """

    order: Int[Array, " n"]
    """Number of each node in the batch."""
    time: Float[Array, " n"]
    place: Int[Array, " n"]
    """Number of frames since the window began."""
    size: Int[Array, " n"]
    """Number of frames of the window."""

    def shifted(self, values: Float[Array, "n ..."], back: int) -> Float[Array, "n ..."]:
        """The values `back` frames earlier, zero where the window had not begun."""
        # The mask hides what `roll` wraps around: the first frame has place 0.
        return jnp.where(_like(self.place >= back, values), jnp.roll(values, back, axis=0), 0)

    def cumulative(self, values: Float[Array, "n ..."], longest: int) -> Float[Array, "n ..."]:
        """Sums from the start of each window to each of its frames; `longest` bounds the windows.

        By doubling: no sum reaches across windows, and none loses digits to a long total.
        """
        back = 1
        while back < longest:
            values = values + self.shifted(values, back)
            back *= 2
        return values


def series(
    graphs: GraphsTuple, window: int | Int[Array, ""] | None, longest_step: Float[Array, ""]
) -> Series:
    """The series of a batch whose consecutive frames of equal `trajectory` are ordered in time.

    Windows begin at every `window`-th frame of a trajectory, and after steps longer than
    `longest_step`; None makes a window of everything between two gaps.
    """
    time, number = graphs.globals["time"], graphs.globals["trajectory"]
    frame = jnp.arange(len(time), dtype=jnp.int32)
    step = jnp.diff(time, prepend=time[:1])
    # Times that do not increase, or are NaN, begin a stretch of their own.
    begins = _changes(number) | _changes(graphs.n_node) | ~(step > 0) | ~graph_mask(graphs)
    cuts = begins | (step > longest_step)
    if window is not None:
        # From the start of the trajectory, not from a gap: chunks are cut in the same places.
        cuts |= _since(begins) % window == 0
    number_of = jnp.cumsum(cuts, dtype=jnp.int32) - 1
    sizes = jax.ops.segment_sum(jnp.ones_like(frame), number_of, len(frame))[number_of]
    of_node = graph_index(graphs)
    n_node = graphs.n_node.astype(jnp.int32)
    body = jnp.arange(len(of_node), dtype=jnp.int32) - (jnp.cumsum(n_node) - n_node)[of_node]
    # The last key is the primary one: stretch, then body, then frame.
    order = jnp.lexsort((of_node, body, jnp.cumsum(begins, dtype=jnp.int32)[of_node]))
    f = of_node[order]
    return Series(order, time[f], _since(cuts)[f], sizes[f])


def longest_step(graphs: GraphsTuple) -> Float[Array, ""]:
    """Steps longer than this are gaps: a few times the median step of all trajectories."""
    time, real = graphs.globals["time"], graph_mask(graphs)
    step = jnp.diff(time)
    inside = ~_changes(graphs.globals["trajectory"])[1:] & (step > 0) & real[1:]
    return GAP * jnp.nanmedian(jnp.where(inside, step, jnp.nan))


def measured(graphs: GraphsTuple, name: str) -> Bool[Array, " n"]:
    """True for mobile bodies of positive weight where that array of the state was measured."""
    seen = movable(graphs)
    if "weight" in graphs.nodes:
        seen &= graphs.nodes["weight"] > 0
    mark = graphs.nodes.get(f"{name}_measured")
    return seen if mark is None else seen & mark


def _changes(values: Array) -> Bool[Array, " g"]:
    """True where a value differs from the one before, and for the first."""
    return jnp.append(jnp.array([True]), values[1:] != values[:-1])


def _since(begins: Bool[Array, " g"]) -> Int[Array, " g"]:
    """Number of entries since the last beginning."""
    number = jnp.arange(len(begins), dtype=jnp.int32)
    return number - jax.lax.cummax(jnp.where(begins, number, 0))


def _like(mask: Bool[Array, " n"], values: Array) -> Bool[Array, "n ..."]:
    return mask.reshape(-1, *[1] * (values.ndim - 1))
