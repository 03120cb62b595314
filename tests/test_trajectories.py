import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.graphs import differentiate, from_trajectories
from hgn_jax.graphs.joining import unwrapped

NO_PAIRS = np.zeros((0, 2), int)
MASS = np.array([1.0, 2.0, 0.5])


def oscillators(times, trajectories=1, amplitude=0.3):
    """x, v, f of uncoupled oscillators, each [k t 3 2], whose phases differ by trajectory."""
    k, i, a = np.ogrid[:trajectories, :3, :2]
    rate = (1 + 0.3 * np.arange(3))[:, None]
    phase = (0.7 * k.reshape(-1, 1, 1) + i.reshape(-1, 1) + 2 * a.reshape(-1))[:, None]
    angle = rate * np.asarray(times).reshape(-1, len(np.ravel(times)), 1, 1) + phase
    x = 2 * np.arange(3)[:, None] + amplitude * np.sin(angle)
    v = amplitude * rate * np.cos(angle)
    return x, v, -MASS[:, None] * amplitude * rate**2 * np.sin(angle)


def random_times(rng, t, step):
    return np.cumsum(step * rng.uniform(0.7, 1.3, t))


@pytest.fixture
def rng():
    return np.random.default_rng(8)


# differentiate


@pytest.mark.parametrize("order", [2, 4, 6, 8])
def test_derivative_is_exact_for_polynomials_of_the_order(order, rng):
    times = random_times(rng, order + 6, 0.2)[None] - 1
    coefficients = rng.normal(size=order + 1)
    exact = np.polyval(np.polyder(coefficients), times)
    found = differentiate(times, np.polyval(coefficients, times), order)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-11 * np.abs(exact).max())


@pytest.mark.parametrize("order", [2, 4, 6, 8])
def test_derivative_is_not_exact_one_degree_higher(order):
    times = np.linspace(-1, 1, order + 1)[None]
    found = differentiate(times, times ** (order + 1), order)
    assert np.abs(found - (order + 1) * times**order).min() > 1e-4


