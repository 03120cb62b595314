"""Errors of a model against observed rates, one per rate: pooling them would depend on units."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float
from jraph import GraphsTuple

from ._tree import is_concrete
from .graphs.geometry import movable
from .graphs.schema import require
from .models.base import AbstractModel


def relative_error(model: AbstractModel, data: GraphsTuple) -> dict[str, Float[Array, ""]]:
    r"""$|\hat v - v| / |v|$ and $|\hat f - f| / |f|$, Euclidean norms over all mobile bodies.

    Returns `{"velocity": ..., "force": ...}`, or whatever rates the model's dynamics observes, and
    forces alone for data without momenta. The square of each is the mean square error over the mean
    square target.

    **Raises:** `ValueError` if the data lack a rate, if it has another shape, or if it is zero for
    all mobile bodies, so that there is no relative error (inf or NaN inside jit).
    """
    squares = _squares(model, data)
    for name, (_, target, _) in squares.items():
        _require_motion(f'nodes["{name}"] is', target)
    return {name: jnp.sqrt(wrong / target) for name, (wrong, target, _) in squares.items()}


def mean_square_error(model: AbstractModel, data: GraphsTuple) -> Float[Array, ""]:
    """Mean square error of all rates over their mean square, pooled as in the paper's tables.

    **Raises:** `ValueError` as `relative_error`, but only if all rates are zero.
    """
    wrong, target, scale = (jnp.stack(x) for x in zip(*_squares(model, data).values()))
    _require_motion("all rates are", jnp.max(target))
    # Sums of squares were divided by the square of each rate's scale: put them on a common one.
    weight = (scale / jnp.max(scale)) ** 2
    return jnp.sum(wrong * weight) / jnp.sum(target * weight)


@eqx.filter_jit
def _squares(
    model: AbstractModel, data: GraphsTuple
) -> dict[str, tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]]:
    """Sums of squares of error and target of each rate, and the scale of the target.

    Both are divided by the scale, the target's greatest entry, before they are squared: squares of
    SI units overflow float32.
    """
    mask = movable(data)[:, None]
    rates = dict(zip(model.dynamics.observed, model.vector_field(data), strict=True))
    # Frames from quantum mechanics have no momenta, hence no velocities.
    if not set(model.dynamics.state) <= data.nodes.keys():
        # If the data have none of them, all remain, for `require` to name.
        rates = {name: rate for name, rate in rates.items() if name in data.nodes} or rates
    require(data, {"nodes": list(rates)}, "the error of a model")
    sums = {}
    for name, rate in rates.items():
        target = data.nodes[name]
        if target.shape != rate.shape:
            raise ValueError(
                f'nodes["{name}"] must be [n d] = {rate.shape}, as the model gives it, got '
                f"{target.shape}"
            )
        target = jnp.where(mask, target, 0)
        scale = jnp.max(jnp.abs(target))
        scale = jnp.where(scale > 0, scale, 1)
        wrong = jnp.where(mask, rate - target, 0) / scale
        sums[name] = (jnp.sum(wrong**2), jnp.sum((target / scale) ** 2), scale)
    return sums


def _require_motion(what: str, target: Float[Array, ""]) -> None:
    if is_concrete(target) and target == 0:
        raise ValueError(f"{what} zero for all mobile bodies: there is no relative error")
