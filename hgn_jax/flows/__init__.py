"""Gradient flows of quadratic energies on graphs, and classes of nodes read from them."""

from .classify import Classification as Classification
from .classify import classify as classify
from .energy import QuadraticEnergy as QuadraticEnergy
from .energy import propagate as propagate
from .gradient_flow import GradientFlow as GradientFlow
from .gradient_flow import states as states
from .kernels import arc_cosine as arc_cosine
from .kernels import linear as linear
from .pairs import graph as graph
