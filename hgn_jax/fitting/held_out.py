"""Errors of frames that were held out: each is predicted from the folds that it is not in."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from jraph import GraphsTuple

from .._tree import is_concrete
from ..graphs.geometry import bodies, graph_mask, movable
from ..models.network import HamiltonianGraphNetwork
from .pieces import pieces_of
from .result import Fit, model_of

Errors = dict[str, Float[np.ndarray, " _"]]
"""Predicted less observed values by kind: "energy" per body, "force" and "stress" components."""


def held_out(fit: Fit, data: GraphsTuple) -> Errors:
    """Errors of the fit's own data, each frame predicted without the fold that it belongs to.

    They are errors on unseen frames, at the cost of evaluating the model once: what to choose
    settings by, and what to report where data are too few to put some aside.

    **Arguments:**

    - `fit`: a fit with `QR(ridge=FrameCV())`.
    - `data`: the data of the fit, in the same order.

    **Returns:** for each kind that the fit observed and the data have, errors of all values of
    positive weight: "energy" per body, "force" components, "stress" components of periodic frames.

    **Raises:** `ValueError` for a fit without folds.
    """
    folds = [s.of_folds for s in fit.solutions if s.of_folds is not None]
    if not folds or not is_concrete(data):
        raise ValueError(
            "held_out needs a fit by folds of frames, solver=hgn.QR(ridge=hgn.FrameCV()), and "
            "concrete data"
        )
    models = [fold_model(fit, k) for k in range(len(folds[0]))]
    found: dict[str, list[np.ndarray]] = {}
    for number, piece in enumerate(pieces_of(fit.equations, data, fit.solver)):
        for kind, errors in _errors(models[number % len(models)], piece).items():
            found.setdefault(kind, []).append(errors)
    return {kind: np.concatenate(errors) for kind, errors in found.items()}


def fold_model(fit: Fit, fold: int) -> HamiltonianGraphNetwork:
    """The model that was fitted without that fold."""
    thetas = [s.theta if s.of_folds is None else s.of_folds[fold] for s in fit.solutions]
    members = fit.reduction.members
    if any(len(fit.model.terms) == i for some in members for i, _ in some):
        return model_of(fit.equations, members, thetas)
    return eqx.tree_at(
        lambda m: m.constants, model_of(fit.equations, members, thetas), fit.model.constants
    )


def _errors(model: HamiltonianGraphNetwork, piece: GraphsTuple) -> Errors:
    predicted = {kind: np.asarray(v) for kind, v in _predicted(model, piece).items()}
    errors: Errors = {}
    real = np.asarray(graph_mask(piece))
    if "energy" in predicted:
        there = real & (np.asarray(piece.globals.get("energy_weight", real)) > 0)
        wrong = predicted["energy"] - np.asarray(piece.globals["energy"])
        errors["energy"] = wrong[there] / np.asarray(bodies(piece))[there]
    if "force" in predicted:
        moving = np.asarray(movable(piece))
        there = moving & (np.asarray(piece.nodes.get("weight", moving)) > 0)
        errors["force"] = (predicted["force"] - np.asarray(piece.nodes["force"]))[there].ravel()
    if "stress" in predicted:
        there = real & (np.asarray(piece.globals.get("stress_weight", real)) > 0)
        wrong = predicted["stress"] - np.asarray(piece.globals["stress"])
        rows, columns = np.triu_indices(wrong.shape[1])
        errors["stress"] = wrong[there][:, rows, columns].ravel()
    return errors


@eqx.filter_jit
def _predicted(model: HamiltonianGraphNetwork, graphs: GraphsTuple) -> dict[str, jnp.ndarray]:
    """What the data observe of each kind, as the model gives it."""
    found = {}
    if "energy" in graphs.globals:
        found["energy"] = model(graphs)
    if "force" in graphs.nodes:
        rates = dict(zip(model.dynamics.observed, model.vector_field(graphs)))
        found["force"] = rates["force"]
    if "stress" in graphs.globals:
        volume = jnp.abs(jnp.linalg.det(graphs.globals["cell"]))[:, None, None]
        found["stress"] = model.virial(graphs) / jnp.where(volume > 0, volume, 1)
    return found
