import json

import pytest
from typer.testing import CliRunner

from hgn_jax.cli import app

INNER = ("Mercury", "Venus", "Earth", "Mars")
OUTER = ("Jupiter", "Saturn", "Uranus", "Neptune")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    result = CliRunner().invoke(app, ["demo", "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    return out, result.output, json.loads((out / "report.json").read_text())


def test_springs_are_learned_to_rounding(demo):
    springs = demo[2]["springs"]
    assert springs["gradient_mse_relative"] <= 1e-18
    assert {z["nodes"] for z in springs["zero_shot"]} == {8, 64, 4096}
    assert all(z["relative_error"] <= 1e-7 for z in springs["zero_shot"])
    assert all(isinstance(z["out_of_range_pairs"], int) for z in springs["zero_shot"])
    assert springs["first_fit_seconds"] > springs["train_seconds"] > 0


def test_the_rollout_follows_the_truth_and_keeps_its_energy_as_well(demo):
    rollout = demo[2]["springs"]["rollout"]
    assert rollout["position_error"] < 1e-9
    assert rollout["energy_drift"] == pytest.approx(rollout["true_energy_drift"], rel=0.05)


def test_gravity_is_learned_from_the_ephemeris(demo):
    solar = demo[2]["solar_system"]
    assert solar["force_law_exponent"] == pytest.approx(-2, abs=1e-4)
    for planet in INNER + OUTER:
        assert solar["relative_acceleration_error"][planet] <= 1e-6
        assert solar["relative_error_against_newton"][planet] <= 1e-7


def test_planets_are_where_they_were_ten_years_later(demo):
    solar = demo[2]["solar_system"]
    assert solar["years"] > 9.9
    for planet in INNER + OUTER:
        assert solar["position_error_au"][planet] <= 1e-5
    for planet in INNER:
        assert solar["position_error_au"][planet] < solar["newton_position_error_au"][planet]


def test_the_output_says_that_the_sun_is_down_weighted(demo):
    assert "Sun's rows are down-weighted by 1000" in " ".join(demo[1].split())


def test_the_output_says_that_the_second_decade_starts_out_of_range(demo):
    assert "start is outside of the model's trained range (pair: 1)" in " ".join(demo[1].split())


def test_pictures_are_written(demo):
    pictures = {path.name for path in demo[0].glob("*.png")}
    assert pictures == {
        "springs_parity.png",
        "springs_potential.png",
        "springs_energy.png",
        "gravity.png",
        "planets_tracks.png",
        "planets_errors.png",
    }
