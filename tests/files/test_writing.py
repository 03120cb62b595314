"""Files are written completely or not at all, at the target of links, with the same mode."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import hgn_jax as hgn
from hgn_jax.io import atomic


@pytest.mark.parametrize("function", ["replace", "fsync", "chmod"])
def test_a_failing_write_leaves_what_was_there(small, path, tmp_path, monkeypatch, function):
    path.write_bytes(b"what was there")

    def full(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, function, full)
        with pytest.raises(OSError, match="no space left"):
            hgn.save(path, small)
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_first_write_leaves_nothing(small, path, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError):
            hgn.save(path, small)
    assert list(tmp_path.iterdir()) == []


def test_saving_replaces_the_old_file_and_leaves_no_other(model, saved, path, tmp_path):
    path.write_bytes(bytes(10 * len(saved)))
    hgn.save(path, model)
    assert path.read_bytes() == saved
    assert list(tmp_path.iterdir()) == [path]


def test_file_names_without_a_folder_are_in_the_working_directory(
    model, saved, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    hgn.save("here.hgn", model)
    assert (tmp_path / "here.hgn").read_bytes() == saved


# Links and permissions


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("exists", [True, False])
def test_links_are_followed(model, saved, path, tmp_path, exists):
    target = tmp_path / "elsewhere" / "target.hgn"
    target.parent.mkdir()
    if exists:
        target.write_bytes(b"old")
    path.symlink_to(Path("elsewhere") / "target.hgn")
    hgn.save(path, model)
    assert path.is_symlink() and target.read_bytes() == saved
    assert list(target.parent.iterdir()) == [target]
    assert sorted(tmp_path.iterdir()) == [target.parent, path]


@pytest.mark.parametrize("old", [0o600, 0o640, 0o444, 0o666])
def test_an_existing_file_keeps_its_mode(small, path, old):
    path.write_bytes(b"old")
    path.chmod(old)
    hgn.save(path, small)
    assert path.read_bytes() != b"old" and mode(path) == old


def test_a_private_file_is_private_while_it_is_written(path):
    path.write_bytes(b"old")
    path.chmod(0o600)

    def pieces():
        yield b"secret"
        (temporary,) = path.parent.glob(".hgn-*.tmp")
        assert mode(temporary) == 0o600

    atomic.write(path, pieces())
    assert path.read_bytes() == b"secret"


def test_a_new_file_follows_the_umask(small, path):
    old = os.umask(0o027)
    try:
        hgn.save(path, small)
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(old)
    assert mode(path) == 0o640


# Errors name the path that was given


def raised(path, small, kind):
    with pytest.raises(kind) as caught:
        hgn.save(path, small)
    assert caught.value.filename == str(path)
    assert ".hgn-" not in str(caught.value)
    return str(caught.value)


def test_a_missing_folder_is_named(small, tmp_path, monkeypatch):
    words = raised(tmp_path / "no" / "such" / "m.hgn", small, FileNotFoundError)
    assert f"folder '{tmp_path / 'no' / 'such'}' does not exist" in words
    monkeypatch.chdir(tmp_path)
    assert "folder 'no/such' does not exist" in raised("no/such/m.hgn", small, FileNotFoundError)
    (tmp_path / "link").symlink_to("none/m.hgn")
    words = raised("link", small, FileNotFoundError)
    assert f"folder '{tmp_path / 'none'}' does not exist" in words


def test_a_folder_or_a_device_is_no_file(small, tmp_path):
    assert "is a folder" in raised(tmp_path, small, IsADirectoryError)
    assert "not a regular file" in raised(Path("/dev/null"), small, OSError)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_names_are_too_long_only_if_the_given_ones_are(small, tmp_path):
    hgn.save(tmp_path / ("x" * 255), small)
    assert hgn.load(tmp_path / ("x" * 255)).separable
    assert "too long" in raised(tmp_path / ("x" * 256), small, OSError)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        hgn.load(tmp_path / "none.hgn")


# Temporary files


def test_temporaries_of_killed_processes_are_removed_and_no_others(path, tmp_path):
    script = """
import os, signal, sys
from hgn_jax.io import atomic

def pieces():
    yield b"half of the bytes"
    print("writing", flush=True)
    sys.stdin.readline()

atomic.write(sys.argv[1], pieces())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        env=os.environ | {"PYTHONPATH": str(Path(hgn.__file__).parent.parent)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == b"writing\n"
        (temporary,) = tmp_path.iterdir()
        assert f"-{process.pid}-" in temporary.name
        other = tmp_path / "other.hgn"
        atomic.write(other, [b"another file"])
        atomic.write(path, [b"first"])
        assert sorted(tmp_path.iterdir()) == sorted([temporary, path, other])  # it is alive
        process.send_signal(signal.SIGKILL)
        process.wait()
        atomic.write(other, [b"another file"])
        assert temporary.exists()  # of another target
        atomic.write(path, [b"second"])
        assert sorted(tmp_path.iterdir()) == sorted([path, other])
        assert path.read_bytes() == b"second"


def test_a_writer_whose_file_was_taken_for_stale_makes_another(path, tmp_path, monkeypatch):
    """Another process may see the file before its writer has locked it."""
    original, seen = atomic.try_lock, []

    def late(descriptor):
        if not seen:
            (temporary,) = tmp_path.iterdir()
            seen.append(temporary)
            temporary.unlink()
        return original(descriptor)

    monkeypatch.setattr(atomic, "try_lock", late)
    atomic.write(path, [b"all of it"])
    assert seen and path.read_bytes() == b"all of it"
    assert list(tmp_path.iterdir()) == [path]
