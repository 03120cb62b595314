"""Checks of a term's derivatives against differences of its energies."""

import jax
import jax.numpy as jnp
import numpy as np


def assert_slopes(term, graph, theta):
    """Slopes of all columns by displacements of one graph, and those of their sum over theta."""

    @jax.jit
    def energies(q):
        return term(graph._replace(nodes=graph.nodes | {"position": q}))[0]

    h, q = 1e-5, graph.nodes["position"]
    moves = h * np.eye(len(q))[:, :, None]
    difference = [(energies(q + move) - energies(q - move)) / (2 * h) for move in moves]
    slopes = term.gradient(graph).position[:, 0]
    np.testing.assert_allclose(slopes, np.stack(difference), rtol=0, atol=1e-8)
    contracted = term.energy_gradient(graph, theta).position[:, 0]
    np.testing.assert_allclose(contracted, slopes @ theta, rtol=0, atol=1e-13)
    backwards = jax.grad(lambda q: energies(q) @ theta)(q)[:, 0]
    np.testing.assert_allclose(contracted, backwards, rtol=0, atol=1e-13)
    np.testing.assert_allclose(jnp.sum(term.node_energy(graph, theta)), energies(q) @ theta)
