"""Time derivatives by finite differences on evenly or unevenly spaced frames."""

import numpy as np
from jaxtyping import Float


def differentiate(
    times: Float[np.ndarray, "k t"], values: Float[np.ndarray, "k t ..."], order: int
) -> Float[np.ndarray, "k t ..."]:
    """Time derivative by `order + 1`-point differences, exact for polynomials of degree `order`.

    Differences are central in the interior and one-sided near both ends. Times may be unevenly
    spaced; there must be at least `order + 1`.

    **Raises:** `ValueError` for an odd order, one less than 2, or too few times.
    """
    if order < 2 or order % 2:
        raise ValueError(f"order must be even and at least 2, got {order}")
    t = times.shape[1]
    if t <= order:
        raise ValueError(f"differences of order {order} need {order + 1} times, got {t}")
    first = np.clip(np.arange(t) - order // 2, 0, t - order - 1)
    stencil = first[:, None] + np.arange(order + 1)
    weights = _difference_weights(times[:, stencil] - times[:, :, None])
    # The weights sum to zero. Relative to the centre frame, slow motion keeps its digits.
    result = np.zeros(values.shape, dtype=np.float64)
    for j in range(order + 1):
        w = weights[..., j].reshape(*times.shape, *[1] * (values.ndim - 2))
        result += w * (values[:, stencil[:, j]] - values)
    return result


def _difference_weights(offsets: Float[np.ndarray, "k t s"]) -> Float[np.ndarray, "k t s"]:
    """Weights of the first derivative at offset zero, exact for powers of the offsets."""
    scale = np.abs(offsets).max(axis=-1, keepdims=True)
    # With offsets up to one, the condition of this Vandermonde matrix depends on no unit.
    powers = (offsets / scale)[..., None, :] ** np.arange(offsets.shape[-1])[:, None]
    unit = np.zeros((*offsets.shape, 1))  # a column: NumPy 2 takes stacked vectors for a matrix
    unit[..., 1, 0] = 1  # the derivative at zero is one for t, and zero for all other powers
    return np.linalg.solve(powers, unit)[..., 0] / scale
