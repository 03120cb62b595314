"""The benchmark of interatomic potentials: a quick run on synthetic silicon, and its choices."""

import json
import lzma
import sys

import numpy as np
import pytest

import hgn_jax as hgn
from bench import interatomic_potentials as bench
from bench.interatomic_data import ALLOYS, ELEMENTS, fraction, training, weighted
from bench.interatomic_fits import Settings, search, summary
from bench.interatomic_speed import silicon
from bench.sections.interatomic_potentials import figures

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
    (error,) = (r for r in records if r["measured"] == "errors")
    forces = training(folder, ELEMENTS[0], 3.0, True).nodes["force"]
    assert error["force_rmse"] < 0.3 * float(np.sqrt(np.mean(np.square(forces))))
    assert sum(r["chosen"] for r in records if r["measured"] == "settings") == 1
    assert len(error["parity"]["reference"]) == len(error["parity"]["predicted"]) == 5 * 24
    assert "hgn_jax, 40 features" in figures(records)["elements"]
    assert written.with_suffix(".png").stat().st_size > 10_000

    def again(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(bench, "errors_of_seeds", again)
    monkeypatch.setattr(bench, "search", again)
    run(monkeypatch, "--data", folder, "--out", tmp_path, "--only", "si", "--quick")
    assert json.loads(written.read_text()) == records


def test_search_goes_on_from_the_best_of_each_stage_and_marks_it(monkeypatch):
    subject = ELEMENTS[0]._replace(
        cutoffs=(4.0, 5.0, 6.0), radials=(5, 7), weights=(1.0, 3.0), stretches=(None, 2.0)
    )
    tried = []

    def tune(data, *, grid, **_):
        (_, many), weight = grid["terms"][0], float(data)
        tried.append((many.stretch, many.cutoff, many.radial, weight))
        score = abs(many.cutoff - 4) + abs(many.radial - 7) + abs(weight - 3)
        score += many.stretch is None
        errors = {"energy": score, "force": score}
        return hgn.Tuning(None, (hgn.Trial({}, errors, errors, score),))

    monkeypatch.setattr("bench.interatomic_fits.training", lambda *_: None)
    monkeypatch.setattr("bench.interatomic_fits.weighted", lambda data, weight: weight)
    monkeypatch.setattr("bench.interatomic_fits.observations", lambda data: [])
    monkeypatch.setattr(hgn, "tune", tune)
    records = search(None, subject, 4, False)
    of_stretch = [(None, 5, 5, 1), (2, 5, 5, 1)]
    of_cutoff = [(2, 4, 5, 1), (2, 6, 5, 1)]
    assert tried == [*of_stretch, *of_cutoff, (2, 4, 7, 1), (2, 4, 7, 3)]
    (best,) = (r for r in records if r["chosen"])
    assert Settings.of(best) == Settings(4.0, 7, 3.0, 4, 2.0)


def test_missing_files_are_named(folder, tmp_path, monkeypatch):
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
