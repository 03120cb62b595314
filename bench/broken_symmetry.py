"""How broken is a symmetry: springs on a cube with fields of known degree, and all degrees offered.

200 snapshots with errors of 1% of the spread of the forces; force errors on 500 without noise. The
model has pairs, directions of bonds of degrees 2 and 4, and fields of degrees 0 to 4, with a ridge
for each group ("groups") or one for all ("one ridge"). The bare model has pairs alone.
"""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

import hgn_jax as hgn
from hgn_jax.graphs.geometry import displacement, edge_share

from .record import Case, Record, main

NOISE = 0.01
AXIS = np.array([1.0, 2.0, 2.0]) / 3
DIRECTION = np.array([0.6, -0.64, 0.48])
PAIRS = hgn.Pair(32)
TERMS = (PAIRS, hgn.Pair(8, degrees=(2, 4)), hgn.External(8, degrees=(0, 1, 2, 3, 4)))

Energy = Callable[[GraphsTuple], Float[Array, ""]]


def _of_bodies(energy: Callable[[Float[Array, "n 3"]], Float[Array, " n"]]) -> Energy:
    return lambda graphs: jnp.sum(energy(graphs.nodes["position"]))


def _bonds(graphs: GraphsTuple) -> Float[Array, ""]:
    """(r - 1)^2 times the Legendre polynomial of degree 2 of the direction of the bond."""
    d = displacement(graphs)
    r = jnp.linalg.norm(d, axis=1)
    cosine = d @ jnp.asarray(AXIS) / r
    return jnp.sum(edge_share(graphs) * (r - 1) ** 2 * (1.5 * cosine**2 - 0.5))


def _second_degree(x: Float[Array, "n 3"]) -> Float[Array, " n"]:
    return (x @ jnp.asarray(AXIS)) ** 2 - jnp.sum(x**2, axis=1) / 3


FIELDS: dict[str, tuple[Energy, float, tuple[str, ...], float]] = {
    "nothing": (_of_bodies(lambda x: 0 * x[:, 0]), 0.0, (), 8e-4),
    "weak uniform field": (_of_bodies(lambda x: -x @ jnp.asarray(DIRECTION)), 0.01,
                           ("external l=1",), 1.5e-3),
    "uniform field": (_of_bodies(lambda x: -x @ jnp.asarray(DIRECTION)), 1.0,
                      ("external l=1",), 2e-3),
    "isotropic trap": (_of_bodies(lambda x: jnp.sum(x**2, axis=1)), 0.15,
                       ("external l=0",), 7e-3),
    "uniaxial trap": (_of_bodies(lambda x: (x @ jnp.asarray(AXIS)) ** 2), 0.3,
                      ("external l=0", "external l=2"), 2.5e-3),
    "cubic field": (_of_bodies(lambda x: jnp.sum(x**4, axis=1)), 0.15,
                    ("external l=0", "external l=4"), 7e-3),
    "anisotropic bonds": (_bonds, 0.4, ("pair l=2",), 2e-3),
}  # fmt: skip
"""Energies, their forces relative to those of the springs, the groups they need, and goals for the
force error."""
SHARES = (1e-4, 1e-3, 3e-3, 1e-2, 0.1, 0.3)
"""Forces of a field of degree 2 relative to those of the springs."""


def cases(quick: bool) -> Iterator[Case]:
    for name in list(FIELDS)[:2] if quick else FIELDS:
        yield Case({"measured": "fields", "field": name}, functools.partial(_of_field, name, quick))
    for share in SHARES[3:4] if quick else SHARES:
        settings = {"measured": "shares", "strength": share}
        yield Case(settings, functools.partial(_of_share, share))
    for noise in (0.0, NOISE):
        settings = {"measured": "directions", "noise": noise}
        yield Case(settings, functools.partial(_directions, noise))


def _of_field(name: str, quick: bool) -> Record:
    energy, strength, needed, goal = FIELDS[name]
    test = _data(energy, strength, 500, seed=100)
    errors: dict[str, list[float]] = {"bare": [], "one_ridge": [], "groups": []}
    absent, wrong = [], 0
    for seed in range(1 if quick else 3):
        train = _noisy(_data(energy, strength, 200, seed), seed)
        fits = {
            "bare": _fitted(train, (PAIRS,), hgn.QR("evidence")),
            "one_ridge": _fitted(train, TERMS, hgn.QR("evidence")),
            "groups": _fitted(train, TERMS, hgn.QR("groups")),
        }
        for model, fit in fits.items():
            errors[model].append(float(hgn.metrics.relative_error(fit.model, test)["force"]))
        groups = [g for g in fits["groups"].breaking().groups if g.name != "pair"]
        absent.append(max(g.share for g in groups if g.name not in needed))
        wrong += sum(g.present != (g.name in needed) for g in groups)
    return {
        **{model: float(np.median(found)) for model, found in errors.items()},
        "goal": goal,
        "greatest_absent": max(absent),
        "wrong_verdicts": wrong,
        "verdicts": len(groups) * len(absent),
    }


