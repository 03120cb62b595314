"""Gradient descent on the same models: for fine-tuning, and as the baseline for sampling."""

import time
from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, PyTree
from jraph import GraphsTuple

from .._arguments import as_key
from .._progress import Progress, Reporter
from .._types import Key
from ..graphs.geometry import movable
from ..graphs.padding import without_padding
from ..graphs.schema import require
from ..graphs.selection import split
from ..graphs.validate import check
from ..models.base import AbstractModel
from .minibatches import joined, stacked
from .trainable import trainable
from .untrained import RATES
from .weights import AbstractWeights, WeightFunction, as_weights


class TRAINING(eqx.Enumeration):
    """Outcome of a training."""

    successful = ""
    diverged = (
        "the training diverged: its loss is not finite. Use a smaller learning rate or clip the "
        "gradients; throw=False returns the best weights until then"
    )


class Training(eqx.Module):
    """A trained model and how the training went, epoch by epoch."""

    model: AbstractModel
    """Model with the weights of lowest validation loss; the initial ones if none was lower."""
    loss: Float[np.ndarray, " epochs"]
    """Mean training loss over the epoch's minibatches."""
    validation: Float[np.ndarray, " epochs"]
    """Validation loss after the epoch."""
    seconds: Float[np.ndarray, " epochs"]
    """Wall time from the start to the end of the epoch, compilation included."""
    result: TRAINING


def train(
    model: AbstractModel,
    data: GraphsTuple,
    *,
    key: Key | int,
    optimizer: optax.GradientTransformation,
    epochs: int = 1000,
    batch_size: int | None = None,
    validation: float | GraphsTuple = 0.1,
    patience: int | None = None,
    weights: Literal["relative", "uniform"] | WeightFunction | AbstractWeights = "relative",
    progress: Callable[[Progress], object] | None = None,
    throw: bool = True,
) -> Training:
    r"""Trains all weights of a model by gradient descent on observed dq/dt and dp/dt.

    The loss is that of `fit`, made relative: $\sum w^2 |\hat u - u|^2 / \sum w^2 |u|^2$ over
    velocities and forces, with w from `weights`. The coefficients and the weights and biases of
    hidden layers are trained, their centres and ranges are not. Of a user-defined Hamiltonian, all
    floating-point arrays are trained.

    **Arguments:**

    - `model`: a fitted model to fine-tune, or one from `untrained`.
    - `data`: a batch of snapshots with `velocity` and `force`. Graphs of different sizes are padded
        (`hgn.graphs.pad`): a user-defined Hamiltonian must return finite rates for padding.
    - `key`: orders the minibatches and chooses the validation trajectories.
    - `optimizer`: any optimizer of optax. Schedules of its learning rate count minibatches. One
        with a line search (`optax.lbfgs()`) needs the full batch. Pass the same object again to
        reuse the compiled step.
    - `epochs`: number of passes over the data.
    - `batch_size`: graphs per step; None for all. Every epoch shuffles the graphs, and leaves out
        those that do not fill a minibatch.
    - `validation`: fraction of the trajectories to hold out, or separate data.
    - `patience`: stop after that many epochs without a lower validation loss.
    - `weights`: as in `Derivatives`.
    - `progress`: a function, such as `print`, called at the start, at most once a second, and at
        the end, with the losses in `detail`.
    - `throw`: raise if the training diverges; if False, read `.result`.

    **Returns:** a `Training`: the best model, and the losses and wall time of every epoch.

    **Raises:** `ValueError` for bad data (see `hgn.check`) or arguments out of range;
    `RuntimeError` if the training diverges.
    """
    if epochs < 1 or (patience is not None and patience < 1):
        raise ValueError(f"epochs and patience must be at least 1, got {epochs} and {patience}")
    start, report = time.perf_counter(), Reporter(progress, "epoch", epochs)
    ordering, splitting = jr.split(as_key(key))
    data = _real(data)
    if isinstance(validation, GraphsTuple):
        held_out = _real(validation)
    elif 0 < validation < 1:
        data, held_out = split(data, validation, key=splitting)
    else:
        raise ValueError(f"validation must be data or a fraction between 0 and 1, got {validation}")
    weighting = as_weights(weights)
    data, held_out = _weighted(data, weighting), _weighted(held_out, weighting)
    stacks = stacked(data)
    count = stacks.n_node.shape[0]
    batch_size = count if batch_size is None else batch_size
    if not 1 <= batch_size <= count:
        raise ValueError(
            f"batch_size must be from 1 to {count}, the number of training graphs, got {batch_size}"
        )
    params, frozen = eqx.partition(model, trainable(model))
    state = jax.tree.map(_strong, optimizer.init(params))
    if batch_size < count and _searches_lines(state):
        raise ValueError("this optimizer has a line search: it needs batch_size=None")
    report.compiling()
    run = _Run(params, state, params, _check(params, frozen, held_out))
    losses: list[tuple[float, float]] = []
    seconds: list[float] = []
    best, least, diverged = -1, float(run.least), False
    for epoch in range(epochs):
        order = jr.permutation(jr.fold_in(ordering, epoch), count)
        order = order[: count // batch_size * batch_size].reshape(-1, batch_size)
        run, loss, checked = _epoch(run, frozen, optimizer, stacks, order, held_out)
        losses.append((float(loss), float(checked)))
        seconds.append(time.perf_counter() - start)
        if diverged := not np.isfinite(losses[-1]).all():
            break
        if losses[-1][1] < least:
            best, least = epoch, losses[-1][1]
        stopped = patience is not None and epoch - best >= patience  # best is -1 at first
        news = f"loss {loss:.3e}, validation {checked:.3e}, best {least:.3e} after {best + 1}"
        report(epoch + 1, news, end=stopped or epoch + 1 == epochs)
        if stopped:
            break
    loss_history, validation_history = np.array(losses).T
    training = Training(
        eqx.combine(run.best, frozen),
        loss_history,
        validation_history,
        np.array(seconds),
        TRAINING.diverged if diverged else TRAINING.successful,  # type: ignore[arg-type]
    )
    if throw and diverged:
        training.result.error_if(training, True)
    return training


class _Run(eqx.Module):
    """State of the training that changes from epoch to epoch."""

    params: PyTree
    state: optax.OptState
    best: PyTree
    least: Float[Array, ""]


@eqx.filter_jit
def _epoch(
    run: _Run,
    frozen: PyTree,
    optimizer: optax.GradientTransformation,
    stacks: GraphsTuple,
    order: Int[Array, "steps batch"],
    held_out: GraphsTuple,
) -> tuple[_Run, Float[Array, ""], Float[Array, ""]]:
    update = optax.with_extra_args_support(optimizer).update

    def step(carry: PyTree, chosen: Int[Array, " batch"]) -> tuple[PyTree, Array]:
        params, state = carry
        batch = joined(stacks, chosen)

        def loss(params: PyTree) -> Float[Array, ""]:
            return _loss(eqx.combine(params, frozen), batch)

        # A line search has already evaluated the value and gradient at this point.
        differentiate = (
            optax.value_and_grad_from_state(loss)
            if _searches_lines(state)
            else lambda params, state: jax.value_and_grad(loss)(params)
        )
        value, gradient = differentiate(params, state=state)
        updates, state = update(gradient, state, params, value=value, grad=gradient, value_fn=loss)
        return (optax.apply_updates(params, updates), state), value

    (params, state), losses = jax.lax.scan(step, (run.params, run.state), order)
    checked = _check(params, frozen, held_out)
    better = checked < run.least  # false for NaN
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), params, run.best)
    return _Run(params, state, best, jnp.where(better, checked, run.least)), losses.mean(), checked


