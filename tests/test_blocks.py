"""Sites in blocks: the same values and derivatives, and no work on inactive sites."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax import _block_sizes as portion
from hgn_jax.features import pair_base as radial
from hgn_jax.features.blockwise import blockwise
from hgn_jax.graphs.dense_edges import slotted

SITES = 37
ACTIVE = {
    "none": np.zeros(SITES, bool),
    "one": np.arange(SITES) == 17,
    "some": np.random.default_rng(0).random(SITES) < 0.5,
    "all": np.ones(SITES, bool),
}


@pytest.fixture(autouse=True)
def blocks_of_eight(monkeypatch):
    monkeypatch.setattr(portion, "NEAR", portion.NEAR._replace(units=8 * 4))


def units(r, factor):
    return jnp.sum(jnp.tanh(r[:, None] * jnp.arange(1.0, 5.0)[None]), axis=1) * factor


def sites(seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=SITES)), jnp.asarray(rng.normal(size=SITES))


@pytest.mark.parametrize("active", ACTIVE.values(), ids=ACTIVE)
def test_values_and_derivatives_of_active_sites(active):
    active = jnp.asarray(active)

    def total(way, r, factor):
        return jnp.sum(jnp.where(active, way(r, factor), 0) ** 2)

    def in_blocks(r, factor):
        return blockwise(units, 4, r, factor, active=active)

    def with_derivatives(way, r, factor):
        return jax.value_and_grad(lambda *a: total(way, *a), argnums=(0, 1))(r, factor)

    r, factor = sites()
    expected = with_derivatives(units, r, factor)
    found = jax.jit(lambda *a: with_derivatives(in_blocks, *a))(r, factor)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14), found, expected)


@pytest.mark.parametrize(("active", "blocks"), [("none", 0), ("one", 1), ("some", 2), ("all", 5)])
def test_only_blocks_with_an_active_site_are_computed(active, blocks):
    counted = []

    def observed(r, factor):
        jax.debug.callback(lambda: counted.append(1))
        return units(r, factor)

    values = jax.jit(lambda *a: blockwise(observed, 4, *a, active=jnp.asarray(ACTIVE[active])))(
        *sites()
    )
    values.block_until_ready()
    jax.effects_barrier()
    assert len(counted) == blocks


def test_the_values_may_be_more_precise_than_the_sites():
    def precise(r, factor):
        return units(r.astype(jnp.float64), factor.astype(jnp.float64))

    r, factor = (column.astype(jnp.float32) for column in sites())
    active = jnp.asarray(ACTIVE["some"])
    found = blockwise(precise, 4, r, factor, active=active)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found[active], precise(r, factor)[active], rtol=1e-14)


def test_edges_of_the_type_within_the_cutoff_are_active_and_no_empty_slots(monkeypatch):
    active_of_type = []

    def blocks(function, width, square, active):
        active_of_type.append(int(active.sum()))
        return function(square)

    monkeypatch.setattr(radial, "blockwise", blocks)
    # Distances 1, 2, 1.4, 0.5 and 1.2, of which 2 is beyond the cutoff.
    graph = hgn.graphs.from_pairs(
        jnp.cumsum(jnp.asarray([[0.0], [1.0], [2.0], [1.4], [0.5], [1.2]]), axis=0),
        [(k, k + 1) for k in range(5)],
        type=np.asarray([0, 0, 1, 1, 1]),
    )
    (features,) = hgn.sample([hgn.Pair(units=4, cutoff=1.5, types=2)], graph, key=0)
    in_slots = slotted(graph)
    assert len(in_slots.senders) == 14  # two at each of six bodies and the padding
    features.energy_gradient(in_slots, jnp.ones(8))
    assert active_of_type == [2, 6]


def test_under_vmap_every_row_has_its_own_sites():
    active = jnp.asarray(np.stack(list(ACTIVE.values())))
    rows = [sites(seed) for seed in range(len(active))]
    r, factor = (jnp.stack(column) for column in zip(*rows))
    found = jax.vmap(lambda active, *row: blockwise(units, 4, *row, active=active))(
        active, r, factor
    )
    expected = jax.vmap(units)(r, factor)
    np.testing.assert_allclose(found[active], expected[active], rtol=1e-14)


def test_nan_is_active():
    data = hgn.graphs.from_pairs(np.random.default_rng(0).uniform(0, 2, (9, 3)), [
        (i, j) for i in range(9) for j in range(i)])  # fmt: skip
    (features,) = hgn.sample([hgn.Pair(units=4, cutoff=1.5)], data, key=0)
    moved = data.nodes["position"].at[4, 1].set(jnp.nan)
    gradient, _ = eqx.filter_jit(features.energy_gradient)(
        data._replace(nodes=data.nodes | {"position": moved}), jnp.ones(4)
    )
    assert jnp.isnan(gradient).all()


def test_types_and_cutoff_choose_the_same_sites_in_blocks_as_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    pairs = [(i, j) for i in range(9) for j in range(i)]
    data = hgn.graphs.from_pairs(
        rng.uniform(0, 2, (9, 3)), pairs, type=rng.integers(0, 2, len(pairs))
    )
    features = hgn.Pair(units=4, cutoff=1.5, types=2).sample(jax.random.key(0), data)
    theta = jnp.asarray(rng.normal(size=8))

    def evaluated():
        return features.node_energy(data, theta), features.energy_gradient(data, theta)[0]

    in_blocks = evaluated()
    monkeypatch.setattr(portion, "NEAR", portion.NEAR._replace(units=2**18))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14),
        in_blocks,
        evaluated(),
    )
