"""Fits to more data than memory holds: batch after batch, on one device or many."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jraph import GraphsTuple

from . import draw
from ._types import Key
from .assembly import Equations
from .checkpoint import Checkpoint, digest
from .checks import check, warn_about_precision
from .features.base import AbstractFeatureSpec
from .features.kinetic import Kinetic
from .features.pair import Pair
from .graphs.batching import chunks, take
from .graphs.geometry import bodies
from .linear.base import AbstractLeastSquares
from .linear.qr import QR
from .observations import AbstractObservation, Derivatives
from .reduction import Reduction, extend, merged, reduce
from .result import Fit, conclude, raise_if
from .structure import AbstractStructure, Hamiltonian
from .weights import AbstractWeights, Weights, relative_weights

ENTRIES = 2**24
"""Of the matrix of one piece: where the factorisation runs at full speed, in 128 MiB."""


_Tree = TypeVar("_Tree")


class Progress(NamedTuple):
    """How far a stream has come."""

    batches: int
    total: int | None
    """None if the stream does not tell its length."""
    seconds: float
    left: float | None
    """Seconds, at the pace so far."""

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        left = "" if self.left is None else f", {self.left:.0f} s left"
        return f"batch {self.batches}{of}, {self.seconds:.0f} s{left}"


def fit_stream(
    batches: Iterable[GraphsTuple],
    *,
    key: Key,
    features: Sequence[AbstractFeatureSpec] = (Kinetic(), Pair()),
    observations: Sequence[AbstractObservation] = (Derivatives(),),
    structure: AbstractStructure = Hamiltonian(),
    weights: Weights | AbstractWeights = relative_weights,
    solver: AbstractLeastSquares = QR(),
    throw: bool = True,
    sample_from: GraphsTuple | None = None,
    checkpoint: str | None = None,
    progress: Callable[[Progress], object] | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Fit:
    """As `fit`, for batches that one after the other are longer than memory.

    Only the triangle of each system is kept: memory is K^2 and one batch per device, whatever the
    number of batches. Batches of one shape (`hgn.graphs.pad`, `hgn.graphs.chunks`) compile once,
    on each device.

    **Arguments:** those of `fit`, and

    - `batches`: any iterable of data sets with the same arrays.
    - `sample_from`: the data that the features are sampled from, that the trained range is of, and
        that settle the scale of weights; they are not learned from. The first batch if None: then
        it should be typical of all.
    - `checkpoint`: a file. It is written as often as takes 5% of the time. If it exists, the
        stream goes on after the batches in it (which are drawn from `batches` again, and passed
        over): the result is that of an uninterrupted run, bit for bit.
    - `progress`: called at most once a second, and at the end; `print` will do.
    - `mesh`: its local devices take the batches in turn; their triangles are merged at the end.

    Under `jax.distributed` every process gives batches of its own, and all return the fit to all of
    them. Features are those of process 0. Each process has a checkpoint of its own, numbered.

    **Raises:** `ValueError` for an empty stream, or naming the batch (counted from 0) for bad data
    or data unlike the first; `OSError` if the checkpoint cannot be written; `RuntimeError` if a
    process is lost. In each case the checkpoint holds all good batches before.
    """
    if isinstance(batches, GraphsTuple):
        raise ValueError("batches is a single data set: give a list of them, or call hgn.fit")
    total = len(batches) if isinstance(batches, Sized) else None
    stream, where = iter(batches), "sample_from"
    if sample_from is None:
        sample_from, where = next(stream, None), "batch 0"
        if sample_from is None:
            raise ValueError("the stream has no batch (a generator runs only once)")
        stream = chain([sample_from], stream)
    with _named(where):
        check(sample_from)
        specs = tuple(spec.resolve(sample_from) for spec in features)
    warn_about_precision(sample_from)
    how = (tuple(observations), structure, weights, solver)
    equations = _agreed(draw.equations(sample_from, key, specs, *how))
    result = reduced(
        equations,
        stream,
        solver,
        like=sample_from,
        inspect=partial(_inspect, equations),
        checkpoint=None if checkpoint is None else Checkpoint(checkpoint, equations),
        report=_Reporter(progress, total),
        devices=(None,) if mesh is None else tuple(mesh.local_devices),
    )
    return raise_if(throw, result)


class _Reporter:
    """Calls the user's function, not too often."""

    def __init__(self, function: Callable[[Progress], object] | None, total: int | None) -> None:
        self.function, self.total = function, total
        self.start = self.last = time.perf_counter()
        self.resumed = 0

    def __call__(self, batches: int, end: bool = False) -> None:
        now = time.perf_counter()
        if self.function is None or (now - self.last < 1 and not end):
            return
        self.last, seconds = now, now - self.start
        pace = seconds / max(batches - self.resumed, 1)
        left = None if self.total is None else pace * (self.total - batches)
        self.function(Progress(batches, self.total, seconds, left))


