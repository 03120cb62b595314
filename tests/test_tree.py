"""Predicates of trees of arrays."""

import jax.numpy as jnp
import numpy as np
import pytest

from hgn_jax._tree import all_finite

GOOD = {"q": jnp.ones((3, 2)), "p": jnp.zeros((3, 2)), "mass": jnp.ones(3), "count": jnp.arange(3)}


def test_finite_trees():
    assert all_finite(GOOD) and all_finite(()) and all_finite({"count": jnp.arange(3)})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["q", "p", "mass"])
def test_one_number_that_is_not_finite_shows_in_any_array(name, bad):
    """Also in the first of several arrays of one shape."""
    assert not all_finite(GOOD | {name: GOOD[name].at[1].set(bad)})
