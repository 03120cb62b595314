import errno
import gc
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax import checkpoint as checkpoint_module
from hgn_jax import container
from hgn_jax import stream as stream_module
from hgn_jax.graphs.geometry import bodies, distance

KEY = jr.key(3)
SPECS = (hgn.Kinetic(4), hgn.Pair(16))
SIZE, PIECES = 5, 12
ROWS_OF_A_PIECE = SIZE * 8 * 3 * 2


@pytest.fixture(scope="module")
def data(cube, springs):
    return hgn.systems.simulate(springs, cube, key=jr.key(0), trajectories=SIZE * PIECES)


@pytest.fixture(scope="module")
def pieces(data):
    """All of one shape. Piece i holds trajectories 5i to 5i + 4."""
    return tuple(hgn.graphs.chunks(data, SIZE))


@pytest.fixture(scope="module")
def unseen(data):
    """States between those of the data."""
    return data._replace(
        nodes=data.nodes | {k: 0.9 * data.nodes[k] for k in ("position", "momentum")}
    )


@pytest.fixture(scope="module")
def straight(pieces):
    """The uninterrupted result."""
    return stream(pieces)


@pytest.fixture(scope="module")
def whole(data):
    """The fit to all data at once."""
    return hgn.fit(data, key=KEY, features=SPECS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.ckpt"


@pytest.fixture
def eager(monkeypatch):
    """Checkpoints after every batch."""
    monkeypatch.setattr(checkpoint_module, "SHARE", 1e9)


@pytest.fixture
def lazy(monkeypatch):
    """Checkpoints at the start and the end alone, or when something fails."""
    monkeypatch.setattr(checkpoint_module, "SHARE", -1.0)


@pytest.fixture
def extended(monkeypatch):
    """The batches whose rows were evaluated."""
    batches, original = [], stream_module._extended

    def recorded(before, equations, batch):
        batches.append(batch)
        return original(before, equations, batch)

    monkeypatch.setattr(stream_module, "_extended", recorded)
    return batches


def stream(batches, **options):
    return hgn.fit_stream(batches, **{"key": KEY, "features": SPECS, **options})


def until(batches, number, error=None):
    """The batches before that number, then an error of the user's own."""
    for i, batch in enumerate(batches):
        if i == number:
            raise error or KeyError("mine")
        yield batch


def interrupted(batches, number, path, **options):
    with pytest.raises(KeyError, match="mine"):
        stream(until(batches, number), checkpoint=str(path), **options)


def held(path):
    """The number of batches in the checkpoint."""
    return json.loads(path.read_bytes().split(b"\n", 1)[0])["batches"]


def with_nodes(batch, **arrays):
    return batch._replace(nodes=batch.nodes | arrays)


def broken(batch, frame, node, value=np.nan):
    velocity = np.array(batch.nodes["velocity"])
    velocity[8 * frame + node, 1] = value
    return with_nodes(batch, velocity=jnp.asarray(velocity))


def replaced(items, number, item):
    return [*items[:number], item, *items[number + 1 :]]


def same_bits(a, b):
    leaves = [jax.tree.leaves(eqx.filter(x, eqx.is_array)) for x in (a, b)]
    arrays = [[np.asarray(leaf) for leaf in mine] for mine in leaves]
    return [(a.shape, a.dtype, a.tobytes()) for a in arrays[0]] == [
        (a.shape, a.dtype, a.tobytes()) for a in arrays[1]
    ]


evaluated = eqx.filter_jit(lambda model, graphs: (model(graphs), *model.vector_field(graphs)))


def assert_same_model(a, b, graphs, tolerance=1e-10):
    """In energies, velocities and forces."""
    for x, y in zip(evaluated(a, graphs), evaluated(b, graphs), strict=True):
        assert np.isfinite(y).all() and y.any()
        assert np.linalg.norm(x - y) <= tolerance * np.linalg.norm(y)


def assert_one_fit(a, b, graphs):
    """The same rows were solved, in whatever order."""
    assert_same_model(a.model, b.model, graphs)
    assert a.rows == b.rows
    assert a.constant_known == b.constant_known
    for x, y in zip(a.model.constants, b.model.constants, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-8)  # what the pair energies leave over
    for name, range_ in b.trained_range.items():
        np.testing.assert_array_equal(a.trained_range[name], range_)


# One fit to everything


def test_a_stream_of_pieces_is_the_fit_to_the_whole(data, pieces, unseen, whole):
    streamed = stream(pieces, sample_from=data)
    assert_one_fit(streamed, whole, unseen)
    assert streamed.rows == PIECES * ROWS_OF_A_PIECE


def test_with_guided_features_and_energies_as_well(data, pieces, unseen):
    swim = hgn.Swim(passes=2)
    options = {
        "features": (hgn.Kinetic(4, sampling=swim), hgn.Pair(16, sampling=swim)),
        "observations": (hgn.Derivatives(), hgn.Energies()),
    }
    streamed = stream(pieces, sample_from=data, **options)
    assert_one_fit(streamed, hgn.fit(data, key=KEY, **options), unseen)
    assert streamed.rows == PIECES * (ROWS_OF_A_PIECE + SIZE)


def test_observed_energies_determine_the_constant(data, straight):
    assert straight.energies_observed and straight.constant_known
    error = evaluated(straight.model, data)[0] - data.globals["energy"]
    assert np.abs(error).max() < 1e-3 * np.std(data.globals["energy"])


def test_generators_lists_and_numpy_arrays_give_the_same_bits(pieces, straight):
    assert same_bits(stream(iter(pieces)), straight)
    arrays = [jax.tree.map(np.asarray, p) for p in pieces[1:]]
    assert same_bits(stream([pieces[0], *arrays]), straight)


def test_the_order_of_batches_does_not_matter(pieces, straight, unseen):
    again = stream(pieces[::-1], sample_from=pieces[0])
    assert_one_fit(again, straight, unseen)


def test_the_data_sampled_from_are_not_learned_from(pieces):
    assert stream(pieces[:2], sample_from=pieces[0]).rows == 2 * ROWS_OF_A_PIECE
    assert stream(pieces[1:2], sample_from=pieces[0]).rows == ROWS_OF_A_PIECE


def test_without_sample_from_the_first_batch_is_sampled_from(data, pieces, straight):
    drawn = hgn.sample(SPECS, pieces[0], key=KEY)
    for a, b in zip(jax.tree.leaves(drawn), jax.tree.leaves(straight.model.features), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    first = hgn.graphs.take(data, np.arange(len(data.n_node)) < SIZE)
    r = np.asarray(distance(first))
    np.testing.assert_allclose(straight.trained_range["pair"], [[r.min(), r.max()]], rtol=1e-14)
    every = np.asarray(distance(data))
    assert np.ptp(every) > np.ptp(r)


def test_the_first_batch_settles_the_weights(data, pieces, unseen):
    """It is slower than the others by a hundred: so are the floors of the weights."""
    slow = with_nodes(pieces[0], velocity=pieces[0].nodes["velocity"] / 100)
    streamed = stream((slow, *pieces[1:]))
    settled = hgn.relative_weights.settled(slow)
    np.testing.assert_allclose(streamed.equations.weights.floors, settled.floors, rtol=1e-14)
    velocity = np.array(data.nodes["velocity"])
    velocity[: SIZE * 8] /= 100
    whole = with_nodes(data, velocity=jnp.asarray(velocity))
    features = hgn.sample(SPECS, slow, key=KEY)
    assert_one_fit(streamed, hgn.solve(features, whole, weights=settled), unseen)
    floors = hgn.relative_weights.settled(whole).floors
    assert floors[0] > 50 * settled.floors[0]


# Bad batches


def test_a_bad_batch_is_named_and_after_mending_the_stream_goes_on(
    pieces, straight, path, lazy, extended
):
    bad = replaced(pieces, 7, broken(pieces[7], frame=3, node=2))
    words = r"batch 7: nodes\['velocity'\] is NaN or Inf in frame 3, node 2 "
    with pytest.raises(ValueError, match=words):
        stream(bad, checkpoint=str(path))
    assert held(path) == 7 and len(extended) == 7
    mended = stream(pieces, checkpoint=str(path))
    assert same_bits(mended, straight)
    assert len(extended) == PIECES
    assert held(path) == PIECES


def test_a_bad_first_batch_is_named(pieces, path):
    with pytest.raises(ValueError, match=r"batch 0: .* frame 1, node 0 "):
        stream([broken(pieces[0], 1, 0), *pieces[1:]], checkpoint=str(path))
    with pytest.raises(ValueError, match=r"sample_from: .* frame 1, node 0 "):
        stream(pieces, sample_from=broken(pieces[0], 1, 0))
    assert not path.exists()


def in_the_plane(piece):
    return with_nodes(piece, **{k: v[:, :2] for k, v in piece.nodes.items() if v.ndim == 2})


def narrow(piece):
    return jax.tree.map(lambda a: a.astype("float32") if a.dtype == "float64" else a, piece)


def without_energy(piece):
    return piece._replace(globals={k: v for k, v in piece.globals.items() if k != "energy"})


def with_weight(piece):
    return with_nodes(piece, weight=jnp.ones_like(piece.nodes["mass"]))


def heavy_in_32_bit(piece):
    return with_nodes(piece, mass=piece.nodes["mass"].astype("float32"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_energy, r"globals hold \[\], those before \['energy'\]"),
        (with_weight, r"nodes hold .*'weight'\], those before \["),
        (in_the_plane, r"nodes\['\w+'\] is float64 \[_, \(2,\)\], .* float64 \[_, \(3,\)\]"),
        (narrow, r"nodes\['\w+'\] is float32 .* float64"),
        (heavy_in_32_bit, r"nodes\['mass'\] is float32 .* float64"),
    ],
    ids=["without energy", "with weight", "in the plane", "float32", "mass in float32"],
)
def test_batches_unlike_the_first_are_named_with_the_array(pieces, path, change, words):
    odd = jax.tree.map(jnp.asarray, change(pieces[2]))
    with pytest.raises(ValueError, match=f"batch 2: {words}"):
        stream(replaced(pieces, 2, odd), checkpoint=str(path))
    assert held(path) == 2


def test_edge_types_that_the_first_batch_did_not_have_are_refused(pieces):
    def typed(piece, kind):
        return piece._replace(edges={"type": jnp.full(piece.senders.shape, kind, jnp.int32)})

    with pytest.raises(ValueError, match=r"batch 0: .* know 1 edge types, .* edge type 1"):
        stream([typed(pieces[1], 1)], sample_from=typed(pieces[0], 0))


def test_time_and_trajectory_may_be_missing(pieces, straight):
    bare = pieces[4]._replace(globals={"energy": pieces[4].globals["energy"]})
    assert set(pieces[4].globals) == {"energy", "time", "trajectory"}
    assert same_bits(stream(replaced(pieces, 4, bare)), straight)


# Streams that end early


def test_an_empty_stream_is_refused(pieces, path):
    with pytest.raises(ValueError, match="the stream has no batch"):
        stream([], checkpoint=str(path))


def test_an_empty_stream_is_refused_with_data_to_sample_from_too(pieces):
    with pytest.raises(ValueError, match="no batch"):
        stream([], sample_from=pieces[0])


def test_a_stream_shorter_than_its_checkpoint_is_refused(pieces, path):
    stream(pieces[:4], checkpoint=str(path))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="holds 4 batches, but the stream gave only 3"):
        stream(pieces[:3], checkpoint=str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_whatever_stops_the_stream_is_passed_on_and_the_batches_before_are_kept(
    pieces, straight, path, lazy, extended, error
):
    with pytest.raises(type(error)) as caught:
        stream(until(pieces, 9, error), checkpoint=str(path))
    assert caught.value is error
    assert held(path) == 9
    assert same_bits(stream(pieces, checkpoint=str(path)), straight)
    assert len(extended) == PIECES


@pytest.mark.parametrize("number", [1, PIECES - 1])
def test_a_stream_may_stop_anywhere(pieces, straight, path, lazy, number):
    interrupted(pieces, number, path)
    assert held(path) == number
    assert same_bits(stream(pieces, checkpoint=str(path)), straight)


# Checkpoints


def test_checkpoints_change_nothing(pieces, straight, path, eager):
    assert same_bits(stream(pieces, checkpoint=str(path)), straight)


def test_running_again_after_the_end_gives_the_same_bits_and_evaluates_nothing(
    pieces, straight, path, extended
):
    stream(pieces, checkpoint=str(path))
    before = len(extended), path.read_bytes()
    assert same_bits(stream(pieces, checkpoint=str(path)), straight)
    assert (len(extended), path.read_bytes()) == before


def test_more_batches_go_on_from_the_end(pieces, straight, path, extended):
    stream(pieces[:5], checkpoint=str(path))
    assert same_bits(stream(pieces, checkpoint=str(path)), straight)
    assert len(extended) == PIECES


def test_the_file_does_not_grow(pieces, path, eager):
    sizes = []

    def watched():
        for piece in 5 * pieces:
            sizes.append(path.stat().st_size)
            yield piece

    stream(watched(), sample_from=pieces[0], checkpoint=str(path))
    assert held(path) == 5 * PIECES
    assert max(sizes[1:]) - sizes[1] <= 1  # the digits of the number of batches
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_writing_takes_a_twentieth_of_the_time(pieces, path, monkeypatch):
    """A write takes one second, a batch four: the next write is due after five batches."""
    now, writes, write = [0.0], [], container.write

    def slow(*args):
        now[0] += 1
        writes.append(now[0])
        write(*args)

    def batches():
        for piece in 5 * pieces:
            now[0] += 4
            yield piece

    monkeypatch.setattr(container, "write", slow)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    stream(batches(), sample_from=pieces[0], checkpoint=str(path))
    first, *inner, last = writes
    assert (first, last) == (1, 5 * PIECES * 4 + len(writes))
    assert np.diff([first, *inner]).tolist() == [21] * 12


@pytest.mark.parametrize("folder", ["none", "a file"])
def test_an_impossible_folder_shows_before_the_first_batch(pieces, tmp_path, extended, folder):
    (tmp_path / "a file").write_bytes(b"")
    path = tmp_path / folder / "run.ckpt"
    with pytest.raises(OSError, match=r"run\.ckpt") as caught:
        stream(pieces, checkpoint=str(path))
    assert caught.value.filename == str(path)
    assert "there is none yet" in str(caught.value)
    assert not extended


def test_a_folder_without_permission_shows_before_the_first_batch(
    pieces, path, extended, monkeypatch
):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(container.tempfile, "mkstemp", denied)
    with pytest.raises(PermissionError, match="Permission denied") as caught:
        stream(pieces, checkpoint=str(path))
    assert caught.value.filename == str(path)
    assert not extended


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_midway_keeps_the_old_checkpoint(
    pieces, straight, path, eager, monkeypatch, function
):
    original, calls = getattr(os, function), []

    def full(*args):
        calls.append(args)
        if len(calls) > 4:  # one at the start, three after batches
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args)

    with monkeypatch.context() as patched:
        patched.setattr(os, function, full)
        with pytest.raises(OSError, match=r"No space left.* what it held remains") as caught:
            stream(pieces, checkpoint=str(path))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    assert held(path) == 3
    assert list(path.parent.iterdir()) == [path]
    assert same_bits(stream(pieces, checkpoint=str(path)), straight)


