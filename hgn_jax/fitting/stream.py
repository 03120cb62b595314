"""Fits to more data than memory holds: batch after batch, on one device or many."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import chain

import jax
from jraph import GraphsTuple

from .._arguments import as_key
from .._progress import Progress, Reporter
from .._types import Key
from ..features.kinetic import Kinetic
from ..features.pair import Pair
from ..graphs.validate import check, warn_about_precision
from ..linear.base import AbstractLeastSquares
from ..linear.qr import QR
from ..models.base import AbstractModel
from ..models.equations_of_motion import AbstractDynamics, Canonical
from .accumulate import accumulate
from .arguments import Term, check_kinds
from .checkpoint import StreamCheckpoint
from .equations import Equations
from .multihost import agreed
from .observations import AbstractObservation, Derivatives
from .result import Fit, raise_if
from .sample import recipe, sampled_equations
from .settle import settled


def fit_stream(
    batches: Iterable[GraphsTuple],
    *,
    key: Key | int,
    terms: Sequence[Term] = (Kinetic(), Pair()),
    observations: Sequence[AbstractObservation] = (Derivatives(),),
    dynamics: AbstractDynamics = Canonical(),
    known: AbstractModel | None = None,
    solver: AbstractLeastSquares = QR(),
    throw: bool = True,
    sample_from: GraphsTuple | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], object] | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Fit:
    """Like `fit`, for a stream of batches that together exceed memory.

    Only one K x K factor per system is kept: each device holds that and one batch, however many
    batches there are. Batches of one shape (`hgn.graphs.pad`, `hgn.graphs.chunks`) compile once on
    each device.

    **Arguments:** those of `fit`, and

    - `batches`: any iterable of data sets with the same arrays.
    - `sample_from`: data from which features are sampled, and which define the trained range and
        the scale of the weights; they give no rows. If None, the first batch, which should then be
        typical of all.
    - `checkpoint`: a file, written as often as costs 5% of the time. If the same call has left a
        checkpoint there, the stream resumes after its batches, which are taken from `batches` again
        and skipped. The result is bitwise identical to that of an uninterrupted run. There may be
        more batches than before, and another ridge.
    - `progress`: a function, such as `print`, called at the start, at most once a second, and at
        the end.
    - `mesh`: its local devices take the batches in turn; their factors are merged at the end.

    Under `jax.distributed` every process passes its own batches, and all return the fit to all of
    them. Features are those of process 0. Each process has its own numbered checkpoint.

    **Raises:** `ValueError` for an empty stream, for bad data or data unlike the first, naming the
    batch (counted from 0), or for the checkpoint of another call. `OSError` if the checkpoint
    cannot be written. `RuntimeError` if another run is using it, or if a process is lost. In each
    case the checkpoint holds all good batches before the error.
    """
    check_kinds(
        terms=terms, observations=observations, dynamics=dynamics, known=known, solver=solver
    )
    if isinstance(batches, GraphsTuple):
        raise ValueError("batches is a single data set: give a list of them, or call hgn.fit")
    total = len(batches) if isinstance(batches, Sized) else None  # generators have none
    stream, where = iter(batches), "sample_from"
    if sample_from is None:
        sample_from, where = next(stream, None), "batch 0"
        if sample_from is None:
            raise ValueError("the stream has no batch (a generator runs only once)")
        stream = chain([sample_from], stream)  # the first batch gives rows, too
    with _named(where):
        check(sample_from)
        how = recipe(sample_from, terms, dynamics, known, observations, solver)
        how = settled(how, sample_from, as_key(key))
    warn_about_precision(sample_from)
    equations = agreed(sampled_equations(sample_from, as_key(key), how))
    devices = (None,) if mesh is None else tuple(mesh.local_devices)
    with (
        nullcontext()
        if checkpoint is None
        else StreamCheckpoint(checkpoint, equations, len(devices))
    ) as held:
        result = accumulate(
            equations,
            stream,
            how.solver,
            like=sample_from,
            inspect=partial(_inspect, equations),
            checkpoint=held,
            report=Reporter(progress, "batch", total),
            devices=devices,
        )
    return raise_if(throw, result)


def _inspect(equations: Equations, batch: GraphsTuple, number: int) -> None:
    with _named(f"batch {number}"):
        equations.check(batch)


@contextmanager
def _named(where: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
