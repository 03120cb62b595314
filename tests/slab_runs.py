"""Rollouts over a mesh of eight virtual devices and on one, for test_slabs.

A program of its own, since the number of devices is fixed when JAX starts. Writes its results to
the file that it is given. With the number of a process and a port it is one of two processes.
"""

import json
import sys
import tempfile
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax.dynamics import checkpoint as checkpoint_module
from hgn_jax.graphs.cell import Cell
from hgn_jax.graphs.geometry import (
    components,
    edge_share,
    received,
    square,
    sum_over_edges,
    sum_over_graphs,
)
from hgn_jax.io import checkpoint

jax.config.update("jax_enable_x64", True)
if len(sys.argv) > 2:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{sys.argv[3]}", 2, int(sys.argv[2]))
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
LJ = hgn.systems.lennard_jones(cutoff=2.5)


class EmbeddedAtom(hgn.AbstractHamiltonian):
    """Kinetic energy and -sqrt(density) of each body: no sum over pairs."""

    cutoff: float = 1.5

    @property
    def separable(self):
        return True

    def __call__(self, graphs):
        s = square(components(graphs, received(graphs)))
        near = jnp.where(s < self.cutoff**2, (self.cutoff**2 - s) ** 3, 0)
        density = sum_over_edges(graphs, near * edge_share(graphs))
        kinetic = jnp.sum(graphs.nodes["momentum"] ** 2, axis=1) / 2
        return sum_over_graphs(graphs, kinetic - jnp.sqrt(1 + density))


def lattice(shape, spacing=1.1, speed=2.0, skew=0.0, seed=0):
    """Bodies near the points of a lattice, each of its own mass."""
    rng, d = np.random.default_rng(seed), len(shape)
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, d)
    rows = spacing * np.eye(d) + skew * np.eye(d, k=-1)
    mass = rng.uniform(1, 2, len(points))
    momentum = mass[:, None] * rng.normal(0, speed, points.shape)
    return GraphsTuple(
        nodes={
            "position": jnp.asarray(points @ rows + rng.normal(0, 0.03, points.shape)),
            "momentum": jnp.asarray(momentum - momentum.mean(axis=0)),
            "mass": jnp.asarray(mass),
        },
        edges={},
        senders=jnp.zeros(0, jnp.int32),
        receivers=jnp.zeros(0, jnp.int32),
        globals={"cell": jnp.asarray(np.asarray(shape)[:, None] * rows)[None]},
        n_node=jnp.array([len(points)]),
        n_edge=jnp.array([0]),
    )


def mesh(devices=8):
    return jax.sharding.Mesh(jax.devices()[:devices], ("x",))


def slab(position, graph, slabs=8):
    """Slab of each body along the first lattice vector."""
    x = Cell(np.asarray(graph.globals["cell"][0])).fractional(np.asarray(position))[:, 0]
    return np.floor(slabs * (x % 1)).astype(int)


def both(model, graph, times, cutoff, skin, **options):
    """The path on one device and over the mesh."""
    spec = {"cutoff": cutoff, "skin": skin}
    return [
        hgn.rollout(model, graph, times, neighbours=hgn.Neighbours(**spec, mesh=m), **options)
        for m in (None, mesh())
    ]


WATCHED = [
    hgn.Temperature(), hgn.Pressure(), hgn.Momentum(), hgn.MeanSquaredDisplacement(),
]  # fmt: skip


def liquid(out):
    graph = lattice((48, 5, 5))
    paths = both(LJ, graph, hgn.Every(50, 2), 2.5, 0.3, dt=0.002, observables=WATCHED)
    for name, path in zip(("one", "many"), paths):
        out[f"liquid {name} q"], out[f"liquid {name} p"] = path.position, path.momentum
        out[f"liquid {name} energy"] = path.energy
        for key, values in path.observed.items():
            out[f"liquid {name} {key}"] = values
    out["liquid moved"] = slab(path.position[0], graph) != slab(path.position[-1], graph)


def late(out):
    """Chaos has made another path than on one device: compared with its own state."""
    graph = lattice((48, 5))
    path = hgn.rollout(
        LJ, graph, hgn.Every(500, 2), dt=0.002, observables=WATCHED,
        neighbours=hgn.Neighbours(2.5, 0.3, mesh=mesh()),
    )  # fmt: skip
    cell, mass = graph.globals["cell"][0], graph.nodes["mass"]
    end = hgn.graphs.radius(path.position[-1], 2.5, cell=cell, mass=mass)
    end = end._replace(nodes=end.nodes | {"momentum": path.momentum[-1]})
    out["late one energy"], out["late many energy"] = LJ(end)[0], path.energy[-1]
    out["late one pressure"] = hgn.Pressure()(LJ, end, end)[0]
    out["late many pressure"] = path.observed["pressure"][-1]
    out["late moved"] = slab(path.position[0], graph) != slab(path.position[-1], graph)


def embedded(out):
    graph = lattice((64, 6), spacing=1.0, skew=0.3)
    paths = both(
        EmbeddedAtom(), graph, hgn.Every(60, 1), 1.5, 0.3, dt=0.005, integrator=hgn.Yoshida4()
    )
    for name, path in zip(("one", "many"), paths):
        out[f"embedded {name} q"], out[f"embedded {name} energy"] = path.position, path.energy
    out["embedded moved"] = slab(paths[0].position[0], graph) != slab(paths[0].position[-1], graph)


