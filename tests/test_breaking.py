"""How broken a symmetry is: shares, evidence and axes, against potentials that are known."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.fitting.axes import axis_of, measured
from hgn_jax.linear.omission import evidence_without
from hgn_jax.linear.triangle import triangle

SOLVER = hgn.QR(ridge="groups")
AXIS = np.array([1.0, 2.0, 2.0]) / 3
FIELD = np.array([0.06, -0.064, 0.048])
TRAP = 0.05
TERMS = [hgn.Pair(16), hgn.External(2, degrees=(0, 1, 2, 3))]


def uniaxial(q, mass):
    return TRAP * jnp.dot(jnp.asarray(AXIS), q) ** 2 - jnp.dot(jnp.asarray(FIELD), q)


def sampled(external, seed):
    cube = hgn.graphs.lattice((2, 2, 2))
    centred = cube._replace(nodes=cube.nodes | {"position": cube.nodes["position"] - 0.5})
    system = hgn.systems.mass_spring("spring", rest_length=1.0, external=external)
    start = hgn.systems.Uniform(0.3, 0.3)
    return hgn.systems.simulate(system, centred, key=jr.key(seed), trajectories=100, start=start)


def fitted(data, terms=TERMS):
    options = {"observations": [hgn.Derivatives("uniform")], "solver": SOLVER}
    return hgn.fit(data, key=0, terms=terms, **options)


@pytest.fixture(scope="module")
def broken(with_noise):
    return fitted(with_noise(sampled(uniaxial, 0), 0.01))


@pytest.fixture(scope="module")
def table(broken):
    return broken.breaking()


def test_the_amount_is_found(table):
    data = sampled(uniaxial, 0)
    x, force = (np.asarray(data.nodes[name]) for name in ("position", "force"))
    along = (x @ AXIS)[:, None] * AXIS
    true = {"l=0": -2 * TRAP * x / 3, "l=1": FIELD + 0 * x, "l=2": -2 * TRAP * (along - x / 3)}
    for degree, of_degree in true.items():
        share = np.linalg.norm(of_degree) / np.linalg.norm(force)
        assert table[f"external {degree}"].share == pytest.approx(share, rel=0.03)
        assert table[f"external {degree}"].present


def test_a_group_that_is_not_there_vanishes(table):
    absent = table["external l=3"]
    assert absent.share < 1e-3 and absent.parameters < 10 and not absent.present


def test_axes_lie_within_their_error_bars(table):
    field, trap = table["external l=1"].axis, table["external l=2"].axis
    off = np.degrees(np.arccos(FIELD @ field.direction / np.linalg.norm(FIELD)))
    assert off < 3 * field.angle_std < 3
    assert abs(field.strength - np.linalg.norm(FIELD)) < 3 * field.strength_std < 3e-3
    assert np.degrees(np.arccos(AXIS @ trap.direction)) < 3 * trap.angle_std < 3
    # The traceless part of the curvature 2 TRAP along the axis.
    assert abs(trap.strength - 4 / 3 * TRAP) < 3 * trap.strength_std < 6e-3
    assert table["pair"].axis is None and table["external l=3"].axis is None


def test_what_the_data_cannot_show_is_not_called_absent(with_noise):
    """Two bodies opposite each other: a spring acts as a trap around their centre does."""
    spring = hgn.systems.mass_spring("spring", rest_length=0.0)
    pair = hgn.graphs.fully_connected(2, 3, position=jnp.array([[0.5, 0, 0], [-0.5, 0, 0]]))
    data = hgn.systems.simulate(spring, pair, key=0, trajectories=100)
    first = {name: data.nodes[name][::2] for name in ("position", "momentum", "velocity", "force")}
    both = {name: jnp.stack([x, -x], axis=1).reshape(-1, 3) for name, x in first.items()}
    opposite = with_noise(data._replace(nodes=data.nodes | both), 0.01)
    terms = [hgn.Powers((2,)), hgn.HarmonicTrap()]
    table = fitted(opposite, terms).breaking()
    assert [group.name for group in table.groups if not group.seen] == ["r^2", "trap"]
    assert str(table).count("  not seen: these data cannot tell it from other groups") == 2
    free = fitted(with_noise(data, 0.01), terms).breaking()
    assert free["r^2"].present and free["trap"].seen and not free["trap"].present


def test_isotropic_data_cost_nothing_and_break_nothing(with_noise):
    data, test = with_noise(sampled(None, 0), 0.01), sampled(None, 1)
    fit, pair = fitted(data), fitted(data, TERMS[:1])
    error, plain = (hgn.metrics.relative_error(f.model, test)["force"] for f in (fit, pair))
    assert error < 1.1 * plain < 5e-3
    breaking = fit.breaking()
    assert [group.name for group in breaking.groups if group.present] == ["pair"]
    assert sum(group.share for group in breaking.groups[1:]) < 1e-3


def test_the_table_is_printed(table):
    lines = str(table).splitlines()
    assert len(lines) == 6 and lines[0].split() == ["group", "share", "parameters", "nats"]
    assert lines[-1].endswith("absent") and "+-" in lines[-2] and "strength 0.0" in lines[-2]
    with pytest.raises(KeyError, match="no group 'magnetic'"):
        table["magnetic"]


def test_other_ridges_are_refused(broken):
    one = hgn.solve(broken.equations.basis.terms, sampled(None, 0), throw=False)
    with pytest.raises(ValueError, match='ridge="groups"'):
        one.breaking()


def test_anisotropic_bonds_are_found_in_the_plane(with_noise):
    """Bonds along x are stiffer: V = (r - 1)^2 / 2 + 0.1 cos 2 angle for every pair."""
    start = hgn.systems.Uniform(0.2, 0.3)
    springs, square = hgn.systems.mass_spring("spring", rest_length=1.0), hgn.graphs.lattice((2, 2))
    data = hgn.systems.simulate(springs, square, key=jr.key(0), trajectories=100, start=start)

    def angular(position):
        x, y = (position[data.receivers] - position[data.senders]).T
        return jnp.sum(0.1 * (x**2 - y**2) / (x**2 + y**2)) / 2

    force = data.nodes["force"] - jax.grad(angular)(data.nodes["position"])
    data = data._replace(nodes=data.nodes | {"force": force})
    terms = [hgn.Pair(16), hgn.Pair(2, degrees=(2, 4))]
    table = fitted(with_noise(data, 0.01), terms).breaking()
    assert table["pair l=2"].present and not table["pair l=4"].present
    axis = table["pair l=2"].axis
    assert abs(axis.direction[1]) < np.radians(3 * axis.angle_std) < 0.03
    assert abs(axis.strength - 0.2) < 3 * axis.strength_std < 0.01


# The pieces


def test_evidence_without_a_group_is_that_of_the_other_columns():
    rng, groups = np.random.default_rng(1), (4, 3, 5)
    z = jnp.asarray(rng.normal(size=(60, 12))) @ (np.eye(12) + 0.3 * rng.normal(size=(12, 12)))
    u = z @ (np.repeat([3, 0.3, 1], groups) * rng.normal(size=12)) + rng.normal(size=60)
    solve = jax.jit(lambda z, u, groups: SOLVER.solve(triangle(z, u), groups), static_argnums=2)
    every = solve(z, u, groups)
    lost = evidence_without(triangle(z, u), groups, every.ridge)
    alone = solve(jnp.delete(z, np.s_[4:7], axis=1), u, (4, 5))
    assert abs(lost[1] - alone.evidence) < 0.2
    assert (lost < every.evidence + 0.1).all() and lost[0] < lost[1]


@pytest.mark.parametrize(("degree", "d"), [(1, 3), (2, 3), (1, 2), (2, 2)])
def test_errors_of_axes_are_those_of_random_draws(degree, d):
    rng = np.random.default_rng(2)
    count = 2 * degree + 1 if d == 3 else 2
    amplitude, half = rng.normal(size=count), 1e-3 * rng.normal(size=(count, count))
    axis = axis_of(degree, amplitude, half @ half.T, d)
    draws = [axis_of(degree, amplitude + half @ rng.normal(size=count), 0 * half, d)
             for _ in range(1000)]  # fmt: skip
    cosines = [abs(axis.direction @ draw.direction) for draw in draws]
    angles = np.degrees(np.arccos(np.minimum(cosines, 1)))
    assert np.sqrt(np.mean(angles**2)) == pytest.approx(axis.angle_std, rel=0.06)
    strengths = [draw.strength for draw in draws]
    assert np.std(strengths) == pytest.approx(axis.strength_std, rel=0.06)


@pytest.mark.parametrize(
    ("value", "std", "text"),
    [
        (-1.00021, 1.3e-4, "-1.0002(1)"),
        (9.81234, 0.0314, "9.81(3)"),
        (0.000123456, 2e-9, "0.000123456(2)"),
        (1.23456e-6, 2e-9, "1.235(2)e-6"),
        (123456789.0, 2000.0, "1.23457(2)e8"),
        (0.5, 0.0, "0.5"),
        (1.0, 0.0096, "1.00(1)"),
        (0.2, 3.0, "0(3)"),
    ],
)
def test_numbers_are_printed_with_the_error_of_their_last_digit(value, std, text):
    assert measured(value, std) == text


def test_types_of_pairs_that_do_not_interact_are_absent(with_noise):
    joined, apart = [(0, 1), (1, 2), (2, 3)], [(0, 2), (0, 3), (1, 3)]
    place = jr.normal(jr.key(1), (4, 2))
    springs = hgn.systems.mass_spring("spring", rest_length=1.0)
    start = hgn.systems.Uniform(0.4, 0.3)
    chain = hgn.graphs.from_pairs(place, joined)
    seen = hgn.systems.simulate(springs, chain, key=jr.key(2), trajectories=60, start=start)
    every = hgn.graphs.from_pairs(place, joined + apart, type=np.array([0, 0, 0, 2, 2, 2]))
    states = {k: array.reshape(-1, 4, 2) for k, array in seen.nodes.items() if array.ndim == 2}
    data = with_noise(hgn.graphs.snapshots(every, states, {}), 0.01)
    terms = [hgn.Pair(8, types=3)]
    fit = hgn.fit(data, key=0, terms=terms, observations=[hgn.Forces()], solver=SOLVER)
    assert fit.model.terms[0].groups(24) == (8, 8, 8)
    table = fit.breaking()
    there = {group.name: group.present for group in table.groups}
    assert there == {"pair of type 0": True, "pair of type 1": False, "pair of type 2": False}
    assert table["pair of type 0"].share > 0.99 and table["pair of type 2"].share < 1e-3
