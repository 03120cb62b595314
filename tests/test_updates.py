"""Fits that are updated or merged are fits to all their data."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from triangle_problems import slope

import hgn_jax as hgn
from hgn_jax.fitting.equations import Equations
from hgn_jax.fitting.weights import RelativeWeights

TRIANGLE = hgn.graphs.fully_connected(3, 2, mass=jnp.array([1.0, 2.0, 0.5]))
SPRINGS = hgn.systems.mass_spring("spring", rest_length=1.0)


@pytest.fixture(scope="module")
def data():
    """Noisy data, so that every snapshot matters."""
    start = hgn.systems.Uniform(0.25, 0.3)
    return hgn.systems.simulate(
        SPRINGS, TRIANGLE, key=jr.key(1), trajectories=60, start=start, noise=1e-3
    )


def thirds(data):
    return [hgn.graphs.take(data, np.arange(60) // 20 == k) for k in range(3)]


@pytest.fixture(scope="module")
def features(data):
    return hgn.sample((hgn.Kinetic(8), hgn.Pair(32)), data, key=jr.key(2))


predict = eqx.filter_jit(lambda model, graphs: (model(graphs), *model.vector_field(graphs)))


def differ(a, b, data):
    """Greatest relative difference of energies, velocities, forces."""
    pairs = zip(predict(a.model, data), predict(b.model, data))
    return max(float(jnp.abs(x - y).max() / jnp.abs(y).max()) for x, y in pairs)


def test_update_is_the_fit_to_everything_weighted_by_the_first(data, features):
    one, two, three = thirds(data)
    first = hgn.solve(features, one)
    updated = first.update(two).update(three)
    floors = first.equations.observations[0].weights.floors
    whole = hgn.solve(features, data, observations=[hgn.Derivatives(RelativeWeights(floors))])
    assert differ(updated, whole, data) < 1e-10
    assert differ(first, whole, data) > 1e-5
    assert updated.rows == whole.rows == 720 and updated.result == hgn.RESULTS.successful
    assert (updated.equations.observations[0].weights.floors == floors).all()
    for a, b in zip(updated.solutions, whole.solutions):
        np.testing.assert_allclose(a.ridge, b.ridge, rtol=1e-12)
        for name in ("noise", "residual", "effective_dof"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-6)
    np.testing.assert_allclose(updated.model.constants, whole.model.constants, rtol=1e-10)
    assert updated.constant_known and len(updated.model.constants) == 1


def test_rows_of_further_data_have_the_scales_of_the_first(data, features):
    one, two, _ = thirds(data)

    @jax.jit
    def system_of(first, further):
        both = (hgn.Derivatives(), hgn.Energies())
        return Equations(hgn.Basis(features), both, first).systems(further)[0]

    target = np.asarray(system_of(one, two).target)
    # All graphs have the same number of pairs: the constant is the mean energy of the first.
    energy = np.asarray(one.globals["energy"])
    expected = (np.asarray(two.globals["energy"]) - energy.mean()) / np.std(energy)
    np.testing.assert_allclose(target[-20:], expected, rtol=1e-11, atol=1e-12)
    mass = np.asarray(two.nodes["mass"])[:, None]
    here, before = (np.asarray(d.nodes["force"]) / mass for d in (two, one))
    size = [np.linalg.norm(a, axis=1, keepdims=True) for a in (here, before)]
    expected = here / np.maximum(size[0], np.median(size[1]) / 100)
    np.testing.assert_allclose(target[-140:-20], expected.ravel(), rtol=1e-12)


def without_energies(data):
    return data._replace(globals={})


def test_update_without_energies_that_the_first_data_had_is_refused(data, features):
    one, two, _ = thirds(data)
    with pytest.raises(ValueError, match="energy"):
        hgn.solve(features, one).update(without_energies(two))


def test_update_with_energies_that_the_first_data_lacked_is_refused(data, features):
    one, two, _ = thirds(data)
    fit = hgn.solve(features, without_energies(one))
    with pytest.raises(
        ValueError, match=r"globals hold \['energy'\], those of the first data \[\]"
    ):
        fit.update(two)


def test_update_with_nan_names_its_place(data, features):
    one, two, _ = thirds(data)
    force = two.nodes["force"].at[4, 1].set(jnp.nan)
    with pytest.raises(ValueError, match=r"force.*frame 1, node 1"):
        hgn.solve(features, one).update(two._replace(nodes=two.nodes | {"force": force}))


def with_width(features, factor):
    """The model with wider pair units of r."""

    def where(drawn):
        return drawn[1].layers[0][0].weight

    return eqx.tree_at(where, features, factor * where(features))


@pytest.fixture(scope="module")
def losses(data, features):
    """Losses of forces and of energies, and their gradients with respect to the factor of the width
    and the logarithm of the ridge."""
    one, unseen, _ = thirds(data)

    def both(step):
        solver = hgn.QR(ridge=1e-2 * jnp.exp(step[1]))
        model = hgn.solve(with_width(features, 1 + step[0]), one, solver=solver, throw=False).model
        force = model.vector_field(unseen)[1] - unseen.nodes["force"]
        energy = model(unseen) - unseen.globals["energy"]
        found = jnp.stack([jnp.sum(force**2), jnp.sum(energy**2)])
        return found, found

    return jax.jit(jax.jacrev(both, has_aux=True))


@pytest.mark.parametrize("axis", [0, 1], ids=["width", "ridge"])
@pytest.mark.parametrize("which", [0, 1], ids=["forces", "energies"])
def test_gradients_through_a_solve_are_finite_differences(which, axis, losses):
    """The constant of the energy, too, is a function of the features and of theta."""
    gradient, _ = losses(jnp.zeros(2))
    found = slope(lambda h: float(losses(h * jnp.eye(2)[axis])[1][which]), 1e-3)
    np.testing.assert_allclose(gradient[which, axis], found, rtol=1e-6)
