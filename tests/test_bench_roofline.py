"""The work of a program, counted by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from bench.roofline import ARITHMETIC, BYTES, FUNCTIONS, PRODUCTS, counted


def test_products_functions_arithmetic_and_bytes():
    a, b = jnp.ones((7, 5)), jnp.ones((5, 3))
    work = counted(lambda a, b: jnp.tanh(a @ b) + 1.0, a, b)
    assert work[PRODUCTS] == 2 * 7 * 5 * 3
    assert work[FUNCTIONS] == work[ARITHMETIC] == 7 * 3
    assert work[BYTES] == 8 * (7 * 5 + 5 * 3 + 7 * 3)


def test_loops_count_every_turn_and_branches_the_longer():
    def program(x):
        x = jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, None, length=6)[0]
        return jax.lax.cond(x[0] > 0, lambda x: jnp.exp(jnp.exp(x)), lambda x: x, x)

    assert counted(program, jnp.ones(11))[FUNCTIONS] == 6 * 11 + 2 * 11


def test_reductions_count_what_they_read():
    assert counted(jnp.max, jnp.ones((4, 9)))[ARITHMETIC] == 36


def test_triangles_count_the_operations_of_householder():
    work = counted(lambda z: jnp.linalg.qr(z, mode="r"), jnp.ones((50, 8)))
    np.testing.assert_allclose(work[PRODUCTS], 2 * 50 * 8**2 - 2 * 8**3 / 3, rtol=1e-3)
