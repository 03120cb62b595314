"""Programs compiled without optimisation, alone and within others."""

import jax
import jax.numpy as jnp
import pytest

from hgn_jax import _quick_compile
from hgn_jax._quick_compile import compiled_quickly


@compiled_quickly
def cube(x):
    return x**3


X = jnp.array(2.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: cube(X),
        lambda: jax.jit(cube)(X),
        lambda: jax.jit(lambda: cube(X))(),  # of a constant, which jit traces, too
        lambda: jax.vmap(cube)(X[None])[0],
        lambda: jax.grad(lambda x: cube(x) / 12 * x)(X) * 3,  # d(x^4 / 12)/dx = x^3 / 3
    ],
    ids=["alone", "jit", "constant", "vmap", "grad"],
)
def test_it_works_wherever_jit_does(call):
    assert call() == pytest.approx(8.0, rel=1e-15)


def test_only_a_program_of_its_own_has_the_options(monkeypatch):
    monkeypatch.setattr(_quick_compile, "OPTIONS", {"no_such_option": 1})
    monkeypatch.setenv("XLA_FLAGS", f"--{_quick_compile.LEVEL}=3")
    assert compiled_quickly(lambda x: x**2)(X) == 4.0  # the user's level instead of ours
    monkeypatch.delenv("XLA_FLAGS")
    square = compiled_quickly(lambda x: x**2)
    with pytest.raises(jax.errors.JaxRuntimeError, match="no_such_option"):
        square(X)
    assert jax.jit(square)(X) == 4.0
