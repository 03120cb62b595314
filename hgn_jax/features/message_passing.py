"""Message-passing encoder of Rahma et al., for comparison with the exact invariants."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._tree import is_concrete
from .._types import Gradient, Key, NodeScalars
from ..graphs.geometry import edge_mask, node_mask, norm, sum_over_edges, sum_over_graphs
from .base import AbstractEnergy, AbstractTermSpec, Counts, Fitted, differentiated
from .dense import Dense
from .local_frame import FRAMES, Frame, check_axes, local_coordinates, signs
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

    With the "principal" frame the axes are the eigenvectors of $\sum_i \bar q_i \bar q_i^T$, and
    $\Phi$ is the mean over all choices of their signs (frame averaging, Puny et al., arXiv
    2110.03336). It is invariant under reflections in every dimension, and smooth as long as no two
    axes are equally long.

    Limitations, compared with pair and kinetic features: q and p are mixed, so the energy is not
    separable. The frame of the nearest nodes jumps when the nearest node changes; the slope of the
    principal frame is infinite where two axes are equally long, as in an ideal cube. Inputs depend
    on the extent of the system, so that the model transfers less well to larger graphs. Edge
    `type`, `coupling` and periodic `shift` are ignored.
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
    frame: Frame = eqx.field(default="nearest", static=True)

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
        x = self._local(graphs)
        by_frame = jax.lax.map(lambda sign: self._in_frame(graphs, x * sign), signs(self.frame, x))
        return jnp.mean(by_frame, axis=0)

    def _local(self, graphs: GraphsTuple) -> Float[Array, "n x"]:
        nodes = graphs.nodes
        return local_coordinates(graphs, nodes["position"], nodes["momentum"], self.frame)

    def _in_frame(self, graphs: GraphsTuple, x: Float[Array, "n x"]) -> Float[Array, "n K"]:
        # Biases give units a value even at padding.
        hidden = jnp.where(node_mask(graphs)[:, None], self.node_layer(x), 0)
        message = self._message(x[graphs.senders], x[graphs.receivers])
        message = jnp.where(edge_mask(graphs)[:, None], message, 0)
        received = sum_over_edges(graphs, message)
        return self._pooled(hidden, received)

    def gradient(self, graphs: GraphsTuple) -> Gradient:
        x, pull_back = jax.vjp(
            lambda q, p: local_coordinates(graphs, q, p, self.frame),
            graphs.nodes["position"],
            graphs.nodes["momentum"],
        )
        by_frame = jax.lax.map(
            lambda sign: sign[:, :, None] * self._slopes(graphs, x * sign), signs(self.frame, x)
        )
        # Through the frame, which depends on other bodies' positions, too.
        return Gradient(*jax.vmap(pull_back, in_axes=2, out_axes=2)(jnp.mean(by_frame, axis=0)))

    def _slopes(self, graphs: GraphsTuple, x: Float[Array, "n x"]) -> Float[Array, "n x K"]:
        """Derivatives by the local coordinates."""
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
        return self._pooled(hidden, jnp.swapaxes(received_by_node, 1, 2))

    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        return self._values(graphs) @ theta

    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        return differentiated(self, graphs, theta)

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return count_outside_box(graphs, self._local(graphs), node_mask(graphs), self.box)

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
    - `frame`: "nearest", that of the paper, jumps when another node becomes the nearest to the
        centre. "principal" averages over the signs of the principal axes, which is smooth and more
        accurate (bench/frames.py), and costs four evaluations in two dimensions, eight in three.

    **Raises:** `ValueError` for a sampling in two passes or an unknown frame. With "principal" a
    fit raises it for data with two principal axes of equal length.
    """

    units: int = eqx.field(default=256, static=True)
    hidden: int = eqx.field(default=64, static=True)
    sampling: AbstractSampling = SWIM()
    activation: str = eqx.field(default="tanh", static=True)
    sees_receiver: bool = eqx.field(default=False, static=True)
    pools_nodes: bool = eqx.field(default=True, static=True)
    frame: Frame = eqx.field(default="nearest", static=True)

    def __check_init__(self) -> None:
        if self.frame not in FRAMES:
            raise ValueError(f"frame must be one of {FRAMES}, got {self.frame!r}")
        if self.sampling.guided:
            raise ValueError("guided sampling needs site energies, which messages do not have")

    @property
    def guided(self) -> bool:
        return False

    def resolve(self, data: GraphsTuple) -> "MessagePassing":
        if self.frame == "principal" and is_concrete(data):
            check_axes(data)
        return self

    def sample(
        self, key: Key, data: GraphsTuple, previous: Fitted | None = None
    ) -> MessagePassingFeatures:
        nodes, edges, messages = jr.split(key, 3)
        x = local_coordinates(data, data.nodes["position"], data.nodes["momentum"], self.frame)
        every = signs(self.frame, x)
        mask, joined = jnp.tile(node_mask(data), len(every)), jnp.tile(edge_mask(data), len(every))

        def in_all_frames(ends: Array) -> Array:
            return jnp.concatenate([x[ends] * sign for sign in every])

        both_nodes = in_all_frames(data.senders), in_all_frames(data.receivers)
        x = jnp.concatenate([x * sign for sign in every])
        node_layer = self.sampling(nodes, x, mask, self.hidden, self.activation)
        edge_layer = self.sampling(
            edges, edge_inputs(*both_nodes), joined, self.hidden, self.activation
        )
        h = message_inputs(node_layer, edge_layer, *both_nodes, self.sees_receiver)
        message_layer = self.sampling(messages, h, joined, self.units, self.activation)
        box = box_of(x, mask)
        options = (self.sees_receiver, self.pools_nodes, self.frame)
        return MessagePassingFeatures(node_layer, edge_layer, message_layer, box, *options)


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