def _of_share(strength: float) -> Record:
    energy = _of_bodies(_second_degree)
    train = _data(energy, strength, 200, seed=0)
    springs = _data(energy, 0.0, 200, seed=0)
    of_field = train.nodes["force"] - springs.nodes["force"]
    # On a cube, directions of bonds can take the place of a weak field of degree 2.
    table = _fitted(_noisy(train, 0), (PAIRS, TERMS[2]), hgn.QR("groups")).breaking()
    group = table["external l=2"]
    return {
        "true": float(jnp.linalg.norm(of_field) / jnp.linalg.norm(train.nodes["force"])),
        "found": group.share,
        "parameters": group.parameters,
        "nats": group.nats,
    }


def _directions(noise: float) -> Record:
    """Angles (degrees) of the fields that one charge shows: electric along `DIRECTION`, magnetic
    along `AXIS`."""
    graph = hgn.graphs.from_pairs(np.zeros((1, 3)), np.zeros((0, 2), int))
    q, v = jr.normal(jr.key(0), (2, 200, 1, 3))
    data = hgn.graphs.snapshots(graph, {"position": q, "momentum": v}, {})
    momentum = data.nodes["momentum"]
    force = jnp.asarray(DIRECTION)[None] + jnp.cross(momentum, jnp.asarray(AXIS)[None])
    force += noise * jnp.std(force) * jr.normal(jr.key(1), force.shape)
    fit = hgn.fit(
        data._replace(nodes=data.nodes | {"force": force}), key=0, throw=False,
        terms=(hgn.External(4, degrees=(0, 1, 2)), hgn.Magnetic(4)),
        observations=[hgn.Forces("uniform")], solver=hgn.QR("groups"),
    )  # fmt: skip
    still, moving = jnp.zeros((4, 3)), jnp.concatenate([jnp.zeros((1, 3)), jnp.eye(3)])
    at = {"position": still[:, None], "momentum": moving[:, None]}
    electric, *magnetic = fit.model.vector_field(hgn.graphs.snapshots(graph, at, {}))[1]
    # v x B has the components of B off the diagonal.
    turned = jnp.stack(magnetic) - electric[None]
    found = jnp.stack([turned[2, 1] - turned[1, 2], turned[0, 2] - turned[2, 0],
                       turned[1, 0] - turned[0, 1]]) / 2  # fmt: skip
    return {
        "electric": _angle(electric, DIRECTION),
        "magnetic": _angle(found, AXIS),
        "goal": 0.2 if noise else 1e-6,
    }


def _angle(found: Array, true: np.ndarray) -> float:
    """Angle between two directions (degrees)."""
    a, b = np.asarray(found) / np.linalg.norm(found), true / np.linalg.norm(true)
    return float(np.degrees(2 * np.arcsin(np.linalg.norm(a - b) / 2)))


def _fitted(data: GraphsTuple, terms: tuple[hgn.AbstractTermSpec, ...], solver: hgn.QR) -> hgn.Fit:
    options = {"observations": [hgn.Forces("uniform")], "throw": False}
    return hgn.fit(data, key=0, terms=terms, solver=solver, **options)


def _data(energy: Energy, strength: float, count: int, seed: int) -> GraphsTuple:
    """Snapshots of springs, with forces of the field relative to those of the springs."""
    data = _springs(count, seed)
    field = _forces(energy, data)
    force, size = data.nodes["force"], _field_size(energy)
    field = strength * field / size if strength else jnp.zeros_like(force)
    return data._replace(nodes=data.nodes | {"force": force + field})


def _forces(energy: Energy, data: GraphsTuple) -> Float[Array, "n 3"]:
    def total(position: Float[Array, "n 3"]) -> Float[Array, ""]:
        return energy(data._replace(nodes=data.nodes | {"position": position}))

    return -jax.grad(total)(data.nodes["position"])


@functools.cache
def _field_size(energy: Energy) -> float:
    """Norm of the field's forces over that of the springs' forces."""
    data = _springs(500, 100)
    size = jnp.linalg.norm(_forces(energy, data))
    return float(size / jnp.linalg.norm(data.nodes["force"]))


@functools.cache
def _springs(count: int, seed: int) -> GraphsTuple:
    cube = hgn.graphs.lattice((2, 2, 2))
    cube = cube._replace(nodes=cube.nodes | {"position": cube.nodes["position"] - 0.5})
    springs = hgn.systems.mass_spring("spring", rest_length=1.0)
    start = hgn.systems.Uniform(0.3, 0.3)
    key = jr.key(seed)
    return hgn.systems.simulate(springs, cube, key=key, trajectories=count, start=start)


def _noisy(data: GraphsTuple, seed: int) -> GraphsTuple:
    force = data.nodes["force"]
    wrong = NOISE * jnp.std(force) * jr.normal(jr.key(50 + seed), force.shape)
    return data._replace(nodes=data.nodes | {"force": force + wrong})


if __name__ == "__main__":
    main("broken_symmetry", "Springs with fields: what is found", cases)
