"""Gravity learned from ten years of DE421, against the following ten and against Newton."""

from collections.abc import Iterator
from pathlib import Path

import diffrax
import jax.random as jr
import numpy as np

import hgn_jax as hgn
from hgn_jax import plots
from hgn_jax.demo.solar_system import (
    force_law,
    held_out,
    heliocentric_error,
    median_errors,
)

from .record import Record, main


def run(quick: bool, out: Path) -> Iterator[Record]:
    ephemeris = hgn.datasets.solar_system()
    newton = hgn.systems.gravity()
    test, state, times, observed = held_out(ephemeris)

    def rolled(model: hgn.AbstractHamiltonian) -> np.ndarray:
        path = hgn.rollout(model, state, times, dt=1.0, solver=diffrax.Dopri8())
        return np.asarray(path.position)

    newton_errors = heliocentric_error(rolled(newton), observed).max(axis=0)
    newton_force = newton.vector_field(test)[1]
    for sun_weight in (1e-3, 1.0):
        train = ephemeris.between(0, 10).snapshots(sun_weight=sun_weight)
        train = hgn.graphs.take(train, np.arange(len(train.n_node)) % 2 == 0)
        for seed in range(1 if quick else 3):
            model = hgn.fit(train, key=jr.key(seed)).model
            against = median_errors(model, test, test.nodes["force"])
            against_newton = median_errors(model, test, newton_force)
            path = rolled(model)
            errors = heliocentric_error(path, observed).max(axis=0)
            if sun_weight < 1 and seed == 0:
                plots.tracks(ephemeris.names, path, observed).savefig(out / "planets.png", dpi=110)
            _, exponent = force_law(model)
            for i, body in enumerate(ephemeris.names):
                yield {
                    "sun_weight": sun_weight,
                    "seed": seed,
                    "body": body,
                    "acceleration_against_de421": float(against[i]),
                    "acceleration_against_newton": float(against_newton[i]),
                    "position_error_au": float(errors[i]) if i else None,
                    "newton_position_error_au": float(newton_errors[i]) if i else None,
                    "exponent": exponent,
                    "years": float(times[-1] - times[0]) / 365.25,
                }


if __name__ == "__main__":
    main("solar_system", "Held-out decade: median relative errors, greatest position errors", run)
