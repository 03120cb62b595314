"""Section on one system that is divided between devices."""

from ..liquid import CUTOFF, SKIN, Point
from ..markdown import rows
from ..record import Record
from .gpu import times

LINK = 25e9
"""Assumed bandwidth between two devices in each direction (bytes / s)."""
SIZES = ((10**7, 8), (10**8, 8), (10**8, 32), (10**9, 32))
"""Atoms and devices of the model."""


def figures(records: list[Record], gpu: list[Record]) -> dict[str, str]:
    def of(kind: str) -> list[Record]:
        return [r for r in records if r["measured"] == kind]

    (same,), (program,), scaling = of("agreement"), of("program"), of("scaling")
    atom = times(gpu)[131072, "compressed"]
    return {
        "atoms": f"{same['atoms']:,}",
        "devices": str(same["devices"]),
        "steps": str(same["steps"]),
        "moved": str(same["changed_slab"]),
        "position": f"{same['position']:.0e}",
        "momentum": f"{same['momentum']:.0e}",
        "later": f"{same['later']:,}",
        "force": f"{same['force']:.0e}",
        "permutes": str(program["collective-permute"]),
        "reduces": str(program["all-reduce"]),
        "scaling": rows(
            [
                str(r["devices"]),
                f"{r['atoms']:,}",
                f"{r['copies']:.2f}",
                f"{r['ns_per_atom_step']:.0f}",
                f"{r['ns_per_atom_step'] / scaling[0]['ns_per_atom_step']:.2f}",
            ]
            for r in scaling
        ),
        "density": f"{Point(1).density:.2f}",
        "atom": f"{atom:.2f}",
        "reach": f"{CUTOFF + SKIN:.1f}",
        "model": rows(_modelled(atoms, devices, 1e-9 * atom) for atoms, devices in SIZES),
    }


def _modelled(atoms: int, devices: int, seconds: float) -> list[str]:
    side = (atoms / Point(1).density) ** (1 / 3)
    own = atoms / devices
    copies = 2 * (CUTOFF + SKIN) * side**2 * Point(1).density
    sending = copies / 2 * 3 * 8 / LINK
    step = seconds * (own + copies) + sending
    return [
        f"{atoms:.0e}",
        str(devices),
        f"{copies / own:.2f}",
        f"{1e3 * step:.1f}",
        f"{1e3 * sending:.2f}",
        f"{seconds * own / step:.0%}",
    ]
