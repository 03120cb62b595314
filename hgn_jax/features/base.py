"""Interfaces of a model's terms, and of the recipes that sample them."""

import math
from abc import abstractmethod
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import Gradient, Key, NodeScalars, Vectors, gradient_of
from ..graphs.strain import strained


class Counts(NamedTuple):
    """Extensive counts that multiply the additive constants of an energy: rates do not determine
    these constants."""

    pair_types: int = 0
    """Number of pair types whose potential has an additive constant."""
    bodies: bool = False
    """True if the energy has a constant per body."""


class AbstractTerm(eqx.Module):
    """Columns of a model, each multiplied by one coefficient of theta."""

    name: eqx.AbstractClassVar[str]
    time_dependent: ClassVar[bool] = False
    """True if the columns read `globals["time"]`."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Node arrays that the columns read in addition to the state variables, such as `mass`."""
    bodies_at_once: ClassVar[int | None] = None
    """Number of bodies per chunk at which rows are computed fastest; None if any will do."""
    expects_model_error: ClassVar[bool] = False
    """True if residuals are mostly errors of the model rather than noise: the ridge is then chosen
    by cross-validation over frames."""

    @property
    @abstractmethod
    def separable(self) -> bool:
        """True if dq/dt depends on momenta alone and dp/dt on positions alone, as explicit
        symplectic integrators need."""

    @property
    @abstractmethod
    def reach(self) -> float:
        """Distance beyond which bodies do not act on one another (length): 0 for terms of single
        bodies, inf for pairs without a cutoff."""

    @property
    def span(self) -> int:
        """Distance, in reaches, up to which bodies act on the motion of a body: one if bodies act
        in pairs alone, two if the energy of a site depends on several neighbours, and more if
        neighbours tell of theirs."""
        return 2

    @property
    @abstractmethod
    def dimension(self) -> int | None:
        """Spatial dimension that the term requires; None if it works in any."""

    @property
    def nonnegative(self) -> bool:
        """True if no coefficient may be negative."""
        return False

    def remarks(self, theta: Float[Array, " K"]) -> tuple[str, ...]:
        """Lines that a summary says of these coefficients; concrete values only."""
        return ()

    @abstractmethod
    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        """Number of sites outside of the trained range in each graph."""

    @abstractmethod
    def trained_range(self) -> Float[Array, "... 2"] | None:
        """Least and greatest local input in the sampling data; None for terms without a range."""

    def accepts(self, graphs: GraphsTuple) -> None:
        """Raises `ValueError` for concrete graphs with species or edge types that were absent in
        training. Accepts all graphs unless overridden."""
        return None

    def groups(self, columns: int) -> tuple[int, ...]:
        """Widths of the consecutive groups that divide the K `columns`. Each gets its own ridge
        from `QR(ridge="groups")`. A single group unless overridden."""
        return (columns,)

    def labels(self, count: int) -> tuple[str, ...]:
        """Names of the `count` groups, for tables."""
        if count == 1:
            return (self.name,)
        return tuple(f"{self.name} {k + 1}" for k in range(count))


class AbstractUntrained(AbstractTerm):
    """Base class of terms that are not sampled from data: valid in every dimension and range.

    If bodies act on one another up to a distance only, the subclass declares a field or class
    variable `cutoff` (length), which neighbour lists read.
    """

    @property
    @abstractmethod
    def acts_on_pairs(self) -> bool:
        """True if bodies act on one another."""

    @property
    def reach(self) -> float:
        if not self.acts_on_pairs:
            return 0.0
        cutoff = getattr(self, "cutoff", None)
        return math.inf if cutoff is None else float(cutoff)

    @property
    def dimension(self) -> int | None:
        return None

    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        return jnp.zeros(graphs.n_node.shape, jnp.int32)

    def trained_range(self) -> None:
        return None


