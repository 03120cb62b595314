"""The kernel of a GPU for pair forces, interpreted, is the sum by XLA, and compiles for a GPU."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.features import compressed, compression
from hgn_jax.features.curves import VARIABLES
from hgn_jax.graphs import fused_pairs
from hgn_jax.graphs.neighbour_list import find
from hgn_jax.graphs.pair_sums import pair_gradient

CUTOFF = 2.0


def curve(build, variable, end=CUTOFF**2):
    """(4 - s)^3 of squares s, to 1e-6."""
    target = compression.Target(
        lambda s: (4 - s) ** 3,
        lambda s: -3 * (4 - s) ** 2,
        trained=(0.5, 1.9), span=(0.4, 2.0), end=end,
    )  # fmt: skip
    return build(target, variable, 1e-6, target.check_points())


CURVES = {
    f"{build.__name__[1:]} in {variable}": (build, variable)
    for build in (compression._polynomial, compression._spline)
    for variable in VARIABLES
}


def bodies(d, cell, count=77, seed=0):
    """Bodies at least 0.3 apart, some across the boundary, with their neighbours in slots."""
    rng = np.random.default_rng(seed)
    side = 4.4
    ticks = np.stack(np.meshgrid(*[np.arange(9) * side / 9] * d), axis=-1).reshape(-1, d)
    position = rng.permutation(ticks)[:count] + rng.uniform(-0.09, 0.09, (min(count, 9**d), d))
    box = np.diag(side + 0.1 * np.arange(d)) if cell else None
    graph = hgn.graphs.from_pairs(position, [], momentum=0 * position)
    if cell:
        graph = graph._replace(globals={"cell": jnp.asarray(box)[None]})
    spec = hgn.Neighbours(CUTOFF, 0.15).allocate(graph)
    prepared = spec.prepare(graph)
    return find(spec, prepared).joined(prepared)


def by_xla(graphs, of, cutoff=CUTOFF):
    def slope(kinds, square):
        inside = (kinds >= 0) & ~(square >= cutoff**2)
        return jnp.where(inside, of.slope(square), 0)

    return pair_gradient(graphs, slope)


def interpreted(graphs, of):
    return fused_pairs.fused_gradient(graphs, of, interpret=True)


@pytest.mark.parametrize("many", [50, 2**16], ids=["many bodies", "few bodies"])
@pytest.mark.parametrize("kind", CURVES)
def test_every_curve_gives_the_sum_by_xla(kind, many, monkeypatch):
    monkeypatch.setattr(fused_pairs, "MANY", many)
    graphs, of = bodies(3, cell=True), curve(*CURVES[kind])
    assert graphs.slots % 32 and len(graphs.nodes["position"]) % 16  # no whole blocks
    expected = by_xla(graphs, of)
    assert jnp.sum(jnp.abs(expected) > 0.1) > 150
    # Up to 60 pairs, of curves of up to 66 terms, in another order: seven roundings were seen.
    rounding = jnp.finfo(expected.dtype).eps * jnp.max(jnp.abs(expected))
    np.testing.assert_allclose(interpreted(graphs, of), expected, rtol=0, atol=20 * rounding)


@pytest.mark.parametrize(("d", "cell"), [(3, False), (2, True), (2, False)])
def test_dimensions_and_cells(d, cell):
    graphs, of = bodies(d, cell), curve(*CURVES["spline in square"])
    np.testing.assert_allclose(interpreted(graphs, of), by_xla(graphs, of), rtol=0, atol=2e-13)


def test_float32_and_padding():
    graphs, of = jax.tree.map(
        lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a,
        (bodies(3, cell=True), curve(*CURVES["polynomial in root"])),
    )
    force = interpreted(graphs, of)
    assert force.dtype == jnp.float32 and not force[-1].any()
    np.testing.assert_allclose(force, by_xla(graphs, of), rtol=0, atol=1e-4)


def test_a_last_slot_that_all_bodies_use():
    graphs, of = bodies(3, cell=True), curve(*CURVES["spline in square"])
    n = len(graphs.nodes["position"])
    senders = graphs.senders.reshape(-1, n)
    used = int(np.max(np.sum(np.asarray(senders) < n - 1, axis=0)))
    assert used % 32  # the last block is not whole, and would repeat the last slot
    full = graphs._replace(
        senders=senders[:used][::-1].ravel(),
        receivers=jnp.tile(jnp.arange(n, dtype=jnp.int32), used),
    )
    np.testing.assert_allclose(interpreted(full, of), by_xla(graphs, of), rtol=0, atol=2e-13)


def test_many_systems_side_by_side():
    of = curve(*CURVES["spline in square"])
    systems = [bodies(3, cell=True, seed=k) for k in (0, 1)]
    slots = max(s.slots for s in systems)
    systems = [s for s in systems if s.slots == slots] * 2
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *systems[:2])
    together = jax.vmap(lambda g: interpreted(g, of))(stacked)
    for force, system in zip(together, systems):
        np.testing.assert_allclose(force, by_xla(system, of), rtol=0, atol=2e-13)


def test_a_cpu_computes_slopes_once():
    """Not in the loop of each component of the force."""
    graphs = bodies(3, cell=True)

    @jax.jit
    def force(graphs):
        return pair_gradient(graphs, lambda kinds, square: jnp.floor(3 * square))

    assert force.lower(graphs).compile().as_text().count(" floor(") == 1


def test_a_body_without_a_number_shows():
    graphs, of = bodies(3, cell=True), curve(*CURVES["spline in square"])
    lost = graphs.nodes["position"].at[5, 1].set(jnp.nan)
    graphs = graphs._replace(nodes=graphs.nodes | {"position": lost})
    np.testing.assert_array_equal(np.isnan(interpreted(graphs, of)), np.isnan(by_xla(graphs, of)))


@pytest.fixture(scope="module")
def crystal():
    """Compressed model of a Lennard-Jones crystal, and its atoms in motion."""
    system = hgn.systems.lennard_jones(cutoff=CUTOFF)
    sites = hgn.graphs.lattice((4, 4, 4), spacing=1.12)
    rng = np.random.default_rng(0)
    box = 4 * 1.12 * jnp.eye(3)[None]

    def moved():
        position = np.asarray(sites.nodes["position"]) + rng.uniform(-0.1, 0.1, (64, 3))
        return position, rng.normal(size=(64, 3))

    graphs = []
    for _ in range(6):
        q, p = moved()
        graph = hgn.graphs.radius(q, CUTOFF, cell=box[0])
        graph = graph._replace(nodes=graph.nodes | {"momentum": jnp.asarray(p)})
        velocity, force = eqx.filter_jit(system.vector_field)(graph)
        rates = {"velocity": velocity, "force": force}
        graphs.append(graph._replace(nodes=graph.nodes | rates))
    data = hgn.graphs.batch(graphs)
    model = hgn.fit(data, key=0, terms=[hgn.Kinetic(8), hgn.Pair(48, cutoff=CUTOFF)]).model
    q, p = moved()
    start = hgn.graphs.from_pairs(q, [], momentum=p)._replace(globals={"cell": box})
    # Not the fastest, which may be a spline, whose force has kinks.
    return model.compress(tolerance=1e-3, smallest=True), start


def test_rollouts_and_their_derivatives_are_those_by_xla(crystal, monkeypatch):
    model, start = crystal
    neighbours = hgn.Neighbours(CUTOFF, 0.12).allocate(start)  # is refreshed within a step

    def end(push):
        momentum = start.nodes["momentum"] * (1 + push)
        graph = start._replace(nodes=start.nodes | {"momentum": momentum})
        path = hgn.rollout(
            model, graph, hgn.Every(25, 1), dt=0.005, integrator=hgn.Yoshida4(),
            neighbours=neighbours, throw=False,
        )  # fmt: skip
        return jnp.sum(jnp.sin(path.position[-1]))

    plain = jax.jit(jax.value_and_grad(end))(0.0)
    value, h = jax.jit(end), 1e-4
    difference = (8 * (value(h) - value(-h)) - value(2 * h) + value(-2 * h)) / (12 * h)
    np.testing.assert_allclose(plain[1], difference, rtol=1e-5)
    calls = []

    def interpreted_kernel(*arguments):
        calls.append(1)
        return fused_pairs.fused_gradient(*arguments, interpret=True)

    monkeypatch.setattr(fused_pairs, "has_kernels", lambda: True)
    monkeypatch.setattr(compressed, "fused_gradient", interpreted_kernel)
    monkeypatch.setattr(compressed, "platform_dependent", lambda cuda, default: cuda())
    jax.clear_caches()  # they hold the other way
    fused = jax.jit(jax.value_and_grad(end))(0.0)
    jax.clear_caches()
    assert calls and abs(plain[1]) > 0.1
    np.testing.assert_allclose(fused, plain, rtol=1e-11)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_programs_for_a_cpu_have_no_kernel(crystal, dtype, monkeypatch):
    monkeypatch.setattr(fused_pairs, "has_kernels", lambda: True)
    graphs, features = jax.tree.map(
        lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a,
        (bodies(3, cell=True), crystal[0].terms[1]),
    )

    def force(position):
        own = graphs._replace(nodes=graphs.nodes | {"position": position})
        return features.energy_gradient(own, jnp.ones(1, dtype)).position

    at = graphs.nodes["position"]
    program = jax.jit(lambda x: jax.jvp(force, (x,), (x,)))
    own, along = program(at)
    assert own.dtype == along.dtype == dtype
    plain = jax.jit(lambda: compressed._by_xla(graphs, features))()
    np.testing.assert_allclose(
        own, plain, rtol=0, atol=100 * jnp.finfo(dtype).eps * abs(plain).max()
    )
    for platform, expected in (("cpu", False), ("cuda", True)):
        text = jax.jit(force).trace(at).lower(lowering_platforms=(platform,)).as_text()
        assert ("pair_gradient" in text) is expected


def test_only_lists_whose_edges_are_alike_are_fused(monkeypatch):
    graphs = bodies(3, cell=True)
    assert not fused_pairs.can_fuse(graphs)  # these tests run on a CPU
    monkeypatch.setattr(fused_pairs, "has_kernels", lambda: True)
    assert fused_pairs.can_fuse(graphs) and fused_pairs.can_fuse(bodies(2, cell=False))
    assert not fused_pairs.can_fuse(hgn.graphs.lattice((3, 3, 3)))
    weighted = graphs._replace(edges={"coupling": jnp.ones(len(graphs.senders))})
    assert not fused_pairs.can_fuse(weighted)


@pytest.mark.parametrize("many", [50, 2**16], ids=["many bodies", "few bodies"])
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_compiles_for_a_gpu(many, dtype, monkeypatch):
    monkeypatch.setattr(fused_pairs, "MANY", many)
    graphs, of = jax.tree.map(
        lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a,
        (bodies(3, cell=True), curve(*CURVES["spline in square"])),
    )
    arrays, rest = eqx.partition((graphs, of), eqx.is_array)

    def force(arrays):
        graphs, of = eqx.combine(arrays, rest)
        return fused_pairs.fused_gradient(graphs, of)

    lowered = jax.jit(force).trace(arrays).lower(lowering_platforms=("cuda",))
    assert "pair_gradient" in lowered.as_text()
