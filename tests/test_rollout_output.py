"""Rollouts that write H5MD while they run: killed, resumed, refused, on a full disk."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import equinox as eqx
import h5py
import jax
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.dynamics import host_loop, output_file
from hgn_jax.io import checkpoint, lock
from hgn_jax.io.atomic import hidden_name

ROOT = Path(__file__).parent.parent
EVERY = hgn.Every(5, 30)


@pytest.fixture(scope="module")
def start(moving_lattice):
    return moving_lattice


def rolled(springs, start, every=EVERY, **options):
    return hgn.rollout(springs, start, every, dt=0.01, observables=[hgn.Temperature()], **options)


def held(file):
    with h5py.File(file, "r") as opened:
        group = opened["particles/trajectory"]
        return {
            "position": group["position/value"][:],
            "momentum": group["momentum/value"][:],
            "time": group["position/time"][:],
            "step": group["position/step"][:],
            "energy": opened["observables/energy/value"][:],
            "temperature": opened["observables/temperature/value"][:],
        }


def assert_holds(file, path, frames=None):
    found = held(file)
    expected = {
        "position": path.position, "momentum": path.momentum, "time": path.times,
        "step": np.arange(len(path.times)),
        "energy": path.energy, "temperature": path.observed["temperature"],
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values[:frames], err_msg=name)


def test_the_file_holds_the_rollout_which_is_the_same_without_it(springs, start, tmp_path):
    path = rolled(springs, start, output=tmp_path / "run.h5")
    assert_holds(tmp_path / "run.h5", path)
    assert eqx.tree_equal(path, rolled(springs, start, progress=lambda _: None))
    assert [f.name for f in tmp_path.iterdir()] == ["run.h5"]
    hgn.write(tmp_path / "after.h5", path)
    assert_holds(tmp_path / "after.h5", path)


def test_quantities_can_be_written_without_states(springs, start, tmp_path):
    path = rolled(springs, start, states=False, output=tmp_path / "run.h5")
    with h5py.File(tmp_path / "run.h5") as file:
        np.testing.assert_array_equal(file["observables/energy/value"], path.energy)
        np.testing.assert_array_equal(file["observables/energy/time"], path.times)
        assert "position" not in file["particles/trajectory"]


def test_outputs_can_be_read_while_the_rollout_runs(springs, start, tmp_path, monkeypatch):
    monkeypatch.setattr(output_file, "SHARE", 1e9)
    counts = []
    advance = host_loop._advance

    def reading(*arguments):
        # Within one process HDF5 wants all to lock, or none; other processes may do as they like.
        with h5py.File(tmp_path / "run.h5", "r", locking=False) as file:
            if "particles" in file:
                counts.append(len(file["particles/trajectory/position/value"]))
        return advance(*arguments)

    monkeypatch.setattr(host_loop, "_advance", reading)
    rolled(springs, start, output=tmp_path / "run.h5")
    assert counts[-1] >= 29 and len(set(counts)) >= 20


PROGRAM = """
import jax, sys
jax.config.update("jax_enable_x64", True)
import numpy as np, hgn_jax as hgn
from hgn_jax.dynamics import output_file
from hgn_jax.io import checkpoint
output_file.SHARE = checkpoint.SHARE = 1e9
start = hgn.graphs.lattice((3, 3), mass=np.linspace(1.0, 2.0, 9))
push = np.random.default_rng(3).normal(0, 0.3, (9, 2))
start = start._replace(nodes=start.nodes | {"momentum": jax.numpy.asarray(push)})
springs = hgn.systems.mass_spring("spring", rest_length=1.0)
path = hgn.rollout(springs, start, hgn.Every(2, int(sys.argv[1])), dt=0.01, output="run.h5",
                   checkpoint=sys.argv[2] if len(sys.argv) > 2 else None)
