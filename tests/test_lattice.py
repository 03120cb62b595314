"""Periodic lattices of displacements, and energies of their patches."""

import itertools

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from term_checks import assert_slopes

import hgn_jax as hgn
from hgn_jax.graphs.periodic_lattice import disc, patches

RNG = np.random.default_rng(0)
Q = RNG.normal(size=(6, 6))
TWELVE = hgn.graphs.periodic_lattice((6, 6))


def lattice(q):
    return hgn.graphs.periodic_lattice(q.shape, displacement=q)


def images(q):
    """All rotations and reflections of a square array, each shifted."""
    for turns, flip in itertools.product(range(4), (False, True)):
        turned = np.rot90(q, turns)
        yield np.roll(turned.T if flip else turned, (1, 2), (0, 1))


@pytest.fixture(scope="module")
def term():
    (found,) = hgn.sample([hgn.Patch(20)], lattice(Q), key=jr.key(1))
    return found


@pytest.mark.parametrize("shape", [(5,), (4, 3), (3, 4, 5)])
def test_edges_join_nearest_neighbours(shape):
    graph = hgn.graphs.periodic_lattice(shape)
    places = np.array(list(itertools.product(*map(range, shape))))
    steps = (places[:, None] - places[None]) % shape
    near = np.minimum(steps, shape - steps).sum(axis=2) == 1
    found = np.zeros_like(near)
    found[np.asarray(graph.senders), np.asarray(graph.receivers)] = True
    np.testing.assert_array_equal(found, near)
    assert len(graph.senders) == near.sum()
    hgn.check(graph)  # equal displacements are no coincident bodies


@pytest.mark.parametrize("shape", [(7,), (4, 6), (3, 4, 5)])
def test_patches_are_shifted_copies(shape):
    q = RNG.normal(size=shape)
    offsets = disc(2.0, len(shape))
    assert len(offsets) == {1: 5, 2: 13, 3: 33}[len(shape)]
    found = q.ravel()[np.asarray(patches(lattice(q), offsets))]
    axes = tuple(range(len(shape)))
    true = [np.roll(q, tuple(-offset), axes).ravel() for offset in offsets]
    np.testing.assert_array_equal(found, np.stack(true, axis=1))


def test_energies_and_slopes_of_a_padded_batch_are_those_of_its_graphs(term):
    alone = [lattice(Q), lattice(RNG.normal(size=(4, 8)))]
    padded = hgn.graphs.pad(hgn.graphs.batch(alone), n_node=80, n_edge=300, n_graph=5)
    energies, slopes = term(padded), term.gradient(padded).position
    np.testing.assert_allclose(energies[:2], jnp.concatenate([term(g) for g in alone]), rtol=1e-12)
    own = jnp.concatenate([term.gradient(g).position for g in alone])
    np.testing.assert_allclose(slopes[:68], own, rtol=0, atol=1e-13)
    assert not np.any(energies[2:]) and not np.any(slopes[68:])


def test_units_are_means_over_the_point_group(term):
    """Against the unit at every image of the whole lattice, by NumPy."""
    offsets, layer, total = disc(3.0, 2), term.layer, 0
    for turned in images(Q):
        for i, j in itertools.product(range(6), range(6)):
            z = np.array([turned[(i + a) % 6, (j + b) % 6] for a, b in offsets])
            total += np.tanh((z - layer.centre) @ layer.weight + layer.bias)
    np.testing.assert_allclose(term(lattice(Q))[0], total / 8, rtol=1e-12)


def test_slopes_are_derivatives(term):
    assert_slopes(term, lattice(Q), jr.normal(jr.key(3), (20,)))


def test_energies_have_the_symmetry_of_the_lattice_and_no_other(term):
    own = term(lattice(Q))
    for turned in images(Q):
        np.testing.assert_allclose(term(lattice(turned)), own, rtol=1e-13)
    mixed = RNG.permutation(Q.ravel()).reshape(6, 6)
    assert np.abs(term(lattice(mixed)) - own).max() > 1e-3
    fourfold = hgn.Patch(20, symmetry=hgn.groups.point("C4", dimension=2))
    (turns,) = hgn.sample([fourfold], lattice(Q), key=jr.key(1))
    np.testing.assert_allclose(turns(lattice(np.rot90(Q))), turns(lattice(Q)), rtol=1e-13)
    assert np.abs(turns(lattice(Q.T)) - turns(lattice(Q))).max() > 1e-3


