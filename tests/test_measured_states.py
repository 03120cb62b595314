"""`from_trajectories(rates=False)`: states as they were measured."""

import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.graphs import from_trajectories

MASS = np.array([1.0, 2.0, 0.5])


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def measured(rng):
    """Two trajectories of 12 frames at irregular times of their own."""
    times = np.cumsum(rng.uniform(0.2, 1.8, (2, 12)), axis=1)
    x, p = rng.normal(size=(2, 2, 12, 3, 2))
    return {"times": times, "position": x, "momentum": p, "mass": MASS, "edges": "all"}


def states(**arguments):
    data = from_trajectories(**arguments, rates=False)
    hgn.check(data)
    return data


def test_states_are_kept_bit_for_bit_and_nothing_is_differentiated(measured):
    data = states(**measured)
    assert set(data.nodes) == {"position", "momentum", "mass"}
    np.testing.assert_array_equal(data.nodes["position"], measured["position"].reshape(-1, 2))
    np.testing.assert_array_equal(data.nodes["momentum"], measured["momentum"].reshape(-1, 2))
    np.testing.assert_array_equal(data.globals["time"], measured["times"].ravel())
    np.testing.assert_array_equal(data.globals["trajectory"], np.repeat([0, 1], 12))
    assert (np.asarray(data.n_edge) == 6).all()


def test_positions_alone_have_no_momentum(measured):
    del measured["momentum"]
    assert set(states(**measured).nodes) == {"position", "mass"}


def test_momenta_that_are_all_nan_count_as_positions_alone(measured):
    measured["momentum"][:] = np.nan
    assert set(states(**measured).nodes) == {"position", "mass"}


def test_velocity_gives_the_momentum(measured):
    v = measured.pop("momentum")
    data = states(**measured, velocity=v)
    np.testing.assert_array_equal(data.nodes["momentum"], (MASS[:, None] * v).reshape(-1, 2))
    with pytest.raises(ValueError, match="newtonian=False needs momentum"):
        states(**measured, velocity=v, newtonian=False)


def test_what_is_missing_is_interpolated_in_time_and_marked(measured):
    t = measured["times"][1]
    line = 3 - 2 * t
    measured["position"][1, :, 2, 0] = line
    measured["position"][1, [4, 5], 2, 1] = np.nan  # one coordinate: the vector is missing
    measured["momentum"][0, 11, 1] = np.nan
    data = states(**measured)
    seen = {name: np.ones((2, 12, 3), bool) for name in ("position", "momentum")}
    seen["position"][1, [4, 5], 2] = False
    seen["momentum"][0, 11, 1] = False
    for name, mask in seen.items():
        np.testing.assert_array_equal(data.nodes[f"{name}_measured"], mask.ravel())
        kept = np.asarray(data.nodes[name])[mask.ravel()]
        np.testing.assert_array_equal(kept, measured[name].reshape(-1, 2)[mask.ravel()])
    found = np.asarray(data.nodes["position"]).reshape(2, 12, 3, 2)
    np.testing.assert_allclose(found[1, :, 2, 0], line, rtol=1e-13)
    at_end = np.asarray(data.nodes["momentum"]).reshape(2, 12, 3, 2)[0, 11, 1]
    np.testing.assert_array_equal(at_end, measured["momentum"][0, 10, 1])


def test_momenta_of_a_body_that_has_none_are_mass_times_the_change_of_position(measured):
    measured["position"][0, :, 1] = np.stack([3 * measured["times"][0], -measured["times"][0]], 1)
    measured["momentum"][0, :, 1] = np.nan
    data = states(**measured)
    found = np.asarray(data.nodes["momentum"]).reshape(2, 12, 3, 2)[0, :, 1]
    np.testing.assert_allclose(found, np.tile([6.0, -2.0], (12, 1)), rtol=1e-12)
    assert not np.asarray(data.nodes["momentum_measured"]).reshape(2, 12, 3)[0, :, 1].any()


