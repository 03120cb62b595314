"""Kernels of node features: readouts without weights to sample."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def linear(states: Float[Array, "b n c"] | Float[Array, "n c"]) -> Float[Array, "n n"]:
    """Gram matrix of the features, the sum over flows: the kernel of a linear readout of all of
    them.

    **Raises:** `ValueError` unless the states are `[b n c]` or `[n c]`.
    """
    if states.ndim not in (2, 3):
        raise ValueError(f"states must be [b n c] or [n c], got {list(states.shape)}")
    every = states[None] if states.ndim == 2 else states
    return jnp.einsum("bic,bjc->ij", every, every, precision="highest")


def arc_cosine(gram: Float[Array, "n n"], *, bias: float = 0.0) -> Float[Array, "n n"]:
    r"""Kernel of infinitely many random relu units of the features with that Gram matrix.

    $k(x, y) = \frac{|x| |y|}{\pi} (\sin \theta + (\pi - \theta) \cos \theta)$ with the angle
    $\theta$ between x and y: the mean of $2\, \mathrm{relu}(v \cdot x)\, \mathrm{relu}(v \cdot y)$
    over v ~ N(0, 1) (Cho and Saul, NeurIPS 2009).

    **Arguments:**

    - `bias`: size of random biases of the units. The features get a constant as one more, whose
        square is `bias` times their mean square length.

    **Raises:** `ValueError` for a negative bias.
    """
    if not bias >= 0:
        raise ValueError(f"bias must not be negative, got {bias}")
    gram = gram + bias * jnp.mean(jnp.diag(gram))
    size = jnp.sqrt(jnp.maximum(jnp.diag(gram), 0))  # rounding may make it negative
    product = size[:, None] * size[None]
    # Features of zero have no angle, and a kernel of zero. Rounding may exceed 1.
    cos = jnp.clip(gram / jnp.where(product > 0, product, 1), -1, 1)
    angle = jnp.arccos(cos)
    return product / jnp.pi * (jnp.sqrt(1 - cos**2) + (jnp.pi - angle) * cos)
