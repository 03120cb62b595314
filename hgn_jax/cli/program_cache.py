"""Cache of compiled programs, so that a second command does not compile them again."""

import os
import platform
from pathlib import Path

import jax


def keep_programs() -> None:
    """Tells JAX to keep compiled programs in the user's cache folder.

    A folder that the environment names (`JAX_COMPILATION_CACHE_DIR`) is left as it is. Programs
    are for one kind of processor: each host has a folder of its own. Without a folder that can be
    written, nothing is kept.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    try:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(caches) / "hgn_jax" / (platform.node() or "programs")
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or one that cannot be written
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", os.fspath(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
