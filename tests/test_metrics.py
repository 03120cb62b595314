import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn


@pytest.fixture(scope="module")
def observed(springs):
    """Two graphs of different size with rates that are not the system's."""
    rng = np.random.default_rng(0)
    graphs = []
    for graph in (hgn.graphs.chain(3, dimension=2), hgn.graphs.ring(4)):
        shape = graph.nodes["position"].shape
        arrays = {k: jnp.asarray(rng.normal(size=shape)) for k in ("momentum", "velocity", "force")}
        fixed = jnp.arange(shape[0]) == 0
        graphs.append(graph._replace(nodes=graph.nodes | arrays | {"fixed": fixed}))
    return hgn.graphs.batch(graphs)


def errors_and_targets(system, data):
    moves = ~np.asarray(data.nodes["fixed"])
    return [
        (np.asarray(rate - data.nodes[name])[moves], np.asarray(data.nodes[name])[moves])
        for rate, name in zip(system.vector_field(data), ("velocity", "force"))
    ]


def test_relative_error_is_numpys_over_moving_bodies(springs, observed):
    errors = hgn.metrics.relative_error(springs, observed)
    for name, (wrong, target) in zip(("velocity", "force"), errors_and_targets(springs, observed)):
        expected = np.linalg.norm(wrong) / np.linalg.norm(target)
        np.testing.assert_allclose(errors[name], expected, rtol=1e-14)
    assert set(errors) == {"velocity", "force"}


def test_mean_square_error_pools_velocity_and_force(springs, observed):
    pairs = errors_and_targets(springs, observed)
    wrong = np.concatenate([w.ravel() for w, _ in pairs])
    target = np.concatenate([t.ravel() for _, t in pairs])
    expected = np.mean(wrong**2) / np.mean(target**2)
    error = hgn.metrics.mean_square_error(springs, observed)
    np.testing.assert_allclose(error, expected, rtol=1e-14)


@pytest.mark.parametrize("poison", [1e6, np.nan])
def test_targets_of_fixed_bodies_do_not_count(springs, observed, poison):
    fixed = observed.nodes["fixed"][:, None]
    rates = {k: jnp.where(fixed, poison, observed.nodes[k]) for k in ("velocity", "force")}
    poisoned = observed._replace(nodes=observed.nodes | rates)
    for metric in (hgn.metrics.relative_error, hgn.metrics.mean_square_error):
        assert metric(springs, poisoned) == metric(springs, observed)


def test_padding_does_not_count(springs, observed):
    padded = hgn.graphs.pad(observed, n_node=12, n_edge=20, n_graph=4)
    for name, error in hgn.metrics.relative_error(springs, observed).items():
        padded_error = hgn.metrics.relative_error(springs, padded)[name]
        np.testing.assert_allclose(padded_error, error, rtol=1e-14)
    np.testing.assert_allclose(
        hgn.metrics.mean_square_error(springs, padded),
        hgn.metrics.mean_square_error(springs, observed),
        rtol=1e-14,
    )


def test_the_true_system_has_no_error(springs, data):
    errors = hgn.metrics.relative_error(springs, data)
    assert errors["velocity"] < 1e-15 and errors["force"] < 1e-15
    assert hgn.metrics.mean_square_error(springs, data) < 1e-30


def test_a_target_scaled_by_two_is_half_wrong(springs, data):
    doubled = data._replace(nodes=data.nodes | {"force": 2 * data.nodes["force"]})
    errors = hgn.metrics.relative_error(springs, doubled)
    np.testing.assert_allclose(errors["force"], 0.5, rtol=1e-14)
    assert errors["velocity"] < 1e-15
