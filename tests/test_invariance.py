import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats

import hgn_jax as hgn
from hgn_jax.models import differentiated

ROTATION = stats.special_ortho_group.rvs(3, random_state=0)
MOTIONS = {
    "rotation": (ROTATION, np.zeros(3)),
    "reflection": (ROTATION @ np.diag([1, -1, 1]), np.zeros(3)),
    "inversion": (-np.eye(3), np.zeros(3)),
    "translation": (np.eye(3), np.array([10.0, -3.0, 0.5])),
    "all": (-ROTATION, np.array([1.0, 2.0, 3.0])),
}
each_motion = pytest.mark.parametrize("motion", MOTIONS.values(), ids=MOTIONS)

energies = eqx.filter_jit(lambda model, graphs: model(graphs))
rates = eqx.filter_jit(lambda model, graphs: model.vector_field(graphs))


@pytest.fixture(scope="module")
def model(fitted):
    return fitted.model


@pytest.fixture(scope="module")
def unseen(cube, springs):
    """As many snapshots as `data` has, so that nothing compiles again."""
    return hgn.systems.simulate(springs, cube, key=jr.key(7), trajectories=200)


def moved(graphs, **nodes):
    return graphs._replace(nodes=graphs.nodes | {k: jnp.asarray(v) for k, v in nodes.items()})


def rigidly_moved(graphs, motion):
    orthogonal, translation = motion
    q, p = (np.asarray(graphs.nodes[k]) for k in ("position", "momentum"))
    return moved(graphs, position=q @ orthogonal.T + translation, momentum=p @ orthogonal.T)


def two_bodies(r):
    sites = np.array([[0.0, 0.0, 0.0], [0.6 * r, 0.0, 0.8 * r]])
    return hgn.graphs.from_pairs(sites, [(0, 1)])


@each_motion
def test_energies_do_not_change_under_rigid_motion(model, unseen, motion):
    before, after = energies(model, unseen), energies(model, rigidly_moved(unseen, motion))
    assert np.max(np.abs(before - after)) <= 1e-8 * np.std(before)


@each_motion
def test_the_vector_field_turns_with_the_bodies(model, unseen, motion):
    before, after = rates(model, unseen), rates(model, rigidly_moved(unseen, motion))
    for a, b in zip(before, after):
        assert np.max(np.abs(a @ motion[0].T - b)) <= 1e-7 * np.std(a)


def test_renumbered_bodies_have_the_same_energy_and_renumbered_rates(model, unseen, cube):
    order = np.random.default_rng(1).permutation(8)
    everywhere = (order + 8 * np.arange(200)[:, None]).ravel()
    place = np.argsort(everywhere)
    edges = np.random.default_rng(2).permutation(len(cube.senders))
    edges = (edges + len(edges) * np.arange(200)[:, None]).ravel()
    senders, receivers = (jnp.asarray(place[x[edges]]) for x in (unseen.senders, unseen.receivers))
    renumbered = unseen._replace(
        nodes={k: v[everywhere] for k, v in unseen.nodes.items()},
        senders=senders,
        receivers=receivers,
    )
    before, after = energies(model, unseen), energies(model, renumbered)
    assert np.max(np.abs(before - after)) <= 1e-8 * np.std(before)
    for a, b in zip(rates(model, unseen), rates(model, renumbered)):
        assert np.max(np.abs(a[everywhere] - b)) <= 1e-8 * np.std(a)


def test_total_force_and_torque_are_zero(model, unseen):
    q = np.asarray(unseen.nodes["position"]).reshape(200, 8, 3)
    force = np.asarray(rates(model, unseen)[1]).reshape(200, 8, 3)
    assert np.max(np.abs(force.sum(1))) <= 1e-12 * np.max(np.abs(force))
    assert np.max(np.abs(np.cross(q, force).sum(1))) <= 1e-11 * np.max(np.abs(force))


