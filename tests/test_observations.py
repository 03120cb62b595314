import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.fitting.observations import Rows
from hgn_jax.fitting.weights import RelativeWeights, UniformWeights

UNIFORM = hgn.Derivatives("uniform")
MASS = jnp.array([1.0, 2.0, 5.0])


@pytest.fixture(scope="module")
def snapshots(springs):
    graph = hgn.graphs.fully_connected(3, 2, mass=MASS)
    return hgn.systems.simulate(springs, graph, key=jr.key(3), trajectories=20)


@pytest.fixture(scope="module")
def features(snapshots):
    return hgn.sample((hgn.Kinetic(4), hgn.Pair(8)), snapshots, key=jr.key(0))


@eqx.filter_jit
def rows_of(observation, features, data):
    return observation.rows(hgn.Basis(features), data)


def with_nodes(data, **arrays):
    return data._replace(nodes=data.nodes | arrays)


@pytest.fixture(scope="module")
def two(snapshots):
    return hgn.graphs.take(snapshots, np.arange(20) < 2)


def jacobians(features, data):
    """d Phi / d q and d Phi / d p of every coordinate, `[n d, K]`, by reverse mode."""

    def total(q, p):
        return jnp.sum(features(with_nodes(data, position=q, momentum=p)), axis=0)

    both = jax.jit(jax.jacrev(total, (0, 1)))(data.nodes["position"], data.nodes["momentum"])
    return [np.asarray(j).reshape(j.shape[0], -1).T for j in both]


def test_derivative_rows_are_hamiltons_equations(two, features):
    velocity, force = rows_of(hgn.Derivatives(), features, two)
    (_, by_p), (by_q, _) = (jacobians(f, two) for f in features)
    np.testing.assert_allclose(velocity.columns[0], by_p, rtol=0, atol=1e-12)
    np.testing.assert_allclose(force.columns[1], -by_q, rtol=0, atol=1e-12)
    assert velocity.columns[1:] == (None, None)
    assert force.columns[0] is None and force.columns[2] is None
    assert (velocity.target == two.nodes["velocity"].ravel()).all()
    assert (force.target == two.nodes["force"].ravel()).all()


def test_features_that_mix_give_rows_of_both_kinds(snapshots, two):
    mixing = hgn.sample([hgn.MessagePassing(4, hidden=3)], snapshots, key=jr.key(0))
    velocity, force = rows_of(hgn.Derivatives(), mixing, two)
    by_q, by_p = jacobians(mixing[0], two)
    np.testing.assert_allclose(velocity.columns[0], by_p, rtol=0, atol=1e-11)
    np.testing.assert_allclose(force.columns[0], -by_q, rtol=0, atol=1e-11)


def test_fixed_bodies_have_weight_zero_and_no_rates(snapshots, features):
    fixed = jnp.tile(jnp.array([True, False, False]), 20)
    for rows in rows_of(UNIFORM, features, with_nodes(snapshots, fixed=fixed)):
        still = np.repeat(fixed, 2)
        assert not rows.weight[still].any() and (rows.weight[~still] == 1).all()
        assert not rows.target[still].any()
        columns = next(c for c in rows.columns if c is not None)
        assert not columns[still].any()


def test_weight_of_the_data_multiplies_the_weights(snapshots, features):
    own = jnp.linspace(0, 3, 60)
    plain = rows_of(hgn.Derivatives(), features, snapshots)
    weighted = rows_of(hgn.Derivatives(), features, with_nodes(snapshots, weight=own))
    for a, b in zip(plain, weighted):
        np.testing.assert_allclose(b.weight, a.weight * np.repeat(own, 2), rtol=1e-15)


@pytest.mark.parametrize("missing", ["velocity", "force"])
def test_derivatives_need_both_rates(snapshots, features, missing):
    nodes = {k: v for k, v in snapshots.nodes.items() if k != missing}
    with pytest.raises(ValueError, match=f"Derivatives needs nodes.*{missing}"):
        hgn.solve(features, snapshots._replace(nodes=nodes))


# Relative weights


def numpys_weights(size, mask, scale):
    median = np.median(size[mask])
    floor = median / 100 if median > 0 else size[mask].max()
    return 1 / (scale * np.maximum(size, floor if floor > 0 else 1))


@eqx.filter_jit
def relative(data):
    return RelativeWeights()(data, ("velocity", "force"))


def uneven(quiet, seed=0):
    """Speeds and accelerations over five decades, the first `quiet` bodies at rest."""
    rng = np.random.default_rng(seed)
    mass = 10.0 ** rng.uniform(-6, 6, 40)
    v, a = (10.0 ** rng.uniform(-5, 0, (40, 1)) * rng.normal(size=(40, 3)) for _ in range(2))
    v[:quiet] = a[:quiet] = 0
    return mass, v, a


