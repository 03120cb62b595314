"""`hgn-jax demo`."""

from pathlib import Path
from typing import Annotated

import typer

from .app import command


@command
def demo(
    out: Annotated[Path, typer.Option(help="Folder for pictures and report.json.")] = Path(
        "demo-out"
    ),
) -> None:
    """Springs and the solar system: learn, test, extrapolate, roll out. Under two minutes.

    Example: hgn-jax demo --out demo-out
    """
    import matplotlib

    matplotlib.use("Agg")  # before pyplot is imported: servers have no screen
    from rich.console import Console

    from ..demo import run

    run(out, Console())