def crowd(out):
    """Bodies that fly towards the middle, so that slabs, halos and lists there overflow."""
    graph = lattice((40, 4), spacing=2.5, speed=0.1)
    q, mass = graph.nodes["position"], graph.nodes["mass"]
    inwards = jnp.stack([(50.0 - q[:, 0]) / 2, jnp.zeros_like(mass)], axis=1)
    momentum = graph.nodes["momentum"] + mass[:, None] * inwards
    graph = graph._replace(nodes=graph.nodes | {"momentum": momentum})
    paths = both(LJ, graph, hgn.Every(300, 1), 2.5, 0.3, dt=0.002)
    for name, path in zip(("one", "many"), paths):
        out[f"crowd {name} q"], out[f"crowd {name} energy"] = path.position, path.energy
    out["crowd fullest"] = [np.bincount(slab(q, graph)).max() for q in paths[0].position]


def interrupted(out):
    graph = lattice((48, 5))
    checkpoint.SHARE = checkpoint_module.SHARE = 1e9
    options = {"dt": 0.002, "observables": [hgn.MeanSquaredDisplacement()]}

    def stop(progress):
        raise KeyboardInterrupt

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"

        def run(devices, times, **more):
            spec = hgn.Neighbours(2.5, 0.3, mesh=mesh(devices))
            return hgn.rollout(
                LJ, graph, times, neighbours=spec, checkpoint=path, **options, **more
            )

        run(8, hgn.Every(30, 1))
        resumed = run(4, hgn.Every(30, 3))
        out["resumed outputs"] = len(list(path.glob("outputs-*")))
    straight = hgn.rollout(
        LJ, graph, hgn.Every(30, 3), neighbours=hgn.Neighbours(2.5, 0.3), **options
    )
    for name, path in (("one", straight), ("many", resumed)):
        out[f"resumed {name} q"] = path.position
        out[f"resumed {name} msd"] = path.observed["mean_squared_displacement"]


def messages():
    """Texts of errors, by what is wrong."""
    small, good = lattice((12, 5)), lattice((48, 5))
    free = good._replace(globals={})
    few = lattice((3, 2), spacing=20.0)
    spec = hgn.Neighbours(2.5, 0.3, mesh=mesh())
    cases = {
        "thin": lambda: hgn.rollout(LJ, small, [0.0, 1.0], dt=0.01, neighbours=spec),
        "free": lambda: hgn.rollout(LJ, free, [0.0, 1.0], dt=0.01, neighbours=spec),
        "few": lambda: hgn.rollout(LJ, few, [0.0, 1.0], dt=0.01, neighbours=spec),
        "axes": lambda: hgn.Neighbours(2.5, 0.3, mesh=jax.make_mesh((4, 2), ("x", "y"))),
        "kind": lambda: hgn.Neighbours(2.5, 0.3, mesh=8),
        "integrator": lambda: hgn.rollout(
            LJ, good, [0.0, 1.0], dt=0.01, neighbours=spec,
            integrator=hgn.Langevin(1.0, 1.0, key=jax.random.key(0)),
        ),
        "observable": lambda: hgn.rollout(
            LJ, good, [0.0, 1.0], dt=0.01, neighbours=spec,
            observables=[hgn.RadialDistribution(2.0)],
        ),
        "relax": lambda: hgn.relax(LJ, good, force=1e-3, neighbours=spec),
        "jit": lambda: jax.jit(
            lambda g: hgn.rollout(LJ, g, [0.0, 1.0], dt=0.01, neighbours=spec).energy
        )(good),
        "crowded": lambda: hgn.rollout(
            LJ, good._replace(globals={"cell": jnp.asarray(np.diag([400.0, 5.5]))[None]}),
            [0.0, 0.002], dt=0.002, neighbours=spec,
        ),
        "step": lambda: hgn.rollout(LJ, good, [0.0, 4.0], dt=0.05, neighbours=spec),
        "step on one": lambda: hgn.rollout(
            LJ, good, [0.0, 4.0], dt=0.05, neighbours=hgn.Neighbours(2.5, 0.3)
        ),
    }  # fmt: skip
    texts = {}
    warnings.simplefilter("error")
    for name, case in cases.items():
        try:
            case()
            texts[name] = ""
        except (ValueError, RuntimeError, UserWarning) as error:
            texts[name] = f"{type(error).__name__}: {error}"
    return texts


def apart(out):
    """In two processes, of which each has two of the four slabs."""
    graph = lattice((24, 5))
    options = {"dt": 0.002, "observables": [hgn.Pressure()]}
    for name, devices in (("one", None), ("many", mesh(4))):
        spec = hgn.Neighbours(2.5, 0.3, mesh=devices)
        path = hgn.rollout(LJ, graph, hgn.Every(50, 2), neighbours=spec, **options)
        out[f"apart {name} q"], out[f"apart {name} energy"] = path.position, path.energy
        out[f"apart {name} pressure"] = path.observed["pressure"]


if __name__ == "__main__":
    results = {}
    if len(sys.argv) > 2:
        apart(results)
    else:
        for part in (liquid, late, embedded, crowd, interrupted):
            part(results)
        results["messages"] = json.dumps(messages())
    np.savez(sys.argv[1], **results)
