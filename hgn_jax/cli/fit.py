"""`hgn-jax fit`: a model from data."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import typer
from jraph import GraphsTuple

from ..fitting.fit import fit as fitted
from ..fitting.refine import refine
from ..fitting.result import Fit
from ..graphs.selection import split
from ..io.model_file import save
from ..metrics import relative_error
from .app import command
from .data import read_data
from .options import Columns, Coupling, Edges, Every, Json, Mass, Units
from .screen import say, show_json, show_table, working
from .stream import fit_files
from .terms import cutoff_of, observations, parsed


@command
def fit(
    data: Annotated[list[Path], typer.Argument(show_default=False)],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="File of the model.", show_default=False)
    ],
    edges: Edges = None,
    coupling: Coupling = None,
    mass: Mass = None,
    columns: Columns = None,
    units: Units = None,
    terms: Annotated[
        str | None,
        typer.Option(
            help="kinetic, pair, many_body, external, friction, pair_friction, magnetic; with "
            "numbers of units: kinetic,pair=64.  [default: kinetic,pair; pair=16,many_body=400 "
            "for atoms without momenta]",
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the data to test on.")
    ] = 0.2,
    measured: Annotated[
        bool, typer.Option("--measured", help="States too noisy or coarse to differentiate: "
                           "refine.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Read file after file, and test on the last one: for "
                           "data larger than memory.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --stream: keep a checkpoint, and resume from an "
                           "existing one.")
    ] = False,
    every: Every = 1,
    seed: Annotated[int, typer.Option(help="Seed of the random features.")] = 0,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for more pictures.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:  # fmt: skip
    """Learns a model, tests it, and draws learned against observed rates beside it.

    Example: hgn-jax fit springs.csv -o springs.hgn --edges all
    """
    if not out.absolute().parent.is_dir():  # now, not after the fit
        raise ValueError(f"{out}: the folder {str(out.parent)!r} does not exist")
    if stream and measured:
        raise ValueError("--measured follows whole trajectories: leave out --stream")
    if resume and not stream:
        raise ValueError("--resume needs --stream")

    read = partial(
        read_data,
        edges=edges,
        coupling=coupling,
        mass=mass,
        columns=columns,
        units=units,
        every=every,
        measured=measured,
    )

    def how(train: GraphsTuple) -> dict[str, Any]:
        atoms = "species" in train.nodes and "momentum" not in train.nodes
        specs = parsed(terms, cutoff_of(edges), atoms)
        return {"key": seed, "terms": specs, "observations": observations(train, measured)}

    if stream:
        kept = f"{out}.checkpoint" if resume else None
        found, train, tested = fit_files(data, read, how, test=test > 0, checkpoint=kept)
    else:
        with working("reading"):
            train, tested = _split(read(data), test, seed)
        with working("solving"):
            found = fitted(train, **how(train))
            if measured:
                found = refine(found, train)
            jax.block_until_ready(found.model)  # JAX returns before it has computed
    save(out, found.model)
    # Measured states have no rates to compare with.
    errors = {} if measured else _errors(found, train, tested)
    pictured = [] if measured else _draw(found, tested or train, out, pictures)
    if json:
        show_json(_record(found, errors, out, pictured))
        return
    say(found.summary())
    if errors:
        names = list(errors["train"])
        say("")
        show_table(
            ("relative error", *names),
            [(part, *(f"{e[name]:.1e}" for name in names)) for part, e in errors.items()],
        )
    say(f"\nwrote {', '.join(str(file) for file in (out, *pictured))}")


def _split(data: GraphsTuple, fraction: float, seed: int) -> tuple[GraphsTuple, GraphsTuple | None]:
    """(train, test): by trajectories, by time, or frames that are independent, at random."""
    if fraction == 0:
        return data, None
    if "trajectory" in data.globals:
        return split(data, fraction, key=seed)
    frames = jax.numpy.arange(len(data.n_node))
    # `split` keeps trajectories whole: here each frame is one.
    return split(data._replace(globals=data.globals | {"trajectory": frames}), fraction, key=seed)


def _errors(
    found: Fit, train: GraphsTuple, tested: GraphsTuple | None
) -> dict[str, dict[str, float]]:
    parts = {"train": train} | ({} if tested is None else {"test": tested})
    return {
        part: {name: float(e) for name, e in relative_error(found.model, graphs).items()}
        for part, graphs in parts.items()
    }


def _draw(found: Fit, data: GraphsTuple, out: Path, folder: Path | None) -> list[Path]:
    """Writes the pictures, and returns their files."""
    import matplotlib

    matplotlib.use("Agg")  # before pyplot is imported: servers have no screen
    from .. import plots

    files = {out.with_suffix(".png"): lambda: plots.parity(found, data)}
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        files[folder / "singular_values.png"] = lambda: plots.singular_values(found)
        files[folder / "ridge_path.png"] = lambda: plots.ridge_path(found)
        if any(term.name == "pair" for term in found.model.terms):
            files[folder / "potential.png"] = lambda: plots.potential(found)
    for file, drawn in files.items():
        drawn().savefig(file)
    return list(files)


def _record(
    found: Fit, errors: dict[str, dict[str, float]], out: Path, pictures: list[Path]
) -> dict[str, Any]:
    return {
        "model": str(out),
        "verdict": found.verdict,
        "residual": float(found.residual),
        "rows": int(found.rows),
        "columns": found.columns,
        "rank": int(found.rank),
        "relative_error": errors,
        "pictures": [str(file) for file in pictures],
    }
