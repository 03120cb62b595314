"""Data file to model to trajectory to picture, as a user types it."""

import json
import time

import ase.build
import ase.io
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from typer.testing import CliRunner

import hgn_jax as hgn
from hgn_jax.cli import app

RING = ("--edges", "0-1,1-2,2-3,3-4,4-0", "--mass", "1")


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def said(*arguments):
    """Output of a command, which must succeed."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory, springs):
    """A table of five bodies on springs; a model of it; a run of the model."""
    folder = tmp_path_factory.mktemp("cli")
    start = hgn.systems.simulate(
        springs,
        hgn.graphs.ring(5),
        key=jr.key(0),
        trajectories=1,
        start=hgn.systems.Uniform(0.2, 0.2),
    )
    times = np.linspace(0, 10, 201)
    path = hgn.rollout(springs, start, times, dt=0.05, integrator=hgn.KahanLi8())
    head = ",".join(["time", *(f"{axis}{i + 1}" for i in range(5) for axis in "xy")])
    rows = np.column_stack([times, np.asarray(path.position).reshape(201, -1)])
    np.savetxt(folder / "ring.csv", rows, delimiter=",", header=head, comments="", fmt="%.14g")
    return folder


@pytest.fixture(scope="module")
def fitted_ring(folder):
    return json.loads(
        said("fit", folder / "ring.csv", "-o", folder / "ring.hgn", *RING, "--terms", "pair=24",
             "--json", "--pictures", folder / "pictures")
    )  # fmt: skip


@pytest.fixture(scope="module")
def run_of_ring(folder, fitted_ring):
    return json.loads(
        said("rollout", folder / "ring.hgn", folder / "ring.csv", "-o", folder / "run.h5", *RING,
             "--steps", 400, "--every", 20, "--dt", 0.02, "--observe", "msd", "--json")
    )  # fmt: skip


def test_fit_learns_the_springs_and_says_so(folder, fitted_ring):
    model = hgn.load(folder / "ring.hgn")
    r = jnp.linspace(0.9, 1.1, 5)
    force = -jax.vmap(jax.grad(model.pair_energy))(r)
    np.testing.assert_allclose(force, 1 - r, atol=1e-5)
    assert fitted_ring["verdict"].startswith("Good: the model explains the observed motion")
    assert max(fitted_ring["relative_error"]["test"].values()) < 1e-4
    pictures = [folder / "ring.png", *(folder / "pictures").iterdir()]
    assert len(pictures) == 4 and all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)


def test_the_run_is_that_of_the_library(folder, run_of_ring):
    model = hgn.load(folder / "ring.hgn")
    pairs = [(i, (i + 1) % 5) for i in range(5)]
    data = hgn.read(folder / "ring.csv", edges=pairs, mass=1.0)
    path = hgn.rollout(model, hgn.graphs.frame(data, 0), hgn.Every(20, 20), dt=0.02)
    written = hgn.read(folder / "run.h5", rates=False)
    q = np.asarray(written.nodes["position"]).reshape(21, 5, 2)
    np.testing.assert_allclose(q, path.position, atol=1e-9)
    assert (run_of_ring["frames"], run_of_ring["dt"]) == (21, 0.02)
    assert run_of_ring["energy"] == pytest.approx(float(path.energy[0]))


def test_steps_that_would_not_be_written_are_refused(folder, run_of_ring):
    arguments = ("rollout", folder / "ring.hgn", folder / "ring.csv", *RING, "--dt", 0.02)
    result = run(*arguments, "-o", folder / "none.h5", "--steps", 10, "--every", 20)
    assert result.exit_code == 2 and "--every 20 is more than --steps 10" in result.output
    assert "20 steps of 0.02" in said(
        *arguments, "-o", folder / "some.h5", "--steps", 25, "--every", 10
    )


@pytest.mark.parametrize("kind", ["tracks", "phase", "energy", "view"])
def test_plot_draws_the_run(folder, run_of_ring, kind):
    shown = json.loads(said("plot", folder / "run.h5", kind, "--json"))
    start = b"<!DOCTYPE html>" if kind == "view" else b"\x89PNG"
    with open(shown["picture"], "rb") as file:
        assert file.read().startswith(start)


def test_evaluate_says_what_the_metrics_say_and_writes_predictions(folder, fitted_ring):
    record = json.loads(
        said("evaluate", folder / "ring.hgn", folder / "ring.csv", *RING, "-o",
             folder / "predicted.npz", "--json")
    )  # fmt: skip
    model = hgn.load(folder / "ring.hgn")
    data = hgn.read(folder / "ring.csv", edges=[(i, (i + 1) % 5) for i in range(5)], mass=1.0)
    error = float(hgn.metrics.relative_error(model, data)["force"])
    assert record["relative error, force"] == pytest.approx(error, rel=1e-6)
    predicted = hgn.read(folder / "predicted.npz")
    np.testing.assert_allclose(predicted.nodes["force"], model.vector_field(data)[1], rtol=1e-9)
    np.testing.assert_allclose(predicted.globals["energy"], model(data), rtol=1e-9)


def test_info_says_what_is_in_data_models_and_runs(folder, run_of_ring):
    text = said("info", folder / "ring.csv")
    assert "201 frames, 1005 bodies" in text and "no edges in the file" in text
    assert "mass" not in text  # the table has none
    assert "5 to 5 in a frame), 210 edges" in said("info", folder / "run.h5")
    # A format of ASE's alone.
    ase.io.write(folder / "copper.traj", ase.build.bulk("Cu", cubic=True))
    assert "species: 4 of 29" in said("info", folder / "copper.traj")
    low, high = hgn.load(folder / "ring.hgn").pair_range()
    assert f"pair: 24 coefficients, trained from {low:.4g} to {high:.4g}" in said(
        "info", folder / "ring.hgn"
    )


def test_the_exported_table_holds_force_and_its_integral(folder, fitted_ring):
    said("export", folder / "ring.hgn", "--to", "lammps-table", "-o", folder / "ring.table")
    rows = (folder / "ring.table").read_text().split("\n\n")[1]
    index, r, energy, force = np.loadtxt(rows.splitlines()).T
    assert list(index) == list(range(1, 2001))
    np.testing.assert_allclose(force, 1 - r, atol=1e-3)
    np.testing.assert_allclose(np.gradient(energy, r)[1:-1], -force[1:-1], atol=1e-5)
    said("export", folder / "ring.hgn", "--to", "json", "-o", folder / "ring.json")
    (pair,) = json.loads((folder / "ring.json").read_text())["pairs"]
    np.testing.assert_allclose(pair["force"], force, rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("info", "nowhere.csv"), "nowhere.csv: no such file or directory"),
        (("info", "notes.foo"), "unknown suffix '.foo'"),
        (("check", "ring.csv"), "give --edges"),
        (("check", "ring.csv", "--edges", "some"), "--edges must be"),
        (("check", "ring.csv", "--edges", "0-9", "--mass", "1"), "names a node outside 0..4"),
        (("fit", "ring.csv", "-o", "no/m.hgn", *RING), "the folder 'no' does not exist"),
        (("fit", "ring.csv", "-o", "m.hgn", *RING, "--terms", "pear"), "unknown term 'pear'"),
        (("plot", "ring.csv", "potential"), "potential cannot be drawn of data"),
        (("plot", "ring.hgn", "parity"), "give --data FILE"),
        (("rollout", "ring.hgn", "ring.csv", "-o", "ring.csv", *RING), "ring.csv exists"),
    ],
)
def test_errors_are_one_line_on_stderr(folder, fitted_ring, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    (folder / "notes.foo").write_text("neither data nor a model")
    result = run(*arguments)
    assert result.exit_code == 2 and not result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and words in line


@pytest.fixture(scope="module")
def stars(tmp_path_factory):
    """A table of two stars around each other, and the same with names that are not usual."""
    folder = tmp_path_factory.mktemp("stars")
    times = 0.05 * np.arange(80)
    angle = 0.8 * times[:, None] + np.array([0, np.pi])
    x = np.stack([np.cos(angle), np.sin(angle)], axis=2) * np.array([[0.5], [1.0]])
    rows = np.column_stack([times, x.reshape(80, 4)])
    for name, head in {
        "usual": "time,x1,y1,x2,y2",
        "own": "clock [day],big east [AU],big north [AU],small east [AU],small north [AU]",
    }.items():
        np.savetxt(folder / f"{name}.csv", rows, delimiter=",", header=head, comments="")
    return folder


OWN = (
    "--columns", "time=clock", "--columns", "big=big east,big north",
    "--columns", "small=small east,small north",
)  # fmt: skip


def test_columns_with_other_names_and_units(stars):
    how = ("--mass", "2,1", "--coupling", "mass", "--terms", "pair=16", "--json")
    usual, own = (
        json.loads(said("fit", stars / file, "-o", stars / "m.hgn", *how, *options))
        for file, options in (
            ("usual.csv", ("--edges", "0-1")),
            ("own.csv", ("--edges", "big-small", *OWN)),
        )
    )
    assert own["relative_error"] == usual["relative_error"]
    in_km = ("--units", "length=km,time=day,mass=kg")
    said("check", stars / "own.csv", "--edges", "big-small", "--mass", "1", *OWN, *in_km)
    far = said("check", stars / "own.csv", "--edges", "3e8", "--mass", "1", *OWN, *in_km)
    near = said("check", stars / "own.csv", "--edges", "2e8", "--mass", "1", *OWN, *in_km)
    # Their distance is 1.5 AU = 2.24e8 km.
    assert " 0 edges" not in far and " 0 edges" in near
    close = said("check", stars / "own.csv", "--edges", "1e-3", "--mass", "1", *OWN)
    assert " 0 edges" in close
    assert "time: 0 to 3.95" in said("info", stars / "own.csv", *OWN)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "name them by --columns time=t --columns sun=x1,y1 --columns earth=x2,y2"),
        (("--columns", "clock"), "--columns must be NAME=COLUMN"),
        ((*OWN, "--columns", "big=clock"), "--columns names 'big' twice"),
        ((*OWN, "--columns", "big.velocity=clock"), "'big.velocity' twice"),
        ((*OWN, "--units", "imperial"), 'must be "ase", "si" or'),
        ((*OWN, "--units", "length=km"), "missing time, mass"),
        ((*OWN, "--edges", "big-tiny"), "edges: no body 'tiny'"),
    ],
)
def test_wrong_columns_units_and_names(stars, options, words):
    rest = () if "--edges" in options else ("--edges", "all")
    result = run("check", stars / "own.csv", "--mass", "1", *rest, *options)
    assert result.exit_code == 2 and words in result.stderr, result.stderr


def test_units_that_do_not_go_together(stars):
    """A look at such a file converts them, too; the error says how."""
    lines = ["time [s],x1 [m],x2 [m],vx1 [cm/s],vx2 [cm/s]"]
    lines += [f"{t},{t**2},{-t},{200 * t},-100" for t in 0.1 * np.arange(30)]
    (stars / "mixed.csv").write_text("\n".join(lines))
    result = run("info", stars / "mixed.csv")
    assert "convert all by --units, such as --units length=nm,time=ps,mass=u" in result.stderr
    assert "velocity" in said("info", stars / "mixed.csv", "--units", "si")
    said("plot", stars / "mixed.csv", "tracks", "-o", stars / "m.png", "--units", "si")


def test_debug_shows_the_error_itself(tmp_path, monkeypatch):
    assert isinstance(run("--debug", "info", tmp_path / "no.csv").exception, FileNotFoundError)
    monkeypatch.setenv("HGN_TRACEBACK", "1")
    assert isinstance(run("info", tmp_path / "no.csv").exception, FileNotFoundError)


def test_ctrl_c_leaves_the_frames_so_far(folder, fitted_ring, monkeypatch):
    """The outputs that were written before can be read, and the exit code is that of a signal."""
    from hgn_jax.dynamics import host_loop

    count = iter(range(1000))
    plain = host_loop.Reporter.__call__

    def interrupted(self, *args, **kwargs):
        k = next(count)
        if k == 5:
            time.sleep(1.0)  # writing is due again
        if k == 9:
            raise KeyboardInterrupt
        plain(self, *args, **kwargs)

    monkeypatch.setattr(host_loop.Reporter, "__call__", interrupted)
    result = run("rollout", folder / "ring.hgn", folder / "ring.csv", "-o", folder / "cut.h5",
                 *RING, "--steps", 400, "--every", 20, "--dt", 0.02)  # fmt: skip
    assert result.exit_code == 130 and "interrupted" in result.stderr
    frames = hgn.read(folder / "cut.h5", rates=False)
    assert 2 <= len(frames.n_node) < 21


@pytest.mark.parametrize(
    "name", ["info", "check", "fit", "evaluate", "rollout", "plot", "export", "demo"]
)
def test_every_command_has_help_with_an_example(name):
    assert f"Example: hgn-jax {name}" in " ".join(said(name, "--help").split())
