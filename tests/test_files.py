import ast
import hashlib
import json
import os
import pickle
import stat

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import hgn_jax as hgn
from hgn_jax.fitting import checkpoint
from hgn_jax.io import array_file
from hgn_jax.io import model_file as files


@pytest.fixture(scope="module")
def models():
    """One of each kind of features, two edge types; random coefficients in place of a fit.

    Model and data of either precision.
    """
    graph = hgn.graphs.from_pairs(
        jr.normal(jr.key(0), (4, 2)), [(0, 1), (1, 2), (2, 3)], type=jnp.array([0, 1, 0])
    )
    q, p = jr.normal(jr.key(1), (2, 5, 4, 2))
    data = hgn.graphs.snapshots(graph, {"position": q, "momentum": p}, {})
    specs = (
        hgn.Kinetic(4, activation="erf"),
        hgn.Kinetic(0),
        hgn.Pair(6),
        hgn.External(4),
        hgn.MessagePassing(5, hidden=3, sampling=hgn.ELM()),
    )
    features = hgn.sample(specs, data, key=jr.key(9))
    theta = []
    for i, f in enumerate(features):
        theta.append(jr.normal(jr.key(i), jax.eval_shape(f, data).shape[1:]))
    basis = hgn.Basis(features)
    constants = jr.normal(jr.key(50), (basis.constant_count,))
    wide = hgn.HamiltonianGraphNetwork(basis, tuple(theta), constants), data
    narrow = jax.tree.map(lambda a: a.astype("float32") if a.dtype == "float64" else a, wide)
    return {"float32": narrow, "float64": wide}


@pytest.fixture(scope="module")
def model(models):
    return models["float64"][0]


@eqx.filter_jit
def evaluated(model, graphs):
    return model(graphs), model.vector_field(graphs)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """The bytes of a saved model."""
    path = tmp_path_factory.mktemp("saved") / "m.hgn"
    hgn.save(path, model)
    return path.read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lattice.hgn"


def refused(path, content, words=None):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        hgn.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def signed(header, payload):
    """A file whose checksum is right, whatever the header says."""
    header = {k: v for k, v in header.items() if k != "sha256"}
    text = json.dumps(header, sort_keys=True).encode()
    header["sha256"] = hashlib.sha256(text + payload).hexdigest()
    return json.dumps(header).encode() + b"\n" + payload


def parts(content):
    line, payload = content.split(b"\n", 1)
    return json.loads(line), payload


# Round trips


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
    special = jnp.array([np.nan, np.inf, -np.inf, -0.0, 5e-324, np.pi])
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


def test_saving_twice_gives_the_same_bytes(model, saved, path):
    hgn.save(path, model)
    assert path.read_bytes() == saved


def test_header_is_one_readable_line_with_version_and_settings(model, saved):
    header, payload = parts(saved)
    assert header["format"] == "hgn-jax model" and header["format_version"] == 1
    assert header["hgn_jax"].count(".") == 2
    names = [f["class"] for f in header["model"]["fields"]["basis"]["fields"]["terms"]]
    assert names == [type(f).__name__ for f in model.terms]
    kinetic = header["model"]["fields"]["basis"]["fields"]["terms"][0]["fields"]
    assert kinetic["layer"]["fields"]["activation"] == "erf"
    leaves = jax.tree.leaves(model)
    assert sorted(a["shape"] for a in header["arrays"]) == sorted(list(a.shape) for a in leaves)
    assert {a["dtype"] for a in header["arrays"]} == {"<f8"}
    assert len(payload) == sum(a.nbytes for a in leaves)
    assert saved.split(b"\n", 1)[0].decode("ascii").isprintable()


def test_payload_is_the_arrays_in_order(model, saved):
    header, payload = parts(saved)
    first = header["arrays"][0]
    values = np.frombuffer(payload, "<f8", count=int(np.prod(first["shape"])))
    weight = model.terms[0].layer.weight
    assert first["shape"] == list(weight.shape)
    np.testing.assert_array_equal(values.reshape(weight.shape), weight)


# Damage


def test_truncated_files_are_refused(saved, path):
    end_of_header = saved.index(b"\n")
    cuts = [0, 1, 10, end_of_header - 1, end_of_header, end_of_header + 1, len(saved) - 1]
    for cut in sorted({*cuts, *np.linspace(0, len(saved) - 1, 40).astype(int).tolist()}):
        refused(path, saved[:cut])


def test_files_with_more_at_the_end_are_refused(saved, path):
    refused(path, saved + b"\0", "truncated or damaged")
    refused(path, saved + saved)


@pytest.mark.parametrize("flip", [0x01, 0x20, 0x80])
def test_a_flipped_byte_anywhere_in_the_header_is_found(model, path, flip):
    part = hgn.HamiltonianGraphNetwork(hgn.Basis(model.terms[:1]), model.theta[:1], jnp.zeros(0))
    hgn.save(path, part)
    whole = path.read_bytes()
    for i in range(whole.index(b"\n") + 1):
        refused(path, whole[:i] + bytes([whole[i] ^ flip]) + whole[i + 1 :])


