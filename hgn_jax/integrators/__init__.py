from .implicit_midpoint import ImplicitMidpoint as ImplicitMidpoint
from .stormer_verlet import StormerVerlet as StormerVerlet
