"""Programs that compile for longer than they run."""

import os
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from ._tree import is_concrete

_P = ParamSpec("_P")
_T = TypeVar("_T")

LEVEL = "xla_backend_optimization_level"
OPTIONS: dict[str, int | bool] = {}
"""XLA's options for a CPU, beside the level of optimisation."""
if jax.__version_info__ < (0, 11):  # later ones have no other emitters
    OPTIONS["xla_cpu_use_fusion_emitters"] = False


def compiled_quickly(function: Callable[_P, _T], level: int = 0) -> Callable[_P, _T]:
    """`equinox.filter_jit` for a program that runs briefly, with less optimisation on a CPU.

    With level 0 it compiles in a third of the time, and may run up to three times slower, except in
    LAPACK. With level 1 it compiles in half the time, and runs up to a fifth slower. Within another
    program it is compiled as that one is, and a level in XLA_FLAGS counts more.
    """
    options = OPTIONS | {LEVEL: level}
    if LEVEL in os.environ.get("XLA_FLAGS", ""):
        options = {}
    alone = eqx.filter_jit(function, compiler_options=options)  # type: ignore[call-overload]
    within = eqx.filter_jit(function)

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        # JAX refuses options of a program within another one, where even constants are traced.
        outermost = is_concrete((args, kwargs, jnp.zeros(())))
        program = alone if outermost and jax.default_backend() == "cpu" else within
        return program(*args, **kwargs)

    return call
