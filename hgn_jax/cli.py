"""The command `hgn-jax`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Learn the Hamiltonian of interacting bodies, and simulate with it.",
    no_args_is_help=True,
    add_completion=False,
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        from . import __version__

        typer.echo(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Turns on 64-bit mode: the library itself changes no setting of JAX."""
    import jax

    jax.config.update("jax_enable_x64", True)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for pictures and report.json.")] = Path(
        "demo-out"
    ),
) -> None:
    """Springs and the solar system: learn, test, extrapolate, roll out. Under two minutes."""
    import matplotlib

    matplotlib.use("Agg")
    from rich.console import Console

    from .demo import run

    run(out, Console())
