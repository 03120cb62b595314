"""`hgn-jax check`: is a data file fit to learn from?"""

from ..graphs.describe import describe
from ..graphs.validate import check as check_data
from .app import command
from .data import read_data
from .options import Columns, Coupling, Edges, File, Json, Mass, Units
from .screen import say, show_json


@command
def check(
    file: File,
    edges: Edges = None,
    coupling: Coupling = None,
    mass: Mass = None,
    columns: Columns = None,
    units: Units = None,
    json: Json = False,
) -> None:
    """Checks a data file as `fit` does; errors name frame and body.

    Example: hgn-jax check springs.csv --edges all
    """
    data = read_data(
        [file], edges=edges, coupling=coupling, mass=mass, columns=columns, units=units
    )
    check_data(data)
    if json:
        show_json({"file": str(file), "frames": len(data.n_node), "good": True})
    else:
        say(f"{file} is good\n{describe(data)}")
