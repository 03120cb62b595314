"""The least-squares problem of a fit, solved again with boosted layers."""

from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float
from jraph import GraphsTuple

from ..features.base import AbstractTerm
from ..features.embedded import EmbeddedFeatures
from ..graphs.pieces import chunks
from ..linear.base import LeastSquaresSolution
from .accumulate import graphs_at_once
from .fit import solve
from .result import Fit


class Solved(NamedTuple):
    """A fit whose last term is boosted, and the residual by which steps are judged."""

    fit: Fit
    residual: float

    @property
    def energy(self) -> EmbeddedFeatures:
        energy = self.fit.model.terms[-1]
        assert isinstance(energy, EmbeddedFeatures)
        return energy

    @property
    def theta(self) -> Float[Array, " K"]:
        return self.fit.model.theta[-1]


class Problem(NamedTuple):
    """The fit's own problem, to be solved with further terms."""

    fit: Fit
    data: GraphsTuple
    others: tuple[AbstractTerm, ...]
    """Terms that are not boosted."""
    validation: GraphsTuple | None

    def solve(self, *terms: AbstractTerm) -> Fit:
        basis = self.fit.equations.basis
        return solve(
            (*self.others, *terms),
            self.data,
            observations=self.fit.equations.observations,
            dynamics=basis.dynamics,
            known=basis.known,
            solver=self.fit.solver,
            throw=False,
        )

    def solved(self, energy: EmbeddedFeatures) -> Solved:
        """Fit with that energy, and its residual on validation data if there are any."""
        fit, last = self.solve(energy), len(self.others)
        if self.validation is None:
            return Solved(fit, float(solution_of(fit, last).residual))
        return Solved(fit, float(np.linalg.norm(self._misfits(fit, last, fit))))

    def improves(self, before: Fit, index: int, after: Fit) -> bool:
        """True if the rows of term `index` of the fit before are fitted better by the last term of
        the fit after: on validation data by more than two standard errors of the difference."""
        last = len(self.others)
        if self.validation is None:
            return bool(solution_of(after, last).residual < solution_of(before, index).residual)
        # In the same pieces, so that the same rows are compared.
        gain = self._misfits(before, index, after) ** 2 - self._misfits(after, last, after) ** 2
        return bool(np.sum(gain) > 2 * np.linalg.norm(gain))

    def _misfits(self, fit: Fit, index: int, wider: Fit) -> Float[np.ndarray, " r"]:
        """Z theta - u on validation data, for the system that holds that term, in pieces that suit
        the columns of `wider`."""
        assert self.validation is not None
        number, equations = _system(fit, index), wider.equations
        size = graphs_at_once(equations, self.validation)
        pieces = chunks(
            self.validation, size, equations.window, shorter_last=equations.shorter_last
        )
        return np.concatenate([np.asarray(_misfits(fit, piece, number)) for piece in pieces])


def solution_of(fit: Fit, index: int) -> LeastSquaresSolution:
    """Solution of the system that holds that term."""
    return fit.solutions[_system(fit, index)]


def _system(fit: Fit, index: int) -> int:
    for number, members in enumerate(fit.reduction.members):
        if index in [i for i, _ in members]:
            return number
    raise ValueError("no observation determines the pair potential")


@eqx.filter_jit
def _misfits(fit: Fit, data: GraphsTuple, number: int) -> Float[Array, " r"]:
    system = fit.equations.systems(data)[number]
    return system.matrix @ fit.solutions[number].theta - system.target
