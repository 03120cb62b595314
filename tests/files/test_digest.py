"""Digests distinguish what functions do, and nothing else."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import functions
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.io.digest import digest

K = 1.0


def of_default(x, k=1.0):
    return k * x


def of_keyword(x, *, k=1.0):
    return k * x


def calls_of_global(x):
    return of_global(x)


def of_global(x):
    return K * x


def of_nested(x):
    return (lambda y: K * y)(x)


def closure(k):
    return lambda x: k * x


def test_the_digest_is_the_same_in_another_process_and_file(tmp_path):
    """With another hash seed, folder and line numbers."""
    source = Path(functions.__file__).read_text()
    (tmp_path / "functions.py").write_text("# shifted\n\n\n" + source)
    script = """
import jax, json
jax.config.update("jax_enable_x64", True)
import functions
from hgn_jax.io.digest import digest
print(json.dumps({name: digest(thing) for name, thing in functions.THINGS.items()}))
"""
    package = str(Path(hgn.__file__).parent.parent)
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": package},
        capture_output=True,
        text=True,
        check=True,
    )
    here = {name: digest(thing) for name, thing in functions.THINGS.items()}
    assert json.loads(result.stdout) == here
    assert len(set(here.values())) == len(here)


PAIRS = {
    "constants": (lambda x: 2.0 * x, lambda x: 3.0 * x),
    "operations": (lambda x: 2.0 * x, lambda x: 2.0 + x),
    "methods": (lambda x: x.min(), lambda x: x.max()),
    "nested": (lambda x: (lambda y: y + 1)(x), lambda x: (lambda y: y + 2)(x)),
    "closures": (closure(1.0), closure(2.0)),
    "closures of functions": (closure(closure(1.0)), closure(closure(2.0))),
    "closures of arrays": (closure(jnp.zeros(2)), closure(jnp.zeros(3))),
    "partials": (functools.partial(of_default, k=1), functools.partial(of_default, k=2)),
    "jitted": (jax.jit(closure(1.0)), jax.jit(closure(2.0))),
    "vmapped": (jax.vmap(closure(1.0)), jax.vmap(closure(2.0))),
    "axes of vmap": (jax.vmap(closure(1.0)), jax.vmap(closure(1.0), in_axes=1)),
    "gradients": (jax.grad(closure(1.0)), jax.grad(closure(2.0))),
    "filtered": (eqx.filter_jit(closure(1.0)), eqx.filter_jit(closure(2.0))),
    "objects": (functions.Callable(1), functions.Callable(2)),
    "methods of objects": (functions.Callable(1).__call__, functions.Callable(2).__call__),
    "fields": (functions.Ramp(1.0), functions.Ramp(2.0)),
    "kinds of numbers": (1, 1.0),
    "precision": (np.zeros(2), np.zeros(2, np.float32)),
    "shapes": (np.zeros((2, 3)), np.zeros((3, 2))),
    "lists of texts": (["ab", "c"], ["a", "bc"]),
    "keys": ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
    "numpy's functions": (np.sin, np.cos),
    "jax's functions": (jnp.sin, jnp.cos),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_differs_has_another_digest(name):
    a, b = PAIRS[name]
    assert digest(a) != digest(b)
    assert (digest(a), digest(b)) == (digest(a), digest(b))


@pytest.mark.parametrize("function", [of_global, of_nested, calls_of_global])
def test_globals_count(function, monkeypatch):
    before = digest(function)
    monkeypatch.setitem(globals(), "K", 2.0)
    assert digest(function) != before
    monkeypatch.setitem(globals(), "K", 1.0)
    assert digest(function) == before


@pytest.mark.parametrize("function", [of_default, of_keyword])
def test_defaults_count(function, monkeypatch):
    before = digest(function)
    monkeypatch.setattr(function, "__defaults__", function.__defaults__ and (2.0,))
    monkeypatch.setattr(function, "__kwdefaults__", function.__kwdefaults__ and {"k": 2.0})
    assert digest(function) != before


def test_methods_and_constants_of_own_classes_count(monkeypatch):
    before = digest(functions.Ramp(1.0))
    with monkeypatch.context() as patched:
        patched.setattr(functions.Ramp, "__call__", lambda self, r, type: r)
        assert digest(functions.Ramp(1.0)) != before
    with monkeypatch.context() as patched:
        patched.setattr(functions, "STRENGTH", 3.0)
        assert digest(functions.Ramp(1.0)) != before
    assert digest(functions.Ramp(1.0)) == before


def test_equal_values_have_equal_digests():
    for make in (lambda: closure(np.ones(3)), lambda: hgn.Pair(16), lambda: functions.Ramp(2.0)):
        assert digest(make()) == digest(make())
    one = np.ones(3)
    assert digest((one, one)) == digest((one, one.copy()))
    assert digest(one) == digest(jnp.ones(3))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest(of_global) == digest(eval("lambda x: K * x", {"K": 1.0}))


def test_structures_that_hold_themselves_have_a_digest():
    loop = [1]
    loop.append(loop)
    other = [2]
    other.append(other)
    assert digest(loop) != digest(other)
    deep = None
    for _ in range(5000):
        deep = (deep,)
    assert digest(deep)
