"""Writes extended XYZ. Every float is written with all its digits."""

from collections.abc import Iterable
from io import TextIOWrapper
from typing import Any

import numpy as np

from .atoms_out import FrameOut

COLUMNS = {"positions": "pos", "masses": "masses", "momenta": "momenta", "forces": "forces"}
"""Names of the columns of ASE's arrays."""


def write_extxyz(file: TextIOWrapper, frames: Iterable[FrameOut]) -> None:
    """Writes the frames, one after the other."""
    for frame in frames:
        names = [name for name in COLUMNS if name in frame.arrays]
        columns = [frame.arrays[name].reshape(len(frame.symbols), -1) for name in names]
        widths = [column.shape[1] for column in columns]
        properties = ":".join(f"{COLUMNS[k]}:R:{w}" for k, w in zip(names, widths))
        header = [f"Properties=species:S:1:{properties}"]
        if frame.cell is not None:
            header.insert(0, f'Lattice="{_text(frame.cell)}"')
        header.append('pbc="{} {} {}"'.format(*("FT"[axis] for axis in frame.periodic)))
        for name, value in frame.info.items():
            text = _text(value)
            header.append(f'{name}="{text}"' if " " in text else f"{name}={text}")
        line = "%s" + " %.17g" * sum(widths) + "\n"  # 17 digits determine a double
        table = np.concatenate(columns, axis=1).tolist()  # Python's floats are formatted faster
        file.write(f"{len(frame.symbols)}\n{' '.join(header)}\n")
        file.writelines(
            line % (symbol, *row) for symbol, row in zip(frame.symbols, table, strict=True)
        )


def _text(value: Any) -> str:
    return " ".join(f"{x:.17g}" for x in np.ravel(value).tolist())
