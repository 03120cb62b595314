"""Shared by the tests of streams: batches, ways to break them, comparisons of fits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.fitting import checkpoint
from hgn_jax.graphs.geometry import bodies
from hgn_jax.io import array_file

KEY = jr.key(3)
SPECS = (hgn.Kinetic(4), hgn.Pair(16))
SIZE, PIECES = 5, 12
ROWS_OF_A_PIECE = SIZE * 8 * 3 * 2


def stream(batches, **options):
    return hgn.fit_stream(batches, **{"key": KEY, "terms": SPECS, **options})


def until(batches, number, error=None):
    """The batches before that number, then an error raised by the user's iterator."""
    for i, batch in enumerate(batches):
        if i == number:
            raise error or KeyError("mine")
        yield batch


def interrupted(batches, number, path, **options):
    with pytest.raises(KeyError, match="mine"):
        stream(until(batches, number), checkpoint=str(path), **options)


def held(path):
    """The number of batches in the checkpoint."""
    return array_file.read(path, checkpoint.FORMAT)[0]["batches"]


def with_nodes(batch, **arrays):
    return batch._replace(nodes=batch.nodes | arrays)


def broken(batch, frame, node, value=np.nan):
    velocity = np.array(batch.nodes["velocity"])
    velocity[8 * frame + node, 1] = value
    return with_nodes(batch, velocity=jnp.asarray(velocity))


def replaced(items, number, item):
    return [*items[:number], item, *items[number + 1 :]]


def same_bits(a, b):
    leaves = [jax.tree.leaves(eqx.filter(x, eqx.is_array)) for x in (a, b)]
    arrays = [[np.asarray(leaf) for leaf in mine] for mine in leaves]
    return [(a.shape, a.dtype, a.tobytes()) for a in arrays[0]] == [
        (a.shape, a.dtype, a.tobytes()) for a in arrays[1]
    ]


evaluated = eqx.filter_jit(lambda model, graphs: (model(graphs), *model.vector_field(graphs)))


def assert_same_model(a, b, graphs, tolerance=1e-10):
    """Asserts equal energies, velocities and forces."""
    for x, y in zip(evaluated(a, graphs), evaluated(b, graphs), strict=True):
        assert np.isfinite(y).all() and y.any()
        assert np.linalg.norm(x - y) <= tolerance * np.linalg.norm(y)


def assert_one_fit(a, b, graphs):
    """Asserts that the same rows were solved, in any order."""
    assert_same_model(a.model, b.model, graphs)
    assert a.rows == b.rows
    assert a.constant_known == b.constant_known
    # The remainder of the pair energies.
    np.testing.assert_allclose(a.model.constants, b.model.constants, rtol=1e-8)
    for name, range_ in b.trained_range.items():
        np.testing.assert_array_equal(a.trained_range[name], range_)


def narrow(piece):
    return jax.tree.map(lambda a: a.astype("float32") if a.dtype == "float64" else a, piece)


def assert_another(path, batches, what, **options):
    """Asserts that the checkpoint of a run with another `what` is refused and not changed."""
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"another run \(.*{what}") as caught:
        stream(batches, checkpoint=str(path), **options)
    assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == before


def real_graphs(batch):
    return int((np.asarray(bodies(batch)) > 0).sum())
