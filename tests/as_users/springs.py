"""A user's script: springs simulated, learned, saved, loaded, rolled out, streamed, resumed.

`python springs.py float64 FOLDER` prints the errors against the known system as JSON.
"""

import json
import sys
from pathlib import Path

import jax
import jax.random as jr
import numpy as np
from scipy.integrate import solve_ivp

PRECISION, FOLDER = sys.argv[1], Path(sys.argv[2])
if PRECISION == "float64":
    jax.config.update("jax_enable_x64", True)

import hgn_jax as hgn

STIFFNESS, LENGTH = 2.0, 0.9
KEY = jr.key(1)
FEATURES = (hgn.Kinetic(), hgn.Pair(64))


def forces(graph, position):
    """Hooke's law in NumPy, [n d]."""
    total = np.zeros_like(position)
    for i, j in zip(np.asarray(graph.senders), np.asarray(graph.receivers), strict=True):
        vector = position[i] - position[j]
        r = np.linalg.norm(vector)
        total[i] -= STIFFNESS * (r - LENGTH) * vector / r
    return total


def solved(graph, times):
    """Positions by SciPy, [t n d]."""
    mass = np.asarray(graph.nodes["mass"], float)[:, None]
    start = np.stack([np.asarray(graph.nodes[k], float) for k in ("position", "momentum")])

    def rates(_, state):
        q, p = state.reshape(start.shape)
        return np.stack([p / mass, forces(graph, q)]).ravel()

    path = solve_ivp(rates, times[[0, -1]], start.ravel(), "DOP853", times, rtol=1e-12, atol=1e-12)
    return path.y.T.reshape(-1, *start.shape)[:, 0]


def relative(a, b):
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b)) / np.linalg.norm(np.asarray(b)))


def bits(tree):
    return [(x.dtype.name, np.asarray(x).tobytes()) for x in jax.tree.leaves(tree)]


def killed_after(batches, number):
    yield from batches[:number]
    raise KeyboardInterrupt


def streamed(batches, checkpoint=None):
    return hgn.fit_stream(
        batches, key=KEY, terms=FEATURES, sample_from=data, checkpoint=checkpoint
    ).model


system = hgn.systems.mass_spring("spring", stiffness=STIFFNESS, rest_length=LENGTH)
cube = hgn.graphs.lattice((2, 2, 2), mass=np.linspace(1.0, 2.0, 8))
data = hgn.systems.simulate(system, cube, key=jr.key(0), trajectories=400)
fitted = hgn.fit(data, key=KEY, terms=FEATURES)

hgn.save(FOLDER / "springs.hgn", fitted.model)
model = hgn.load(FOLDER / "springs.hgn")

fresh = hgn.systems.simulate(system, cube, key=jr.key(2), trajectories=20)
rates = model.vector_field(fresh)
positions = np.asarray(fresh.nodes["position"], float).reshape(20, 8, 3)
truth = np.concatenate([forces(cube, position) for position in positions])

start = hgn.systems.simulate(
    system, cube, key=jr.key(3), trajectories=1, start=hgn.systems.Uniform(0.1, 0.1)
)
rollout = {"dt": 0.02, "integrator": hgn.KahanLi8(), "checkpoint": FOLDER / "run"}
hgn.rollout(model, start, hgn.Every(25, 5), **rollout)
path = hgn.rollout(model, start, hgn.Every(25, 10), **rollout)
straight = hgn.rollout(model, start, hgn.Every(25, 10), **rollout | {"checkpoint": FOLDER / "new"})
moves = np.asarray(path.position) - solved(start, np.asarray(path.times, float))

batches = list(hgn.graphs.chunks(data, 40))
whole = streamed(batches)
try:
    streamed(killed_after(batches, 7), FOLDER / "stream.ckpt")
except KeyboardInterrupt:
    resumed = streamed(batches, FOLDER / "stream.ckpt")

print(
    json.dumps(
        {
            "dtypes": sorted({x.dtype.name for x in (*rates, path.position, fitted.model(data))}),
            "velocity": relative(rates[0], fresh.nodes["velocity"]),
            "force": relative(rates[1], truth),
            "position": float(np.abs(moves).max()),
            "streamed force": relative(whole.vector_field(fresh)[1], truth),
            "loaded is saved": bits(model) == bits(fitted.model),
            "resumed rollout is straight": bits(path) == bits(straight),
            "resumed stream is straight": bits(resumed) == bits(whole),
        }
    )
)
