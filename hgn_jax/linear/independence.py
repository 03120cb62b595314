"""What columns add to others."""

import numpy as np
from jaxtyping import Float


def beside(
    columns: Float[np.ndarray, "r K"], others: Float[np.ndarray, "r _"]
) -> Float[np.ndarray, "r K"]:
    """The columns less their best approximation by the other ones."""
    if not others.size:
        return columns
    size = np.linalg.norm(others, axis=0)
    others = others / np.where(size > 0, size, 1)  # lstsq compares singular values
    return columns - others @ np.linalg.lstsq(others, columns)[0]
