"""Configurations from quantum mechanics, read by the benchmark of interatomic potentials."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jraph import GraphsTuple

import hgn_jax as hgn

Radial = int | tuple[int, int, int]


class Subject(NamedTuple):
    """A set of configurations, and the settings to try on it."""

    name: str
    folder: str
    train: str
    test: str | None
    """None if there is no test file: errors are then those on held-out training frames."""
    cutoffs: tuple[float, ...]
    radials: tuple[Radial, ...]
    weights: tuple[float, ...] = (1.0, 2.0, 4.0)
    stretches: tuple[float | None, ...] = (None,)
    likenesses: tuple[float, ...] = (0.8,)
    every: int = 1
    """Stride of the training frames that are used."""
    search_every: int = 1
    """Stride of those by which settings are chosen."""
    units: tuple[int, ...] = (1000, 2000)
    search_units: int = 500
    seeds: int = 3

    @property
    def label(self) -> str:
        """Name for `--only`."""
        return self.name.lower()


def _element(symbol: str, test: bool, cutoffs: tuple[float, ...]) -> Subject:
    files = f"{symbol}_train.xyz", f"{symbol}_test.xyz" if test else None
    # Settings are chosen with the greatest number of features.
    return Subject(
        symbol,
        "mlearn",
        *files,
        cutoffs,
        radials=(5, 7, 10),
        weights=(0.5, 1.0, 2.0, 4.0, 8.0),
        search_units=2000,
    )


ELEMENTS = (
    # 6.25 was added when 6.5 had the least held-out error of energies, and 6.0 that of forces.
    _element("Si", True, (5.5, 6.0, 6.25, 6.5)),
    _element("Mo", True, (4.6, 5.0, 5.5)),
    _element("Li", True, (5.5, 6.0, 6.5)),
    _element("Ni", False, (4.6, 5.0, 5.5)),
    _element("Cu", False, (4.6, 5.0, 5.5)),
    _element("Ge", False, (5.5, 6.0, 6.5)),
)
ALLOYS = Subject(
    "MoNbTaW",
    "alloys",
    "MoNbTaW_train.xyz",
    "MoNbTaW_test.xyz",
    cutoffs=(4.7, 5.2),
    radials=(4, 5),
    weights=(0.5, 1.0, 2.0),
    likenesses=(0.8, 0.0, 0.9, 0.95, 0.98),
    every=2,
    search_every=4,
    units=(2000,),
    seeds=1,
)


def _molecule(name: str, train: str, test: str, units: tuple[int, ...]) -> Subject:
    return Subject(
        name,
        "molecules",
        train,
        test,
        cutoffs=(4.0, 5.0),
        radials=(5,),
        weights=(0.5, 1.0, 2.0),
        stretches=(2.0, None),
        likenesses=(0.5, 0.0),
        units=units,
        search_units=2000,
        seeds=1,
    )


MOLECULES = (
    _molecule("ethanol", "ethanol_train.xyz", "ethanol_test.xyz", (2000, 4000, 8000)),
    _molecule("acetylacetone", "acac_train_300K.xyz", "acac_test_300K.xyz", (2000, 4000)),
)
SUBJECTS = {s.label: s for s in (*ELEMENTS, ALLOYS, *MOLECULES)}


def found(folder: Path, subject: Subject, name: str) -> Path:
    """Path of the file, compressed or not. Exits with an error that names it if it is missing."""
    if not folder.is_dir():
        raise SystemExit(f"--data: there is no folder {folder}")
    path = folder / subject.folder / name
    for candidate in (path, path.with_name(f"{name}.xz"), path.with_name(f"{name}.gz")):
        if candidate.is_file():
            return candidate
    raise SystemExit(
        f"--data: {subject.name} needs {path}, plain or packed as .xz or .gz, but there is no such "
        "file; choose other parts with --only"
    )


@lru_cache(maxsize=2)
def training(
    folder: Path, subject: Subject, cutoff: float, quick: bool, every: int | None = None
) -> GraphsTuple:
    """Training frames, joined by the cutoff; in a quick run at most twenty of them."""
    path = found(folder, subject, subject.train)
    frames = slice(20) if quick else None
    return hgn.read(path, cutoff=cutoff, frames=frames, every=every or subject.every)


@lru_cache(maxsize=2)
def testing(folder: Path, subject: Subject, cutoff: float, quick: bool) -> GraphsTuple:
    """Test frames, joined by the cutoff."""
    assert subject.test is not None
    path = found(folder, subject, subject.test)
    return hgn.read(path, cutoff=cutoff, frames=slice(10) if quick else None)


def weighted(data: GraphsTuple, weight: float) -> GraphsTuple:
    """The data with a weight for their energies. As an array it does not cause recompilation."""
    weights = weight * np.asarray(data.globals.get("energy_weight", np.ones(len(data.n_node))))
    dtype = data.nodes["position"].dtype
    return data._replace(globals=data.globals | {"energy_weight": jnp.asarray(weights, dtype)})


def fraction(data: GraphsTuple, part: float) -> GraphsTuple:
    """The data with weight zero for all frames except a random part.

    The shapes, and thus the compiled programs, stay the same.
    """
    n_node = np.asarray(data.n_node)
    chosen = np.random.default_rng(0).permutation(len(n_node)) < max(10, round(part * len(n_node)))
    kept = jnp.asarray(chosen, data.nodes["position"].dtype)
    weight = jnp.repeat(kept, data.n_node, total_repeat_length=int(n_node.sum()))
    weights = {"energy_weight": kept}
    if "stress" in data.globals:
        weights["stress_weight"] = kept
    return data._replace(nodes=data.nodes | {"weight": weight}, globals=data.globals | weights)
