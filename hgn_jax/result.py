"""What a fit returns."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .hamiltonian import HamiltonianGraphNetwork
from .linear.base import LeastSquaresSolution


class RESULTS(eqx.Enumeration):
    """Outcome of a fit."""

    successful = ""
    no_rows = "no row has a positive weight: all bodies are fixed or have weight zero"
    nonfinite_data = "the data hold NaN or Inf; run hgn.check(data) outside of jit to learn where"
    nonfinite_solution = (
        "the least-squares solution is not finite; use 64-bit, a larger ridge or fewer units"
    )


class Fit(eqx.Module):
    """A learned Hamiltonian and how well it was determined."""

    model: HamiltonianGraphNetwork
    solutions: tuple[LeastSquaresSolution, ...]
    """One per independent system: kinetic and pair columns do not mix."""
    result: RESULTS
    rows: Int[Array, ""]
    """Equations with positive weight."""
    constant_known: Bool[Array, ""]
    """Whether observed energies determined the constant of every graph, of whatever size."""
    energies_observed: bool = eqx.field(static=True)
    """Whether there were any; if not the constant is zero."""

    @property
    def columns(self) -> int:
        """Unknowns of all systems."""
        return sum(s.theta.shape[-1] for s in self.solutions)

    @property
    def rank(self) -> Int[Array, "..."]:
        """Sum of the numerical ranks. Random features are nearly dependent: below `columns`."""
        return jnp.sum(jnp.stack([s.rank for s in self.solutions]), axis=0)

    @property
    def condition(self) -> Float[Array, "..."]:
        """Worst condition number of the column-scaled systems."""
        return jnp.max(jnp.stack([s.condition for s in self.solutions]), axis=0)

    @property
    def residual(self) -> Float[Array, "..."]:
        """Worst relative residual of the weighted systems."""
        return jnp.max(jnp.stack([s.residual for s in self.solutions]), axis=0)

    @property
    def ridge(self) -> Float[Array, "..."]:
        return jnp.max(jnp.stack([s.ridge for s in self.solutions]), axis=0)

    @property
    def growth(self) -> Float[Array, "..."]:
        """Worst cancellation, sum |theta phi| over |sum theta phi|."""
        return jnp.max(jnp.stack([s.growth for s in self.solutions]), axis=0)

    @property
    def trained_range(self) -> dict[str, Float[Array, "... 2"]]:
        """Least and greatest local input of each kind of feature (speeds, distances)."""
        return {f.name: f.trained_range() for f in self.model.features}

    def summary(self) -> str:
        """The figures above in words; concrete values only."""
        if not any(c.shape[-1] for c in self.model.constants):
            constant = "zero: the energy fades with distance, or is kinetic"
        elif not self.energies_observed:
            constant = "zero: no energies were observed, and rates do not see it"
        elif bool(self.constant_known):
            constant = "determined by the observed energies"
        else:
            constant = (
                "right for graphs like the observed ones only: there the numbers of pairs of each "
                "type and of bodies were always in one proportion"
            )
        lines = [
            f"{int(self.rows)} rows, {self.columns} columns, rank {int(self.rank)}",
            f"relative residual {float(self.residual):.1e}, condition {float(self.condition):.1e}, "
            f"ridge {float(self.ridge):.1e}, growth {float(self.growth):.1e}",
            f"constant of the energy: {constant}",
        ]
        for name, ranges in self.trained_range.items():
            for low, high in jnp.reshape(ranges, (-1, 2)):
                lines.append(f"trained range of {name}: {float(low):.4g} .. {float(high):.4g}")
        if self.result != RESULTS.successful:
            lines.append(f"FAILED: {RESULTS[self.result]}")  # type: ignore[misc]
        return "\n".join(lines)