def test_a_flipped_byte_in_the_arrays_is_found(saved, path):
    start = saved.index(b"\n") + 1
    for i in [start, len(saved) - 1, *range(start, len(saved), 53)]:
        refused(path, saved[:i] + bytes([saved[i] ^ 1]) + saved[i + 1 :], "checksum")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[1, 2]\n",
        b"7\n",
        b"null\n",
        b'"text"\n',
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        b"\xff\xfe\n",
        b"[" * 100_000,
    ],
    ids=lambda content: repr(content[:8]),
)
def test_other_files_are_refused(path, content):
    refused(path, content, "not an hgn-jax model")


def test_other_formats_are_named(saved, path):
    header, payload = parts(saved)
    refused(path, signed(header | {"format": "weights"}, payload), "'weights'")


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_other_versions_are_named_with_the_release_that_reads_them(saved, path, number):
    header, payload = parts(saved)
    odd = signed(header | {"format_version": number, "hgn_jax": "7.8.9"}, payload)
    refused(path, odd, f"format version {number}, .* hgn-jax 7.8.9")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"activation": "erf"', b'"activation": "sin"'),
        (b'"KineticFeatures"', b'"ExternalFeatures"'),
        (b'"array": 0', b'"array": 1'),
        (b'"hgn_jax": "0', b'"hgn_jax": "9'),
        (b'"layer": null', b'"layer": true'),
    ],
)
def test_settings_altered_by_hand_are_found(saved, path, old, new):
    assert old in saved
    refused(path, saved.replace(old, new, 1), "checksum")


def test_a_header_without_its_model_or_arrays_is_refused(saved, path):
    header, payload = parts(saved)
    for name in ("model", "arrays", "sha256", "format", "format_version"):
        rest = {k: v for k, v in header.items() if k != name}
        refused(path, json.dumps(rest).encode() + b"\n" + payload)


@pytest.mark.parametrize("arrays", [7, {}, [7], [{}], [{"dtype": "<f8"}], [{"shape": [1]}]])
def test_a_header_with_other_array_descriptions_is_refused(saved, path, arrays):
    header, payload = parts(saved)
    refused(path, json.dumps(header | {"arrays": arrays}).encode() + b"\n" + payload)


@pytest.mark.parametrize("dtype", ["|O", "<U8", "|V8", ">f8", "<c16"])
def test_other_dtypes_are_refused_even_with_a_good_checksum(saved, path, dtype):
    header, payload = parts(saved)
    header["arrays"][0]["dtype"] = dtype
    refused(path, signed(header, payload), "damaged")


@pytest.mark.parametrize("name", ["os.system", "System", "Path", None])
def test_unknown_classes_are_refused_even_with_a_good_checksum(saved, path, name):
    header, payload = parts(saved)
    header["model"]["fields"]["structure"]["class"] = name
    refused(path, signed(header, payload), "unknown class")


def test_a_part_of_a_model_is_refused_even_with_a_good_checksum(saved, path):
    header, payload = parts(saved)
    header["model"] = header["model"]["fields"]["basis"]["fields"]["terms"][0]
    refused(path, signed(header, payload), "KineticFeatures, not a HamiltonianGraphNetwork")


# No code


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_pickles_are_refused_and_not_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        refused(path, pickle.dumps(Bomb(), protocol), "not an hgn-jax model")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("module", [files, array_file, checkpoint])
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


# Writing


@pytest.mark.parametrize("function", ["replace", "fsync", "chmod"])
def test_a_failing_write_leaves_what_was_there(model, path, tmp_path, monkeypatch, function):
    path.write_bytes(b"what was there")

    def full(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, function, full)
        with pytest.raises(OSError, match="no space left"):
            hgn.save(path, model)
    assert path.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_first_write_leaves_nothing(model, path, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError):
            hgn.save(path, model)
    assert list(tmp_path.iterdir()) == []


def test_saving_replaces_the_old_file_and_leaves_no_other(model, saved, path, tmp_path):
    path.write_bytes(bytes(10 * len(saved)))
    hgn.save(path, model)
    assert path.read_bytes() == saved
    assert list(tmp_path.iterdir()) == [path]


def test_file_names_without_a_folder_are_in_the_working_directory(
    model, saved, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    hgn.save("here.hgn", model)
    assert (tmp_path / "here.hgn").read_bytes() == saved


def test_permissions_follow_the_umask(model, path):
    old = os.umask(0o027)
    try:
        hgn.save(path, model)
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_missing_folders_and_files_are_os_errors(model, tmp_path):
    with pytest.raises(FileNotFoundError):
        hgn.save(tmp_path / "none" / "m.hgn", model)
    with pytest.raises(FileNotFoundError):
        hgn.load(tmp_path / "none.hgn")


def test_known_systems_cannot_be_saved(path, tmp_path, springs):
    with pytest.raises(TypeError, match="System"):
        hgn.save(path, springs)
    assert list(tmp_path.iterdir()) == []


def test_models_with_foreign_modules_cannot_be_saved(path, tmp_path):
    class Spiral(hgn.Canonical):
        """A structure of the user's own."""

    foreign = hgn.HamiltonianGraphNetwork(hgn.Basis((), Spiral()), (), jnp.zeros(0))
    with pytest.raises(TypeError, match="Spiral"):
        hgn.save(path, foreign)
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
