"""A stream in processes that are killed, on many devices, and in two processes."""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from streams import PIECES, assert_another, assert_same_model, held, same_bits, stream

import hgn_jax as hgn

START = """
import json, os, pickle, signal, sys
import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
if len(sys.argv) > 1:
    rank, port = map(int, sys.argv[1:])
    jax.distributed.initialize(f"localhost:{port}", 2, rank)

import hgn_jax as hgn
from hgn_jax.fitting import accumulate as module
from hgn_jax.io import checkpoint

checkpoint.SHARE = 1e9  # after every batch
with open("given", "rb") as file:
    pieces = jax.tree.map(jax.numpy.asarray, pickle.load(file))


def stream(batches, **options):
    specs = (hgn.Kinetic(4), hgn.Pair(16))
    return hgn.fit_stream(batches, key=jax.random.key(3), terms=specs, **options)


def until(batches, number, end):
    for i, batch in enumerate(batches):
        if i == number:
            end()
        yield batch


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def keep(name, fit):
    assert fit.rows == 2880
    hgn.save(name, fit.model)


"""


@pytest.fixture(scope="module")
def start(tmp_path_factory, pieces):
    """Starts a script in a folder that holds the data."""
    started = []

    def start(source, *arguments, folder=None, flags=""):
        folder = folder or tmp_path_factory.mktemp("process")
        (folder / "given").write_bytes(pickle.dumps(jax.tree.map(np.asarray, pieces)))
        process = subprocess.Popen(
            [sys.executable, "-c", START + source, *map(str, arguments)],
            cwd=folder,
            env=os.environ
            | {
                "PYTHONPATH": str(Path(hgn.__file__).parent.parent),
                "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flags}",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, folder

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finished(process, code=0):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    return output


def test_a_killed_process_loses_no_batch(start, pieces, straight, extended):
    process, folder = start('stream(until(pieces, 7, die), checkpoint="run")')
    finished(process, -signal.SIGKILL)
    assert held(folder / "run") == 7
    extended.clear()
    assert same_bits(stream(pieces, checkpoint=str(folder / "run")), straight)
    assert len(extended) == PIECES - 7


def test_eight_devices_take_the_batches_in_turn(start, pieces, straight, unseen):
    process, folder = start(
        """
places, original = [], module._extended


def recorded(*arguments):
    after = original(*arguments)
    arrays = jax.tree.leaves(arguments[0]) + jax.tree.leaves(arguments[2]) + jax.tree.leaves(after)
    places.append(sorted({d.id for a in arrays for d in a.devices()}))
    return after


module._extended = recorded
mesh = jax.sharding.Mesh(jax.devices(), ("data",))
keep("out", stream(pieces, mesh=mesh, checkpoint="run"))
try:
    stream(until(pieces, 10, lambda: 1 / 0), mesh=mesh, checkpoint="again")
except ZeroDivisionError:
    keep("resumed", stream(pieces, mesh=mesh, checkpoint="again"))
print(json.dumps(places))
""",
        flags="--xla_force_host_platform_device_count=8",
    )
    turns = [[i % 8] for i in range(PIECES)]
    assert json.loads(finished(process)) == turns + turns
    assert_same_model(hgn.load(folder / "out"), straight.model, unseen)
    assert (folder / "resumed").read_bytes() == (folder / "out").read_bytes()
    assert held(folder / "run") == PIECES
    assert_another(folder / "run", pieces, "number of devices")


@pytest.fixture(scope="module")
def pair(start, tmp_path_factory):
    """Two processes, every other batch each; the second one is killed in a second stream."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    source = """
mine = pieces[rank::2]
fit = stream(mine, checkpoint="run")
keep(f"out{rank}", fit)
try:
    stream(until(mine, 3, die) if rank else mine, checkpoint="lost")
except Exception as error:
    print(type(error).__name__, error, flush=True)
os._exit(0)  # JAX would wait for the other process
"""
    folder = tmp_path_factory.mktemp("pair")
    both = [start(source, rank, port, folder=folder)[0] for rank in range(2)]
    return folder, finished(both[0]), finished(both[1], -signal.SIGKILL)


def test_two_processes_return_one_model_with_the_features_of_the_first(pair, straight, unseen):
    folder, *_ = pair
    assert (folder / "out0").read_bytes() == (folder / "out1").read_bytes()
    assert_same_model(hgn.load(folder / "out0"), straight.model, unseen)
    assert [held(folder / f"run.{rank}") for rank in range(2)] == [PIECES // 2] * 2


def test_a_lost_process_is_said_and_the_checkpoints_stay(pair):
    folder, output, _ = pair
    assert "\nRuntimeError process 0 of 2: another process was lost" in f"\n{output}"
    assert "The checkpoints remain" in output
    assert [held(folder / f"lost.{rank}") for rank in range(2)] == [PIECES // 2, 3]
