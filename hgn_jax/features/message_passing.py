"""Message-passing encoder of Rahma et al., for comparison with the exact invariants."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import Gradient, Key, NodeScalars
from ..graphs.geometry import (
    bodies,
    edge_mask,
    graph_index,
    node_mask,
    norm,
    sum_over_edges,
    sum_over_graphs,
)
from .base import AbstractEnergy, AbstractTermSpec, Counts, Fitted, differentiated
from .dense import Dense
from .sampling import SWIM, AbstractSampling
from .trained_range import box_of, count_outside_box


class MessagePassingFeatures(AbstractEnergy):
    r"""Random dense layers on nodes, edges and messages in a local frame (Rahma et al.,
    arXiv 2506.06558).

    $x_i$ are the positions relative to their mean, and the momenta, in an orthonormal frame. Its
    first axis points to the node nearest to the centre. In two dimensions the second axis is the
    first turned by 90 degrees; otherwise the axes follow from the next nearest nodes by
    Gram-Schmidt. Then $h_i = \phi_V(x_i)$, $e_{ij} = \phi_E(\bar q_j - \bar q_i, r_{ij})$,
    $m_{ij} = \phi_M(h_i, e_{ij})$, and $\Phi = \sum_j (h_j, \sum_i m_{ij})$. With `sees_receiver`
    the messages are $\phi_M(h_i, h_j, e_{ij})$; without `pools_nodes` $\Phi$ has no $h_j$.

    Features are invariant under rotations, translations and permutations. They are invariant under
    reflections too, except in two dimensions. If the bodies of a graph in three dimensions do not
    span it (fewer than four, or all on a line or plane), the missing axes are zero, and components
    along them are ignored.

    Limitations, compared with pair and kinetic features: q and p are mixed, so the energy is not
    separable. The frame jumps when the nearest node changes. Inputs depend on the extent of the
    system, so that the model transfers less well to larger graphs. Edge `type`, `coupling` and
    periodic `shift` are ignored.
    """

    name: ClassVar[str] = "message passing"
    depends_on: ClassVar[tuple[str, ...]] = ("position", "momentum")
    node_layer: Dense
    edge_layer: Dense
    message_layer: Dense
    box: Float[Array, "x 2"]
    """Least and greatest local coordinate in training, position before momentum."""
    sees_receiver: bool = eqx.field(default=False, static=True)
    pools_nodes: bool = eqx.field(default=True, static=True)

    @property
    def dimension(self) -> int | None:
        return int(self.box.shape[-2]) // 2

    @property
    def reach(self) -> float:
        return math.inf

    @property
    def counts(self) -> Counts:
        return Counts(bodies=True)

    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        return sum_over_graphs(graphs, self._values(graphs))

    def _values(self, graphs: GraphsTuple) -> Float[Array, "n K"]:
        x = local_coordinates(graphs, graphs.nodes["position"], graphs.nodes["momentum"])
        # Biases give units a value even at padding.
        hidden = jnp.where(node_mask(graphs)[:, None], self.node_layer(x), 0)
        message = self._message(x[graphs.senders], x[graphs.receivers])
        message = jnp.where(edge_mask(graphs)[:, None], message, 0)
        received = sum_over_edges(graphs, message)
        return self._pooled(hidden, received)

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        x, pull_back = jax.vjp(
            lambda q, p: local_coordinates(graphs, q, p),
            graphs.nodes["position"],
            graphs.nodes["momentum"],
        )
        hidden = jnp.where(node_mask(graphs)[:, None, None], self.node_layer.jacobian(x), 0)

        def jacobians(edge: tuple[Array, Array]) -> tuple[Array, Array]:
            def message(a: Array, b: Array) -> Array:
                return self._message(a[None], b[None])[0]

            # Forward mode: an edge has few coordinates, and many units.
            return jax.jacfwd(message, (0, 1))(*edge)

        both_nodes = (x[graphs.senders], x[graphs.receivers])
        # In batches: Jacobians of all edges at once may not fit into memory.
        sent, received = jax.lax.map(jacobians, both_nodes, batch_size=2048)
        # A message depends on both of its nodes, so that each takes its share of the derivative.
        received_by_node = sum(
            jax.ops.segment_sum(jnp.where(edge_mask(graphs)[:, None, None], slope, 0), node, len(x))
            for slope, node in ((sent, graphs.senders), (received, graphs.receivers))
        )
        by_local = self._pooled(hidden, jnp.swapaxes(received_by_node, 1, 2))  # [n x K]
        # Through the frame, which depends on other bodies' positions, too.
        return Gradient(*jax.vmap(pull_back, in_axes=2, out_axes=2)(by_local))

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        return self._values(graphs) @ theta

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        return differentiated(self, graphs, theta)

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        x = local_coordinates(graphs, graphs.nodes["position"], graphs.nodes["momentum"])
        return count_outside_box(graphs, x, node_mask(graphs), self.box)

    def trained_range(self) -> Float[Array, "... 2"]:
        return self.box

    def _pooled(self, nodes: Float[Array, "... h"], messages: Float[Array, "... m"]) -> Array:
        return jnp.concatenate([nodes, messages], axis=-1) if self.pools_nodes else messages

    def _message(self, sender: Float[Array, "e x"], receiver: Float[Array, "e x"]) -> Array:
        return self.message_layer(
            message_inputs(self.node_layer, self.edge_layer, sender, receiver, self.sees_receiver)
        )


class MessagePassing(AbstractTermSpec):
    """Random message-passing features, our reading of the encoder of Rahma et al. (arXiv
    2506.06558).

    The columns are the `hidden` node units and the `units` message units, summed over the bodies.

    **Arguments:**

    - `units`: number of message units.
    - `hidden`: number of units of the node layer and of the edge layer.
    - `sampling`: distribution of the weights of all three layers; a single pass.
    - `activation`: "tanh", "erf", "sigmoid", "sin" or "relu", whose forces jump.
    - `sees_receiver`: whether messages depend on the receiver's units, not only on the sender's.
    - `pools_nodes`: whether the node units are columns too. Our sources on the paper leave open
        this and `sees_receiver`; bench/paper_encoder.py chooses both from training data.

    **Raises:** `ValueError` for a sampling in two passes.
    """

    units: int = eqx.field(default=256, static=True)
    hidden: int = eqx.field(default=64, static=True)
    sampling: AbstractSampling = SWIM()
    activation: str = eqx.field(default="tanh", static=True)
    sees_receiver: bool = eqx.field(default=False, static=True)
    pools_nodes: bool = eqx.field(default=True, static=True)

    def __check_init__(self) -> None:
        if self.sampling.guided:
            raise ValueError("guided sampling needs site energies, which messages do not have")

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "MessagePassing":
        return self

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> MessagePassingFeatures:
        nodes, edges, messages = jr.split(key, 3)
        x = local_coordinates(data, data.nodes["position"], data.nodes["momentum"])
        node_layer = self.sampling(nodes, x, node_mask(data), self.hidden, self.activation)
        mask = edge_mask(data)
        both_nodes = x[data.senders], x[data.receivers]
        edge_layer = self.sampling(
            edges, edge_inputs(*both_nodes), mask, self.hidden, self.activation
        )
        h = message_inputs(node_layer, edge_layer, *both_nodes, self.sees_receiver)
        message_layer = self.sampling(messages, h, mask, self.units, self.activation)
        box = box_of(x, node_mask(data))
        return MessagePassingFeatures(
            node_layer, edge_layer, message_layer, box, self.sees_receiver, self.pools_nodes
        )


def edge_inputs(sender: Float[Array, "e x"], receiver: Float[Array, "e x"]) -> Array:
    """Difference of local positions and its length, `[e d+1]`."""
    dimension = sender.shape[1] // 2
    step = (receiver - sender)[:, :dimension]
    return jnp.concatenate([step, norm(step)[:, None]], axis=1)


def message_inputs(
    node_layer: Dense,
    edge_layer: Dense,
    sender: Float[Array, "e x"],
    receiver: Float[Array, "e x"],
    sees_receiver: bool,
) -> Float[Array, "e inputs"]:
    """Units of the nodes and of the edge, for every edge."""
    nodes = [sender, receiver] if sees_receiver else [sender]
    edge = edge_layer(edge_inputs(sender, receiver))
    return jnp.concatenate([*(node_layer(x) for x in nodes), edge], axis=1)


def local_coordinates(
    graphs: GraphsTuple, position: Float[Array, "n d"], momentum: Float[Array, "n d"]
) -> Float[Array, "n x"]:
    """Centred position and momentum of every node in its graph's frame, `[n 2d]`."""
    index, mask = graph_index(graphs), node_mask(graphs)[:, None]
    count = jnp.maximum(bodies(graphs), 1)[:, None]  # empty graphs have no centre
    centre = sum_over_graphs(graphs, jnp.where(mask, position, 0)) / count
    arm = jnp.where(mask, position - centre[index], 0)
    axes = _frame(graphs, arm)[index]
    inside = jnp.einsum("nkd,nd->nk", axes, arm)
    return jnp.concatenate([inside, jnp.einsum("nkd,nd->nk", axes, momentum)], axis=1)