def reduced(
    equations: Equations,
    batches: Iterable[GraphsTuple],
    solver: AbstractLeastSquares,
    *,
    like: GraphsTuple,
    inspect: Callable[[GraphsTuple, int], None] = lambda batch, number: None,
    checkpoint: Checkpoint | None = None,
    report: _Reporter = _Reporter(None, None),
    devices: Sequence[jax.Device | None] = (None,),
) -> Fit:
    """The fit to batches of the same arrays as `like`; `inspect` raises for bad ones."""
    start: tuple[Reduction, ...] = (_empty(equations, like, solver),) * len(devices)
    done = 0
    if checkpoint is not None:
        start, done = checkpoint.read(start)
        # An unwritable folder shows now, not in an hour.
        checkpoint.write(start, done, checkpoint.last)
    workers = [_Worker(equations, r, device) for r, device in zip(start, devices)]

    last: GraphsTuple | None = None  # taken in this run

    def save() -> None:
        if checkpoint is not None:
            for w in _by_number(workers):
                w.finish()
            known = checkpoint.last if last is None else digest(last)
            checkpoint.write([w.reduction for w in workers], done, known)

    report.resumed, seen = done, 0
    try:
        for number, batch in enumerate(batches):
            seen = number + 1
            if seen <= done:  # in the checkpoint
                if seen == done and checkpoint is not None:
                    checkpoint.recognise(batch)
                continue
            inspect(batch, number)
            workers[number % len(workers)].take(batch, number)
            done, last = seen, batch
            report(done)
            if checkpoint is not None and checkpoint.due:
                save()
        for w in _by_number(workers):
            w.finish()
    except BaseException:
        good = _finish(workers, done)
        if checkpoint is not None and last is not None:
            known = digest(last) if good == done else None
            checkpoint.write([w.reduction for w in workers], good, known)
        raise
    if seen < done:
        raise ValueError(
            f"the checkpoint holds {done} batches, but the stream gave only {seen}: give the same "
            "stream again, or another checkpoint"
        )
    if not seen and jax.process_count() == 1:
        raise ValueError("the stream has no batch (a generator runs only once)")
    save()
    report(done, end=True)
    total = merged([jax.device_put(w.finish(), jax.local_devices()[0]) for w in workers])
    return _concluded(equations, _of_all_processes(total), solver)


