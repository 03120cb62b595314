import re

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from scipy import stats

import hgn_jax as hgn
from hgn_jax.fitting.trainable import trainable
from hgn_jax.graphs.geometry import sum_over_graphs

KEY = jr.key(3)
STILL = optax.sgd(0.0)  # shared, so that steps are compiled once
SMALL = (hgn.Kinetic(2, hgn.Glorot()), hgn.Pair(4, hgn.Glorot()))
TRIANGLE = hgn.graphs.fully_connected(3, 2, mass=jnp.array([1.0, 2.0, 0.5]))
PAIR = hgn.graphs.chain(2, dimension=2)


class Harmonic(hgn.AbstractHamiltonian):
    """User-defined: lightness |p|^2 / 2m + stiffness / 2 r^2, differentiated by the library."""

    lightness: jax.Array
    stiffness: jax.Array

    @property
    def separable(self):
        return True

    def __call__(self, graphs):
        q, p, m = (graphs.nodes[name] for name in ("position", "momentum", "mass"))
        kinetic = jnp.sum(p**2, axis=1) / (2 * jnp.where(m > 0, m, 1))
        square = jnp.sum((q[graphs.receivers] - q[graphs.senders]) ** 2, axis=1)
        potential = (
            jax.ops.segment_sum(square, graphs.receivers, len(q)) / 4
        )  # every pair occurs twice
        return sum_over_graphs(graphs, self.lightness * kinetic + self.stiffness * potential)


def harmonic(lightness, stiffness, dtype=float):
    return Harmonic(jnp.array(lightness, dtype), jnp.array(stiffness, dtype))


START = harmonic(0.7, 1.5)
TRUE = hgn.systems.mass_spring("spring", stiffness=2.5, rest_length=0.0)


def recovers(model, accuracy):
    np.testing.assert_allclose([model.lightness, model.stiffness], [1.0, 2.5], rtol=accuracy)


def simulate(graph=TRIANGLE, *, seed=1, trajectories=20, noise=0.2, **settings):
    return hgn.systems.simulate(
        TRUE, graph, key=jr.key(seed), trajectories=trajectories, noise=noise, **settings
    )


def with_nodes(data, **arrays):
    return data._replace(nodes=data.nodes | arrays)


def train(model, data, optimizer=STILL, *, key=KEY, **settings):
    return hgn.train(model, data, key=key, optimizer=optimizer, **{"validation": data} | settings)


rates = eqx.filter_jit(lambda model, data: model.vector_field(data))


def relative(data):
    """NumPy's own version of the default weights."""
    m = np.asarray(data.nodes["mass"])
    counted = (m > 0) & ~np.asarray(data.nodes.get("fixed", np.zeros(len(m), bool)))
    own = np.asarray(data.nodes.get("weight", np.ones(len(m))))
    for name, scale in (("velocity", np.ones(len(m))), ("force", m)):
        size = np.linalg.norm(data.nodes[name], axis=1) / np.where(scale > 0, scale, 1)
        floor = np.median(size[counted]) / 100
        yield np.where(counted, own / (np.where(m > 0, scale, 1) * np.maximum(size, floor)), 0)


def loss(model, data, weights=relative):
    """sum w^2 |u_hat - u|^2 / sum w^2 |u|^2."""
    wrong = size = 0
    for w, rate, name in zip(weights(data), rates(model, data), ("velocity", "force")):
        target = np.asarray(data.nodes[name])
        wrong += np.sum(w[:, None] ** 2 * (np.asarray(rate) - target) ** 2)
        size += np.sum(w[:, None] ** 2 * target**2)
    return float(wrong / size)


def same_bits(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in leaves)


def finite(tree):
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


