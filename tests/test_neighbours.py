"""Edges by cutoff: no pair within reach is missing, however bodies move."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax import _block_sizes as portion
from hgn_jax.graphs.dense_edges import slotted
from hgn_jax.models import differentiated


def cut_into(monkeypatch, **portions):
    """Sets block sizes so small that the work is cut into blocks."""
    monkeypatch.setattr(portion, "NEAR", portion.NEAR._replace(bodies=1, **portions))


# Slots


@pytest.fixture
def disordered():
    """Displaced bodies, with edges in random order that have couplings."""
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
    "sizes",  # blocks of 13, 13, 4, 1, 1 bodies; or of some slots
    [{"edges": k} for k in (10**6, 65, 24, 5, 1)]
    + [{"edges": 1, "slots": k} for k in (1, 2, 3, 8)],
)
def test_slots_hold_the_same_energies_and_rates_however_they_are_cut(
    springs, disordered, sizes, monkeypatch
):
    cut_into(monkeypatch, **sizes)
    other = slotted(disordered)
    assert type(other) is not type(disordered) and len(other.senders) == other.slots * 13
    np.testing.assert_allclose(springs(other)[:1], springs(disordered), rtol=1e-14)
    for mine, theirs in zip(springs.vector_field(other), springs.vector_field(disordered)):
        np.testing.assert_allclose(mine[:12], theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("sizes", [{"edges": 24}, {"edges": 1, "slots": 2}])
def test_slots_that_are_cut_have_the_gradient_of_the_energy(
    springs, disordered, sizes, monkeypatch
):
    cut_into(monkeypatch, **sizes)
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


SOFT = hgn.systems.lennard_jones(sigma=0.9, cutoff=1.3)


class Nearest(hgn.AbstractHamiltonian):
    """ATOMS with every pair at its nearest image at any time, without a neighbour list."""

    sides: jax.Array

    @property
    def separable(self):
        return True

    def __call__(self, graphs):
        return jnp.sum(graphs.nodes["momentum"] ** 2)[None] / 2 + self.potential(graphs)

    def potential(self, graphs):
        q = graphs.nodes["position"]
        first, second = np.triu_indices(len(q), 1)
        vector = q[first] - q[second]
        sides = self.sides[None]
        vector = vector - sides * jnp.round(vector / sides)
        return jnp.sum(ATOMS.pair_energy(jnp.sqrt(jnp.sum(vector**2, axis=1))))


def test_a_liquid_moves_as_with_all_pairs(liquid):
    """Long enough for many refreshes of the list, and for atoms to leave the box."""
    path = hgn.rollout(
        ATOMS, liquid, hgn.Every(40, 4), dt=0.005, neighbours=hgn.Neighbours(2.0, 0.3)
    )
    sides = jnp.diagonal(liquid.globals["cell"][0])
    truth = hgn.rollout(Nearest(sides), liquid, hgn.Every(40, 4), dt=0.005)
    moved = np.linalg.norm(path.position[-1] - path.position[0], axis=1)
    assert moved.max() > 0.9  # six times what the list allows
    np.testing.assert_allclose(path.position, truth.position, rtol=0, atol=1e-9)
    np.testing.assert_allclose(path.energy, truth.energy, rtol=1e-11)


def test_a_liquid_moves_alike_in_every_cell_of_the_same_lattice(liquid):
    """Atoms leave the cell, which is orthorhombic or skewed by 45 degrees and more."""
    side = np.asarray(liquid.globals["cell"])[0, 0]
    position, momentum = (np.asarray(liquid.nodes[k]) for k in ("position", "momentum"))
    wide = hgn.graphs.from_pairs(
        np.concatenate([position, position + side]), [], momentum=np.concatenate([momentum] * 2)
    )
    a, b, c = np.asarray(liquid.globals["cell"])[0]
    paths = []
    for cell in ([2 * a, b, c], [2 * a, b + 2 * a, c], [b, 2 * a, c - b]):
        start = wide._replace(globals={"cell": jnp.asarray(cell)[None]})
        paths.append(
            hgn.rollout(
                SOFT, start, hgn.Every(40, 2), dt=0.005, neighbours=hgn.Neighbours(1.3, 0.2)
            )
        )
    moved = np.linalg.norm(paths[0].position[-1] - paths[0].position[0], axis=1)
    assert moved.max() > 0.6
    for path in paths[1:]:
        np.testing.assert_allclose(path.position, paths[0].position, rtol=0, atol=1e-10)
        np.testing.assert_allclose(path.energy, paths[0].energy, rtol=1e-11)


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
    """Neighbours grow from a handful to all bodies, so the capacity is enlarged several times."""
    rng = np.random.default_rng(0)
    position = rng.uniform(0, 12, (40, 3))
    still = hgn.graphs.from_pairs(position, [])
    trap = hgn.systems.System(Glue(), lambda x, m: 0.05 * jnp.sum((x - 6.0) ** 2))
    spec = hgn.Neighbours(3.0, 0.5)
    capacity = spec.allocate(still).sizes.slots
    path = hgn.rollout(trap, still, hgn.Every(60, 3), dt=0.05, neighbours=spec)
    truth = hgn.rollout(
        trap, hgn.graphs.fully_connected(40, 3, position=position), hgn.Every(60, 3), dt=0.05
    )
    vector = np.asarray(truth.position[:, None] - truth.position[:, :, None])
    most = (np.linalg.norm(vector, axis=-1) < 3).sum(-1).max()
    assert most > capacity
    np.testing.assert_allclose(path.position, truth.position, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "solver", [hgn.StormerVerlet(), hgn.Yoshida4(), hgn.Tao(), hgn.ImplicitMidpoint()]
)
def test_derivatives_go_through_a_list_that_is_refreshed(solver):
    """They are the same as with all pairs joined from the start."""
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


def test_under_jit_a_graph_that_is_closed_over_is_checked_and_allocated(liquid):
    """The cell is a constant of the jitted function."""
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
    rng = np.random.default_rng(0)
    position, momentum = rng.uniform(-6, 12, (40, 2)), rng.normal(0, 1, (40, 2))
    graph = hgn.graphs.from_pairs(position, [], momentum=momentum)
    graph = graph._replace(globals={"cell": 6 * jnp.eye(2)[None]})
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


def test_a_model_that_reaches_beyond_the_neighbours_is_refused(liquid, fitted):
    for model, words in (
        (fitted.model, "the model has no cutoff, the neighbours' is 1.9"),
        (hgn.systems.mass_spring("morse"), "the model has no cutoff"),
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
    with pytest.raises(ValueError, match=r"single graph, got 2"):
        spec.allocate(hgn.graphs.batch([cube, cube]))
