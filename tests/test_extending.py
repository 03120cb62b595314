"""User-defined terms, dynamics and observations, against NumPy and SciPy.

A feature, a friction, a gradient flow without momenta or masses, a field that depends on time; each
through fit, stream, rollout with neighbours, save and load.
"""

import dataclasses
from typing import Any, ClassVar

import diffrax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hgn_jax as hgn

CUTOFF, OMEGA = 1.5, 2.0
THETA = np.array([3.0, -2.0])
GAMMA, FIELD, MOBILITY = 0.4, 0.7, 0.5
MASS = np.array([1.0, 2.0, 0.5, 1.5])
KEY = jr.key(0)


# What a user writes


class Bumps(hgn.AbstractSiteEnergy):
    """Two columns per pair that fade at the cutoff."""

    name: ClassVar[str] = "bumps"
    sites: ClassVar[Any] = hgn.sites.Pairs()
    cutoff: ClassVar[float] = CUTOFF

    def phi(self, z, site):
        square = jnp.sum(z**2)
        return jnp.maximum(1 - square / CUTOFF**2, 0) ** 3 * jnp.stack([jnp.ones(()), square])


class Friction(hgn.AbstractUntrained, hgn.AbstractRates):
    """dp/dt = -gamma p."""

    name: ClassVar[str] = "friction"
    separable: ClassVar[bool] = False
    acts_on_pairs: ClassVar[bool] = False

    def __call__(self, graphs):
        return hgn.Gradient(momentum=-graphs.nodes["momentum"][:, :, None])


class Shaken(hgn.AbstractSiteEnergy):
    """A uniform field along x, as cos(omega t)."""

    name: ClassVar[str] = "shaken"
    time_dependent: ClassVar[bool] = True
    sites: ClassVar[Any] = hgn.sites.Positions()

    def phi(self, z, site):
        return -z[:1] * jnp.cos(OMEGA * site.time)


class GradientFlow(hgn.AbstractDynamics):
    """dq/dt = -mobility dE/dq."""

    state: ClassVar[tuple[str, ...]] = ("position",)
    observed: ClassVar[tuple[str, ...]] = ("velocity",)
    separable: ClassVar[bool] = False
    conserves_energy: ClassVar[bool] = False
    mobility: float

    def rates(self, graphs, gradient):
        return (None if gradient.position is None else -self.mobility * gradient.position,)


# The truth, by NumPy


def pull(q):
    """Forces -dE/dq of the pairs, and E."""
    force, energy = np.zeros_like(q), 0.0
    for i in range(len(q)):
        for j in range(i):
            s = np.sum((q[i] - q[j]) ** 2)
            if s >= CUTOFF**2:
                continue
            w, bumps = 1 - s / CUTOFF**2, THETA[0] + THETA[1] * s
            energy += w**3 * bumps
            slope = -3 * w**2 / CUTOFF**2 * bumps + w**3 * THETA[1]
            force[i] -= 2 * slope * (q[i] - q[j])
            force[j] += 2 * slope * (q[i] - q[j])
    return force, energy


def newton(t, q, p):
    return p / MASS[:, None], pull(q)[0]


def damped(t, q, p):
    return p / MASS[:, None], pull(q)[0] - GAMMA * p


def shaken(t, q, p):
    field = FIELD * np.cos(OMEGA * t) * np.eye(1, q.shape[1])
    return p / MASS[:, None], pull(q)[0] + field


def flowing(t, q):
    return (MOBILITY * pull(q)[0],)


@dataclasses.dataclass
class Case:
    terms: tuple
    truth: Any
    theta: list
    dynamics: hgn.AbstractDynamics = hgn.Canonical()
    integrator: Any = hgn.KahanLi8()
    momenta: bool = True


