"""`hgn-jax export`: a pair potential for other programs."""

import json as json_format
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import typer

from ..io.model_file import load
from ..models.network import HamiltonianGraphNetwork
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
    curves = _curves(load(model), points)
    out.write_text(json_format.dumps({"pairs": curves}) + "\n" if to == "json" else _table(curves))
    if json:
        show_json({"file": str(out), "pair_types": len(curves), "points": points})
    else:
        say(f"wrote {out}: {len(curves)} pair potential(s) at {points} distances")


def _curves(model: HamiltonianGraphNetwork, points: int) -> list[dict[str, Any]]:
    """Distances, energies and forces of every pair type; the greatest distance has energy zero."""
    others = sorted({term.name for term in model.terms} - {"pair", "kinetic"})
    if others:
        raise ValueError(f"only pair potentials can be tabulated, and this model has {others}")
    types = next((term.types for term in model.terms if term.name == "pair"), 0)  # type: ignore[attr-defined]
    if not types:
        raise ValueError("this model has no pair potential")
    curves = []
    for kind in range(types):
        low, high = (float(x) for x in model.pair_range(kind))
        end = float(model.reach) if np.isfinite(model.reach) else high
        r = jnp.linspace(low, end, points)
        energy = model.pair_energy(r, kind) - model.pair_energy(r[-1], kind)
        force = -jax.vmap(jax.grad(lambda x, k=kind: model.pair_energy(x, k)))(r)
        arrays = {"r": r, "energy": energy, "force": force}
        curves.append({"type": kind, **{k: np.asarray(a).tolist() for k, a in arrays.items()}})
    return curves


def _table(curves: list[dict[str, Any]]) -> str:
    """Sections PAIR_0, PAIR_1, ... of LAMMPS' `pair_style table`."""
    lines = ["# Pair potentials of hgn_jax: index, r, energy, force", ""]
    for curve in curves:
        r = curve["r"]
        lines += [f"PAIR_{curve['type']}", f"N {len(r)} R {r[0]:.12g} {r[-1]:.12g}", ""]
        rows = enumerate(zip(r, curve["energy"], curve["force"]), start=1)
        lines += [f"{i} {x:.12g} {e:.15g} {f:.15g}" for i, (x, e, f) in rows]
        lines.append("")
    return "\n".join(lines)
