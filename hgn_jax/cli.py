"""The command `hgn-jax`."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Learn the Hamiltonian of interacting bodies, and simulate with it.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def main() -> None:
    """Turns on 64 bit: the library itself leaves JAX's settings alone."""
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
