"""Errors name bad batches, and batches that differ from the first."""

import jax
import jax.numpy as jnp
import pytest
from streams import PIECES, broken, held, narrow, replaced, same_bits, stream, with_nodes


def test_a_bad_batch_is_named_and_after_mending_the_stream_goes_on(
    pieces, straight, path, lazy, extended
):
    bad = replaced(pieces, 7, broken(pieces[7], frame=3, node=2))
    words = r"batch 7: nodes\['velocity'\] is NaN or Inf in frame 3, node 2 "
    with pytest.raises(ValueError, match=words):
        stream(bad, checkpoint=str(path))
    assert held(path) == 7 and len(extended) == 7
    mended = stream(pieces, checkpoint=str(path))
    assert same_bits(mended, straight)
    assert len(extended) == PIECES
    assert held(path) == PIECES


def test_a_bad_first_batch_is_named(pieces, path):
    with pytest.raises(ValueError, match=r"batch 0: .* frame 1, node 0 "):
        stream([broken(pieces[0], 1, 0), *pieces[1:]], checkpoint=str(path))
    with pytest.raises(ValueError, match=r"sample_from: .* frame 1, node 0 "):
        stream(pieces, sample_from=broken(pieces[0], 1, 0))
    assert not path.exists()


def in_the_plane(piece):
    return with_nodes(piece, **{k: v[:, :2] for k, v in piece.nodes.items() if v.ndim == 2})


def without_energy(piece):
    return piece._replace(globals={k: v for k, v in piece.globals.items() if k != "energy"})


def with_weight(piece):
    return with_nodes(piece, weight=jnp.ones_like(piece.nodes["mass"]))


def heavy_in_32_bit(piece):
    return with_nodes(piece, mass=piece.nodes["mass"].astype("float32"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_energy, r"globals hold \[\], those of the first data \['energy'\]"),
        (with_weight, r"nodes hold .*'weight'\], those of the first data \["),
        (in_the_plane, r"nodes\['\w+'\] is float64 \[_, \(2,\)\], .* float64 \[_, \(3,\)\]"),
        (narrow, r"nodes\['\w+'\] is float32 .* float64"),
        (heavy_in_32_bit, r"nodes\['mass'\] is float32 .* float64"),
    ],
    ids=["without energy", "with weight", "in the plane", "float32", "mass in float32"],
)
def test_batches_unlike_the_first_are_named_with_the_array(pieces, path, change, words):
    odd = jax.tree.map(jnp.asarray, change(pieces[2]))
    with pytest.raises(ValueError, match=f"batch 2: {words}"):
        stream(replaced(pieces, 2, odd), checkpoint=str(path))
    assert held(path) == 2


def test_edge_types_that_the_first_batch_did_not_have_are_refused(pieces):
    def typed(piece, kind):
        return piece._replace(edges={"type": jnp.full(piece.senders.shape, kind, jnp.int32)})

    with pytest.raises(ValueError, match=r"batch 0: .* sampled for 1 edge types, .* edge type 1"):
        stream([typed(pieces[1], 1)], sample_from=typed(pieces[0], 0))


def test_time_and_trajectory_may_be_missing(pieces, straight):
    bare = pieces[4]._replace(globals={"energy": pieces[4].globals["energy"]})
    assert set(pieces[4].globals) == {"energy", "time", "trajectory"}
    assert same_bits(stream(replaced(pieces, 4, bare)), straight)
