"""`hgn-jax evaluate`: errors of a model on data."""

from pathlib import Path
from typing import Annotated

import jax.numpy as jnp
import numpy as np
import typer
from jraph import GraphsTuple

from ..graphs.geometry import bodies
from ..io.model_file import load
from ..io.write import write
from ..metrics import relative_error
from ..models.network import HamiltonianGraphNetwork
from .app import command
from .data import read_data
from .options import Columns, Coupling, Edges, Every, File, Json, Mass, Units
from .screen import say, show_json, show_table


@command
def evaluate(
    model: File,
    data: File,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="File for the data with predicted rates and energies: "
                     ".npz, .h5 or .xyz.", show_default=False),
    ] = None,
    edges: Edges = None,
    coupling: Coupling = None,
    mass: Mass = None,
    columns: Columns = None,
    units: Units = None,
    every: Every = 1,
    json: Json = False,
) -> None:  # fmt: skip
    """Compares a model with observed rates, forces and energies.

    Example: hgn-jax evaluate springs.hgn later.csv --edges all
    """
    learned = load(model)
    observed = read_data(
        [data], edges=edges, coupling=coupling, mass=mass, columns=columns, units=units, every=every
    )
    record = {
        f"relative error, {k}": float(e) for k, e in relative_error(learned, observed).items()
    }
    if "energy" in observed.globals:
        wrong = np.asarray((learned(observed) - observed.globals["energy"]) / bodies(observed))
        record["energy per body, standard deviation of the error"] = float(wrong.std())
    outside = {k: int(jnp.sum(v)) for k, v in learned.out_of_range(observed).items()}
    record |= {f"out of the trained range, {k}": n for k, n in outside.items()}
    if out is not None:
        write(out, _predicted(learned, observed), overwrite=True)
    if json:
        show_json(record)
        return
    show_table(("", "value"), [(k, f"{v:.2e}" if isinstance(v, float) else str(v))
                               for k, v in record.items()])  # fmt: skip
    if out is not None:
        say(f"wrote {out}")


def _predicted(model: HamiltonianGraphNetwork, data: GraphsTuple) -> GraphsTuple:
    """The data with the model's rates and energies in place of the observed ones."""
    rates = dict(zip(model.dynamics.observed, model.vector_field(data)))
    kept = {name: rate for name, rate in rates.items() if name in data.nodes}
    return data._replace(nodes=data.nodes | kept, globals=data.globals | {"energy": model(data)})
