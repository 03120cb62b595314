"""A user's own measured or simulated trajectories as a data set."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike
from jraph import GraphsTuple

from .batching import snapshots
from .builders import from_pairs
from .check_trajectories import (
    check_frames,
    check_integral_resolution,
    check_newtonian,
    check_numbers,
    check_resolution,
    check_times,
    check_velocity,
)
from .differences import differentiate
from .joining import (
    Edges,
    as_cell,
    check_joining,
    coupled,
    is_cutoff,
    joined,
    listed_pairs,
    unwrapped,
)
from .measured import measured_states
from .schema import did_you_mean

NODE_ARRAYS = ("species", "charge", "fixed", "weight")
KEYWORDS = (
    "mass", "edges", "coupling", "type", "velocity", "momentum", "force", "order", "newtonian",
    "trim", "rates", "cell", *NODE_ARRAYS,
)  # fmt: skip


def from_trajectories(
    times: ArrayLike,
    position: ArrayLike,
    *,
    mass: ArrayLike | Sequence[float | int],
    edges: Edges,
    coupling: ArrayLike | Sequence[float | int] | str | None = None,
    type: ArrayLike | Sequence[int] | None = None,
    velocity: ArrayLike | None = None,
    momentum: ArrayLike | None = None,
    force: ArrayLike | None = None,
    cell: ArrayLike | Sequence[Any] | None = None,
    order: int = 8,
    newtonian: bool = True,
    trim: bool = True,
    rates: bool = True,
    **nodes: ArrayLike,
) -> GraphsTuple:
    r"""Snapshots with rates from the trajectories of n bodies in d dimensions.

    Missing arrays are computed: `velocity` is the derivative of `position`, `momentum` is $m v$,
    and `force` is the derivative of `momentum`. Derivatives are central differences of the given
    order on `order + 1` neighbouring times, evenly spaced or not (weights of Fornberg, 1988). Their
    error is $O(\Delta t^{order})$, so frames must be dense compared with the fastest motion.

    **Arguments:**

    - `times`: `[t]`, or `[k t]` for k trajectories; strictly increasing, steps may be irregular.
        If something is differentiated, their rounding must be less than 1e-6 of a step: pass
        NumPy's float64, counted from the first frame.
    - `position`: `[t n d]` or `[k t n d]`, length.
    - `velocity`, `momentum`, `force`: like `position`, in length / time, mass * length / time and
        mass * length / time^2; each optional.
    - `mass`: `[n]` or one number for all.
    - `edges`: `[p 2]`, the pairs of bodies that interact, each once; "all" for every pair; or a
        number, the greatest distance of a pair (length): each frame then has edges of its own.
    - `coupling`: `[p]`, known factors of the pairs' energies; "mass" or "charge" for the products
        of the masses (gravity) or charges of both bodies.
    - `type`: `[p]`, kinds of pairs.
    - `cell`: `[d d]`, lattice vectors as rows, or `[d]`, the sides of a box (length), the same in
        all frames; with edges by a cutoff. Bodies may be wrapped into it: no body may move by half
        a cell between two frames.
    - `order`: order of the differences, even and at least 2.
    - `newtonian`: True if the kinetic energy is $|p|^2/2m$. If False, `momentum` must be given.
    - `trim`: drops frames at both ends, where only one-sided differences exist. If False, they are
        kept; one-sided differences have the same order but a larger error.
    - `rates`: False keeps the states as they were measured, for `hgn.Steps` and `hgn.refine`:
        nothing is differentiated. NaN stands for what was not measured. A body's vector that has a
        NaN is interpolated in time, and `nodes["position_measured"]` or
        `nodes["momentum_measured"]` is False there. Frames without any measurement are left out. A
        `velocity` gives the momentum $m v$. Without `momentum` and `velocity` the positions alone
        are kept.
    - `nodes`: further node arrays `[n]`: `species`, `charge`, `fixed`, `weight`.

    **Returns:** a batch with one graph per frame, with `globals["time"]` and
    `globals["trajectory"]`. Test on other trajectories (`hgn.graphs.split`), not on other frames.

    **Raises:** `ValueError` for unknown keywords, shapes that disagree, complex numbers, times that
    do not increase or are rounded too coarsely, too few frames, NaN or Inf (naming trajectory,
    frame, node), velocities whose median size differs from that of the positions' differences by a
    factor of 2 (if frames are dense enough to compare them), or a momentum that is not mass times
    velocity although `newtonian` is True. With `rates=False`, for infinite values, fewer than two
    measured frames in a trajectory or, of positions alone, fewer than three, and a `force`, which
    is no state.
    """
    if unknown := sorted(set(nodes) - set(NODE_ARRAYS)):
        raise ValueError(f"unknown keyword {unknown[0]!r}{did_you_mean(unknown[0], KEYWORDS)}")
    x = np.asarray(position)
    check_numbers("position", x)
    x = x[None] if x.ndim == 3 else x
    x = x if np.issubdtype(x.dtype, np.floating) else x.astype(float)
    if x.ndim != 4:
        raise ValueError(f"position must be [t n d] or [k t n d], got {np.shape(position)}")
    t, n = x.shape[1:3]
    if not x.size:
        raise ValueError(f"position {np.shape(position)} holds no trajectory, frame or body")
    ts = _as_times(times, x.shape, np.shape(position))
    dtype = x.dtype
    given = {"velocity": velocity, "momentum": momentum, "force": force}
    arrays = {name: _as_frames(name, a, x.shape) for name, a in given.items() if a is not None}
    check_times(ts)
    if np.shape(mass) not in ((), (n,)):
        raise ValueError(f"mass must be one number or [n] = ({n},), got {np.shape(mass)}")
    m = np.broadcast_to(np.asarray(mass, dtype=dtype), (n,))[:, None]
    bad = np.flatnonzero(~((m > 0) & np.isfinite(m)))
    if len(bad):
        raise ValueError(f"mass of node {bad[0]} is not positive and finite: {m[bad[0], 0]}")
    check_joining(edges, coupling, type, cell)
    of_pairs: dict[str, Any] = {
        name: array for name, array in {"coupling": coupling, "type": type}.items()
        if array is not None and not isinstance(array, str)
    }  # fmt: skip
    for name in {"weight", "charge"} & nodes.keys():
        nodes[name] = np.asarray(nodes[name], dtype)
    # Zeros give the shape and dtype only: positions come with the frames.
    graph = from_pairs(np.zeros_like(x[0, 0]), listed_pairs(edges, n), mass=m[:, 0], **of_pairs)
    # Its zeros would be repeated in every frame of positions alone.
    own = {name: array for name, array in graph.nodes.items() if name != "momentum"}
    graph = graph._replace(nodes=own | {q: jnp.asarray(a) for q, a in nodes.items()})
    matrix = as_cell(cell, x.shape[3])
    x = x if matrix is None else unwrapped(x, matrix)

    def data_of(frames: dict[str, np.ndarray], kept: np.ndarray) -> GraphsTuple:
        data = _snapshots(graph, ts, frames, kept)
        # Couplings last: only now does each frame have its edges.
        data = joined(data, float(edges), matrix) if is_cutoff(edges) else data  # type: ignore
        return coupled(data, coupling) if isinstance(coupling, str) else data

    if not rates:
        if "velocity" in arrays:
            check_velocity(ts, x, arrays["velocity"])
        check_integral_resolution(ts, np.asarray(times).dtype, dtype)
        kept, states = measured_states(ts, x, _momentum(arrays, m, newtonian), m)
        return data_of(states, kept)
    check_frames(ts, {"position": x, **arrays})

    # Positions alone are differentiated twice; one-sided velocities must not enter the forces.
    times_differentiated = 2 if not arrays else int(not {"velocity", "force"} <= arrays.keys())
    cut = times_differentiated * order // 2  # each derivative makes order / 2 frames one-sided
    # One frame must remain, or one stencil must fit.
    least = 2 * cut + 1 if trim else min(cut, 1) * order + 1
    if t < least:
        raise ValueError(
            f"{t} frames are too few to differentiate {times_differentiated} times with order "
            f"{order}: need {least}; give velocity and force, or a lower order"
        )
    if times_differentiated:
        check_resolution(ts, np.asarray(times).dtype)
    if "velocity" in arrays:
        check_velocity(ts, x, arrays["velocity"])
    v = arrays.get("velocity")
    p = arrays.get("momentum")
    v = differentiate(ts, x, order) if v is None else v
    if p is None and not newtonian:
        raise ValueError(
            "newtonian=False needs momentum: it does not follow from mass and velocity"
        )
    p = m * v if p is None else p
    if newtonian and "momentum" in arrays:
        # A differentiated velocity has errors of its own; a wrong unit is far larger.
        check_newtonian(m * v, p, 1e-6 if "velocity" in arrays else 1e-2)
    f = arrays["force"] if "force" in arrays else differentiate(ts, p, order)

    kept = np.zeros(ts.shape, bool)
    kept[:, cut : t - cut] = True
    frames = {"position": x, "momentum": p, "velocity": v, "force": f}
    return data_of(frames, kept if trim else np.ones(ts.shape, bool))


def _momentum(
    arrays: dict[str, np.ndarray], mass: np.ndarray, newtonian: bool
) -> np.ndarray | None:
    """The measured momenta; None for positions alone."""
    if "force" in arrays:
        raise ValueError(
            "rates=False keeps states, and a force is not one: leave it out, or pass rates=True"
        )
    if "momentum" in arrays or "velocity" not in arrays:
        return arrays.get("momentum")
    if not newtonian:
        raise ValueError("newtonian=False needs momentum: it does not follow from velocity")
    return mass * arrays["velocity"]


def _snapshots(
    graph: GraphsTuple, times: np.ndarray, frames: dict[str, np.ndarray], kept: np.ndarray
) -> GraphsTuple:
    """The frames `[k t n ...]` that are kept `[k t]`, in the precision of the positions."""
    dtype = frames["position"].dtype
    number = np.broadcast_to(np.arange(len(times), dtype=np.int32)[:, None], times.shape)

    def flat(a: np.ndarray) -> np.ndarray:
        return a[kept].astype(dtype) if np.issubdtype(a.dtype, np.floating) else a[kept]

    return snapshots(
        graph,
        {name: jnp.asarray(flat(a)) for name, a in frames.items()},
        {"time": jnp.asarray(flat(times)), "trajectory": jnp.asarray(flat(number))},
    )


def _as_frames(name: str, array: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    frames = np.asarray(array)
    check_numbers(name, frames)
    frames = frames[None] if frames.ndim == 3 else frames
    if frames.shape != shape:
        raise ValueError(f"{name} must have the shape of position {shape}, got {np.shape(array)}")
    return frames


def _as_times(times: ArrayLike, shape: tuple[int, ...], given: tuple[int, ...]) -> np.ndarray:
    ts = np.asarray(times)
    check_numbers("times", ts)
    k, t = shape[:2]
    if ts.shape not in ((t,), (k, t)):
        words = f"times must be [t] = ({t},) or [k t] = ({k}, {t}), got {ts.shape}"
        if ts.ndim and ts.shape[-1] in given:
            axis = given.index(ts.shape[-1])
            words += f"; position {given} has that length along axis {axis}: axes swapped?"
        raise ValueError(words)
    return np.broadcast_to(ts.astype(np.float64), (k, t))  # differences of float32 lose digits
