"""Edges by cutoff: no pair within reach is missing, however bodies move."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax import _block_sizes as portion
from hgn_jax.graphs._bits import nth_set_bit as nth_bit
from hgn_jax.graphs._bits import unpack as places
from hgn_jax.graphs.dense_edges import slotted, with_padding
from hgn_jax.graphs.neighbour_list import find
from hgn_jax.models import differentiated

FIND = eqx.filter_jit(find)


def cut_into(monkeypatch, **portions):
    """Work cut into so small portions."""
    monkeypatch.setattr(portion, "NEAR", portion.NEAR._replace(bodies=1, **portions))


def gas(n, sides, d=3, periodic=True, seed=0, spread=1.0):
    """Bodies in a box and in its images: positions are not wrapped."""
    rng = np.random.default_rng(seed)
    position = (rng.uniform(-spread, 1 + spread, (n, d)) if periodic else rng.uniform(
        0, 1, (n, d))) * sides  # fmt: skip
    graph = hgn.graphs.from_pairs(position, [], momentum=rng.normal(0, 1, (n, d)))
    if not periodic:
        return graph
    return graph._replace(globals={"cell": jnp.diag(jnp.asarray(sides))[None]})


def pairs_by_hand(graph, reach):
    position = np.asarray(graph.nodes["position"])
    apart = position[:, None] - position[None]
    if "cell" in graph.globals:
        sides = np.diagonal(graph.globals["cell"][0])
        apart = apart - sides * np.round(apart / sides)
    near = (np.linalg.norm(apart, axis=-1) < reach) & ~np.eye(len(position), dtype=bool)
    return set(zip(*np.nonzero(near)))


def pairs_found(list_):
    senders = np.asarray(list_.senders)
    slots, n = senders.shape
    real = senders != n - 1
    found = list(zip(senders[real], np.tile(np.arange(n), (slots, 1))[real]))
    assert len(found) == len(set(found))
    return set(found)


@pytest.mark.parametrize(
    ("n", "sides", "periodic"),
    [
        (150, [8.0, 9.0, 10.0], True),
        (60, [5.1, 5.1, 20.0], True),
        (150, [7.0, 7.0, 7.0], False),
        (120, [12.0, 7.0], True),
        (120, [12.0, 1e4], False),
        (30, [30.0], True),
        (30, [20.0], False),
    ],
)
def test_all_pairs_within_reach_are_found_once_in_each_direction(n, sides, periodic):
    graph = gas(n, np.array(sides), len(sides), periodic)
    spec = hgn.Neighbours(2.0, 0.5).allocate(graph)
    found = FIND(spec, with_padding(graph))
    assert found.complete
    assert pairs_found(found) == pairs_by_hand(graph, 2.5)


@pytest.mark.parametrize("candidates", [1, 30_000])
def test_some_bodies_at_a_time_find_the_same_neighbours(candidates, monkeypatch):
    graph = gas(150, np.array([8.0, 9.0, 10.0]))
    spec = hgn.Neighbours(2.0, 0.5).allocate(graph)
    whole = FIND(spec, with_padding(graph))
    cut_into(monkeypatch, candidates=candidates)
    assert eqx.tree_equal(eqx.filter_jit(lambda s, g: find(s, g))(spec, with_padding(graph)), whole)


def test_a_body_on_the_wall_of_the_cell_is_not_lost():
    sites = np.array([[0.0], [-1e-17], [9.9999999], [10.0], [0.4], [9.5]])
    graph = gas(6, np.array([10.0]), 1)
    graph = graph._replace(nodes=graph.nodes | {"position": jnp.asarray(sites)})
    found = FIND(hgn.Neighbours(0.5, 0.2).allocate(graph), with_padding(graph))
    assert pairs_found(found) == pairs_by_hand(graph, 0.7)


@pytest.mark.parametrize("short", ["slots", "run"])
def test_too_little_room_is_told_and_the_needed_room_stated(short):
    graph = gas(300, np.full(3, 12.0))
    spec = hgn.Neighbours(2.0, 0.5).allocate(graph)
    tight = hgn.Neighbours(2.0, 0.5, spec.sizes._replace(**{short: 2}))
    found = FIND(tight, with_padding(graph))
    assert not found.complete and getattr(found, short) > 2


def test_the_nth_bit_is_found():
    rng = np.random.default_rng(0)
    words = rng.integers(1, 2**32, 50, dtype=np.uint32)
    for word in [*words, np.uint32(1), np.uint32(2**31), np.uint32(2**32 - 1)]:
        places = [k for k in range(32) if int(word) >> k & 1]
        found = nth_bit(jnp.full(len(places), word), jnp.arange(len(places), dtype=jnp.int32))
        assert found.tolist() == places


def test_places_of_marks_are_found():
    rng = np.random.default_rng(0)
    marked = rng.uniform(size=(20, 32 * 3)) < 0.1
    words = sum(marked[:, 3 * k : 3 * k + 3].astype(np.uint32) << np.uint32(k) for k in range(32))
    found, number = places(jnp.asarray(words), 12)
    assert number.tolist() == marked.sum(axis=1).tolist() and max(number) > 12
    for row, here, count in zip(marked, found, number):
        kept = min(int(count), 12)
        assert len(set(here[:kept].tolist())) == kept and row[here[:kept]].all()
        assert (here[kept:] == 96).all()


# Slots


@pytest.fixture
def disordered():
    """Bodies off their sites, with edges in any order that have couplings."""
    graph = hgn.graphs.lattice((3, 2, 2), mass=jnp.linspace(1.0, 2.0, 12))
    rng = np.random.default_rng(1)
    position = graph.nodes["position"] + rng.normal(0, 0.1, (12, 3))
    order = rng.permutation(len(graph.senders))
    coupling = np.tile(rng.uniform(0.5, 2, len(order) // 2), 2)
    return graph._replace(
        nodes=graph.nodes
        | {"position": position, "momentum": jnp.asarray(rng.normal(0, 1, (12, 3)))},
        edges={"coupling": jnp.asarray(coupling[order])},
        senders=graph.senders[order],
        receivers=graph.receivers[order],
    )


@pytest.mark.parametrize(
    "some",  # 13 bodies at a time, 13, 4, 1, 1; or so many slots
    [{"edges": k} for k in (10**6, 65, 24, 5, 1)]
    + [{"edges": 1, "slots": k} for k in (1, 2, 3, 8)],
)
def test_slots_hold_the_same_energies_and_rates_however_they_are_cut(
    springs, disordered, some, monkeypatch
):
    cut_into(monkeypatch, **some)
    other = slotted(disordered)
    assert type(other) is not type(disordered) and len(other.senders) == other.slots * 13
    np.testing.assert_allclose(springs(other)[:1], springs(disordered), rtol=1e-14)
    for mine, theirs in zip(springs.vector_field(other), springs.vector_field(disordered)):
        np.testing.assert_allclose(mine[:12], theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("some", [{"edges": 24}, {"edges": 1, "slots": 2}])
def test_slots_that_are_cut_have_the_gradient_of_the_energy(springs, disordered, some, monkeypatch):
    cut_into(monkeypatch, **some)
    other = slotted(disordered)
    by_hand = differentiated(springs, other)
    for by_energy, by_rates in zip(by_hand, springs.vector_field(other)[::-1]):
        np.testing.assert_allclose(np.abs(by_energy), np.abs(by_rates), rtol=0, atol=1e-13)


@pytest.mark.parametrize("some", [{"edges": 24}, {"edges": 1, "slots": 2}])
def test_bodies_without_edges_feel_no_force(springs, some, monkeypatch):
    cut_into(monkeypatch, **some)
    alone = slotted(hgn.graphs.from_pairs(np.eye(3), []))
    assert alone.slots == 0 and not springs.vector_field(alone)[1].any()


def test_a_hub_keeps_its_edges_as_they_are():
    star = hgn.graphs.from_pairs(np.arange(60.0)[:, None], [(0, k) for k in range(1, 60)])
    assert slotted(star) is star


# In motion


@pytest.fixture(scope="module")
def liquid():
    """108 atoms of a Lennard-Jones liquid in a box of a little more than twice the cutoff."""
    side = (108 / 0.8) ** (1 / 3)
    sites = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    base = np.array([(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)])
    rng = np.random.default_rng(0)
    momentum = rng.normal(0, 1.2, (108, 3))
    graph = hgn.graphs.from_pairs(
        side / 3 * (sites + base).reshape(-1, 3), [], momentum=momentum - momentum.mean(0)
    )
    return graph._replace(globals={"cell": side * jnp.eye(3)[None]})


ATOMS = hgn.systems.lennard_jones(cutoff=2.0, onset=1.6)


class Nearest(hgn.AbstractHamiltonian):
    """ATOMS with every pair at its nearest image at any moment, without any list."""

    sides: jax.Array
    cutoff = 2.0

    @property
    def separable(self):
        return True

    def __call__(self, graphs):
        return jnp.sum(graphs.nodes["momentum"] ** 2)[None] / 2 + self.potential(graphs)

    def potential(self, graphs):
        q = graphs.nodes["position"]
        first, second = np.triu_indices(len(q), 1)
        apart = q[first] - q[second]
        sides = self.sides[None]
        apart = apart - sides * jnp.round(apart / sides)
        return jnp.sum(ATOMS.pair_energy(jnp.sqrt(jnp.sum(apart**2, axis=1))))


def test_a_liquid_moves_as_with_all_pairs(liquid):
    """Long enough for many new lists, and for atoms to leave the box."""
    path = hgn.rollout(
        ATOMS, liquid, hgn.Every(40, 4), dt=0.005, neighbours=hgn.Neighbours(2.0, 0.3)
    )
    sides = jnp.diagonal(liquid.globals["cell"][0])
    truth = hgn.rollout(Nearest(sides), liquid, hgn.Every(40, 4), dt=0.005)
    moved = np.linalg.norm(path.position[-1] - path.position[0], axis=1)
    assert moved.max() > 0.9  # six times what the list allows
    np.testing.assert_allclose(path.position, truth.position, rtol=0, atol=1e-9)
    np.testing.assert_allclose(path.energy, truth.energy, rtol=1e-11)


def test_lists_do_not_disturb_reversal_or_outputs_between_steps(liquid):
    spec = hgn.Neighbours(2.0, 0.3)
    there = hgn.rollout(ATOMS, liquid, np.array([0, 0.0513, 0.1]), dt=0.005, neighbours=spec)
    back = hgn.rollout(ATOMS, there.end, np.array([0.1, 0.0]), dt=0.005, neighbours=spec)
    np.testing.assert_allclose(back.position[-1], liquid.nodes["position"], rtol=0, atol=1e-11)
    side_step = hgn.rollout(ATOMS, liquid, np.array([0, 0.05, 0.1]), dt=0.005, neighbours=spec)
    assert (there.position[-1] == side_step.position[-1]).all()


class Glue(hgn.systems.AbstractPotential):
    """Soft attraction, finite where bodies meet."""

    cutoff: float = 3.0

    def __call__(self, r, type):
        return -0.02 * jnp.maximum(1 - (r / self.cutoff) ** 2, 0) ** 3


def test_a_gas_that_collapses_never_loses_a_pair():
    """From a handful of neighbours to all others: room is found anew several times."""
    rng = np.random.default_rng(0)
    position = rng.uniform(0, 12, (40, 3))
    still = hgn.graphs.from_pairs(position, [])
    trap = hgn.systems.System(Glue(), lambda x, m: 0.05 * jnp.sum((x - 6.0) ** 2))
    spec = hgn.Neighbours(3.0, 0.5)
    room = spec.allocate(still).sizes.slots
    path = hgn.rollout(trap, still, hgn.Every(60, 3), dt=0.05, neighbours=spec)
    truth = hgn.rollout(
        trap, hgn.graphs.fully_connected(40, 3, position=position), hgn.Every(60, 3), dt=0.05
    )
    apart = np.asarray(truth.position[:, None] - truth.position[:, :, None])
    most = (np.linalg.norm(apart, axis=-1) < 3).sum(-1).max()
    assert most > room
    np.testing.assert_allclose(path.position, truth.position, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "solver", [hgn.StormerVerlet(), hgn.Yoshida4(), hgn.Tao(), hgn.ImplicitMidpoint()]
)
def test_derivatives_go_through_a_list_that_is_found_anew(solver):
    """With all pairs joined from the start, they are the same."""
    rng = np.random.default_rng(2)
    position, momentum = rng.uniform(0, 6, (8, 2)), rng.normal(0, 1, (8, 2))
    every = hgn.Every(24, 1)
    system = hgn.systems.System(Glue())

    def final(p, graph, **options):
        moved = graph._replace(nodes=graph.nodes | {"momentum": p})
        path = hgn.rollout(system, moved, every, dt=0.025, integrator=solver, **options)
        return jnp.sum(path.position[-1] * jnp.arange(16.0).reshape(8, 2))

    free = hgn.graphs.from_pairs(position, [])
    spec = hgn.Neighbours(3.0, 0.3).allocate(free)
    assert 0.6 * np.linalg.norm(momentum, axis=1).max() > 3 * 0.15  # lists that it takes
    slope = jax.grad(lambda p: final(p, free, neighbours=spec))(jnp.asarray(momentum))
    joined = hgn.graphs.fully_connected(8, 2, position=position)
    expected = jax.grad(lambda p: final(p, joined))(jnp.asarray(momentum))
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("jit", [lambda function: function, jax.jit])
@pytest.mark.parametrize(
    ("solver", "speed", "times"),
    [
        # Stages go 1.35 steps; a body moves by a quarter of the skin in one.
        (hgn.Yoshida4(), 4.8, [0.0, 0.0195, 0.0587]),
        # After two steps it has moved by more than half the skin, half a step before by less.
        (hgn.ImplicitMidpoint(), 6.0, [0.0, 0.01, 0.02, 0.03]),
    ],
)
def test_an_output_may_lie_farther_than_the_list_allows(solver, speed, times, jit):
    pair = hgn.graphs.from_pairs(
        np.array([[0.0, 0.0], [2.0, 0.5]]), [], momentum=np.array([[speed, 0.0], [0.0, 0.0]])
    )
    joined = hgn.graphs.from_pairs(
        pair.nodes["position"], [(0, 1)], momentum=pair.nodes["momentum"]
    )

    def path(graph, spec):
        system = hgn.systems.System(Glue())
        return hgn.rollout(system, graph, times, dt=0.01, integrator=solver, neighbours=spec)

    found = jit(lambda: path(pair, hgn.Neighbours(3.0, 0.2)))()
    truth = path(joined, None)
    np.testing.assert_allclose(found.position, truth.position, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.energy, truth.energy, rtol=0, atol=1e-13)


def test_under_jit_given_room_does_the_same_and_too_little_is_an_error(liquid):
    spec = hgn.Neighbours(2.0, 0.3).allocate(liquid)
    plain = hgn.rollout(ATOMS, liquid, hgn.Every(20, 2), dt=0.005, neighbours=spec)

    def end(graph, spec):
        return hgn.rollout(ATOMS, graph, hgn.Every(20, 2), dt=0.005, neighbours=spec)

    jitted = eqx.filter_jit(end)(liquid, spec)
    np.testing.assert_allclose(jitted.position, plain.position, rtol=0, atol=1e-10)
    tight = hgn.Neighbours(2.0, 0.3, spec.sizes._replace(slots=8))
    with pytest.raises(eqx.EquinoxRuntimeError, match="did not stay finite"):
        jax.block_until_ready(eqx.filter_jit(end)(liquid, tight))
    with pytest.raises(ValueError, match="allocate"):
        eqx.filter_jit(end)(liquid, hgn.Neighbours(2.0, 0.3))


def test_under_jit_what_is_known_outside_is_checked_and_gets_room(liquid):
    """The graph is closed over, and a step given: the cell is known, though jit is at work."""
    watch = [hgn.RadialDistribution(2.0, bins=20)]
    spec = hgn.Neighbours(2.0, 0.3)

    def end(dt, spec=spec):
        return hgn.rollout(
            ATOMS, liquid, hgn.Every(10, 1), dt=dt, neighbours=spec, observables=watch
        )

    inside, outside = jax.jit(end)(0.005), end(0.005)
    np.testing.assert_allclose(inside.position, outside.position, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(*(p.observed["radial_distribution"] for p in (inside, outside)))
    with pytest.raises(ValueError, match="twice the cutoff"):
        jax.jit(lambda dt: end(dt, hgn.Neighbours(3.0, 0.3)).position)(0.005)
    with pytest.raises(ValueError, match="twice that"):
        watch = [hgn.RadialDistribution(3.0)]
        jax.jit(lambda dt: end(dt).position)(0.005)


@pytest.mark.parametrize("times", [hgn.Every(1, 40), [0.0, 0.0137, 0.2]])
def test_vmap_over_starts_is_each_alone(liquid, times):
    """Motions at three temperatures need new lists at different steps."""
    spec = hgn.Neighbours(2.0, 0.3).allocate(liquid).with_room(60, 40, 108)

    def path(scale):
        momentum = scale * liquid.nodes["momentum"]
        graph = liquid._replace(nodes=liquid.nodes | {"momentum": momentum})
        return hgn.rollout(ATOMS, graph, times, dt=0.005, neighbours=spec)

    scales = jnp.array([0.5, 1.0, 2.0])
    together = jax.jit(jax.vmap(path))(scales)
    for number, scale in enumerate(scales):
        alone = path(scale)
        np.testing.assert_allclose(together.position[number], alone.position, rtol=0, atol=1e-11)
        np.testing.assert_allclose(together.energy[number], alone.energy, rtol=1e-12)


def test_a_list_that_does_not_suffice_leaves_no_energy():
    graph = gas(40, np.full(2, 6.0), 2)
    spec = hgn.Neighbours(3.0, 0.1).allocate(graph)
    tight = hgn.Neighbours(3.0, 0.1, spec.sizes._replace(slots=2))
    system = hgn.systems.System(Glue())

    def energy(graph, spec):
        path = hgn.rollout(system, graph, np.array([0.0]), dt=0.1, neighbours=spec, throw=False)
        return path.energy, path.finite

    assert jnp.isfinite(eqx.filter_jit(energy)(graph, spec)[0]).all()
    found, finite = eqx.filter_jit(energy)(graph, tight)
    assert jnp.isnan(found).all() and not finite
    np.testing.assert_allclose(energy(graph, tight)[0], energy(graph, spec)[0], rtol=1e-12)


# Bad input


def test_room_for_another_cell_is_refused():
    large, small = gas(300, np.full(2, 20.0), 2), gas(300, np.full(2, 6.0), 2)
    spec = hgn.Neighbours(1.0, 0.2).allocate(large)
    with pytest.raises(ValueError, match=r"allocated for a larger cell than \[6. 6.\]"):
        spec.check(small)
    assert not FIND(spec, with_padding(small)).complete
    assert FIND(spec, with_padding(large)).complete
    with pytest.raises(ValueError, match="sizes must be positive"):
        hgn.Neighbours(1.0, 0.2, spec.sizes._replace(slots=0))


def test_a_model_that_reaches_beyond_the_neighbours_is_refused(liquid, fitted):
    for model, words in (
        (fitted.model, "pair features has no cutoff, the neighbours' is 1.9"),
        (hgn.systems.mass_spring("morse"), "Morse has no cutoff"),
        (ATOMS, "has the cutoff 2,"),
    ):
        with pytest.raises(ValueError, match=words):
            hgn.rollout(model, liquid, [0.0, 1.0], dt=0.01, neighbours=hgn.Neighbours(1.9, 0.1))


def test_a_box_smaller_than_twice_the_cutoff_is_refused(liquid):
    with pytest.raises(ValueError, match="less than twice the cutoff 3"):
        hgn.rollout(ATOMS, liquid, [0.0, 1.0], dt=0.01, neighbours=hgn.Neighbours(3.0, 0.1))


@pytest.mark.parametrize(("cutoff", "skin"), [(0.0, 1.0), (1.0, 0.0), (np.inf, 1.0), (1.0, np.nan)])
def test_lengths_must_be_positive(cutoff, skin):
    with pytest.raises(ValueError, match="must be positive"):
        hgn.Neighbours(cutoff, skin)


def test_edges_with_properties_and_batches_are_refused(liquid, cube):
    spec = hgn.Neighbours(2.0, 0.3)
    coupled = hgn.graphs.from_pairs(np.eye(3), [(0, 1)], coupling=np.ones(1))
    with pytest.raises(ValueError, match="cannot carry"):
        spec.allocate(coupled)
    with pytest.raises(ValueError, match=r"one graph, got 2"):
        spec.allocate(hgn.graphs.batch([cube, cube]))
    skew = liquid._replace(globals={"cell": liquid.globals["cell"] + 0.1})
    with pytest.raises(ValueError, match="diagonal"):
        spec.allocate(skew)
