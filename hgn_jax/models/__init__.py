from .base import AbstractHamiltonian as AbstractHamiltonian
from .base import AbstractModel as AbstractModel
from .base import differentiated as differentiated
from .basis import Basis as Basis
from .equations_of_motion import AbstractDynamics as AbstractDynamics
from .equations_of_motion import Canonical as Canonical
from .network import HamiltonianGraphNetwork as HamiltonianGraphNetwork
from .newtonian import Newtonian as Newtonian
