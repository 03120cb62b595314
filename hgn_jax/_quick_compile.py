"""Programs that compile for longer than they will ever run."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

from ._tree import is_concrete

_P = ParamSpec("_P")
_T = TypeVar("_T")

OPTIONS: dict[str, int | bool] = {"xla_backend_optimization_level": 0}
"""XLA's options for a CPU under which it compiles three times as fast."""
if jax.__version_info__ < (0, 11):  # later ones have no other emitters
    OPTIONS["xla_cpu_use_fusion_emitters"] = False


def compiled_quickly(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """`equinox.filter_jit` for a program that runs briefly: on a CPU it is compiled without
    optimisation, and may then run up to three times slower, except in LAPACK. Within another
    program it is compiled as that one is."""
    alone = eqx.filter_jit(function, compiler_options=OPTIONS)  # type: ignore[call-overload]
    within = eqx.filter_jit(function)

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        # JAX refuses options of a program within another one, where even constants are traced.
        outermost = is_concrete((args, kwargs, jnp.zeros(())))
        program = alone if outermost and jax.default_backend() == "cpu" else within
        return program(*args, **kwargs)

    return call
