"""By how much rotating, translating, permuting and reflecting the input moves the energy."""

from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from scipy.stats import ortho_group, special_ortho_group

import hgn_jax as hgn

from .record import Record, main


def run(quick: bool, out: Path) -> Iterator[Record]:
    cube = hgn.graphs.lattice((2, 2, 2))
    generator = np.random.default_rng(0)
    for potential in ("spring", "anharmonic", "morse"):
        system = hgn.systems.mass_spring(potential)
        train = hgn.systems.simulate(system, cube, key=jr.key(0))
        test = hgn.systems.simulate(system, cube, key=jr.key(1), trajectories=20 if quick else 200)
        for encoder, features in (
            ("invariants", [hgn.Kinetic(), hgn.Pair()]),
            ("paper", [hgn.MessagePassing(256, 64)]),
        ):
            model = hgn.fit(train, key=jr.key(2), features=features).model
            energy = model(test)
            record: Record = {"potential": potential, "encoder": encoder}
            for name, moved in _moved(test, generator):
                change = jnp.max(jnp.abs(model(moved) - energy)) / jnp.std(energy)
                record[name] = float(change)
            yield record


def _moved(data, generator) -> Iterator[tuple[str, object]]:
    q, p = data.nodes["position"], data.nodes["momentum"]
    rotation = jnp.asarray(special_ortho_group.rvs(3, random_state=generator))
    mirror = jnp.asarray(ortho_group.rvs(3, random_state=generator))
    mirror = mirror if np.linalg.det(mirror) < 0 else -mirror

    def at(position, momentum):
        return data._replace(nodes=data.nodes | {"position": position, "momentum": momentum})

    yield "rotation", at(q @ rotation, p @ rotation)
    yield "reflection", at(q @ mirror, p @ mirror)
    yield "translation", at(q + jnp.array([3.0, -2.0, 5.0]), p)
    order = np.concatenate([8 * g + generator.permutation(8) for g in range(len(data.n_node))])
    where = np.argsort(order)
    yield (
        "permutation",
        data._replace(
            nodes={k: v[order] for k, v in data.nodes.items()},
            senders=jnp.asarray(where)[data.senders],
            receivers=jnp.asarray(where)[data.receivers],
        ),
    )


if __name__ == "__main__":
    main("invariance", "Greatest change of the energy over its standard deviation", run)
