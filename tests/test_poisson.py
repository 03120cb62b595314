"""Poisson systems: a free rigid body against SciPy, tanks joined by pipes, refusals."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hgn_jax as hgn

INERTIA = np.array([1.0, 2.0, 3.0])
INCIDENCE = np.array([[-1.0, 1.0, 0.0], [0.0, -1.0, 1.0]])
"""Two pipes; the first leads from tank 0 to tank 1, the second from 1 to 2."""
J_OF_TANKS = np.block([[np.zeros((2, 2)), -INCIDENCE], [INCIDENCE.T, np.zeros((3, 3))]])


def cross_matrix(x):
    """The matrix of the cross product with x from the left."""
    a, b, c = x
    zero = jnp.zeros_like(a)
    return jnp.array([[zero, -c, b], [c, zero, -a], [-b, a, zero]])


def rigid_body(t, x):
    return np.cross(x, x / INERTIA)


def tanks(t, x):
    """Flow p/2 in the pipes; pressure h + 2 h^2 in the tanks."""
    flow, pressure = x[:2] / 2, x[2:] + 2 * x[2:] ** 2
    return np.concatenate([-INCIDENCE @ pressure, INCIDENCE.T @ flow])


class Squares(hgn.AbstractSiteEnergy):
    name: ClassVar[str] = "squares"
    sites: ClassVar[Any] = hgn.sites.Positions()

    def phi(self, z, site):
        return z**2 / 2


class Tanks(hgn.AbstractSiteEnergy):
    """One energy of the two pipes, two of the tanks."""

    name: ClassVar[str] = "tanks"
    sites: ClassVar[Any] = hgn.sites.Positions()

    def phi(self, z, site):
        pipes, tanks = z[:2], z[2:]
        return jnp.stack([jnp.sum(pipes**2) / 2, jnp.sum(tanks**2) / 2, jnp.sum(tanks**3) / 3])


def graphs_of(states, rates=None):
    graph = hgn.graphs.from_pairs(states[:1], [])
    graph = graph._replace(nodes={k: graph.nodes[k] for k in ("position", "mass")})
    arrays = {"position": states} | ({} if rates is None else {"velocity": rates})
    return hgn.graphs.snapshots(graph, {k: jnp.asarray(v)[:, None] for k, v in arrays.items()}, {})


def snapshots(field, d, count=60):
    x = np.random.default_rng(0).normal(size=(count, d))
    return graphs_of(x, np.stack([field(0.0, each) for each in x]))


def rolled(model, start, times):
    return np.asarray(
        hgn.rollout(
            model, graphs_of(start[None]), times, dt=1e-3, integrator=hgn.ImplicitMidpoint()
        ).position[:, 0]
    )


def true_path(field, start, times):
    return solve_ivp(field, times[[0, -1]], start, "DOP853", times, rtol=1e-12, atol=1e-12).y.T


def test_a_rigid_body_is_learned_and_tumbles_as_scipys():
    dynamics = hgn.Poisson(cross_matrix)
    fit = hgn.fit(snapshots(rigid_body, 3), key=0, terms=[Squares()], dynamics=dynamics)
    # |L|^2 is a Casimir, which leaves the motion unchanged: only differences are determined.
    theta = np.asarray(fit.model.theta[0])
    np.testing.assert_allclose(theta - theta[0], 1 / INERTIA - 1 / INERTIA[0], atol=1e-12)
    start, times = np.array([0.2, 3.0, 0.3]), np.linspace(0, 10, 11)
    path, true = rolled(fit.model, start, times), true_path(rigid_body, start, times)
    np.testing.assert_allclose(path, true, atol=2e-5)
    assert np.abs(np.diff(true[:, 1])).max() > 1  # it tumbles about its middle axis
    np.testing.assert_allclose(np.sum(path**2, axis=1), start @ start, rtol=1e-12)
    energy = np.sum(path**2 / INERTIA, axis=1)
    np.testing.assert_allclose(energy, energy[0], rtol=1e-12)


def test_random_units_find_the_motion_of_a_rigid_body():
    data = snapshots(rigid_body, 3, 400)
    dynamics = hgn.Poisson(cross_matrix)
    fit = hgn.fit(data, key=0, terms=[hgn.External(32, hgn.ELM())], dynamics=dynamics)
    x = np.random.default_rng(1).normal(size=(50, 3)) * 0.7
    (rate,) = fit.model.vector_field(graphs_of(x))
    true = np.stack([rigid_body(0.0, each) for each in x])
    assert np.linalg.norm(rate - true) < 1e-5 * np.linalg.norm(true)


def test_tanks_joined_by_pipes_are_learned_from_states_alone(tmp_path):
    times = np.linspace(0, 4, 81)
    starts = np.random.default_rng(2).normal(size=(6, 5)) * 0.3 + 0.5
    paths = np.stack([true_path(tanks, start, times) for start in starts])
    data = hgn.graphs.from_trajectories(
        times, paths[:, :, None], mass=1.0, edges=np.zeros((0, 2), int), rates=False
    )
    steps = hgn.Steps(window=10, order=9)
    dynamics = hgn.Poisson(J_OF_TANKS)
    fit = hgn.fit(data, key=0, terms=[Tanks()], dynamics=dynamics, observations=[steps])
    np.testing.assert_allclose(fit.model.theta[0], [0.5, 1, 2], atol=1e-6)
    hgn.save(tmp_path / "tanks.hgn", fit.model)
    path = rolled(hgn.load(tmp_path / "tanks.hgn"), starts[0], times[::20])
    np.testing.assert_allclose(path, paths[0, ::20], atol=1e-5)
    np.testing.assert_allclose(path[:, 2:].sum(axis=1), starts[0, 2:].sum(), rtol=1e-12)


def test_the_same_model_is_learned_inside_jit():
    data = snapshots(tanks, 5)

    @jax.jit
    def learned(data, matrix):
        dynamics = hgn.Poisson(matrix)
        return hgn.fit(data, key=0, terms=[Tanks()], dynamics=dynamics, throw=False).model.theta[0]

    np.testing.assert_allclose(learned(data, jnp.asarray(J_OF_TANKS)), [0.5, 1, 2], atol=1e-11)


def lopsided(x):
    return cross_matrix(x).at[0, 2].add(jnp.where(x[0] == 5, 0.5, 0.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: hgn.Poisson([[0.0, 1.0], [1.0, 0.0]]),
            r"antisymmetric, but J\[0, 1\] = 1 and J\[1, 0\] = 1$",
        ),
        (lambda: hgn.Poisson([[0.0, 1.0], [-1.0, 2.0]]), r"J\[1, 1\] = 2 and J\[1, 1\] = 2"),
        (lambda: hgn.Poisson(np.zeros((2, 3))), r"got shape \(2, 3\)"),
        (
            lambda: hgn.Poisson([[0.0, 1.0], [-1.0, 0.0]]).accepts(graphs_of(np.ones((2, 3)))),
            r"\[3 3\] for positions of 3 coordinates, got \[2, 2\]",
        ),
    ],
)
def test_bad_matrices_are_refused(make, message, no_type_checks):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_function_is_checked_where_the_data_are():
    states = np.array([[1.0, 2.0, 3.0], [5.0, 2.0, 3.0]])
    data = graphs_of(states, states)
    with pytest.raises(ValueError, match=r"J\[0, 2\] = 2\.5 and J\[2, 0\] = -2 for body 1"):
        hgn.fit(data, key=0, terms=[Squares()], dynamics=hgn.Poisson(lopsided))


def test_a_function_cannot_be_saved(tmp_path):
    dynamics = hgn.Poisson(cross_matrix)
    fit = hgn.fit(snapshots(rigid_body, 3), key=0, terms=[Squares()], dynamics=dynamics)
    with pytest.raises(TypeError, match="files hold no code"):
        hgn.save(tmp_path / "model.hgn", fit.model)