@pytest.mark.parametrize("order", [2, 4, 6, 8])
@pytest.mark.parametrize("steps", ["uniform", "random"])
def test_error_falls_with_the_order_in_the_middle_and_at_the_ends(order, steps, rng):
    t = order + 3
    frames = np.arange(float(t)) if steps == "uniform" else random_times(rng, t, 1.0)

    def errors(h):
        times = h * (frames - frames[t // 2])[None]
        return np.abs(differentiate(times, np.sin(times + 0.3), order) - np.cos(times + 0.3))[0]

    measured = np.log2(errors(0.1) / errors(0.05))
    assert abs(measured[t // 2] - order) < 0.1
    assert abs(measured[[0, -1]] - order).max() < 0.6


def test_central_stencil_has_the_textbook_weights():
    times = np.arange(20.0)[None]
    weights = [differentiate(times, (times == j).astype(float), 8)[0, 10] for j in range(6, 15)]
    expected = [1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280]
    np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-13)


def test_one_sided_stencil_at_the_start_has_the_textbook_weights():
    times = np.arange(8.0)[None]
    weights = [differentiate(times, (times == j).astype(float), 2)[0, 0] for j in range(4)]
    np.testing.assert_allclose(weights, [-3 / 2, 2, -1 / 2, 0], rtol=0, atol=1e-14)


def test_slow_drift_far_from_the_origin_keeps_its_digits():
    times = 2.45e6 + np.arange(0, 40, 0.25)[None]
    moved = 1e-4 * (times - 2.45e6)
    found = differentiate(times, 1e5 + moved, 8)
    # The positions themselves are rounded to 1.5e-11; their differences are exact.
    np.testing.assert_allclose(found, 1e-4, rtol=0, atol=5 * 1.5e-11 / 0.25)
    still = differentiate(times, np.full(times.shape, 1e5 / 3), 8)
    np.testing.assert_array_equal(still, 0)


def test_trailing_axes_and_trajectories_are_independent(rng):
    times = np.stack([random_times(rng, 14, 0.1), random_times(rng, 14, 0.2)])
    values = rng.normal(size=(2, 14, 3, 2))
    whole = differentiate(times, values, 4)
    for k, i, a in np.ndindex(2, 3, 2):
        one = differentiate(times[k : k + 1], values[k : k + 1, :, i, a], 4)
        np.testing.assert_allclose(whole[k, :, i, a], one[0], rtol=1e-13)


@pytest.mark.parametrize("order", [-2, 0, 1, 3, 7])
def test_order_must_be_even_and_positive(order):
    with pytest.raises(ValueError, match=f"even.*got {order}"):
        differentiate(np.arange(12.0)[None], np.arange(12.0)[None], order)


# from_trajectories: values


@pytest.mark.parametrize("steps", ["uniform", "random"])
def test_velocity_and_force_of_oscillators_are_recovered(steps, rng):
    times = 0.1 * np.arange(60) if steps == "uniform" else random_times(rng, 60, 0.1)
    x, v, f = oscillators(times)
    data = from_trajectories(times, x[0], mass=MASS, edges=NO_PAIRS)
    kept = np.searchsorted(times, data.globals["time"])
    np.testing.assert_array_equal(times[kept], data.globals["time"])
    found = {q: np.asarray(data.nodes[q]).reshape(-1, 3, 2) for q in data.nodes if q != "mass"}
    # h^8 |x^(9)| / 630 of the fastest body; random steps err up to 1.3^8 times as much.
    bound = 0.3 * 1.6**9 * 0.1**8 / 630 * (1.05 if steps == "uniform" else 1.3**8)
    np.testing.assert_allclose(found["velocity"], v[0][kept], rtol=0, atol=bound)
    np.testing.assert_array_equal(found["momentum"], MASS[:, None] * found["velocity"])
    # Differentiated twice: errors add up, for a mass of 0.5 and another factor of the rate 1.6.
    np.testing.assert_allclose(found["force"], f[0][kept], rtol=0, atol=2 * 0.5 * 1.6 * bound)
    np.testing.assert_array_equal(found["position"], x[0][kept])


@pytest.mark.parametrize(("order", "h"), [(2, 0.02), (4, 0.05), (8, 0.2)])
def test_first_and_last_kept_rates_have_the_order(order, h):
    def errors(h):
        times = h * np.arange(40)
        x, v, f = oscillators(times - times[20])
        data = from_trajectories(times, x, mass=MASS, edges=NO_PAIRS, order=order)
        kept = np.searchsorted(times, data.globals["time"])
        return np.array(
            [
                np.abs(np.asarray(data.nodes[name]).reshape(-1, 3, 2) - exact[0][kept]).max()
                for name, exact in (("velocity", v), ("force", f))
            ]
        )

    assert (np.log2(errors(h) / errors(h / 2)) > order - 0.5).all()


def test_kept_forces_at_the_ends_are_as_good_as_in_the_middle():
    times = 0.05 * np.arange(200)
    x, _, f = oscillators(times)
    data = from_trajectories(times, x, mass=MASS, edges=NO_PAIRS, order=4)
    kept = np.searchsorted(times, data.globals["time"])
    error = np.abs(np.asarray(data.nodes["force"]).reshape(-1, 3, 2) - f[0][kept]).max(axis=(1, 2))
    assert error.max() < 1.1 * error[20:-20].max()


def test_given_rates_are_kept_bit_for_bit(rng):
    x, v, f = rng.normal(size=(3, 2, 4, 3, 2))
    p = rng.normal(size=(2, 4, 3, 2))
    data = from_trajectories(
        np.arange(4.0), x, mass=MASS, edges=NO_PAIRS, velocity=v, momentum=p, force=f,
        newtonian=False,
    )  # fmt: skip
    for name, array in (("position", x), ("velocity", v), ("momentum", p), ("force", f)):
        np.testing.assert_array_equal(data.nodes[name], array.reshape(-1, 2))


def test_given_velocity_alone_gives_momentum_and_is_itself_untouched():
    times = 0.1 * np.arange(30)
    x, v, f = oscillators(times)
    data = from_trajectories(times, x, mass=MASS, edges=NO_PAIRS, velocity=v)
    np.testing.assert_array_equal(data.nodes["velocity"], v[0, 4:-4].reshape(-1, 2))
    np.testing.assert_array_equal(
        data.nodes["momentum"], (MASS[:, None] * v)[0, 4:-4].reshape(-1, 2)
    )
    np.testing.assert_allclose(data.nodes["force"], f[0, 4:-4].reshape(-1, 2), rtol=0, atol=3e-10)


def test_given_force_alone_is_untouched():
    times = 0.1 * np.arange(30)
    x, v, f = oscillators(times)
    data = from_trajectories(times, x, mass=MASS, edges=NO_PAIRS, force=f)
    np.testing.assert_array_equal(data.nodes["force"], f[0, 4:-4].reshape(-1, 2))
    np.testing.assert_allclose(
        data.nodes["velocity"], v[0, 4:-4].reshape(-1, 2), rtol=0, atol=4e-10
    )


def test_force_comes_from_the_momentum_when_the_system_is_not_newtonian():
    times = 0.1 * np.arange(30)
    x, v, f = oscillators(times)
    p = 3 * MASS[:, None] * v + 1
    data = from_trajectories(times, x, mass=MASS, edges=NO_PAIRS, momentum=p, newtonian=False)
    np.testing.assert_array_equal(data.nodes["momentum"], p[0, 4:-4].reshape(-1, 2))
    np.testing.assert_allclose(
        data.nodes["force"], 3 * f[0, 4:-4].reshape(-1, 2), rtol=0, atol=9e-10
    )
    np.testing.assert_allclose(
        data.nodes["velocity"], v[0, 4:-4].reshape(-1, 2), rtol=0, atol=4e-10
    )


def test_trajectories_and_times_are_numbered(rng):
    times = np.stack([random_times(rng, 15, 0.1) + 10 * k for k in range(3)])
    x, v = (np.stack([oscillators(t)[q][0] for t in times]) for q in (0, 1))
    data = from_trajectories(
        times, x, mass=MASS, edges=np.array([(0, 1), (1, 2)]), order=4, velocity=v
    )
    np.testing.assert_array_equal(data.globals["trajectory"], np.repeat(np.arange(3), 11))
    np.testing.assert_array_equal(data.globals["time"], times[:, 2:-2].ravel())
    np.testing.assert_array_equal(data.nodes["position"], x[:, 2:-2].reshape(-1, 2))
    assert data.n_node.tolist() == [3] * 33 and data.n_edge.tolist() == [4] * 33
    np.testing.assert_array_equal(data.nodes["mass"], np.tile(MASS, 33))
    hgn.check(data)


def test_shared_times_serve_every_trajectory():
    times = np.arange(3.0)
    x = np.zeros((2, 3, 3, 2)) + np.arange(3)[:, None]
    data = from_trajectories(times, x, mass=MASS, edges=NO_PAIRS, velocity=0 * x, force=x)
    np.testing.assert_array_equal(data.globals["time"], [0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(data.globals["trajectory"], [0, 0, 0, 1, 1, 1])


def test_without_trimming_every_frame_is_kept_and_the_ends_are_one_sided():
    times = 0.05 * np.arange(20)
    x, v, _ = oscillators(times)
    data = from_trajectories(times, x, mass=MASS, edges=NO_PAIRS, order=4, trim=False)
    assert data.globals["time"].tolist() == times.tolist()
    error = np.abs(np.asarray(data.nodes["velocity"]).reshape(20, 3, 2) - v[0]).max(axis=(1, 2))
    assert error.max() < 0.05**4
    # The fourth-order one-sided formula errs 6 times as much as the central one (1/5 and 1/30).
    assert 3 < error[[0, -1]].max() / error[2:-2].max() < 7


def test_nothing_is_trimmed_when_all_rates_are_given():
    x, v, f = oscillators(np.arange(3.0))
    data = from_trajectories(
        np.arange(3.0), x, mass=MASS, edges=NO_PAIRS, velocity=v, force=f, trim=True
    )
    assert data.globals["time"].tolist() == [0, 1, 2]


def test_the_fewest_frames_that_suffice_leave_one(rng):
    times = random_times(rng, 9, 0.1)
    x, v, _ = oscillators(times)
    data = from_trajectories(times, x, mass=MASS, edges=NO_PAIRS, velocity=v)
    assert data.globals["time"].tolist() == [times[4]]


def test_node_and_edge_arrays_ride_along(rng):
    x = rng.normal(size=(2, 4, 3, 2))
    data = from_trajectories(
        np.arange(4.0), x, mass=1.5, edges=np.array([(0, 1), (1, 2)]), velocity=x, force=x,
        coupling=np.array([2.0, 3.0]), species=np.array([0, 1, 1]),
        fixed=np.array([True, False, False]),
    )  # fmt: skip
    hgn.check(data)
    np.testing.assert_array_equal(data.edges["coupling"], np.tile([2, 3, 2, 3], 8))
    np.testing.assert_array_equal(data.nodes["species"], np.tile([0, 1, 1], 8))
    np.testing.assert_array_equal(data.nodes["fixed"], np.tile([True, False, False], 8))
    np.testing.assert_array_equal(data.nodes["mass"], 1.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_follows_the_positions(dtype):
    x, v, _ = oscillators(0.1 * np.arange(20))
    data = from_trajectories(
        0.1 * np.arange(20), x.astype(dtype), velocity=v.astype(dtype), mass=MASS, edges=NO_PAIRS
    )
    assert {a.dtype for a in data.nodes.values()} == {jnp.dtype(dtype)}


def test_whole_numbers_are_accepted_as_positions():
    x = np.arange(20)[:, None, None] * np.array([[[1, 2]]])
    data = from_trajectories(np.arange(20), x, mass=1.0, edges=NO_PAIRS)
    assert len(data.n_node) > 0
    np.testing.assert_allclose(
        data.nodes["velocity"], np.tile([1.0, 2.0], (len(data.n_node), 1)), rtol=1e-12
    )


# from_trajectories: errors


@pytest.fixture
def arguments():
    """Valid arguments: two trajectories of twelve frames."""
    times = 0.1 * np.arange(12)
    x, v, f = oscillators(times, trajectories=2)
    return {
        "times": times, "position": x, "mass": MASS, "edges": np.array([(0, 1)]),
        "velocity": v, "force": f, "momentum": MASS[:, None] * v,
    }  # fmt: skip


def test_clean_arguments_pass(arguments):
    data = from_trajectories(**arguments)
    assert len(data.n_node) == 24
    hgn.check(data)


def test_a_wrong_unit_of_mass_is_named(arguments):
    arguments["momentum"][1, 7, 2] *= 1.66
    with pytest.raises(ValueError, match=r"trajectory 1, frame 7, node 2.*unit of mass"):
        from_trajectories(**arguments)
    data = from_trajectories(**arguments, newtonian=False)
    np.testing.assert_array_equal(data.nodes["momentum"], arguments["momentum"].reshape(-1, 2))


def test_a_momentum_off_by_one_in_ten_thousand_is_found(arguments):
    arguments["momentum"] = arguments["momentum"] * (1 + 1e-4)
    with pytest.raises(ValueError, match="trajectory 0, frame 0, node 0"):
        from_trajectories(**arguments)


def test_a_wrong_unit_of_mass_is_found_when_the_velocity_is_differentiated(arguments):
    arguments["momentum"] = arguments["momentum"] * 1.66
    del arguments["velocity"]
    with pytest.raises(ValueError, match="unit of mass"):
        from_trajectories(**arguments)


def test_a_system_that_is_not_newtonian_needs_its_momentum(arguments):
    del arguments["momentum"]
    with pytest.raises(ValueError, match="newtonian=False needs momentum"):
        from_trajectories(**arguments, newtonian=False)


@pytest.mark.parametrize("name", ["position", "velocity", "momentum", "force"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_entries_that_are_not_finite_are_named(arguments, name, bad):
    arguments[name] = arguments[name].copy()
    arguments[name][1, 5, 2, 1] = bad
    with pytest.raises(ValueError, match=f"{name} .*trajectory 1, frame 5, node 2 .1 in all"):
        from_trajectories(**arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.3, 0.25])
def test_times_must_increase(arguments, bad):
    arguments["times"][4] = bad
    with pytest.raises(ValueError, match="strictly increasing"):
        from_trajectories(**arguments)


def test_times_must_increase_in_every_trajectory(arguments):
    times = np.stack([arguments["times"], arguments["times"][::-1]])
    with pytest.raises(ValueError, match="strictly increasing in every trajectory"):
        from_trajectories(**(arguments | {"times": times}))


@pytest.mark.parametrize("shape", [(11,), (3, 12), (2, 11), (12, 2)])
def test_times_of_another_shape_are_refused(arguments, shape):
    times = np.arange(np.prod(shape), dtype=float).reshape(shape)
    with pytest.raises(ValueError, match=r"times|shape"):
        from_trajectories(**(arguments | {"times": times}))


@pytest.mark.parametrize("order", [2, 4, 8])
def test_too_few_frames_are_counted(arguments, order):
    short = {k: arguments[k][:, :order] for k in ("position", "velocity", "momentum")}
    rest = {"times": arguments["times"][:order], "mass": MASS, "edges": NO_PAIRS}
    words = f"{order} frames are too few .*order {order}: need {order + 1}"
    with pytest.raises(ValueError, match=words):
        from_trajectories(**short, **rest, order=order)


@pytest.mark.parametrize("order", [0, 3, 7])
def test_odd_orders_are_refused(arguments, order):
    del arguments["force"]
    with pytest.raises(ValueError, match=f"even.*got {order}"):
        from_trajectories(**arguments, order=order)


@pytest.mark.parametrize("name", ["velocity", "momentum", "force"])
def test_arrays_of_another_shape_are_named(arguments, name):
    arguments[name] = arguments[name][:, :-1]
    with pytest.raises(ValueError, match=f"{name} must have the shape of position"):
        from_trajectories(**arguments)


@pytest.mark.parametrize("shape", [(12, 3), (2, 2, 12, 3, 2)])
def test_positions_need_three_or_four_axes(arguments, shape):
    with pytest.raises(ValueError, match=r"\[t n d\] or \[k t n d\]"):
        from_trajectories(**(arguments | {"position": np.zeros(shape)}))


@pytest.mark.parametrize("bad", [0.0, -2.0, np.nan, np.inf])
def test_masses_must_be_positive_and_finite(arguments, bad):
    mass = np.array([1.0, bad, -7.0])
    with pytest.raises(ValueError, match=f"mass of node 1 .*{bad}"):
        from_trajectories(**(arguments | {"mass": mass}))


@pytest.mark.parametrize("mass", [np.ones(2), np.ones(4)])
def test_masses_must_be_as_many_as_bodies(arguments, mass):
    with pytest.raises(ValueError, match=r"mass|shape|broadcast"):
        from_trajectories(**(arguments | {"mass": mass}))


@pytest.mark.parametrize("pairs", [[(0, 3)], [(1, 1)], [(0, 1), (1, 0)]])
def test_pairs_are_checked(arguments, pairs):
    with pytest.raises(ValueError, match="pair"):
        from_trajectories(**(arguments | {"edges": np.array(pairs)}))


def test_node_arrays_of_another_length_are_refused(arguments):
    with pytest.raises(ValueError, match="species"):
        hgn.check(from_trajectories(**arguments, species=np.zeros(2, int)))


# Resolution of times


def moving(times):
    """Positions at the exact times, and the greatest error of forces from the times as given."""

    def error(given, **more):
        x, _, f = oscillators(times)
        data = from_trajectories(given, x, mass=MASS, edges=NO_PAIRS, trim=False, **more)
        found = np.asarray(data.nodes["force"]).reshape(-1, 3, 2)
        return np.abs(found - f[0])[10:-10].max() / np.abs(f).max()

    return error


@pytest.mark.parametrize(
    ("start", "dtype"), [(0, "float32"), (1e4, "float32"), (1.7e9, "float64"), (0, "float16")]
)
def test_times_whose_rounding_spoils_their_differences_are_refused(start, dtype):
    """Times in JAX's default precision, or counted from 1970."""
    times = 0.01 * np.arange(1000 if dtype == "float16" else 10_000)
    with pytest.raises(ValueError, match=f"{dtype}.* (float64|too coarse)"):
        moving(times)((start + times).astype(dtype))


def test_times_just_fine_enough_give_good_forces():
    """Rounding of times by 4e-7 of a step changes forces by 1e-4, at 60 frames per oscillation."""
    times = 0.1 * np.arange(400)
    given = times + 2**27
    assert 2e-7 < np.spacing(given.max()) / 0.1 < 1e-6
    assert moving(times)(given) < 1e-3
    with pytest.raises(
        ValueError,
        match=r"2.4e-06 of the step 0.025; derivatives need at most 1e-06",
    ):
        moving(times / 4)(times / 4 + 2**28 + 0.0125)


def test_coarse_times_pass_where_nothing_is_differentiated(arguments):
    arguments["times"] = np.arange(12, dtype=np.float32) * 0.1 + 7e3
    assert len(from_trajectories(**arguments).n_node) == 24


@pytest.mark.parametrize("step", [1, 0.25, 2])
def test_times_without_rounding_pass_in_single_precision(step):
    times = step * np.arange(4000)
    x, v, _ = oscillators(0.1 * np.arange(4000))
    data = from_trajectories(times.astype(np.float32), x, mass=MASS, edges=NO_PAIRS, trim=False)
    found = np.asarray(data.nodes["velocity"]).reshape(-1, 3, 2)
    np.testing.assert_allclose(found[10:-10], v[0, 10:-10] * 0.1 / step, rtol=0, atol=1e-7)


# Units


@pytest.mark.parametrize("factor", [1e-3, 0.4, 2.5, 1000])
def test_velocities_in_another_unit_are_refused(arguments, factor):
    arguments["velocity"] = factor * arguments["velocity"]
    arguments["momentum"] = factor * arguments["momentum"]
    _, v, _ = oscillators(arguments["times"], trajectories=2)
    size = np.median(np.linalg.norm(v, axis=-1))
    with pytest.raises(ValueError, match=r"velocity is about .* position changes by about") as e:
        from_trajectories(**arguments)
    words = str(e.value).split()
    found, expected = float(words[3]), float(words[9])
    assert found / expected == pytest.approx(factor, rel=0.02)
    assert expected == pytest.approx(size, rel=0.2)


@pytest.mark.parametrize("step", [0.5, 1.3, 2.0, 4.0, 30.0])
def test_coarse_frames_of_true_velocities_pass(step):
    """Differences over a large part of an oscillation, or several, are much too small."""
    times = step * np.arange(300)
    x, v, f = oscillators(times, amplitude=3)
    data = from_trajectories(times, x, mass=MASS, edges=NO_PAIRS, velocity=v, force=f)
    assert len(data.n_node) == 300


def test_noisy_positions_of_dense_frames_pass(rng):
    """Their differences are noise, twenty times the velocity."""
    times = 0.001 * np.arange(300)
    x, v, f = oscillators(times)
    noisy = x + rng.normal(0, 0.01, x.shape)
    data = from_trajectories(times, noisy, mass=MASS, edges=NO_PAIRS, velocity=v, force=f)
    np.testing.assert_array_equal(data.nodes["velocity"], v.reshape(-1, 2))


def test_bodies_at_rest_pass(arguments):
    still = {"velocity": 0, "momentum": 0}
    for rest in (
        arguments | {k: 0 * arguments[k] for k in still},
        arguments | {"position": arguments["position"][:, :1].repeat(12, axis=1)},
    ):
        assert len(from_trajectories(**rest).n_node) == 24  # fmt: skip


# Arguments


@pytest.mark.parametrize(
    ("name", "near"),
    [("velocities", "velocity"), ("forces", "force"), ("specie", "species"), ("masses", "mass")],
)
def test_unknown_keywords_are_refused_at_once(arguments, name, near):
    words = rf"unknown keyword '{name}' \(did you mean '{near}'\?\)"
    with pytest.raises(ValueError, match=words):
        from_trajectories(**arguments, **{name: arguments["velocity"]})


def test_a_keyword_like_no_other_is_refused(arguments):
    with pytest.raises(ValueError, match=r"unknown keyword 'zzz'$"):
        from_trajectories(**arguments, zzz=np.eye(2))


def test_swapped_axes_are_guessed():
    times = 0.1 * np.arange(40)
    swapped = np.swapaxes(oscillators(times)[0][0], 0, 1)
    words = r"got \(40,\); position \(3, 40, 2\) has that length along axis 1: axes swapped\?"
    with pytest.raises(ValueError, match=words):
        from_trajectories(times, swapped, mass=MASS, edges=NO_PAIRS)


@pytest.mark.parametrize("name", ["times", "position", "velocity", "momentum", "force"])
def test_complex_arrays_are_refused(arguments, name):
    arguments[name] = arguments[name].astype(complex)
    with pytest.raises(ValueError, match=f"{name} is complex"):
        from_trajectories(**arguments)


def test_edges_all_joins_every_pair(arguments):
    data = from_trajectories(**(arguments | {"edges": "all"}))
    hgn.check(data)
    first = np.stack([data.senders, data.receivers], 1)[: int(data.n_edge[0])].tolist()
    assert sorted(map(tuple, first)) == [(i, j) for i in range(3) for j in range(3) if i != j]
    one = from_trajectories(
        0.1 * np.arange(20), oscillators(0.1 * np.arange(20))[0][:, :, :1], mass=1.0, edges="all"
    )
    assert len(one.senders) == 0


@pytest.mark.parametrize("edges", ["pairs", "radius", True, None])
def test_other_words_for_edges_are_refused(arguments, edges, no_type_checks):
    with pytest.raises(ValueError, match=rf'\[p 2\], "all" or a cutoff, got {edges!r}'):
        from_trajectories(**(arguments | {"edges": edges}))


# edges by a cutoff, couplings by a word, periodic cells


def gas(wrap):
    """Free particles in a skewed cell: positions, wrapped or not, and velocities."""
    cell = np.array([[4.0, 0, 0], [1.0, 4.5, 0], [0.5, -1.0, 5.0]])
    rng = np.random.default_rng(4)
    start, velocity = rng.uniform(0, 4, (12, 3)), rng.normal(size=(12, 3))
    times = 0.1 * np.arange(60)
    x = start + velocity * times[:, None, None]
    wrapped = x - np.floor(x @ np.linalg.inv(cell)) @ cell
    return times, (wrapped if wrap else x), velocity, cell


def test_wrapped_bodies_have_the_rates_and_edges_of_unwrapped_ones():
    times, x, velocity, cell = gas(wrap=True)
    found = from_trajectories(times, x, mass=1.0, edges=3.0, cell=cell)
    hgn.check(found)
    np.testing.assert_allclose(found.nodes["velocity"].reshape(-1, 12, 3)[0], velocity, atol=1e-11)
    np.testing.assert_allclose(found.nodes["force"], 0, atol=1e-9)
    for k in (0, 20, 43):
        one = hgn.graphs.frame(found, k)
        expected = hgn.graphs.radius(x[k + 8], 3.0, cell=cell)
        assert one.n_edge == expected.n_edge
        lengths = [np.sort(hgn.graphs.geometry.distance(g)) for g in (one, expected)]
        np.testing.assert_allclose(*lengths, atol=1e-12)
    assert len(set(found.n_edge.tolist())) > 1


def test_without_a_cell_the_cutoff_joins_near_bodies_of_every_frame():
    times, x, velocity, _ = gas(wrap=False)
    still = 0 * x + velocity
    data = from_trajectories(times, x, velocity=still, force=0 * x, mass=1.0, edges=2.5)
    distance = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
    near = (distance < 2.5) & (distance > 0)
    np.testing.assert_array_equal(data.n_edge, near.sum(axis=(1, 2)))
    assert "shift" not in data.edges and "cell" not in data.globals


@pytest.mark.parametrize("edges", ["all", 3.0, [(0, 2), (1, 2)]])
@pytest.mark.parametrize("name", ["mass", "charge"])
def test_couplings_by_a_word_are_products(arguments, edges, name):
    charge = np.array([1.0, -2.0, 3.0])
    data = from_trajectories(**(arguments | {"edges": edges}), coupling=name, charge=charge)
    values = MASS if name == "mass" else charge
    i, j = np.asarray(data.senders) % 3, np.asarray(data.receivers) % 3
    assert len(i)
    np.testing.assert_array_equal(data.edges["coupling"], values[i] * values[j])
    hgn.check(data)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"coupling": "masses"}, r"coupling must be .* \(did you mean 'mass'\?\)"),
        ({"coupling": "charge"}, "needs a charge of every body: give charge="),
        ({"edges": 2.0, "coupling": [1.0]}, "pairs within a cutoff differ between frames"),
        ({"edges": 2.0, "type": [0]}, "type has one entry per pair, but pairs within"),
        ({"edges": "all", "cell": [9.0, 9.0]}, "bodies in a cell are joined by a cutoff"),
        ({"edges": 2.0, "cell": [9.0]}, r"cell must be \[d d\] = \(2, 2\) or \[d\]"),
        ({"edges": 2.0, "cell": [[9.0, 9.0], [3.0, 3.0]]}, "cell is singular"),
        ({"edges": -1.0}, "a cutoff must be positive and finite, got edges=-1.0"),
    ],
)
def test_edges_that_do_not_fit_together_are_refused(arguments, how, words):
    with pytest.raises(ValueError, match=words):
        from_trajectories(**(arguments | how))


@pytest.mark.parametrize("shape", [(0, 12, 3, 2), (2, 0, 3, 2), (2, 12, 0, 2)])
def test_no_trajectory_frame_or_body_is_refused(arguments, shape):
    with pytest.raises(ValueError, match="holds no trajectory, frame or body"):
        from_trajectories(**(arguments | {"position": np.zeros(shape)}))


def test_weights_and_couplings_take_the_precision_of_the_positions(arguments):
    single = {k: arguments[k].astype("f4") for k in ("position", "velocity", "momentum", "force")}
    data = from_trajectories(
        **(arguments | single), coupling=np.array([2.0]), weight=np.array([1, 2, 3])
    )
    assert data.edges["coupling"].dtype == data.nodes["weight"].dtype == jnp.float32
    hgn.check(data)


def test_bodies_that_cross_the_cell_while_nobody_looks_are_unwrapped():
    times, x, _, cell = gas(wrap=True)
    _, plain, *_ = gas(wrap=False)
    seen = x.copy()
    rng = np.random.default_rng(0)
    for body in range(12):
        first = rng.integers(0, len(times) - 3)
        seen[first : first + 3, body] = np.nan
    found = unwrapped(seen[None], cell)[0]
    shift = found - plain
    measured = np.isfinite(seen)
    assert (np.isfinite(found) == measured).all() and not measured.all()
    # Up to the same lattice vector in all frames.
    first = np.argmax(measured[:, :, 0], axis=0)
    start = shift[first, np.arange(12)]
    np.testing.assert_allclose(
        np.where(measured, shift, start[None]), np.broadcast_to(start[None], shift.shape), atol=1e-9
    )
