import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from bench import problems
from bench.least_squares import _choices, _output
from bench.least_squares_goals import DENSE, _goal, exponent, exponents, ours_over_theirs
from bench.problems import JAX, NUMPY, Forces, Radial, noisy, radial_problem, warm_seconds


def test_exponent_is_that_of_a_power_law():
    x = [10.0, 300.0, 7000.0]
    np.testing.assert_allclose(exponent(x, [4.2 * k**1.37 for k in x]), 1.37, rtol=1e-12)


def dense(nodes, rows, units, seconds):
    graphs = rows / (3 * nodes)
    details = {"nodes": nodes, "rows": rows, "graphs": graphs}
    return {"case": DENSE, "rows": rows, "units": units, "seconds": seconds, "details": details}


def test_exponents_take_the_records_that_belong_together():
    """Time grows as bodies^1.1; a fit to few rows and one with other units are far slower."""
    most = 24 * 2**10
    sizes = [(8, most), (64, most), (512, most), (8, most // 64), (64, most // 8)]
    records = [dense(n, r, 128, r**1.1) for n, r in sizes]
    records += [dense(8, most // 4, 128, (most / 4) ** 1.1), dense(512, most, 256, 1e9)]
    found = exponents(records)
    assert set(found) == {"snapshots, 128 units", "nodes, bodies equal", "nodes, graphs equal"}
    np.testing.assert_allclose(found["snapshots, 128 units"], 1.1, rtol=1e-12)
    np.testing.assert_allclose(found["nodes, bodies equal"], 1.0, rtol=1e-12)
    np.testing.assert_allclose(found["nodes, graphs equal"], 1.1, rtol=1e-12)


def test_ratios_are_ours_over_theirs_at_the_same_size():
    def record(what, rows, seconds, error):
        size = {"rows": rows, "units": 8, "seconds": seconds, "error": error}
        return {"case": "solvers", "what": what, "details": {}} | size

    records = [
        record("QR", 100, 2.0, 1e-13),
        record("numpy lstsq", 100, 8.0, 1e-11),
        record("QR", 1000, 30.0, 1e-13),
        record("numpy lstsq", 1000, 10.0, 1e-14),
        record("sklearn Ridge", 1000, None, None),
        {"case": "accuracy", "what": "QR", "seconds": None},
    ]
    *solvers, left_out, other = ours_over_theirs(records)
    assert [r["ratio"] for r in solvers] == [1, 0.25, 1, 3]
    np.testing.assert_allclose([r["details"]["error_ratio"] for r in solvers], [1, 0.01, 1, 10])
    assert left_out == records[-2] and other == records[-1]


@pytest.mark.parametrize(
    "value, bounds, words, met",
    [(2.4, {"most": 2.5}, "<= 2.5", True), (1.5, {"least": 1.6}, ">= 1.6", False),
     (1.3, {"least": 0.8, "most": 1.25}, "0.8 .. 1.25", False),
     (float("nan"), {"most": 1}, "<= 1", False), (None, {"least": 1.6}, ">= 1.6", False)],
)  # fmt: skip
def test_a_goal_is_met_within_its_bounds_alone(value, bounds, words, met):
    found = _goal("speed", value, **bounds)
    assert (found["goal"], found["met"]) == (words, met)


def test_the_radial_problem_is_the_slope_of_morse_whatever_the_blocks(monkeypatch):
    whole = radial_problem(1000, 64, seed=3)
    monkeypatch.setattr(problems, "BLOCK", 7)
    problem = radial_problem(1000, 64, seed=3)
    for a, b in zip(problem, whole, strict=True):
        np.testing.assert_array_equal(a, b)
    r = np.random.default_rng(3).uniform(0.5, 2.0, 1000)
    potential = hgn.systems.Morse()
    slope = jax.vmap(jax.grad(lambda x: potential(x, jnp.array(0))))(jnp.asarray(r))
    np.testing.assert_allclose(problem.target, slope, rtol=1e-12, atol=1e-14)
    assert problem.error(np.linalg.lstsq(problem.matrix, problem.target)[0]) < 1e-7


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", [*JAX, *NUMPY])
def test_every_solver_finds_the_exact_answer_of_a_good_matrix(name, dtype):
    if name == "sklearn Ridge":
        pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    z, theta = rng.normal(size=(200, 12)), np.linspace(-1, 2, 12)
    unseen = rng.normal(size=(30, 12))
    arrays = (a.astype(dtype) for a in (z, z @ theta, unseen))
    problem = Radial(*arrays, unseen.astype(dtype).astype(np.float64) @ theta)
    solve = jax.jit(JAX[name]) if name in JAX else NUMPY[name]
    found = np.asarray(solve(problem.matrix, problem.target))
    assert problem.error(found) < (1e-9 if dtype == np.float64 else 1e-4)
    np.testing.assert_allclose(problem.error(1.25 * theta), 0.25, rtol=1e-10)


def test_forces_are_those_of_the_energy(getkey):
    problem = Forces(16, nodes=8)
    data = problem.data(2, seed=5)
    way = jr.normal(getkey(), data.nodes["position"].shape)

    def energy(h):
        moved = data.nodes | {"position": data.nodes["position"] + h * way}
        return float(jnp.sum(problems.SPRINGS(data._replace(nodes=moved))))

    slope = (energy(1e-5) - energy(-1e-5)) / 2e-5
    np.testing.assert_allclose(-slope, jnp.sum(data.nodes["force"] * way), rtol=1e-7, atol=1e-8)
    offset = data.nodes["position"] - jnp.tile(
        hgn.graphs.lattice((2,) * 3).nodes["position"], (2, 1)
    )
    assert 0.15 < jnp.abs(offset).max() <= 0.2


@pytest.mark.parametrize(
    "nodes, rows, units", [(8, 10**6, 1024), (8, 10**4, 2048), (4096, 786432, 128)]
)
def test_pieces_have_the_rows_that_were_asked_for_and_no_piece_is_too_large(nodes, rows, units):
    problem = Forces(units, nodes)
    number, graphs = problem.pieces(rows)
    assert abs(number * graphs * problem.rows_per_graph / rows - 1) < 0.05
    assert graphs * problem.rows_per_graph <= 1.1 * max(2**24 / units, 8 * units)


def test_a_stream_of_forces_is_learned(getkey):
    problem = Forces(32)
    fit = hgn.fit_stream(problem.stream(3, 20), **problem.arguments)
    assert int(fit.reduction.triangles[-1].rows) == 3 * 20 * problem.rows_per_graph
    assert problem.error(fit, 20) < 1e-6


def test_noise_is_of_the_size_asked_for_and_on_rates_alone(data):
    found = noisy(data, 0.03, 1)
    for name in ("velocity", "force"):
        true = data.nodes[name]
        error = jnp.sqrt(jnp.mean((found.nodes[name] - true) ** 2) / jnp.mean(true**2))
        np.testing.assert_allclose(error, 0.03, rtol=0.05)
    assert eqx.tree_equal(found.nodes["position"], data.nodes["position"])
    assert eqx.tree_equal(noisy(data, 0.0, 1).nodes["force"], data.nodes["force"])


def test_choices_of_the_ridge_have_the_errors_of_their_models(data, fitted, cube, springs):
    unseen = hgn.systems.simulate(springs, cube, key=jr.key(9), trajectories=50)
    fit = hgn.solve(fitted.model.terms, noisy(data, 0.1, 0))
    found = _choices(fit, unseen)
    for rate, error in hgn.metrics.relative_error(fit.model, unseen).items():
        np.testing.assert_allclose(found[rate]["evidence"]["error"], error, rtol=1e-10)
        errors = {choice: figures["error"] for choice, figures in found[rate].items()}
        assert errors["oracle"] <= 1.05 * min(errors.values())
        assert errors["least ridge"] > errors["evidence"]


def test_what_is_long_is_timed_once_and_what_is_short_three_times(monkeypatch):
    calls = []
    warm_seconds(lambda: calls.append(None))
    assert len(calls) == 3
    monkeypatch.setattr(problems, "LONG", 1e-12)
    warm_seconds(lambda: calls.append(None))
    assert len(calls) == 4


def test_a_process_that_fails_is_reported_with_its_last_words():
    process = subprocess.Popen(
        [sys.executable, "-c", "raise SystemExit('one\\nout of luck')"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="out of luck"):
        _output(process)