@pytest.fixture
def mixed_types():
    """Some of optax's arithmetic mixes integers with floats, or 32 with 64 bits."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def triangles():
    """20 snapshots of three bodies; with noise every graph has a different loss."""
    return simulate()


@pytest.fixture(scope="module")
def unseen():
    return simulate(seed=9)


@pytest.fixture(scope="module")
def mixed(triangles):
    """Graphs of three and of two bodies."""
    return hgn.graphs.batch([triangles, simulate(PAIR, seed=2, trajectories=4)])


# The loss


def test_the_loss_is_the_relative_weighted_error_and_the_first_is_that_of_the_start(
    triangles, unseen
):
    def odd(data):
        fixed = jnp.tile(jnp.array([True, False, False]), 20)
        weight = jnp.linspace(0.0, 2.0, 60)
        poison = jnp.where(fixed[:, None], 1e3, data.nodes["force"])
        return with_nodes(data, fixed=fixed, weight=weight, force=poison)

    training = train(START, odd(triangles), validation=odd(unseen), epochs=2)
    np.testing.assert_allclose(training.loss, loss(START, odd(triangles)), rtol=1e-13)
    np.testing.assert_allclose(training.validation, loss(START, odd(unseen)), rtol=1e-13)
    assert loss(START, odd(triangles)) != pytest.approx(loss(START, triangles), rel=1e-3)


def test_the_weights_argument_replaces_the_default(triangles):
    def by_mass(data):
        return jnp.asarray(data.nodes["mass"]), jnp.asarray(3 * data.nodes["mass"])

    training = train(START, triangles, weights=by_mass, epochs=1)
    np.testing.assert_allclose(training.loss, loss(START, triangles, by_mass), rtol=1e-13)


def padded(data):
    return hgn.graphs.pad(data, n_node=70, n_edge=130, n_graph=23)


def test_padding_does_not_count(triangles):
    training = train(START, padded(triangles), epochs=1)
    np.testing.assert_allclose(training.validation, loss(START, triangles), rtol=1e-13)
    np.testing.assert_allclose(training.loss, loss(START, triangles), rtol=1e-13)


def test_periodic_images_are_those_of_the_data():
    """Two bodies on either side of the boundary, a third of the way between them in each graph."""
    sides = [np.array([[0.2 + 0.1 * k, 1.0], [2.9, 1.1]]) for k in range(4)]
    graphs = hgn.graphs.batch([hgn.graphs.radius(x, 1.0, cell=[3.0, 3.0]) for x in sides])
    assert (graphs.edges["shift"] != 0).any()
    graphs = with_nodes(graphs, momentum=jr.normal(KEY, (8, 2)))
    velocity, force = hgn.systems.lennard_jones(sigma=0.5).vector_field(graphs)
    data = with_nodes(graphs, velocity=velocity, force=force)
    model = hgn.untrained(data, key=KEY, terms=SMALL)
    training = train(model, data, epochs=1)
    np.testing.assert_allclose(training.loss, training.validation, rtol=1e-13)
    np.testing.assert_allclose(training.loss, loss(model, data), rtol=1e-13)


def test_padding_is_no_trajectory_to_be_held_out(triangles):
    number = 1 + jnp.arange(20, dtype=jnp.int32) // 10  # padding has the number 0
    data = padded(triangles._replace(globals={"trajectory": number}))
    for seed in range(3):
        training = train(START, data, key=jr.key(seed), validation=0.3, epochs=1, throw=False)
        assert training.result == hgn.TRAINING.successful


def test_a_full_step_of_plain_descent_follows_the_gradient_of_the_numpy_loss(triangles):
    rate, h = 1e-2, 1e-3
    after = train(START, triangles, optax.sgd(rate), epochs=1).model
    for name in ("lightness", "stiffness"):
        start = getattr(START, name)
        above, below = (
            loss(eqx.tree_at(lambda m, n=name: getattr(m, n), START, start + step), triangles)
            for step in (h, -h)
        )
        expected = start - rate * (above - below) / (2 * h)
        np.testing.assert_allclose(getattr(after, name), expected, rtol=1e-10)


def test_a_step_of_a_network_on_graphs_that_differ_in_size_follows_the_gradient(mixed, network):
    """Along the step the loss falls by the square of the gradient, in finite differences."""
    start, training, rate = network
    np.testing.assert_allclose(training.loss, loss(start, mixed), rtol=1e-12)
    moved = jax.tree.map(lambda a, b: b - a, start, training.model)
    along = [
        loss(jax.tree.map(lambda a, m, s=sign: a + s * m, start, moved), mixed)
        for sign in (1e-3, -1e-3)
    ]
    fall = sum(float(jnp.sum(m**2)) for m in jax.tree.leaves(moved)) / rate
    np.testing.assert_allclose((along[1] - along[0]) / 2e-3, fall, rtol=1e-6)


# Minibatches


@pytest.mark.parametrize("name", ["triangles", "mixed"])
def test_an_epoch_visits_every_graph_once(request, name):
    data = request.getfixturevalue(name)
    training = train(START, data, batch_size=4, epochs=3)
    np.testing.assert_allclose(training.loss, loss(START, data), rtol=1e-12)


def test_what_does_not_fill_a_minibatch_waits_for_another_epoch(triangles):
    share = np.zeros(20)
    pairs = zip(relative(triangles), rates(START, triangles), ("velocity", "force"))
    for w, rate, name in pairs:
        wrong = w[:, None] * np.asarray(rate - triangles.nodes[name])
        share += np.sum(wrong.reshape(20, -1) ** 2, axis=1)
    without = loss(START, triangles) * (1 - share / share.sum()) * 20 / 19
    observed = train(START, triangles, batch_size=19, epochs=30).loss
    apart = np.abs(np.asarray(observed)[:, None] / without[None] - 1)
    assert apart.min(axis=1).max() < 1e-12
    assert len(set(apart.argmin(axis=1))) > 8


NOISY = optax.sgd(0.3)


def test_same_key_same_bits_and_another_key_another_order(triangles):
    first, again, other = (
        train(START, triangles, NOISY, key=jr.key(k), batch_size=4, epochs=5) for k in (3, 3, 4)
    )
    for a, b in ((first.model, again.model), (first.loss, again.loss)):
        assert same_bits(a, b)
    assert not same_bits(first.model, other.model)


def test_a_schedule_counts_minibatches_and_patience_epochs(triangles):
    """Five epochs of four steps learn; the others change nothing."""
    optimizer = optax.sgd(lambda count: jnp.where(count < 20, 2e-2, 0.0))
    history = train(START, triangles, optimizer, batch_size=5, epochs=50, patience=3)
    assert len(history.validation) == len(history.loss) == len(history.seconds) == 8
    assert (np.diff(history.validation[:5]) < 0).all()
    assert (np.diff(history.validation[4:]) == 0).all()
    assert (np.diff(history.seconds) > 0).all() and history.seconds[0] > 0


# What is kept


def test_the_weights_of_the_least_validation_loss_are_returned(triangles, unseen):
    training = train(START, triangles, NOISY, validation=unseen, batch_size=4, epochs=40)
    least = int(np.argmin(training.validation))
    assert 0 < least < 39
    np.testing.assert_allclose(loss(training.model, unseen), training.validation[least], rtol=1e-12)
    assert training.result == hgn.TRAINING.successful


def test_histories_are_numpy_arrays_as_annotated(triangles):
    for throw in (False, True):
        training = train(START, triangles, batch_size=4, epochs=3, throw=throw)
        for history in (training.loss, training.validation, training.seconds):
            assert isinstance(history, np.ndarray) and history.shape == (3,)


def test_a_fraction_holds_out_whole_trajectories(triangles):
    number = jnp.arange(20, dtype=jnp.int32) // 5
    data = triangles._replace(globals={"trajectory": number})

    def only(chosen):
        return lambda data: 2 * (np.repeat(chosen, 3).astype(float),)

    training = train(START, data, validation=0.25, weights="uniform", epochs=1)
    found = [float(training.loss[0]), float(training.validation[0])]
    parts = [[loss(START, data, only(c)) for c in (number != k, number == k)] for k in range(4)]
    assert any(found == pytest.approx(part, rel=1e-12) for part in parts)


def test_own_validation_data_need_no_trajectories(triangles):
    bare = triangles._replace(globals={})
    assert train(START, bare, epochs=1, validation=bare).result == hgn.TRAINING.successful
    with pytest.raises(ValueError, match="trajectory"):
        train(START, bare, epochs=1, validation=0.1)


DIVERGING = optax.sgd(1e6)


def test_divergence_raises_with_an_explanation(triangles):
    with pytest.raises(RuntimeError, match=r"diverged.*learning rate"):
        train(START, triangles, DIVERGING, epochs=100)


def test_without_throw_divergence_has_its_code_and_the_best_weights_before(triangles):
    training = train(START, triangles, DIVERGING, epochs=100, throw=False)
    assert training.result == hgn.TRAINING.diverged
    assert 1 < len(training.loss) < 100 and np.isfinite(training.loss[:-1]).all()
    assert finite(training.model)
    assert loss(training.model, triangles) <= loss(START, triangles) * (1 + 1e-12)


@pytest.fixture(scope="module")
def fitted(mixed):
    return hgn.fit(mixed, key=jr.key(2), terms=(hgn.Kinetic(2), hgn.Pair(4))).model


def test_fine_tuning_never_makes_a_model_worse(mixed, fitted):
    after = train(fitted, mixed, optax.lion(1.0), epochs=2).model
    assert loss(after, mixed) <= loss(fitted, mixed) * (1 + 1e-12)


# What is trained


@pytest.fixture(scope="module")
def network(mixed):
    """An untrained model, the training of one small step, and its learning rate."""
    start, rate = hgn.untrained(mixed, key=jr.key(0), terms=SMALL), 1e-5
    return start, train(start, mixed, optax.sgd(rate), epochs=1), rate


def named(model):
    leaves = jax.tree_util.tree_flatten_with_path(model)[0]
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def test_hidden_weights_and_coefficients_change_and_all_else_keeps_its_bits(network):
    start, training, _ = network
    before, after = named(start), named(training.model)
    changed = {k for k in before if not same_bits(before[k], after[k])}
    expected = {k for k in before if re.search(r"weight$|bias$|theta", k)}
    assert len(expected) == 2 + 4 + 2
    assert changed == expected
    frozen = " ".join(set(before) - changed)
    for name in ("centre", "speed_range", "ranges", "constants"):
        assert name in frozen


def test_the_constant_of_the_energy_is_not_trained(fitted):
    """Its gradient is zero, but weight decay would shrink it."""
    assert trainable(fitted).constants is False


def test_of_a_users_model_all_floating_arrays_are_trained():
    class Model(eqx.Module):
        numbers: tuple
        count: jax.Array
        name: str
        features: object

    layer = hgn.sample(SMALL[:1], simulate(), key=KEY)[0]
    mask = trainable(Model((jnp.ones(2), 1.5), jnp.arange(3), "x", layer))
    assert mask.numbers == (True, False) and mask.count is False and mask.name is False
    assert mask.features.layer.weight is True and mask.features.layer.bias is True
    assert mask.features.layer.centre is False and mask.features.speed_range is False


def test_trained_models_are_saved_and_loaded(network, mixed, tmp_path):
    hgn.save(tmp_path / "model", network[1].model)
    again = hgn.load(tmp_path / "model")
    assert same_bits(again, network[1].model)
    np.testing.assert_allclose(network[1].validation, [loss(again, mixed)], rtol=1e-12)


# Optimizers


OPTIMIZERS = {
    "adam": lambda: optax.adam(0.05),
    "adamw": lambda: optax.adamw(0.05),
    "momentum": lambda: optax.sgd(0.1, momentum=0.9),
    "adafactor": lambda: optax.adafactor(0.05),
    "lion": lambda: optax.lion(optax.exponential_decay(0.1, 20, 0.5)),
    "rprop": lambda: optax.rprop(0.05),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_of_optax_find_the_true_constants(name, exact, mixed_types):
    model = train(START, exact, OPTIMIZERS[name](), epochs=300).model
    recovers(model, 0.02)


@pytest.fixture(scope="module")
def exact():
    return simulate(noise=0.0)


def test_muon_takes_the_hidden_weights(network, mixed, mixed_types):
    start = network[0]
    training = train(start, mixed, optax.contrib.muon(3e-3), epochs=50, batch_size=4)
    assert training.validation.min() < training.loss[0] / 2


def test_a_users_own_hamiltonian_recovers_the_true_stiffness(exact):
    model = train(START, exact, optax.sgd(0.5), batch_size=10, epochs=200).model
    recovers(model, 1e-9)


def test_lbfgs_descends_in_every_epoch_to_the_truth(exact, mixed_types):
    training = train(START, exact, optax.lbfgs(), epochs=8)
    falling = training.loss[: np.argmax(np.asarray(training.loss) < 1e-20) or None]
    assert len(falling) > 1 and (np.diff(falling) < 0).all()
    model = training.model
    recovers(model, 1e-9)


SEARCHING = optax.chain(
    optax.sgd(1.0),
    optax.scale_by_backtracking_linesearch(max_backtracking_steps=20, store_grad=True),
)


@pytest.mark.parametrize("optimizer", [optax.lbfgs(), SEARCHING])
def test_line_searches_refuse_minibatches(triangles, optimizer):
    with pytest.raises(ValueError, match=r"line search.*batch_size=None"):
        train(START, triangles, optimizer, batch_size=10)


def test_a_line_search_walks_the_path_of_a_plain_loop(triangles, mixed_types):
    """The library takes value and gradient from the search's state; the loop reevaluates them."""
    first, second = (jnp.asarray(w)[:, None] for w in relative(triangles))
    target = triangles.nodes["velocity"], triangles.nodes["force"]
    size = jnp.sum((first * target[0]) ** 2) + jnp.sum((second * target[1]) ** 2)

    def value(model):
        v, f = model.vector_field(triangles)
        wrong = jnp.sum((first * (v - target[0])) ** 2) + jnp.sum((second * (f - target[1])) ** 2)
        return wrong / size

    @jax.jit
    def step(model, state):
        now, gradient = jax.value_and_grad(value)(model)
        updates, state = SEARCHING.update(
            gradient, state, model, value=now, grad=gradient, value_fn=value
        )
        return optax.apply_updates(model, updates), state, now

    model, state, losses = START, SEARCHING.init(START), []
    for _ in range(6):
        model, state, now = step(model, state)
        losses.append(float(now))
    training = train(START, triangles, SEARCHING, epochs=6)
    np.testing.assert_allclose(training.loss, losses, rtol=1e-10)
    np.testing.assert_allclose(training.model.stiffness, model.stiffness, rtol=1e-10)


