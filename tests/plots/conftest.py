import jax.numpy as jnp
import matplotlib
import pytest

import hgn_jax as hgn

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close():
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.fixture(scope="session")
def path(springs, moving_lattice):
    """The lattice of 3 x 3 bodies in motion, 41 times."""
    return hgn.rollout(springs, moving_lattice, jnp.linspace(0.0, 2.0, 41), dt=0.01)
