"""Checks of a rollout's arguments, before anything is compiled."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import diffrax
import jax
import numpy as np
from jraph import GraphsTuple

from .._tree import is_concrete
from ..graphs.neighbours import Neighbours
from ..graphs.not_graphs import not_graphs
from ..graphs.schema import require
from ..graphs.validate import check
from ..integrators.base import AbstractSeparable
from ..integrators.cell_rescaling import CellRescaling
from ..integrators.rotor_verlet import RotorVerlet
from ..integrators.strang import Strang
from ..integrators.tao import Tao
from ..integrators.thermostat import AbstractThermostat
from ..models.base import AbstractModel
from ..models.linear_rotors import LinearRotors
from .observables import AbstractObservable


def check_kinds(model: object, integrator: object, dt: Any, observables: object) -> None:
    """Raises `ValueError` for arguments of the wrong kind."""
    for name, value, kind, example in (
        ("model", model, AbstractModel, "fit.model or hgn.systems.mass_spring()"),
        ("integrator", integrator, diffrax.AbstractSolver, "hgn.StormerVerlet()"),
    ):
        if not isinstance(value, kind):
            shown = value.__name__ if isinstance(value, type) else type(value).__name__
            raise ValueError(f"{name} must be {example} or another {name}, got {shown}")
    if isinstance(integrator, diffrax.AbstractImplicitSolver):
        raise ValueError(
            f"{type(integrator).__name__}: rollout cannot use diffrax's implicit solvers; use "
            "hgn.GaussLegendre4() or hgn.ImplicitMidpoint()"
        )
    if not isinstance(dt, jax.core.Tracer):  # `counted` answers a bad traced step by NaN
        step = np.asarray(dt)
        number = step.shape == () and np.issubdtype(step.dtype, np.number)
        if not number or np.iscomplexobj(step) or not 0 < step < np.inf:  # NaN fails, too
            raise ValueError(f"dt must be one positive, finite number, got {dt!r}")
    if not isinstance(observables, Sequence):
        raise ValueError(
            f"observables must be a list, such as [hgn.Temperature()], got {observables!r}"
        )
    for observable in observables:
        if not isinstance(observable, AbstractObservable):
            raise ValueError(
                f"observables must be instances, such as hgn.Temperature(), got {observable!r}"
            )
    names = [o.name for o in observables]
    if len(set(names)) < len(names):
        raise ValueError(f"observables must have different names, got {names}")


def check_integrator(model: AbstractModel, integrator: diffrax.AbstractSolver) -> None:
    """Raises `ValueError` if the integrator needs a state or a separation that the model lacks."""
    name, state = type(integrator).__name__, model.dynamics.state
    in_pairs = isinstance(integrator.term_structure, tuple)  # one term for q, one for p
    rotors = isinstance(model.dynamics, LinearRotors)
    if (in_pairs or isinstance(integrator, Strang | Tao)) and len(state) != 2:
        solver = "RotorVerlet" if rotors and model.separable else "GaussLegendre4"
        raise ValueError(
            f"{name} moves positions and momenta, but the state of this model is {state}; use "
            f"integrator=hgn.{solver}() or an explicit solver, diffrax.Tsit5()"
        )
    if isinstance(integrator, RotorVerlet) and not (rotors and model.separable):
        raise ValueError(
            "RotorVerlet needs dynamics=hgn.LinearRotors() and H = T(p, L) + V(q, n); for other "
            "models use integrator=hgn.GaussLegendre4()"
        )
    if in_pairs and not model.separable:
        explicit = "Strang" if model.separable_drift else "ImplicitMidpoint"
        raise ValueError(
            f"{name} needs H = T(p) + V(q), but this model mixes positions and momenta; use "
            f"integrator=hgn.{explicit}()"
        )
    if isinstance(integrator, Strang) and not model.separable_drift:
        raise ValueError(
            "Strang needs dq/dt that depends on momenta alone, but in this model it may depend on "
            "positions too; use integrator=hgn.ImplicitMidpoint(), or set "
            'moves = ("momentum",) in terms of your own that change no other rates'
        )


def check_barostat(model: AbstractModel, barostat: object, integrator: object, graph: Any) -> None:
    """Raises `ValueError` for a barostat that cannot act."""
    if barostat is None:
        return
    if len(model.dynamics.state) != 2:
        raise ValueError(
            "a barostat needs a thermostat, which moves positions and momenta, but the state of "
            f"this model is {model.dynamics.state}: leave barostat out"
        )
    if not isinstance(barostat, CellRescaling):
        raise ValueError(f"barostat must be hgn.CellRescaling(...), got {barostat!r}")
    if not isinstance(integrator, AbstractThermostat):
        raise ValueError(
            f"a barostat needs a thermostat, not {type(integrator).__name__}: "
            "integrator=hgn.Langevin(...)"
        )
    barostat.check(graph)


def check_divisible(
    model: AbstractModel,
    graph: GraphsTuple,
    integrator: diffrax.AbstractSolver,
    observables: Sequence[AbstractObservable],
) -> None:
    """Raises `ValueError` for what cannot be computed on devices that hold a slab each."""
    if not is_concrete((model, graph)):
        raise ValueError("a mesh needs concrete arrays: call rollout outside of jit, vmap and grad")
    if len(model.dynamics.state) != 2:
        raise ValueError(
            "bodies are divided between devices with positions and momenta, but the state of this "
            f"model is {model.dynamics.state}: leave mesh out"
        )
    if not isinstance(integrator, AbstractSeparable) or isinstance(integrator, AbstractThermostat):
        raise ValueError(
            f"{type(integrator).__name__} cannot be divided between devices: with a mesh, use "
            "hgn.StormerVerlet(), hgn.Yoshida4() or hgn.KahanLi8()"
        )
    for observable in observables:
        if not observable.additive:
            raise ValueError(
                f"{observable.name} is no sum over bodies, so it cannot be divided between "
                "devices: leave out mesh, or compute it from the states"
            )


def check_start(model: AbstractModel, graph: Any) -> None:
    """Raises `ValueError` for a start that is not a valid graph or lacks an array of the state."""
    if not isinstance(graph, GraphsTuple):
        raise not_graphs("the start", graph)
    if is_concrete(graph):
        check(graph)
    require(graph, {"nodes": {*model.dynamics.state, *model.needs}}, type(model).__name__)
    if not len(graph.nodes["position"]):
        raise ValueError("the start has no bodies")
    _check_frames(graph)


def _check_frames(graph: GraphsTuple) -> None:
    """Raises `ValueError` for a whole data set: several frames of one trajectory."""
    number = graph.globals.get("trajectory") if isinstance(graph.globals, Mapping) else None
    if number is None or not is_concrete(number) or len(number) < 2:
        return
    trajectories = len(np.unique(np.asarray(number)))
    if trajectories < len(number):
        raise ValueError(
            f"the start is a data set of {len(number)} frames of {trajectories} trajector"
            f"{'y' if trajectories == 1 else 'ies'}. Take one of them, hgn.graphs.frame(data, 0); "
            'to roll out all frames side by side, leave globals["trajectory"] out'
        )


def check_reach(model: AbstractModel, graph: GraphsTuple, neighbours: object) -> None:
    """Raises `ValueError` if moving bodies would miss pairs, or forces would jump."""
    reach = model.reach
    if isinstance(neighbours, Neighbours):
        if not reach <= neighbours.cutoff:
            raise ValueError(
                f"the model has {_words(reach)}, the neighbours' is {neighbours.cutoff:g}: forces "
                "would jump as neighbours come and go. Use hgn.Pair(cutoff=...) or "
                "hgn.systems.lennard_jones(cutoff=...), or give your own class a field `cutoff`"
            )
        return
    if neighbours not in (None, "fixed"):
        raise ValueError(f"neighbours must be hgn.Neighbours(cutoff, skin), got {neighbours!r}")
    # A reach of 0 means no pairs, an infinite one no cutoff.
    if neighbours is None and 0 < reach < math.inf and not _joins_all(graph):
        raise ValueError(
            f"the model acts up to the distance {reach:g}, but the graph's edges stay as they are "
            f"while bodies move: give neighbours=hgn.Neighbours({reach:g}, skin=...), or "
            'neighbours="fixed" if the edges hold every pair that will come within that distance'
        )


def _joins_all(graph: GraphsTuple) -> bool:
    """True if every body is joined to every other, or if that cannot be known inside jit."""
    if not is_concrete((graph.n_node, graph.n_edge)):
        return True
    nodes, edges = np.asarray(graph.n_node), np.asarray(graph.n_edge)
    return bool((edges >= nodes * (nodes - 1)).all())  # two edges for a pair


def _words(reach: float) -> str:
    return "no cutoff" if reach == math.inf else f"the cutoff {reach:g}"
