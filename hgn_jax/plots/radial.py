"""Radial distribution functions."""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from ..dynamics.observables import RadialDistribution
from ..dynamics.trajectory import Trajectory
from ..graphs.cell import Cell
from ..models.newtonian import Newtonian
from .sources import Source, states_of
from .style import LEARNED, NEUTRAL, TRUE, Units, label, legend, panels


def radial_distribution(
    path: Source,
    rdf: RadialDistribution | None = None,
    *,
    truth: Source | None = None,
    units: Units = None,
) -> Figure:
    """Draws g(r), averaged over all times, of a rollout or a data set in a periodic cell.

    `rdf` is the observable that the rollout recorded, or the one to compute from its states; None
    takes 100 shells up to half of the least height of the cell. `truth`, such as the data that the
    model was learned from, is drawn below the line.

    **Raises:** `ValueError` if there is no cell, or it is too small for the reach.
    """
    r, learned = _average(path, rdf)
    figure, ((ax,),) = panels(size=(6.5, 4.0))
    if truth is not None:
        ax.plot(*_average(truth, rdf), color=TRUE, lw=5, alpha=0.4, label="reference")
    ax.plot(r, learned, color=LEARNED, lw=1.6, label="model")
    ax.axhline(1, color=NEUTRAL, lw=1, ls=":")
    ax.set_xlabel(label("distance r", "length", units))
    ax.set_ylabel("g(r)")
    if truth is not None:
        legend(ax)
    return figure


def _average(source: Source, rdf: RadialDistribution | None) -> tuple[np.ndarray, np.ndarray]:
    """Distances, and g(r) as the mean over time."""
    if rdf is not None and isinstance(source, Trajectory) and rdf.name in source.observed:
        values = np.asarray(source.observed[rdf.name])
        if values.shape[-1] != rdf.bins:
            raise ValueError(f"the rollout recorded {values.shape[-1]} shells, rdf has {rdf.bins}")
        return rdf.r, values.mean(axis=0)
    states = states_of(source)
    graph = states.graph
    if graph is None or "cell" not in graph.globals:
        raise ValueError("g(r) needs a periodic cell, and these states have none")
    if rdf is None:
        heights = Cell(np.asarray(graph.globals["cell"], float)[0]).heights
        rdf = RadialDistribution(reach=float(heights.min()) / 2)
    rdf.check(graph)

    def at(position: jax.Array) -> jax.Array:
        moved = graph._replace(nodes=graph.nodes | {"position": position})
        return rdf(Newtonian(), moved, moved)[0]  # depends on positions alone: any model will do

    # Not vmap: the pairs of all frames would be in memory at once.
    g = jax.jit(lambda q: jnp.mean(jax.lax.map(at, q), axis=0))(jnp.asarray(states.position))
    return rdf.r, np.asarray(g)
