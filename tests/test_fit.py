import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg

import hgn_jax as hgn
from hgn_jax.fitting.equations import assemble, independent_systems

KEY = jr.key(2)
EXACT = hgn.QR(ridge=0.0)  # no shrinkage
SMALL = (hgn.Kinetic(4), hgn.Pair(64))
MASS = jnp.array([1.0, 20.0, 0.05])
TRIANGLE = hgn.graphs.fully_connected(3, 2, mass=MASS)


def simulate(system, graph=TRIANGLE, *, seed=1, trajectories=100, width=0.25, momentum=0.3):
    start = hgn.systems.Uniform(width, momentum)
    return hgn.systems.simulate(
        system, graph, key=jr.key(seed), trajectories=trajectories, start=start
    )


def unseen(system, graph=TRIANGLE, *, width=0.2, momentum=0.3):
    """Other states, within the range of the training states."""
    return simulate(system, graph, seed=9, width=width, momentum=momentum)


def with_nodes(data, **arrays):
    return data._replace(nodes=data.nodes | arrays)


rates = eqx.filter_jit(lambda model, graphs: model.vector_field(graphs))


def same_bits(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(bool((x == y).all()) for x, y in leaves)


SYSTEMS = {
    "spring": hgn.systems.mass_spring("spring", rest_length=1.0),
    "anharmonic": hgn.systems.mass_spring("anharmonic", rest_length=1.0),
    "morse": hgn.systems.mass_spring("morse"),
    "double_well": hgn.systems.mass_spring("double_well"),
    "lennard_jones": hgn.systems.lennard_jones(sigma=0.8),
    "gravity": hgn.systems.gravity(gravitational_constant=0.1),
}
SPRING = SYSTEMS["spring"]


@pytest.fixture(scope="module")
def triangle():
    return simulate(SPRING)


@pytest.fixture(scope="module")
def spring_fit(triangle):
    return hgn.fit(triangle, key=KEY, terms=SMALL)


# Accuracy


slopes = eqx.filter_jit(lambda model, r: jax.vmap(jax.grad(model.pair_energy))(r))


@pytest.mark.parametrize("name", SYSTEMS)
def test_true_forces_on_unseen_states(name):
    system = SYSTEMS[name]
    shrink = 0.4 if name == "lennard_jones" else 1.0  # closer bodies have infinite energy
    fit = hgn.fit(simulate(system, width=0.25 * shrink), key=KEY, terms=SMALL)
    test = unseen(system, width=0.2 * shrink)
    errors = hgn.metrics.relative_error(fit.model, test)
    assert errors["velocity"] < 1e-14
    assert errors["force"] < 1e-9
    low, high = fit.trained_range["pair"][0]
    margin = 0.1 * (high - low)
    r = jnp.linspace(low + margin, high - margin, 50)
    learned, true = slopes(fit.model, r), slopes(system, r)
    assert jnp.linalg.norm(learned - true) < 1e-9 * jnp.linalg.norm(true)


def test_gravity_of_very_unequal_masses_is_accurate_for_every_body():
    heavy_to_light = hgn.graphs.fully_connected(3, 2, mass=jnp.array([1.0, 1e-3, 1e-8]))
    model = hgn.fit(
        simulate(SYSTEMS["gravity"], heavy_to_light, momentum=1e-9), key=KEY, terms=SMALL
    ).model
    test = unseen(SYSTEMS["gravity"], heavy_to_light, momentum=1e-9)
    for rate, name in zip(rates(model, test), ("velocity", "force")):
        wrong = np.linalg.norm(rate - test.nodes[name], axis=1)
        relative = wrong / np.linalg.norm(test.nodes[name], axis=1)
        assert relative.max() < 1e-8, name


def test_unequal_masses_give_momentum_over_mass(spring_fit):
    test = unseen(SPRING)
    expected = test.nodes["momentum"] / test.nodes["mass"][:, None]
    np.testing.assert_allclose(rates(spring_fit.model, test)[0], expected, rtol=1e-13)


class Relativistic(hgn.AbstractHamiltonian):
    """sum m c^2 (sqrt(1 + |p / m c|^2) - 1) with c = 1, and springs."""

    @property
    def separable(self):
        return True

    def __call__(self, graphs):
        m, p = graphs.nodes["mass"], graphs.nodes["momentum"]
        rest = with_nodes(graphs, momentum=0 * p)
        kinetic = m * (jnp.sqrt(1 + jnp.sum(p**2, axis=1) / m**2) - 1)
        count = graphs.n_node.shape[0]
        return SPRING(rest) + jnp.sum(kinetic.reshape(count, -1), axis=1)


def test_relativistic_kinetic_energy_is_learned():
    graph = hgn.graphs.fully_connected(3, 2, mass=jnp.array([1.0, 2.0, 0.5]))
    data = simulate(Relativistic(), graph, momentum=1.0)
    test = unseen(Relativistic(), graph, momentum=0.9)
    p, m = test.nodes["momentum"], test.nodes["mass"][:, None]
    expected = p / np.sqrt(m**2 + np.sum(p**2, axis=1, keepdims=True))
    np.testing.assert_allclose(test.nodes["velocity"], expected, rtol=1e-13)
    specs = (hgn.Kinetic(64), hgn.Pair(64))
    learned = hgn.metrics.relative_error(hgn.fit(data, key=KEY, terms=specs).model, test)
    assert learned["velocity"] < 1e-8
    assert hgn.metrics.relative_error(SPRING, test)["velocity"] > 0.1


def test_two_edge_types_are_distinguished():
    links, kinds = [(0, 1), (0, 2), (1, 2)], np.array([0, 1, 1], dtype=np.int32)
    graph = hgn.graphs.from_pairs(TRIANGLE.nodes["position"], links, mass=MASS, type=kinds)
    system = hgn.systems.mass_spring(
        "spring", stiffness=np.array([1.0, 7.0]), rest_length=np.array([1.0, 0.5])
    )
    model = hgn.fit(simulate(system, graph), key=KEY, terms=SMALL).model
    assert hgn.metrics.relative_error(model, unseen(system, graph))["force"] < 1e-8
    r = jnp.linspace(0.9, 1.2, 20)
    for kind, slope in ((0, r - 1), (1, 7 * (r - 0.5))):
        force = jax.jit(jax.vmap(jax.grad(lambda x, kind=kind: model.pair_energy(x, kind))))
        np.testing.assert_allclose(force(r), slope, rtol=0, atol=1e-7)


EXTERNAL = (hgn.Kinetic(0), hgn.Pair(32), hgn.External(128))


def earth(q, m):
    return 9.81 * m * q[1]


def wall(q, m):
    return jnp.exp(-2 * q[0])


@pytest.mark.parametrize(("external", "accuracy"), [(earth, 1e-8), (wall, 1e-4)])
def test_external_learns_gravity_on_earth_and_a_wall(external, accuracy):
    system = hgn.systems.mass_spring("spring", rest_length=1.0, external=external)
    model = hgn.fit(simulate(system), key=KEY, terms=EXTERNAL).model
    test = unseen(system, width=0.15)
    errors = hgn.metrics.relative_error(model, test)
    assert errors["force"] < accuracy
    assert hgn.metrics.relative_error(SPRING, test)["force"] > 0.1


def test_swim_learns_in_one_and_in_two_passes(triangle):
    layers = []
    for passes in (1, 2):
        sampling = hgn.SWIM(passes=passes)
        specs = (hgn.Kinetic(4, sampling), hgn.Pair(64, sampling))
        model = hgn.fit(triangle, key=KEY, terms=specs).model
        errors = hgn.metrics.relative_error(model, unseen(SPRING))
        assert errors["velocity"] < 1e-14 and errors["force"] < 1e-9
        layers.append(model.terms[1].layers)
    assert not same_bits(*layers)


def test_message_passing_couples_positions_and_momenta_and_beats_the_mean():
    graph = hgn.graphs.fully_connected(3, 2)
    data = simulate(SPRING, graph)
    fit = hgn.fit(data, key=KEY, terms=[hgn.MessagePassing(64, hidden=16)])
    assert len(fit.solutions) == 1 and not fit.model.separable
    for rate, name in zip(rates(fit.model, data), ("velocity", "force")):
        target = data.nodes[name]
        spread = target - jnp.mean(target, axis=0, keepdims=True)
        assert jnp.linalg.norm(rate - target) < 0.8 * jnp.linalg.norm(spread), name


# Rows and systems


@eqx.filter_jit
def blocks_of(features, data):
    return hgn.Derivatives().rows(hgn.Basis(features), data)


def test_kinetic_and_pair_are_solved_apart_each_by_its_own_rows(triangle, spring_fit):
    features = spring_fit.model.terms
    velocity, force = blocks_of(features, triangle)
    systems = independent_systems((velocity, force))
    assert [members for members, _ in systems] == [[0], [1]]
    for (members, blocks), column, block in zip(
        systems, (velocity.columns[0], force.columns[1]), (velocity, force)
    ):
        matrix, target = assemble(blocks, members, [len(t) for t in spring_fit.model.theta])
        np.testing.assert_allclose(matrix, column * block.weight[:, None], rtol=1e-15)
        np.testing.assert_allclose(target, block.target * block.weight, rtol=1e-15)


def test_assembled_rows_are_weighted_hamiltons_equations(triangle, spring_fit):
    few = hgn.graphs.take(triangle, np.arange(100) < 2)
    kinetic, pair = spring_fit.model.terms

    def total(q):
        return jnp.sum(pair(with_nodes(few, position=q)), axis=0)

    by_q = np.asarray(jax.jit(jax.jacrev(total))(few.nodes["position"]))
    _, (members, blocks) = independent_systems(blocks_of((kinetic, pair), few))
    matrix, target = assemble(blocks, members, [5, 64])
    force, mass = np.asarray(few.nodes["force"]), np.asarray(few.nodes["mass"])
    acceleration = np.linalg.norm(force, axis=1) / mass
    weight = 1 / (mass * np.maximum(acceleration, np.median(acceleration) / 100))
    rows = -np.moveaxis(by_q, 0, 2) * weight[:, None, None]
    np.testing.assert_allclose(matrix, rows.reshape(12, 64), rtol=0, atol=1e-12 * rows.max())
    np.testing.assert_allclose(target, (force * weight[:, None]).ravel(), rtol=1e-13)


def test_joint_solve_gives_the_same_predictions(triangle, spring_fit):
    model = spring_fit.model
    widths = [len(t) for t in model.theta]
    matrix, target = assemble(blocks_of(model.terms, triangle), [0, 1], widths)
    assert not matrix[: len(target) // 2, widths[0] :].any()
    theta = hgn.QR()(matrix, target).theta
    joint = eqx.tree_at(lambda m: m.theta, model, (theta[: widths[0]], theta[widths[0] :]))
    close_rates(joint, model, triangle)


def test_blocks_that_share_a_column_set_are_solved_together(triangle, spring_fit):
    features = spring_fit.model.terms
    blocks = (
        *blocks_of(features, triangle),
        *hgn.Energies().rows(hgn.Basis(features), triangle),
    )
    ((members, rows),) = independent_systems(blocks)
    assert members == [0, 1, 2] and len(rows) == 3
    matrix, target = assemble(rows, members, [5, 64, 1])
    assert matrix.shape == (100 * 12 + 100, 70) and target.shape == (1300,)
    assert not matrix[:1200, 69].any() and matrix[1200:, 69].all()


def test_coefficients_are_scipys_for_features_that_are_well_conditioned(triangle):
    specs = (hgn.Kinetic(0), hgn.Pair(4, hgn.ELM()))
    fit = hgn.fit(triangle, key=KEY, terms=specs, solver=EXACT)
    _, force = blocks_of(fit.model.terms, triangle)
    weight = np.asarray(force.weight)
    z = np.asarray(force.columns[1]) * weight[:, None]
    u = np.asarray(force.target) * weight
    scale = np.linalg.norm(z, axis=0)
    theta = scipy.linalg.lstsq(z / scale, u)[0] / scale
    condition = np.linalg.cond(z / scale)
    np.testing.assert_allclose(fit.model.theta[1], theta, rtol=1e-14 * condition)
    np.testing.assert_allclose(fit.model.theta[0], [1.0], rtol=1e-14)
    np.testing.assert_allclose(
        fit.residual, np.linalg.norm(z @ theta - u) / np.linalg.norm(u), rtol=1e-8
    )
    np.testing.assert_allclose(fit.condition, condition, rtol=1e-8)
    assert fit.rank == 5 == fit.columns and fit.rows == 1200


def test_fixed_bodies_teach_nothing(triangle):
    fixed = jnp.tile(jnp.array([True, False, False]), 100)
    held = with_nodes(triangle, fixed=fixed)
    poison = {k: jnp.where(fixed[:, None], 1e3, held.nodes[k]) for k in ("velocity", "force")}
    clean = hgn.fit(held, key=KEY, terms=SMALL)
    poisoned = hgn.fit(with_nodes(held, **poison), key=KEY, terms=SMALL)
    assert same_bits(clean.model.theta, poisoned.model.theta)
    assert clean.rows == 2 * 2 * 2 * 100


def test_weight_zero_removes_rows(triangle):
    wrong = jnp.tile(jnp.array([False, True, False]), 100) & (jnp.arange(300) < 90)
    broken = with_nodes(
        triangle,
        force=jnp.where(wrong[:, None], 3.0, triangle.nodes["force"]),
        velocity=jnp.where(wrong[:, None], -2.0, triangle.nodes["velocity"]),
    )
    deaf = hgn.fit(with_nodes(broken, weight=jnp.where(wrong, 0.0, 1.0)), key=KEY, terms=SMALL)
    listening = hgn.fit(broken, key=KEY, terms=SMALL)
    errors = [hgn.metrics.relative_error(f.model, unseen(SPRING)) for f in (deaf, listening)]
    assert errors[0]["force"] < 1e-9 and errors[0]["velocity"] < 1e-14
    assert all(errors[1][name] > 1e6 * errors[0][name] for name in ("velocity", "force"))
    assert deaf.rows == 1200 - 4 * 30


def test_weights_argument_replaces_the_default(triangle):
    """A coefficient that cannot fit both bodies is the mean weighted by the given squares."""
    scale = jnp.tile(jnp.array([1.0, 2.0, 3.0]), 100)[:, None]
    odd = with_nodes(triangle, velocity=scale * triangle.nodes["velocity"])
    own = np.tile([3.0, 1.0, 2.0], 100)

    def weights(graphs):
        return jnp.asarray(own), jnp.ones_like(graphs.nodes["mass"])

    given = (hgn.Derivatives(weights),)
    terms = (hgn.Kinetic(0), hgn.Pair(4))
    fit = hgn.fit(odd, key=KEY, terms=terms, observations=given, solver=EXACT)
    v = np.asarray(triangle.nodes["velocity"]) * own[:, None]
    expected = np.sum(v * v * scale) / np.sum(v * v)
    np.testing.assert_allclose(fit.model.theta[0], [expected], rtol=1e-13)


# The constant of the energy


def test_observed_energies_determine_a_constant_that_is_extensive(triangle):
    shifted = triangle.globals["energy"] + 0.7 * 3
    data = triangle._replace(globals=triangle.globals | {"energy": shifted})
    fit = hgn.fit(data, key=KEY, terms=SMALL)
    assert fit.constant_known
    assert "determined by the observed energies" in fit.summary()
    sites = np.array([[0.0, 0.0], [1.0, 0.1], [0.1, 1.0], [1.1, 1.2]])
    for links in ([(0, 1)], [(0, 1), (0, 2), (1, 3), (2, 3)]):
        other = hgn.graphs.from_pairs(sites, links)
        expected = SPRING(other) + 0.7 * len(links)
        np.testing.assert_allclose(fit.model(other), expected, rtol=0, atol=1e-9)


def test_noisy_energies_of_unequal_graphs_count_per_body():
    """The constant is NumPy's weighted least squares, 1 / n for a graph of n bodies."""
    chains = [hgn.graphs.chain(n, dimension=2) for n in (2, 3, 9)]
    data = hgn.graphs.batch(
        [simulate(SPRING, g, seed=i, trajectories=6) for i, g in enumerate(chains)]
    )
    noise = np.random.default_rng(5).normal(size=18)
    energy = data.globals["energy"] + jnp.asarray(noise)
    fit = hgn.fit(data._replace(globals={"energy": energy}), key=KEY, terms=SMALL)
    model = eqx.tree_at(lambda m: m.constants, fit.model, jnp.zeros(1))
    count = np.repeat([2, 3, 9], 6)
    pairs, left = (count - 1) / count, np.asarray(energy - model(data)) / count
    np.testing.assert_allclose(fit.model.constants, [pairs @ left / (pairs @ pairs)], rtol=1e-9)


def test_without_energies_the_constant_is_zero_and_the_motion_the_same(triangle, spring_fit):
    fit = hgn.fit(triangle._replace(globals={}), key=KEY, terms=SMALL)
    assert not fit.constant_known
    assert not fit.model.constants.any()
    assert "zero: no energies were observed" in fit.summary()
    assert spring_fit.model.constants.any()
    close_rates(fit.model, spring_fit.model, triangle)


# Transformations


def test_same_key_same_bits_and_another_key_another_model(triangle, spring_fit):
    again = hgn.fit(triangle, key=KEY, terms=SMALL)
    assert same_bits(again.model, spring_fit.model)
    other = hgn.fit(triangle, key=jr.key(3), terms=SMALL)
    assert not same_bits(other.model.theta[1], spring_fit.model.theta[1])


def test_sampled_features_then_solve_is_fit(triangle, spring_fit):
    features = hgn.sample(SMALL, triangle, key=KEY)
    for a, b in zip(jax.tree.leaves(features), jax.tree.leaves(spring_fit.model.terms)):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    close_rates(hgn.solve(features, triangle).model, spring_fit.model, triangle)


def close_rates(a, b, data):
    for x, y in zip(rates(a, data), rates(b, data)):
        np.testing.assert_allclose(x, y, rtol=0, atol=1e-9 * float(jnp.abs(y).max()))


@pytest.fixture(scope="module")
def jitted():
    return eqx.filter_jit(lambda data: hgn.fit(data, key=KEY, terms=SMALL, throw=False))


def test_jitted_fit_is_fit(triangle, spring_fit, jitted):
    close_rates(jitted(triangle).model, spring_fit.model, triangle)


def test_vmap_over_keys_is_single_fits(triangle):
    keys = jr.split(jr.key(5), 2)
    fits = eqx.filter_vmap(lambda k: hgn.fit(triangle, key=k, terms=SMALL))(keys)
    arrays, static = eqx.partition(fits.model, eqx.is_array)
    for i, key in enumerate(keys):
        one = eqx.combine(jax.tree.map(lambda x, i=i: x[i], arrays), static)
        close_rates(one, hgn.fit(triangle, key=key, terms=SMALL).model, triangle)
    assert fits.rank.shape == fits.condition.shape == fits.residual.shape == (2,)


# What goes wrong


@pytest.fixture(scope="module")
def broken(triangle):
    return with_nodes(triangle, force=triangle.nodes["force"].at[4, 1].set(jnp.nan))


def test_bad_data_are_refused_with_their_place(broken, triangle):
    with pytest.raises(ValueError, match=r"force.*frame 1, node 1"):
        hgn.fit(broken, key=KEY, terms=SMALL)
    with pytest.raises(ValueError, match=r"force.*frame 1, node 1"):
        hgn.solve(hgn.sample(SMALL, triangle, key=KEY), broken)


def test_inside_jit_the_result_code_reports_problems(broken, jitted):
    quiet = jitted(broken)
    assert quiet.result == hgn.RESULTS.nonfinite_data
    assert "NaN or Inf" in quiet.summary()


def test_inside_jit_throw_raises(broken):
    specs = (hgn.Kinetic(0), hgn.Pair(2))
    loud = eqx.filter_jit(lambda d: hgn.fit(d, key=KEY, terms=specs).model.theta)
    with pytest.raises(eqx.EquinoxRuntimeError, match="the data hold NaN or Inf"):
        jax.block_until_ready(loud(broken))


def test_success_has_its_code_too(spring_fit):
    assert spring_fit.result == hgn.RESULTS.successful
    assert "FAILED" not in spring_fit.summary()


@pytest.mark.parametrize("missing", ["velocity", "force"])
def test_missing_targets_are_an_error(triangle, missing):
    nodes = {k: v for k, v in triangle.nodes.items() if k != missing}
    with pytest.raises(ValueError, match=missing):
        hgn.fit(triangle._replace(nodes=nodes), key=KEY, terms=SMALL)


def test_features_that_no_observation_sees_are_an_error(triangle):
    features = hgn.sample(SMALL, triangle, key=KEY)

    class OnlyVelocities(hgn.Derivatives):
        def rows(self, *args):
            return super().rows(*args)[:1]

    with pytest.raises(ValueError, match="no observation determines the pair term"):
        hgn.solve(features, triangle, observations=[OnlyVelocities()])


def test_fewer_rows_than_columns_interpolate_and_report_the_rank():
    data = simulate(SPRING, trajectories=2)
    fit = hgn.fit(data, key=KEY, terms=SMALL)
    assert fit.rows == 24 and fit.columns == 69
    assert all(0 < s.rank <= 12 for s in fit.solutions)
    errors = hgn.metrics.relative_error(fit.model, data)
    assert errors["velocity"] < 1e-12 and errors["force"] < 1e-10


@pytest.mark.parametrize("length", [1.0, 0.7])
def test_rigid_rod_learns_its_constant_tension(length):
    """Distance, force and speed never vary: every column is parallel."""
    angle = np.linspace(0, 3, 40)
    arm = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    side = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    graph = hgn.graphs.chain(2, dimension=2)
    both = np.stack([-arm, arm], axis=1)
    arrays = {
        "position": jnp.asarray(length * both / 2),
        "momentum": jnp.asarray(np.stack([-side, side], axis=1)),
        "velocity": jnp.asarray(np.stack([-side, side], axis=1)),
        "force": jnp.asarray(-2.0 * both),
    }
    data = hgn.graphs.snapshots(graph, arrays, {})
    fit = hgn.fit(data, key=KEY, terms=SMALL)
    assert [int(s.rank) for s in fit.solutions] == [1, 1]
    errors = hgn.metrics.relative_error(fit.model, data)
    assert errors["velocity"] < 1e-14 and errors["force"] < 1e-13
    stretched = jnp.array([length, length * (1 + 1e-6)])
    np.testing.assert_allclose(slopes(fit.model, stretched), 2.0, rtol=1e-4)


def test_float32_warns_and_reaches_its_stated_accuracy(triangle):
    def single(tree):
        return jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, tree)

    with pytest.warns(UserWarning, match="float32"):
        fit = hgn.fit(single(triangle), key=KEY, terms=SMALL)
    assert {t.dtype for t in fit.model.theta} == {jnp.dtype(jnp.float32)}
    errors = hgn.metrics.relative_error(fit.model, single(unseen(SPRING)))
    assert errors["velocity"] < 3e-6 and errors["force"] < 3e-6


def test_summary_states_rows_rank_and_range(spring_fit):
    words = spring_fit.summary()
    assert f"1200 rows, 69 columns, rank {int(spring_fit.rank)}" in words
    low, high = spring_fit.trained_range["pair"][0]
    assert f"trained range of pair: {low:.4g} .. {high:.4g}" in words


def test_trained_range_is_that_of_the_data(triangle, spring_fit):
    q = np.asarray(triangle.nodes["position"])
    r = np.linalg.norm(q[triangle.senders] - q[triangle.receivers], axis=1)
    speed = np.linalg.norm(triangle.nodes["velocity"], axis=1)
    ranges = spring_fit.trained_range
    np.testing.assert_allclose(ranges["pair"], [[r.min(), r.max()]], rtol=1e-14)
    np.testing.assert_allclose(ranges["kinetic"], [speed.min(), speed.max()], rtol=1e-14)


def test_rows_to_which_no_term_contributes_are_refused(data):
    with pytest.raises(ValueError, match="no term contributes to the force rows"):
        hgn.fit(data, key=jr.key(0), terms=[hgn.Kinetic(4)])


def test_the_kinetic_energy_is_newtons_where_no_term_has_momenta(data):
    """Rows that the known part alone explains still count in the verdict."""
    fit = hgn.fit(data, key=jr.key(0), terms=[hgn.Pair(32)])
    assert fit.residual < 1e-8 and fit.rows == 200 * 8 * 6
    errors = hgn.metrics.relative_error(fit.model, data)
    assert errors["velocity"] < 1e-14 and errors["force"] < 1e-8
    fast = data._replace(nodes=data.nodes | {"velocity": 2 * data.nodes["velocity"]})
    with pytest.warns(UserWarning, match="POOR: the model explains only 75%"):
        wrong = hgn.fit(fast, key=jr.key(0), terms=[hgn.Pair(32)])
    np.testing.assert_allclose(wrong.residual, 0.5, rtol=1e-6)


def test_data_without_a_weighted_row_are_no_success(data, specs):
    nodes = data.nodes | {"weight": jnp.zeros_like(data.nodes["mass"])}
    fit = hgn.fit(data._replace(nodes=nodes), key=jr.key(0), terms=specs, throw=False)
    assert fit.result == hgn.RESULTS.no_rows


def test_a_constant_that_one_topology_cannot_tell_is_called_unknown(springs, cube):
    data = hgn.systems.simulate(springs, cube, key=jr.key(0), trajectories=50)
    features = [hgn.Kinetic(0), hgn.Pair(16), hgn.External(2)]
    fit = hgn.fit(data, key=jr.key(1), terms=features)
    assert not fit.constant_known
    assert "right only for graphs like the observed ones" in fit.summary()
    np.testing.assert_allclose(fit.model(data), data.globals["energy"], rtol=1e-3)


def test_pairs_of_fixed_bodies_do_not_widen_the_trained_range(springs):
    graph = hgn.graphs.from_pairs(np.array([[0.0], [1.0], [6.0]]), [(0, 1), (0, 2), (1, 2)])
    fixed = jnp.array([True, False, True])
    graph = graph._replace(nodes=graph.nodes | {"fixed": fixed})
    data = hgn.systems.simulate(springs, graph, key=jr.key(0), trajectories=20)
    features = hgn.sample([hgn.Pair(4)], data, key=jr.key(1))
    assert features[0].ranges[0, 1] < 5.5
    assert not features[0].out_of_range(data).any()


def test_a_constant_is_unknown_in_thousands_of_graphs_alike():
    """Rounding grows with the number of graphs, and must not count as a second constant."""
    square = hgn.graphs.lattice((2, 2))
    square = square._replace(edges={"type": (square.senders + square.receivers) % 2})
    data = simulate(SPRING, square, trajectories=1000)
    noise = 1e-3 * jr.normal(jr.key(8), data.globals["energy"].shape)
    data = data._replace(globals=data.globals | {"energy": data.globals["energy"] + noise})
    fit = hgn.fit(data, key=KEY, terms=(hgn.Kinetic(0), hgn.Pair(8)))
    assert not fit.constant_known
    assert np.abs(fit.model.constants).max() < 1e3


@pytest.mark.parametrize("part", ["type", "coupling"])
def test_update_refuses_what_the_first_data_lacked(triangle, spring_fit, part):
    like = {"type": jnp.ones_like(triangle.senders), "coupling": jnp.ones(triangle.senders.shape)}
    with pytest.raises(ValueError, match=part):
        spring_fit.update(triangle._replace(edges={part: like[part]}))
