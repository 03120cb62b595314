"""Extended XYZ files: a count of atoms, a line of key=value pairs, and a line for every atom.

ASE's reader seeks backwards, which takes quadratic time in compressed files, and it refuses
stresses of six components. This reader parses numbers only and runs no code from a file.
"""

import itertools
import os
import re
from collections.abc import Iterator

import numpy as np

from .atoms_frame import AtomsFrame, numbers
from .compressed import DAMAGE, opener_of
from .elements import NUMBERS

SUFFIXES = (".xyz", ".extxyz")

# A key, alone or with a value: quoted, in braces or brackets, or up to the next blank.
_PAIR = re.compile(
    r"""("[^"]*"|[^\s="]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|'[^']*'|\{[^}]*\}|"""
    r"""\[(?:[^\[\]]|\[[^\]]*\])*\]|\S*))?"""
)
_PLAIN = "species:S:1:pos:R:3"
"""Properties of a plain XYZ file, which does not state them."""


def read_extxyz(path: str | os.PathLike[str], keep: slice) -> Iterator[AtomsFrame]:
    """Reads the frames of a file that `keep` selects.

    **Raises:** `ValueError` naming file and frame if the file is not extended XYZ; `OSError` if it
    cannot be read.
    """
    name = os.fspath(path)
    with opener_of(name)(name, "rt", encoding="utf-8") as file:
        yield from _frames(file, os.path.basename(name), keep)


def _frames(file: Iterator[str], name: str, keep: slice) -> Iterator[AtomsFrame]:
    blocks = itertools.islice(_blocks(file, name), keep.start, keep.stop, keep.step)
    for where, comment, lines in blocks:
        yield _parsed(where, comment, lines)


def _blocks(file: Iterator[str], name: str) -> Iterator[tuple[str, str, list[str]]]:
    """Name of each frame in errors, its comment line and the lines of its atoms."""
    frame = 0
    try:
        for line in file:
            if not line.strip():
                continue
            where = f"{name}, frame {frame}"
            try:
                count = int(line)
            except ValueError:
                count = 0
            if count < 1:
                raise ValueError(
                    f"{where}: expected a number of atoms, found {line.strip()[:60]!r}"
                )
            comment = next(file, "")  # a blank line is a valid comment
            lines = list(itertools.islice(file, count))
            if len(lines) < count:
                raise ValueError(
                    f"{where}: the file ends after {len(lines)} of {count} atoms: is it truncated?"
                )
            yield where, comment, lines
            frame += 1
    except DAMAGE as error:
        raise ValueError(f"{name}, frame {frame}: {error}: is the file truncated?") from error


def _parsed(where: str, comment: str, lines: list[str]) -> AtomsFrame:
    info = pairs_of(comment)
    arrays = _columns(where, info.pop("Properties", None), lines)
    symbols, number = arrays.pop("species", None), arrays.pop("Z", None)
    position = arrays.pop("pos", None)
    if position is None or (symbols is None and number is None):
        raise ValueError(f"{where}: Properties must name species (or Z) and pos")
    lattice = info.pop("Lattice", None)
    cell = None if lattice is None else numbers(lattice, f"{where}: Lattice", (3, 3))
    return AtomsFrame(
        where=where,
        species=_species(where, symbols, number),
        position=numbers(position, f"{where}: positions", (len(lines), 3)),
        cell=cell,
        periodic=_periodic(where, info.pop("pbc", None), cell is not None),
        arrays=arrays,
        info=info,
    )


def pairs_of(comment: str) -> dict[str, str]:
    """The key=value pairs of a comment line, without quotes and brackets. A lone key is "T"."""
    pairs = {}
    for key, value in _PAIR.findall(comment):
        if value[:1] in ('"', "'", "{", "["):
            value = value[1:-1].replace("\\", "")  # backslashes escape quotes
        pairs[key.strip('"')] = value or "T"
    return pairs


def _columns(where: str, properties: str | None, lines: list[str]) -> dict[str, np.ndarray]:
    """Columns of the atoms by name: strings or floats, `[n]` or `[n k]`."""
    fields = (properties or _PLAIN).split(":")
    try:
        columns = [
            (name, kind, int(width))
            for name, kind, width in zip(*(fields[k::3] for k in range(3)), strict=True)
        ]
    except ValueError:
        raise ValueError(f"{where}: cannot read Properties={properties}") from None
    width = sum(k for _, _, k in columns)
    # One split of all lines is fast; lines are split one by one only if the total is wrong.
    words = "".join(lines).split()
    if len(words) != len(lines) * width:
        words = _words(where, lines, width, properties is None)
    table = np.array(words).reshape(len(lines), width)  # strings, since symbols are among them
    arrays, first = {}, 0
    for name, kind, k in columns:
        values = table[:, first] if k == 1 else table[:, first : first + k]
        first += k
        if kind in "RI":  # reals and integers; S and L stay strings
            try:
                values = values.astype(float)
            except ValueError as error:
                raise ValueError(f"{where}: column {name!r}: {error}") from None
        arrays[name] = values
    return arrays


def _words(where: str, lines: list[str], width: int, plain: bool) -> list[str]:
    """First `width` words of every line. Only plain files may have more columns than that."""
    split = [line.split() for line in lines]
    for i, words in enumerate(split):
        if len(words) < width or (len(words) > width and not plain):
            raise ValueError(
                f"{where}: atom {i} has {len(words)} columns, expected {width}: is the file "
                "truncated?"
            )
    return [word for words in split for word in words[:width]]


def _species(where: str, symbols: np.ndarray | None, number: np.ndarray | None) -> np.ndarray:
    """Atomic numbers `[n]`: those of the file, else from the symbols."""
    if number is not None:
        return number.astype(int)
    assert symbols is not None
    unique, inverse = np.unique(symbols, return_inverse=True)  # few species, many atoms
    of_unique = []
    for symbol in unique.tolist():
        # The column of species may hold atomic numbers, or symbols in capitals.
        z = int(symbol) if symbol.isdecimal() else NUMBERS.get(symbol.capitalize())
        if z is None:
            atom = int(np.argmax(symbols == symbol))
            raise ValueError(f"{where}: atom {atom} is of the unknown species {symbol!r}")
        of_unique.append(z)
    return np.array(of_unique)[inverse]


def _periodic(where: str, words: str | None, cell: bool) -> np.ndarray:
    """True for periodic axes `[3]`. If the file does not say: all if it has a cell, else none."""
    if words is None:
        return np.full(3, cell)
    flags = [w[:1].upper() for w in re.split(r"[\s,\[\]]+", words) if w]
    flags = flags * 3 if len(flags) == 1 else flags  # pbc=T is meant for all axes
    if len(flags) != 3 or not set(flags) <= set("TF10"):
        raise ValueError(f"{where}: pbc must be three of T and F, found {words!r}")
    return np.isin(flags, ["T", "1"])
