"""The benchmarks of rollouts compare like with like, and test drifts by sound statistics."""

import numpy as np
import pytest

from bench import moves
from bench.energy_drift import drift
from bench.rollout import compared


def test_the_scan_by_hand_takes_the_steps_of_the_rollout():
    graph = moves.springs(2)
    by_hand = moves.by_hand(moves.SPRINGS, graph, 0.01)(20)
    ours = moves.rolled(moves.SPRINGS, graph, 0.01, None, 20)
    np.testing.assert_allclose(by_hand[0], ours[-1], rtol=1e-13)
    assert abs(float(ours[-1] - ours[0])) > 1e-9


def test_a_tiled_liquid_has_the_energy_of_its_copies(tmp_path):
    side = 6.5
    sites = np.stack(np.meshgrid(*[np.arange(6) * side / 6] * 3), -1).reshape(-1, 3)[:200]
    position = sites + np.random.default_rng(0).uniform(-0.05, 0.05, sites.shape)
    np.savez(
        tmp_path / "liquid.npz", position=position, momentum=np.ones((200, 3)),
        cell=side * np.eye(3)[None],
    )  # fmt: skip
    energies = []
    for copies in (1, 2):
        start = moves.molten(copies, str(tmp_path))
        neighbours = moves.LISTS["liquid"].allocate(start)
        energies.append(moves.rolled(moves.SMOOTHED, start, 0.001, neighbours, 1)[0])
    assert len(start.nodes["mass"]) == 1600 and -2000 < energies[0] < 0
    np.testing.assert_allclose(energies[1], 8 * energies[0], rtol=1e-12)


def test_the_slope_of_a_drift_has_its_standard_error():
    rng = np.random.default_rng(0)
    times = np.linspace(0.0, 10.0, 900)
    found = [drift(times, 0.3 * times + rng.normal(size=900)) for _ in range(400)]
    off = [(slope - 0.3) / error for slope, error in found]
    # Student's t with 16 degrees of freedom
    assert abs(np.mean(off)) < 0.2 and np.std(off) == pytest.approx(np.sqrt(16 / 14), rel=0.1)


def test_times_stand_over_those_of_the_same_case():
    def record(measured, bodies, hamiltonian, taken):
        size = round(bodies ** (1 / 3))
        return {
            "measured": measured, "system": "springs", "size": size, "bodies": bodies,
            "hamiltonian": hamiltonian, "nanoseconds_per_body_step": taken,
        }  # fmt: skip

    small, large, learned, hand, curve = compared(
        [
            record("time", 22**3, "true", 40.0),
            record("time", 100**3, "true", 44.0),
            record("time", 100**3, "learned", 1320.0),
            record("beside lax.scan", 100**3, "lax.scan by hand", 11.0),
            {"measured": "curve", "system": "springs"},
        ]
    )
    assert "times_10648_bodies" not in small and large["times_10648_bodies"] == 1.1
    assert learned["times_true"] == 30 and "times_lax.scan by hand" not in learned
    assert not {k for k in (*hand, *curve) if k.startswith("times")}
