"""Exact columns beside random units, and the law that is read from them."""

import re

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn

SOLVER = hgn.QR("groups")
G = 2.0
GRAVITY = np.array([0.3, -0.5])


def orbits(with_noise, noise=0.01, external=None):
    """Three bodies in the plane with V = -G m m / r, unequal masses."""
    mass = jnp.array([1.0, 2.0, 0.5])
    graph = hgn.graphs.fully_connected(3, 2, mass=mass)
    apart = jnp.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    graph = graph._replace(nodes=graph.nodes | {"position": apart})
    gravity = hgn.systems.gravity(gravitational_constant=G)
    start = hgn.systems.Uniform(0.5, 0.3)
    data = hgn.systems.simulate(gravity, graph, key=jr.key(0), trajectories=100, start=start)
    if external is not None:
        force = data.nodes["force"] + external(data.nodes["position"], data.nodes["mass"])
        data = data._replace(nodes=data.nodes | {"force": force})
    return with_noise(data, noise)


def fitted(data, terms):
    options = {"observations": [hgn.Derivatives("uniform")], "solver": SOLVER}
    return hgn.fit(data, key=0, terms=terms, **options)


def numbers(line):
    """Values and standard deviations that a line shows, such as -1.0002(1)."""
    found = re.findall(r"([+-]? ?[\d.]+)\((\d)\)", line)
    values = [float(v.replace(" ", "")) for v, _ in found]
    return values, [float(s) * 10.0 ** -len(v.partition(".")[2]) for v, s in found]


def test_newtons_law_is_found_among_powers(with_noise):
    fit = fitted(orbits(with_noise), [hgn.Powers((-2, -1, 1)), hgn.Pair(8)])
    powers, units = fit.law().splitlines()
    true = {"/r": -G}
    for part in re.findall(r"[+-]? ?[\d.]+\(\d\)[ /][r^\d]+", powers):
        (value,), (std,) = numbers(part)
        formula = part.partition(")")[2]
        assert abs(value - true.pop(formula, 0)) < 4 * std < 0.02
    assert not true
    assert units.startswith("pair: 8 columns, ")
    table = fit.breaking()
    assert table["r^-1"].present and not table["r^-2"].present and not table["r^1"].present


def test_gravity_on_earth_and_a_trap_are_found(with_noise):
    centre, k = np.array([0.4, -0.2]), 0.3
    data = orbits(
        with_noise, external=lambda q, m: -m[:, None] * GRAVITY[None] - k * (q - centre[None])
    )
    fit = fitted(data, [hgn.Powers((-1,)), hgn.UniformField(), hgn.HarmonicTrap()])
    first, field, trap = fit.law().splitlines()
    assert first.endswith("/r") and re.search(r" m x .* m y$", field)
    for line, true in ((first, -G), (field, GRAVITY), (trap, [k, *(-k * centre)])):
        values, stds = numbers(line)
        assert (abs(np.array(values) - true) < 4 * np.array(stds)).all()
        assert max(stds) < 0.02
    assert " |q|^2/2 " in trap


def test_clean_data_give_all_digits(with_noise):
    fit = fitted(orbits(with_noise, noise=0.0), [hgn.Powers((-1,))])
    assert fit.law() == "powers: -2/r"


def test_error_bars_are_the_spread_of_fits(with_noise):
    """theta of 40 data sets scatters by the standard deviation that one of them states."""
    clean = orbits(with_noise, noise=0.0)
    term, found = hgn.Powers((-1,)), []
    for seed in range(40):
        data = with_noise(clean, 0.05, seed)
        fit = hgn.solve([term], data, observations=[hgn.Derivatives("uniform")], solver=SOLVER)
        found.append(float(fit.model.theta[0][0]))
    (_,), (std,) = numbers(fit.law())
    assert 0.4 < np.std(found) / std < 2.0  # one digit of std is shown


@pytest.mark.parametrize("exponents", [(), (0,), (1, 1), (float("inf"),), ("r",)])
def test_bad_exponents_are_refused(exponents, no_type_checks):
    with pytest.raises(ValueError, match=r"different numbers|finite and not 0"):
        hgn.Powers(exponents)
