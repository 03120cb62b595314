"""A fit reports how much it explains; missing observations are no success."""

import inspect

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.fitting.weights import as_weights

GRAPH = hgn.graphs.fully_connected(3, 2, mass=jnp.array([1.0, 2.0, 0.5]))
SMALL = (hgn.Kinetic(0), hgn.Pair(32))


@pytest.fixture(scope="module")
def data():
    spring = hgn.systems.mass_spring("spring", rest_length=1.0)
    return hgn.systems.simulate(spring, GRAPH, key=jr.key(0), trajectories=50)


def with_nodes(data, **arrays):
    return data._replace(nodes=data.nodes | arrays)


def test_a_good_fit_is_called_good(data):
    fit = hgn.fit(data, key=0, terms=SMALL)
    assert fit.summary().startswith("Good: the model explains the observed motion to ")


def test_noise_is_what_is_left(data):
    noise = 0.01 * jr.normal(jr.key(1), data.nodes["force"].shape)
    fit = hgn.fit(with_nodes(data, force=data.nodes["force"] * (1 + noise)), key=0, terms=SMALL)
    assert 1e-3 < fit.residual < 0.1
    share = 100 * (1 - float(fit.residual) ** 2)
    assert f"explains {share:.4g}% of the observed motion" in fit.verdict


def test_a_poor_fit_is_warned_about_with_remedies(data):
    """Pairs of different stiffness that share one potential."""
    stiffness = jnp.array([1.0, 30.0, 5.0])
    typed = GRAPH._replace(edges={"type": jnp.tile(jnp.arange(3), 2)})
    system = hgn.systems.mass_spring("spring", stiffness=stiffness, rest_length=1.0)
    mixed = hgn.systems.simulate(system, typed, key=jr.key(0), trajectories=50)._replace(edges={})
    with pytest.warns(UserWarning, match=r"POOR.*give coupling= or type=.*hgn\.External"):
        fit = hgn.fit(mixed, key=0, terms=SMALL)
    assert fit.summary().startswith("POOR")
    assert fit.result == hgn.RESULTS.successful
    share = np.sum(np.asarray(fit.model.vector_field(mixed)[1] - mixed.nodes["force"]) ** 2)
    assert share > 1e-3 * np.sum(np.asarray(mixed.nodes["force"]) ** 2)


@pytest.mark.parametrize("bodies", [(0, 1, 2), (1,)])
def test_a_drive_of_all_bodies_cannot_be_told_from_a_uniform_field(data, bodies):
    times = jnp.linspace(0.0, 3.0, len(data.n_node))
    driven = with_nodes(data, force=data.nodes["force"] + 0.3)._replace(globals={"time": times})
    terms = [hgn.Pair(8), hgn.UniformField(), hgn.Drive(bodies, period=1.0, units=1)]
    fit = hgn.fit(driven, key=0, terms=terms)
    tie = "cannot tell uniform field from drive: only their sum is determined"
    assert (tie in fit.verdict) == (len(bodies) == 3)


def test_a_power_that_stands_twice_is_named(data):
    """The terms have one name."""
    fit = hgn.fit(data, key=0, terms=[hgn.Powers((1, 2)), hgn.Powers((2, 3))])
    assert "cannot tell powers from powers" in fit.verdict
    assert "cannot tell" not in hgn.fit(data, key=0, terms=[hgn.Powers((1, 2, 3))]).verdict


def test_inside_jit_nothing_is_said(data):
    fit = jax.jit(lambda key: hgn.fit(data, key=key, terms=SMALL, throw=False))(jr.key(0))
    assert fit.residual < 1e-8


def test_rows_of_one_kind_without_weight_are_no_success(data):
    """Velocities count but forces do not, so that the pair potential would silently be zero."""

    def deaf(graphs):
        ones = jnp.ones(len(graphs.nodes["position"]))
        return ones, 0 * ones

    given = [hgn.Derivatives(deaf)]
    fit = hgn.fit(data, key=0, terms=SMALL, observations=given, throw=False)
    assert fit.result == hgn.RESULTS.no_rows
    with pytest.raises(Exception, match="observations of one kind have no row"):
        hgn.fit(data, key=0, terms=SMALL, observations=given)