def test_float32_stays_float32(exact):
    single = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, exact)
    start = harmonic(0.7, 1.5, jnp.float32)
    model = train(start, single, optax.sgd(0.5), batch_size=10, epochs=100).model
    assert model.stiffness.dtype == model.lightness.dtype == jnp.float32
    recovers(model, 1e-4)


def test_progress_tells_losses_and_is_quiet_otherwise(triangles, capsys):
    train(START, triangles, batch_size=4, epochs=3)
    assert capsys.readouterr().out == ""
    told = []
    training = train(START, triangles, batch_size=4, epochs=3, progress=told.append)
    assert all(isinstance(p, hgn.Progress) for p in told)
    assert str(told[0]) == "epoch 0 of 3, 0 s: compiling"
    assert (told[-1].done, told[-1].total, told[-1].left, told[-1].what) == (3, 3, 0, "epoch")
    loss, validation = training.loss[-1], training.validation[-1]
    assert told[-1].detail.startswith(f"loss {loss:.3e}, validation {validation:.3e}, best ")


# Bad input


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "epochs"),
        ({"patience": 0}, "patience"),
        ({"batch_size": 0}, "batch_size.*20"),
        ({"batch_size": 21}, "batch_size.*20"),
        ({"validation": 1.5}, "validation"),
        ({"validation": -0.5}, "validation"),
    ],
)
def test_arguments_out_of_range_are_refused(triangles, settings, words):
    with pytest.raises(ValueError, match=words):
        train(START, triangles, **{"epochs": 1} | settings)