def _frame(graphs: GraphsTuple, arm: Float[Array, "n d"]) -> Float[Array, "g d d"]:
    n, d = arm.shape
    # Lengths only order the nodes: an order has no derivative.
    length = jax.lax.stop_gradient(norm(arm))
    nearest_first = jnp.lexsort((length, graph_index(graphs)))  # by graph, then by length
    start = jnp.cumsum(graphs.n_node) - graphs.n_node
    axes: list[Array] = []
    for k in range(1 if d == 2 else d):
        last = start + jnp.maximum(graphs.n_node - 1, 0)
        # Small graphs repeat their last node, which then defines no axis.
        picked = arm[nearest_first[jnp.minimum(jnp.minimum(start + k, last), n - 1)]]
        axis = picked
        for earlier in axes:
            # Modified Gram-Schmidt: the remainder is projected, not the arm.
            axis = axis - jnp.sum(axis * earlier, axis=1, keepdims=True) * earlier
        size = norm(axis)[:, None]
        # A linearly dependent arm leaves only rounding errors: they define no axis.
        real = size > jnp.sqrt(jnp.finfo(arm.dtype).eps) * norm(picked)[:, None]
        # Two `where`s: a division by zero would make the gradient NaN even if not selected.
        axes.append(jnp.where(real, axis / jnp.where(real, size, 1), 0))
    if d == 2:
        x, y = axes[0].T
        axes.append(jnp.stack([-y, x], axis=1))
    return jnp.stack(axes, axis=1)
