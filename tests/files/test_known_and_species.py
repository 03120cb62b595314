"""Models with a known part or several species are unchanged after saving and loading."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from forged import basis_of, parts, refused, signed

import hgn_jax as hgn

SPECIES = jnp.array([7, 7, 3, 3, 3, 7, 3, 7])


@pytest.fixture(scope="module")
def data(cube, springs):
    """Six snapshots of eight bodies."""
    return hgn.systems.simulate(springs, cube, key=jr.key(1), trajectories=6)


@pytest.fixture(scope="module")
def mixture(data):
    """The bodies are of two species."""
    return data._replace(nodes=data.nodes | {"species": jnp.tile(SPECIES, len(data.n_node))})


def model_of(data, known=None, species=()):
    """Random coefficients in place of a fit."""
    terms = hgn.sample((hgn.Kinetic(4), hgn.Pair(8), hgn.External(4)), data, key=0)
    basis = hgn.Basis(terms, known=known, species=species)
    typed = basis.typed(data)
    theta = tuple(
        jr.normal(jr.key(i), jax.eval_shape(term, typed).shape[1:])
        for i, term in enumerate(basis.terms)
    )
    constants = jr.normal(jr.key(9), (basis.constant_count,))
    return hgn.HamiltonianGraphNetwork(basis, theta, constants)


def assert_returns(model, data, path):
    hgn.save(path, model)
    again = hgn.load(path)
    assert eqx.tree_equal(again, model)
    for a, b in zip((again(data), *again.vector_field(data)),
                    (model(data), *model.vector_field(data)), strict=True):  # fmt: skip
        assert np.isfinite(a).all() and np.any(a != 0)
        np.testing.assert_array_equal(a, b)
    return again


KNOWN = {
    "springs": hgn.systems.mass_spring("spring", stiffness=3.0, rest_length=0.5),
    "springs by type": hgn.systems.mass_spring("morse", depth=jnp.array([1.0, 2.0])),
    "gravity": hgn.systems.gravity(gravitational_constant=0.25),
    "atoms": hgn.systems.lennard_jones(epsilon=0.5, sigma=0.9, cutoff=2.0),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_system_returns(data, path, name):
    model = model_of(data, known=KNOWN[name])
    again = assert_returns(model, data, path)
    assert type(again.basis.known) is hgn.systems.System
    np.testing.assert_array_equal(again.basis.known(data), KNOWN[name](data))
    learned = eqx.tree_at(lambda m: m.basis.known, model, None)
    np.testing.assert_allclose(again(data) - learned(data), KNOWN[name](data), rtol=1e-9)
    assert basis_of(parts(path.read_bytes())[0])["known"]["class"] == "System"


def test_a_known_model_that_was_learned_returns(data, path):
    first = model_of(data)
    again = assert_returns(model_of(data, known=first), data, path)
    assert eqx.tree_equal(again.basis.known, first)


def test_a_known_model_whose_arrays_do_not_fit_is_not_saved(data, path, tmp_path):
    first = model_of(data)
    short = eqx.tree_at(lambda m: m.theta[0], first, first.theta[0][:-1])
    with pytest.raises(ValueError, match="4 coefficients for the 5 columns of KineticFeatures"):
        hgn.save(path, model_of(data, known=short))
    long = eqx.tree_at(lambda m: m.constants, first, jnp.zeros(9))
    with pytest.raises(ValueError, match=r"constants have shape \(9,\), but the terms need 2"):
        hgn.save(path, model_of(data, known=long))
    assert list(tmp_path.iterdir()) == []


def test_a_known_system_with_a_function_is_refused_in_words(data, path, tmp_path):
    """A file holds no code."""
    field = hgn.systems.mass_spring("spring", external=lambda q, m: m * q[0])
    with pytest.raises(TypeError, match=(
        r"cannot save basis\.known\.external, a function: files hold no code, only names of "
        r"classes from AbstractModel, "
    )):  # fmt: skip
        hgn.save(path, model_of(data, known=field))
    assert list(tmp_path.iterdir()) == []


def test_a_known_hamiltonian_of_ones_own_returns_by_name(data, path):
    class Field(hgn.AbstractHamiltonian):
        """The remedy that the error for functions names."""

        strength: float

        @property
        def separable(self):
            return True

        def __call__(self, graphs):
            along = graphs.nodes["mass"] * graphs.nodes["position"][:, 0]
            return self.strength * along.reshape(-1, 8).sum(axis=1)

    model = model_of(data, known=Field(0.5))
    again = assert_returns(model, data, path)
    assert type(again.basis.known) is Field and again.basis.known.strength == 0.5


def test_species_return(mixture, path):
    model = model_of(mixture, species=(3, 7))
    assert model.constants.shape == (3 + 2,)  # of pairs, and of bodies
    again = assert_returns(model, mixture, path)
    assert again.basis.species == (3, 7)
    again.basis.accepts(mixture)
    strange = mixture._replace(nodes=mixture.nodes | {"species": mixture.nodes["species"] + 1})
    with pytest.raises(ValueError, match=r"species \[4, 8\] were not in the first data"):
        again.basis.accepts(strange)


def test_forged_species_are_refused(mixture, path):
    hgn.save(path, model_of(mixture, species=(3, 7)))
    settings, header, payload = parts(path.read_bytes())
    basis_of(settings)["species"] = [3, 7, 9]
    refused(
        path,
        signed(settings, header, payload),
        r"constants have shape \(5,\), but the terms need 6",
    )
    for order in ([7, 3], [3, 3]):
        basis_of(settings)["species"] = order
        refused(path, signed(settings, header, payload), "species must be strictly increasing")
    basis_of(settings)["species"] = [3, 7.5]
    refused(path, signed(settings, header, payload), r"Basis: field 'species' holds \(3, 7\.5\)")


@pytest.mark.parametrize("species", [(7, 3), (3, 3, 7)])
def test_species_out_of_order_are_refused(mixture, species):
    terms = model_of(mixture, species=(3, 7)).terms
    with pytest.raises(ValueError, match="species must be strictly increasing, got "):
        hgn.Basis(terms, species=species)