@pytest.mark.parametrize("missing", ["velocity", "force"])
def test_data_without_rates_are_refused(triangles, missing):
    nodes = {k: v for k, v in triangles.nodes.items() if k != missing}
    bare = triangles._replace(nodes=nodes)
    with pytest.raises(ValueError, match=missing):
        train(START, bare, validation=triangles)
    with pytest.raises(ValueError, match=missing):
        train(START, triangles, validation=bare)
    with pytest.raises(ValueError, match=missing):
        hgn.untrained(bare, key=KEY, terms=SMALL)


def test_nan_is_refused_with_its_place(triangles):
    broken = with_nodes(triangles, force=triangles.nodes["force"].at[4, 1].set(jnp.nan))
    place = r"force.*frame 1, node 1"
    with pytest.raises(ValueError, match=place):
        train(START, broken, validation=triangles)
    with pytest.raises(ValueError, match=place):
        train(START, triangles, validation=broken)
    with pytest.raises(ValueError, match=place):
        hgn.untrained(broken, key=KEY, terms=SMALL)


def test_data_in_which_nothing_counts_are_no_divergence(triangles):
    with pytest.raises(ValueError, match="weight"):
        train(START, with_nodes(triangles, weight=jnp.zeros(60)), validation=triangles, epochs=1)


