"""Pipelines: ensembles, hyper-parameters, compilation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn

KEYS = jr.split(jr.key(7), (8, 4))
TINY = (hgn.Kinetic(0), hgn.Pair(8))


@pytest.fixture(scope="module")
def ensemble(data):
    def fitted(key):
        return hgn.fit(data, key=key, terms=TINY).model

    return jax.jit(lambda keys: jax.lax.map(jax.vmap(fitted), keys))


def test_an_ensemble_of_32_holds_the_models_of_single_fits(ensemble, data):
    models = ensemble(KEYS)
    energies = jax.vmap(jax.vmap(lambda model: model(data)))(models)
    assert energies.shape == (8, 4, 200)
    for i in ((0, 0), (3, 1), (7, 3)):
        single = hgn.fit(data, key=KEYS[i], terms=TINY).model(data)
        np.testing.assert_allclose(energies[i], single, rtol=1e-9)
    assert len({float(e) for e in energies[:, :, 0].ravel()}) == 32


def test_the_memory_of_an_ensemble_is_that_of_its_batch(ensemble):
    """32 models, four at a time, take the temporary memory of four."""

    def temporaries(keys):
        return ensemble.lower(keys).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(KEYS) < 1.1 * temporaries(KEYS[:2])


def test_a_validation_loss_differentiates_through_the_fit_by_the_ridge(data):
    noise = 0.1 * jr.normal(jr.key(3), data.nodes["force"].shape)
    noisy = data._replace(nodes=data.nodes | {"force": data.nodes["force"] + noise})

    @jax.jit
    def loss(log_ridge):
        solver = hgn.QR(ridge=jnp.exp(log_ridge))
        fitted = hgn.fit(noisy, key=jr.key(4), terms=TINY, solver=solver)
        return hgn.metrics.mean_square_error(fitted.model, data)

    at, step = jnp.log(0.1), 1e-4
    slope = (loss(at + step) - loss(at - step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(at), slope, rtol=1e-6)
    assert abs(slope) > 1e-6


def test_fits_of_other_sizes_padded_alike_compile_nothing(data):
    compiled = []

    def listen(name, seconds, **_):
        if "backend_compile" in name:
            compiled.append(name)

    padded = [
        hgn.graphs.pad(
            hgn.graphs.take(data, np.arange(200) < n), n_node=1601, n_edge=4800, n_graph=202
        )
        for n in (200, 150, 120)
    ]
    hgn.fit(padded[0], key=jr.key(0), terms=TINY)
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        fits = [hgn.fit(d, key=jr.key(1), terms=TINY) for d in padded[1:]]
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not compiled
    assert [int(f.rows) for f in fits] == [150 * 48, 120 * 48]


def test_derivatives_of_a_fit_at_the_least_ridge_keep_seven_digits(data):
    """The model is linear in the targets, so its derivative by their scale is itself."""
    specs = (hgn.Kinetic(16), hgn.Pair(32))

    @jax.jit
    def force(scale):
        scaled = data._replace(nodes=data.nodes | {"force": scale * data.nodes["force"]})
        how = {"observations": (hgn.Derivatives("uniform"),), "solver": hgn.QR(ridge=0.0)}
        fitted = hgn.fit(scaled, key=jr.key(5), terms=specs, **how)
        return fitted.model.vector_field(data)[1]

    value, slope = jax.jvp(force, (jnp.array(1.0),), (jnp.array(1.0),))
    assert jnp.linalg.norm(slope - value) < 1e-6 * jnp.linalg.norm(value)


def test_weights_may_be_a_module_with_arrays(data):
    class Scaled(eqx.Module):
        scale: jax.Array

        def __call__(self, graphs):
            ones = jnp.ones_like(graphs.nodes["mass"])
            return self.scale * ones, self.scale * ones

    scaled = (hgn.Derivatives(Scaled(jnp.array(2.0))),)
    fitted = hgn.fit(data, key=jr.key(0), terms=TINY, observations=scaled)
    plain = hgn.fit(data, key=jr.key(0), terms=TINY, observations=(hgn.Derivatives("uniform"),))
    np.testing.assert_allclose(fitted.model(data), plain.model(data), rtol=1e-9)
