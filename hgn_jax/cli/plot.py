"""`hgn-jax plot`: a picture of a file."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer
from jraph import GraphsTuple

from ..io.model_file import load
from .app import command
from .data import is_data, look_at, read_data
from .options import Columns, Coupling, Edges, File, Json, Mass, Units
from .screen import say, show_json

Kind = Literal[
    "potential", "parity", "tracks", "phase", "energy", "rdf", "animate", "view"
]  # fmt: skip
OF_MODELS = ("potential", "parity")
OF_STATES = tuple(kind for kind in get_args(Kind) if kind not in OF_MODELS)
SUFFIX = {"animate": ".gif", "view": ".html"}


@command
def plot(
    file: File,
    kind: Annotated[
        Kind | None,
        typer.Argument(help="Of a model: potential, parity. Of data or a run: tracks, phase, "
                       "energy, rdf, animate, view.  [default: potential or tracks]",
                       show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="File of the picture: .png, .pdf, .svg; .gif or .mp4 to "
                     "animate; .html to view.  [default: beside the file]", show_default=False),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Observed data, for parity.", show_default=False)
    ] = None,
    type: Annotated[int, typer.Option(help="Type of the pairs, for potential.")] = 0,
    log: Annotated[bool, typer.Option("--log", help="Logarithmic axes, for potential.")] = False,
    edges: Edges = None,
    coupling: Coupling = None,
    mass: Mass = None,
    columns: Columns = None,
    units: Units = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Draws a model, data or a run.

    Example: hgn-jax plot run.h5 view -o run.html
    """
    import matplotlib

    matplotlib.use("Agg")  # before pyplot is imported: servers have no screen
    chosen = kind or ("tracks" if is_data(file) else "potential")
    if (chosen in OF_MODELS) == is_data(file):  # pictures of models need a model, others need data
        held, kinds = ("data", OF_STATES) if is_data(file) else ("a model", OF_MODELS)
        raise ValueError(
            f"{chosen} cannot be drawn of {held}, and {file} is {held}: choose one of "
            f"{', '.join(kinds)}"
        )
    target = out or file.with_name(f"{file.stem}_{chosen}{SUFFIX.get(chosen, '.png')}")
    if chosen in OF_MODELS:
        observed = None
        if chosen == "parity":
            if data is None:
                raise ValueError("parity compares with observed data: give --data FILE")
            observed = read_data(
                [data], edges=edges, coupling=coupling, mass=mass, columns=columns, units=units
            )
        _of_model(file, observed, type, log).savefig(target)
    else:
        _of_states(look_at(file, columns, units), chosen, target)
    if json:
        show_json({"picture": str(target), "kind": chosen})
    else:
        say(f"wrote {target}")


def _of_model(file: Path, observed: GraphsTuple | None, type: int, log: bool) -> Any:
    from .. import plots

    model = load(file)
    if observed is not None:
        return plots.parity(model, observed)
    return plots.potential(model, type=type, log=log)


def _of_states(states: GraphsTuple, kind: str, target: Path) -> None:
    from .. import plots

    if kind == "animate":
        plots.animate(states, target)
    elif kind == "view":
        plots.view(states, target, title=target.stem)
    else:
        drawing: dict[str, Any] = {
            "tracks": plots.tracks,
            "phase": plots.phase,
            "energy": plots.energy,
            "rdf": plots.radial_distribution,
        }
        drawing[kind](states).savefig(target)
