"""Rollouts resume from their own checkpoints only, with bitwise identical results."""

import contextlib
import errno
import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

import hgn_jax as hgn
from hgn_jax.dynamics import checkpoint as rollout_checkpoint
from hgn_jax.dynamics import host_loop as stepwise
from hgn_jax.io import array_file, checkpoint

SPEC = hgn.Neighbours(1.4, 0.4)
ATOMS = hgn.systems.lennard_jones(epsilon=0.2, sigma=0.88, cutoff=1.4)
EVERY = hgn.Every(7, 6)
DT = 0.03


@pytest.fixture(scope="module")
def start(moving_lattice):
    return moving_lattice


def checkpointed(start, folder, **options):
    return hgn.rollout(
        ATOMS, start, EVERY, dt=DT, neighbours=SPEC, observables=[hgn.Temperature()],
        checkpoint=folder, **options,
    )  # fmt: skip


@pytest.fixture
def eager(monkeypatch):
    """Writes as often as it can."""
    monkeypatch.setattr(checkpoint, "SHARE", 1e9)


class Killed(BaseException):
    pass


@contextlib.contextmanager
def killed_in(monkeypatch, module, name, call):
    """Raises at the given call of a function of the module."""
    original, calls = getattr(module, name), []

    def counted(*args):
        calls.append(args)
        if len(calls) == call:
            raise Killed
        return original(*args)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(module, name, counted)
        yield


def test_a_killed_rollout_is_resumed_to_the_same_bits(start, tmp_path, eager, monkeypatch):
    whole = checkpointed(start, tmp_path / "whole")
    with killed_in(monkeypatch, array_file, "write", 11):
        checkpointed(start, tmp_path / "cut")
    seen = []
    again = checkpointed(start, tmp_path / "cut", progress=seen.append)
    assert seen[0].done > 7
    assert eqx.tree_equal(again, whole)
    assert eqx.tree_equal(checkpointed(start, tmp_path / "cut"), whole)


def test_a_rollout_killed_between_two_outputs_goes_on_from_there(
    springs, start, tmp_path, eager, monkeypatch
):
    def run(folder, **options):
        return hgn.rollout(
            springs, start, hgn.Every(40, 1), dt=DT, checkpoint=tmp_path / folder, **options
        )

    whole = run("whole")
    monkeypatch.setattr(stepwise, "SECONDS", 0)  # one step at a time
    with killed_in(monkeypatch, stepwise, "_advance", 19):
        run("cut")
    assert (
        array_file.read(tmp_path / "cut" / "state.hgn", rollout_checkpoint.STATE)[0]["ahead"] == 18
    )
    with killed_in(monkeypatch, stepwise, "_advance", 40 - 18):
        run("cut")  # in the last of the remaining steps
    assert eqx.tree_equal(run("cut"), whole)


def test_a_rollout_that_overflows_is_resumed_to_the_same_bits(tmp_path, eager, monkeypatch):
    """Atoms leave their lattice: the capacity is enlarged after it was large enough at first."""
    rng = np.random.default_rng(0)
    at = 1.1 * hgn.graphs.lattice((12, 12)).nodes["position"]
    at = at + rng.uniform(-0.02, 0.02, at.shape)
    mixing = hgn.graphs.from_pairs(at, [], momentum=rng.normal(0, 0.7, at.shape))
    sizes = hgn.Neighbours(1.4, 0.2).allocate(mixing).sizes._replace(slots=8)

    def run(folder, **options):
        return hgn.rollout(
            ATOMS, mixing, hgn.Every(9, 8), dt=DT, checkpoint=tmp_path / folder,
            neighbours=hgn.Neighbours(1.4, 0.2, sizes), **options,
        )  # fmt: skip

    short = hgn.rollout(ATOMS, mixing, hgn.Every(1, 1), dt=DT, checkpoint=tmp_path / "short",
                        neighbours=hgn.Neighbours(1.4, 0.2, sizes))  # fmt: skip
    held = array_file.read(tmp_path / "short" / "state.hgn", rollout_checkpoint.STATE)[0]["sizes"]
    assert short.finite and held[0] == 8 and min(held[2]) > 5  # enough at first, and in cells
    places, in_room = [], stepwise._in_room

    def wider(motion, state):
        after = in_room(motion, state)
        if after.neighbours.senders.shape != state.neighbours.senders.shape:
            places.append(state.y)
        return after

    monkeypatch.setattr(stepwise, "_in_room", wider)
    whole = run("whole")
    held = array_file.read(tmp_path / "whole" / "state.hgn", rollout_checkpoint.STATE)[0]["sizes"]
    assert held[0] > 8 and len(places) == 1
    monkeypatch.setattr(stepwise, "SECONDS", 0)
    assert eqx.tree_equal(run("step by step"), whole)
    assert eqx.tree_equal(*places)
    with killed_in(monkeypatch, array_file, "write", 10):
        run("cut")
    assert eqx.tree_equal(run("cut"), whole)


def test_other_times_are_taken_only_if_the_state_lies_before_them(
    springs, start, tmp_path, eager, monkeypatch
):
    def run(every, folder="run", **options):
        return hgn.rollout(springs, start, every, dt=DT, checkpoint=tmp_path / folder, **options)

    monkeypatch.setattr(stepwise, "SECONDS", 0)
    with killed_in(monkeypatch, stepwise, "_advance", 13):
        run(hgn.Every(20, 2))
    for other in (hgn.Every(7, 3), hgn.Every(20, 0)):
        with pytest.raises(ValueError, match=r"another run \(other times, and it is beyond"):
            run(other)
    longer = run(hgn.Every(15, 3))
    assert eqx.tree_equal(longer, run(hgn.Every(15, 3), "whole"))
    next((tmp_path / "run").glob("outputs-*")).unlink()
    with pytest.raises(ValueError, match="is missing"):
        run(hgn.Every(15, 3))