class AbstractEnergy(AbstractTerm):
    """Columns Phi of an energy, from whose gradients the model's dynamics form the rates.

    `AbstractSiteEnergy` derives everything from a function of one site. Subclass this class for
    energies of another form, or for a faster implementation.
    """

    depends_on: eqx.AbstractClassVar[tuple[str, ...]]
    """State variables that the columns read: "position", "momentum" or both; of bodies with an axis
    also "axis"."""

    @property
    def separable(self) -> bool:
        # An energy of both kinds of variables mixes them in its derivatives.
        return len({name in ("momentum", "angular_momentum") for name in self.depends_on}) == 1

    @property
    @abstractmethod
    def counts(self) -> Counts:
        """Counts that multiply the additive constants of this energy."""

    @abstractmethod
    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        """Phi of every graph; extensive."""

    @abstractmethod
    def gradient(self, graphs: GraphsTuple) -> Gradient:
        """dPhi/dq and dPhi/dp, `[n d K]` each: the rows of a fit."""

    @abstractmethod
    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        """Each node's share of Phi . theta."""

    @abstractmethod
    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        """Gradient of Phi . theta, `[n d]` each: used by rollouts, which need no columns."""

    def compress(
        self,
        theta: Float[Array, " K"],
        constants: Float[Array, " c"],
        tolerance: float,
        smallest: bool,
    ) -> tuple["AbstractEnergy", Float[Array, " _"]]:
        """A cheaper energy of equal value to within `tolerance`, and its coefficients: the fastest,
        or with `smallest` the one of the fewest numbers. The energy itself unless overridden.

        `constants` are the additive constants of the pair types. A compressed pair energy includes
        them.
        """
        return self, theta

    def virial(self, graphs: GraphsTuple) -> Float[Array, "g d d K"]:
        r"""$\partial \Phi / \partial \epsilon$ for a strain of positions and cell,
        $x \mapsto x (1 + \epsilon)$, at constant momenta (energy)."""
        d = graphs.nodes["position"].shape[1]
        unstrained = jnp.zeros((d, d), graphs.nodes["position"].dtype)
        # Forward mode: d^2 strains, but K columns of every graph. One strain serves all graphs.
        by_strain = jax.jacfwd(lambda strain: self(strained(graphs, strain)))(unstrained)
        return jnp.moveaxis(by_strain, 1, -1)  # [g K d d] to [g d d K]

    def energy_virial(
        self, graphs: GraphsTuple, theta: Float[Array, " K"]
    ) -> Float[Array, "g d d"]:
        """Virial of Phi . theta: used for stresses, which need no columns."""
        g, d = len(graphs.n_node), graphs.nodes["position"].shape[1]
        unstrained = jnp.zeros((g, d, d), graphs.nodes["position"].dtype)
        # Each graph has a strain of its own: the gradient of the sum then holds that of each graph.
        return jax.grad(lambda strain: jnp.sum(self.node_energy(strained(graphs, strain), theta)))(
            unstrained
        )


class AbstractRates(AbstractTerm):
    """Columns of the rates themselves, for motion that does not derive from an energy.

    Friction, dp/dt = -gamma p with the coefficient gamma:

    ```python
    class Friction(hgn.AbstractUntrained, hgn.AbstractRates):
        name: ClassVar[str] = "friction"
        separable: ClassVar[bool] = False
        moves: ClassVar[tuple[str, ...]] = ("momentum",)
        acts_on_pairs: ClassVar[bool] = False

        def __call__(self, graphs):
            return hgn.Gradient(momentum=-graphs.nodes["momentum"][:, :, None])
    ```
    """

    moves: ClassVar[tuple[str, ...]] = ("position", "momentum")
    """State variables whose rates the columns may be; `hgn.Strang` needs "momentum" alone."""

    @abstractmethod
    def __call__(self, graphs: GraphsTuple) -> Gradient:
        """Columns of the rates of position and momentum, `[n d K]` each."""


class AbstractTermSpec(eqx.Module):
    """Recipe for sampling a term: number of units, distribution, nonlinearity. All fields are
    static."""

    expects_model_error: ClassVar[bool] = False
    """`expects_model_error` of the terms that it samples."""

    @property
    @abstractmethod
    def guided(self) -> bool:
        """True if features are sampled twice, the second time guided by the energies of a first
        fit."""

    @abstractmethod
    def resolve(self, data: GraphsTuple) -> "AbstractTermSpec":
        """Copy with the sizes filled in that depend on values of the data, such as the number of
        edge types. Missing sizes need concrete data."""

    @abstractmethod
    def sample(self, key: Key, data: GraphsTuple, previous: "Fitted | None" = None) -> AbstractTerm:
        """Samples the term. In a guided second pass, `previous` is the first fit of this spec."""


Fitted = tuple[AbstractTerm, Float[Array, " K"]]
"""A term and its solved coefficients."""


def differentiated(
    energy: AbstractEnergy, graphs: GraphsTuple, theta: Float[Array, " K"]
) -> Gradient:
    """Gradient of Phi . theta by reverse-mode differentiation, with respect to the state variables
    that the energy depends on."""

    def total(state: dict[str, Vectors]) -> Array:
        moved = graphs._replace(nodes=graphs.nodes | state)
        # Graphs do not interact: the gradient of their sum holds that of each graph.
        return jnp.sum(energy.node_energy(moved, theta))

    # Variables that the energy does not read stay None, zero by construction.
    return gradient_of(jax.grad(total)({name: graphs.nodes[name] for name in energy.depends_on}))
