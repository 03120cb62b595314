"""Rollouts with observables, progress, and errors that explain what went wrong."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.dynamics.diagnostics import culprit
from hgn_jax.dynamics.observables import AbstractObservable
from hgn_jax.features.trained_range import outside

EVERY = hgn.Every(7, 6)
DT = 0.03


@pytest.fixture(scope="module")
def start(moving_lattice):
    return moving_lattice


@pytest.fixture(scope="module")
def straight(springs, start):
    return hgn.rollout(springs, start, EVERY, dt=DT)


# Times


def test_every_counts_steps(springs, start, straight):
    times = DT * 7 * np.arange(7)
    np.testing.assert_allclose(straight.times, times, rtol=1e-15)
    path = hgn.rollout(springs, start, times, dt=DT)
    assert (path.position == straight.position).all()
    numbers = hgn.Every(np.int64(7), np.int32(6))
    assert eqx.tree_equal(hgn.rollout(springs, start, numbers, dt=DT), straight)
    with pytest.raises(ValueError, match="at least one step"):
        hgn.rollout(springs, start, hgn.Every(0, 3), dt=DT)
    with pytest.raises(TypeError, match="integer"):
        hgn.rollout(springs, start, hgn.Every(2.5, 3), dt=DT)


def test_the_end_goes_on_where_the_path_stopped(springs, start, straight):
    half = hgn.rollout(springs, start, hgn.Every(7, 3), dt=DT)
    rest = hgn.rollout(springs, half.end, hgn.Every(7, 3), dt=DT)
    np.testing.assert_allclose(rest.position[-1], straight.position[-1], rtol=0, atol=1e-13)


def test_forward_mode_agrees_with_reverse_mode(springs, start):
    def final(p):
        moved = start._replace(nodes=start.nodes | {"momentum": p})
        path = hgn.rollout(springs, moved, hgn.Every(5, 2), dt=DT)
        return jnp.sum(path.position[-1] * jnp.arange(1.0, 3.0)[None])

    p = start.nodes["momentum"]
    v = jnp.asarray(np.random.default_rng(0).normal(size=p.shape))
    _, forward = jax.jvp(final, (p,), (v,))
    np.testing.assert_allclose(forward, jnp.sum(jax.grad(final)(p) * v), rtol=1e-11)


# Observables


def test_observables_are_those_by_hand_and_states_can_be_left_out(springs, start, straight):
    observables = (
        hgn.KineticEnergy(), hgn.Temperature(2), hgn.Momentum(), hgn.AngularMomentum(),
        hgn.MeanSquaredDisplacement(),
    )  # fmt: skip
    path = hgn.rollout(springs, start, EVERY, dt=DT, observables=observables, states=False)
    assert path.position.shape == (0, 9, 2)
    q, p = np.asarray(straight.position), np.asarray(straight.momentum)
    m = np.asarray(start.nodes["mass"])[:, None]
    by_hand = {
        "kinetic_energy": (p**2 / m).sum((1, 2)) / 2,
        "temperature": (p**2 / m).sum((1, 2)) / (2 * 9 - 2),
        "momentum": p.sum(1),
        "angular_momentum": (q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0]).sum(1)[:, None],
        "mean_squared_displacement": ((q - q[0]) ** 2).sum(2).mean(1),
    }
    assert path.observed.keys() == by_hand.keys()
    for name, values in by_hand.items():
        np.testing.assert_allclose(path.observed[name], values, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(path.energy, straight.energy, rtol=1e-14)


def test_fixed_bodies_have_no_temperature_and_each_graph_its_own(springs, start):
    pinned = start._replace(nodes=start.nodes | {"fixed": jnp.arange(9) < 4})
    pair = hgn.graphs.batch([pinned, pinned])
    path = hgn.rollout(springs, pair, hgn.Every(5, 1), dt=DT, observables=[hgn.Temperature()])
    p, m = np.asarray(path.momentum), np.asarray(pair.nodes["mass"])[:, None]
    for k in (0, 1):
        free = slice(9 * k + 4, 9 * k + 9)
        expected = (p[:, free] ** 2 / m[free]).sum((1, 2)) / 10
        np.testing.assert_allclose(path.observed["temperature"][:, k], expected, rtol=1e-12)


class _Stillness(AbstractObservable):
    """Negative kinetic energy; zero for padding."""

    name: ClassVar[str] = "stillness"

    def __call__(self, model, graphs, start):
        return -hgn.KineticEnergy()(model, graphs, start)


@pytest.mark.parametrize("padded", [False, True])
def test_bounds_are_for_every_graph_but_not_for_padding(springs, start, padded):
    faster = start._replace(nodes=start.nodes | {"momentum": 2 * start.nodes["momentum"]})
    pair = hgn.graphs.batch([faster, start])
    options = {"dt": DT, "observables": [_Stillness()], "states": False}
    free = hgn.rollout(springs, pair, hgn.Every(3, 10), **options)
    seen = np.asarray(free.observed["stillness"])
    greatest = seen.max(axis=1)
    k = int(np.argmax(greatest > greatest[0]))
    assert 0 < k < 10 and (seen < 0).all()
    bound = (greatest[:k].max() + greatest[k]) / 2
    if padded:
        pair = hgn.graphs.pad(pair, n_node=30, n_edge=100, n_graph=4)
    path = hgn.rollout(springs, pair, hgn.Every(3, 10), until={"stillness": bound}, **options)
    assert len(path.times) == k + 1
    assert path.reason.startswith(f"stillness is {greatest[k]:.3g}, above {bound:.3g} at time")
    never = hgn.rollout(springs, pair, hgn.Every(3, 3), until={"stillness": -1e-9}, **options)
    assert len(never.times) == 4 and never.reason == ""


def test_angular_momentum_in_space_is_the_cross_product():
    rng = np.random.default_rng(0)
    q, p = rng.normal(size=(2, 5, 3))
    graph = hgn.graphs.from_pairs(q, [], momentum=p)
    free = hgn.systems.mass_spring("spring")
    path = hgn.rollout(free, graph, hgn.Every(1, 1), dt=0.1, observables=[hgn.AngularMomentum()])
    for moment in path.observed["angular_momentum"]:
        np.testing.assert_allclose(moment, np.cross(q, p).sum(0), rtol=1e-12)


def test_radial_distribution_counts_pairs_of_nearest_images():
    rng = np.random.default_rng(0)
    sides = np.array([4.0, 5.0, 6.0])
    q = rng.uniform(-4, 10, (40, 3))
    graph = hgn.graphs.from_pairs(q, [])._replace(
        globals={"cell": jnp.diag(jnp.array(sides))[None]}
    )
    observable = hgn.RadialDistribution(2.0, 8)
    path = hgn.rollout(
        hgn.systems.mass_spring("spring"), graph, [0.0], dt=0.1, observables=[observable]
    )
    vector = q[:, None] - q[None]
    r = np.linalg.norm(vector - sides * np.round(vector / sides), axis=-1)[np.triu_indices(40, 1)]
    counts, edges = np.histogram(r, np.linspace(0, 2, 9))
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    expected = 2 * counts * sides.prod() / (40 * 39 * shells)
    np.testing.assert_allclose(path.observed["radial_distribution"][0], expected, rtol=1e-12)
    np.testing.assert_allclose(observable.r, (edges[1:] + edges[:-1]) / 2)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_radial_distribution_is_that_of_any_cell_of_the_same_lattice(d):
    rng = np.random.default_rng(0)
    upright = np.diag([6.0, 5.0, 7.0][:d])
    skewed = (np.eye(d, dtype=int) + np.eye(d, k=-1, dtype=int)) @ upright
    graph = hgn.graphs.from_pairs(rng.uniform(-4, 10, (60, d)), [])
    found = []
    for cell in (upright, skewed):
        start = graph._replace(globals={"cell": jnp.asarray(cell)[None]})
        path = hgn.rollout(hgn.systems.mass_spring("spring"), start, [0.0], dt=0.1,
                           observables=[hgn.RadialDistribution(1.4, 7)])  # fmt: skip
        found.append(path.observed["radial_distribution"][0])
    assert found[0].sum() > 3
    np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


def test_radial_distribution_names_what_it_cannot_do():
    for reach in (-1.0, 0.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="reach must be positive and finite"):
            hgn.RadialDistribution(reach)
    for bins in (0, -3):
        with pytest.raises(ValueError, match="bins must be an integer of at least 1"):
            hgn.RadialDistribution(1.0, bins)
    with pytest.raises((ValueError, TypeError), match="bins"):
        hgn.RadialDistribution(1.0, 2.5)
    sheared = jnp.array([[[3.0, 0.0], [3.0, 3.0]]])
    graph = hgn.graphs.from_pairs(np.eye(2), [])._replace(globals={"cell": sheared})
    hgn.RadialDistribution(1.06).check(graph)
    with pytest.raises(ValueError, match=r"twice that, got \[2.12.*, 3.*repeat the cell"):
        hgn.RadialDistribution(1.07).check(graph)
    wide = hgn.graphs.from_pairs(np.eye(4), [])._replace(globals={"cell": 9 * jnp.eye(4)[None]})
    with pytest.raises(ValueError, match="1 to 3 dimensions, position has 4"):
        hgn.RadialDistribution(1.0).check(wide)
    flat = graph._replace(globals={"cell": jnp.ones((1, 2, 2))})
    with pytest.raises(ValueError, match="singular"):
        hgn.RadialDistribution(1.0).check(flat)
    for reach, words in ((2.6, "at least twice that"), (2.0, "single graph")):
        bad = graph if reach == 2.6 else graph._replace(globals={})
        with pytest.raises(ValueError, match=words):
            hgn.rollout(hgn.systems.mass_spring("spring"), bad, [0.0], dt=0.1,
                        observables=[hgn.RadialDistribution(reach, 8)])  # fmt: skip


# Progress


def test_progress_ends_at_the_last_step_and_changes_nothing(springs, start, straight):
    seen = []
    path = hgn.rollout(springs, start, EVERY, dt=DT, progress=seen.append)
    assert all(isinstance(p, hgn.Progress) and p.what == "step" for p in seen)
    assert str(seen[0]) == "step 0 of 42, 0 s: compiling" and seen[0].left is None
    assert seen[-1].done == seen[-1].total == 42 and seen[-1].left == 0
    assert str(seen[-1]).startswith("step 42 of 42")
    np.testing.assert_allclose(path.position, straight.position, rtol=0, atol=1e-13)
    np.testing.assert_allclose(path.energy, straight.energy, rtol=1e-13)


def test_inside_jit_there_is_no_progress_and_no_checkpoint(springs, start, tmp_path):
    for option in ({"progress": print}, {"checkpoint": tmp_path / "run"}):
        with pytest.raises(ValueError, match="outside of jit"):
            eqx.filter_jit(lambda g, o=option: hgn.rollout(springs, g, EVERY, dt=DT, **o))(start)


# What goes wrong


def test_a_step_too_long_is_seen_by_the_energy_and_a_better_one_suggested():
    """A stiff spring beside slow ones: omega = 100 for the pair, and Verlet is stable below 2."""
    pair = hgn.graphs.chain(2, dimension=2, spacing=1.001)
    stiff = hgn.systems.mass_spring("spring", stiffness=5000.0, rest_length=1.0)
    with pytest.raises(RuntimeError, match=r"energy went from .* by time 0\.\d+.*dt=") as caught:
        hgn.rollout(stiff, pair, hgn.Every(1, 40), dt=0.0201)
    suggested = float(str(caught.value).split("dt=")[1].split(";")[0])
    np.testing.assert_allclose(suggested, 2 * np.pi / 30 / 100, rtol=0.02)
    path = hgn.rollout(stiff, pair, hgn.Every(40, 5), dt=suggested)
    assert np.ptp(path.energy) < 0.02 * path.energy[0]


def test_bodies_that_collide_are_named_with_their_distance():
    sites = np.array([[0.0, 0.0], [5.0, 0.0], [5.5, 0.01]])
    pull = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    graph = hgn.graphs.fully_connected(3, 2, position=sites)
    graph = graph._replace(nodes=graph.nodes | {"momentum": jnp.asarray(pull)})
    with pytest.raises(RuntimeError, match=r"energy went from .* bodies collide.*smaller dt"):
        hgn.rollout(hgn.systems.gravity(), graph, hgn.Every(5, 100), dt=0.01)


def test_stops_are_found_alike_inside_and_outside_of_the_compiled_loop():
    class Cliff(hgn.systems.AbstractPotential):
        def __call__(self, r, type):
            return jnp.where(r < 0.5, jnp.sqrt(r - 0.5), 0.0)

    sites = jnp.array([[0.0], [8.0], [10.25]])
    graph = hgn.graphs.from_pairs(sites, [(0, 1), (1, 2), (0, 2)])
    graph = graph._replace(nodes=graph.nodes | {"momentum": jnp.array([[0.0], [1.0], [-1.0]])})
    system = hgn.systems.mass_spring(Cliff())
    paths = [
        hgn.rollout(system, graph, np.arange(6) * 0.75, dt=0.25, throw=False, **options)
        for options in ({}, {"progress": lambda _: None})
    ]
    for path in paths:
        assert not path.finite and path.stopped_time == 1.0 and path.stopped_node == 1
    np.testing.assert_array_equal(paths[0].position[:2], paths[1].position[:2])
    with pytest.raises(RuntimeError, match=r"time 1: node 1 .*nearest: node 1 and 2, 0\.\d+ apart"):
        hgn.rollout(system, graph, np.arange(6) * 0.75, dt=0.25)


def test_a_start_out_of_range_is_counted_and_warned(fitted, cube):
    wide = cube._replace(nodes=cube.nodes | {"position": 1.6 * cube.nodes["position"]})
    with pytest.warns(UserWarning, match=r"outside of .* range \(pair: 12\)"):
        hgn.rollout(fitted.model, wide, [0.0, 0.01], dt=0.01)


def test_padding_is_not_blamed_for_forces_that_are_not_finite(springs):
    graph = hgn.graphs.from_pairs(np.array([[0.0, 0], [1, 0], [1, 5]]), [(0, 1), (1, 2)])
    before = hgn.graphs.pad(graph, n_node=5, n_edge=8, n_graph=3)
    lost = before._replace(nodes=before.nodes | {"position": jnp.full((5, 2), jnp.nan)})
    words = culprit(springs, before, lost)
    assert words.startswith("node 1 had the greatest acceleration before all bodies ceased")


def test_a_value_that_is_no_number_is_outside_of_every_range():
    x, mask = jnp.array([0.5, jnp.nan, 2.0, jnp.nan]), jnp.array([True, True, True, False])
    assert outside(x, mask, jnp.array([0.0, 1.0])).tolist() == [False, True, True, False]
