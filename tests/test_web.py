"""Motion in JavaScript, against the rollouts of the same models."""

import dataclasses
import json
import re
import shutil
import subprocess

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.features.compressed import CompressedPairFeatures
from hgn_jax.features.curves import VARIABLES, Chebyshev, Spline

NODE = shutil.which("node")
BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
STEPS = 1000
MOVE = """
const motion = new Motion(model, start), result = {position: [], momentum: [], energy: []};
for (let k = 0; k <= 1000; k++) {
  if (k % 100 === 0) {
    result.position.push(Array.from(motion.position));
    result.momentum.push(Array.from(motion.momentum));
    result.energy.push(motion.energy());
  }
  motion.step(start.dt);
}
"""
"""States every hundred steps."""


def run(folder, program):
    """The `result` of `program`, which has `Motion`, `model` and `start`."""
    files = {
        name: (folder / name).read_text() for name in ("motion.js", "model.json", "start.json")
    }
    data = f"const model = {files['model.json']}, start = {files['start.json']};"
    script = "\n".join([files["motion.js"], data, program])
    if NODE:
        file = folder / "program.js"
        file.write_text(f"{script}\nconsole.log(JSON.stringify(result));")
        return json.loads(output([NODE, str(file)]))
    if BROWSER:
        show = "document.body.textContent = JSON.stringify(result);"
        file = folder / "program.html"
        file.write_text(f'<body></body><script>"use strict";{script}\n{show}</script>')
        return json.loads(re.search("<body>(.*)</body>", opened(file), re.DOTALL)[1])
    pytest.skip("neither node nor a Chromium to run JavaScript")


def output(command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def opened(file, *options):
    """The page's document after its scripts have run."""
    return output([BROWSER, "--headless", "--no-sandbox", "--disable-gpu", *options,
                   "--dump-dom", file.as_uri()])  # fmt: skip


def agree(folder, model, graph, dt, **rollout):
    """True motion and that of the page over a thousand steps."""
    hgn.export.web(folder, model, graph, dt=dt)
    found = run(folder, MOVE)
    path = hgn.rollout(model, graph, hgn.Every(100, 10), dt=dt, **rollout)
    assert np.ptp(path.position, axis=0).max() > 0.1  # bodies moved
    for name in ("position", "momentum", "energy"):
        true = np.asarray(getattr(path, name))
        values = np.reshape(found[name], true.shape)
        np.testing.assert_allclose(values, true, rtol=0, atol=1e-12 * np.abs(true).max())


@pytest.fixture(scope="module")
def springs():
    """Eight bodies of two masses, springs of two types and couplings, one body fixed."""
    graph = hgn.graphs.lattice((4, 2), mass=jnp.linspace(1, 2, 8))
    kinds = (graph.senders + graph.receivers) % 2
    graph = graph._replace(edges={"type": kinds, "coupling": 1.0 + kinds.astype(float)})
    truth = hgn.systems.mass_spring(stiffness=jnp.array([1.0, 2.0]), rest_length=1.0)
    data = hgn.systems.simulate(truth, graph, key=jr.key(0), trajectories=40)
    return data


@pytest.fixture(scope="module")
def spring_model(springs):
    terms = [
        hgn.Pair(16), hgn.Powers((1, 2)), hgn.UniformField(), hgn.HarmonicTrap(), hgn.Kinetic(8)
    ]  # fmt: skip
    return hgn.fit(springs, key=0, terms=terms).model.compress()


def test_springs_in_fields_move_as_in_a_rollout(springs, spring_model, tmp_path):
    graph = hgn.graphs.frame(springs, 0)
    fixed = jnp.arange(8) == 3
    momentum = jnp.where(fixed[:, None], 0, graph.nodes["momentum"])
    graph = graph._replace(nodes=graph.nodes | {"fixed": fixed, "momentum": momentum})
    agree(tmp_path, spring_model, graph, 0.01)


CUTOFF, SIDE = 2.2, 5.2
SPECIES = np.array([8, 14] * 10)


def oxide(seed, cell, spread):
    rng = np.random.default_rng(seed)
    sites = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), -1).reshape(-1, 3)[:20]
    return ((sites + 0.5) / 3) @ cell + rng.uniform(-spread, spread, (20, 3))


