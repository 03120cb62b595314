"""The command `hgn-jax`: one file per subcommand."""

from .app import app as app
from .check import check as check
from .demo import demo as demo
from .evaluate import evaluate as evaluate
from .export import export as export
from .fit import fit as fit
from .info import info as info
from .plot import plot as plot
from .rollout import rollout as rollout