@eqx.filter_jit
def _check(params: PyTree, frozen: PyTree, held_out: GraphsTuple) -> Float[Array, ""]:
    return _loss(eqx.combine(params, frozen), held_out)


def _loss(model: AbstractModel, graphs: GraphsTuple) -> Float[Array, ""]:
    rates = model.vector_field(graphs)
    wrong = sum(
        jnp.sum((graphs.nodes[f"{name} weight"][:, None] * (rate - graphs.nodes[name])) ** 2)
        for name, rate in zip(RATES, rates)
    )
    return jnp.asarray(wrong / jnp.sum(graphs.globals["size"]))


def _real(data: GraphsTuple) -> GraphsTuple:
    """Checks the data and removes their padding."""
    check(data)
    return without_padding(data)


def _weighted(data: GraphsTuple, weights: AbstractWeights) -> GraphsTuple:
    """The graphs with the weights of every node, and each graph's share of a zero model's loss.

    All shares are equal, so that the mean over minibatches is the loss of the data.
    """
    require(data, {"nodes": RATES}, "gradient descent")
    ones = jnp.ones_like(data.nodes["position"][:, 0])
    own = jnp.where(movable(data), data.nodes.get("weight", ones), 0)
    weighted = zip(RATES, weights(data, RATES), strict=True)
    # A mask and no product: weights of bodies that do not count may be infinite.
    scaled = {f"{name} weight": jnp.where(own > 0, own * w, 0) for name, w in weighted}
    total = sum(
        jnp.sum((scaled[f"{name} weight"][:, None] * data.nodes[name]) ** 2) for name in RATES
    )
    if not total > 0:
        raise ValueError("all rows with a rate other than zero have weight zero")
    count = data.n_node.shape[0]
    return data._replace(
        nodes=data.nodes | scaled,
        globals=data.globals | {"size": jnp.full((count,), total / count)},
    )


def _strong(value: ArrayLike) -> Array:
    """Removes the weak type, so that the second step does not compile again."""
    return jax.lax.convert_element_type(value, jnp.asarray(value).dtype)


def _searches_lines(state: optax.OptState) -> bool:
    return optax.tree.get(state, "value") is not None and optax.tree.get(state, "grad") is not None
