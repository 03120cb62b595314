"""`hgn-jax demo`: two examples from data to motion, springs and the solar system."""

import json
from pathlib import Path

from rich.console import Console

from . import solar_system, springs


def run(out: Path, console: Console) -> None:
    """Runs both examples. Prints tables, and writes pictures and `report.json` to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    report = {"springs": springs.run(out, console), "solar_system": solar_system.run(out, console)}
    path = out / "report.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    pictures = ", ".join(sorted(p.name for p in out.glob("*.png")))
    console.print(f"\nWrote [bold]{path}[/bold] and pictures: {pictures}")
