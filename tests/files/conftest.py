import pytest

pytest.register_assert_rewrite("forged")

import jax
import jax.numpy as jnp
import jax.random as jr

import hgn_jax as hgn


@pytest.fixture(scope="session")
def models():
    """Models with one term of each kind, two edge types, and random coefficients instead of a fit.

    Model and data of either precision.
    """
    graph = hgn.graphs.from_pairs(
        jr.normal(jr.key(0), (4, 2)), [(0, 1), (1, 2), (2, 3)], type=jnp.array([0, 1, 0])
    )
    q, p = jr.normal(jr.key(1), (2, 5, 4, 2))
    data = hgn.graphs.snapshots(graph, {"position": q, "momentum": p}, {})
    specs = (
        hgn.Kinetic(4, activation="erf"),
        hgn.Kinetic(0),
        hgn.Pair(6),
        hgn.External(4),
        hgn.MessagePassing(5, hidden=3, sampling=hgn.ELM()),
    )
    basis = hgn.Basis(hgn.sample(specs, data, key=jr.key(9)))
    theta = tuple(
        jr.normal(jr.key(i), jax.eval_shape(term, data).shape[1:])
        for i, term in enumerate(basis.terms)
    )
    constants = jr.normal(jr.key(50), (basis.constant_count,))
    wide = hgn.HamiltonianGraphNetwork(basis, theta, constants), data
    narrow = jax.tree.map(lambda a: a.astype("float32") if a.dtype == "float64" else a, wide)
    return {"float32": narrow, "float64": wide}


@pytest.fixture(scope="session")
def model(models):
    return models["float64"][0]


@pytest.fixture(scope="session")
def small(model):
    """Kinetic energy alone."""
    return hgn.HamiltonianGraphNetwork(hgn.Basis(model.terms[:1]), model.theta[:1], jnp.zeros(0))


@pytest.fixture(scope="session")
def saved(model, tmp_path_factory):
    """The bytes of a saved model."""
    path = tmp_path_factory.mktemp("saved") / "m.hgn"
    hgn.save(path, model)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lattice.hgn"
