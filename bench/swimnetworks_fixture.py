"""Records what the authors' package swimnetworks samples, for tests/test_published_sampling.py.

Needs swimnetworks, which is no dependency: `pip install swimnetworks==0.0.2` into an environment of
its own, then `python bench/swimnetworks_fixture.py tests/files/swimnetworks.npz` there.
"""

import sys
from importlib.metadata import version

import numpy as np
from swimnetworks.dense import Dense

POINTS, INPUTS, UNITS, SEEDS = 60, 3, 500, range(1, 5)
ORIGIN = (
    f"swimnetworks {version('swimnetworks')} (PyPI, MIT), swimnetworks.dense.Dense(layer_width="
    f"{UNITS}, activation='tanh', parameter_sampler='tanh' (sample_uniformly=True) or 'random', "
    f"random_seed={SEEDS[0]}..{SEEDS[-1]}).fit(x), by bench/swimnetworks_fixture.py"
)


def layer(sampler: str, seed: int, x: np.ndarray) -> Dense:
    return Dense(
        layer_width=UNITS,
        activation="tanh",
        parameter_sampler=sampler,
        sample_uniformly=True,
        random_seed=seed,
    ).fit(x)


def main(path: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(POINTS, INPUTS)) * [1.0, 10.0, 0.1] + [0.0, 5.0, -3.0]
    swim, elm = ([layer(s, seed, x) for seed in SEEDS] for s in ("tanh", "random"))
    np.savez_compressed(
        path,
        origin=ORIGIN,
        x=x,
        pairs=np.array([[d.idx_from, d.idx_to] for d in swim], np.int16),
        swim_weights=np.array([d.weights for d in swim]),
        swim_biases=np.array([d.biases[0] for d in swim]),
        elm_weights=np.array([d.weights for d in elm], np.float32),
        elm_biases=np.array([d.biases[0] for d in elm], np.float32),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
