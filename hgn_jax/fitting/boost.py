"""A further layer of random features, on the residual of a fit."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from jraph import GraphsTuple

from .._arguments import as_key, whole_number
from .._tree import is_concrete
from .._types import Key
from ..features.base import AbstractTerm
from ..features.density_products import DensityProducts, sums_of_next_layer
from ..features.embedded import EmbeddedFeatures
from ..features.pair import PairFeatures
from ..features.sampling import ELM, moments
from ..features.tangent import Tangent
from ..features.trained_range import box_of
from ..graphs.geometry import node_mask
from .boost_problem import Problem, Solved, solution_of
from .result import Fit

DIRECTIONS = 8
"""Number of principal directions of the sums over neighbours in which a density is first sought."""
STEPS = 20
"""Greatest number of Gauss-Newton steps."""
SLOW = 0.99
"""Gauss-Newton ends if a step leaves more than this share of the residual."""
ROUNDING = 1e3
"""Residuals below this many roundings of the cancelling terms hold nothing to learn."""


def boost(
    fit: Fit,
    data: GraphsTuple,
    *,
    key: Key | int,
    units: int = 64,
    validation: GraphsTuple | None = None,
) -> Fit:
    r"""Adds a layer to the model: random units of a density that is found from the residual.

    A first layer is a pair potential, $V = \sum_{pairs} \phi(r_{ij})$. The second adds

    $$\sum_i F(\rho_i), \qquad \rho_i = \sum_j f(r_{ij}),$$

    the embedding energy of metals, where f combines the units of the fit's `Pair` term and F
    consists of random units. The density of each further layer also reads the densities below it
    of the neighbours, $\rho^l_i = \sum_j f^l_0(r_{ij}) + \sum_{k<l} f^l_k(r_{ij}) \rho^k_j$, so
    that bodies act on neighbours of their neighbours. No weights are trained by gradient descent:

    1. Linear least squares on products of two sums over neighbours. The leading eigenvector of
       their coefficients is a first density, as in principal Hessian directions (Li, J. Am. Stat.
       Assoc. 87, 1992).
    2. Gauss-Newton steps on the densities of all layers. Each is one linear solve, whose further
       columns are the change of the energy with the densities: functional gradient boosting, as in
       random feature boosting (Zozoulenko et al., arXiv 2501.18283).
    3. All coefficients are solved for together.

    Steps are taken as long as the residual falls: that on `validation`, so that a layer does not
    fit noise, or that on the training data if there are no others.

    **Arguments:**

    - `fit`: a fit with one `Pair` term, or a boosted fit. Tens of pair units suffice, and more cost
        time: the density is a smooth function, too.
    - `data`: the data of the fit; concrete arrays only.
    - `key`: a JAX key or a seed, for the units of the layer.
    - `units`: number of random units of the density, the same for all layers.
    - `validation`: data that the fit has not seen, with the same arrays as `data`. The layer is
        kept if it lowers their squared residuals by more than two standard errors.

    **Returns:** a fit with the same observations and solver, whose last term is the boosted one, or
    `fit` itself if the layer does not lower its residual, or only rounding errors are left.

    **Raises:** `ValueError` for a fit without a `Pair` term or with several, for bodies of several
    species, other units than those of the layers below, validation data with other arrays, or
    traced arrays.
    """
    whole_number("units", units, 1)
    if not is_concrete((fit, data, validation)):
        raise ValueError("boost needs concrete arrays: call it outside of jit")
    if validation is not None:
        fit.equations.check(validation)
    pair, below, others = _parts(fit, units)
    index = next(i for i, term in enumerate(fit.model.terms) if term is pair)
    at_first = solution_of(fit, index)
    digits = jnp.finfo(at_first.residual.dtype).eps * at_first.cancellation
    if at_first.residual <= ROUNDING * digits:
        return fit
    problem = Problem(fit, data, others, validation)
    layered = _layer_added(problem, pair, below, as_key(key), units)
    best = problem.solved(layered)
    for _ in range(STEPS):
        before = best.residual
        best = _stepped(problem, best)
        if not best.residual < SLOW * before:
            break
    return best.fit if problem.improves(fit, index, best.fit) else fit


def _parts(
    fit: Fit, units: int
) -> tuple[PairFeatures, EmbeddedFeatures | None, tuple[AbstractTerm, ...]]:
    """The pair term, the layers on top of it, and all terms but these layers."""
    terms = fit.model.terms
    pairs = [term for term in terms if isinstance(term, PairFeatures)]
    if len(pairs) != 1:
        raise ValueError(
            f"boost builds on the radial functions of one Pair() term, but the fit has {len(pairs)}"
        )
    if len(fit.model.basis.species) > 1:
        raise ValueError(
            f"boost needs bodies of one species, but the fit has {fit.model.basis.species}"
        )
    layers = [term for term in terms if isinstance(term, EmbeddedFeatures)]
    below = layers[0] if layers else None
    if below is not None and below.layers[0].bias.size != units:
        raise ValueError(
            f"units is {units}, but the layers below have {below.layers[0].bias.size}: give all "
            "layers the same number"
        )
    return pairs[0], below, tuple(t for t in terms if not isinstance(t, EmbeddedFeatures))


def _layer_added(
    problem: Problem, pair: PairFeatures, below: EmbeddedFeatures | None, key: Key, units: int
) -> EmbeddedFeatures:
    """The layers below, and one whose density is the leading direction of a quadratic fit."""
    mask = np.asarray(node_mask(problem.data))
    sums = np.asarray(sums_of_next_layer(pair, below, problem.data))[mask]
    direction = _leading_direction(problem, pair, below, sums)
    density, every = jnp.asarray(sums @ direction)[:, None], jnp.ones(len(sums), bool)
    layer, range_ = ELM()(key, density, every, units), box_of(density, every)
    if below is None:
        return EmbeddedFeatures(pair, (jnp.asarray(direction)[:, None],), (layer,), range_)
    # Beside the radial functions alone, each layer reads their products with all densities below.
    weight = jnp.asarray(direction.reshape(-1, 1 + len(below.layers)))
    ranges = jnp.concatenate([below.ranges, range_])
    return EmbeddedFeatures(pair, (*below.weights, weight), (*below.layers, layer), ranges)


def _leading_direction(
    problem: Problem,
    pair: PairFeatures,
    below: EmbeddedFeatures | None,
    sums: Float[np.ndarray, "n v"],
) -> Float[np.ndarray, " v"]:
    """Combination of the sums over neighbours, of unit variance, along which the energy that is
    left curves most."""
    centre = sums.mean(axis=0)
    _, size, axes = np.linalg.svd((sums - centre) / len(sums) ** 0.5, full_matrices=False)
    count = min(DIRECTIONS, int(np.sum(size > np.finfo(size.dtype).eps ** 0.5 * size[0])))
    # Inputs of unit variance, so that eigenvalues compare energies.
    projection = axes[:count].T / size[:count]
    products = DensityProducts(pair, below, jnp.asarray(centre), jnp.asarray(projection))
    fit = problem.solve(*(() if below is None else (below,)), products)
    values, vectors = np.linalg.eigh(products.quadratic_form(fit.model.theta[-1]))
    direction = projection @ vectors[:, np.argmax(np.abs(values))].astype(sums.dtype)
    return direction if centre @ direction > 0 else -direction  # densities are positive


def _stepped(problem: Problem, best: Solved) -> Solved:
    """The best of `best` and a Gauss-Newton step from it, halved up to three times."""
    tangent = Tangent(best.energy, best.theta)
    change = problem.solve(best.energy, tangent).model.theta[-1]
    for share in (1.0, 0.5, 0.25, 0.125):
        moved = tangent.moved(share * change)
        tried = problem.solved(_restandardised(best.energy, moved, problem.data))
        if tried.residual < best.residual:
            return tried
    return best


@eqx.filter_jit
def _restandardised(
    before: EmbeddedFeatures, moved: EmbeddedFeatures, data: GraphsTuple
) -> EmbeddedFeatures:
    """The moved layers, whose units cover the new range of their densities as they did before."""
    mask = node_mask(data)
    x = moved.inputs(data)
    (_, old), (centre, new) = moments(before.inputs(data), mask), moments(x, mask)
    layers = tuple(
        eqx.tree_at(lambda u: (u.weight, u.centre), units, (units.weight * a / b, c[None]))
        for units, a, b, c in zip(moved.layers, old, new, centre)
    )
    return eqx.tree_at(lambda e: (e.layers, e.ranges), moved, (layers, box_of(x, mask)))