def loose_bodies(mass, v, a):
    zeros = jnp.zeros((40, 3))
    graph = hgn.graphs.from_pairs(zeros, [], mass=mass)
    return with_nodes(graph, velocity=jnp.asarray(v), force=jnp.asarray(mass[:, None] * a))


@pytest.mark.parametrize("quiet", [0, 5, 30, 40])
def test_relative_weights_are_numpys_with_floors(quiet):
    mass, v, a = uneven(quiet)
    velocity, force = relative(loose_bodies(mass, v, a))
    mask = np.ones(40, bool)
    for weight, rate, scale in ((velocity, v, np.ones(40)), (force, a, mass)):
        expected = numpys_weights(np.linalg.norm(rate, axis=1), mask, scale)
        np.testing.assert_allclose(weight, expected, rtol=1e-13)


def test_floors_ignore_fixed_bodies():
    mass, v, a = uneven(0)
    fixed = np.arange(40) % 3 == 0
    wild = [np.where(fixed[:, None], 1e9, x) for x in (v, a)]
    weights = relative(with_nodes(loose_bodies(mass, *wild), fixed=jnp.asarray(fixed)))
    for weight, rate, scale in zip(weights, (v, a), (np.ones(40), mass)):
        expected = numpys_weights(np.linalg.norm(rate, axis=1), ~fixed, scale)
        np.testing.assert_allclose(weight[~fixed], expected[~fixed], rtol=1e-13)


def test_relative_weights_do_not_depend_on_units():
    mass, v, a = uneven(4)
    velocity, force = relative(loose_bodies(mass, v, a))
    scaled = relative(loose_bodies(1e9 * mass, 1e4 * v, 1e-6 * a))
    np.testing.assert_allclose(scaled[0] * 1e4, velocity, rtol=1e-13)
    np.testing.assert_allclose(scaled[1] * 1e3, force, rtol=1e-13)


def test_uniform_weights_are_one(snapshots):
    weights = UniformWeights()(snapshots, ("velocity", "force"))
    assert all((w == 1).all() and w.shape == (60,) for w in weights)


# Forces alone


def test_forces_alone_make_the_kinetic_energy_exactly_newtons(snapshots, springs):
    nodes = {k: v for k, v in snapshots.nodes.items() if k != "velocity"}
    only = snapshots._replace(nodes=nodes | {"momentum": 0 * nodes["momentum"]}, globals={})
    fit = hgn.fit(
        only,
        key=jr.key(0),
        terms=[hgn.Pair(32)],
        observations=[hgn.Forces()],
    )
    errors = hgn.metrics.relative_error(fit.model, snapshots)
    assert errors["velocity"] < 1e-14 and errors["force"] < 1e-8


def test_force_rows_are_those_of_derivatives(snapshots, features):
    forces = hgn.sample([hgn.Pair(8)], snapshots, key=jr.key(0))
    _, expected = rows_of(hgn.Derivatives(), forces, snapshots)
    (force,) = rows_of(hgn.Forces(weights="relative"), forces, snapshots)
    assert (force.columns[0] == expected.columns[0]).all()
    assert (force.target == expected.target).all() and (force.weight == expected.weight).all()


@pytest.mark.parametrize(
    ("spec", "name"),
    [(hgn.Kinetic(4), "kinetic"), (hgn.MessagePassing(4, hidden=3), "message passing")],
)
def test_forces_alone_refuse_features_that_they_cannot_determine(snapshots, spec, name):
    with pytest.raises(ValueError, match=f"forces alone cannot determine the {name} features"):
        rows_of(hgn.Forces(), hgn.sample([spec], snapshots, key=jr.key(0)), snapshots)


def test_forces_need_forces(snapshots, features):
    nodes = {k: v for k, v in snapshots.nodes.items() if k != "force"}
    with pytest.raises(ValueError, match=r"Forces needs nodes.*force"):
        hgn.solve(features[1:], snapshots._replace(nodes=nodes), observations=[hgn.Forces()])


def test_forces_need_neither_momenta_nor_velocities_nor_masses(snapshots):
    full = hgn.fit(snapshots, key=jr.key(0), terms=[hgn.Pair(8)], observations=[hgn.Forces()])
    kept = {k: snapshots.nodes[k] for k in ("position", "force", "mass")}
    bare = snapshots._replace(nodes=kept, globals={})
    fit = hgn.fit(bare, key=jr.key(0), terms=[hgn.Pair(8)], observations=[hgn.Forces()])
    np.testing.assert_allclose(fit.model.theta[0], full.model.theta[0], rtol=1e-12)


# Energies


def different_sizes(system):
    sizes = [hgn.graphs.chain(n, dimension=2) for n in (2, 3, 5)]
    return hgn.graphs.batch(
        [
            hgn.systems.simulate(system, g, key=jr.key(n), trajectories=4)
            for n, g in enumerate(sizes)
        ]
    )