def test_planets_in_si_units_are_learned_in_single_precision():
    """Forces of 4e26 N: their squares overflow float32."""
    rng = np.random.default_rng(0)
    n, mass = 3, np.array([2e30, 6e24, 5e24])
    position = 1.5e11 * (np.array([[0, 0], [1, 0], [0, 0.7]]) + 0.1 * rng.normal(size=(80, n, 2)))
    force = np.zeros_like(position)
    for i in range(n):
        for j in range(n):
            if i != j:
                arm = position[:, j] - position[:, i]
                r = np.linalg.norm(arm, axis=-1, keepdims=True)
                force[:, i] += 6.67e-11 * mass[i] * mass[j] * arm / r**3
    kinds = [0, 1, 2]
    graph = hgn.graphs.from_pairs(
        position[0].astype(np.float32), [(0, 1), (0, 2), (1, 2)], mass=mass, type=np.array(kinds)
    )
    velocity = (3e4 * rng.normal(size=position.shape)).astype(np.float32)
    with jax.numpy_dtype_promotion("standard"), pytest.warns(UserWarning, match="float32"):
        data = hgn.graphs.snapshots(
            graph,
            {
                "position": jnp.asarray(position, jnp.float32),
                "momentum": jnp.asarray(mass[:, None] * velocity, jnp.float32),
                "velocity": jnp.asarray(velocity),
                "force": jnp.asarray(force, jnp.float32),
            },
            {},
        )
        fit = hgn.fit(data, key=0, terms=[hgn.Kinetic(0), hgn.Pair(16)])
    assert fit.result == hgn.RESULTS.successful
    learned = np.asarray(fit.model.vector_field(data)[1], float).reshape(force.shape)
    for body in range(n):
        wrong = np.linalg.norm(learned[:, body] - force[:, body])
        assert wrong < 0.05 * np.linalg.norm(force[:, body])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"terms": hgn.Pair(8)}, r"terms must be a sequence.*\[hgn\.Pair\(\)\], got Pair"),
        ({"terms": []}, "terms must be a sequence with at least one entry"),
        ({"terms": [hgn.Pair]}, r"terms\[0\].*the class Pair: write Pair\(\)"),
        ({"observations": hgn.Forces()}, "observations must be a sequence"),
        ({"observations": [hgn.Forces]}, r"the class Forces: write Forces\(\)"),
        ({"solver": "QR"}, "solver must be AbstractLeastSquares, got str"),
        ({"dynamics": hgn.Canonical}, r"write Canonical\(\)"),
        ({"known": lambda graphs: 0}, "known must be AbstractModel or None"),
        ({"key": None}, r"key must be one JAX key, jax\.random\.key\(0\), or a seed"),
        ({"key": jr.split(jr.key(0))}, "key must be one JAX key"),
        ({"key": 1.5}, "key must be one JAX key"),
    ],
)
def test_arguments_of_another_kind_are_named(data, arguments, words):
    with pytest.raises(ValueError, match=words):
        inspect.unwrap(hgn.fit)(data, **({"key": 0, "terms": SMALL} | arguments))


def test_a_seed_is_a_key(data):
    by_seed, by_key = (hgn.fit(data, key=k, terms=SMALL).model for k in (7, jr.key(7)))
    for a, b in zip(jax.tree.leaves(by_seed), jax.tree.leaves(by_key), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_are_named_or_a_function():
    for weights, words in (
        ("relativ", r"\['relative', 'scaled', 'uniform'\]"),
        (2.0, "must be a function"),
    ):
        with pytest.raises(ValueError, match=words):
            inspect.unwrap(as_weights)(weights)
