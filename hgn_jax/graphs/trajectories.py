"""A user's own measured or simulated trajectories as a data set."""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float
from jraph import GraphsTuple

from .batching import snapshots
from .builders import from_pairs


def from_trajectories(
    times: ArrayLike,
    position: ArrayLike,
    *,
    mass: ArrayLike,
    edges: ArrayLike | Sequence[tuple[int, int]],
    coupling: ArrayLike | None = None,
    type: ArrayLike | None = None,
    velocity: ArrayLike | None = None,
    momentum: ArrayLike | None = None,
    force: ArrayLike | None = None,
    order: int = 8,
    newtonian: bool = True,
    trim: bool = True,
    **nodes: ArrayLike,
) -> GraphsTuple:
    r"""Snapshots with rates from the trajectories of n bodies in d dimensions.

    What is missing is differentiated numerically with central differences of the given order on
    `order + 1` neighbouring times, evenly spaced or not (weights of Fornberg, 1988): `velocity`
    from `position`; `force` from `momentum`; `momentum` is $m v$. The error is
    $O(\Delta t^{order})$, so frames must be dense against the fastest motion.

    **Arguments:**

    - `times`: `[t]`, or `[k t]` for k trajectories; strictly increasing, steps may be irregular.
    - `position`: `[t n d]` or `[k t n d]`, length.
    - `velocity`, `momentum`, `force`: as `position`, in length / time, mass * length / time and
        mass * length / time^2; each optional.
    - `mass`: `[n]` or one number.
    - `edges`: `[p 2]`, the pairs of bodies that interact, each once.
    - `coupling`, `type`: `[p]`, known factors of the pairs' energies and kinds of pairs.
    - `newtonian`: the kinetic energy is $|p|^2/2m$. Set it to False for another one: then
        `momentum` must be given.
    - `trim`: leave out frames at both ends, where only one-sided differences exist. If False the
        one-sided differences, of the same order but larger error, are kept.
    - `nodes`: further node arrays `[n]`: `species`, `fixed`, `weight`.

    **Returns:** a batch of one graph per frame, with `globals["time"]` and
    `globals["trajectory"]`. Test on other trajectories (`hgn.graphs.split`), not on other frames.

    **Raises:** `ValueError` for shapes that disagree, times that do not increase, too few frames,
    NaN or Inf (naming trajectory, frame, node), or a momentum that is not mass times velocity
    although `newtonian`.
    """
    x = np.asarray(position)
    x = x[None] if x.ndim == 3 else x
    x = x if np.issubdtype(x.dtype, np.floating) else x.astype(float)
    if x.ndim != 4:
        raise ValueError(f"position must be [t n d] or [k t n d], got {np.shape(position)}")
    k, t, n, _ = x.shape
    ts = np.asarray(times, dtype=np.float64)
    if ts.shape not in ((t,), (k, t)):
        raise ValueError(f"times must be [t] = ({t},) or [k t] = ({k}, {t}), got {ts.shape}")
    ts = np.broadcast_to(ts, (k, t))
    dtype = x.dtype
    given = {"velocity": velocity, "momentum": momentum, "force": force}
    arrays = {name: _as_frames(name, a, x.shape) for name, a in given.items() if a is not None}
    _check_frames(ts, {"position": x, **arrays})
    if np.shape(mass) not in ((), (n,)):
        raise ValueError(f"mass must be one number or [n] = ({n},), got {np.shape(mass)}")
    m = np.broadcast_to(np.asarray(mass, dtype=dtype), (n,))[:, None]
    bad = np.flatnonzero(~((m > 0) & np.isfinite(m)))
    if len(bad):
        raise ValueError(f"mass of node {bad[0]} is not positive and finite: {m[bad[0], 0]}")

    # Positions alone are differentiated twice; one-sided velocities must not enter the forces.
    times_differentiated = 2 if not arrays else int(not {"velocity", "force"} <= arrays.keys())
    cut = times_differentiated * order // 2
    least = 2 * cut + 1 if trim else min(cut, 1) * order + 1
    if t < least:
        raise ValueError(
            f"{t} frames are too few to differentiate {times_differentiated} times with order "
            f"{order}: need {least}; give velocity and force, or a lower order"
        )
    v = arrays.get("velocity")
    p = arrays.get("momentum")
    v = differentiate(ts, x, order) if v is None else v
    if p is None and not newtonian:
        raise ValueError("momentum must be given when the system is not Newtonian")
    p = m * v if p is None else p
    if newtonian and "momentum" in arrays:
        # A differentiated velocity has errors of its own; a wrong unit is far larger.
        _check_newtonian(m * v, p, 1e-6 if "velocity" in arrays else 1e-2)
    f = arrays["force"] if "force" in arrays else differentiate(ts, p, order)

    keep = slice(cut, t - cut) if trim else slice(None)
    known = {"coupling": coupling, "type": type}
    extra = {name: array for name, array in known.items() if array is not None}
    graph = from_pairs(x[0, 0], edges, mass=m[:, 0], **extra)
    graph = graph._replace(nodes=graph.nodes | {q: jnp.asarray(a) for q, a in nodes.items()})

    def flat(a: np.ndarray) -> np.ndarray:
        return a[:, keep].reshape(-1, *a.shape[2:]).astype(dtype)

    frames = {"position": x, "momentum": p, "velocity": v, "force": f}
    number = np.repeat(np.arange(k, dtype=np.int32), ts[:, keep].shape[1])
    return snapshots(
        graph,
        {name: jnp.asarray(flat(a)) for name, a in frames.items()},
        {"time": jnp.asarray(flat(ts)), "trajectory": jnp.asarray(number)},
    )


