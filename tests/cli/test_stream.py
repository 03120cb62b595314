"""Fits to files that are read one after another."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import hgn_jax as hgn
from hgn_jax.cli import app
from hgn_jax.fitting import accumulate

PAIR = ("--edges", "0-1", "--mass", "1", "--terms", "pair=16")


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def table(path, start):
    """Two bodies on a spring, 1 + 0.3 cos(sqrt(2) t) apart."""
    t = np.linspace(start, start + 4, 101)
    apart = 1 + 0.3 * np.cos(np.sqrt(2) * t)
    rows = np.column_stack([t, -apart / 2, apart / 2])
    np.savetxt(path, rows, delimiter=",", header="time,x1,x2", comments="", fmt="%.15g")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    names = [folder / f"run{k}.csv" for k in range(3)]
    for k, name in enumerate(names):
        table(name, 5.0 * k)
    return names


def test_all_files_but_the_last_are_learned_and_that_is_the_test(files, tmp_path):
    out = tmp_path / "m.hgn"
    result = run("fit", *files, "-o", out, *PAIR, "--stream", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    # Velocities and forces of two bodies.
    frames = [hgn.read(f, edges=[(0, 1)], mass=1.0) for f in files]
    assert record["rows"] == 4 * sum(len(f.n_node) for f in frames[:2])
    model = hgn.load(out)
    for part, data in (("train", frames[0]), ("test", frames[2])):
        found = {k: float(v) for k, v in hgn.metrics.relative_error(model, data).items()}
        assert record["relative_error"][part] == pytest.approx(found, rel=1e-9)
    r = jnp.linspace(0.75, 1.25, 9)
    force = -jax.vmap(jax.grad(model.pair_energy))(r)
    np.testing.assert_allclose(force, 1 - r, atol=1e-4)


def test_a_fit_resumes_after_the_files_before_a_bad_one(files, tmp_path, monkeypatch):
    bad = tmp_path / "bad.csv"
    bad.write_text(files[1].read_text().replace("5.2,", "5.2,x", 1))
    taken, extended = [], accumulate._extended
    monkeypatch.setattr(accumulate, "_extended", lambda *a: taken.append(1) or extended(*a))

    def fitted(out, *others):
        taken.clear()
        options = ("-o", out, *PAIR, "--stream", "--test", 0, "--json")
        return run("fit", *others, *options), len(taken)

    out, whole = tmp_path / "m.hgn", tmp_path / "whole.hgn"
    broken, before = fitted(out, files[0], bad, files[2], "--resume")
    assert broken.exit_code == 2 and str(bad) in broken.output
    assert (tmp_path / "m.hgn.checkpoint").exists() and not out.exists()
    resumed, after = fitted(out, *files, "--resume")
    complete, every = fitted(whole, *files)
    assert resumed.exit_code == complete.exit_code == 0, resumed.output
    assert after == every - before < every
    for mine, other in zip(hgn.load(out).theta, hgn.load(whole).theta):
        assert np.array_equal(mine, other)


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--stream", "--measured"), "leave out --stream"), (("--resume",), "needs --stream")],
)
def test_options_that_do_not_go_together(files, tmp_path, options, words):
    result = run("fit", *files, "-o", tmp_path / "m.hgn", *PAIR, *options)
    assert result.exit_code == 2 and words in result.output
