"""Tables of numbers as text (.csv, .tsv): their cells by column, with the line of every error."""

import csv
import os
import re
from collections.abc import Mapping, Sequence

import numpy as np

from ..graphs.schema import did_you_mean
from .compressed import opened

SUFFIXES = (".csv", ".tsv")


class Table:
    """The cells of a table by column: strings, which are converted when they are used."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.path.basename(os.fspath(path))
        with opened(path, self.name) as file:
            lines = [(k, text) for k, text in enumerate(file, 1) if text.strip()]
        if not lines:
            raise ValueError(f"{self.name}: is empty; its first line must name the columns")
        # Excel begins files with a byte order mark, numpy.savetxt with a #.
        header = lines[0][1].lstrip("\ufeff# ")
        rows = [(k, text) for k, text in lines[1:] if not text.startswith("#")]
        separator = next((c for c in ",;\t" if c in header), None)
        titles = _cells(header, separator)
        self.units = dict(map(_title_and_unit, titles))
        """Unit of each column, "" if none is stated."""
        self.titles = list(self.units)
        if len(self.titles) < len(titles):
            raise ValueError(f"{self.name}: two columns have the same name, among {titles}")
        if all(_is_number(title) for title in titles):
            raise ValueError(
                f"{self.name}: line 1 holds numbers; it must name the columns, such as time,x1,y1"
            )
        self.lines = [k for k, _ in rows]
        self._rows = [_cells(text, separator) for _, text in rows]
        for k, cells in zip(self.lines, self._rows):
            if len(cells) != len(titles):
                raise ValueError(
                    f"{self.name}, line {k}: {len(cells)} columns, expected {len(titles)}, "
                    "as in line 1"
                )
        if not rows:
            raise ValueError(f"{self.name}: has no line of numbers below the names of its columns")

    def words(self, title: str) -> list[str]:
        """Cells of a column."""
        if title not in self.units:
            raise ValueError(
                f"{self.name}: has no column {title!r}{did_you_mean(str(title), self.titles)}; it "
                f"has {', '.join(self.titles)}"
            )
        k = self.titles.index(title)
        return [row[k] for row in self._rows]

    def numbers(self, title: str) -> np.ndarray:
        """A column of numbers; empty cells are NaN.

        **Raises:** `ValueError` naming the line of a cell that is no number.
        """
        cells = [cell or "nan" for cell in self.words(title)]
        try:
            return np.array(cells, float)
        except ValueError:
            k = next(k for k, cell in enumerate(cells) if not _is_number(cell))
            raise ValueError(
                f"{self.name}, line {self.lines[k]}: column {title!r} must hold numbers, found "
                f"{cells[k][:40]!r}"
            ) from None

    def first(self, titles: Sequence[str]) -> str | None:
        """The first column with one of these names, in any case."""
        # Reversed: of titles that differ in case, the first one wins.
        lower = {title.lower(): title for title in reversed(self.titles)}
        return next((lower[title] for title in titles if title in lower), None)


def units_of(table: Table, time: str, titles: Mapping[str, str]) -> dict[str, str]:
    stated = {"times": table.units[time]} | {k: table.units[title] for k, title in titles.items()}
    return {name: unit for name, unit in stated.items() if unit}


def _title_and_unit(title: str) -> tuple[str, str]:
    """Name and unit of "x1 [mm]" or "x1 (mm)"."""
    match = re.fullmatch(r"(.*?)\s*[\[(]([^\])]*)[\])]", title)
    return (match[1], match[2]) if match else (title, "")


def _cells(text: str, separator: str | None) -> list[str]:
    if separator is None:
        return text.split()
    return [cell.strip() for cell in next(csv.reader([text], delimiter=separator))]


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True
