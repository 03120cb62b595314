"""Change of the energy, split by the terms that cause it."""

import jax
import numpy as np
from jax import Array
from jraph import GraphsTuple
from matplotlib.figure import Figure

from ..dynamics.trajectory import Trajectory
from ..fitting.result import Fit
from ..graphs.schema import require
from ..models.network import HamiltonianGraphNetwork
from .sources import first_trajectory, states_of
from .style import NEUTRAL, Units, colours, label, legend, panels


def power(
    fit: Fit | HamiltonianGraphNetwork, path: Trajectory | GraphsTuple, *, units: Units = None
) -> Figure:
    """Draws `model.power` over time: what friction, drives and fields do to the energy.

    Below is the work of each term since the start, by the trapezoidal rule, and the change of the
    model's energy, which is their sum. Of a data set it draws the first trajectory.

    **Raises:** `ValueError` if no term of the model changes its energy.
    """
    model = fit.model if isinstance(fit, Fit) else fit
    times, energy, by_term = _along(model, path)
    if not by_term:
        raise ValueError(
            "no term of the model changes its energy, as hgn.Friction() would: use plots.energy"
        )
    figure, axes = panels(2, 1, size=(7, 5.6), sharex=True)
    (above,), (below,) = axes
    for (name, watts), colour in zip(by_term.items(), colours(len(by_term))):
        work = np.concatenate([[0], np.cumsum(np.diff(times) * (watts[1:] + watts[:-1]) / 2)])
        above.plot(times, watts, lw=1.6, color=colour, label=name)
        below.plot(times, work, lw=1.6, color=colour)
    below.plot(
        times, energy - energy[0], lw=2.5, ls=":", color=NEUTRAL, label="energy of the model"
    )
    above.set_ylabel(label("power", "power", units))
    below.set_ylabel(label("work since the start", "energy", units))
    below.set_xlabel(label("time", "time", units))
    legend(above)
    legend(below)
    return figure


def _along(
    model: HamiltonianGraphNetwork, path: Trajectory | GraphsTuple
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Times, energies and powers `[t]`; a batch of several graphs is summed."""
    if isinstance(path, GraphsTuple):
        require(path, {"globals": ["time"]}, "the power over time")
        frames = first_trajectory(path)
        times, energy, by_term = jax.jit(
            lambda g: (g.globals["time"], model(g), model.power(g))
        )(frames)  # fmt: skip
        return np.asarray(times), np.asarray(energy), jax.tree.map(np.asarray, by_term)
    states_of(path)  # raises without states
    graph = path.end

    def at(frame: tuple[Array, Array, Array]) -> dict[str, Array]:
        time, q, p = frame
        nodes = graph.nodes | {"position": q} | ({"momentum": p} if p.size else {})
        globals_ = graph.globals | {"time": jax.numpy.broadcast_to(time, graph.n_node.shape)}
        by_name = model.power(graph._replace(nodes=nodes, globals=globals_))
        return {name: jax.numpy.sum(value) for name, value in by_name.items()}

    # `lax.map` needs t entries of every array, even if they are empty.
    momentum = path.momentum if len(path.momentum) else path.position[..., :0]
    by_term = jax.jit(lambda f: jax.lax.map(at, f))((path.times, path.position, momentum))
    energy = np.asarray(path.energy).reshape(len(path.times), -1).sum(axis=1)
    return np.asarray(path.times), energy, jax.tree.map(np.asarray, by_term)
