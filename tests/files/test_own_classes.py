"""User-defined features and dynamics are saved by name, and can be loaded once imported."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import own_features
import pytest
from forged import basis_of, parts, refused, signed

import hgn_jax as hgn


@pytest.fixture
def own():
    tethers = own_features.Tethers([1.0, 2.0, 3.0])
    basis = hgn.Basis((tethers,), own_features.Canonical())
    theta = jnp.array([0.5, 0.25, 0.125])
    return hgn.HamiltonianGraphNetwork(basis, (theta,), jnp.ones(basis.constant_count))


def test_an_own_feature_returns_bit_for_bit(own, path, cube):
    hgn.save(path, own)
    again = hgn.load(path)
    assert eqx.tree_equal(again, own)
    assert type(again.terms[0]) is own_features.Tethers
    np.testing.assert_array_equal(again(cube), own(cube))


def test_own_classes_are_named_with_their_modules(own, path):
    hgn.save(path, own)
    fields = basis_of(parts(path.read_bytes())[0])
    assert fields["terms"][0]["class"] == "own_features.Tethers"
    assert fields["dynamics"]["class"] == "own_features.Canonical"
    assert type(hgn.load(path).dynamics) is own_features.Canonical


def test_classes_defined_in_functions_are_saved_too(own, path):
    class Spiral(hgn.Canonical):
        """User-defined dynamics."""

    hgn.save(path, eqx.tree_at(lambda m: m.basis.dynamics, own, Spiral()))
    assert type(hgn.load(path).dynamics) is Spiral


def test_a_class_that_is_not_imported_is_named_with_its_module(own, path):
    """In a process that does not know it; there it loads after the import."""
    hgn.save(path, own)
    script = """
import jax, sys
jax.config.update("jax_enable_x64", True)
import hgn_jax as hgn
try:
    hgn.load(sys.argv[1])
except ValueError as error:
    print(error)
assert "own_features" not in sys.modules
import own_features
print(hgn.load(sys.argv[1]).terms[0].length)
"""
    places = Path(own_features.__file__).parent, Path(hgn.__file__).parent.parent
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))},
        capture_output=True,
        text=True,
        check=True,
    )
    error, length = result.stdout.splitlines()
    assert error.startswith(f"{path}: unknown class own_features.Tethers: ")
    assert "import its module (own_features)" in error and length == "2.0"


def test_an_instance_is_built_without_its_init_and_checked(own, path, monkeypatch):
    def explode(*_, **__):
        raise AssertionError("__init__ was run")

    hgn.save(path, own)
    monkeypatch.setattr(own_features.Tethers, "__init__", explode)
    assert hgn.load(path).terms[0].length == 2.0
    settings, header, payload = parts(path.read_bytes())
    basis_of(settings)["terms"][0]["fields"]["length"] = -1.0
    refused(path, signed(settings, header, payload), "the length must be positive")
    basis_of(settings)["terms"][0]["fields"]["length"] = "long"
    refused(path, signed(settings, header, payload), "'length' holds 'long', expected .*float")


def test_a_class_defined_again_is_the_later_one(own, path, monkeypatch):
    """Running a cell of a notebook again defines its class again."""
    hgn.save(path, own)
    monkeypatch.delitem(sys.modules, "own_features")
    later = importlib.import_module("own_features")
    assert later.Tethers is not own_features.Tethers
    assert type(hgn.load(path).terms[0]) is later.Tethers
