from typing import ClassVar

import equinox as eqx
import jax
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


def test_frames_without_momenta_have_an_error_of_forces_alone(springs, observed):
    rest = {k: v for k, v in observed.nodes.items() if k not in ("momentum", "velocity")}
    moves = ~np.asarray(observed.nodes["fixed"])
    force = np.asarray(springs.vector_field(observed)[1])[moves]
    target = np.asarray(observed.nodes["force"])[moves]
    errors = hgn.metrics.relative_error(Resting(springs), observed._replace(nodes=rest))
    assert set(errors) == {"force"}
    expected = np.linalg.norm(force - target) / np.linalg.norm(target)
    np.testing.assert_allclose(errors["force"], expected, rtol=1e-14)


def test_frames_without_momenta_or_rates_have_no_error(springs, observed):
    bare = {k: v for k, v in observed.nodes.items() if k in ("position", "mass", "fixed")}
    with pytest.raises(ValueError, match=r"needs nodes\[.force.\], nodes\[.velocity.\]"):
        hgn.metrics.relative_error(Resting(springs), observed._replace(nodes=bare))


class Resting(hgn.AbstractHamiltonian):
    """A system whose momenta count as zero where graphs have none."""

    system: hgn.AbstractModel

    @property
    def separable(self):
        return True

    def __call__(self, graphs):
        return self.system(self._at_rest(graphs))

    def vector_field(self, graphs):
        return self.system.vector_field(self._at_rest(graphs))

    def _at_rest(self, graphs):
        zero = jnp.zeros_like(graphs.nodes["position"])
        return graphs._replace(nodes={"momentum": zero} | graphs.nodes)


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


class OfPositions(hgn.AbstractDynamics):
    """Dynamics of positions alone."""

    state: ClassVar[tuple[str, ...]] = ("position",)
    observed: ClassVar[tuple[str, ...]] = ("velocity",)
    separable: ClassVar[bool] = False
    conserves_energy: ClassVar[bool] = False

    def rates(self, graphs, gradient):
        return (gradient.position,)


class Flow(eqx.Module):
    """A model of velocities alone."""

    @property
    def dynamics(self):
        return OfPositions()

    def vector_field(self, graphs):
        return (-graphs.nodes["position"],)


def test_a_model_of_velocities_alone_is_judged_by_them(no_type_checks):
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    graph = hgn.graphs.from_pairs(x, [(0, 1)])
    graph = graph._replace(nodes={"position": x, "velocity": -1.25 * x})
    errors = hgn.metrics.relative_error(Flow(), graph)
    assert errors == {"velocity": pytest.approx(0.2, rel=1e-14)}
    assert hgn.metrics.mean_square_error(Flow(), graph) == pytest.approx(0.04, rel=1e-14)


METRICS = (hgn.metrics.relative_error, hgn.metrics.mean_square_error)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ["velocity", "force"])
def test_missing_rates_are_named(springs, observed, metric, name):
    nodes = {k: v for k, v in observed.nodes.items() if k != name} | {f"{name}s": None}
    words = rf"error of a model needs nodes\[.{name}.\] \('{name}s': did you mean '{name}'\?\)"
    with pytest.raises(ValueError, match=words):
        metric(springs, observed._replace(nodes=nodes))


@pytest.mark.parametrize("metric", METRICS)
def test_rates_of_another_shape_are_refused(springs, observed, metric):
    """A single column would be broadcast against both components."""
    narrow = observed._replace(nodes=observed.nodes | {"force": observed.nodes["force"][:, :1]})
    words = r"nodes..force.. must be \[n d\] = \(7, 2\).*got \(7, 1\)"
    with pytest.raises(ValueError, match=words):
        metric(springs, narrow)


def test_rates_that_are_zero_have_no_relative_error(springs, observed):
    still = observed._replace(nodes=observed.nodes | {"force": 0 * observed.nodes["force"]})
    with pytest.raises(ValueError, match=r"nodes..force.. is zero for all mobile bodies"):
        hgn.metrics.relative_error(springs, still)
    assert jnp.isinf(jax.jit(hgn.metrics.relative_error)(springs, still)["force"])
    assert hgn.metrics.mean_square_error(springs, still) > 0
    both = still._replace(nodes=still.nodes | {"velocity": still.nodes["force"]})
    with pytest.raises(ValueError, match="all rates are zero for all mobile bodies"):
        hgn.metrics.mean_square_error(springs, both)


def test_rates_whose_squares_overflow_have_the_errors_of_others(no_type_checks):
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]], jnp.float32) * jnp.float32(1e27)
    graph = hgn.graphs.from_pairs(x, [(0, 1)])
    graph = graph._replace(nodes={"position": x, "velocity": jnp.float32(-1.25) * x})
    for metric, expected in zip(METRICS, (0.2, 0.04)):
        found = metric(Flow(), graph)
        found = found["velocity"] if isinstance(found, dict) else found
        assert found == pytest.approx(expected, rel=1e-6)


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
