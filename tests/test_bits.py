"""Sets of indices as bit masks in words."""

import jax.numpy as jnp
import numpy as np

from hgn_jax.graphs._bits import nth_set_bit, pack, unpack


def test_the_nth_bit_is_found():
    rng = np.random.default_rng(0)
    words = rng.integers(1, 2**32, 50, dtype=np.uint32)
    words = np.append(words, np.array([1, 2**31, 2**32 - 1], np.uint32))
    places = [[k for k in range(32) if int(word) >> k & 1] for word in words]
    counts = [len(some) for some in places]
    numbers = np.concatenate([np.arange(count) for count in counts]).astype(np.int32)
    found = nth_set_bit(jnp.asarray(np.repeat(words, counts)), jnp.asarray(numbers))
    assert found.tolist() == [k for some in places for k in some]


def test_places_of_marks_are_found():
    rng = np.random.default_rng(0)
    marked = rng.uniform(size=(20, 32 * 3)) < 0.1
    words = sum(marked[:, 3 * k : 3 * k + 3].astype(np.uint32) << np.uint32(k) for k in range(32))
    found, number = unpack(jnp.asarray(words), 12)
    assert number.tolist() == marked.sum(axis=1).tolist() and max(number) > 12
    for row, here, count in zip(marked, found, number):
        kept = min(int(count), 12)
        assert len(set(here[:kept].tolist())) == kept and row[here[:kept]].all()
        assert (here[kept:] == 96).all()


def test_packed_places_are_unpacked_each_once():
    members = np.random.default_rng(1).uniform(size=(9, 77)) < 0.2
    found, number = unpack(pack(jnp.asarray(members)), 77)
    for row, places, count in zip(members, found, number):
        assert sorted(places[:count].tolist()) == np.flatnonzero(row).tolist()
