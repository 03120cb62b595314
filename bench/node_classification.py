"""Classes of nodes on the data sets of GRAFF (Di Giovanni et al., arXiv 2206.10991), by gradient
flows of fixed spectra and one ridge regression.

Features, flows, readout and ridge are chosen by the accuracy on validation nodes. The files are not
shipped: pass their folder as `--data`. Each `NAME.npz` holds features as CSR (`feature_data`,
`_indices`, `_indptr`, `_shape`), `labels`, `edges` [e 2] and ten `splits` [10 n]: 1 train,
2 validation, 3 test.
"""

import argparse
import itertools
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse import csr_matrix

import hgn_jax as hgn
from hgn_jax.flows import GradientFlow, QuadraticEnergy
from hgn_jax.flows.classify import RIDGES

from .record import Case, Record, main

NAMES = (
    "texas", "wisconsin", "cornell", "chameleon_filtered", "cora", "chameleon", "citeseer",
    "squirrel", "squirrel_filtered", "film",
)  # fmt: skip
ATTRACT, REPEL = QuadraticEnergy(1.0), QuadraticEnergy(-1.0)
FLOWS = {
    "none": GradientFlow(ATTRACT, 0.0),
    "attract": GradientFlow(ATTRACT),
    "repel": GradientFlow(REPEL),
    "attract 4": GradientFlow(ATTRACT, 4.0),
    "repel 4": GradientFlow(REPEL, 4.0),
    "step": GradientFlow(ATTRACT, 1.0, steps=1),
    "two steps": GradientFlow(ATTRACT, 2.0, steps=2),
    "equilibrium": GradientFlow(QuadraticEnergy(0.9, decay=1.0, source=0.1), math.inf),
    "near equilibrium": GradientFlow(QuadraticEnergy(0.8, decay=1.0, source=0.2), math.inf),
}
"""Flows by name; the number is the time. The equilibria with a source are the filters of
personalised PageRank, with restart probabilities of 0.1 and 0.2 (arXiv 1810.05997)."""
BANKS = (
    ("none",),
    ("attract",),
    ("none", "attract"),
    ("none", "repel"),
    ("none", "attract", "repel"),
    ("none", "attract 4", "repel 4"),
    ("step", "two steps"),
    ("none", "step", "two steps"),
    ("equilibrium",),
    ("near equilibrium",),
    ("none", "equilibrium"),
)
FEATURES = {
    "as they are": ("plain",),
    "unit length": ("unit",),
    "with nodes": ("plain", "nodes"),
    "unit length, with nodes": ("unit", "nodes"),
}
"""Rows of features as they are or of unit length, alone or beside an indicator of every node. All
have a mean square of one."""
SMALL = 1000
"""Number of nodes below which all features are tried with all flows."""


class Choice(NamedTuple):
    """Features, flows and biases that validation compares; each has its own best ridge."""

    features: str
    bank: tuple[str, ...]
    bias: float | None
    """None for a linear readout."""


Grams = Callable[[str, str], Float[Array, "n n"]]
"""Gram matrix of rows of features after a flow, both by name."""
READOUTS = {"linear": (None,), "nonlinear": (0.0, 1.0)}
"""Readouts, with the biases of their units."""


def cases(quick: bool, data: Path) -> Iterator[Case]:
    for name in NAMES[: 1 if quick else None]:
        yield Case({"data": name}, partial(_data_set, data / f"{name}.npz"))


def _data_set(path: Path) -> Record:
    data = np.load(path)
    csr = (data["feature_data"], data["feature_indices"], data["feature_indptr"])
    x = csr_matrix(csr, shape=tuple(data["feature_shape"])).toarray().astype(float)
    labels, splits, pairs = data["labels"].astype(int), data["splits"], data["edges"]
    grams = _grams(hgn.flows.graph(pairs, len(x)), x)
    # The choice looks at validation nodes of so many of the ten splits.
    seen = 10 if len(x) < SMALL else 2
    found = {
        readout: _best(readout, grams, labels, splits[:seen])
        for readout in READOUTS
    }  # fmt: skip
    plain = Choice("as they are", BANKS[0], None)
    found["no flow"] = _chosen([plain], grams, labels, splits[:seen])
    return {
        "nodes": len(x),
        "edges": len(pairs),
        "homophily": float(np.mean(labels[pairs[:, 0]] == labels[pairs[:, 1]])),
        "chosen": max(READOUTS, key=lambda readout: found[readout]["validation"]),
        "splits_seen": seen,
        **{k.replace(" ", "_"): _tested(v, grams, labels, splits) for k, v in found.items()},
    }


