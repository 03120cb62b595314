"""Batches that do not fit in memory, and memory that does not grow."""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streams import ROWS_OF_A_PIECE, SIZE, assert_one_fit, held, real_graphs, same_bits, stream

import hgn_jax as hgn
from hgn_jax.fitting import accumulate


@pytest.fixture
def memory(monkeypatch):
    """A device on which some batches do not fit."""
    original = accumulate._extended

    def limit(fits):
        def extended(before, equations, batch):
            if not fits(batch):
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")
            return original(before, equations, batch)

        monkeypatch.setattr(accumulate, "_extended", extended)

    return limit


@pytest.fixture(scope="module")
def three(pieces):
    return stream(pieces[:3])


def test_batches_that_do_not_fit_go_by_halves(pieces, three, unseen, memory):
    memory(lambda batch: real_graphs(batch) <= 3)
    with pytest.warns(UserWarning, match=r"batch \d: \d graphs do not fit into memory") as caught:
        halved = stream(pieces[:3])
    said = [str(w.message).split(" do not fit")[0] for w in caught]
    assert said == [f"batch {i}: 5 graphs" for i in range(3)]
    assert "hgn.graphs.chunks" in str(caught[0].message)
    assert_one_fit(halved, three, unseen)


def test_memory_may_run_out_after_the_start(pieces, three, unseen, monkeypatch):
    """As on a GPU, where errors appear only when the result is waited for."""
    wait, calls = jax.block_until_ready, []

    def failing(tree):
        calls.append(tree)
        if len(calls) == 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")
        return wait(tree)

    monkeypatch.setattr(jax, "block_until_ready", failing)
    with pytest.warns(UserWarning, match="batch 1: 5 graphs do not fit into memory") as caught:
        halved = stream(pieces[:3])
    assert len(caught) == 1
    assert_one_fit(halved, three, unseen)


def test_padding_is_left_out_of_the_halves(data, pieces, memory):
    """A batch that is mostly padding: halving it together with its padding would never end."""
    five = hgn.graphs.take(data, np.arange(len(data.n_node)) < 5)
    padded = hgn.graphs.pad(five, n_node=100, n_edge=200, n_graph=40)
    memory(lambda batch: len(batch.n_node) <= 5)
    with pytest.warns(UserWarning, match="batch 0: 5 graphs do not fit into memory") as caught:
        fit = stream([padded], sample_from=pieces[0])
    assert len(caught) == 1
    assert fit.rows == ROWS_OF_A_PIECE


@pytest.mark.parametrize("often", ["eager", "lazy"])
def test_a_graph_that_does_not_fit_is_named_and_not_in_the_checkpoint(
    pieces, straight, path, memory, request, often
):
    request.getfixturevalue(often)
    memory(lambda batch: 2 * SIZE + 3 not in batch.globals["trajectory"])
    words = "batch 2: a single graph of 8 bodies and 24 edges does not fit into memory"
    with (
        pytest.warns(UserWarning, match=r"batch 2: \d graphs do not fit"),
        pytest.raises(RuntimeError, match=words),
    ):
        stream(pieces, checkpoint=str(path))
    assert held(path) == 2
    memory(lambda batch: True)
    assert same_bits(stream(pieces, checkpoint=str(path)), straight)


def test_other_failures_of_the_device_are_passed_on(pieces, path, monkeypatch):
    def failing(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: the device fell off")

    monkeypatch.setattr(accumulate, "_extended", failing)
    with pytest.raises(jax.errors.JaxRuntimeError, match="fell off"):
        stream(pieces, checkpoint=str(path))
    assert held(path) == 0


def test_memory_does_not_grow_with_the_number_of_batches(pieces):
    live = {}

    def made_anew():
        for i, piece in enumerate(3 * pieces):
            yield jax.tree.map(jnp.array, piece)
            if i in (3, 30):
                gc.collect()
                live[i] = sum(a.nbytes for a in jax.live_arrays())

    stream(made_anew(), sample_from=pieces[0])
    assert live[30] == live[3]