def test_a_rollout_resumed_at_an_output_has_neighbours_for_it(tmp_path, eager, monkeypatch):
    """A body has moved by more than half the skin after two steps, but by less at midpoints."""
    pair = hgn.graphs.from_pairs(
        np.array([[0.0, 0.0], [2.0, 0.5]]), [], momentum=np.array([[6.0, 0.0], [0.0, 0.0]])
    )
    system = hgn.systems.lennard_jones(cutoff=3.0, onset=2.5)

    def run(every, folder, **options):
        return hgn.rollout(
            system, pair, every, dt=0.01, integrator=hgn.ImplicitMidpoint(),
            neighbours=hgn.Neighbours(3.0, 0.2), checkpoint=tmp_path / folder, **options,
        )  # fmt: skip

    monkeypatch.setattr(stepwise, "SECONDS", 0)
    with killed_in(monkeypatch, stepwise, "_advance", 3):
        run(hgn.Every(20, 1), "cut")
    again = run(hgn.Every(2, 3), "cut")
    assert eqx.tree_equal(again, run(hgn.Every(2, 3), "whole"))


def test_a_rollout_in_single_precision_is_kept_in_it(springs, start, tmp_path):
    """It can be resumed without enabling 64 bits in JAX."""
    single = jax.tree.map(
        lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, (springs, start)
    )

    def run(folder, **options):
        return hgn.rollout(*single, EVERY, dt=DT, checkpoint=tmp_path / folder, **options)

    run("run")
    for file in (tmp_path / "run").iterdir():
        arrays = load_file(file)
        assert arrays and {a.dtype.name for a in arrays.values()} <= {"float32", "int32", "bool"}
    whole, told = run("run"), []
    with jax.enable_x64(False):
        again = run("run", progress=told.append)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [p.done for p in told] == [42]


def test_plain_safetensors_reads_the_outputs(springs, start, tmp_path, eager):
    """Also before the rollout has ended."""
    path = hgn.rollout(springs, start, EVERY, dt=DT, checkpoint=tmp_path / "run")
    files = sorted((tmp_path / "run").glob("outputs-*.hgn"))
    portions = [load_file(file) for file in files]
    assert len(portions) == 7
    for name in ("position", "momentum"):
        whole = np.concatenate([portion[f"state.{name}"] for portion in portions])
        np.testing.assert_array_equal(whole[:, :9], getattr(path, name))  # without padding
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        *(f.name for f in files),
        "state.hgn",
    ]


def test_the_same_call_returns_a_finished_rollout(start, tmp_path, monkeypatch):
    whole = checkpointed(start, tmp_path / "new" / "run")

    def explode(*_):
        raise AssertionError("a step was taken")

    monkeypatch.setattr(stepwise, "_advance", explode)
    told = []
    again = checkpointed(start, tmp_path / "new" / "run", progress=told.append)
    assert eqx.tree_equal(again, whole)
    assert [(p.done, p.left, p.detail) for p in told] == [(42, 0, "")]


OTHERS = {
    "dt": {"dt": 0.5 * DT},
    "observables": {"observables": ()},
    "neighbours": {"neighbours": hgn.Neighbours(1.4, 0.3)},
    "integrator": {"integrator": hgn.Yoshida4()},
    "states": {"states": False},
    "other times": {"times": hgn.Every(8, 6)},
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_rollout_is_refused_with_what_differs(finished_run, start, what):
    options = {
        "times": EVERY, "dt": DT, "neighbours": SPEC, "observables": [hgn.Temperature()],
        "checkpoint": finished_run,
    }  # fmt: skip
    held = {file.name: file.read_bytes() for file in finished_run.iterdir()}
    with pytest.raises(ValueError, match=rf"run: the checkpoint of another run \(.*{what}"):
        hgn.rollout(ATOMS, start, **options | OTHERS[what])
    assert {file.name: file.read_bytes() for file in finished_run.iterdir()} == held


@pytest.fixture(scope="module")
def finished_run(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    checkpointed(start, folder)
    return folder


def test_another_start_is_refused(finished_run, start):
    other = start._replace(nodes=start.nodes | {"momentum": 2 * start.nodes["momentum"]})
    with pytest.raises(ValueError, match=r"another run \(other graph\)"):
        checkpointed(other, finished_run)


def test_a_rollout_under_another_force_of_the_same_name_is_refused(start, tmp_path):
    def run(constant):
        system = hgn.systems.mass_spring(external=lambda x, mass: constant * mass * x[1])
        return hgn.rollout(system, start, EVERY, dt=DT, checkpoint=tmp_path / "run")

    first = run(1.0)
    with pytest.raises(ValueError, match=r"another run \(other model\)"):
        run(2.0)
    assert eqx.tree_equal(run(1.0), first)


def test_what_was_written_before_the_disk_was_full_can_be_resumed(
    start, tmp_path, eager, monkeypatch
):
    whole = checkpointed(start, tmp_path / "whole")
    fsync, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(
            OSError, match=r"No space left.* the previous one remains.*the same call resumes"
        ):
            checkpointed(start, tmp_path / "full")
    assert eqx.tree_equal(checkpointed(start, tmp_path / "full"), whole)


def test_a_damaged_checkpoint_is_named(start, tmp_path):
    checkpointed(start, tmp_path / "run")
    state = tmp_path / "run" / "state.hgn"
    state.write_bytes(state.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"state.hgn: truncated"):
        checkpointed(start, tmp_path / "run")