# The start


def sizes(model, data, counted=slice(None)):
    """Norms of the kinetic velocities and the pair forces, and of the observed ones."""
    pairs = zip(rates(model, data), (data.nodes["velocity"], data.nodes["force"]))
    return np.array([[np.linalg.norm(rate[counted]) for rate in pair] for pair in pairs]).T


def test_untrained_rates_are_as_large_as_the_observed_for_every_feature_set(mixed, network):
    np.testing.assert_allclose(*sizes(network[0], mixed), rtol=1e-12)


def with_fixed(data, **arrays):
    return with_nodes(data, fixed=jnp.tile(jnp.array([True, False, False]), 20), **arrays)


def test_untrained_does_not_look_at_fixed_bodies(triangles):
    fixed = with_fixed(triangles).nodes["fixed"]
    data = with_fixed(triangles, force=jnp.where(fixed[:, None], 1e3, triangles.nodes["force"]))
    model = hgn.untrained(data, key=jr.key(0), terms=SMALL)
    np.testing.assert_allclose(*sizes(model, data, ~fixed), rtol=1e-12)


def test_untrained_is_finite_for_bodies_at_rest(triangles):
    still = jnp.zeros_like(triangles.nodes["velocity"])
    data = with_fixed(triangles, momentum=still, velocity=still)
    assert finite(hgn.untrained(data, key=jr.key(0), terms=SMALL))