@pytest.mark.parametrize("which, name", [(0, "position"), (1, "momentum")])
def test_the_gradient_of_the_energy_is_its_slope(model, unseen, which, name):
    x = np.asarray(unseen.nodes[name])
    slopes, h = np.zeros((200, 8, 3)), 1e-3
    for i, k in np.ndindex(8, 3):
        direction = np.zeros((200, 8, 3))
        direction[:, i, k] = 1

        def at(steps, direction=direction):
            return energies(
                model, moved(unseen, **{name: x + steps * h * direction.reshape(-1, 3)})
            )

        slopes[:, i, k] = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)
    gradient = np.asarray(model.gradient(unseen)[which]).reshape(200, 8, 3)
    np.testing.assert_allclose(gradient, slopes, atol=3e-8 * np.std(gradient), rtol=0)


def test_rates_follow_hamiltons_equations(model, unseen):
    """Contracted site by site, and by reverse-mode differentiation of the energy."""
    by_position, by_momentum = differentiated(model, unseen)
    velocity, force = model.vector_field(unseen)
    np.testing.assert_allclose(velocity, by_momentum, rtol=0, atol=1e-13)
    np.testing.assert_allclose(force, -by_position, rtol=0, atol=1e-13)


def test_fixed_bodies_have_no_rates_and_the_others_the_same(model, unseen):
    fixed = np.arange(1600) % 8 == 3
    for free, pinned in zip(rates(model, unseen), rates(model, moved(unseen, fixed=fixed))):
        np.testing.assert_array_equal(pinned[fixed], 0)
        np.testing.assert_allclose(pinned[~fixed], free[~fixed], rtol=1e-12)


def test_the_model_is_the_truth_on_unseen_states(model, unseen):
    for learned, name in zip(rates(model, unseen), ("velocity", "force")):
        true = np.asarray(unseen.nodes[name])
        assert np.max(np.abs(learned - true)) <= 1e-6 * np.std(true)
    true = np.asarray(unseen.globals["energy"])
    assert np.max(np.abs(energies(model, unseen) - true)) <= 1e-6 * np.std(true)


@pytest.mark.parametrize("r", [0.9, 1.0, 1.2])
def test_pair_energy_is_the_energy_of_two_bodies_at_rest(model, r):
    pair = model.pair_energy(jnp.array([[r]]))
    assert pair.shape == (1, 1)
    np.testing.assert_allclose(energies(model, two_bodies(r)), pair[0], atol=1e-12)
    np.testing.assert_allclose(pair, (r - 1) ** 2 / 2, atol=1e-8)


def test_pair_energy_counts_every_set_of_pair_features(unseen):
    features = hgn.sample([hgn.Pair(4), hgn.Pair(2, activation="sin")], unseen, key=jr.key(0))
    theta = (jnp.arange(1.0, 5.0), jnp.array([3.0, -1.0]))
    model = hgn.HamiltonianGraphNetwork(hgn.Basis(features), theta, jnp.array([1.5]))
    pair = model.pair_energy(jnp.array([1.1]))
    np.testing.assert_allclose(energies(model, two_bodies(1.1)), pair, rtol=1e-12)


def test_a_model_without_pair_features_has_no_pair_energy(model):
    kinetic = hgn.HamiltonianGraphNetwork(hgn.Basis(model.terms[:1]), model.theta[:1], jnp.zeros(0))
    with pytest.raises(ValueError, match="no pair features"):
        kinetic.pair_energy(jnp.ones(1))


def test_the_constant_is_that_of_the_observed_energies(data, specs, model, cube):
    higher = data._replace(globals=data.globals | {"energy": data.globals["energy"] + 12 * 0.5})
    shifted = hgn.fit(higher, key=jr.key(2), terms=specs).model
    np.testing.assert_allclose(shifted.constants - model.constants, [0.5], rtol=1e-9)
    np.testing.assert_allclose(energies(shifted, cube) - energies(model, cube), 6.0, rtol=1e-9)
    for a, b in zip(rates(shifted, cube), rates(model, cube)):
        np.testing.assert_array_equal(a, b)


