"""Overlap of two Gaussian bodies of revolution: distance of contact and strength."""

from jaxtyping import Array, Float


def surface_distance(z: Float[Array, " 4"], contact: tuple[float, float]) -> Float[Array, ""]:
    r"""$r - \sigma + \sigma_{side}$ (length) at z = (r, a, b, c) of `hgn.sites.AxisPairs`.

    The contact distance of Gaussian overlaps is
    $\sigma = \sigma_{side} (1 - \tfrac{\chi}{2} (\tfrac{(a + b)^2}{1 + \chi c} +
    \tfrac{(a - b)^2}{1 - \chi c}))^{-1/2}$ with $\chi = (\kappa^2 - 1) / (\kappa^2 + 1)$ and
    $\kappa = \sigma_{end} / \sigma_{side}$.

    Berne and Pechukas, Gaussian model potentials for molecular interactions, J. Chem. Phys. 56,
    1972.
    """
    side, end = contact
    return z[0] - side * (overlap(z, anisotropy(end / side)) ** -0.5 - 1)


def strength(z: Float[Array, " 4"], contact: tuple[float, float]) -> Float[Array, ""]:
    r"""$(1 - \chi^2 c^2)^{-1/2}$: greatest for parallel bodies, one for crossed ones and for
    spheres."""
    side, end = contact
    return (1 - (anisotropy(end / side) * z[3]) ** 2) ** -0.5


def anisotropy(ratio: float) -> float:
    r"""$\chi$ of an aspect ratio $\kappa$."""
    return (ratio**2 - 1) / (ratio**2 + 1)


def overlap(z: Float[Array, " 4"], chi: float) -> Float[Array, ""]:
    r"""$1 - \tfrac{\chi}{2} (\tfrac{(a + b)^2}{1 + \chi c} + \tfrac{(a - b)^2}{1 - \chi c})$."""
    _, a, b, c = z
    return 1 - chi / 2 * ((a + b) ** 2 / (1 + chi * c) + (a - b) ** 2 / (1 - chi * c))