def frames(cell, count, spread=0.1):
    return hgn.graphs.from_frames(
        [oxide(seed, cell, spread) for seed in range(count)],
        cutoff=CUTOFF,
        cell=[cell] * count,
        nodes={"species": np.tile(SPECIES, count), "mass": np.tile([1.0, 2.0], 10 * count)},
    )


@pytest.fixture(scope="module")
def atoms_model():
    data = frames(SIDE * np.eye(3), 6, spread=0.2)
    truth = hgn.systems.lennard_jones(sigma=1.3, cutoff=CUTOFF)
    data = data._replace(nodes=data.nodes | {"force": -truth.gradient(data).position})
    terms = [hgn.Pair(16, cutoff=CUTOFF)]
    return hgn.fit(data, key=0, terms=terms, observations=[hgn.Forces()]).model.compress()


@pytest.mark.parametrize("skew", [0.0, 0.8])
def test_atoms_in_a_periodic_cell_move_as_in_a_rollout(atoms_model, skew, tmp_path):
    cell = SIDE * np.eye(3)
    cell[1, 0] = skew
    graph = frames(cell, 1)
    graph = graph._replace(nodes=graph.nodes | {"momentum": jnp.zeros((20, 3))})
    # The list holds every pair, as the page does: the graph's own edges are not used.
    graph = graph._replace(edges={"shift": graph.edges["shift"]})
    agree(tmp_path, atoms_model, graph, 0.002, neighbours=hgn.Neighbours(CUTOFF, 0.2))


def test_planets_move_as_in_a_rollout(tmp_path):
    """Masses as couplings, and power laws where the orbits leave the trained range."""
    position = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    graph = hgn.graphs.fully_connected(3, 2, position=position, mass=jnp.array([1.0, 0.1, 0.01]))
    truth = hgn.systems.gravity()
    moved = np.asarray(position) + np.random.default_rng(0).uniform(-0.3, 0.3, (40, 3, 2))
    data = hgn.graphs.snapshots(truth.couple(graph), {"position": jnp.asarray(moved)}, {})
    data = data._replace(nodes=data.nodes | {"force": -truth.gradient(data).position})
    fit = hgn.fit(data, key=0, terms=[hgn.Pair(24)], observations=[hgn.Forces()])
    with pytest.warns(UserWarning, match="pair forces follow"):
        model = fit.model.compress(smallest=True).tails("power", below=0.9, above=2.4)
    momentum = jnp.array([[0.0, -0.06], [0.0, 0.08], [-0.007, 0.0]])
    start = truth.couple(graph)
    start = start._replace(nodes=start.nodes | {"momentum": momentum})
    agree(tmp_path, model, start, 0.01)


CURVES = [
    (kind, variable, end)
    for kind in (Chebyshev, Spline)
    for variable in VARIABLES
    for end in (None, 4.5)
]


