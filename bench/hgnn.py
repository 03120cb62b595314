"""Baseline: the Hamiltonian graph network of the NeurIPS 2022 benchmark, trained by Adam."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax._types import GraphScalars, Key
from hgn_jax.graphs.geometry import distance, sum_over_graphs


class HGNN(hgn.AbstractHamiltonian):
    r"""One message-passing step for V(q), a network of $|p|^2$ for T(p); unit masses, one species.

    $e_{ij} = b(r_{ij})$, $h_i = n + \sum_j v(n, e_{ij})$, $e'_{ij} = e_{ij} + e(h_i h_j)$,
    $V = \sum_{ij} f_1(e'_{ij}) + \sum_i f_2(h_i) + f_3(n, q_i)$ over both directions of every
    pair, $T = \sum_i k(n', |p_i|^2)$; n and n' embed the species. All are perceptrons with two
    hidden layers of squareplus units. f_3 depends on absolute positions: momentum is not conserved.

    With `hidden` = 5, the suite's size, it has 694 parameters in the plane. Layers have equinox's
    initialisation, uniform within 1 / sqrt(inputs); the suite's is N(0, 1).

    **Source:** Thangamuthu et al., arXiv 2211.05520, `HGNN` of its code.
    """

    species: eqx.nn.Linear
    kinetic_species: eqx.nn.Linear
    b: eqx.nn.MLP
    v: eqx.nn.MLP
    e: eqx.nn.MLP
    f1: eqx.nn.MLP
    f2: eqx.nn.MLP
    f3: eqx.nn.MLP
    k: eqx.nn.MLP

    def __init__(self, hidden: int, dimension: int, *, key: Key):
        keys = iter(jr.split(key, 9))

        def perceptron(inputs: int, outputs: int, width: int = hidden) -> eqx.nn.MLP:
            return eqx.nn.MLP(inputs, outputs, width, 2, jax.nn.squareplus, key=next(keys))

        self.species = eqx.nn.Linear(1, hidden, key=next(keys))
        self.kinetic_species = eqx.nn.Linear(1, hidden, key=next(keys))
        self.b = perceptron(1, hidden)
        self.v = perceptron(2 * hidden, hidden)
        self.e = perceptron(hidden, hidden)
        self.f1 = perceptron(hidden, 1)
        self.f2 = perceptron(hidden, 1)
        self.f3 = perceptron(hidden + dimension, 1)
        self.k = perceptron(hidden + 1, 1, 2 * hidden)

    @property
    def separable(self) -> bool:
        return True

    def __call__(self, graphs: GraphsTuple) -> GraphScalars:
        position, momentum = graphs.nodes["position"], graphs.nodes["momentum"]
        count, one = len(position), jnp.ones(1, position.dtype)
        n, n_kinetic = (
            jnp.broadcast_to(layer(one), (count, layer.out_features))
            for layer in (self.species, self.kinetic_species)
        )
        edge = jax.vmap(self.b)(distance(graphs)[:, None])
        message = jax.vmap(self.v)(jnp.concatenate([n[graphs.receivers], edge], axis=1))
        node = n + jax.ops.segment_sum(message, graphs.receivers, count)
        edge = edge + jax.vmap(self.e)(node[graphs.senders] * node[graphs.receivers])
        square = jnp.sum(momentum**2, axis=1, keepdims=True)
        energy: Float[Array, "n 1"] = (
            jax.ops.segment_sum(jax.vmap(self.f1)(edge), graphs.receivers, count)
            + jax.vmap(self.f2)(node)
            + jax.vmap(self.f3)(jnp.concatenate([n, position], axis=1))
            + jax.vmap(self.k)(jnp.concatenate([n_kinetic, square], axis=1))
        )
        return sum_over_graphs(graphs, energy[:, 0])


def parameters(model: hgn.AbstractModel) -> int:
    """Number of trained parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