def test_energies_of_a_repeated_lattice_are_multiples(term):
    np.testing.assert_allclose(term(lattice(np.tile(Q, (2, 3)))), 6 * term(lattice(Q)), rtol=1e-12)


def test_the_full_group_is_that_of_the_chain_the_square_and_the_cube():
    for shape, elements in {(6,): 2, (4, 5): 8, (3, 4, 5): 48}.items():
        (found,) = hgn.sample([hgn.Patch(2, 1.0)], lattice(RNG.normal(size=shape)), key=0)
        assert len(np.unique(found.images, axis=0)) == elements


def test_a_fit_returns_the_coefficients_of_an_energy_of_patches(term):
    theta, graph = jr.normal(jr.key(4), (20,)), hgn.graphs.periodic_lattice((6, 6))
    q = RNG.normal(size=(3, 36, 1))
    data = hgn.graphs.snapshots(graph, {"position": jnp.asarray(q)}, {})

    def energy(q):
        return jnp.sum(term(data._replace(nodes=data.nodes | {"position": q})) @ theta)

    force = -jax.grad(energy)(data.nodes["position"])
    fit = hgn.solve(
        [term],
        data._replace(nodes=data.nodes | {"force": force}),
        observations=[hgn.Forces()],
    )
    np.testing.assert_allclose(fit.model.theta[0], theta, rtol=1e-5)


def broken(name):
    graph = lattice(Q)
    if name == "missing":
        away = {(0, 1), (1, 0)}
        kept = np.array(
            [(int(a), int(b)) not in away for a, b in zip(graph.senders, graph.receivers)]
        )
        return graph._replace(
            senders=graph.senders[kept], receivers=graph.receivers[kept],
            n_edge=graph.n_edge - 2,
        )  # fmt: skip
    if name == "loop":
        return graph._replace(
            senders=graph.senders.at[0].set(1), receivers=graph.receivers.at[0].set(1)
        )
    if name == "components":
        q = jnp.tile(graph.nodes["position"], (1, 2))
        return graph._replace(nodes=graph.nodes | {"position": q, "momentum": q})
    shape = {"count": [[6, 7]], "order": [[4, 9]], "short": [[18, 2]], "floats": [[6.0, 6.0]]}[name]
    return graph._replace(globals={"lattice": jnp.asarray(shape)})


@pytest.mark.parametrize(
    "name, words",
    [
        ("missing", r"frame 0: sites 0 and 1 are neighbours on the lattice \(6, 6\), but no edge"),
        ("loop", "edge 1 -> 1 joins a node to itself"),
        ("components", r"one displacement at each site"),
        ("count", r"is \(6, 7\), but the frame has 36 sites"),
        ("order", r"sites 0 and 9 are neighbours on the lattice \(4, 9\)"),
        ("short", "an axis has at least 3"),
        ("floats", "must hold integers"),
    ],
)
def test_graphs_that_are_not_their_lattice_are_refused(name, words):
    with pytest.raises(ValueError, match=words):
        hgn.check(broken(name))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: hgn.graphs.periodic_lattice((2, 4)), "at least 3 sites"),
        (lambda: hgn.graphs.periodic_lattice(()), "at least 3 sites"),
        (lambda: hgn.graphs.periodic_lattice((4, 4), displacement=jnp.zeros(16)), "displacement"),
        (lambda: hgn.Patch(0), "units"),
        (lambda: hgn.Patch(radius=-1.0), "radius"),
        (lambda: hgn.Patch(symmetry=np.diag([1.0, -1.0])[None]), "not a group"),
        (lambda: hgn.sample([hgn.Patch()], hgn.graphs.chain(4), key=0), "lattice"),
        (
            lambda: hgn.sample([hgn.Patch(symmetry=hgn.groups.point("Oh"))], TWELVE, key=0),
            "matrices of 3 dimensions, but the lattice has 2 axes",
        ),
        (
            lambda: hgn.sample(
                [hgn.Patch(symmetry=hgn.groups.point("C3", dimension=2))], TWELVE, key=0
            ),
            "element 1 of the symmetry does not map the lattice to itself",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_neighbour_list_does_not_replace_hoppings():
    with pytest.raises(ValueError, match=r"those of a graph with .* are hoppings"):
        hgn.Neighbours(1.0, 0.1).allocate(lattice(Q))
