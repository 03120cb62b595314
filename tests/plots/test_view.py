"""The page of the viewer holds the states, and needs nothing else."""

import base64
import json
import re
from importlib import import_module

import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn


def contents(file):
    """The page and its data."""
    page = file.read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    raw = np.frombuffer(base64.b64decode(data["position"]), "<f4")
    return page, data, raw.reshape(len(data["times"]), len(data["radius"]), 3)


def test_the_page_holds_the_states_and_loads_nothing(path, tmp_path):
    page, data, q = contents(
        hgn.plots.view(path, tmp_path / "run.html", title="a </script> & @DATA@")
    )
    np.testing.assert_allclose(q[..., :2], path.position, atol=1e-6)
    np.testing.assert_array_equal(q[..., 2], 0)
    np.testing.assert_array_equal(data["times"], path.times)
    assert data["flat"] and data["cell"] is None and len(data["edges"]) == 12
    assert "default-src 'none'" in page
    assert "<title>a &lt;/script&gt; &amp; @DATA@</title>" in page
    assert not re.search(r'(src|href)\s*=\s*["\']|fetch\(|XMLHttpRequest|\bimport\(', page)
    assert page.count("<script") == page.count("</script>") == 3


def test_species_and_the_cell_are_shown(tmp_path):
    cell = np.array([[4.0, 0, 0], [1.0, 4.0, 0], [0, 0, 5.0]])
    gas = hgn.graphs.radius(np.random.default_rng(0).uniform(0, 4, (9, 3)), 1.0, cell=cell)
    gas = gas._replace(nodes=gas.nodes | {"species": jnp.array([1, 8, 1] * 3)})
    _, data, _ = contents(hgn.plots.view(gas, tmp_path / "gas.html"))
    np.testing.assert_allclose(np.array(data["inverse"]) @ cell, np.eye(3), atol=1e-12)
    assert [name for name, _ in data["legend"]] == ["species 1", "species 8"]
    colours = np.array(data["colour"])
    assert (colours[[0, 2]] == data["legend"][0][1]).all() and colours[1] == data["legend"][1][1]


def test_frames_that_are_not_finite_are_left_out(path, tmp_path):
    q = np.array(path.position)
    q[30:] = np.nan
    _, data, shown = contents(hgn.plots.view(q, tmp_path / "stopped.html"))
    assert shown.shape == (30, 9, 3) and data["times"][-1] == 29
    with pytest.raises(ValueError, match="no frame of these states is finite"):
        hgn.plots.view(np.nan * q, tmp_path / "none.html")


def test_long_rollouts_are_thinned(tmp_path, monkeypatch):
    q = np.arange(100.0)[:, None, None] * np.ones((1, 4, 3))
    monkeypatch.setattr(import_module("hgn_jax.plots.view"), "NUMBERS", 480)
    _, data, _ = contents(hgn.plots.view(q, tmp_path / "long.html"))
    assert data["times"] == list(range(0, 100, 3))
