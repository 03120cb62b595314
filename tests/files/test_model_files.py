"""Models return from files as they were, and others can read the files."""

import ast
import inspect
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from forged import basis_of, parts
from safetensors import safe_open

import hgn_jax as hgn
from hgn_jax.io import array_file, checkpoint, model_file, modules


@eqx.filter_jit
def evaluated(model, graphs):
    return model(graphs), model.vector_field(graphs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_models_return_bit_for_bit(models, dtype, path):
    model, data = models[dtype]
    hgn.save(path, model)
    again = hgn.load(path)
    assert jax.tree.structure(again) == jax.tree.structure(model)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(model)):
        assert isinstance(a, jax.Array) and a.dtype == b.dtype == jnp.dtype(dtype)
        assert a.shape == b.shape and np.asarray(a).tobytes() == np.asarray(b).tobytes()
    for a, b in zip(*(jax.tree.leaves(evaluated(m, data)) for m in (model, again))):
        assert np.isfinite(a).all()
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_special_values_return_bit_for_bit(model, path):
    special = jnp.array([np.nan, np.inf, -0.0, 5e-324, np.pi])
    odd = eqx.tree_at(lambda m: m.theta[0], model, special)
    hgn.save(path, odd)
    again = hgn.load(path)
    assert np.asarray(again.theta[0]).tobytes() == np.asarray(special).tobytes()


def test_settings_return(model, path):
    hgn.save(path, model)
    again = hgn.load(path)
    assert [type(f) for f in again.terms] == [type(f) for f in model.terms]
    assert again.terms[0].layer.activation == "erf"
    assert again.terms[1].layer is None
    assert len(again.terms[2].layers) == 2
    assert again.separable is False and again.dynamics == hgn.Canonical()


def test_vmapped_models_return(small, path):
    both = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), small)
    hgn.save(path, both)
    assert eqx.tree_equal(hgn.load(path), both)


def test_saving_twice_gives_the_same_bytes(model, saved, path):
    hgn.save(path, model)
    assert path.read_bytes() == saved


def test_the_header_is_readable_with_version_and_settings(model, saved):
    settings, header, payload = parts(saved)
    assert settings["format"] == "hgn-jax model" and settings["format_version"] == 1
    assert settings["hgn_jax"].count(".") == 2
    names = [f["class"] for f in basis_of(settings)["terms"]]
    assert names == [type(f).__name__ for f in model.terms]
    kinetic = basis_of(settings)["terms"][0]["fields"]
    assert kinetic["layer"]["fields"]["activation"] == "erf"
    assert kinetic["layer"]["fields"]["weight"] == {"array": "basis.terms.0.layer.weight"}
    assert len(payload) == sum(a.nbytes for a in jax.tree.leaves(model))
    assert json.dumps(header).isprintable()


def test_plain_safetensors_reads_the_arrays_by_name(model, saved, path):
    path.write_bytes(saved)
    arrays = safetensors.numpy.load_file(path)
    assert len(arrays) == len(jax.tree.leaves(model))
    weight = model.terms[0].layer.weight
    np.testing.assert_array_equal(arrays["basis.terms.0.layer.weight"], weight)
    np.testing.assert_array_equal(arrays["theta.2"], model.theta[2])
    np.testing.assert_array_equal(arrays["constants"], model.constants)
    with safe_open(path, framework="np") as file:
        assert "hgn-jax model" in file.metadata()["hgn_jax"]


# What cannot be saved

unchecked_save = inspect.unwrap(hgn.save)  # without jaxtyping's checks


def test_known_systems_cannot_be_saved(path, tmp_path, springs):
    with pytest.raises(TypeError, match=r"cannot save a System, only a learned model or a fit$"):
        unchecked_save(path, springs)
    assert list(tmp_path.iterdir()) == []


def test_a_fit_is_saved_by_its_model(path, fitted, tmp_path):
    hgn.save(path, fitted)
    whole = path.read_bytes()
    assert eqx.tree_equal(hgn.load(path), fitted.model)
    fitted.save(path)
    hgn.save(tmp_path / "model.hgn", fitted.model)
    assert path.read_bytes() == (tmp_path / "model.hgn").read_bytes() == whole
    with pytest.raises(TypeError, match=r'the path comes first: hgn\.save\("model\.hgn", fit\)'):
        unchecked_save(fitted, path)


def test_what_could_not_be_loaded_is_not_saved(path, tmp_path, small):
    short = eqx.tree_at(lambda m: m.theta[0], small, small.theta[0][:-1])
    with pytest.raises(ValueError, match="4 coefficients for the 5 columns of KineticFeatures"):
        hgn.save(path, short)
    with pytest.raises(TypeError, match=r"cannot save theta.0, a function"):
        hgn.save(path, eqx.tree_at(lambda m: m.theta[0], small, lambda: 0))
    with pytest.raises(ValueError, match=r"'theta' holds \(complex128\[5\],\), expected"):
        hgn.save(path, eqx.tree_at(lambda m: m.theta[0], small, jnp.zeros(5, complex)))
    assert list(tmp_path.iterdir()) == []


# Precision


def test_models_in_64_bit_need_64_bit(saved, path):
    path.write_bytes(saved)
    with jax.enable_x64(False), pytest.raises(ValueError, match="saved in 64 bit") as caught:
        hgn.load(path)
    assert str(path) in str(caught.value) and "jax_enable_x64" in str(caught.value)


def test_models_in_32_bit_load_either_way(models, path):
    model, _ = models["float32"]
    hgn.save(path, model)
    with jax.enable_x64(False):
        narrow = hgn.load(path)
    for loaded in (narrow, hgn.load(path)):
        for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(model)):
            assert a.dtype == jnp.float32
            np.testing.assert_array_equal(a, b)


# No code


@pytest.mark.parametrize("module", [model_file, modules, array_file, checkpoint])
def test_the_module_imports_and_calls_nothing_that_runs_code(module):
    with open(module.__file__) as file:
        tree = ast.parse(file.read())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert not imported & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    used |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert not used & {"eval", "exec", "compile", "__import__", "import_module", "allow_pickle"}
