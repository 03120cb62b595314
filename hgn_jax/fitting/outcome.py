"""Outcome of a fit, as a code that survives jit."""

import equinox as eqx
from jaxtyping import Array, Bool


class RESULTS(eqx.Enumeration):
    """Outcome of a fit."""

    successful = ""
    no_rows = (
        "observations of one kind have no row of positive weight: all bodies are fixed, or weights "
        "are zero. Look at nodes['weight'], nodes['fixed'] and the observation's weights"
    )
    nonfinite_data = "the data hold NaN or Inf; run hgn.check(data) outside of jit to learn where"
    nonfinite_solution = (
        "the least-squares solution is not finite; use 64-bit, a larger ridge or fewer units"
    )
    foreign_rows = (
        "the batch to forget holds rows that were never part of the fit, or are forgotten already: "
        "give data that fit, fit_stream or update took"
    )


def outcome(data: Bool[Array, ""], rows: Bool[Array, ""], model: Bool[Array, ""]) -> RESULTS:
    """Outcome from three conditions: the data are finite, every system has rows, the model is
    finite."""
    # The last condition that fails wins: bad data explain all others.
    result = RESULTS.where(model, RESULTS.successful, RESULTS.nonfinite_solution)  # type: ignore
    result = RESULTS.where(rows, result, RESULTS.no_rows)  # type: ignore[arg-type]
    return RESULTS.where(data, result, RESULTS.nonfinite_data)  # type: ignore[arg-type]
