"""Learned models for other programs: LAMMPS, OpenMM, jax-md, browsers, and anything that runs
StableHLO."""

from .bundle import bundle as bundle
from .jax_md import jax_md_energy as jax_md_energy
from .lammps import lammps_table as lammps_table
from .openmm import openmm_force as openmm_force
from .pair_curves import PairCurve as PairCurve
from .pair_curves import pair_curves as pair_curves
from .web import web as web
