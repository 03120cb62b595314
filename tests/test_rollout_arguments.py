"""Rollouts refuse arguments that would silently give wrong results."""

import inspect

import diffrax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn

SPRING = hgn.systems.mass_spring("spring", rest_length=1.0)
ATOMS = hgn.systems.lennard_jones(cutoff=2.0)


@pytest.fixture(scope="module")
def start():
    graph = hgn.graphs.chain(3, dimension=2)
    return graph._replace(nodes=graph.nodes | {"momentum": 0.1 * jr.normal(jr.key(0), (3, 2))})


# Without jaxtyping's checks, which users do not have.
rollout = inspect.unwrap(hgn.rollout)


def roll(start, *, model=SPRING, times=(0.0, 0.1), dt=0.05, **options):
    return rollout(model, start, times, dt=dt, **options)


@pytest.mark.parametrize(
    ("times", "dt"),
    [([0.0, 5.0], 1e-9), ([0.0, 3e9], 1.0), ([0.0, 1.0], 1e-300), (hgn.Every(2**31, 1), 0.1)],
)
def test_more_steps_than_32_bits_count_are_refused(start, times, dt):
    """This once took no steps, and returned the start as the end."""
    with pytest.raises(ValueError, match="steps between two outputs, more than 2147483647"):
        roll(start, times=times, dt=dt)


@pytest.mark.parametrize("dt", [[0.01], np.array([0.01]), None, 1j, "0.01", 0.0, -1.0, np.nan])
def test_a_step_must_be_one_positive_number(start, dt):
    with pytest.raises(ValueError, match="dt must be one positive, finite number"):
        roll(start, dt=dt)


@pytest.mark.parametrize("model", [None, SPRING.vector_field, "springs", hgn.systems.System])
def test_a_model_must_be_a_model(start, model):
    with pytest.raises(ValueError, match=r"model must be fit\.model"):
        roll(start, model=model)


@pytest.mark.parametrize("integrator", [None, "verlet", hgn.StormerVerlet])
def test_an_integrator_must_be_an_instance(start, integrator):
    with pytest.raises(ValueError, match=r"integrator must be hgn\.StormerVerlet\(\)"):
        roll(start, integrator=integrator)


def test_diffraxs_implicit_solvers_are_refused_with_a_remedy(start):
    with pytest.raises(ValueError, match=r"Kvaerno5.*GaussLegendre4"):
        roll(start, integrator=diffrax.Kvaerno5())


@pytest.mark.parametrize(
    ("observables", "words"),
    [
        (hgn.Temperature(), "must be a list"),
        ([hgn.Temperature], "must be instances"),
        ([hgn.Temperature(), hgn.Temperature(2)], "must have different names"),
    ],
)
def test_observables_are_a_list_of_instances(start, observables, words):
    with pytest.raises(ValueError, match=words):
        roll(start, observables=observables)


def test_complex_times_are_refused(start):
    with pytest.raises(ValueError, match="times must be real"):
        roll(start, times=np.array([0, 0.1j]))


@pytest.mark.parametrize("start", [None, [1.0]])
def test_a_start_must_be_a_graph(start):
    with pytest.raises(ValueError, match="start must be a jraph GraphsTuple"):
        roll(start)


def test_a_whole_data_set_is_asked_about(springs, data):
    frames = hgn.graphs.take(data, np.arange(200) < 6)
    numbered = frames._replace(globals=frames.globals | {"trajectory": jnp.arange(6) // 3})
    words = r"data set of 6 frames of 2 trajectories\. Take one of them, hgn\.graphs\.frame"
    with pytest.raises(ValueError, match=words):
        hgn.rollout(springs, numbered, [0.0, 0.1], dt=0.1)
    for start in (frames, numbered._replace(globals={}), hgn.graphs.frame(numbered, 4)):
        assert hgn.rollout(springs, start, [0.0, 0.1], dt=0.1).finite


def test_a_start_without_momenta_is_told_what_the_model_needs(start):
    nodes = {k: v for k, v in start.nodes.items() if k != "momentum"}
    with pytest.raises(ValueError, match=r'System needs nodes\["momentum"\]'):
        roll(start._replace(nodes=nodes))


def test_the_end_holds_neither_rates_nor_energies_of_the_start():
    """A fit to `path.end` would learn the forces of another state."""
    data = hgn.systems.simulate(
        SPRING, hgn.graphs.chain(3, dimension=2), key=jr.key(1), trajectories=1
    )
    assert {"velocity", "force"} <= data.nodes.keys() and "energy" in data.globals
    end = roll(data, times=(2.0, 2.5)).end
    assert end.nodes.keys() == {"position", "momentum", "mass"}
    assert end.globals.keys() == {"time", "trajectory"}
    np.testing.assert_allclose(end.globals["time"], 2.5, rtol=1e-14)


# Edges that stay while bodies move


@pytest.fixture(scope="module")
def unjoined():
    """Two atoms that are not joined at the start and fly at each other; a third one is near."""
    position = np.array([[0.0, 0.0], [4.0, 0.3], [0.0, 1.2]])
    graph = hgn.graphs.radius(position, 2.0)
    momentum = jnp.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    return graph._replace(nodes=graph.nodes | {"momentum": momentum})


def test_a_model_with_a_cutoff_does_not_move_on_edges_that_stay(unjoined):
    with pytest.raises(ValueError, match=r"edges stay.*neighbours=hgn\.Neighbours\(2, skin"):
        roll(unjoined, model=ATOMS)
    free = roll(unjoined, model=ATOMS, times=(0.0, 3.0), dt=0.01, neighbours="fixed")
    joined = roll(
        unjoined, model=ATOMS, times=(0.0, 3.0), dt=0.01, neighbours=hgn.Neighbours(2.0, 0.3)
    )
    assert np.abs(free.position[-1] - joined.position[-1]).max() > 0.5
    everyone = hgn.graphs.fully_connected(3, 2, position=unjoined.nodes["position"])
    everyone = everyone._replace(nodes=unjoined.nodes)
    whole = roll(everyone, model=ATOMS, times=(0.0, 3.0), dt=0.01)
    np.testing.assert_allclose(whole.position, joined.position, atol=1e-10)


def test_a_step_beyond_the_skin_names_the_skin(unjoined):
    with pytest.raises(RuntimeError, match=r"more than half of the neighbours' skin 0\.01"):
        roll(unjoined, model=ATOMS, times=(0.0, 1.0), dt=0.05, neighbours=hgn.Neighbours(2.0, 0.01))


def test_other_neighbours_are_refused(unjoined):
    with pytest.raises(ValueError, match=r"neighbours must be hgn\.Neighbours"):
        roll(unjoined, model=ATOMS, neighbours=2.5)


# Ensembles


def test_an_ensemble_of_one_system_says_what_an_ensemble_is(start):
    with pytest.raises(ValueError, match="an ensemble is a list of models"):
        hgn.rollout_ensemble(SPRING, start, (0.0, 0.1), dt=0.05)
