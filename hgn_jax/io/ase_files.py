"""Frames of atoms from the files that ASE reads, of formats known to hold data alone."""

import os
from collections.abc import Iterator
from importlib import import_module

from .ase_atoms import frame_of
from .atoms_frame import AtomsFrame
from .compressed import DAMAGE

FORMATS = (
    "abinit-out", "aims", "aims-output", "castep-castep", "castep-md", "cfg", "cif", "cube", "db",
    "dlp-history", "dlp4", "eon", "espresso-in", "espresso-out", "extxyz", "gaussian-out", "gen",
    "gpaw-out", "gromacs", "gromos", "json", "lammps-data", "lammps-dump-binary",
    "lammps-dump-text", "netcdftrajectory", "nwchem-out", "orca-output", "proteindatabank",
    "qbox", "res", "rmc6f", "sdf", "traj", "turbomole", "vasp", "vasp-out", "vasp-xdatcar",
    "vasp-xml", "xsd", "xsf", "xtd", "xyz",
)  # fmt: skip
"""ASE's names of formats whose readers evaluate no code and load no pickle."""


def format_of(path: str | os.PathLike[str]) -> str | None:
    """ASE's name of the file's format; None if ASE is not installed or does not know it.

    **Raises:** `OSError` if the file cannot be opened; `ValueError` for a format that may hold
    code.
    """
    try:
        formats = import_module("ase.io.formats")
    except ModuleNotFoundError:
        return None
    try:
        kind = formats.filetype(os.fspath(path), read=True)
    except formats.UnknownFileTypeError:
        return None
    except DAMAGE as error:
        raise ValueError(f"{os.fspath(path)}: {error}: is the file truncated?") from error
    if kind not in formats.ioformats:  # ASE takes an unknown suffix for the name of a format
        return None
    if kind not in FORMATS:
        raise ValueError(
            f"{os.path.basename(os.fspath(path))}: ASE's format {kind!r} is refused, "
            "since such files may hold code: if you trust it, pass ase.io.read(...) instead"
        )
    return str(kind)


def read_with_ase(format: str, path: str | os.PathLike[str], keep: slice) -> Iterator[AtomsFrame]:
    """Frames that `keep` selects, of a file in one of the `FORMATS`.

    **Raises:** `ValueError` naming the file if ASE cannot read it; `OSError` if it cannot be
    opened.
    """
    name = os.path.basename(os.fspath(path))
    frames = import_module("ase.io").iread(os.fspath(path), index=keep, format=format)
    step = keep.step or 1
    number = keep.start or 0
    while True:
        try:
            atoms = next(frames)
        except StopIteration:
            return
        except OSError:  # names the file already
            raise
        except Exception as error:  # ASE's readers raise whatever their format runs into
            raise ValueError(f"{name}, frame {number}: ASE cannot read it: {error}") from error
        yield frame_of(atoms, f"{name}, frame {number}")
        number += step