CASES = {
    "feature": Case((hgn.Kinetic(0), Bumps()), newton, [[1.0], THETA]),
    "friction": Case(
        (hgn.Kinetic(0), Bumps(), Friction()),
        damped,
        [[1.0], THETA, [GAMMA]],
        integrator=diffrax.Dopri8(),
    ),
    "gradient flow": Case(
        (Bumps(),),
        flowing,
        [THETA],
        dynamics=GradientFlow(MOBILITY),
        integrator=diffrax.Dopri8(),
        momenta=False,
    ),
    "time": Case((hgn.Kinetic(0), Bumps(), Shaken()), shaken, [[1.0], THETA, [FIELD]]),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def graph_of(case, q, t, p=None):
    """Graph with all pairs joined; those beyond the cutoff contribute nothing."""
    graph = hgn.graphs.fully_connected(len(q), q.shape[1], position=q, mass=MASS)
    nodes = {"position": graph.nodes["position"]}
    if case.momenta:
        nodes |= {"momentum": jnp.asarray(p), "mass": graph.nodes["mass"]}
    return graph._replace(nodes=nodes, globals={"time": jnp.array([t], float)})


def snapshots(case, count=24):
    """Random states with rates computed by NumPy."""
    graphs = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        q, p, t = rng.uniform(-1, 1, (4, 3)), rng.normal(size=(4, 3)), rng.uniform(0, 3)
        state = (q, p) if case.momenta else (q,)
        graph = graph_of(case, q, t, p)
        rates = dict(zip(case.dynamics.observed, map(jnp.asarray, case.truth(t, *state))))
        graphs.append(graph._replace(nodes=graph.nodes | rates))
    return hgn.graphs.batch(graphs)


def fitted(case, data):
    return hgn.fit(data, key=KEY, terms=case.terms, dynamics=case.dynamics)


def assert_theta(fit, case):
    assert fit.result == hgn.RESULTS.successful
    for found, true in zip(fit.model.theta, case.theta, strict=True):
        np.testing.assert_allclose(found, true, rtol=1e-11)


@each_case
def test_coefficients_are_found(case):
    data = snapshots(case)
    fit = fitted(case, data)
    assert_theta(fit, case)
    padded = hgn.graphs.pad(data, n_node=100, n_edge=300, n_graph=30)
    assert_theta(fitted(case, padded), case)
    for name, deviation in fit.standard_deviation(data).rates.items():
        assert np.max(deviation) < 1e-10 * np.max(np.abs(data.nodes[name]))


@each_case
def test_a_stream_finds_the_same(case):
    pieces = list(hgn.graphs.chunks(snapshots(case), 7))
    assert_theta(hgn.fit_stream(pieces, key=KEY, terms=case.terms, dynamics=case.dynamics), case)


@each_case
def test_energies_and_virials_are_numpys(case):
    model = fitted(case, snapshots(case)).model
    q = np.random.default_rng(99).uniform(-1, 1, (4, 3))
    graph = graph_of(case, q, 0.3, np.zeros_like(q))
    field = FIELD * np.cos(OMEGA * 0.3) * q[:, 0].sum() if case.truth is shaken else 0.0
    np.testing.assert_allclose(model(graph), [pull(q)[1] - field], rtol=1e-11)
    h = 1e-5
    virial = np.asarray(model.virial(graph)[0])
    for a in range(3):
        for b in range(3):
            strain = np.zeros((3, 3))
            strain[a, b] = h
            ends = [
                float(model(graph_of(case, q + sign * q @ strain, 0.3, 0 * q))[0])
                for sign in (1, -1)
            ]
            np.testing.assert_allclose(virial[a, b], (ends[0] - ends[1]) / (2 * h), atol=1e-8)


@each_case
def test_a_rollout_with_neighbours_is_scipys(case):
    """Bodies cross the cutoff in both directions; lists are refreshed many times."""
    model = fitted(case, snapshots(case)).model
    rng = np.random.default_rng(5)
    q, p = rng.uniform(-1.2, 1.2, (4, 3)), 0.5 * rng.normal(size=(4, 3))
    state, times = ((q, p) if case.momenta else (q,)), np.linspace(0.5, 3.5, 7)

    def rates(t, y):
        return np.concatenate([np.ravel(r) for r in case.truth(t, *y.reshape(len(state), 4, 3))])

    true = solve_ivp(
        rates, times[[0, -1]], np.ravel(state), "DOP853", times, rtol=1e-12, atol=1e-12
    ).y.T.reshape(7, len(state), 4, 3)
    path = hgn.rollout(
        model,
        graph_of(case, q, times[0], p),
        times,
        dt=0.01,
        integrator=case.integrator,
        neighbours=hgn.Neighbours(CUTOFF, 0.2),
    )
    np.testing.assert_allclose(path.position, true[:, 0], rtol=0, atol=2e-7)
    if case.momenta:
        np.testing.assert_allclose(path.momentum, true[:, 1], rtol=0, atol=2e-7)
    else:
        assert path.momentum.shape == (0, 4, 3)
    np.testing.assert_allclose(path.end.globals["time"], times[-1], rtol=1e-14)


@each_case
def test_what_was_saved_is_loaded(case, tmp_path):
    data = snapshots(case)
    model = fitted(case, data).model
    hgn.save(tmp_path / "model.hgn", model)
    loaded = hgn.load(tmp_path / "model.hgn")
    assert [type(term) for term in loaded.terms] == [type(term) for term in model.terms]
    for a, b in zip(loaded.vector_field(data), model.vector_field(data), strict=True):
        np.testing.assert_array_equal(a, b)


@each_case
def test_compression_leaves_what_it_does_not_know(case):
    data = snapshots(case)
    model = fitted(case, data).model
    if case.momenta:  # the exact Newtonian kinetic energy becomes a curve
        small = model.compress()
        for a, b in zip(small.vector_field(data), model.vector_field(data), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
        assert small.terms[1:] == model.terms[1:]
    else:
        assert model.compress().terms == model.terms


# A further observation


class MidpointSteps(hgn.AbstractObservation):
    """(q1 - q0) / h is the rate at the middle of two frames, which belong together."""

    window: ClassVar[int] = 2

    def needs(self, basis):
        return {"globals": {"time", "trajectory"}}

    def calibrated(self, data, basis):
        return self

    def rows(self, basis, graphs):
        n = 4
        first = np.arange(len(graphs.n_node) // 2) * 2
        nodes = (first[:, None] * n + np.arange(n)).ravel()
        moved = {
            name: graphs.nodes[name]
            .at[nodes]
            .set((graphs.nodes[name][nodes] + graphs.nodes[name][nodes + n]) / 2)
            for name in basis.dynamics.state
        }
        middle = graphs._replace(nodes=graphs.nodes | moved)
        rows = []
        h = jnp.repeat(jnp.diff(graphs.globals["time"])[::2], n)[:, None]
        h = jnp.where(h == 0, 1, h)
        real = jnp.repeat(jnp.diff(graphs.globals["time"])[::2] != 0, n * 3)
        for name, columns in zip(basis.dynamics.state, basis.rates(middle)):
            values = graphs.nodes[name]
            target = ((values[nodes + n] - values[nodes]) / h).ravel()
            picked = tuple(None if c is None else c[nodes].reshape(-1, c.shape[2]) for c in columns)
            rows.append(hgn.Rows((*picked, None), target, real.astype(target.dtype), name=name))
        return tuple(rows)


def test_an_observation_of_two_frames_is_never_cut(monkeypatch):
    """Chunks of any size hold whole windows, so the rows are the same."""
    case = CASES["feature"]
    h, graphs = 1e-4, []
    for k in range(15):
        rng = np.random.default_rng(k)
        q, p = rng.uniform(-1, 1, (4, 3)), rng.normal(size=(4, 3))
        v, f = newton(0.0, q, p)
        ends = [(q - h / 2 * v, p - h / 2 * f), (q + h / 2 * v, p + h / 2 * f)]
        for t, (a, b) in zip((float(k), k + h), ends):
            graph = graph_of(case, a, t, b)
            graphs.append(graph._replace(globals=graph.globals | {"trajectory": jnp.array([k])}))
    data = hgn.graphs.batch(graphs)
    how = {"key": KEY, "terms": case.terms, "observations": [MidpointSteps()]}
    whole = hgn.fit(data, **how)
    for found, true in zip(whole.model.theta, case.theta):
        np.testing.assert_allclose(found, true, rtol=1e-6)
    pieces = list(hgn.graphs.chunks(data, 5, window=2))
    assert {len(piece.n_node) for piece in pieces} == {4 + 2}
    streamed = hgn.fit_stream(pieces, sample_from=data, **how)
    assert streamed.rows == whole.rows == 15 * 24
    for a, b in zip(streamed.model.theta, whole.model.theta):
        np.testing.assert_allclose(a, b, rtol=1e-9)
