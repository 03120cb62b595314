"""The seams of a model's terms: what can be sampled, and what its columns are."""

import math
from abc import abstractmethod
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from jraph import GraphsTuple

from .._types import Gradient, Key, NodeScalars, Vectors
from ..graphs.strain import strained


class Counts(NamedTuple):
    """Extensive counts that carry the constant of an energy: rates do not determine it."""

    pair_types: int = 0
    """Types of pairs whose potential has a constant of its own."""
    bodies: bool = False
    """True if every body has a constant."""


class AbstractTerm(eqx.Module):
    """Columns of a model, each multiplied by one coefficient of theta."""

    name: eqx.AbstractClassVar[str]
    time_dependent: ClassVar[bool] = False
    """True if the columns read `globals["time"]`."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Node arrays that the columns read, beside the state of the dynamics: `mass`."""
    bodies_at_once: ClassVar[int | None] = None
    """Number of bodies whose rows are computed fastest together; None if it does not matter."""
    expects_model_error: ClassVar[bool] = False
    """True if what these columns leave is rarely noise: the ridge is then cross-validated over
    frames."""

    @property
    @abstractmethod
    def separable(self) -> bool:
        """True if dq/dt depends on momenta alone and dp/dt on positions alone, as explicit
        symplectic integrators need."""

    @property
    @abstractmethod
    def reach(self) -> float:
        """Distance beyond which bodies do not act on one another: 0 for terms of single bodies,
        inf for pairs without a cutoff (length)."""

    @property
    @abstractmethod
    def dimension(self) -> int | None:
        """Spatial dimension that the term is bound to; None if it works in any."""

    @abstractmethod
    def out_of_range(self, graphs: GraphsTuple) -> Int[Array, " g"]:
        """Number of sites outside of the trained range, for each graph."""

    @abstractmethod
    def trained_range(self) -> Float[Array, "... 2"] | None:
        """Least and greatest local input seen in sampling; None if there is no such range."""

    def accepts(self, graphs: GraphsTuple) -> None:
        """Raises `ValueError` for graphs that hold what training never saw, concrete only: accepts
        all unless a class says otherwise."""
        return None

    def groups(self, columns: int) -> tuple[int, ...]:
        """Widths of the consecutive groups of the K `columns` that each get a ridge of their own
        from `QR(ridge="groups")`: one group unless a class says otherwise."""
        return (columns,)


class AbstractUntrained(AbstractTerm):
    """A term that was not sampled for any data: it works in every dimension and range.

    Where bodies act on one another up to a distance, a subclass has a field or class variable
    `cutoff` (length), which neighbour lists ask for.
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
    """Phi: columns of energy, whose gradient moves the bodies by the model's dynamics.

    `AbstractSiteEnergy` derives everything from the mathematics of one site. Subclass this one for
    energies of another form, or for a fast path.
    """

    depends_on: eqx.AbstractClassVar[tuple[str, ...]]
    """The state variables that the columns read: "position", "momentum" or both."""

    @property
    def separable(self) -> bool:
        return len(self.depends_on) == 1

    @property
    @abstractmethod
    def counts(self) -> Counts:
        """The counts that carry the constant of this energy."""

    @abstractmethod
    def __call__(self, graphs: GraphsTuple) -> Float[Array, "g K"]:
        """Phi of every graph; extensive."""

    @abstractmethod
    def gradient(self, graphs: GraphsTuple) -> Gradient:
        """dPhi/dq and dPhi/dp, `[n d K]` each: the fast path of assembly."""

    @abstractmethod
    def node_energy(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> NodeScalars:
        """Each node's share of Phi . theta."""

    @abstractmethod
    def energy_gradient(self, graphs: GraphsTuple, theta: Float[Array, " K"]) -> Gradient:
        """Gradient of Phi . theta, `[n d]` each: the fast path of rollouts."""

    def compress(
        self, theta: Float[Array, " K"], constants: Float[Array, " c"], tolerance: float
    ) -> tuple["AbstractEnergy", Float[Array, " _"]]:
        """A cheaper energy of the same value, and its coefficients: itself unless a class says
        otherwise.

        `constants` are those of the pairs' types, which a compressed pair energy takes up.
        """
        return self, theta

    def virial(self, graphs: GraphsTuple) -> Float[Array, "g d d K"]:
        r"""$\partial \Phi / \partial \epsilon$ for positions and cell mapped to
        $x (1 + \epsilon)$ at constant momenta (energy)."""
        d = graphs.nodes["position"].shape[1]
        none = jnp.zeros((d, d), graphs.nodes["position"].dtype)
        by_strain = jax.jacfwd(lambda strain: self(strained(graphs, strain)))(none)
        return jnp.moveaxis(by_strain, 1, -1)

    def energy_virial(
        self, graphs: GraphsTuple, theta: Float[Array, " K"]
    ) -> Float[Array, "g d d"]:
        """Virial of Phi . theta: the fast path of stresses."""
        g, d = len(graphs.n_node), graphs.nodes["position"].shape[1]
        none = jnp.zeros((g, d, d), graphs.nodes["position"].dtype)
        return jax.grad(lambda strain: jnp.sum(self.node_energy(strained(graphs, strain), theta)))(
            none
        )


class AbstractRates(AbstractTerm):
    """Columns of the rates themselves, for motion that is the gradient of no energy.

    Friction, dp/dt = -gamma p with the coefficient gamma:

    ```python
    class Friction(hgn.AbstractUntrained, hgn.AbstractRates):
        name: ClassVar[str] = "friction"
        separable: ClassVar[bool] = False
        acts_on_pairs: ClassVar[bool] = False

        def __call__(self, graphs):
            return hgn.Gradient(momentum=-graphs.nodes["momentum"][:, :, None])
    ```
    """

    @abstractmethod
    def __call__(self, graphs: GraphsTuple) -> Gradient:
        """Columns of the rates of position and momentum, `[n d K]` each."""


class AbstractTermSpec(eqx.Module):
    """Recipe of a term: number of units, distribution, nonlinearity. All fields are static."""

    expects_model_error: ClassVar[bool] = False
    """The same of the terms that it samples."""

    @property
    @abstractmethod
    def guided(self) -> bool:
        """True if a second pass, drawn with the energies of a first fit, is wanted."""

    @abstractmethod
    def resolve(self, data: GraphsTuple) -> "AbstractTermSpec":
        """Fills in sizes that depend on values (the number of edge types); concrete data only."""

    @abstractmethod
    def sample(self, key: Key, data: GraphsTuple, previous: "Fitted | None" = None) -> AbstractTerm:
        """Draws the term. `previous` is a first fit of this spec, for a second pass."""


Fitted = tuple[AbstractTerm, Float[Array, " K"]]
"""A term and its solved coefficients."""


def differentiated(
    energy: AbstractEnergy, graphs: GraphsTuple, theta: Float[Array, " K"]
) -> Gradient:
    """Gradient of Phi . theta by reverse-mode differentiation, of what the energy depends on."""

    def total(state: dict[str, Vectors]) -> Array:
        moved = graphs._replace(nodes=graphs.nodes | state)
        return jnp.sum(energy.node_energy(moved, theta))

    return Gradient(**jax.grad(total)({name: graphs.nodes[name] for name in energy.depends_on}))