def test_frames_without_any_measurement_are_left_out(measured):
    for name in ("position", "momentum"):
        measured[name][0, [0, 7]] = np.nan
        measured[name][1, 9:] = np.nan  # a shorter trajectory
    data = states(**measured)
    kept = np.ones((2, 12), bool)
    kept[0, [0, 7]] = False
    kept[1, 9:] = False
    np.testing.assert_array_equal(data.globals["time"], measured["times"][kept])
    np.testing.assert_array_equal(data.globals["trajectory"], [0] * 10 + [1] * 9)
    assert "position_measured" not in data.nodes


def test_padding_and_selection_keep_the_marks(measured):
    measured["position"][0, 3, 1] = np.nan
    data = states(**measured)
    padded = hgn.graphs.pad(data, n_node=100, n_edge=200, n_graph=30)
    hgn.check(padded)
    first = hgn.graphs.take(padded, np.arange(30) < 12)
    marks = np.asarray(first.nodes["position_measured"])
    assert marks.dtype == bool and np.flatnonzero(~marks).tolist() == [3 * 3 + 1]


@pytest.mark.parametrize(("frame", "value"), [(5, "repeat"), (7, "back")])
def test_times_that_do_not_increase_are_located(measured, frame, value):
    t = measured["times"]
    t[1, frame] = t[1, frame - 1] - (0.1 if value == "back" else 0)
    words = rf"trajectory 1, frame {frame} has time .* after {t[1, frame - 1]:.10g} \(1 in all\)"
    with pytest.raises(ValueError, match=words):
        states(**measured)


def test_two_samples_are_enough_only_with_momenta(measured):
    short = {k: measured[k][:, :2] for k in ("times", "position", "momentum")}
    assert states(**(measured | short)).globals["time"].shape == (2 * len(short["times"]),)
    with pytest.raises(ValueError, match=r"trajectory 0 has 2 measured frames.*at least 3"):
        states(**(measured | short | {"momentum": None}))
    measured["position"][1, 1:] = measured["momentum"][1, 1:] = np.nan
    with pytest.raises(ValueError, match=r"trajectory 1 has 1 measured frames.*at least 2"):
        states(**measured)


def test_infinite_values_are_located(measured):
    measured["momentum"][1, 6, 2, 0] = np.inf
    with pytest.raises(ValueError, match="momentum is infinite in trajectory 1, frame 6, node 2"):
        states(**measured)


def test_a_position_that_is_never_measured_is_located(measured):
    measured["position"][1, :, 2] = np.nan
    with pytest.raises(ValueError, match="position of node 2 is never measured in trajectory 1"):
        states(**measured)


def test_forces_are_no_states(measured):
    with pytest.raises(ValueError, match="a force is not one"):
        states(**measured, force=measured["position"])


def test_velocities_in_another_unit_are_refused():
    t = 0.1 * np.arange(60)
    x = np.stack([np.sin(t), np.cos(t)], 1)[:, None]
    v = np.stack([np.cos(t), -np.sin(t)], 1)[:, None]
    v[7] = np.nan
    states(times=t, position=x, velocity=v, mass=1.0, edges=np.zeros((0, 2), int))
    with pytest.raises(ValueError, match="units of position, velocity and times do not agree"):
        states(times=t, position=x, velocity=60 * v, mass=1.0, edges=np.zeros((0, 2), int))


def test_times_that_lose_resolution_in_single_precision_are_refused(measured):
    late = measured["times"] + 1e6
    words = r"float32 up to .*trajectory [01].*integrals need at most 0.0001"
    with pytest.raises(ValueError, match=words):
        states(**(measured | {"times": late.astype("f4")}))
    states(**(measured | {"times": late}))
    # Times are kept in the precision of the positions.
    single = {k: measured[k].astype("f4") for k in ("position", "momentum")}
    with pytest.raises(ValueError, match="positions in float64 keep them so"):
        states(**(measured | single | {"times": late}))
    assert states(**(measured | single)).globals["time"].dtype == "float32"


def test_misspelt_arguments_are_named(measured):
    with pytest.raises(ValueError, match=r"unknown keyword 'rate' \(did you mean 'rates'\?\)"):
        from_trajectories(**measured, rate=False)


def test_with_rates_nan_is_refused_as_before(measured):
    measured["position"][1, 4, 0] = np.nan
    with pytest.raises(ValueError, match="position is NaN or Inf in trajectory 1, frame 4"):
        from_trajectories(**measured)
