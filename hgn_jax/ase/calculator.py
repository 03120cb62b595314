"""`Calculator`: energies, forces and stresses of a model for ASE."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.calculators import calculator as ase_calculator
from jraph import GraphsTuple

from ..fitting.result import Fit
from ..io.elements import symbols_of
from ..models.base import AbstractModel
from ..models.network import HamiltonianGraphNetwork
from .evaluate import evaluate, virial
from .padded_atoms import PaddedAtoms

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Components of a stress in ASE's order."""
DEVIATIONS = ("energy_std", "forces_std")


class Calculator(ase_calculator.Calculator):
    """A model as an ASE calculator. Units are ASE's: the training data must be in eV, A and u.

    The potential energy is the model's energy of atoms at rest. Forces are minus its gradient, and
    the stress is dE/dstrain over the volume (eV/A^3, tension positive, Voigt's order). `energies`
    are those of the atoms, whose sum is the energy. Friction and other rates that are not gradients
    are ignored. Cells may have any shape, and be periodic along any of their axes; as everywhere in
    ASE, a stress needs three lattice vectors.

    **Arguments:**

    - `model`: a `Fit`, its `model`, or any other `hgn.AbstractModel`.
    - `skin`: length (A) by which the neighbour list exceeds the model's cutoff. The list is
        refreshed when a pair that it lacks may have come within the cutoff.
    - `cutoff`: greatest distance of joined atoms (A), for models without a cutoff of their own.
    - `reference`: graphs such as the training data. With a `Fit`, `get_property("forces_std")` is
        the standard deviation of each force component, see `Fit.standard_deviation`. With a
        reference, `get_property("energy_std")` is that of the energy, less its mean over the
        reference. Both are computed on request only.

    Warns once if atoms are outside of the model's trained range.

    **Raises:** `ValueError` for a model, skin or cutoff that cannot be used; when it computes, for
    species that training never saw.
    """

    name = "hgn_jax"
    implemented_properties: ClassVar[list[str]] = [  # type: ignore[misc]
        "energy", "free_energy", "forces", "stress", "energies", *DEVIATIONS,
    ]  # fmt: skip

    def __init__(
        self,
        model: Fit | AbstractModel,
        *,
        skin: float | int = 0.5,
        cutoff: float | int | None = None,
        reference: GraphsTuple | None = None,
    ) -> None:
        if not isinstance(model, Fit | AbstractModel):
            raise ValueError(f"expected a Fit or a model, got {type(model).__name__}")
        if not 0 <= skin < math.inf:
            raise ValueError(f"skin must be finite and not negative, got {skin}")
        super().__init__()
        self.fit = model if isinstance(model, Fit) else None
        self.model: AbstractModel = model.model if isinstance(model, Fit) else model
        self.reference = reference
        reach = _reach(self.model, cutoff)
        arrays = jax.tree.leaves(eqx.filter(self.model, eqx.is_inexact_array))
        dtype = arrays[0].dtype if arrays else jnp.result_type(float)
        self.neighbours = PaddedAtoms(reach, float(skin), dtype, pads=self.model.handles_padding)
        self._has_warned = False

    def calculate(
        self,
        atoms: Any = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = ase_calculator.all_changes,
    ) -> None:
        """Fills `results`: always energies and forces, other properties on request."""
        super().calculate(atoms, properties, system_changes)
        # ASE asks for single properties. Without changes, results so far are kept and completed.
        if system_changes:
            self.results = {}
        atoms = self.atoms if atoms is None else atoms
        self._check_species(atoms.numbers)
        graph, n = self.neighbours.graph_of(atoms), len(atoms)
        if "energy" not in self.results:
            self._evaluate(graph, n)
        if "stress" in properties and atoms.cell.rank == 3:
            per_volume = np.asarray(virial(self.model, graph), float) / atoms.get_volume()
            self.results["stress"] = np.array([per_volume[i, j] for i, j in VOIGT])
        if self.fit is not None and set(properties) & set(DEVIATIONS):
            deviation = self.fit.standard_deviation(graph, reference=self.reference)
            if "force" in deviation.rates:
                self.results["forces_std"] = np.asarray(deviation.force, float)[:n]
            if self.reference is not None and deviation.energy is not None:
                self.results["energy_std"] = float(deviation.energy[0])

    def _evaluate(self, graph: GraphsTuple, n: int) -> None:
        result = evaluate(self.model, graph)
        energy = float(result.energy)
        # ASE's optimisers ask for "free_energy", the one whose gradient the forces are.
        self.results |= {"energy": energy, "free_energy": energy}
        self.results["forces"] = np.asarray(result.force, float)[:n]  # without padding
        if result.of_atoms is not None:
            self.results["energies"] = np.asarray(result.of_atoms, float)[:n]
        outside = {name: int(k) for name, k in result.outside.items() if k}
        if outside and not self._has_warned:
            self._has_warned = True
            counts = ", ".join(f"{name}: {k}" for name, k in outside.items())
            warnings.warn(
                f"the model extrapolates outside of its trained range ({counts}); this warning "
                "appears once",
                stacklevel=2,
            )

    def _check_species(self, numbers: np.ndarray) -> None:
        """Raises `ValueError` naming species that training never saw."""
        if not isinstance(self.model, HamiltonianGraphNetwork) or not self.model.basis.species:
            return
        known = np.array(self.model.basis.species)
        unseen = np.setdiff1d(numbers, known)
        if len(unseen):
            raise ValueError(
                f"the model was trained on {', '.join(symbols_of(known))} only, not on "
                f"{', '.join(symbols_of(unseen))}"
            )


def _reach(model: AbstractModel, cutoff: float | int | None) -> float:
    """Distance up to which atoms are joined (A).

    **Raises:** `ValueError` for a cutoff that is not positive, or shorter than the model's own.
    """
    if cutoff is None:
        return float(model.reach)
    if not 0 < cutoff < math.inf:
        raise ValueError(f"cutoff must be positive and finite, got {cutoff}")
    if math.isfinite(model.reach) and cutoff < model.reach:
        raise ValueError(
            f"cutoff={cutoff} is shorter than the model's own, {model.reach}: give at least that, "
            "or leave it out"
        )
    return float(cutoff)