def test_two_disjoint_copies_have_twice_the_energy_constants_included(model, unseen):
    one = hgn.graphs.take(unseen, np.arange(200) == 0)
    far = moved(one, position=np.asarray(one.nodes["position"]) + 50)
    two = one._replace(
        nodes={k: jnp.concatenate([v, far.nodes[k]]) for k, v in one.nodes.items()},
        senders=jnp.concatenate([one.senders, one.senders + 8]),
        receivers=jnp.concatenate([one.receivers, one.receivers + 8]),
        n_node=one.n_node + one.n_node,
        n_edge=one.n_edge + one.n_edge,
    )
    assert model.constants[0] != 0
    scale = np.std(energies(model, unseen))
    assert abs(energies(model, two)[0] - 2 * energies(model, one)[0]) <= 1e-8 * scale
    for a, b in zip(rates(model, two), rates(model, one)):
        assert np.max(np.abs(a - np.concatenate([b, b]))) <= 1e-7 * np.std(b)


def test_node_energies_and_constants_sum_to_the_energy(model, unseen):
    by_node = np.asarray(model.node_energy(unseen)).reshape(200, 8).sum(1)
    constant = 12 * float(model.constants[0])
    np.testing.assert_allclose(by_node + constant, energies(model, unseen), rtol=1e-9)


def test_padding_has_no_energy_and_no_rates(model, unseen):
    padded = hgn.graphs.pad(unseen, n_node=1605, n_edge=4810, n_graph=203)
    energy = energies(model, padded)
    np.testing.assert_allclose(energy[:200], energies(model, unseen), rtol=1e-9)
    np.testing.assert_array_equal(energy[200:], 0)
    for a, b in zip(rates(model, padded), rates(model, unseen)):
        np.testing.assert_allclose(a[:1600], b, atol=1e-9 * np.std(b), rtol=0)
        np.testing.assert_array_equal(a[1600:], 0)


def test_invariant_features_work_in_another_dimension(model):
    q = np.array([[0.0, 0.1], [1.0, 0.0], [0.1, 1.1]])
    p = np.array([[0.1, -0.2], [0.0, 0.1], [0.15, 0.05]])
    pairs = [(0, 1), (1, 2), (0, 2)]
    plane = hgn.graphs.from_pairs(q, pairs, momentum=p)
    flat = [np.pad(a, ((0, 0), (0, 1))) for a in (q, p)]
    space = hgn.graphs.from_pairs(flat[0], pairs, momentum=flat[1])
    np.testing.assert_allclose(energies(model, plane), energies(model, space), rtol=1e-9)


@pytest.mark.parametrize("spec", [hgn.External(2), hgn.MessagePassing(4, hidden=2)])
def test_another_dimension_is_refused_by_naming_both(cube, spec):
    features = hgn.sample([spec], cube, key=jr.key(0))
    width = eqx.filter_eval_shape(features[0], cube).shape[1]
    model = hgn.HamiltonianGraphNetwork(hgn.Basis(features), (jnp.ones(width),), jnp.ones(1))
    plane = hgn.graphs.chain(3, dimension=2)
    for call in (model, model.vector_field):
        with pytest.raises(ValueError, match=r"trained in 3 dimensions.*graph has 2"):
            call(plane)


def test_a_model_is_separable_if_all_its_features_are(cube, model):
    assert model.separable
    features = hgn.sample([hgn.MessagePassing(4, hidden=2)], cube, key=jr.key(0))
    basis = hgn.Basis((*model.terms, *features))
    theta = (*model.theta, jnp.zeros(6))
    mixed = hgn.HamiltonianGraphNetwork(basis, theta, jnp.zeros(basis.constant_count))
    assert not mixed.separable


def test_out_of_range_counts_by_kind_of_feature(model, unseen):
    low, high = np.asarray(model.terms[1].trained_range())[0]
    q = np.asarray(unseen.nodes["position"]) * 1.3
    step = q[np.asarray(unseen.senders)] - q[np.asarray(unseen.receivers)]
    r = np.linalg.norm(step, axis=1).reshape(200, -1)
    counts = model.out_of_range(moved(unseen, position=q))
    expected = np.sum((r < low) | (r > high), axis=1) // 2
    assert 0 < expected.sum() < 2400
    assert set(counts) == {"kinetic", "pair"}
    np.testing.assert_array_equal(counts["pair"], expected)
