"""Learn the Hamiltonian of interacting bodies with one solve, and simulate with it."""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import datasets as datasets
from . import graphs as graphs
from . import metrics as metrics
from . import systems as systems
from .checks import check as check
from .draw import sample as sample
from .ensemble import Spread as Spread
from .ensemble import rollout_ensemble as rollout_ensemble
from .features import Elm as Elm
from .features import External as External
from .features import Glorot as Glorot
from .features import Kinetic as Kinetic
from .features import MessagePassing as MessagePassing
from .features import Pair as Pair
from .features import Swim as Swim
from .files import load as load
from .files import save as save
from .fit import fit as fit
from .fit import solve as solve
from .gradient_descent import TRAINING as TRAINING
from .gradient_descent import Training as Training
from .gradient_descent import train as train
from .gradient_descent import untrained as untrained
from .hamiltonian import AbstractHamiltonian as AbstractHamiltonian
from .hamiltonian import HamiltonianGraphNetwork as HamiltonianGraphNetwork
from .integrators import GaussLegendre4 as GaussLegendre4
from .integrators import ImplicitMidpoint as ImplicitMidpoint
from .integrators import KahanLi8 as KahanLi8
from .integrators import StormerVerlet as StormerVerlet
from .integrators import Tao as Tao
from .integrators import Yoshida4 as Yoshida4
from .linear import LSTSQ as LSTSQ
from .linear import QR as QR
from .neighbours import Neighbours as Neighbours
from .observables import AbstractObservable as AbstractObservable
from .observables import AngularMomentum as AngularMomentum
from .observables import KineticEnergy as KineticEnergy
from .observables import MeanSquaredDisplacement as MeanSquaredDisplacement
from .observables import Momentum as Momentum
from .observables import RadialDistribution as RadialDistribution
from .observables import Temperature as Temperature
from .observations import Derivatives as Derivatives
from .observations import Energies as Energies
from .observations import Forces as Forces
from .result import RESULTS as RESULTS
from .result import Fit as Fit
from .rollout import Path as Path
from .rollout import rollout as rollout
from .schedule import Every as Every
from .stepwise import RolloutProgress as RolloutProgress
from .stream import Progress as Progress
from .stream import fit_stream as fit_stream
from .structure import Hamiltonian as Hamiltonian
from .weights import relative_weights as relative_weights
from .weights import uniform_weights as uniform_weights

__version__ = _version("hgn-jax")

if _TYPE_CHECKING:
    from . import plots as plots
else:

    def __getattr__(name: str) -> object:
        """Imports `plots` on first use: matplotlib is optional, and slow to import."""
        if name != "plots":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            return _import_module(".plots", __name__)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f'{error}: pip install "hgn-jax[plots]"') from error