def test_untrained_has_the_sampled_features_normal_coefficients_and_no_constant(mixed, network):
    model = network[0]
    features = hgn.sample(SMALL, mixed, key=jr.key(0))
    for a, b in zip(jax.tree.leaves(model.terms), jax.tree.leaves(features), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    assert not model.constants.any() and model.constants.shape == (1,)
    again = hgn.untrained(mixed, key=jr.key(0), terms=SMALL)
    other = hgn.untrained(mixed, key=jr.key(1), terms=SMALL)
    assert same_bits(model, again)
    assert all(not same_bits(a, b) for a, b in zip(model.theta, other.theta))
    (many,) = hgn.untrained(mixed, key=jr.key(0), terms=(hgn.Pair(1000),)).theta
    assert stats.kstest(many / jnp.std(many), "norm").pvalue > 1e-6


CLOUD = np.random.default_rng(0).normal(size=(50, 3)) * [1.0, 10.0, 0.1] + [0.0, 5.0, -3.0]
glorot = eqx.filter_jit(lambda key, x, mask: hgn.Glorot()(key, x, mask, 2000))


def test_glorot_draws_the_stated_variance_on_standardised_inputs_and_no_bias(getkey):
    layer = glorot(getkey(), jnp.asarray(CLOUD), jnp.ones(50, bool))
    weight = np.asarray(layer.weight) * CLOUD.std(axis=0)[:, None]
    for row in weight * ((3 + 2000) / 2) ** 0.5:
        assert stats.kstest(row, "norm").pvalue > 1e-6
    assert layer.bias.shape == (2000,) and not layer.bias.any()
    np.testing.assert_allclose(layer.centre, CLOUD.mean(axis=0), rtol=1e-12)
    assert layer.activation == "tanh" and not hgn.Glorot().guided


def test_glorot_is_seeded_and_passes_over_masked_inputs():
    mask = jnp.arange(50) < 30
    poison = jnp.where(mask[:, None], jnp.asarray(CLOUD), 1e6)
    a, b = (glorot(jr.key(1), x, mask) for x in (jnp.asarray(CLOUD), poison))
    assert same_bits(a, b)
    assert not same_bits(a.weight, glorot(jr.key(2), jnp.asarray(CLOUD), mask).weight)
