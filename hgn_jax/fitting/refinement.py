"""Report of a refinement: how far the windows grew, and why no farther."""

import equinox as eqx
from jaxtyping import Array, Float, Int

from .found import Found


class Refinement(eqx.Module):
    """Path of residuals of `hgn.refine`, one entry for every size of the windows that was tried.

    A model that explains the data leaves a residual of one. More is motion that the model does not
    describe, a wrong minimum, or noise that was taken for too small.
    """

    frames: Int[Array, " s"]
    """Frames of the longest window."""
    residual: Float[Array, " s"]
    r"""Root of the mean square residual over the noise, $\sqrt{\chi^2 / \nu}$, with $\nu$ the
    degrees of freedom that starts and coefficients leave."""
    iterations: Int[Array, " s"]
    """Gauss-Newton steps."""
    substeps: Int[Array, " s"]
    """Steps of the integrator between two frames."""
    noise: dict[str, Float[Array, ""]]
    """Standard deviation of the noise of each measured array of the state."""
    accepted: int = eqx.field(static=True)
    """Number of sizes that were accepted; the fit is that of the last of them."""
    reason: str = eqx.field(static=True)
    """Why the windows grew no farther."""
    found: Found | None = None
    """Masses or charges that were unknown."""

    def words(self) -> str:
        """One or two sentences; concrete values only."""
        k = self.accepted - 1
        words = (
            f"refined over windows of up to {int(self.frames[k])} frames, residual "
            f"{float(self.residual[k]):.3g} times the noise; the windows grew no longer "
            f"because {self.reason}"
        )
        return words if self.found is None else f"{words}; {self.found.words()}"