def differentiate(
    times: Float[np.ndarray, "k t"], values: Float[np.ndarray, "k t ..."], order: int
) -> Float[np.ndarray, "k t ..."]:
    """Time derivative by `order + 1`-point differences, exact for polynomials of degree `order`.

    Central in the interior, one-sided near the ends.
    """
    if order < 2 or order % 2:
        raise ValueError(f"order must be even and at least 2, got {order}")
    t = times.shape[1]
    first = np.clip(np.arange(t) - order // 2, 0, t - order - 1)
    stencil = first[:, None] + np.arange(order + 1)
    weights = _difference_weights(times[:, stencil] - times[:, :, None])
    # The weights sum to zero: differences to the centre frame keep the digits of slow motion.
    result = np.zeros(values.shape, dtype=np.float64)
    for j in range(order + 1):
        w = weights[..., j].reshape(*times.shape, *[1] * (values.ndim - 2))
        result += w * (values[:, stencil[:, j]] - values)
    return result


def _difference_weights(offsets: Float[np.ndarray, "k t s"]) -> Float[np.ndarray, "k t s"]:
    scale = np.abs(offsets).max(axis=-1, keepdims=True)
    powers = (offsets / scale)[..., None, :] ** np.arange(offsets.shape[-1])[:, None]
    unit = np.zeros((*offsets.shape, 1))
    unit[..., 1, 0] = 1
    return np.linalg.solve(powers, unit)[..., 0] / scale


def _as_frames(name: str, array: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    frames = np.asarray(array)
    frames = frames[None] if frames.ndim == 3 else frames
    if frames.shape != shape:
        raise ValueError(f"{name} must have the shape of position {shape}, got {np.shape(array)}")
    return frames


def _check_frames(times: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
    if not np.isfinite(times).all() or not (np.diff(times, axis=1) > 0).all():
        raise ValueError("times must be finite and strictly increasing in every trajectory")
    for name, array in arrays.items():
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            k, frame, node, _ = bad[0]
            raise ValueError(
                f"{name} is not finite in trajectory {k}, frame {frame}, node {node}; "
                f"{len(bad)} such entries"
            )


def _check_newtonian(expected: np.ndarray, momentum: np.ndarray, slack: float) -> None:
    size = np.linalg.norm(expected, axis=-1, keepdims=True)
    rounding = 1e3 * np.finfo(momentum.dtype).eps * size.max()
    # A differentiated velocity is compared with the greatest of its body, not with every zero.
    size = size if slack < 1e-3 else size.max(axis=1, keepdims=True)
    bad = np.argwhere(np.abs(expected - momentum) > rounding + slack * size)
    if len(bad):
        k, frame, node, _ = bad[0]
        raise ValueError(
            f"momentum is not mass times velocity in trajectory {k}, frame {frame}, node {node}: "
            "check the unit of mass, or pass newtonian=False if the kinetic energy is not |p|^2/2m"
        )
