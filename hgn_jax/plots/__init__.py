"""Pictures of fits, data and rollouts. Needs matplotlib: `pip install "hgn-jax[plots]"`."""

from .animate import animate as animate
from .denoised import denoised as denoised
from .energy import energy as energy
from .parity import parity as parity
from .phase import phase as phase
from .position_errors import position_errors as position_errors
from .potential import potential as potential
from .power import power as power
from .race import race as race
from .radial import radial_distribution as radial_distribution
from .ridge import ridge_path as ridge_path
from .singular import singular_values as singular_values
from .tracks import tracks as tracks
from .view import view as view