def _grams(graph: Any, x: Float[np.ndarray, "n c"]) -> Grams:
    size = np.linalg.norm(x, axis=1, keepdims=True)
    inputs = {
        "plain": lambda: x / np.sqrt(np.mean(size**2)),
        "unit": lambda: x / np.where(size > 0, size, 1),
        "nodes": lambda: np.eye(len(x)),
    }

    @cache
    def gram(rows: str, flow: str) -> Float[Array, "n n"]:
        states = hgn.flows.states(graph, jnp.asarray(inputs[rows]()), [FLOWS[flow]])
        return hgn.flows.linear(states)

    return gram


def _kernel(choice: Choice, grams: Grams) -> Float[Array, "n n"]:
    parts = itertools.product(FEATURES[choice.features], choice.bank)
    gram = sum(grams(rows, flow) for rows, flow in parts)
    return gram if choice.bias is None else hgn.flows.arc_cosine(gram, bias=choice.bias)


def _best(readout: str, grams: Grams, labels: Any, splits: Any) -> Record:
    """The features, flows, bias and ridge of the highest mean accuracy on validation nodes."""
    biases, every = READOUTS[readout], [*FEATURES]
    if len(labels) < SMALL:
        choices = itertools.starmap(Choice, itertools.product(every, BANKS, biases))
        return _chosen(choices, grams, labels, splits)
    # Flows first, then features.
    flows = itertools.starmap(Choice, itertools.product(every[:1], BANKS, biases))
    best = _chosen(flows, grams, labels, splits)
    rest = [Choice(features, tuple(best["bank"]), best["bias"]) for features in every]
    return _chosen(rest, grams, labels, splits)


def _chosen(choices: Iterable[Choice], grams: Grams, labels: Any, splits: Any) -> Record:
    best: Record = {"validation": -1.0}
    ridges = np.array(RIDGES)
    for choice in choices:
        kernel = _kernel(choice, grams)
        accuracy = np.zeros(len(ridges))
        for split in splits:
            fit = _classified(kernel, labels, split, ridges)
            accuracy += fit.validation / len(splits)
        if accuracy.max() > best["validation"]:
            best = {"validation": float(accuracy.max()), "ridge": float(ridges[accuracy.argmax()])}
            best |= choice._asdict() | {"bank": list(choice.bank)}
    return best


def _tested(best: Record, grams: Grams, labels: Any, splits: Any) -> Record:
    """Accuracy on the test nodes of all splits, and seconds of one solve."""
    kernel = _kernel(Choice(best["features"], tuple(best["bank"]), best["bias"]), grams)
    accuracy, seconds = [], []
    for split in splits:
        start = time.perf_counter()
        fit = _classified(kernel, labels, split, np.array([best["ridge"]]))
        accuracy.append(fit.accuracy(split == 3))
        seconds.append(time.perf_counter() - start)
    return best | {
        "test": float(np.mean(accuracy)),
        "deviation": float(np.std(accuracy)),
        "seconds": float(np.median(seconds)),
    }


def _classified(kernel: Any, labels: Any, split: Any, ridges: Any) -> hgn.flows.Classification:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no training node has class")  # a class of one node
        return hgn.flows.classify(
            kernel, labels, split == 1, validation=split == 2, ridge=tuple(ridges)
        )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="folder of the data sets, NAME.npz")


if __name__ == "__main__":
    if any(word.startswith("--data") for word in sys.argv):
        main("node_classification", "Classes of nodes", cases, arguments=arguments)
    else:
        print("skipped: pass --data, the folder of the data sets")