def assert_another(path, batches, **options):
    before = path.read_bytes()
    with pytest.raises(ValueError, match="another fit") as caught:
        stream(batches, checkpoint=str(path), **options)
    assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == before


def test_the_checkpoint_of_another_fit_is_refused(pieces, path):
    interrupted(pieces, 2, path)
    assert_another(path, pieces, key=jr.key(4))
    assert_another(path, pieces, features=(hgn.Kinetic(0), hgn.Pair(16)))
    assert_another(path, pieces[1:])
    assert_another(path, pieces, sample_from=pieces[1])
    assert_another(path, pieces, observations=(hgn.Derivatives(), hgn.Energies()))
    with pytest.warns(UserWarning, match="fitting in float32"):
        assert_another(path, [narrow(p) for p in pieces])


OTHERS = {
    "activation": ({}, {"features": (hgn.Kinetic(4), hgn.Pair(16, activation="erf"))}),
    "weights": (
        {"weights": hgn.uniform_weights},
        {"weights": lambda graphs: (graphs.nodes["mass"], 2 * graphs.nodes["mass"])},
    ),
    "energies": (
        {"observations": (hgn.Derivatives(), hgn.Energies())},
        {"observations": (hgn.Derivatives(), hgn.Energies(weight=100.0))},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_settings_that_are_no_arrays_are_told_apart(pieces, path, name):
    first, second = OTHERS[name]
    interrupted(pieces, 0, path, sample_from=pieces[0], **first)
    assert_another(path, until(pieces, 0), sample_from=pieces[0], **second)


def test_the_same_settings_made_anew_are_accepted(pieces, path):
    interrupted(pieces, 2, path)
    features = (hgn.Kinetic(units=4), hgn.Pair(units=16, sampling=hgn.Elm(1.0)))
    stream(pieces, checkpoint=str(path), features=features, observations=(hgn.Derivatives(),))
    assert held(path) == PIECES


def test_damaged_checkpoints_are_refused_and_left(pieces, path, extended):
    interrupted(pieces, 2, path)
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    extended.clear()
    flips = [10, whole.index(b'"batches": ') + 11, start, start + 999, len(whole) - 1]
    flipped = [whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in flips]
    cut = [whole[:i] for i in (0, 20, start, len(whole) - 1)]
    for content in (*cut, *flipped, whole + b"\0"):
        path.write_bytes(content)
        with pytest.raises(ValueError) as caught:
            stream(pieces, checkpoint=str(path))
        assert str(caught.value).startswith(f"{path}: ")
        assert path.read_bytes() == content
    assert not extended


def test_models_and_checkpoints_are_not_taken_for_each_other(pieces, straight, path):
    hgn.save(path, straight.model)
    with pytest.raises(ValueError, match="not an hgn-jax checkpoint but 'hgn-jax model'"):
        stream(pieces, checkpoint=str(path))
    path.unlink()
    stream(pieces, checkpoint=str(path))
    with pytest.raises(ValueError, match="not an hgn-jax model but 'hgn-jax checkpoint'"):
        hgn.load(path)


# Other processes


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
from hgn_jax import checkpoint
from hgn_jax import stream as module

checkpoint.SHARE = 1e9  # after every batch
with open("given", "rb") as file:
    pieces = jax.tree.map(jax.numpy.asarray, pickle.load(file))


def stream(batches, **options):
    specs = (hgn.Kinetic(4), hgn.Pair(16))
    return hgn.fit_stream(batches, key=jax.random.key(3), features=specs, **options)


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
    assert_another(folder / "run", pieces)  # here is one device


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


# Memory


@pytest.fixture
def memory(monkeypatch):
    """A device on which some batches do not fit."""
    original = stream_module._extended

    def limit(fits):
        def extended(before, equations, batch):
            if not fits(batch):
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")
            return original(before, equations, batch)

        monkeypatch.setattr(stream_module, "_extended", extended)

    return limit


def real_graphs(batch):
    return int((np.asarray(bodies(batch)) > 0).sum())


@pytest.fixture(scope="module")
def three(pieces):
    return stream(pieces[:3])


def test_batches_that_do_not_fit_go_by_halves(pieces, three, unseen, memory):
    memory(lambda batch: real_graphs(batch) <= 3)
    with pytest.warns(UserWarning, match=r"batch \d: \d graphs do not fit into memory") as caught:
        halved = stream(pieces[:3])
    said = [str(w.message).split(" do not fit")[0] for w in caught]
    assert said == [f"batch {i}: 5 graphs" for i in range(3)]
    assert "hgn.graphs.chunks" in str(caught[0].message)
    assert_one_fit(halved, three, unseen)


def test_memory_may_run_out_after_the_start(pieces, three, unseen, monkeypatch):
    """As on a GPU, where the computation is only waited for later."""
    wait, calls = jax.block_until_ready, []

    def failing(tree):
        calls.append(tree)
        if len(calls) == 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")
        return wait(tree)

    monkeypatch.setattr(jax, "block_until_ready", failing)
    with pytest.warns(UserWarning, match="batch 1: 5 graphs do not fit into memory") as caught:
        halved = stream(pieces[:3])
    assert len(caught) == 1
    assert_one_fit(halved, three, unseen)


def test_padding_is_left_out_of_the_halves(data, pieces, memory):
    """Of a batch that is padding mostly: to halve it with its padding would not end."""
    five = hgn.graphs.take(data, np.arange(len(data.n_node)) < 5)
    padded = hgn.graphs.pad(five, nodes=100, edges=200, graphs_=40)
    memory(lambda batch: len(batch.n_node) <= 4)
    with pytest.warns(UserWarning, match="batch 0: 5 graphs do not fit into memory") as caught:
        fit = stream([padded], sample_from=pieces[0])
    assert len(caught) == 1
    assert fit.rows == ROWS_OF_A_PIECE


@pytest.mark.parametrize("often", ["eager", "lazy"])
def test_a_graph_that_does_not_fit_is_named_and_not_in_the_checkpoint(
    pieces, straight, path, memory, request, often
):
    request.getfixturevalue(often)
    memory(lambda batch: 2 * SIZE + 3 not in batch.globals["trajectory"])
    words = "batch 2: a single graph of 8 bodies and 24 edges does not fit into memory"
    with (
        pytest.warns(UserWarning, match=r"batch 2: \d graphs do not fit"),
        pytest.raises(RuntimeError, match=words),
    ):
        stream(pieces, checkpoint=str(path))
    assert held(path) == 2
    memory(lambda batch: True)
    assert same_bits(stream(pieces, checkpoint=str(path)), straight)


def test_other_failures_of_the_device_are_passed_on(pieces, path, monkeypatch):
    def failing(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: the device fell off")

    monkeypatch.setattr(stream_module, "_extended", failing)
    with pytest.raises(jax.errors.JaxRuntimeError, match="fell off"):
        stream(pieces, checkpoint=str(path))
    assert held(path) == 0


def test_memory_does_not_grow_with_the_number_of_batches(pieces):
    live = {}

    def made_anew():
        for i, piece in enumerate(3 * pieces):
            yield jax.tree.map(jnp.array, piece)
            if i in (3, 30):
                gc.collect()
                live[i] = sum(a.nbytes for a in jax.live_arrays())

    stream(made_anew(), sample_from=pieces[0])
    assert live[30] == live[3]


# Progress


@pytest.fixture
def clock(monkeypatch):
    """Goes on only when told to."""
    now = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


class Slow:
    """Batches of 0.4 seconds each, from the given one on."""

    def __init__(self, pieces, clock, start=0):
        self.pieces, self.clock, self.start = pieces, clock, start

    def __len__(self):
        return len(self.pieces)

    def __iter__(self):
        for i, piece in enumerate(self.pieces):
            self.clock[0] += 0.4 * (i >= self.start)
            yield piece


def test_progress_is_told_once_a_second_and_at_the_end(pieces, clock):
    told = []
    stream(Slow(pieces[:11], clock), sample_from=pieces[0], progress=told.append)
    assert all(isinstance(p, hgn.Progress) for p in told)
    assert [p.batches for p in told] == [3, 6, 9, 11]
    assert [p.total for p in told] == [11] * 4
    np.testing.assert_allclose([p.seconds for p in told], [1.2, 2.4, 3.6, 4.4])
    np.testing.assert_allclose([p.left for p in told], [3.2, 2.0, 0.8, 0.0], atol=1e-12)


def test_generators_do_not_tell_their_length(pieces, clock):
    told = []
    stream(iter(Slow(pieces[:7], clock)), sample_from=pieces[0], progress=told.append)
    assert [p[:2] for p in told] == [(3, None), (6, None), (7, None)]
    assert [p.left for p in told] == [None] * 3


def test_progress_goes_on_after_a_checkpoint_at_its_own_pace(pieces, clock, path):
    stream(pieces[:6], checkpoint=str(path))
    told = []
    slow = Slow(pieces[:11], clock, start=6)
    stream(slow, checkpoint=str(path), progress=told.append)
    assert [p.batches for p in told] == [9, 11]
    np.testing.assert_allclose([p.left for p in told], [0.8, 0.0], atol=1e-12)


def test_progress_may_stop_the_stream(pieces, clock, path):
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slow = Slow(pieces, clock)
        stream(slow, sample_from=pieces[0], checkpoint=str(path), progress=stop)
    assert held(path) == 3


def test_progress_reads_well(pieces, capsys):
    assert str(hgn.Progress(3, 11, 1.2, 3.2)) == "batch 3 of 11, 1 s, 3 s left"
    assert str(hgn.Progress(3, None, 61.7, None)) == "batch 3, 62 s"
    stream(pieces[:3], progress=print)
    assert re.fullmatch(r"(batch \d of 3, \d+ s, \d+ s left\n)*", capsys.readouterr().out)


# Large data


@pytest.fixture
def in_pieces_of_seven(monkeypatch, data, extended):
    """Lets 1440 coordinates be large, and a piece be 7 graphs of 24 force rows, 16 columns."""
    assert data.nodes["position"].size == 1440
    monkeypatch.setattr(sys.modules["hgn_jax.fit"], "WHOLE", 1439)
    monkeypatch.setattr(stream_module, "ENTRIES", 8 * 24 * 16 - 1)
    return extended


def shapes(batch):
    return jax.tree.map(lambda a: (a.shape, a.dtype), batch)


def test_large_data_go_in_pieces_of_one_shape(data, whole, unseen, in_pieces_of_seven, monkeypatch):
    traces, extend = [], stream_module.extend
    monkeypatch.setattr(
        stream_module, "extend", lambda *arguments: traces.append(1) or extend(*arguments)
    )
    fit = hgn.fit(data, key=KEY, features=SPECS)
    assert [real_graphs(b) for b in in_pieces_of_seven] == [7] * 8 + [4]
    assert all(shapes(b) == shapes(in_pieces_of_seven[0]) for b in in_pieces_of_seven)
    assert len(traces) <= 1
    assert_one_fit(fit, whole, unseen)
    assert fit.result == hgn.RESULTS.successful


def test_large_data_of_sampled_features_go_in_pieces(data, whole, unseen, in_pieces_of_seven):
    fit = hgn.solve(whole.model.features, data)
    assert len(in_pieces_of_seven) == 9
    assert_one_fit(fit, whole, unseen)


def test_a_graph_larger_than_a_piece_is_a_piece(
    data, whole, unseen, in_pieces_of_seven, monkeypatch
):
    monkeypatch.setattr(stream_module, "ENTRIES", 1)
    fit = hgn.fit(data, key=KEY, features=SPECS)
    assert [real_graphs(b) for b in in_pieces_of_seven] == [1] * 60
    assert_one_fit(fit, whole, unseen)


def test_smaller_and_traced_data_stay_whole(data, in_pieces_of_seven, monkeypatch):
    jax.eval_shape(lambda d: hgn.fit(d, key=KEY, features=SPECS, throw=False).rows, data)
    monkeypatch.setattr(sys.modules["hgn_jax.fit"], "WHOLE", 1440)
    hgn.fit(data, key=KEY, features=SPECS)
    assert not in_pieces_of_seven


def test_the_checkpoint_of_other_batches_is_refused(pieces, path):
    stream(pieces[:3], sample_from=pieces[0], checkpoint=str(path))
    with pytest.raises(ValueError, match="other batches"):
        stream(pieces[3:6], sample_from=pieces[0], checkpoint=str(path))
    assert held(path) == 3
    again = stream(pieces[:3], sample_from=pieces[0], checkpoint=str(path))
    assert same_bits(again, stream(pieces[:3], sample_from=pieces[0]))
