"""Interrupted benchmarks resume where they stopped; the benchmarks' own features are right."""

import json
import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from bench.polynomial import Polynomial
from bench.record import Case, main, measured


class Measurements:
    """Cases 0, 1, 2; counts the measurements, and raises at the case `broken`."""

    def __init__(self):
        self.calls = []
        self.broken = None

    def cases(self, quick=False):
        for k in range(3):
            yield Case({"k": k}, lambda k=k: self.measure(k))

    def measure(self, k):
        if k == self.broken:
            raise KeyboardInterrupt
        self.calls.append(k)
        # The last case has several records.
        return [{"figure": k + 0.5}, {"figure": None}] if k == 2 else {"figure": k + 0.5}


@pytest.fixture
def bench():
    return Measurements()


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "some.unfinished.jsonl"


def interrupted(bench, kept, at, quick=False):
    bench.broken = at
    with pytest.raises(KeyboardInterrupt):
        list(measured(bench.cases(), kept, quick))
    bench.broken = None


def figures(records):
    return [(r["k"], r["figure"]) for r in records]


ALL = [(0, 0.5), (1, 1.5), (2, 2.5), (2, None)]


def test_settings_figures_and_environment_stand_in_that_order(bench, kept):
    records = list(measured(bench.cases(), kept, True))
    assert figures(records) == ALL
    assert all(list(r) == ["k", "figure", "environment"] for r in records)
    assert all(r["environment"]["quick"] is True for r in records)
    assert records[0]["environment"]["versions"]["jax"] == jax.__version__


@pytest.mark.parametrize("stopped", [0, 1, 2])
def test_interrupted_run_goes_on_without_measuring_again(bench, kept, stopped):
    interrupted(bench, kept, stopped)
    assert bench.calls == list(range(stopped))
    assert figures(measured(bench.cases(), kept, False)) == ALL
    assert bench.calls == [0, 1, 2]


def test_finished_cases_are_kept_as_they_were(bench, kept):
    before = list(measured(bench.cases(), kept, False))
    assert list(measured(bench.cases(), kept, False)) == before
    assert bench.calls == [0, 1, 2]


def test_cut_off_last_line_is_measured_again(bench, kept):
    list(measured(bench.cases(), kept, False))
    kept.write_text(kept.read_text()[:-20])
    assert figures(measured(bench.cases(), kept, False)) == ALL
    assert bench.calls == [0, 1, 2, 2]
    assert figures(measured(bench.cases(), kept, False)) == ALL
    assert bench.calls == [0, 1, 2, 2]


def test_quick_and_full_runs_do_not_mix(bench, kept):
    interrupted(bench, kept, 2, quick=True)
    interrupted(bench, kept, 1)
    assert bench.calls == [0, 1, 0]
    records = list(measured(bench.cases(), kept, False))
    assert figures(records) == ALL
    assert not any(r["environment"]["quick"] for r in records)
    assert bench.calls == [0, 1, 0, 1, 2]


def test_figures_of_other_versions_are_measured_again(bench, kept):
    interrupted(bench, kept, 2)
    kept.write_text(kept.read_text().replace(f'"jax": "{jax.__version__}"', '"jax": "0.0.1"'))
    list(measured(bench.cases(), kept, False))
    assert bench.calls == [0, 1, 0, 1, 2]


def test_main_writes_all_records_and_removes_the_unfinished_file(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench.some", "--quick", "--out", str(tmp_path / "new")])
    bench.broken = 1
    with pytest.raises(KeyboardInterrupt):
        main("some", "Some figures", bench.cases)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["some.unfinished.jsonl"]
    bench.broken = None
    main("some", "Some figures", bench.cases)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["some.json"]
    assert figures(json.loads((tmp_path / "new" / "some.json").read_text())) == ALL
    assert bench.calls == [0, 1, 2]


def test_only_the_chosen_cases_are_measured_and_the_others_stay(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench.some", "--out", str(tmp_path)])
    main("some", "Some figures", bench.cases)
    path = tmp_path / "some.json"
    before = [r | {"figure": "before"} for r in json.loads(path.read_text()) if r["k"]]
    path.write_text(json.dumps(before))
    monkeypatch.setattr(sys, "argv", ["bench.some", "--out", str(tmp_path), "--only", "k=2"])
    main("some", "Some figures", bench.cases)
    after = json.loads(path.read_text())
    assert figures(after) == [(1, "before"), (2, 2.5), (2, None)]  # case 0 had no record
    assert bench.calls == [0, 1, 2, 2]


def test_failing_figure_leaves_records_and_the_unfinished_file(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bench.some", "--quick", "--out", str(tmp_path)])

    def draw(records):
        raise RuntimeError("no ink")

    with pytest.raises(RuntimeError, match="no ink"):
        main("some", "Some figures", bench.cases, draw)
    assert {p.name for p in tmp_path.iterdir()} == {"some.json", "some.unfinished.jsonl"}
    main("some", "Some figures", bench.cases)
    assert bench.calls == [0, 1, 2]


@pytest.fixture
def coupled(cube):
    """Two cubes of bodies joined with couplings, one of them padded."""
    couplings = np.random.default_rng(0).normal(size=len(cube.senders) // 2)
    cube = cube._replace(edges={"coupling": jnp.asarray(np.tile(couplings, 2))})
    offsets = 0.2 * jr.normal(jr.key(0), (2, 8, 3))
    two = [
        cube._replace(nodes=cube.nodes | {"position": cube.nodes["position"] + o}) for o in offsets
    ]
    padded = hgn.graphs.pad(hgn.graphs.batch(two), n_node=20, n_edge=60, n_graph=4)
    return jax.tree.map(jnp.asarray, padded)


def test_polynomial_gradient_is_the_derivative(coupled):
    (features,) = hgn.sample([Polynomial()], coupled, key=jr.key(0))

    def total(q):
        return jnp.sum(features(coupled._replace(nodes=coupled.nodes | {"position": q})), axis=0)

    by_position, by_momentum = features.gradient(coupled)
    automatic = jnp.moveaxis(jax.jacrev(total)(coupled.nodes["position"]), 0, 2)
    assert by_momentum is None
    assert by_position.shape == (20, 3, 2)
    np.testing.assert_allclose(by_position, automatic, rtol=1e-13, atol=1e-14)


def test_polynomial_is_the_sum_over_pairs(coupled):
    (features,) = hgn.sample([Polynomial()], coupled, key=jr.key(0))
    q, c = np.asarray(coupled.nodes["position"]), np.asarray(coupled.edges["coupling"])
    i, j = np.asarray(coupled.senders), np.asarray(coupled.receivers)
    expected = np.zeros((4, 2))
    for a, b, coupling in zip(i[:48], j[:48], c[:48]):
        r = np.linalg.norm(q[a] - q[b])
        expected[a // 8] += coupling / 2 * np.array([r, r**2])
    np.testing.assert_allclose(features(coupled), expected, rtol=1e-13)


def test_polynomial_beside_random_features_learns_a_spring(data, springs, cube):
    """Two columns are enough for a harmonic spring at any stretch."""
    model = hgn.fit(data, key=jr.key(2), terms=[hgn.Kinetic(0), Polynomial()]).model
    wide = hgn.systems.simulate(
        springs, cube, key=jr.key(3), trajectories=5, start=hgn.systems.Uniform(0.4, 0.4)
    )
    assert hgn.metrics.relative_error(model, wide)["force"] < 1e-12
