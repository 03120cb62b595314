"""`fit` processes large data in chunks."""

import sys

import jax
import pytest
from streams import KEY, SPECS, assert_one_fit, real_graphs

import hgn_jax as hgn
from hgn_jax.fitting import accumulate


@pytest.fixture
def in_pieces_of_seven(monkeypatch, data, extended):
    """Makes 1440 coordinates count as large; pieces are 7 graphs of 24 force rows, 16 columns."""
    assert data.nodes["position"].size == 1440
    monkeypatch.setattr(sys.modules["hgn_jax.fitting.fit"], "WHOLE", 1439)
    monkeypatch.setattr(accumulate, "ENTRIES", 8 * 24 * 16 - 1)
    return extended


def shapes(batch):
    return jax.tree.map(lambda a: (a.shape, a.dtype), batch)


def test_large_data_go_in_pieces_of_one_shape(data, whole, unseen, in_pieces_of_seven, monkeypatch):
    traces, extend = [], accumulate.extend
    monkeypatch.setattr(
        accumulate, "extend", lambda *arguments: traces.append(1) or extend(*arguments)
    )
    fit = hgn.fit(data, key=KEY, terms=SPECS)
    assert [real_graphs(b) for b in in_pieces_of_seven] == [7] * 8 + [4]
    assert all(shapes(b) == shapes(in_pieces_of_seven[0]) for b in in_pieces_of_seven)
    assert len(traces) <= 1
    assert_one_fit(fit, whole, unseen)
    assert fit.result == hgn.RESULTS.successful


def test_large_data_of_sampled_features_go_in_pieces(data, whole, unseen, in_pieces_of_seven):
    fit = hgn.solve(whole.model.terms, data)
    assert len(in_pieces_of_seven) == 9
    assert_one_fit(fit, whole, unseen)


def test_a_graph_larger_than_a_piece_is_a_piece(
    data, whole, unseen, in_pieces_of_seven, monkeypatch
):
    monkeypatch.setattr(accumulate, "ENTRIES", 1)
    fit = hgn.fit(data, key=KEY, terms=SPECS)
    assert [real_graphs(b) for b in in_pieces_of_seven] == [1] * 60
    assert_one_fit(fit, whole, unseen)


def test_smaller_and_traced_data_stay_whole(data, in_pieces_of_seven, monkeypatch):
    jax.eval_shape(lambda d: hgn.fit(d, key=KEY, terms=SPECS, throw=False).rows, data)
    monkeypatch.setattr(sys.modules["hgn_jax.fitting.fit"], "WHOLE", 1440)
    hgn.fit(data, key=KEY, terms=SPECS)
    assert not in_pieces_of_seven
