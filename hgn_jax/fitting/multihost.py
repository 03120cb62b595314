"""Fits by several processes under `jax.distributed`."""

from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter

import equinox as eqx
import jax
from jax.experimental import multihost_utils

from .equations import Equations
from .reduction import Reduction, merged


def agreed(equations: Equations) -> Equations:
    """Equations of process 0, broadcast to all processes."""
    if jax.process_count() == 1:
        return equations
    arrays, static = eqx.partition(equations, eqx.is_array)
    with _lost("before the first batch"):
        return eqx.combine(multihost_utils.broadcast_one_to_all(arrays), static)


def of_all_processes(reduction: Reduction) -> Reduction:
    """Merged reductions of all processes."""
    if jax.process_count() == 1:
        return reduction
    with _lost("before the triangles were merged"):
        every = multihost_utils.process_allgather(reduction)
    return merged([jax.tree.map(itemgetter(i), every) for i in range(jax.process_count())])


@contextmanager
def _lost(when: str) -> Iterator[None]:
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # JAX raises either
        raise RuntimeError(
            f"process {jax.process_index()} of {jax.process_count()}: another process was lost "
            f"{when}. The checkpoints remain: start all processes again"
        ) from error
