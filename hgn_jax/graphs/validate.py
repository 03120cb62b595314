"""`check`: errors that locate what is wrong with a data set. Concrete arrays only."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

from .._tree import is_concrete
from .check_axes import check_axes
from .check_edges import check_indices, check_pairs
from .check_shapes import check_arrays, check_shapes
from .check_values import Frames, check_cells, check_finite, check_signs, padding_graphs
from .not_graphs import not_graphs
from .periodic_lattice import check_lattices
from .tuples import check_tuples


def warn_about_precision(data: GraphsTuple) -> None:
    """Warns that a fit in float32 loses digits."""
    if jax.dtypes.canonicalize_dtype(data.nodes["position"].dtype) == jnp.float32:
        warnings.warn(
            "fitting in float32: expect relative errors of about 1e-6 instead of 1e-13. For 64-bit "
            'call jax.config.update("jax_enable_x64", True) before the data are made.',
            stacklevel=3,  # the line that calls `fit`
        )


def check(data: GraphsTuple) -> None:
    """Raises `ValueError` for bad data, naming array, frame (graph) and node or edge.

    It refuses

    - unknown names, wrong shapes and dtypes, and floating arrays of unequal precision;
    - NaN and Inf, masses and moments of inertia that are not positive, negative weights, species
        and types;
    - axes that are not of unit length, and angular momenta along the axis;
    - edges that leave their graph, are duplicates, have length zero (unless `position` is a
        displacement of lattice sites), or lack a reverse edge of equal coupling and type and
        opposite shift;
    - lattices of displacements that lack a site or an edge between neighbours;
    - triples and quadruples that leave their graph or repeat a body;
    - singular cells, edges without `shift` in a cell, and frames without bodies.

    Only `nodes["position"]` is required; `fit` raises errors of its own for the arrays that it
    needs. Padding (see `hgn.graphs.pad`) is ignored.

    `fit` calls `check` if its data are concrete. Inside jit no value can be inspected.
    """
    if not isinstance(data, GraphsTuple):
        raise not_graphs("data", data)
    if not is_concrete(data):
        raise ValueError("check needs concrete arrays: call it outside of jit, vmap and grad")
    # The order matters: each check relies on what the ones before it have established.
    check_arrays(data)
    graphs = jax.tree.map(np.asarray, data)
    check_shapes(graphs)
    frames, padding = Frames(graphs), padding_graphs(graphs)
    check_finite(graphs, frames)
    check_indices(graphs, frames)
    check_pairs(graphs, frames, padding)
    check_signs(graphs, frames, padding)
    check_axes(graphs, frames, padding)
    check_tuples(graphs, frames)
    check_lattices(graphs, frames, padding)
    check_cells(graphs, padding)
