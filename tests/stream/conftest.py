import pytest

pytest.register_assert_rewrite("streams")

import jax.random as jr
from streams import KEY, PIECES, SIZE, SPECS, stream

import hgn_jax as hgn
from hgn_jax.fitting import accumulate
from hgn_jax.io import checkpoint as checkpoint_module


@pytest.fixture(scope="session")
def data(cube, springs):
    return hgn.systems.simulate(springs, cube, key=jr.key(0), trajectories=SIZE * PIECES)


@pytest.fixture(scope="session")
def pieces(data):
    """All of one shape. Piece i holds trajectories 5i to 5i + 4."""
    return tuple(hgn.graphs.chunks(data, SIZE))


@pytest.fixture(scope="session")
def unseen(data):
    """States between those of the data."""
    return data._replace(
        nodes=data.nodes | {k: 0.9 * data.nodes[k] for k in ("position", "momentum")}
    )


@pytest.fixture(scope="session")
def straight(pieces):
    """The uninterrupted result."""
    return stream(pieces)


@pytest.fixture(scope="session")
def whole(data):
    """The fit to all data at once."""
    return hgn.fit(data, key=KEY, terms=SPECS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.ckpt"


@pytest.fixture
def eager(monkeypatch):
    """Checkpoints after every batch."""
    monkeypatch.setattr(checkpoint_module, "SHARE", 1e9)


@pytest.fixture
def lazy(monkeypatch):
    """Checkpoints at the start and the end alone, or when something fails."""
    monkeypatch.setattr(checkpoint_module, "SHARE", -1.0)


@pytest.fixture
def extended(monkeypatch):
    """The batches whose rows were evaluated."""
    batches, original = [], accumulate._extended

    def recorded(before, equations, batch):
        batches.append(batch)
        return original(before, equations, batch)

    monkeypatch.setattr(accumulate, "_extended", recorded)
    return batches
