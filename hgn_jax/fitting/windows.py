"""Measured trajectories in windows of a common shape, for motion that starts in each of them."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped
from jraph import GraphsTuple

from ..graphs.padding import without_padding
from .series import longest_step, measured

CONSTANT = {
    "mass", "species", "fixed", "triples", "triple_type", "quadruples", "quadruple_type",
}  # fmt: skip
"""Node arrays that must not change along a trajectory."""


class Trajectories(eqx.Module):
    """States of one system at f frames, as vectors of D numbers: the arrays of the state one after
    the other."""

    graph: GraphsTuple
    """One frame: what does not change with time."""
    state: Float[Array, "f D"]
    """Measured states; where nothing was measured, a guess."""
    seen: Bool[Array, "f D"]
    """True for what was measured, in frames that do not stand alone between two gaps."""
    time: Float[Array, " f"]
    series: Int[Array, "s t"]
    """Frames of every stretch without a gap; shorter ones repeat their last frame."""
    spans: tuple[tuple[int, int], ...] = eqx.field(static=True)
    """First frame of every stretch, and the first that follows it."""
    names: tuple[str, ...] = eqx.field(static=True)
    """Arrays of the state."""
    longest_step: Float[Array, ""]
    """Longer steps are gaps."""

    @property
    def longest(self) -> int:
        """Frames of the longest stretch."""
        return self.series.shape[1]

    @property
    def kinds(self) -> Int[Array, " D"]:
        """Number of the array that each entry of the state belongs to."""
        each = self.state.shape[1] // len(self.names)
        return jnp.repeat(jnp.arange(len(self.names), dtype=jnp.int32), each)

    def along(self, values: Shaped[Array, "f ..."]) -> Shaped[Array, "s t ..."]:
        """Values of frames in the order of the stretches."""
        return values[self.series]

    def by_frame(self, values: Float[Array, "s t ..."]) -> Float[Array, "f ..."]:
        """Values along the stretches as values of frames; zero for frames in no stretch."""
        empty = jnp.zeros((len(self.time), *values.shape[2:]), values.dtype)
        return empty.at[self.series].set(values)


class Windows(eqx.Module):
    """W windows of at most L consecutive frames; shorter ones repeat their last frame."""

    frame: Int[Array, "w L"]
    real: Bool[Array, "w L"]
    """False for repeated frames."""
    begins: Bool[Array, " f"]
    """True for the first frame of a window."""


def trajectories_of(data: GraphsTuple, names: tuple[str, ...]) -> Trajectories:
    """The data as trajectories; `names` are the arrays of the state. Concrete data only.

    Momenta that were not measured start as mass times the change of position over time.

    **Raises:** `ValueError` for bodies with an axis, for frames that are not of one system, or if
    no two frames follow one another without a gap.
    """
    if "axis" in names:
        raise ValueError(
            "refine and smooth change every number of a state, but axes must stay of unit length: "
            "fit the states by hgn.Steps() alone"
        )
    data = without_padding(data)
    frames = len(data.n_node)
    _check_alike(data)
    time, number = (np.asarray(data.globals[name]) for name in ("time", "trajectory"))
    gap = longest_step(data)
    spans = _spans(time, number, float(gap))
    shape = frames, -1, data.nodes["position"].shape[1]
    states, marks = [], []
    for name in names:
        if name in data.nodes:
            states.append(np.asarray(data.nodes[name]).reshape(frames, -1))
            marks.append(np.asarray(measured(data, name)).reshape(frames, -1))
        else:
            position = np.asarray(data.nodes["position"]).reshape(shape)
            slope = np.zeros_like(position)
            for a, b in spans:
                slope[a:b] = np.gradient(position[a:b], time[a:b], axis=0)  # at irregular times
            mass = np.asarray(data.nodes["mass"]).reshape(frames, -1, 1)
            states.append((mass * slope).reshape(frames, -1))
            marks.append(np.zeros(mass.shape[:2], bool))  # a guess, not measured
    seen = np.repeat(np.concatenate(marks, axis=1), shape[2], axis=1)
    alone = np.ones(frames, bool)
    for a, b in spans:
        alone[a:b] = False
    seen[alone] = False
    longest = max(b - a for a, b in spans)
    series = np.array([[min(a + k, b - 1) for k in range(longest)] for a, b in spans])
    return Trajectories(
        jax.tree.map(jnp.asarray, first_graph(data)),
        jnp.asarray(np.concatenate(states, axis=1)),
        jnp.asarray(seen),
        jnp.asarray(time),
        jnp.asarray(series, jnp.int32),
        tuple(spans),
        names,
        gap,
    )


def windows_of(trajectories: Trajectories, size: int) -> Windows:
    """Windows of nearly equal length, at most `size` frames, that cover every stretch."""
    spans: list[tuple[int, int]] = []
    for a, b in trajectories.spans:
        # Rounded up: no window is longer than `size`, and none is much shorter than others.
        cuts = np.linspace(a, b, -(-(b - a) // size) + 1).round().astype(int)
        spans += itertools.pairwise(cuts.tolist())
    first, count = (np.array(x)[:, None] for x in zip(*((a, b - a) for a, b in spans)))
    own = np.arange(count.max())[None]
    begins = np.zeros(len(trajectories.time), bool)
    begins[first] = True
    frame = jnp.asarray(first + np.minimum(own, count - 1), jnp.int32)
    return Windows(frame, jnp.asarray(own < count), jnp.asarray(begins))


def _spans(time: np.ndarray, number: np.ndarray, gap: float) -> list[tuple[int, int]]:
    step = np.diff(time)
    cuts = np.flatnonzero((np.diff(number) != 0) | ~(step > 0) | (step > gap)) + 1
    ends = [0, *cuts.tolist(), len(time)]
    spans = [(a, b) for a, b in itertools.pairwise(ends) if b - a > 1]  # one frame has no motion
    if not spans:
        raise ValueError("no two frames of a trajectory follow one another without a gap")
    return spans


def first_graph(data: GraphsTuple) -> GraphsTuple:
    """The first graph of a batch without padding."""
    n, e = int(data.n_node[0]), int(data.n_edge[0])
    return GraphsTuple(
        nodes={k: v[:n] for k, v in data.nodes.items()},
        edges={k: v[:e] for k, v in data.edges.items()},
        senders=data.senders[:e],
        receivers=data.receivers[:e],
        globals={k: v[:1] for k, v in data.globals.items()},
        n_node=data.n_node[:1],
        n_edge=data.n_edge[:1],
    )


def _check_alike(data: GraphsTuple) -> None:
    """Raises `ValueError` unless all frames have the bodies and edges of the first."""
    n_node, n_edge = np.asarray(data.n_node), np.asarray(data.n_edge)
    frames, n, e = len(n_node), int(n_node[0]), int(n_edge[0])
    words = (
        "motion over time needs trajectories of one system: the same bodies, joined by the same "
        "edges in every frame"
    )
    other = np.flatnonzero((n_node != n) | (n_edge != e))
    if len(other):
        raise ValueError(
            f"{words}; frame {other[0]} has {n_node[other[0]]} bodies and {n_edge[other[0]]} "
            f"edges, frame 0 has {n} and {e}"
        )
    start = np.repeat(n * np.arange(frames), e)  # edges count the nodes of all frames
    fixed = {name: a for name, a in data.nodes.items() if name in CONSTANT}
    of_edges = {
        "senders": np.asarray(data.senders) - start,
        "receivers": np.asarray(data.receivers) - start,
        **data.edges,
    }
    for arrays, size in ((fixed, n), (of_edges, e)):
        for name, array in arrays.items():
            each = np.asarray(array)
            each = each.reshape(frames, size, *each.shape[1:])
            differs = np.flatnonzero((each != each[:1]).reshape(frames, -1).any(axis=1))
            if len(differs):
                raise ValueError(f"{words}; {name} of frame {differs[0]} differs from frame 0")
