"""Options that several subcommands share."""

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[Path, typer.Argument(show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Edges = Annotated[
    str | None,
    typer.Option(
        help='Which bodies interact: "all", a cutoff such as 2.5, or pairs such as 0-1,1-2 or '
        "sun-earth. "
        "If not given, the pairs in the file.",
        show_default=False,
    ),
]
Coupling = Annotated[
    str | None,
    typer.Option(
        help='Factor of each pair: "mass" for gravity, "charge" for charges.', show_default=False
    ),
]
Mass = Annotated[
    str | None,
    typer.Option(
        help="Mass of all bodies, or of each: 1.5, or 1,1,2. If not given, those in the file.",
        show_default=False,
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        help="Columns of the file, if their names are unusual; may be repeated: time=t, sun=x1,y1, "
        "sun.velocity=u1,v1.",
        show_default=False,
    ),
]
Units = Annotated[
    str | None,
    typer.Option(
        help="Convert the file's units: si, ase, or length=nm,time=ps,mass=u.", show_default=False
    ),
]
Every = Annotated[int, typer.Option(min=1, help="Read only every n-th frame.")]
