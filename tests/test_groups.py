"""Point groups, and external fields that are invariant under them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.features.harmonics import harmonics

ORDERS = {
    "C1": 1, "C4": 4, "C6": 6, "C3v": 6, "C4v": 8, "C2h": 4, "D3": 6, "D4h": 16, "D2d": 8,
    "D3d": 12,
    "S4": 4, "S6": 6, "Cs": 2, "Ci": 2, "T": 12, "Td": 24, "Th": 24, "O": 24, "Oh": 48, "I": 60,
    "Ih": 120,
}  # fmt: skip
ROTATIONS = {"C1", "C4", "C6", "D3", "T", "O", "I"}


@pytest.mark.parametrize("name", ORDERS)
def test_point_groups_are_groups_of_the_known_order(name):
    group = hgn.groups.checked(hgn.groups.point(name))
    assert group.shape == (ORDERS[name], 3, 3)
    np.testing.assert_array_equal(group[0], np.eye(3))
    determinants = np.linalg.det(group)
    assert (determinants > 0).all() == (name in ROTATIONS)
    if name not in ROTATIONS:
        assert (determinants > 0).sum() == ORDERS[name] / 2


@pytest.mark.parametrize(("name", "order"), [("C4", 4), ("C4v", 8), ("C6v", 12), ("C1v", 2)])
def test_point_groups_of_the_plane(name, order):
    assert hgn.groups.checked(hgn.groups.point(name, dimension=2)).shape == (order, 2, 2)


def test_invariant_polynomials_are_those_of_the_tables():
    """The least degrees of an invariant field beyond r^2: T xyz, Oh x^4 + y^4 + z^4, Ih 6."""
    x = np.random.default_rng(0).normal(size=(3, 40))
    x /= np.linalg.norm(x, axis=0)
    for name, least in (
        ("T", 3),
        ("Td", 3),
        ("O", 4),
        ("Oh", 4),
        ("Ih", 6),
        ("C4v", 1),
        ("D4h", 2),
    ):
        mean = [0.0] * 7
        for element in hgn.groups.point(name):
            of_image = harmonics(element @ x, 6)
            mean = [m + y / ORDERS[name] for m, y in zip(mean, of_image)]
        present = [degree for degree in range(1, 7) if np.abs(mean[degree]).max() > 1e-9]
        assert present[0] == least, name


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hgn.groups.point("Q4"), "no point group 'Q4' in 3 dimensions"),
        (lambda: hgn.groups.point("S3"), "no point group 'S3'"),
        (lambda: hgn.groups.point("Oh", dimension=2), "in 2 dimensions"),
        (lambda: hgn.groups.generated([2 * np.eye(2)]), "element 0 is not orthogonal"),
        (lambda: hgn.groups.generated([rotation(1.0)]), "more than 1000 elements"),
        (lambda: hgn.groups.checked([rotation(np.pi / 2), np.eye(2)]), "0 and 0 is missing"),
        (lambda: hgn.groups.checked([np.eye(2), np.eye(2)]), "0 and 1 of the group are equal"),
        (lambda: hgn.groups.checked(np.eye(3)), r"matrices \[G d d\]"),
        (lambda: hgn.External(symmetry=hgn.groups.point("C4")[:2]), "not a group"),
        (lambda: hgn.External(symmetry=hgn.groups.point("C2"), degrees=(1,)), "not both"),
        (lambda: draw(hgn.External(symmetry=hgn.groups.point("C2")), box(10, 0)), "dimension=2"),
    ],
)
def test_what_is_no_group_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def draw(spec, data):
    return hgn.sample([spec], data, key=jr.key(0))[0]


def potential(x):
    """Walls and posts of a square box, and a chiral term: C4, but not C4v."""
    a, b = x[..., 0], x[..., 1]
    walls = a**4 + b**4 + 0.5 * jnp.cos(3 * a) * jnp.cos(3 * b)
    return walls + CHIRAL * a * b * (a**2 - b**2)


CHIRAL = 1.0


def box(count, seed, wedge=False, noise=0.01):
    """Bodies in the box, one per graph, with their forces."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (count, 2))
    if wedge:  # a quarter of the box
        x = abs(x)
    force = np.asarray(-jnp.vectorize(jax.grad(potential), signature="(d)->(d)")(jnp.asarray(x)))
    force = force + noise * force.std() * rng.normal(size=force.shape)
    graphs = [hgn.graphs.from_pairs(jnp.asarray(one[None]), np.zeros((0, 2), int)) for one in x]
    data = hgn.graphs.batch(graphs)
    return data._replace(nodes=data.nodes | {"force": jnp.asarray(force)})


def fitted(name, data):
    symmetry = None if name is None else hgn.groups.point(name, dimension=2)
    spec = hgn.External(40, hgn.ELM(1.5), symmetry=symmetry)
    options = {"observations": [hgn.Forces()], "solver": hgn.QR("evidence")}
    return hgn.fit(data, key=0, terms=[spec], **options)


def force_error(fit, data):
    force = -np.asarray(eqx.filter_jit(lambda m, g: m.gradient(g).position)(fit.model, data))
    true = np.asarray(data.nodes["force"])
    return np.linalg.norm(force - true) / np.linalg.norm(true)


@pytest.mark.parametrize("name", ["C4v", "C3"])
def test_energies_are_invariant_under_the_group_and_no_other(name):
    group, data, centre = hgn.groups.point(name, dimension=2), box(30, 0), (0.3, -0.1)
    term = draw(hgn.External(6, symmetry=group, centre=centre), data)
    values = eqx.filter_jit(lambda t, g: t(g))
    x = np.asarray(data.nodes["position"])

    def at(element):
        moved = (x - np.array(centre)) @ element.T + np.array(centre)
        return np.asarray(values(term, data._replace(nodes=data.nodes | {"position": moved})))

    plain = at(np.eye(2))
    for element in group:
        np.testing.assert_allclose(at(element), plain, atol=1e-13)
    for element in hgn.groups.point("C5", dimension=2)[1:]:
        assert abs(at(element) - plain).max() > 1e-3
    assert not np.asarray(eqx.filter_jit(lambda t, g: t.out_of_range(g))(term, data)).any()


def test_the_evidence_names_the_group_and_the_group_saves_data():
    data, test = box(100, 1), box(300, 2, noise=0.0)
    names = ["C1", "C2", "C4", "C4v"]
    fits = {name: fitted(name, data) for name in names}
    evidence = [float(fits[name].solutions[-1].evidence) for name in names]
    assert names[int(np.argmax(evidence))] == "C4"
    errors = {name: force_error(fits[name], test) for name in names}
    assert errors["C4"] < 0.03 < 3 * errors["C4"] < errors["C1"]
    assert errors["C4v"] > 0.1  # its mirrors forbid the chiral term


def test_one_wedge_teaches_the_whole_box():
    data, test = box(200, 3, wedge=True), box(300, 4, noise=0.0)
    symmetric, free = (force_error(fitted(name, data), test) for name in ("C4", "C1"))
    assert symmetric < 0.03 < 0.3 < free


def test_symmetric_models_are_saved_and_loaded(tmp_path):
    fit = fitted("C4", box(100, 1))
    hgn.save(tmp_path / "model", fit.model)
    here = box(5, 5)
    loaded = hgn.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.node_energy(here), fit.model.node_energy(here))
