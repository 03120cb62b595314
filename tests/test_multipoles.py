"""Columns by degrees of harmonics, against SciPy's harmonics, rotations and finite differences."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import sph_harm_y
from scipy.stats import ortho_group

import hgn_jax as hgn
from hgn_jax.features.harmonics import solid_harmonics
from hgn_jax.features.multipoles import curvatures, slopes

RNG = np.random.default_rng(0)
SPECS = (
    hgn.External(3, degrees=(0, 1, 2, 3), centre=(0.1, 0.2, -0.1)),
    hgn.Pair(4, degrees=(2, 4)),
)


def graph(d, position=None, types=False):
    pairs = [(0, 1), (1, 2), (0, 2), (2, 3)]
    position = RNG.normal(size=(4, d)) if position is None else position
    kinds = {"type": jnp.array([0, 1, 0, 1])} if types else {}
    return hgn.graphs.from_pairs(jnp.asarray(position), pairs, **kinds)


@pytest.fixture(scope="module")
def terms():
    return hgn.sample(SPECS, graph(3), key=jr.key(0))


def test_solid_harmonics_are_those_of_scipy():
    x = RNG.normal(size=3)
    r = np.linalg.norm(x)
    polar, azimuth = np.arccos(x[2] / r), np.arctan2(x[1], x[0])
    found = jax.jit(lambda x: solid_harmonics(x, 4))(x)
    for degree, values in enumerate(found):
        complex_ = [sph_harm_y(degree, m, polar, azimuth) for m in range(degree + 1)]
        signed = [(-1) ** m * np.sqrt(8 * np.pi) * y for m, y in enumerate(complex_)]
        expected = [y.imag for y in signed[:0:-1]] + [signed[0].real / np.sqrt(2)]
        expected += [y.real for y in signed[1:]]
        np.testing.assert_allclose(values, r**degree * np.array(expected), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("d", [2, 3])
def test_solid_harmonics_are_homogeneous_and_solve_laplaces_equation(d):
    x = jnp.asarray(RNG.normal(size=d))

    @jax.jit
    def all_of(x):
        hessian = jax.hessian(lambda x: jnp.concatenate(solid_harmonics(x, 4)))(x)
        return (
            solid_harmonics(x, 4),
            solid_harmonics(2 * x, 4),
            jnp.trace(hessian, axis1=1, axis2=2),
        )

    values, doubled, laplace = all_of(x)
    for degree, (one, two) in enumerate(zip(values, doubled)):
        np.testing.assert_allclose(two, 2**degree * one, rtol=1e-12)
        assert len(one) == (2 * degree + 1 if d == 3 else min(2, degree + 1))
        norm = len(one) * float(jnp.sum(x**2)) ** degree
        np.testing.assert_allclose(jnp.sum(one**2), norm, rtol=1e-12)
    np.testing.assert_allclose(laplace, 0, atol=1e-12)


def test_gradients_are_finite_differences(terms):
    here, step = graph(3), 1e-5
    x = np.asarray(here.nodes["position"])
    values = eqx.filter_jit(lambda t, g: t(g))
    for term in terms:
        rows = np.asarray(eqx.filter_jit(lambda t, g: t.gradient(g))(term, here).position)
        theta = RNG.normal(size=rows.shape[2])
        contracted = eqx.filter_jit(lambda t, g, a: t.energy_gradient(g, a))(term, here, theta)
        np.testing.assert_allclose(contracted.position, rows @ theta, atol=1e-11)
        for i, k in ((0, 0), (2, 1), (3, 2)):
            move = np.zeros_like(x)
            move[i, k] = step
            up, down = (values(term, graph(3, x + s * move)) for s in (1, -1))
            np.testing.assert_allclose(rows[i, k], (up - down)[0] / (2 * step), atol=1e-7)


def test_a_rotation_mixes_columns_of_one_degree_only(terms):
    """The columns of a degree at rotated positions are combinations of those at the old ones."""
    turn = ortho_group.rvs(3, random_state=1)
    batch = hgn.graphs.batch([graph(3) for _ in range(60)])
    for term, centre in zip(terms, (np.array(SPECS[0].centre), np.zeros(3))):
        values = eqx.filter_jit(lambda t, g: t(g))
        x = np.asarray(batch.nodes["position"])
        turned = batch._replace(nodes=batch.nodes | {"position": (x - centre) @ turn.T + centre})
        before, after = (np.asarray(values(term, g)) for g in (batch, turned))
        ends = np.cumsum((0, *term.groups(before.shape[1])))
        assert ends[-1] == before.shape[1]
        for k, (a, b) in enumerate(itertools.pairwise(ends)):
            mixed = before[:, a:b] @ np.linalg.lstsq(before[:, a:b], after[:, a:b])[0]
            size = np.abs(after[:, a:b]).max(axis=0)
            assert (np.abs(mixed - after[:, a:b]) / size).max() < 1e-9
            if term.degrees[k]:
                assert np.abs(before[:, a:b] - after[:, a:b]).max() > 0.1 * size.max()


@pytest.mark.parametrize("d", [2, 3])
def test_slopes_and_curvatures_are_those_of_the_polynomials(d):
    np.testing.assert_allclose(slopes(d).T @ slopes(d), d * np.eye(d), atol=1e-14)
    x = RNG.normal(size=d)
    np.testing.assert_allclose(slopes(d) @ x, solid_harmonics(x, 1)[1], atol=1e-13)
    form = np.einsum("a,mab,b->m", x, curvatures(d), x) / 2
    np.testing.assert_allclose(form, solid_harmonics(x, 2)[2], atol=1e-13)


def test_types_have_coefficients_of_their_own_and_padding_counts_nothing():
    plain = graph(3, types=True)
    (term,) = hgn.sample([hgn.Pair(4, degrees=(2,))], plain, key=jr.key(0))
    padded = hgn.graphs.pad(plain, n_node=7, n_edge=12, n_graph=3)
    values = eqx.filter_jit(lambda t, g: t(g))
    np.testing.assert_allclose(values(term, padded)[:1], values(term, plain), atol=1e-13)
    assert not np.asarray(values(term, padded)[1:]).any()
    first = plain._replace(
        edges=plain.edges | {"coupling": jnp.where(plain.edges["type"] == 0, 1.0, 0.0)}
    )
    columns = np.asarray(values(term, first)).reshape(5, 2, 5)  # m, type, radial function
    assert np.abs(columns[:, 0]).min() > 0 and not columns[:, 1].any()
    assert int(term.out_of_range(plain)[0]) == 0
    with pytest.raises(ValueError, match="edge type 2"):
        term.accepts(plain._replace(edges={"type": plain.edges["type"] + 1}))


def test_models_are_saved_and_loaded(terms, tmp_path):
    widths = [sum(term.groups(0)) for term in terms]
    theta = tuple(jnp.asarray(RNG.normal(size=width)) for width in widths)
    basis = hgn.Basis(tuple(terms))
    model = hgn.HamiltonianGraphNetwork(basis, theta, jnp.zeros(basis.constant_count))
    hgn.save(tmp_path / "model", model)
    loaded = hgn.load(tmp_path / "model")
    here = graph(3)
    np.testing.assert_array_equal(loaded.node_energy(here), model.node_energy(here))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hgn.External(degrees=()), "must be a tuple"),
        (lambda: hgn.External(degrees=(2, 1)), "must increase"),
        (lambda: hgn.External(degrees=(-1,)), "at least 0"),
        (lambda: hgn.External(centre=(0.0, 0.0)), "needs degrees"),
        (lambda: hgn.Pair(degrees=(1, 2)), "even and at least 2"),
        (lambda: hgn.Pair(degrees=(0, 2)), "even and at least 2"),
        (lambda: hgn.sample([hgn.External(degrees=(1,))], graph(1), key=jr.key(0)), "2 or 3 dim"),
        (lambda: hgn.sample([hgn.Pair(degrees=(2,))], graph(1), key=jr.key(0)), "2 or 3 dim"),
        (
            lambda: hgn.sample(
                [hgn.External(degrees=(1,), centre=(0.0,))], graph(2), key=jr.key(0)
            ),
            "has 1 coordinates",
        ),
    ],
)
def test_bad_arguments_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
