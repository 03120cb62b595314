"""`hgn-jax export`: a pair potential for other programs."""

import json as json_format
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from ..export import lammps_table, pair_curves
from ..io.model_file import load
from .app import command
from .options import File, Json
from .screen import say, show_json


@command
def export(
    model: File,
    to: Annotated[
        Literal["json", "lammps-table"],
        typer.Option(help="json: distances, energies and forces; lammps-table: for pair_style "
                     "table.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="File to write.", show_default=False)
    ],
    points: Annotated[int, typer.Option(min=10, help="Number of distances.")] = 2000,
    json: Json = False,
) -> None:  # fmt: skip
    """Tabulates the pair potentials of a model over the trained range, up to its cutoff.

    Example: hgn-jax export argon.hgn --to lammps-table -o argon.table
    """
    learned = load(model)
    if to == "lammps-table":
        lammps_table(out, learned, points=points)
    curves = pair_curves(learned, points=points)
    if to == "json":
        pairs = [{k: _plain(v) for k, v in curve._asdict().items()} for curve in curves]
        out.write_text(json_format.dumps({"pairs": pairs}) + "\n")
    if json:
        show_json({"file": str(out), "pair_types": len(curves), "points": points})
    else:
        say(f"wrote {out}: {len(curves)} pair potential(s) at {points} distances")


def _plain(value: str | np.ndarray) -> str | list[float]:
    return value if isinstance(value, str) else value.tolist()
