"""The paper's encoder as its authors would fit it: every row has weight one, and the solve is plain
least squares. What our sources leave open is chosen from the training data."""

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax.random as jr
import numpy as np
from jraph import GraphsTuple

import hgn_jax as hgn

from .published_sampling import PublishedELM, PublishedSWIM

SAMPLINGS: dict[str, hgn.AbstractSampling] = {
    "SWIM": PublishedSWIM(),
    "ELM": PublishedELM(),
    "SWIM, standardised": hgn.SWIM(),
    "ELM, standardised": hgn.ELM(scale=0.3),
}
"""Sampling as published, and this library's on standardised inputs."""
PLAIN: dict[str, Any] = {
    "observations": (hgn.Derivatives("uniform"),),
    "solver": hgn.QR(ridge=0.0),
}
"""Arguments of `hgn.fit` for plain least squares."""
SNAPSHOTS = 300
"""Most training snapshots from which a choice is made."""


class Reading(NamedTuple):
    """A reading of the encoder (see `hgn.MessagePassing`), and how its layers are sampled."""

    sampling: str
    sees_receiver: bool = False
    pools_nodes: bool = True

    def term(self, units: int, hidden: int) -> hgn.MessagePassing:
        return hgn.MessagePassing(
            units,
            hidden,
            SAMPLINGS[self.sampling],
            sees_receiver=self.sees_receiver,
            pools_nodes=self.pools_nodes,
        )

    def __str__(self) -> str:
        messages = f"`phi_M({'h_i, h_j' if self.sees_receiver else 'h_i'}, e_ij)`"
        return f"{messages} with the node units" if self.pools_nodes else f"{messages} alone"


def readings(sampling: str) -> list[Reading]:
    """All readings of messages and pooling."""
    return [Reading(sampling, *flags) for flags in itertools.product((False, True), repeat=2)]


def most_favourable(
    candidates: Iterable[Reading], train: GraphsTuple, units: int, hidden: int
) -> Reading:
    """Reading with the least error on a held-out tenth of the first training snapshots."""
    first = hgn.graphs.take(train, np.arange(len(train.n_node)) < SNAPSHOTS)
    part, held_out = hgn.graphs.split(first, 0.1, key=jr.key(2))

    def error(reading: Reading) -> float:
        model = hgn.fit(part, key=jr.key(3), terms=[reading.term(units, hidden)], **PLAIN).model
        return float(hgn.metrics.mean_square_error(model, held_out))

    return min(candidates, key=error)
