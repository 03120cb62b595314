"""Learn the Hamiltonian of interacting bodies with one solve, and simulate with it."""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING

from . import flows as flows
from . import graphs as graphs
from . import groups as groups
from . import metrics as metrics
from . import systems as systems
from ._progress import Progress as Progress
from ._types import Gradient as Gradient
from ._types import RotorGradient as RotorGradient
from .deviation import Deviation as Deviation
from .dynamics.block_average import BlockAverage as BlockAverage
from .dynamics.block_average import block_average as block_average
from .dynamics.elasticity import elastic_constants as elastic_constants
from .dynamics.ensemble import Spread as Spread
from .dynamics.ensemble import rollout_ensemble as rollout_ensemble
from .dynamics.observables import AbstractObservable as AbstractObservable
from .dynamics.observables import AngularMomentum as AngularMomentum
from .dynamics.observables import ConservedEnergy as ConservedEnergy
from .dynamics.observables import KineticEnergy as KineticEnergy
from .dynamics.observables import MeanSquaredDisplacement as MeanSquaredDisplacement
from .dynamics.observables import Momentum as Momentum
from .dynamics.observables import RadialDistribution as RadialDistribution
from .dynamics.observables import Temperature as Temperature
from .dynamics.observables import VelocityAutocorrelation as VelocityAutocorrelation
from .dynamics.relax import Relaxed as Relaxed
from .dynamics.relax import relax as relax
from .dynamics.rollout import rollout as rollout
from .dynamics.save_times import Every as Every
from .dynamics.spectrum import Spectrum as Spectrum
from .dynamics.spectrum import spectrum as spectrum
from .dynamics.stress import Pressure as Pressure
from .dynamics.stress import Stress as Stress
from .dynamics.structure_factor import StructureFactor as StructureFactor
from .dynamics.trajectory import Trajectory as Trajectory
from .features import ELM as ELM
from .features import SWIM as SWIM
from .features import AbstractEnergy as AbstractEnergy
from .features import AbstractRates as AbstractRates
from .features import AbstractSampling as AbstractSampling
from .features import AbstractSiteEnergy as AbstractSiteEnergy
from .features import AbstractTerm as AbstractTerm
from .features import AbstractTermSpec as AbstractTermSpec
from .features import AbstractUntrained as AbstractUntrained
from .features import Angular as Angular
from .features import AxisPair as AxisPair
from .features import Bending as Bending
from .features import Drive as Drive
from .features import External as External
from .features import Friction as Friction
from .features import Glorot as Glorot
from .features import HarmonicTrap as HarmonicTrap
from .features import Kinetic as Kinetic
from .features import Magnetic as Magnetic
from .features import ManyBody as ManyBody
from .features import MessagePassing as MessagePassing
from .features import Pair as Pair
from .features import PairFriction as PairFriction
from .features import Patch as Patch
from .features import Phase as Phase
from .features import Powers as Powers
from .features import Torsion as Torsion
from .features import UniformField as UniformField
from .features import Walks as Walks
from .features import sites as sites
from .fitting.boost import boost as boost
from .fitting.brownian import Brownian as Brownian
from .fitting.brownian import fit_brownian as fit_brownian
from .fitting.calibrate import calibrate as calibrate
from .fitting.energies import Energies as Energies
from .fitting.energies import Stresses as Stresses
from .fitting.fit import fit as fit
from .fitting.fit import solve as solve
from .fitting.gradient_descent import TRAINING as TRAINING
from .fitting.gradient_descent import Training as Training
from .fitting.gradient_descent import train as train
from .fitting.held_out import held_out as held_out
from .fitting.merge import merge as merge
from .fitting.observations import AbstractObservation as AbstractObservation
from .fitting.observations import Derivatives as Derivatives
from .fitting.observations import Forces as Forces
from .fitting.observations import Rows as Rows
from .fitting.outcome import RESULTS as RESULTS
from .fitting.prior import Prior as Prior
from .fitting.prior import prior as prior
from .fitting.refine import refine as refine
from .fitting.refinement import Refinement as Refinement
from .fitting.result import Fit as Fit
from .fitting.sample import sample as sample
from .fitting.select import select as select
from .fitting.smooth import smooth as smooth
from .fitting.steps import Steps as Steps
from .fitting.stream import fit_stream as fit_stream
from .fitting.tune import Trial as Trial
from .fitting.tune import Tuning as Tuning
from .fitting.tune import tune as tune
from .fitting.untrained import untrained as untrained
from .graphs.describe import describe as describe
from .graphs.neighbours import Neighbours as Neighbours
from .graphs.validate import check as check
from .integrators import AbstractThermostat as AbstractThermostat
from .integrators import CellRescaling as CellRescaling
from .integrators import GaussLegendre4 as GaussLegendre4
from .integrators import ImplicitMidpoint as ImplicitMidpoint
from .integrators import KahanLi8 as KahanLi8
from .integrators import Langevin as Langevin
from .integrators import NoseHoover as NoseHoover
from .integrators import Rattle as Rattle
from .integrators import RotorVerlet as RotorVerlet
from .integrators import StormerVerlet as StormerVerlet
from .integrators import Strang as Strang
from .integrators import Tao as Tao
from .integrators import VelocityRescaling as VelocityRescaling
from .integrators import Yoshida4 as Yoshida4
from .io import datasets as datasets
from .io.model_file import load as load
from .io.model_file import save as save
from .io.read import read as read
from .io.write import write as write
from .linear import LSTSQ as LSTSQ
from .linear import QR as QR
from .linear import AbstractLeastSquares as AbstractLeastSquares
from .linear import FrameCV as FrameCV
from .models import AbstractDynamics as AbstractDynamics
from .models import AbstractHamiltonian as AbstractHamiltonian
from .models import AbstractModel as AbstractModel
from .models import Basis as Basis
from .models import Constrained as Constrained
from .models import HamiltonianGraphNetwork as HamiltonianGraphNetwork
from .models import LinearRotors as LinearRotors
from .models import Overdamped as Overdamped
from .models import Poisson as Poisson
from .models import Rods as Rods
from .models import mean as mean
from .models.equations_of_motion import Canonical as Canonical

__version__ = _version("hgn-jax")

if _TYPE_CHECKING:
    from . import ase as ase
    from . import export as export
    from . import plots as plots
else:

    def __getattr__(name: str) -> object:
        """Imports these on first use: ASE, matplotlib and other engines are optional, and slow."""
        if name not in ("ase", "export", "plots"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            return _import_module(f".{name}", __name__)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f'{error}: pip install "hgn-jax[{name}]"') from error
