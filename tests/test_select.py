"""Frames are chosen by the variance that remains, as refitted models have it."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn

TERMS = [hgn.Kinetic(0), hgn.Pair(12)]


@pytest.fixture(scope="module")
def sets(cube, springs):
    """Training frames, and candidates of which some reach farther."""
    few = hgn.systems.simulate(springs, cube, key=jr.key(1), trajectories=4)
    wide = hgn.systems.Normal(position=0.3, momentum=1.0)
    near = hgn.systems.simulate(springs, cube, key=jr.key(2), trajectories=6)
    far = hgn.systems.simulate(springs, cube, key=jr.key(3), trajectories=3, start=wide)
    return few, hgn.graphs.batch([near, far])


@pytest.fixture(scope="module")
def fit(sets):
    return hgn.fit(
        sets[0], key=0, terms=TERMS, solver=hgn.QR(ridge=1e-3),
        observations=[hgn.Derivatives("uniform")],
    )  # fmt: skip


def greatest_variances(fit, candidates):
    """Squares of the own deviations over the noise of each system, the greatest of each frame."""
    found = fit.standard_deviation(candidates)
    scales = [s.noise for s in fit.solutions]
    parts = [
        np.max((std / noise).reshape(len(candidates.n_node), -1) ** 2, axis=1)
        for std, noise in zip((found.velocity, found.force), scales)
    ]
    return np.max(parts, axis=0)


def test_each_choice_has_the_greatest_variance_of_a_fit_that_knows_those_before(fit, sets):
    """The reference is the fit, with the same features, weights and ridge, updated by a frame."""
    candidates = sets[1]
    chosen = hgn.select(fit, candidates, 4)
    known = fit
    for k in range(4):
        variances = greatest_variances(known, candidates)
        variances[chosen[:k]] = -1
        assert chosen[k] == np.argmax(variances)
        known = known.update(hgn.graphs.frame(candidates, int(chosen[k])))
    assert set(chosen[:1]) <= {6, 7, 8}


def test_labels_do_not_matter_and_may_be_missing(fit, sets):
    candidates = sets[1]
    chosen = hgn.select(fit, candidates, 3)
    nodes = {k: v for k, v in candidates.nodes.items() if k not in ("force", "velocity")}
    bare = candidates._replace(
        nodes=nodes, globals={k: v for k, v in candidates.globals.items() if k != "energy"}
    )
    np.testing.assert_array_equal(hgn.select(fit, bare, 3), chosen)


def test_twins_are_not_chosen_one_after_another(fit, sets):
    """Two copies of the frame with the greatest variance: learning one of them covers the other."""
    candidates = sets[1]
    best = int(hgn.select(fit, candidates, 1)[0])
    twins = hgn.graphs.batch([candidates, hgn.graphs.frame(candidates, best)])
    chosen = hgn.select(fit, twins, 2)
    assert set(chosen) != {best, 9}


def test_one_body_that_strayed_makes_its_frame_the_first_choice(fit, sets):
    near = hgn.graphs.batch([hgn.graphs.frame(sets[1], k) for k in range(6)])
    calm = hgn.graphs.frame(near, int(np.argmin(greatest_variances(fit, near))))
    strayed = jnp.asarray(calm.nodes["position"]).at[0, 0].add(-1.0)
    odd = calm._replace(nodes=calm.nodes | {"position": strayed})
    assert greatest_variances(fit, odd)[0] > greatest_variances(fit, near).max()
    assert hgn.select(fit, hgn.graphs.batch([near, odd]), 1) == [6]


def test_bad_choices_are_refused(fit, sets):
    candidates = sets[1]
    with pytest.raises(ValueError, match="k is 10, but there are only 9 candidates"):
        hgn.select(fit, candidates, 10)
    with pytest.raises(ValueError, match="k must be at least 1"):
        hgn.select(fit, candidates, 0)
    nodes = {k: v for k, v in candidates.nodes.items() if k != "mass"}
    with pytest.raises(ValueError, match=r'select needs nodes\["mass"\]'):
        hgn.select(fit, candidates._replace(nodes=nodes), 1)


def test_a_rollout_ends_where_the_deviation_passes_a_bound(fit, sets, tmp_path):
    start, model = hgn.graphs.frame(sets[0], 0), fit.model
    options = {"dt": 0.05, "observables": [hgn.Deviation(fit)]}
    free = hgn.rollout(model, start, hgn.Every(4, 20), **options)
    seen = np.asarray(free.observed["deviation"])
    k = int(np.argmax(seen > seen[0]))
    force = np.asarray(fit.standard_deviation(start).force)
    np.testing.assert_allclose(seen[0], np.linalg.norm(force, axis=1).max(), rtol=1e-9)
    bound = {"deviation": (seen[:k].max() + seen[k]) / 2}
    for folder in (None, tmp_path / "run", tmp_path / "run"):  # the last resumes at its end
        path = hgn.rollout(
            model, start, hgn.Every(4, 20), until=bound, checkpoint=folder, **options
        )
        assert len(path.times) == len(path.position) == k + 1
        np.testing.assert_allclose(path.end.nodes["position"], free.position[k], rtol=1e-12)
        assert path.reason == (
            f"deviation is {seen[k]:.3g}, above {bound['deviation']:.3g} at time "
            f"{float(free.times[k]):.6g}"
        )
    never = hgn.rollout(model, start, hgn.Every(4, 20), until={"deviation": 1e9}, **options)
    assert never.reason == "" and len(never.times) == 21


def test_fixed_bodies_do_not_deviate(fit, sets):
    start = hgn.graphs.frame(sets[0], 0)
    sizes = np.linalg.norm(fit.standard_deviation(start).force, axis=1)
    most, second = np.argsort(sizes)[:-3:-1]
    held = start._replace(nodes=start.nodes | {"fixed": jnp.arange(8) == most})
    found = hgn.Deviation(fit)(fit.model, held, held)
    np.testing.assert_allclose(found, [sizes[second]], rtol=1e-9)


def test_bounds_of_what_is_not_observed_are_refused(fit, sets):
    start = hgn.graphs.frame(sets[0], 0)
    with pytest.raises(ValueError, match="until bounds 'deviation', but the observables are"):
        hgn.rollout(fit.model, start, [0.0, 1.0], dt=0.1, until={"deviation": 1.0})
