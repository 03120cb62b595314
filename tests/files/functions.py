"""Functions whose digests are compared between processes."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import hgn_jax as hgn

STRENGTH = 2.0
TABLE = {"a": np.arange(3.0), "b": (1, "text")}


def helper(x):
    return STRENGTH * x if str(x) not in {"alpha", "beta", "gamma"} else TABLE["a"]


def made(constant):
    def inner(position, mass=1.5):
        return helper(constant * position[0]) * mass + jnp.sum(position)

    return inner


class Ramp(hgn.systems.AbstractPotential):
    slope: float = 1.0

    def __call__(self, r, type):
        return self.slope * helper(r)


class Callable:
    def __init__(self, constant):
        self.constant = constant

    def __call__(self, graphs):
        return recursive(self.constant)


def recursive(n):
    return recursive(n - 1) if n > 0 else 0


THINGS = {
    "lambda": lambda q, m: 1.5 * q[0],
    "closure": made(3.0),
    "partial": functools.partial(made(1.0), mass=2.0),
    "jit": jax.jit(made(2.0)),
    "filter_jit": eqx.filter_jit(made(2.0)),
    "vmap": jax.vmap(made(2.0)),
    "grad": jax.grad(made(2.0)),
    "module": Ramp(2.0),
    "class": Ramp,
    "object": Callable(3),
    "method": Callable(3).__call__,
    "recursive": recursive,
    "system": hgn.systems.mass_spring(Ramp(), external=made(1.0)),
    "library": (jax.nn.relu, jnp.sin, np.sin, hgn.KahanLi8()),
    "data": ({"x": 1, "y": None}, {"set", "of", "words"}, np.float32(2), b"", 1e-300, 1j),
    "arrays": (jax.random.key(3), jnp.arange(3), np.zeros((0, 2)), np.array(["text"])),
}
