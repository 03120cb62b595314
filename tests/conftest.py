import os
import secrets
from importlib.metadata import version
from pathlib import Path

AS_USERS = os.environ.get("HGN_TEST_AS_USERS") == "1"
"""True to run the programs that users run, with XLA and JAX in their default settings."""

# Many small functions are compiled once and run briefly: compile quickly.
if not AS_USERS:
    # Workers share the cores: a program is not compiled by several threads.
    flags = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    if version("jaxlib").startswith(("0.7.", "0.8.", "0.9.", "0.10.")):  # later ones refuse it
        flags += " --xla_cpu_use_fusion_emitters=false"
    os.environ.setdefault("XLA_FLAGS", flags)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # workers share the cores

import jax
import jax.numpy as jnp
import jax.random as jr
import jaxtyping
import numpy as np
import pytest

import hgn_jax as hgn

jax.config.update("jax_enable_x64", True)
if not AS_USERS:
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_collection_modifyitems(items):
    """Runs the longest files first, so that no worker is left with one of them at the end."""
    items.sort(key=lambda item: item.path.stem not in ("test_notebooks", "test_demo"))


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Drops compiled programs. Each takes memory maps, of which Linux allows 65,530 per process;
    compiling beyond that crashes."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_text().count("\n") > 45_000:
        jax.clear_caches()


@pytest.fixture
def no_type_checks(monkeypatch):
    """Disables jaxtyping's checks, which would raise before the library's own errors."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def getkey(request):
    """Function that returns a new key at every call. The seed is printed if the test fails."""
    seed = secrets.randbits(31)
    print(f"{request.node.name}: seed {seed}")
    keys = iter(jr.split(jr.key(seed), 100))
    return lambda: next(keys)


@pytest.fixture(scope="session")
def cube():
    """Lattice of 2 x 2 x 2 bodies."""
    return hgn.graphs.lattice((2, 2, 2))


@pytest.fixture(scope="session")
def springs():
    return hgn.systems.mass_spring("spring", rest_length=1.0)


@pytest.fixture(scope="session")
def data(cube, springs):
    """200 independent snapshots of eight bodies joined by springs."""
    return hgn.systems.simulate(springs, cube, key=jr.key(1), trajectories=200)


@pytest.fixture(scope="session")
def moving_lattice():
    """Lattice of 3 x 3 bodies of unequal masses, displaced and moving."""
    rng = np.random.default_rng(3)
    graph = hgn.graphs.lattice((3, 3), mass=jnp.linspace(1.0, 2.0, 9))
    nodes = graph.nodes | {
        "position": graph.nodes["position"] + rng.normal(0, 0.05, (9, 2)),
        "momentum": jnp.asarray(rng.normal(0, 0.3, (9, 2))),
    }
    return graph._replace(nodes=nodes)


@pytest.fixture(scope="session")
def with_noise():
    """Adds normal errors to velocities and forces, in units of their standard deviations."""

    def add(data, noise, seed=0):
        rng, nodes = np.random.default_rng(seed), dict(data.nodes)
        for name in ("velocity", "force"):
            x = np.asarray(nodes[name])
            nodes[name] = jnp.asarray(x + noise * x.std() * rng.normal(size=x.shape))
        return data._replace(nodes=nodes)

    return add


@pytest.fixture(scope="session")
def specs():
    """Small default features, which compile quickly; shared by many tests."""
    return (hgn.Kinetic(8), hgn.Pair(32))


@pytest.fixture(scope="session")
def fitted(data, specs):
    return hgn.fit(data, key=jr.key(2), terms=specs)
