"""Change of the energy under rotation, reflection, translation and permutation of the input."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array
from jraph import GraphsTuple
from matplotlib.figure import Figure
from scipy.stats import ortho_group, special_ortho_group

import hgn_jax as hgn

from .paper_encoder import PLAIN, Reading
from .record import Case, Record, dots, main

ENCODERS = {
    "invariants": {"terms": [hgn.Kinetic(), hgn.Pair()]},
    "paper": {"terms": [Reading("SWIM").term(256, 64)], **PLAIN},
}
"""Arguments of `hgn.fit`."""


class Motions(NamedTuple):
    """A rotation, a reflection and a permutation of the nodes, for all cubes of a batch."""

    rotation: np.ndarray
    mirror: np.ndarray
    order: np.ndarray


def cases(quick: bool) -> Iterator[Case]:
    generator = np.random.default_rng(0)
    count = 20 if quick else 200
    for potential in ("spring", "anharmonic", "morse"):
        for encoder in ENCODERS:
            # Sampled here, so that a resumed run samples the same.
            motions = _draw(generator, count)
            yield Case(
                {"potential": potential, "encoder": encoder},
                partial(measure, potential, encoder, motions),
            )


def measure(potential: str, encoder: str, motions: Motions) -> Record:
    system = hgn.systems.mass_spring(potential)
    cube = hgn.graphs.lattice((2, 2, 2))
    train = hgn.systems.simulate(system, cube, key=jr.key(0))
    test = hgn.systems.simulate(system, cube, key=jr.key(1), trajectories=len(motions.order) // 8)
    model = hgn.fit(train, key=jr.key(2), **ENCODERS[encoder]).model
    energy = model(test)
    return {
        name: float(jnp.max(jnp.abs(model(moved) - energy)) / jnp.std(energy))
        for name, moved in _moved(test, motions)
    }


def _draw(generator: np.random.Generator, count: int) -> Motions:
    rotation = special_ortho_group.rvs(3, random_state=generator)
    mirror = ortho_group.rvs(3, random_state=generator)
    mirror = mirror if np.linalg.det(mirror) < 0 else -mirror
    order = np.concatenate([8 * g + generator.permutation(8) for g in range(count)])
    return Motions(rotation, mirror, order)


def _moved(data: GraphsTuple, motions: Motions) -> Iterator[tuple[str, GraphsTuple]]:
    q, p = data.nodes["position"], data.nodes["momentum"]
    rotation, mirror = jnp.asarray(motions.rotation), jnp.asarray(motions.mirror)

    def at(position: Array, momentum: Array) -> GraphsTuple:
        return data._replace(nodes=data.nodes | {"position": position, "momentum": momentum})

    yield "rotation", at(q @ rotation, p @ rotation)
    yield "reflection", at(q @ mirror, p @ mirror)
    yield "translation", at(q + jnp.array([3.0, -2.0, 5.0]), p)
    where = jnp.asarray(np.argsort(motions.order))
    yield (
        "permutation",
        data._replace(
            nodes={k: v[motions.order] for k, v in data.nodes.items()},
            senders=where[data.senders],
            receivers=where[data.receivers],
        ),
    )


def draw(records: list[Record]) -> Figure:
    return dots(
        records,
        lambda r: f"{r['potential']}, {r['encoder']}",
        "rotation",
        "greatest change of the energy by a rotation, over its standard deviation",
    )


if __name__ == "__main__":
    main("invariance", "Greatest change of the energy over its standard deviation", cases, draw)
