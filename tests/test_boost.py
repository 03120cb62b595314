"""Layers on top of pair potentials, whose densities are found from the residual."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.features.density_products import DensityProducts, sums_of_next_layer
from hgn_jax.features.embedded import EmbeddedFeatures
from hgn_jax.features.sampling import ELM
from hgn_jax.features.tangent import Tangent
from hgn_jax.fitting import accumulate
from hgn_jax.graphs.dense_edges import SlottedGraphs, slotted
from hgn_jax.graphs.geometry import distance, edge_mask, node_mask, sum_over_edges, sum_over_graphs

CUTOFF, UNITS = 2.2, 12
RNG = np.random.default_rng(0)


class Embedded(hgn.AbstractHamiltonian):
    """Pairs, F(rho), and with `far` also G(tau) of sums tau over the densities of neighbours."""

    far: bool = eqx.field(static=True)
    separable = True

    def __call__(self, graphs):
        r, mask = distance(graphs), edge_mask(graphs)
        fade = jnp.where(mask, jnp.maximum(1 - (r / CUTOFF) ** 2, 0) ** 3, 0)
        rho = sum_over_edges(graphs, jnp.exp(1 - r) * fade)
        tau = sum_over_edges(graphs, fade * rho[graphs.senders])
        energy = jnp.tanh(rho) + self.far * 2 * jnp.tanh(tau / 4)
        energy += sum_over_edges(graphs, fade / r) / 2
        energy += jnp.sum(graphs.nodes["momentum"] ** 2, axis=1) / 2
        return sum_over_graphs(graphs, jnp.where(node_mask(graphs), energy, 0))


def clusters(count, seed, n=7):
    """Bodies in the plane near the sites of a 3 x 3 lattice, two of which are vacant."""
    rng = np.random.default_rng(seed)
    sites = np.stack(np.meshgrid(*[np.arange(3)] * 2, indexing="ij"), -1).reshape(-1, 2)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    return hgn.graphs.batch(
        [
            hgn.graphs.from_pairs(
                sites[rng.choice(9, n, replace=False)] + rng.uniform(-0.2, 0.2, (n, 2)), pairs
            )
            for _ in range(count)
        ]
    )


def data_of(system, count, seed):
    graphs = clusters(count, seed)
    velocity, force = system.vector_field(graphs)
    return graphs._replace(
        nodes=graphs.nodes | {"velocity": velocity, "force": force},
        globals=graphs.globals | {"energy": system(graphs)},
    )


def first_layer(data):
    return hgn.fit(data, key=0, terms=[hgn.Pair(24, cutoff=CUTOFF)], throw=False)


def error(fit, data):
    force = fit.model.vector_field(data)[1]
    return float(
        jnp.linalg.norm(force - data.nodes["force"]) / jnp.linalg.norm(data.nodes["force"])
    )


@pytest.fixture(scope="module")
def near():
    """Data, and fits with one and two layers, of a potential with one density."""
    data = data_of(Embedded(far=False), 60, 1)
    fit = first_layer(data)
    return data, [fit, hgn.boost(fit, data, key=1, units=24)]


@pytest.fixture(scope="module")
def far():
    """The same with neighbours of neighbours, and three layers."""
    data = data_of(Embedded(far=True), 60, 1)
    fits = [first_layer(data)]
    for layer in (2, 3):
        fits.append(hgn.boost(fits[-1], data, key=layer, units=24))
    return data, fits


def test_two_layers_learn_an_embedding_energy(near):
    _, (one, two) = near
    unseen = data_of(Embedded(far=False), 30, 2)
    assert error(one, unseen) > 0.02
    assert error(two, unseen) < 1e-6
    apart = two.model(unseen) - unseen.globals["energy"]
    np.testing.assert_allclose(apart, 0, atol=1e-6)


def test_three_layers_learn_neighbours_of_neighbours(far):
    _, (one, two, three) = far
    unseen = data_of(Embedded(far=True), 30, 2)
    assert error(one, unseen) > 0.02
    assert error(two, unseen) > 5e-3
    assert error(three, unseen) < 1e-6


def test_the_training_residual_never_grows(near, far):
    for _, fits in (near, far):
        residuals = [float(fit.residual) for fit in fits]
        assert residuals == sorted(residuals, reverse=True)


def test_a_fit_that_leaves_only_rounding_stays_as_it_is():
    graphs = clusters(20, 1)
    velocity, force = hgn.systems.mass_spring("spring").vector_field(graphs)
    data = graphs._replace(nodes=graphs.nodes | {"velocity": velocity, "force": force})
    fit = hgn.fit(data, key=0, terms=[hgn.Pair(64)])
    assert hgn.boost(fit, data, key=5, units=24) is fit


def test_the_energy_is_the_sum_of_its_layers(far):
    data, (*_, three) = far
    model = three.model
    pair, embedded = model.terms
    of_pairs, of_layers = model.theta
    rho = np.asarray(embedded.inputs(data))
    parts = [np.asarray(pair(data)) * np.asarray(of_pairs)]
    for k, theta in enumerate(np.split(np.asarray(of_layers), 2)):
        units = np.asarray(embedded.layers[k](jnp.asarray(rho[:, k : k + 1])))
        parts.append(units.reshape(-1, 7, 24).sum(axis=1) * theta)
    terms = np.concatenate(parts, axis=1)
    total = terms.sum(axis=1) + 7 * np.asarray(model.constants).sum()
    rounding = 1e-14 * np.abs(terms).sum(axis=1).max()  # large terms cancel
    np.testing.assert_allclose(model(data), total, rtol=0, atol=rounding)


def test_with_noise_the_error_falls_to_the_noise(near):
    data, (one, _) = near
    train = noisy(data, 0.02, 0)
    two = hgn.boost(first_layer(train), train, key=1, units=24)
    unseen = data_of(Embedded(far=False), 30, 2)
    assert error(two, unseen) < 0.02 < error(one, unseen) / 5


def noisy(data, size, seed):
    """The data with noise of that size, relative to the spread of the forces."""
    force = data.nodes["force"]
    noise = size * jnp.std(force) * np.random.default_rng(seed).normal(size=force.shape)
    return data._replace(nodes=data.nodes | {"force": force + noise})


def test_validation_keeps_a_layer_from_fitting_noise(near):
    """Pairs alone are the truth: a layer can only learn noise, and does so without validation."""
    _, (one, _) = near
    few, other, unseen = (data_of(one.model, 20, seed) for seed in (1, 2, 3))
    for seed in range(3):
        train, guard = noisy(few, 0.1, seed), noisy(other, 0.1, seed + 5)
        fit = first_layer(train)
        unguarded = hgn.boost(fit, train, key=1, units=24)
        assert error(unguarded, unseen) > 1.1 * error(fit, unseen)
        guarded = hgn.boost(fit, train, key=1, units=24, validation=guard)
        assert error(guarded, unseen) <= error(fit, unseen)


def test_validation_keeps_a_layer_that_the_data_need(near):
    data, (one, _) = near
    other, unseen = (data_of(Embedded(far=False), 30, seed) for seed in (3, 2))
    train = noisy(data, 0.02, 0)
    two = hgn.boost(first_layer(train), train, key=1, units=24, validation=noisy(other, 0.02, 1))
    assert error(two, unseen) < 0.02 < error(one, unseen) / 5


def graph_by_itself(n=6, seed=3):
    """Bodies in space with couplings and two edge types."""
    rng = np.random.default_rng(seed)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    graph = hgn.graphs.from_pairs(rng.uniform(0, 2, (n, 3)), pairs)
    s, r = np.asarray(graph.senders), np.asarray(graph.receivers)
    kinds = jnp.asarray((s + r) % 2, jnp.int32)
    coupling = jnp.asarray(1.0 + 0.1 * (s + r))
    return graph._replace(edges=graph.edges | {"type": kinds, "coupling": coupling})


GRAPH = graph_by_itself()
PAIR = hgn.sample([hgn.Pair(4, cutoff=CUTOFF)], GRAPH, key=0)[0]


def layered(seed=4):
    """Three layers of random densities of `GRAPH`, sampled anyhow."""
    rng = np.random.default_rng(seed)
    weights = tuple(jnp.asarray(0.3 * rng.normal(size=(8, m))) for m in (1, 2, 3))
    x = jnp.asarray(rng.normal(size=(20, 1)))
    layers = tuple(ELM()(jr.key(k), x, jnp.ones(20, bool), UNITS // 3) for k in range(3))
    return EmbeddedFeatures(PAIR, weights, layers, jnp.asarray([[-9.0, 9.0]] * 3))


TERM, THETA = layered(), jnp.asarray(RNG.normal(size=UNITS))


def moved(graph, position):
    return graph._replace(nodes=graph.nodes | {"position": jnp.asarray(position)})


@eqx.filter_jit
def everything(term, graph, theta):
    return term(graph), term.gradient(graph).position, term.energy_gradient(graph, theta).position


def test_columns_equal_loops_over_neighbours():
    units = np.stack([PAIR.units_at(distance(GRAPH), t) for t in range(2)])
    s, r, kind, c = (
        np.asarray(a)
        for a in (GRAPH.senders, GRAPH.receivers, GRAPH.edges["type"], GRAPH.edges["coupling"])
    )
    rho = np.zeros((6, 0))
    for weight in TERM.weights:
        own = np.zeros((6, 1))
        for e in range(len(s)):
            factors = np.append(1.0, rho[s[e]])
            own[r[e]] += c[e] * units[kind[e], e] @ np.asarray(weight) @ factors
        rho = np.append(rho, own, axis=1)
    columns = []
    for k, layer in enumerate(TERM.layers):
        centre, weight, bias = (np.asarray(a) for a in (layer.centre, layer.weight, layer.bias))
        columns += [*np.tanh((rho[:, k : k + 1] - centre) @ weight + bias).sum(axis=0)]
    np.testing.assert_allclose(everything(TERM, GRAPH, THETA)[0][0], columns, rtol=1e-11)


def test_gradients_are_slopes_of_the_columns():
    _, gradient, contracted = everything(TERM, GRAPH, THETA)
    start, h = np.asarray(GRAPH.nodes["position"]), 1e-4
    np.testing.assert_allclose(contracted, gradient @ THETA, atol=1e-12)
    for i, k in ((0, 0), (3, 2), (5, 1)):
        step = np.zeros_like(start)
        step[i, k] = h
        up, down = (everything(TERM, moved(GRAPH, start + x), THETA)[0][0] for x in (step, -step))
        np.testing.assert_allclose(gradient[i, k], (up - down) / (2 * h), rtol=1e-5, atol=1e-7)


def test_columns_are_invariant():
    turn = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    turn[0] *= -np.linalg.det(turn)  # a reflection
    position = np.asarray(GRAPH.nodes["position"])
    columns, gradient, _ = everything(TERM, GRAPH, THETA)
    turned = everything(TERM, moved(GRAPH, position @ turn.T + 1.5), THETA)
    np.testing.assert_allclose(turned[0], columns, rtol=1e-11)
    np.testing.assert_allclose(turned[1], np.einsum("ij,njk->nik", turn, gradient), atol=1e-11)
    order = RNG.permutation(6)
    place = jnp.asarray(np.argsort(order), jnp.int32)
    renumbered = moved(GRAPH, position[order])._replace(
        senders=place[GRAPH.senders], receivers=place[GRAPH.receivers]
    )
    again = everything(TERM, renumbered, THETA)
    np.testing.assert_allclose(again[0], columns, rtol=1e-12)
    np.testing.assert_allclose(again[1], np.asarray(gradient)[order], atol=1e-12)


def test_padding_and_slots_change_nothing():
    columns, _, force = everything(TERM, GRAPH, THETA)
    by_slots = slotted(GRAPH)
    assert isinstance(by_slots, SlottedGraphs)
    for graphs in (hgn.graphs.pad(GRAPH, n_node=9, n_edge=40, n_graph=3), by_slots):
        wide = everything(TERM, graphs, THETA)
        np.testing.assert_allclose(wide[0][0], columns[0], rtol=1e-12)
        np.testing.assert_allclose(wide[2][:6], force, atol=1e-12)
        assert not np.any(np.asarray(wide[0][1:])) and not np.any(np.asarray(wide[2][6:]))


def test_tangent_columns_are_slopes_by_the_weights():
    tangent, h = Tangent(TERM, THETA), 1e-5
    columns, gradient, _ = everything(tangent, GRAPH, jnp.zeros(48))
    for k in (0, 7, 8, 20, 47):
        step = jnp.zeros(48).at[k].set(h)
        up, down = (everything(tangent.moved(x), GRAPH, THETA) for x in (step, -step))
        np.testing.assert_allclose(columns[0, k], (up[0] - down[0])[0] @ THETA / (2 * h), rtol=1e-6)
        np.testing.assert_allclose(gradient[:, :, k], (up[2] - down[2]) / (2 * h), atol=1e-6)
    direction = jnp.asarray(RNG.normal(size=48))
    _, gradient, contracted = everything(tangent, GRAPH, direction)
    np.testing.assert_allclose(contracted, gradient @ direction, atol=1e-12)
    np.testing.assert_allclose(
        tangent.node_energy(GRAPH, direction).sum(), (columns @ direction)[0], rtol=1e-11
    )


def test_products_hold_the_quadratic_form_of_the_sums():
    sums = np.asarray(sums_of_next_layer(PAIR, TERM, GRAPH))
    projection = RNG.normal(size=(32, 3))
    products = DensityProducts(PAIR, TERM, jnp.asarray(sums.mean(axis=0)), jnp.asarray(projection))
    theta = RNG.normal(size=9)
    form = products.quadratic_form(jnp.asarray(theta))
    z = (sums - sums.mean(axis=0)) @ projection
    np.testing.assert_allclose(form, form.T)
    true = z @ theta[:3] + np.einsum("ia,ab,ib->i", z, form, z)
    np.testing.assert_allclose(products.node_energy(GRAPH, jnp.asarray(theta)), true, rtol=1e-9)


def test_a_boosted_model_survives_a_file(near, tmp_path):
    data, (_, two) = near
    two.save(tmp_path / "model")
    loaded = hgn.load(tmp_path / "model")
    assert np.array_equal(loaded.vector_field(data)[1], two.model.vector_field(data)[1])


def test_a_boosted_model_conserves_its_energy(near):
    data, (_, two) = near
    drift = []
    for dt in (0.02, 0.01):
        path = hgn.rollout(
            two.model, hgn.graphs.frame(data, 0), hgn.Every(1, round(0.4 / dt)), dt=dt
        )
        drift.append(float(np.max(np.abs(path.energy - path.energy[0]))))
    assert 3 < drift[0] / drift[1] < 5  # second order


def test_densities_outside_of_training_are_counted(near):
    data, (_, two) = near
    embedded = two.model.terms[-1]
    assert not np.any(np.asarray(embedded.out_of_range(data)))
    close = moved(data, 0.3 * data.nodes["position"])
    np.testing.assert_array_equal(embedded.out_of_range(close), 7)


@pytest.mark.parametrize(
    "terms, options, words",
    [
        ([hgn.External(8)], {}, "one Pair.* has 0"),
        ([hgn.Pair(4), hgn.Pair(6)], {}, "one Pair.* has 2"),
        ([hgn.Pair(4)], {"units": 0}, "units must be at least 1"),
    ],
)
def test_fits_without_one_pair_term_are_refused(terms, options, words):
    data = data_of(Embedded(far=False), 3, 1)
    fit = hgn.fit(data, key=0, terms=terms, throw=False)
    with pytest.raises(ValueError, match=words):
        hgn.boost(fit, data, key=0, **options)


def test_other_widths_species_and_traced_data_are_refused(near):
    data, (one, two) = near
    with pytest.raises(ValueError, match="layers below have 24"):
        hgn.boost(two, data, key=0, units=25)
    bare = data._replace(nodes={k: v for k, v in data.nodes.items() if k != "force"})
    with pytest.raises(ValueError, match="nodes hold"):
        hgn.boost(one, data, key=0, units=24, validation=bare)
    with pytest.raises(ValueError, match="outside of jit"):
        jax.jit(lambda d: hgn.boost(one, d, key=0).residual)(data)
    small = data_of(Embedded(far=False), 3, 1)
    species = jnp.tile(jnp.asarray([1, 1, 1, 1, 8, 8, 8], jnp.int32), 3)
    alloy = small._replace(nodes=small.nodes | {"species": species})
    with pytest.raises(ValueError, match=r"one species.*\(1, 8\)"):
        hgn.boost(hgn.fit(alloy, key=0, terms=[hgn.Pair(4)], throw=False), alloy, key=0)


def test_large_validation_data_go_in_pieces(near, monkeypatch):
    """Both fits are judged by the same rows, whatever the number of their columns."""
    data, (one, _) = near
    guard = data_of(Embedded(far=False), 30, 3)
    whole = hgn.boost(one, data, key=1, units=24, validation=guard)
    entries = 7 * 2 * one.columns  # one graph at once with these columns, or with more
    monkeypatch.setattr(accumulate, "ENTRIES", 3 * entries)
    pieces = hgn.boost(one, data, key=1, units=24, validation=guard)
    np.testing.assert_array_equal(pieces.model.theta[-1], whole.model.theta[-1])