def test_every_kind_of_curve_has_its_value_and_slope(springs, spring_model, tmp_path):
    rng = np.random.default_rng(0)
    s = np.linspace(0.3, 6.0, 50)
    found = []
    curves = [
        kind(**values, span=jnp.array([0.5, 4.0]), variable=variable, end=end)
        for kind, variable, end in CURVES
        for values in [
            {
                "coefficients": jnp.asarray(rng.normal(size=9)),
                "derivative": jnp.asarray(rng.normal(size=8)),
            }
            if kind is Chebyshev
            else {"pieces": jnp.asarray(rng.normal(size=(16, 4)))}
        ]
    ]
    term = CompressedPairFeatures(
        curves=tuple(curves),
        ranges=jnp.ones((len(curves), 2)),
        error=jnp.zeros(len(curves)),
        cutoff=None,
    )
    basis = dataclasses.replace(spring_model.basis, terms=(term,))
    theta = jnp.linspace(1, 2, len(curves))
    model = dataclasses.replace(
        spring_model, basis=basis, theta=(theta,), constants=jnp.zeros(len(curves))
    )
    hgn.export.web(tmp_path, model, hgn.graphs.frame(springs, 0), dt=0.1)
    found = run(
        tmp_path,
        f"""
    const s = {s.tolist()}, [curves] = new Motion(model, start).curves;
    const result = curves.map((f) => [s.map((x) => f.value(x)), s.map((x) => f.slope(x))]);
    """,
    )
    for curve, factor, (values, slopes) in zip(curves, theta, found, strict=True):
        np.testing.assert_allclose(values, factor * curve(jnp.asarray(s)), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(
            slopes, factor * curve.slope(jnp.asarray(s)), rtol=1e-11, atol=1e-12
        )


def test_bodies_are_placed_at_rest_on_the_clock_of_the_start(springs, spring_model, tmp_path):
    graph = hgn.graphs.frame(springs, 0)
    graph = graph._replace(globals={"time": jnp.array([2.0])})
    hgn.export.web(tmp_path, spring_model, graph, dt=0.1)
    program = """
    const motion = new Motion(model, start);
    motion.step(start.dt);
    motion.force();
    motion.place(3, [0.5, -0.25]);
    const result = {position: Array.from(motion.position), momentum: Array.from(motion.momentum)};
    result.time = motion.time;
    motion.kick(1);
    result.kicked = Array.from(motion.momentum);
    """
    found = run(tmp_path, program)
    path = hgn.rollout(spring_model, graph, [2.0, 2.1], dt=0.1)
    position = path.position[1].at[3].set(jnp.array([0.5, -0.25]))
    momentum = path.momentum[1].at[3].set(0)
    moved = graph._replace(nodes=graph.nodes | {"position": position, "momentum": momentum})
    assert np.isclose(found["time"], 2.1, rtol=1e-12)
    kicked = momentum + spring_model.vector_field(moved)[1]
    for name, true in (("position", position), ("momentum", momentum), ("kicked", kicked)):
        np.testing.assert_allclose(found[name], true.ravel(), rtol=0, atol=1e-11, err_msg=name)


def test_pairs_of_three_species_and_tails_of_a_force_like_1_over_r(springs, spring_model, tmp_path):
    hgn.export.web(tmp_path, spring_model, hgn.graphs.frame(springs, 0), dt=0.1)
    program = """
    const three = new Motion({...model, kinds: 3}, {...start, kind: [0, 1, 2]});
    const json = model.pairs[0][0], [low, high] = json.span, tails = [1.2 * low, 0.9 * high];
    const exponents = [-1, -1], starts = tails.map(Math.sqrt);
    const tailed = new Tailed({...json, tails: {starts, exponents}}), inner = new Curve(json);
    const result = {
      types: [0, 1, 2].map((i) => [0, 1, 2].map((j) => three.type(i, j))),
      tails: tails.map((s) => [s, inner.value(s), inner.slope(s)]),
      beyond: [tailed.value(low / 2), tailed.value(2 * high)],
    };
    """
    found = run(tmp_path, program)
    assert found["types"] == [[0, 1, 2], [1, 3, 4], [2, 4, 5]]
    low, high = np.asarray(spring_model.terms[0].curves[0].span)
    for s, value, (at, inner, slope) in zip((low / 2, 2 * high), found["beyond"], found["tails"]):
        # phi' = phi'(a) a / r with phi'(a) = 2 a slope: a logarithm.
        assert np.isclose(value, inner + slope * at * np.log(s / at), rtol=1e-12)


def test_fields_of_several_terms_add_up(springs, spring_model, tmp_path):
    """Each field twice, with the pairs once."""
    terms, theta = spring_model.terms, spring_model.theta
    basis = dataclasses.replace(spring_model.basis, terms=(*terms, *terms[2:4]))
    twice = dataclasses.replace(spring_model, basis=basis, theta=(*theta, *theta[2:4]))
    start = hgn.graphs.frame(springs, 0)
    hgn.export.web(tmp_path, twice, start, dt=0.1)
    field = json.loads((tmp_path / "model.json").read_text())["field"]
    np.testing.assert_allclose(field["uniform"], 2 * theta[2])
    np.testing.assert_allclose([field["stiffness"], *field["pull"]], 2 * theta[3])


def test_what_curves_cannot_express_is_refused_by_name(springs, spring_model, tmp_path):
    terms = [hgn.Powers((1, 2)), hgn.External(2), hgn.Friction()]
    fit = hgn.fit(springs, key=0, terms=terms)
    with pytest.raises(ValueError, match="the model also has external, friction: export"):
        hgn.export.web(tmp_path, fit.model, hgn.graphs.frame(springs, 0), dt=0.01)
    for change, words in (
        ({"dynamics": hgn.Overdamped()}, "the dynamics Overdamped"),
        ({"known": hgn.systems.mass_spring()}, "the known System"),
    ):
        basis = dataclasses.replace(spring_model.basis, **change)
        model = dataclasses.replace(spring_model, basis=basis)
        with pytest.raises(ValueError, match=f"the model also has {words}: export"):
            hgn.export.web(tmp_path, model, hgn.graphs.frame(springs, 0), dt=0.01)
    assert not list(tmp_path.iterdir())


def test_starts_that_no_page_shows_are_refused(springs, spring_model, atoms_model, tmp_path):
    graph = hgn.graphs.frame(springs, 0)
    path = hgn.rollout(spring_model, graph, [0.0, 0.1], dt=0.1)
    fewer = dataclasses.replace(path, position=path.position[:, :7], momentum=path.momentum[:, :7])
    for message, start, options in (
        (r"a page shows one graph .*, got 40 graphs in 2", springs, {}),
        (r"names must have one entry for each of 8 bodies, got 2", graph, {"names": ("a", "b")}),
        (r"dt must be one finite number, positive, got 0.0", graph, {"dt": 0.0}),
        (r"reference must hold positions \[2 8 2\], got \[2 7 2\]", graph,
         {"reference": fewer}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            hgn.export.web(tmp_path, spring_model, start, **{"dt": 0.1} | options)
    with pytest.raises(ValueError, match=r"cell height 4, .* less than twice the cutoff 2.2"):
        small = frames(4 * np.eye(3), 1)
        small = small._replace(nodes=small.nodes | {"momentum": jnp.zeros((20, 3))})
        hgn.export.web(tmp_path, atoms_model, small, dt=0.1)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def page(springs, spring_model, tmp_path_factory):
    folder, graph = tmp_path_factory.mktemp("page"), hgn.graphs.frame(springs, 0)
    path = hgn.rollout(spring_model, graph, hgn.Every(10, 10), dt=0.01)
    names = [f"<{i}>" for i in range(8)]
    hgn.export.web(folder, spring_model, graph, dt=0.01, names=names, reference=path,
                   title="a </script> & @MODEL@")  # fmt: skip
    return folder / "index.html"


def test_the_reference_is_drawn_to_five_digits(page, springs, spring_model):
    scene = json.loads(re.search(r"\{\"names\":.*\}", page.read_text(encoding="utf-8"))[0])
    graph = hgn.graphs.frame(springs, 0)
    path = hgn.rollout(spring_model, graph, hgn.Every(10, 10), dt=0.01)
    assert 1 < np.abs(path.position).max() < 10
    error = np.abs(np.asarray(scene["reference"]["position"]) - path.position).max()
    assert 1e-5 < error < 5.001e-5


def test_the_page_loads_nothing(page):
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert text.count("a &lt;/script&gt; &amp; @MODEL@") == 2
    assert not re.search(r'(src|href)\s*=\s*["\']|fetch\(|XMLHttpRequest|\bimport\(', text)
    assert text.count("<script") == text.count("</script>") == 5
    assert len((page.parent / "motion.js").read_bytes()) < 12_000


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to open the page in")
def test_bodies_move_on_the_page(page):
    text = opened(page, "--virtual-time-budget=5000")
    time = float(re.search(r'id="time">time ([-.\de]+)<', text)[1])
    energy, change = map(
        float, re.search(r'id="energy">energy (\S+), change (\S+)<', text).groups()
    )
    assert time > 0 and abs(change) < 1e-3 * abs(energy)
