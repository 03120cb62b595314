"""Reduces batch after batch to triangular factors, on one device or many."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

from .._progress import Reporter
from .._quick_compile import compiled_quickly
from .._tree import is_concrete
from ..graphs.padding import without_padding
from ..graphs.pieces import chunks
from ..io.digest import digest
from ..linear.base import AbstractLeastSquares
from .checkpoint import StreamCheckpoint
from .equations import Equations
from .multihost import of_all_processes
from .reduction import Reduction, extend, merged, reduce, with_turn
from .result import Fit, conclude

ENTRIES = 2**24
"""Matrix entries of one chunk, 128 MiB in float64: enough for QR at full speed."""


_Tree = TypeVar("_Tree")


def accumulate(
    equations: Equations,
    batches: Iterable[GraphsTuple],
    solver: AbstractLeastSquares,
    *,
    like: GraphsTuple,
    inspect: Callable[[GraphsTuple, int], None] = lambda batch, number: None,
    checkpoint: StreamCheckpoint | None = None,
    report: Reporter | None = None,
    devices: Sequence[jax.Device | None] = (None,),
) -> Fit:
    """Fit to batches with the same arrays as `like`; `inspect` raises for bad batches."""
    start: tuple[Reduction, ...] = (_empty(equations, like, solver),) * len(devices)
    done = 0
    if checkpoint is not None:
        start, done = checkpoint.read(start)
        # Fail now, not after an hour, if the folder is not writable.
        checkpoint.write(start, done, checkpoint.last)
    workers = [_Worker(equations, r, device) for r, device in zip(start, devices)]

    last: GraphsTuple | None = None  # last batch of this run

    def save() -> None:
        if checkpoint is not None:
            for w in _by_number(workers):
                w.finish()
            known = checkpoint.last if last is None else digest(last)
            checkpoint.write([w.reduction for w in workers], done, known)

    report = Reporter(None, "batch", None) if report is None else report
    seen = 0
    try:
        report.compiling(done)
        for number, batch in enumerate(batches):
            seen = number + 1
            if seen <= done:  # already in the checkpoint
                if seen == done and checkpoint is not None:
                    checkpoint.recognise(batch)
                continue
            inspect(batch, number)
            # By number, so that a resumed run deals the batches alike.
            workers[number % len(workers)].take(batch, number)
            done, last = seen, batch
            report(done)
            if checkpoint is not None and checkpoint.due:
                save()
        for w in _by_number(workers):
            w.finish()
    except BaseException:  # also KeyboardInterrupt: good batches are kept
        good = _finish(workers, done)
        if checkpoint is not None and last is not None:
            # The last batch that was taken may be one that failed: it is not in the file then.
            known = digest(last) if good == done else None
            checkpoint.write([w.reduction for w in workers], good, known)
        raise
    if seen < done:
        raise ValueError(
            f"the checkpoint holds {done} batches, but the stream gave only {seen}: give the same "
            "stream again, or another checkpoint"
        )
    # One of several processes may have no batch.
    if not seen and jax.process_count() == 1:
        raise ValueError("the stream has no batch (a generator runs only once)")
    save()
    require_folds(solver, done * jax.process_count())
    report(done, end=True)
    total = merged([jax.device_put(w.finish(), jax.local_devices()[0]) for w in workers])
    return concluded(equations, of_all_processes(total), solver)


def require_folds(solver: AbstractLeastSquares, batches: int) -> None:
    """Raises `ValueError` if some folds of a cross-validation hold no frames."""
    if batches < solver.folds:
        raise ValueError(
            f"FrameCV(folds={solver.folds}) needs as many batches of frames, got {batches}: give "
            "more frames, fewer folds, or a ridge: solver=hgn.QR(ridge=...)"
        )


class _Worker:
    """One device and the reduction of its batches, of which at most one is being computed."""

    def __init__(
        self, equations: Equations, reduction: Reduction, device: jax.Device | None
    ) -> None:
        self.device = device
        self.equations, self.reduction = self._here((equations, reduction))
        self.under_way: tuple[GraphsTuple, int, Reduction | None] | None = None

    def take(self, batch: GraphsTuple, number: int) -> None:
        self.finish()  # it ran while this batch was read
        batch = self._here(batch)
        self.under_way = batch, number, self._begun(self.reduction, batch, number)

    def finish(self) -> Reduction:
        if self.under_way is not None:
            self.reduction = self._finished(self.reduction, *self.under_way)
            self.under_way = None
        return self.reduction

    def _begun(self, before: Reduction, batch: GraphsTuple, number: int) -> Reduction | None:
        """The extended reduction, perhaps still being computed; None if out of memory."""
        # Batches of all processes take turns in the folds.
        turn = np.asarray(number * jax.process_count() + jax.process_index(), np.int32)
        return _unless_out_of_memory(
            lambda: _extended(with_turn(before, turn), self.equations, batch)
        )

    def _finished(
        self, before: Reduction, batch: GraphsTuple, number: int, begun: Reduction | None
    ) -> Reduction:
        if begun is not None:
            # Computation is asynchronous: out of memory is raised where it is waited for.
            begun = _unless_out_of_memory(lambda: jax.block_until_ready(begun))
        return self._by_halves(before, batch, number) if begun is None else begun

    def _by_halves(self, before: Reduction, batch: GraphsTuple, number: int) -> Reduction:
        batch = without_padding(batch)
        graphs = len(batch.n_node)
        if graphs == 1:
            raise RuntimeError(
                f"batch {number}: a single graph of {len(batch.nodes['position'])} bodies and "
                f"{len(batch.senders)} edges does not fit into memory: take fewer units"
            )
        warnings.warn(
            f"batch {number}: {graphs} graphs do not fit into memory, so the batch is split in "
            "halves. Smaller batches (hgn.graphs.chunks) avoid the failed attempt",
            stacklevel=2,
        )
        window, shorter_last = self.equations.window, self.equations.shorter_last
        for half in chunks(batch, -(-graphs // 2), window, shorter_last=shorter_last):
            # The same number for both: a batch goes to one fold.
            before = self._finished(before, half, number, self._begun(before, half, number))
        return before

    def _here(self, tree: _Tree) -> _Tree:
        if self.device is None:
            return tree
        arrays, static = eqx.partition(tree, eqx.is_array)
        return eqx.combine(jax.device_put(arrays, self.device), static)


def _by_number(workers: Sequence[_Worker]) -> list[_Worker]:
    """Workers with the oldest batch first: if it fails, no later one is in any reduction."""
    return sorted(workers, key=lambda w: -1 if w.under_way is None else w.under_way[1])


def _finish(workers: Sequence[_Worker], done: int) -> int:
    """Finishes the batches under way. Returns the number of batches before the first failure."""
    for w in _by_number(workers):
        number = done if w.under_way is None else w.under_way[1]
        try:
            w.finish()
        except RuntimeError:
            return number
    return done


def graphs_at_once(equations: Equations, data: GraphsTuple) -> int:
    """Number of graphs per piece, at least one."""
    # Shapes only: no row is computed.
    systems = eqx.filter_eval_shape(lambda: equations.systems(data))
    entries = max(np.prod(s.matrix.shape, dtype=float) for s in systems)
    return max(1, int(ENTRIES / (entries / len(data.n_node))))


def at_once(equations: Equations, data: GraphsTuple, solver: AbstractLeastSquares) -> Fit:
    """Fit to all data in one piece; with traced arrays, theta is differentiable."""
    if is_concrete((equations, data, solver)):
        return concluded(equations, _reduced(equations, data, solver), solver)
    systems = equations.systems(data)
    return conclude(equations, reduce(equations, systems, data, solver), solver, systems)


concluded = compiled_quickly(conclude)
"""`conclude` as one program."""


@partial(compiled_quickly, level=1)
def _reduced(equations: Equations, data: GraphsTuple, solver: AbstractLeastSquares) -> Reduction:
    return reduce(equations, equations.systems(data), data, solver)


@eqx.filter_jit
def _extended(before: Reduction, equations: Equations, batch: GraphsTuple) -> Reduction:
    return extend(before, equations, equations.systems(batch), batch)


@eqx.filter_jit  # for its cache: tracing takes longer than a batch
def _empty(equations: Equations, like: GraphsTuple, solver: AbstractLeastSquares) -> Reduction:
    """The reduction of no data."""
    shapes = eqx.filter_eval_shape(_reduced, equations, like, solver)
    # Zeros are the factors of no rows.
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)


def _unless_out_of_memory(compute: Callable[[], Reduction]) -> Reduction | None:
    try:
        return compute()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None
