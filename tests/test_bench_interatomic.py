"""The benchmark of interatomic potentials: a quick run on synthetic silicon, and its choices."""

import json
import lzma
import sys
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from bench import interatomic_data
from bench import interatomic_potentials as bench
from bench.interatomic_calibration import calibration
from bench.interatomic_data import ALLOYS, ELEMENTS, fraction, training, weighted
from bench.interatomic_dynamics import _slope
from bench.interatomic_fits import Settings, fitted, search, summary
from bench.interatomic_selection import held_out, pivots
from bench.interatomic_speed import silicon
from bench.sections.interatomic_potentials import figures
from hgn_jax.linear.gram import gram as make_gram

RANGE = 3.0
"""Reach of the synthetic pair energy (A): V(r) = (1 - r / RANGE)^3 eV."""
EDGE = 5.0


def frame(rng):
    """Eight atoms in a periodic cube, energy and forces of all pairs within RANGE."""
    sites = np.array([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0],
                      [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]) / 4  # fmt: skip
    position = EDGE * sites + rng.uniform(-0.3, 0.3, (8, 3))
    energy, force = 0.0, np.zeros((8, 3))
    images = EDGE * np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    for i in range(8):
        d = position[None] + images[:, None] - position[i]
        r = np.linalg.norm(d, axis=-1)
        near = (r > 1e-9) & (r < RANGE)
        left = 1 - r[near] / RANGE
        energy += 0.5 * np.sum(left**3)
        force[i] = -np.sum((3 * left**2 / RANGE / r[near])[:, None] * d[near], axis=0)
    lines = [
        "8",
        f'Lattice="{EDGE} 0 0 0 {EDGE} 0 0 0 {EDGE}" pbc="T T T" energy={energy} '
        "Properties=species:S:1:pos:R:3:forces:R:3",
    ]
    return "\n".join(
        [
            *lines,
            *("Si " + " ".join(f"{x:.10f}" for x in (*p, *f)) for p, f in zip(position, force)),
        ]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("data")
    (path / "mlearn").mkdir()
    with lzma.open(path / "mlearn" / "Si_train.xyz.xz", "wt") as file:
        file.write("\n".join(frame(rng) for _ in range(20)) + "\n")
    (path / "mlearn" / "Si_test.xyz").write_text("\n".join(frame(rng) for _ in range(5)) + "\n")
    return path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["interatomic_potentials", *map(str, arguments)])
    bench.main()