np.save("position.npy", path.position)
"""


def test_a_killed_rollout_leaves_a_file_that_opens_and_is_resumed(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def run(outputs, folder):
        command = [sys.executable, "-c", PROGRAM, outputs, "checkpoint"]
        folder.mkdir(exist_ok=True)
        return subprocess.Popen(command, cwd=folder, env=environment)

    process = run("100000", tmp_path / "cut")
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        files = list((tmp_path / "cut").glob("checkpoint/outputs-*"))
        if len(files) > 20:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with h5py.File(tmp_path / "cut" / "run.h5", "r") as file:
        position = file["particles/trajectory/position/value"][:]
        assert len(file["observables/energy/value"]) == len(position) > 10
    assert np.isfinite(position).all() and (position[1:] != position[:-1]).any(axis=(1, 2)).all()
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    outputs = str(len(position) + 50)
    for folder in (whole, cut):
        assert run(outputs, folder).wait() == 0
    expected = np.load(whole / "position.npy")
    for folder in (whole, cut):
        with h5py.File(folder / "run.h5", "r") as file:
            np.testing.assert_array_equal(file["particles/trajectory/position/value"], expected)
    np.testing.assert_array_equal(position, expected[: len(position)])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("ahead", ["file", "checkpoint"])
def test_file_and_checkpoint_agree_after_resuming(springs, start, tmp_path, monkeypatch, ahead):
    """Whichever of the two was written last, no frame is lost or doubled."""
    whole = rolled(springs, start, progress=lambda _: None)
    shares = {"file": (1e9, 0.0), "checkpoint": (0.0, 1e9)}[ahead]
    monkeypatch.setattr(output_file, "SHARE", shares[0])
    monkeypatch.setattr(checkpoint, "SHARE", shares[1])
    both = {"output": tmp_path / "run.h5", "checkpoint": tmp_path / "saved"}
    calls, output = [], host_loop._output

    def dying(*arguments):
        calls.append(None)
        if len(calls) == 17:
            raise Killed
        return output(*arguments)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(host_loop, "_output", dying)
        rolled(springs, start, **both)
    cut = len(held(tmp_path / "run.h5")["time"])
    assert cut == (16 if ahead == "file" else 1)
    assert_holds(tmp_path / "run.h5", whole, cut)
    assert eqx.tree_equal(rolled(springs, start, **both), whole)
    assert_holds(tmp_path / "run.h5", whole)
    longer = rolled(springs, start, hgn.Every(5, 40), **both)
    assert_holds(tmp_path / "run.h5", longer)


def test_other_files_are_never_touched(springs, start, tmp_path):
    file = tmp_path / "run.h5"
    rolled(springs, start, output=file)
    before = file.read_bytes()
    for options in ({}, {"checkpoint": tmp_path / "saved"}):
        with pytest.raises(FileExistsError, match="exists, and is not the output of this call"):
            hgn.rollout(springs, start, EVERY, dt=0.02, output=file, **options)
        assert file.read_bytes() == before
    file.write_bytes(b"no HDF5")
    with pytest.raises(FileExistsError, match=r"give another path, or remove it.*run\.h5"):
        rolled(springs, start, output=file, checkpoint=tmp_path / "saved")
    assert file.read_bytes() == b"no HDF5"


def test_a_damaged_checkpoint_leaves_the_output_as_it_is(springs, start, tmp_path):
    both = {"output": tmp_path / "run.h5", "checkpoint": tmp_path / "saved"}
    path = rolled(springs, start, **both)
    for state in (tmp_path / "saved").glob("state*"):
        state.write_bytes(state.read_bytes()[:-50])
    with pytest.raises(ValueError, match="saved"):
        rolled(springs, start, **both)
    assert_holds(tmp_path / "run.h5", path)


def test_a_rollout_that_fails_at_once_leaves_no_file(springs, start, tmp_path, monkeypatch):
    def failing(*_):
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(host_loop, "_start", failing)
        rolled(springs, start, output=tmp_path / "run.h5")
    assert not list(tmp_path.iterdir())
    rolled(springs, start, output=tmp_path / "run.h5")


def test_outputs_before_a_blow_up_are_written(start, tmp_path):
    stiff = hgn.systems.mass_spring("spring", rest_length=1.0, stiffness=1e4)
    path = hgn.rollout(
        stiff, start, hgn.Every(20, 30), dt=0.2, output=tmp_path / "run.h5", throw=False
    )
    assert not path.finite
    with h5py.File(tmp_path / "run.h5") as file:
        values = file["particles/trajectory/position/value"][:]
    assert 0 < len(values) < 31
    np.testing.assert_array_equal(values, path.position[: len(values)])


def hold(path, ready, done):
    descriptor = lock.acquire(path)
    ready.set()
    done.wait(60)
    os.close(descriptor)


def test_two_processes_do_not_write_one_output(springs, start, tmp_path):
    target = (tmp_path / "run.h5").resolve()
    name = tmp_path / f"{hidden_name(target)}.lock"
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(name, ready, done))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(RuntimeError, match=rf"another run \(process {other.pid} on .* output"):
            rolled(springs, start, output=tmp_path / "run.h5")
        assert not (tmp_path / "run.h5").exists()
    finally:
        done.set()
        other.join()
    rolled(springs, start, output=tmp_path / "run.h5")


FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of processes")
def test_a_full_disk_is_named_and_what_fits_remains(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL + PROGRAM, "3000"],
        cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1]
    assert "OSError" in last and "File too large; the first" in last and "'run.h5'" in last
    written = int(re.search(r"the first (\d+) outputs are in the file", last)[1])
    with h5py.File(tmp_path / "run.h5", "r") as file:
        position = file["particles/trajectory/position/value"][:]
    assert written == len(position) > 10
    assert (position[1:] != position[:-1]).any(axis=(1, 2)).all()


def test_places_and_names_that_cannot_be(springs, start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"folder 'no' does not exist: 'no/run\.h5'"):
        rolled(springs, start, output="no/run.h5")
    with pytest.raises(ValueError, match=r"run\.npz: output must end in \.h5, \.hdf5, \.h5md"):
        rolled(springs, start, output="run.npz")
    with pytest.raises(ValueError, match="progress, checkpoint, output and until need concrete"):
        jax.jit(lambda g: rolled(springs, g, output="run.h5"))(start)
    assert not list(tmp_path.iterdir())
