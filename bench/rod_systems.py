"""Systems of bodies on rigid rods, after those of Constrained Hamiltonian Neural Networks (Finzi,
Wang, Wilson, arXiv 2010.13581, code at mfinzi/constrained-hamiltonian-neural-networks).

Chains and the magnet pendulum are theirs. Rigid bodies are four equal masses, which move as the
body whose moments they have. The gyroscope's moments are ours: theirs come from a mesh.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import hgn_jax as hgn

G = 9.81
TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])

Vectors = Float[np.ndarray, "k n d"]


class System(NamedTuple):
    """Bodies on rods, their true potential, and a sampler of starts (position, velocity)."""

    rods: hgn.Rods
    mass: Float[np.ndarray, " n"]
    edges: list[tuple[int, int]]
    potential: Callable[[Array], Array]
    """Potential energy of positions `[n d]`."""
    starts: Callable[[np.random.Generator, int], tuple[Vectors, Vectors]]
    dt: float
    """Time between two of 100 frames."""


class Truth(hgn.AbstractHamiltonian):
    """The system that makes the data."""

    potential: Callable[[Array], Array]
    rods: hgn.Rods
    separable: bool = False

    @property
    def dynamics(self) -> hgn.AbstractDynamics:
        return hgn.Constrained(self.rods)

    def __call__(self, graphs):  # type: ignore[no-untyped-def]
        m, q, p = (graphs.nodes[k] for k in ("mass", "position", "momentum"))
        kinetic = hgn.graphs.geometry.sum_over_graphs(graphs, jnp.sum(p**2, axis=1) / (2 * m))
        bodies = q.reshape(len(graphs.n_node), -1, q.shape[1])
        return kinetic + jax.vmap(self.potential)(bodies)


def chain(links: int) -> System:
    """Point masses on a chain in the plane; masses and lengths .6 + .8 U(0, 1) of NumPy's seed 0,
    handed out from the last, as theirs."""
    draw = np.random.RandomState(0)
    mass = 0.6 + 0.8 * draw.rand(links)[::-1]
    length = 0.6 + 0.8 * draw.rand(links)[::-1]
    edges = [(i, i + 1) for i in range(links - 1)]

    def cartesian(angle: np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        along = length[:, None] * np.stack([np.sin(angle), -np.cos(angle)], axis=-1)
        across = length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return along.cumsum(axis=-2), (across * rate[..., None]).cumsum(axis=-2)

    def starts(rng: np.random.Generator, count: int) -> tuple[Vectors, Vectors]:
        """Theirs, projected link by link instead of at once."""
        q, v = cartesian(*rng.normal(size=(2, count, links)))
        q = q + 0.2 * rng.normal(size=q.shape)
        v = 0.5 * v + 0.4 * rng.normal(size=v.shape)
        angle, rate = np.zeros((2, count, links))
        for i in range(links):
            upper, fast = cartesian(angle, rate)
            hinge = np.zeros((count, 2)) if i == 0 else upper[:, i - 1]
            moving = np.zeros((count, 2)) if i == 0 else fast[:, i - 1]
            x = q[:, i] - hinge
            angle[:, i] = np.arctan2(x[:, 0], -x[:, 1])
            across = np.stack([np.cos(angle[:, i]), np.sin(angle[:, i])], axis=1)
            rate[:, i] = np.sum((v[:, i] - moving) * across, axis=1) / length[i]
        return cartesian(angle, rate)

    def potential(q: Array) -> Array:
        return G * jnp.sum(jnp.asarray(mass) * q[:, 1])

    rods = hgn.Rods(edges, hinged={0: (0.0, 0.0)})
    return System(rods, mass, edges, potential, starts, 0.03)


def magnet_pendulum() -> System:
    """A magnet of mass 3 on a rod of length 1, above two magnets."""
    moment = 0.3
    theta = np.pi * np.arange(2)
    magnets = np.stack([0.1 * np.cos(theta), 0.1 * np.sin(theta), np.full(2, -1.05)], axis=1)

    def potential(q: Array) -> Array:
        r = q[0]
        own = moment * r / jnp.sum(r**2)
        apart = jnp.asarray(magnets) - r[None]
        square = jnp.sum(apart**2, axis=1)
        dipoles = -3 * (apart @ own) * moment * apart[:, 2] - square * moment * own[2]
        return G * 3 * r[2] + jnp.sum(dipoles / (4 * jnp.pi * square**2.5))

    def point(angles: Array) -> Array:
        phi, theta = angles
        sin = jnp.sin(theta)
        return jnp.stack([-jnp.cos(theta), sin * jnp.sin(phi), sin * jnp.cos(phi)])[None]

    def starts(rng: np.random.Generator, count: int) -> tuple[Vectors, Vectors]:
        normal = rng.normal(size=(2, 2, count))
        angles = np.stack([np.pi + 0.3 * normal[0, 0], np.pi / 2 + 0.2 * normal[0, 1]], axis=1)
        rates = np.stack([0.05 * normal[1, 0], 0.4 * normal[1, 1]], axis=1)
        return moving(point, angles, rates)

    rods = hgn.Rods(hinged={0: (0.0, 0.0, 0.0)})
    return System(rods, np.array([3.0]), [], potential, starts, 0.05)


def coupled() -> System:
    """Three bobs of mass 1 on rods of length 1, one beside the other, with springs of stiffness 10
    between neighbours."""
    hinges = np.stack([np.arange(3.0), np.zeros(3), np.zeros(3)], axis=1)

    def place(angles: Array) -> Array:
        phi, theta = angles.reshape(3, 2).T
        sin = jnp.sin(theta)
        bobs = jnp.stack([-jnp.cos(theta), sin * jnp.sin(phi), sin * jnp.cos(phi)], axis=1)
        return jnp.asarray(hinges) + bobs

    def starts(rng: np.random.Generator, count: int) -> tuple[Vectors, Vectors]:
        angles, rates = 0.3 * rng.normal(size=(2, count, 3, 2))
        angles = angles + np.array([np.pi, np.pi / 2])
        return moving(place, angles.reshape(count, 6), rates.reshape(count, 6))

    def potential(q: Array) -> Array:
        stretched = jnp.sqrt(jnp.sum((q[1:] - q[:-1]) ** 2, axis=1)) - 1
        return G * jnp.sum(q[:, 2]) + 5 * jnp.sum(stretched**2)

    rods = hgn.Rods(hinged={i: tuple(hinge) for i, hinge in enumerate(hinges.tolist())})
    return System(rods, np.ones(3), [(0, 1), (1, 2)], potential, starts, 0.05)


def gyroscope() -> System:
    """A fast, heavy top of mass 0.1 on a hinge; second moments of mass (1, 1, 0.2) 1e-3, centre of
    mass 0.1 above the hinge."""
    points = TETRAHEDRON * np.sqrt(np.array([1e-3, 1e-3, 2e-4]) / 0.1) + [0, 0, 0.1]

    def body(angles: Array) -> Array:
        return jnp.asarray(points) @ frame(angles).T

    def starts(rng: np.random.Generator, count: int) -> tuple[Vectors, Vectors]:
        angles, rates = (rng.random((2, count, 3)) - 0.5) * 3
        rates[:, 0] *= 3
        rates[:, 1] *= 0.2
        rates[:, 2] = rng.choice([-1, 1], count) * (rng.normal(size=count) + 7) * 1.5
        return moving(body, angles, rates)

    def potential(q: Array) -> Array:
        return G * 0.025 * jnp.sum(q[:, 2])

    hinges = {i: (0.0, 0.0, 0.0) for i in range(3)}
    return System(_rigid(hinges), np.full(4, 0.025), ALL, potential, starts, 0.02)


def rotor() -> System:
    """A free rigid body of mass 3 with second moments of mass (1, 2, 3)."""
    points = TETRAHEDRON * np.sqrt(np.array([1, 2, 3]) / 3)

    def body(state: Array) -> Array:
        return state[None, :3] + jnp.asarray(points) @ frame(state[3:]).T

    def starts(rng: np.random.Generator, count: int) -> tuple[Vectors, Vectors]:
        return moving(body, *rng.normal(size=(2, count, 6)))

    return System(_rigid({}), np.full(4, 0.75), ALL, lambda q: jnp.zeros((), q.dtype), starts, 0.05)


ALL = [(i, j) for j in range(4) for i in range(j)]
"""All pairs of four bodies."""


def _rigid(hinges: dict[int, tuple[float, ...]]) -> hgn.Rods:
    return hgn.Rods(ALL, hinged=hinges or None)


def frame(angles: Array) -> Array:
    """Rotation by the Euler angles z, x, z."""
    (a, b, c), zero, one = angles, jnp.zeros(()), jnp.ones(())

    def about_z(x: Array) -> Array:
        return jnp.array(
            [[jnp.cos(x), -jnp.sin(x), zero], [jnp.sin(x), jnp.cos(x), zero], [zero, zero, one]]
        )

    tilted = jnp.array(
        [[one, zero, zero], [zero, jnp.cos(b), -jnp.sin(b)], [zero, jnp.sin(b), jnp.cos(b)]]
    )
    return about_z(a) @ tilted @ about_z(c)


def moving(
    place: Callable[[Array], Array], coordinates: np.ndarray, rates: np.ndarray
) -> tuple[Vectors, Vectors]:
    """Positions of all bodies, and their velocities by the chain rule."""

    def one(x: Array, v: Array) -> tuple[Array, Array]:
        return jax.jvp(place, (x,), (v,))

    q, v = jax.vmap(one)(jnp.asarray(coordinates), jnp.asarray(rates))
    return np.asarray(q), np.asarray(v)