class _Worker:
    """One device and the reduction of its batches; one batch is under way at a time."""

    def __init__(
        self, equations: Equations, reduction: Reduction, device: jax.Device | None
    ) -> None:
        self.device = device
        self.equations, self.reduction = self._here((equations, reduction))
        self.under_way: tuple[GraphsTuple, int, Reduction | None] | None = None

    def take(self, batch: GraphsTuple, number: int) -> None:
        self.finish()
        batch = self._here(batch)
        self.under_way = batch, number, self._begun(self.reduction, batch)

    def finish(self) -> Reduction:
        if self.under_way is not None:
            self.reduction = self._finished(self.reduction, *self.under_way)
            self.under_way = None
        return self.reduction

    def _begun(self, before: Reduction, batch: GraphsTuple) -> Reduction | None:
        """The extended reduction, perhaps still being computed; None if memory does not suffice."""
        return _unless_out_of_memory(lambda: _extended(before, self.equations, batch))

    def _finished(
        self, before: Reduction, batch: GraphsTuple, number: int, begun: Reduction | None
    ) -> Reduction:
        if begun is not None:
            begun = _unless_out_of_memory(lambda: jax.block_until_ready(begun))
        return self._by_halves(before, batch, number) if begun is None else begun

    def _by_halves(self, before: Reduction, batch: GraphsTuple, number: int) -> Reduction:
        batch = take(batch, np.asarray(bodies(batch)) > 0)
        graphs = len(batch.n_node)
        if graphs == 1:
            raise RuntimeError(
                f"batch {number}: a single graph of {len(batch.nodes['mass'])} bodies and "
                f"{len(batch.senders)} edges does not fit into memory: take fewer units"
            )
        warnings.warn(
            f"batch {number}: {graphs} graphs do not fit into memory; going on by halves. Smaller "
            "batches (hgn.graphs.chunks) save the attempt",
            stacklevel=2,
        )
        for half in chunks(batch, -(-graphs // 2)):
            before = self._finished(before, half, number, self._begun(before, half))
        return before

    def _here(self, tree: _Tree) -> _Tree:
        if self.device is None:
            return tree
        arrays, rest = eqx.partition(tree, eqx.is_array)
        return eqx.combine(jax.device_put(arrays, self.device), rest)


def _by_number(workers: Sequence[_Worker]) -> list[_Worker]:
    """Oldest batch first: if it fails, no later one is in any reduction."""
    return sorted(workers, key=lambda w: -1 if w.under_way is None else w.under_way[1])


def _finish(workers: Sequence[_Worker], done: int) -> int:
    """Finishes what is under way; the number of batches before the first that fails."""
    for w in _by_number(workers):
        number = done if w.under_way is None else w.under_way[1]
        try:
            w.finish()
        except RuntimeError:
            return number
    return done


def graphs_at_once(equations: Equations, data: GraphsTuple) -> int:
    """How many graphs' rows make one piece; at least one."""
    systems = eqx.filter_eval_shape(lambda: equations.systems(data))
    entries = max(np.prod(s.matrix.shape, dtype=float) for s in systems)
    return max(1, int(ENTRIES / (entries / len(data.n_node))))


_concluded = eqx.filter_jit(conclude)


@eqx.filter_jit
def _extended(before: Reduction, equations: Equations, batch: GraphsTuple) -> Reduction:
    return extend(before, equations, equations.systems(batch), batch)


def _empty(equations: Equations, like: GraphsTuple, solver: AbstractLeastSquares) -> Reduction:
    """The reduction of no data."""
    shapes = eqx.filter_eval_shape(
        lambda data: reduce(equations, equations.systems(data), data, solver), like
    )
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)


def _inspect(equations: Equations, batch: GraphsTuple, number: int) -> None:
    with _named(f"batch {number}"):
        equations.check(batch)


@contextmanager
def _named(where: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _agreed(equations: Equations) -> Equations:
    """Those of process 0, for all."""
    if jax.process_count() == 1:
        return equations
    arrays, rest = eqx.partition(equations, eqx.is_array)
    with _lost("before the first batch"):
        return eqx.combine(multihost_utils.broadcast_one_to_all(arrays), rest)


def _of_all_processes(reduction: Reduction) -> Reduction:
    if jax.process_count() == 1:
        return reduction
    with _lost("before the triangles were merged"):
        every = multihost_utils.process_allgather(reduction)
    return merged([jax.tree.map(itemgetter(i), every) for i in range(jax.process_count())])


@contextmanager
def _lost(when: str) -> Iterator[None]:
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # either, as it happens
        raise RuntimeError(
            f"process {jax.process_index()} of {jax.process_count()}: another process was lost "
            f"{when}. The checkpoints remain: start all of them again"
        ) from error


def _unless_out_of_memory(compute: Callable[[], Reduction]) -> Reduction | None:
    try:
        return compute()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None
