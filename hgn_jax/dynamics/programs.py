"""Compilation of a motion's methods, for one device or for a mesh of them."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.sharding import PartitionSpec
from jraph import GraphsTuple

from ..graphs.slabs import SLABS, slab_mesh
from .state import State
from .stepper import Motion


def compiled(method: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a motion and other arguments, under jit.

    Over a mesh it runs on every device with the graph and the state of that device's slab, which
    are stacked in the arguments; states that it returns are stacked, and all else must be equal on
    all devices.
    """

    @eqx.filter_jit
    def program(motion: Motion, *arguments: Any) -> Any:
        spec = motion.neighbours
        if spec is None or spec.mesh is None:
            return method(motion, *arguments)
        arrays, rest = eqx.partition((motion, arguments), eqx.is_array)
        specs = _by_slab(lambda a: PartitionSpec(SLABS), lambda a: PartitionSpec(), arrays)
        forms = []  # of what the method returns, known once it has been traced

        def of_slab(arrays: Any) -> tuple[list[Any], list[Any]]:
            own = _by_slab(lambda a: a[0], lambda a: a, arrays)
            returned = method(*_flat(eqx.combine(own, rest)))
            leaves, form = jax.tree.flatten(returned, is_leaf=_stacked)
            forms.append((form, [_stacked(leaf) for leaf in leaves]))
            states = [jax.tree.map(lambda a: a[None], x) for x in leaves if _stacked(x)]
            return states, [x for x in leaves if not _stacked(x)]

        stacked, equal = jax.shard_map(
            of_slab,
            mesh=slab_mesh(spec.mesh),
            in_specs=(specs,),
            out_specs=(PartitionSpec(SLABS), PartitionSpec()),
            check_vma=False,
        )(arrays)
        form, which = forms[-1]
        parts = iter(stacked), iter(equal)
        return jax.tree.unflatten(form, [next(parts[0] if x else parts[1]) for x in which])

    return program


def _flat(pair: tuple[Motion, tuple[Any, ...]]) -> tuple[Any, ...]:
    return pair[0], *pair[1]


def _stacked(x: Any) -> bool:
    return isinstance(x, State | GraphsTuple)


def _by_slab(of_slab: Callable, of_all: Callable, tree: Any) -> Any:
    """The tree with a function applied to arrays of states and graphs, another to all others."""
    return jax.tree.map(
        lambda x: jax.tree.map(of_slab if _stacked(x) else of_all, x), tree, is_leaf=_stacked
    )
