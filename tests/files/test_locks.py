"""One run at a time writes to a checkpoint; the lock ends with its process."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import hgn_jax as hgn
from hgn_jax.io import array_file, checkpoint, lock

FORMAT = array_file.Format("test", 1)


def opened(path):
    return checkpoint.Checkpoint(path, path, FORMAT, hgn.ELM())


def refused(path):
    with pytest.raises(RuntimeError, match="is using this checkpoint") as caught, opened(path):
        pass
    assert str(caught.value).startswith(f"{path}: another run (process ")
    return str(caught.value)


def test_a_second_run_is_refused_until_the_first_ends(path, tmp_path):
    with opened(path):
        assert f"(process {os.getpid()} on " in refused(path)
        with opened(tmp_path / "other"):
            pass
        refused(path)
    with opened(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_a_run_ends_its_lock(path):
    with pytest.raises(KeyError), opened(path):
        raise KeyError
    with opened(path):
        pass


def test_one_file_by_two_names_has_one_lock(path, tmp_path):
    (tmp_path / "link").symlink_to(path.name)
    with opened(path):
        refused(tmp_path / "link")


def test_the_lock_of_a_killed_process_is_free(path, tmp_path):
    script = """
import sys
from pathlib import Path
import hgn_jax as hgn
from hgn_jax.io import array_file, checkpoint

path = Path(sys.argv[1])
with checkpoint.Checkpoint(path, path, array_file.Format("test", 1), hgn.ELM()):
    print("locked", flush=True)
    sys.stdin.readline()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        env=os.environ | {"PYTHONPATH": str(Path(hgn.__file__).parent.parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout.readline() == b"locked\n"
        assert f"(process {process.pid} on " in refused(path)
        process.kill()
        process.wait()
        assert len(list(tmp_path.iterdir())) == 1  # its lock's file, which the next run takes over
        with opened(path):
            refused(path)
        assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_said(path, tmp_path, monkeypatch):
    def unsupported(_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "try_lock", unsupported)
    with pytest.warns(UserWarning, match="has no locks: do not start a second run"), opened(path):
        pass


def test_a_run_that_ended_while_another_opened_the_lock_is_not_waited_for(path, monkeypatch):
    """The opened file is no longer in its folder when it is locked."""
    original, removed = lock.try_lock, []

    def late(descriptor):
        if not removed:
            (opened_file,) = path.parent.iterdir()
            removed.append(opened_file)
            opened_file.unlink()
        return original(descriptor)

    monkeypatch.setattr(lock, "try_lock", late)
    with opened(path):
        refused(path)
    assert removed


def test_processes_have_numbered_checkpoints(path, monkeypatch):
    assert checkpoint.numbered(str(path)) == path
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    assert checkpoint.numbered(path) == path.with_name(path.name + ".1")


# Streams and rollouts


def test_a_second_stream_is_refused_at_once(data, specs, path):
    options = {"key": jax.random.key(0), "terms": specs, "checkpoint": path}

    def batches():
        yield data
        with pytest.raises(RuntimeError, match="another run"):
            hgn.fit_stream([data], **options)

    hgn.fit_stream(batches(), **options)
    assert hgn.fit_stream([data], **options).rows > 0


def test_a_second_rollout_is_refused_at_once(springs, cube, path):
    def rollout(progress=None):
        times = hgn.Every(1, 2)
        return hgn.rollout(springs, cube, times, dt=0.1, checkpoint=path, progress=progress)

    def second(_):
        with pytest.raises(RuntimeError, match="another run"):
            rollout()

    rollout(second)
    rollout()
    assert all(file.suffix == ".hgn" for file in path.iterdir())