def test_quick_run_learns_and_a_second_one_keeps_its_results(folder, tmp_path, monkeypatch):
    run(monkeypatch, "--data", folder, "--out", tmp_path, "--only", "si", "--quick")
    written = tmp_path / "interatomic_potentials.json"
    records = json.loads(written.read_text())
    error, other, mean = (r for r in records if r["measured"] == "errors")
    assert [error["seed"], other["seed"], mean["seed"]] == [0, 1, "mean"]
    for key in ("energy_rmse", "force_rmse"):  # a norm: that of the mean is no greater
        assert 0 < mean[key] < (error[key] + other[key]) / 2
    forces = training(folder, ELEMENTS[0], 3.0, True).nodes["force"]
    assert error["force_rmse"] < 0.3 * float(np.sqrt(np.mean(np.square(forces))))
    tried = [r for r in records if r["measured"] == "settings"]
    assert len(tried) == 2
    assert Settings.of(error) == Settings.of(min(tried, key=lambda r: r["score"]))
    assert len(error["parity"]["reference"]) == len(error["parity"]["predicted"]) == 5 * 24
    shown = figures(records)
    assert shown["seeds"] == "2" and "hgn_jax, 40 features" in shown["elements"]
    assert "hgn_jax, mean of 2 models of 40" in shown["elements"]
    assert written.with_suffix(".png").stat().st_size > 10_000

    def again(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(bench, "errors_of_seeds", again)
    monkeypatch.setattr(bench, "trial", again)
    run(monkeypatch, "--data", folder, "--out", tmp_path, "--only", "si", "--quick")
    assert json.loads(written.read_text()) == records


def test_errors_with_other_settings_are_measured_again(folder, tmp_path, monkeypatch):
    run(monkeypatch, "--data", folder, "--out", tmp_path, "--only", "si", "--quick")
    written = tmp_path / "interatomic_potentials.json"
    records = json.loads(written.read_text())
    of = {kind: [r for r in records if r["measured"] == kind] for kind in ("settings", "errors")}
    worse = max(of["settings"], key=lambda r: r["score"])
    best = worse | {"score": worse["score"] - 100}
    written.write_text(json.dumps([r if r is not worse else best for r in records]))
    renewed = {"force_rmse": 1.0}
    monkeypatch.setattr(
        bench,
        "errors_of_seeds",
        lambda _, __, settings, *___: [of["errors"][0] | settings.record() | renewed],
    )
    run(monkeypatch, "--data", folder, "--out", tmp_path, "--only", "si", "--quick")
    (error,) = (r for r in json.loads(written.read_text()) if r["measured"] == "errors")
    assert Settings.of(error) == Settings.of(best) and error["force_rmse"] == 1.0


def test_search_goes_on_from_the_best_of_each_stage():
    subject = ELEMENTS[0]._replace(
        cutoffs=(4.0, 5.0, 6.0), radials=(5, 7), weights=(1.0, 3.0), stretches=(None, 2.0)
    )
    tried = []

    def score(s):
        if s not in tried:
            tried.append(s)
        return (
            abs(s.cutoff - 4) + abs(s.radial - 7) + abs(s.energy_weight - 3) + (s.stretch is None)
        )

    best = search(subject, 4, score)
    of_stretch = [(None, 5, 5, 3), (2, 5, 5, 3)]
    of_shapes = [(2, r, n, 3) for r in (4, 5, 6) for n in (5, 7) if (r, n) != (5, 5)]
    assert [(s.stretch, s.cutoff, s.radial, s.energy_weight) for s in tried] == [
        *of_stretch,
        *of_shapes,
        (2, 4, 7, 1),
    ]
    assert best == Settings(4.0, 7, 3.0, 4, 2.0)


def test_calibration_is_that_of_all_test_frames_together(folder):
    settings = Settings(3.0, 4, 1.0, 2)
    record = calibration(folder, ELEMENTS[0], settings, 40, True)
    data = training(folder, ELEMENTS[0], 3.0, True)
    fit = hgn.calibrate(fitted(data, settings, 40, 0, True), weighted(data, 1.0))
    test = interatomic_data.testing(folder, ELEMENTS[0], 3.0, True)
    deviation = fit.standard_deviation(test)
    for kind, size, error in (
        ("energy", deviation.energy, fit.model(test) - test.globals["energy"]),
        ("force", deviation.force, fit.model.vector_field(test)[-1] - test.nodes["force"]),
    ):
        size, error = np.ravel(size), np.abs(np.ravel(error))
        assert record[f"{kind}_count"] == error.size == {"energy": 5, "force": 5 * 24}[kind]
        ratio = np.sqrt(np.mean((error / size) ** 2))
        np.testing.assert_allclose(record[f"{kind}_ratio"], ratio, rtol=1e-4)
        ranks = [np.argsort(np.argsort(a)) for a in (size, error)]
        correlation = np.corrcoef(*ranks)[0, 1]
        np.testing.assert_allclose(record[f"{kind}_rank_correlation"], correlation, atol=1e-2)


def test_missing_files_are_named(folder, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=r"Mo_train\.xyz, plain or packed"):
        run(monkeypatch, "--data", folder, "--out", tmp_path, "--only", "calibration")
    with pytest.raises(SystemExit, match=r"MoNbTaW_train\.xyz, plain or packed"):
        run(monkeypatch, "--data", folder, "--out", tmp_path, "--only", ALLOYS.label)
    with pytest.raises(SystemExit, match="no folder"):
        run(monkeypatch, "--data", folder / "nowhere", "--out", tmp_path, "--only", "si")
    with pytest.raises(SystemExit, match=r"\['gold'\] are none of si"):
        run(monkeypatch, "--data", folder, "--out", tmp_path, "--only", "gold")


def test_without_data_results_stay(tmp_path, monkeypatch, capsys):
    run(monkeypatch, "--out", tmp_path)
    assert "the results stay as they are" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_fractions_are_nested_and_weights_multiply(folder):
    data = training(folder, ELEMENTS[0], 3.0, True)
    most, few = (np.asarray(fraction(data, p).globals["energy_weight"]) for p in (0.8, 0.6))
    assert (most.sum(), few.sum()) == (16, 12)
    assert (few <= most).all()
    np.testing.assert_array_equal(fraction(data, 0.6).nodes["weight"], np.repeat(few, 8))
    twice = weighted(weighted(data, 2.0), 3.0)
    np.testing.assert_array_equal(twice.globals["energy_weight"], np.full(20, 6.0))


def test_summary_of_hand_computed_errors():
    found = summary({"force": np.array([3.0, -4.0, 0.0, 0.0])})
    np.testing.assert_allclose(found["force_mae"], 1.75, rtol=1e-15)
    np.testing.assert_allclose(found["force_rmse"], 2.5, rtol=1e-15)


def test_silicon_has_four_near_neighbours():
    graph = silicon(2, 2.9)
    assert len(graph.nodes["position"]) == 64
    assert len(graph.senders) == 4 * 64


def rows_of_folds(seed=0):
    """Rows in which twelve candidates are nearly copies of six, of which three make the target."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=(3, 60, 6))
    matrix = np.concatenate([own, own + 1e-3 * rng.normal(size=own.shape)], axis=2)
    target = matrix[:, :, [1, 3, 4]] @ [1.0, -2.0, 0.5] + 0.1 * rng.normal(size=(3, 60))
    return matrix, target


def test_choices_among_candidates():
    matrix, target = rows_of_folds()
    total = np.einsum("fri,frj->ij", matrix, matrix)
    aim = np.einsum("fri,fr->i", matrix, target)
    independent = pivots(total, aim, stay=np.array([11]), kept=5, greedy=False)
    assert independent[0] == 11 and sorted(independent % 6) == list(range(6))
    greedy = pivots(total, aim, stay=np.array([11]), kept=3, greedy=True)
    assert greedy[0] == 11 and set(greedy[1:] % 6) == {1, 3, 4}
    # Each step takes the column that lowers the residual most.
    rows, right = matrix.reshape(-1, 12), target.ravel()

    def left(columns):
        return np.linalg.norm(
            right - rows[:, columns] @ np.linalg.lstsq(rows[:, columns], right)[0]
        )

    for k in range(1, 4):
        others = [j for j in range(12) if j not in greedy[:k]]
        best = min(others, key=lambda j: left([*greedy[:k], j]))
        assert best == greedy[k]


def test_errors_of_choices_are_those_of_held_out_rows():
    matrix, target = rows_of_folds()
    gram = None
    for z, u in zip(matrix, target):
        z, u, count = jnp.asarray(z), jnp.asarray(u), jnp.asarray(len(u))
        gram = make_gram(z, u, count, 3) if gram is None else gram.append(z, u, count)
    error, square = held_out(gram, lambda matrix, aim: np.arange(12))
    norm = np.sqrt(np.sum(matrix**2, axis=(0, 1)))
    scaled, wrong = matrix / norm, 0.0
    for k in range(3):
        z, u = np.delete(scaled, k, 0).reshape(-1, 12), np.delete(target, k, 0).ravel()
        ridge = square * np.linalg.eigvalsh(z.T @ z)[-1]
        theta = np.linalg.solve(z.T @ z + ridge * np.eye(12), z.T @ u)
        wrong += np.sum((scaled[k] @ theta - target[k]) ** 2)
    assert error == pytest.approx(np.sqrt(wrong / np.sum(target**2)), rel=1e-9)
    greedy = partial(pivots, stay=np.array([11]), kept=3, greedy=True)
    assert held_out(gram, greedy)[0] < 0.1 < held_out(gram, lambda *_: np.array([0, 2, 5, 11]))[0]


def test_slope_of_a_line_and_its_error():
    rng, t = np.random.default_rng(0), np.linspace(0, 10, 500)
    found = [_slope(t, 0.3 * t + 2 + rng.normal(size=500)) for _ in range(200)]
    slopes, errors = np.array(found).T
    exact = 1 / np.sqrt(np.sum((t - t.mean()) ** 2))
    assert slopes.mean() == pytest.approx(0.3, abs=4 * exact / np.sqrt(200))
    assert slopes.std() == pytest.approx(exact, rel=0.2)
    assert np.mean(errors) == pytest.approx(exact, rel=0.2)
