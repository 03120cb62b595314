"""Checkpoints do not change results, survive interruptions, and serve only their own run."""

import errno
import os
import time

import jax.random as jr
import numpy as np
import pytest
from streams import (
    PIECES,
    assert_another,
    held,
    interrupted,
    narrow,
    same_bits,
    stream,
    until,
)

import hgn_jax as hgn
from hgn_jax.io import array_file


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
    now, writes, write = [0.0], [], array_file.write

    def slow(*args):
        now[0] += 1
        writes.append(now[0])
        write(*args)

    def batches():
        for piece in 5 * pieces:
            now[0] += 4
            yield piece

    monkeypatch.setattr(array_file, "write", slow)
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

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", denied)
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
        with pytest.raises(OSError, match=r"No space left.* the previous one remains") as caught:
            stream(pieces, checkpoint=str(path))
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(path)
    assert held(path) == 3
    assert list(path.parent.iterdir()) == [path]
    assert same_bits(stream(pieces, checkpoint=str(path)), straight)


def test_the_checkpoint_of_another_fit_is_refused(pieces, path):
    interrupted(pieces, 2, path)
    assert_another(path, pieces, "basis", key=jr.key(4))
    assert_another(path, pieces, "basis", terms=(hgn.Kinetic(0), hgn.Pair(16)))
    assert_another(path, pieces[1:], "basis")
    assert_another(path, pieces, "basis", sample_from=pieces[1])
    assert_another(path, pieces, "observations", observations=(hgn.Derivatives(), hgn.Energies()))
    with pytest.warns(UserWarning, match="fitting in float32"):
        assert_another(path, [narrow(p) for p in pieces], "arrays")


def in_a_field(strength):
    return hgn.systems.mass_spring(external=lambda q, m: strength * m * q[0])


OTHERS = {
    "factorisation": ({}, {"solver": hgn.QR(method="cholesky")}, "factorisation"),
    "terms": ({}, {"terms": (hgn.Kinetic(4), hgn.Pair(16, activation="erf"))}, "basis"),
    "known": ({"known": in_a_field(1.0)}, {"known": in_a_field(2.0)}, "basis"),
    "weights": (
        {"observations": (hgn.Derivatives(lambda g: (g.nodes["mass"], 3 * g.nodes["mass"])),)},
        {"observations": (hgn.Derivatives(lambda g: (g.nodes["mass"], 2 * g.nodes["mass"])),)},
        "observations",
    ),
    "observations": (
        {"observations": (hgn.Derivatives(), hgn.Energies())},
        {"observations": (hgn.Derivatives(), hgn.Energies(weight=100.0))},
        "observations",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_settings_that_are_no_arrays_are_told_apart(pieces, path, name):
    first, second, what = OTHERS[name]
    interrupted(pieces, 0, path, sample_from=pieces[0], **first)
    assert_another(path, until(pieces, 0), what, sample_from=pieces[0], **second)


def test_the_same_settings_made_anew_are_accepted(pieces, path):
    interrupted(pieces, 2, path)
    terms = (hgn.Kinetic(units=4), hgn.Pair(units=16, sampling=hgn.ELM(1.0)))
    stream(pieces, checkpoint=str(path), terms=terms, observations=(hgn.Derivatives(),))
    assert held(path) == PIECES


def test_another_ridge_is_solved_for_from_the_checkpoint(pieces, path, extended):
    stream(pieces, checkpoint=path)
    extended.clear()
    solver = hgn.QR(ridge=1e-3)
    again = stream(pieces, checkpoint=path, solver=solver)
    assert not extended
    assert same_bits(again, stream(pieces, solver=solver))


def test_damaged_checkpoints_are_refused_and_left(pieces, path, extended):
    interrupted(pieces, 2, path)
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    extended.clear()
    flips = [0, 10, whole.index(b"batches") + 11, start, start + 999, len(whole) - 1]
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


def test_the_checkpoint_of_other_batches_is_refused(pieces, path):
    stream(pieces[:3], sample_from=pieces[0], checkpoint=str(path))
    with pytest.raises(ValueError, match="other batches"):
        stream(pieces[3:6], sample_from=pieces[0], checkpoint=str(path))
    assert held(path) == 3
    again = stream(pieces[:3], sample_from=pieces[0], checkpoint=str(path))
    assert same_bits(again, stream(pieces[:3], sample_from=pieces[0]))
