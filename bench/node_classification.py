"""Classes of nodes on the data sets of GRAFF (Di Giovanni et al., arXiv 2206.10991), by gradient
flows of fixed spectra and one ridge regression.

Features, flows, readout and ridge are chosen by the accuracy on validation nodes. The files are not
shipped: pass their folder as `--data`. Each `NAME.npz` holds features as CSR (`feature_data`,
`_indices`, `_indptr`, `_shape`), `labels`, `edges` [e 2] and ten `splits` [10 n]: 1 train,
2 validation, 3 test.
"""

import argparse
import itertools
import sys
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

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
}
"""Flows by name; the number is the time."""
BANKS = (
    ("none",),
    ("attract",),
    ("none", "attract"),
    ("none", "repel"),
    ("none", "attract", "repel"),
    ("none", "attract 4", "repel 4"),
    ("step", "two steps"),
    ("none", "step", "two steps"),
)
FEATURES = {
    "as they are": ("plain",),
    "unit length": ("unit",),
    "with nodes": ("plain", "nodes"),
    "unit length, with nodes": ("unit", "nodes"),
}
"""Rows of features as they are or of unit length, alone or beside an indicator of every node. All
have a mean square of one."""
SMALL, LARGE = 1000, 4000
"""Numbers of nodes below which all features are tried with all flows, and from which only the
features as they are."""
READOUTS = {"linear": lambda gram: gram, "nonlinear": hgn.flows.arc_cosine}


def cases(quick: bool, data: Path) -> Iterator[Case]:
    for name in NAMES[: 1 if quick else None]:
        yield Case({"data": name}, partial(_data_set, data / f"{name}.npz"))


def _data_set(path: Path) -> Record:
    data = np.load(path)
    csr = (data["feature_data"], data["feature_indices"], data["feature_indptr"])
    x = csr_matrix(csr, shape=tuple(data["feature_shape"])).toarray().astype(float)
    labels, splits, pairs = data["labels"].astype(int), data["splits"], data["edges"]
    start = time.perf_counter()
    grams = _grams(hgn.flows.graph(pairs, len(x)), x)
    seconds = time.perf_counter() - start
    # The choice looks at validation nodes of so many of the ten splits.
    seen = 10 if len(x) < SMALL else 2 if len(x) < LARGE else 1
    found = {
        readout: _best(readout, grams, labels, splits[:seen])
        for readout in READOUTS
    }  # fmt: skip
    found["no flow"] = _chosen("linear", grams, labels, splits[:seen], [("as they are", BANKS[0])])
    return {
        "nodes": len(x),
        "edges": len(pairs),
        "homophily": float(np.mean(labels[pairs[:, 0]] == labels[pairs[:, 1]])),
        "chosen": max(READOUTS, key=lambda readout: found[readout]["validation"]),
        "splits_seen": seen,
        "seconds_of_flows": seconds,
        **{k.replace(" ", "_"): _tested(v, grams, labels, splits) for k, v in found.items()},
    }


def _grams(graph: Any, x: Float[np.ndarray, "n c"]) -> dict[str, dict[str, Any]]:
    """Gram matrices after each flow, by the name of the rows."""
    size = np.linalg.norm(x, axis=1, keepdims=True)
    inputs = {"plain": x / np.sqrt(np.mean(size**2))}
    if len(x) < LARGE:
        inputs |= {"unit": x / np.where(size > 0, size, 1), "nodes": np.eye(len(x))}
    grams = {}
    for name, rows in inputs.items():
        states = hgn.flows.states(graph, jnp.asarray(rows), [*FLOWS.values()])
        grams[name] = {flow: np.asarray(hgn.flows.linear(s)) for flow, s in zip(FLOWS, states)}
    return grams


def _kernel(readout: str, features: str, bank: tuple[str, ...], grams: Any) -> Float[Array, "n n"]:
    parts = [grams[rows] for rows in FEATURES[features]]
    return READOUTS[readout](jnp.asarray(sum(part[flow] for part in parts for flow in bank)))


def _best(readout: str, grams: Any, labels: Any, splits: Any) -> Record:
    """The features, flows and ridge of the highest mean accuracy on validation nodes."""
    every = [*FEATURES][: None if len(labels) < LARGE else 1]
    if len(labels) < SMALL:
        return _chosen(readout, grams, labels, splits, itertools.product(every, BANKS))
    # Flows first, then features.
    flows = _chosen(readout, grams, labels, splits, [(every[0], bank) for bank in BANKS])
    pairs = [(features, tuple(flows["bank"])) for features in every]
    return _chosen(readout, grams, labels, splits, pairs)


def _chosen(readout: str, grams: Any, labels: Any, splits: Any, pairs: Any) -> Record:
    best: Record = {"validation": -1.0}
    ridges = np.array(RIDGES)
    for features, bank in pairs:
        kernel = _kernel(readout, features, bank, grams)
        accuracy = np.zeros(len(ridges))
        for split in splits:
            fit = _classified(kernel, labels, split, ridges)
            accuracy += fit.validation / len(splits)
        if accuracy.max() > best["validation"]:
            ridge = float(ridges[accuracy.argmax()])
            best = {"validation": float(accuracy.max()), "ridge": ridge}
            best |= {"bank": list(bank), "features": features, "readout": readout}
    return best


def _tested(best: Record, grams: dict[str, Any], labels: Any, splits: Any) -> Record:
    """Accuracy on the test nodes of all splits, and seconds of one solve."""
    kernel = _kernel(best["readout"], best["features"], tuple(best["bank"]), grams)
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
