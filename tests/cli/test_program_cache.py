"""Commands keep their compiled programs for the next one."""

import os
import subprocess
import sys

import numpy as np

SCRIPT = "from hgn_jax.__main__ import main; main()"


def fitted(folder, **environment):
    """Files of the cache after a command, which must succeed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_CACHE"))}
    command = [sys.executable, "-c", SCRIPT, "check", "stars.csv", "--mass", "1", "--edges", "all"]
    done = subprocess.run(
        command, cwd=folder, env=kept | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def table(folder):
    t = 0.05 * np.arange(60)
    angle = 0.8 * t[:, None] + np.array([0, np.pi])
    position = np.stack([np.cos(angle), np.sin(angle)], axis=2)
    rows = np.column_stack([t, position.reshape(60, 4)])
    head = "time,x1,y1,x2,y2"
    np.savetxt(folder / "stars.csv", rows, delimiter=",", header=head, comments="")


def programs(folder):
    return {p.name for p in folder.rglob("*") if p.is_file() and not p.name.endswith("-atime")}


def test_programs_are_kept_and_found_again(tmp_path):
    table(tmp_path)
    home = tmp_path / "home"
    fitted(tmp_path, HOME=str(home))
    first = programs(home / ".cache" / "hgn_jax")
    assert first
    fitted(tmp_path, HOME=str(home))
    assert programs(home / ".cache" / "hgn_jax") == first


def test_a_folder_of_the_environment_is_used(tmp_path):
    table(tmp_path)
    home, own = tmp_path / "home", tmp_path / "own"
    named = {"JAX_COMPILATION_CACHE_DIR": str(own)}
    least = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    fitted(tmp_path, HOME=str(home), **named, **least)
    assert programs(own) and not home.exists()


def test_commands_work_without_a_folder_to_write(tmp_path):
    table(tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert fitted(tmp_path, HOME=str(blocked)) == ""