def test_energy_rows_are_numpys(springs, features):
    data = different_sizes(springs)
    (rows,) = rows_of(hgn.Energies(weight=0.5), features, data)
    assert isinstance(rows, Rows)
    count, energy = np.repeat([2, 3, 5], 4), np.asarray(data.globals["energy"])
    np.testing.assert_allclose(rows.weight, 0.5 / (count * np.std(energy / count)), rtol=1e-13)
    # The part of the weighted energies that the constants (pairs) explain is left out.
    pairs, weight = count - 1, 1 / count
    constant = (energy * weight) @ (pairs * weight) / np.sum((pairs * weight) ** 2)
    np.testing.assert_allclose(rows.target, energy - constant * pairs, rtol=1e-11, atol=1e-12)
    for column, f in zip(rows.columns, features):
        np.testing.assert_allclose(column, f(data), rtol=1e-14)
    np.testing.assert_allclose(rows.columns[2][:, 0], count - 1)


def test_equal_energies_have_the_spread_of_a_tenth_of_the_kinetic_energy(snapshots, features):
    """Total energies of one trajectory hardly vary: they must not outweigh everything else."""
    flat = snapshots._replace(globals=snapshots.globals | {"energy": jnp.full(20, 3.0)})
    (rows,) = rows_of(hgn.Energies(), features, flat)
    square = np.sum(np.asarray(snapshots.nodes["momentum"]) ** 2, axis=1)
    kinetic = np.mean(square / np.asarray(snapshots.nodes["mass"]) / 2)
    np.testing.assert_allclose(rows.weight, 1 / (3 * 0.1 * kinetic), rtol=1e-13)


def test_equal_energies_without_momenta_and_forces_have_spread_one(snapshots, features):
    nodes = {k: v for k, v in snapshots.nodes.items() if k not in ("momentum", "force")}
    globals_ = snapshots.globals | {"energy": jnp.full(20, 3.0)}
    flat = snapshots._replace(nodes=nodes, globals=globals_)
    (rows,) = rows_of(hgn.Energies(), features[1:], flat)
    np.testing.assert_allclose(rows.weight, 1 / 3, rtol=1e-15)


def test_padding_gives_energy_rows_of_weight_zero_and_leaves_the_others_alone(snapshots, features):
    padded = hgn.graphs.pad(snapshots, n_node=70, n_edge=130, n_graph=30)
    (rows,) = rows_of(hgn.Energies(), features, snapshots)
    (more,) = rows_of(hgn.Energies(), features, padded)
    assert not more.weight[20:].any() and not more.target[20:].any()
    np.testing.assert_allclose(more.weight[:20], rows.weight, rtol=1e-14)


def test_padding_gives_derivative_rows_of_weight_zero_and_leaves_the_others_alone(
    snapshots, features
):
    padded = hgn.graphs.pad(snapshots, n_node=70, n_edge=130, n_graph=30)
    for a, b in zip(
        rows_of(hgn.Derivatives(), features, snapshots),
        rows_of(hgn.Derivatives(), features, padded),
    ):
        np.testing.assert_allclose(b.weight[:120], a.weight, rtol=1e-14)
        assert (b.target[:120] == a.target).all()
        assert not b.weight[120:].any() and not b.target[120:].any()


def test_energies_need_energies(snapshots, features):
    with pytest.raises(ValueError, match=r"Energies needs globals.*energy"):
        hgn.solve(features, snapshots._replace(globals={}), observations=[hgn.Energies()])


def test_energies_alone_determine_motion(springs, snapshots):
    """500 energies and no rates: the gradient of what was learned is the force."""
    graph = hgn.graphs.fully_connected(3, 2, mass=MASS)
    many = hgn.systems.simulate(springs, graph, key=jr.key(8), trajectories=500)
    nodes = {k: v for k, v in many.nodes.items() if k not in ("velocity", "force")}
    fit = hgn.fit(
        many._replace(nodes=nodes),
        key=jr.key(0),
        terms=(hgn.Kinetic(0), hgn.Pair(32)),
        observations=[hgn.Energies()],
    )
    errors = hgn.metrics.relative_error(fit.model, snapshots)
    assert errors["velocity"] < 1e-7 and errors["force"] < 1e-5
    assert fit.constant_known


def test_derivatives_and_energies_together_give_rates_and_absolute_energies(springs, snapshots):
    shifted = snapshots.globals["energy"] + 0.7 * 3
    fit = hgn.fit(
        snapshots._replace(globals=snapshots.globals | {"energy": shifted}),
        key=jr.key(0),
        terms=(hgn.Kinetic(4), hgn.Pair(32)),
        observations=[hgn.Derivatives(), hgn.Energies()],
    )
    assert len(fit.solutions) == 1
    errors = hgn.metrics.relative_error(fit.model, snapshots)
    assert errors["velocity"] < 1e-7 and errors["force"] < 1e-7
    np.testing.assert_allclose(fit.model(snapshots), shifted, rtol=1e-8)
