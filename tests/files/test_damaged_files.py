"""Damaged, foreign and forged files are refused with a `ValueError` that names them."""

import json
import os
import pickle

import numpy as np
import pytest
from forged import basis_of, joined, parts, refused, signed, with_arrays
from safetensors.numpy import load

import hgn_jax as hgn


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "m.hgn"
    hgn.save(path, small)
    return path.read_bytes()


def test_a_flipped_byte_anywhere_is_found(whole, path):
    for i, byte in enumerate(whole):
        flip = (0x01, 0x20, 0x80)[i % 3]
        refused(path, whole[:i] + bytes([byte ^ flip]) + whole[i + 1 :])


def test_a_file_truncated_anywhere_is_found(whole, path):
    for cut in range(len(whole)):
        refused(path, whole[:cut])


def test_files_with_more_at_the_end_are_refused(whole, path):
    refused(path, whole + b"\0", "truncated, altered or damaged")
    refused(path, whole + whole)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b'{"format": "hgn-jax model"}\n',
        b"\x02\0\0\0\0\0\0\0{}",
        b"\x02\0\0\0\0\0\0\0[]",
        b"\x01\0\0\0\0\0\0\x007",
        b"\xff\xff\xff\xff\xff\xff\xff\xff{}",
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        joined("[" * 100_000, {}, b""),
        joined("7", {}, b""),
        joined("{}", {}, b""),
    ],
    ids=lambda content: repr(content[:9]),
)
def test_other_files_are_refused(path, content):
    refused(path, content, "not an hgn-jax model")


def test_other_formats_are_named(whole, path):
    settings, header, payload = parts(whole)
    refused(path, signed(settings | {"format": "weights"}, header, payload), "'weights'")


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_other_versions_are_named_with_the_release_that_reads_them(whole, path, number):
    settings, header, payload = parts(whole)
    odd = signed(settings | {"format_version": number, "hgn_jax": "7.8.9"}, header, payload)
    refused(path, odd, f"format version {number}, .* hgn-jax 7.8.9")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'activation\\": \\"erf', b'activation\\": \\"sin'),
        (b'"KineticFeatures', b'"ExternalFeatures'),
        (b'"basis.terms.0.layer.bias"', b'"basis.terms.0.layer.bits"'),
        (b'hgn_jax\\": \\"0', b'hgn_jax\\": \\"9'),
    ],
)
def test_settings_altered_by_hand_are_found(whole, path, old, new):
    assert old in whole or old.replace(b'"', b'\\"') in whole
    altered = whole.replace(old, new, 1)
    refused(path, altered if altered != whole else whole.replace(old[1:-1], new[1:-1], 1))


@pytest.mark.parametrize("stated", ["none", "", "0" * 63, None])
def test_a_checksum_that_is_none_is_refused(whole, path, stated):
    settings, header, payload = parts(whole)
    refused(path, joined(settings | {"sha256": stated}, header, payload), "checksum")


# Forged files: every checksum is right


@pytest.mark.parametrize("key", ["model", "format", "format_version"])
def test_settings_that_lack_an_entry_are_refused(whole, path, key):
    settings, header, payload = parts(whole)
    refused(path, signed({k: v for k, v in settings.items() if k != key}, header, payload))


@pytest.mark.parametrize(
    "change",
    [
        {"shape": None}, {"shape": 5}, {"shape": [10**400]}, {"shape": [2**40, 2**40]},
        {"shape": [-1]}, {"dtype": []}, {"dtype": "|O"}, {"dtype": "F99"}, {"dtype": "C64"},
        {"dtype": "U16"}, {"data_offsets": [0, 10**15]}, {"data_offsets": [-8, 0]},
        {"data_offsets": None},
    ],
    ids=str,
)  # fmt: skip
def test_forged_descriptions_of_arrays_are_refused(whole, path, change):
    settings, header, payload = parts(whole)
    header["theta.0"] |= change
    refused(path, signed(settings, header, payload))


def test_forged_headers_without_arrays_are_refused(whole, path):
    settings, _, payload = parts(whole)
    for header in ({}, {"theta.0": 7}, {"theta.0": []}):
        refused(path, signed(settings, header, payload))


SPRING = {"class": "Spring", "fields": {"stiffness": 1.0, "rest_length": 0.0}}
FIELDS = {
    "theta a number": ("theta", 7),
    "theta a string": ("theta", "x"),
    "theta of strings": ("theta", ["x"]),
    "theta of none": ("theta", []),
    "theta an array": ("theta", {"array": "theta.0"}),
    "theta of booleans": ("theta", [{"array": "bits"}]),
    "dynamics a string": ("dynamics", "x"),
    "dynamics of a layer": ("dynamics", {"class": "Dense", "fields": {}}),
    "dynamics of a potential": ("dynamics", SPRING),
    "terms an object": ("terms", {}),
    "terms a class without fields": ("terms", [{"class": "KineticFeatures"}]),
    "terms with fields in a list": ("terms", [{"class": "KineticFeatures", "fields": []}]),
    "terms that are no terms": ("terms", [{"class": "Canonical", "fields": {}}]),
    "known a number": ("known", 7),
    "known a potential": ("known", SPRING),
    "known an array": ("known", {"array": "bits"}),
    "species a number": ("species", 7),
    "species of strings": ("species", ["x"]),
    "basis a string": ("basis", "x"),
    "basis of none": ("basis", None),
    "basis of dynamics": ("basis", {"class": "Canonical", "fields": {}}),
    "constants a list": ("constants", []),
    "constants a number": ("constants", 7.0),
    "constants of booleans": ("constants", {"array": "bits"}),
    "an array of a negative number": ("theta", [{"array": -1}]),
    "an array by a list": ("theta", [{"array": []}]),
    "an array that is not there": ("theta", [{"array": "theta.1"}]),
    "an array used twice": ("constants", {"array": "theta.0"}),
}


@pytest.mark.parametrize("name", FIELDS)
def test_forged_fields_are_refused(whole, path, name):
    settings, header, payload = parts(whole)
    field, value = FIELDS[name]
    owner = basis_of(settings) if field in basis_of(settings) else settings["model"]["fields"]
    owner[field] = value
    header["bits"] = {"dtype": "BOOL", "shape": [5], "data_offsets": [len(payload)] * 2}
    header["bits"]["data_offsets"][1] += 5
    refused(path, signed(settings, header, payload + bytes(5)))


@pytest.mark.parametrize("field", ["__class__", "__init__", "__dict__", "vector_field", "x", ""])
def test_fields_that_the_class_lacks_are_refused(whole, path, field):
    settings, header, payload = parts(whole)
    basis_of(settings)["dynamics"]["fields"][field] = 0
    refused(path, signed(settings, header, payload), "Canonical has the fields")


def test_fields_that_are_missing_are_refused(whole, path):
    settings, header, payload = parts(whole)
    del basis_of(settings)["dynamics"]
    refused(path, signed(settings, header, payload), "Basis has the fields")
    settings, header, payload = parts(whole)
    del settings["model"]["fields"]["basis"]
    refused(path, signed(settings, header, payload), "HamiltonianGraphNetwork has the fields")


@pytest.mark.parametrize(
    ("field", "value"), [("activation", 7), ("activation", None), ("weight", None), ("bias", 1.0)]
)
def test_values_of_another_kind_are_refused(whole, path, field, value):
    settings, header, payload = parts(whole)
    layer = basis_of(settings)["terms"][0]["fields"]["layer"]
    layer["fields"][field] = value
    refused(path, signed(settings, header, payload), f"Dense: field '{field}' holds")


def test_arrays_that_do_not_fit_together_are_refused(whole, path):
    settings, header, payload = parts(whole)
    fields = basis_of(settings)["terms"][0]["fields"]["layer"]["fields"]
    fields["bias"], fields["centre"] = fields["centre"], fields["bias"]
    refused(path, signed(settings, header, payload), r"Dense: field '\w+' holds float64\[")


def test_coefficients_of_another_number_than_columns_are_refused(whole, path):
    settings, _, _ = parts(whole)
    odd = load(whole) | {"theta.0": np.ones(4)}
    refused(path, with_arrays(settings, odd), "4 coefficients for the 5 columns of KineticFeatures")
    settings["model"]["fields"]["theta"] = []
    arrays = {k: v for k, v in odd.items() if k != "theta.0"}
    refused(path, with_arrays(settings, arrays), "1 terms, but coefficients for 0")


def test_constants_of_another_number_than_the_terms_have_are_refused(whole, path):
    settings, _, _ = parts(whole)
    odd = load(whole) | {"constants": np.ones(1)}
    refused(path, with_arrays(settings, odd), r"constants have shape \(1,\), but the terms need 0")


def test_arrays_that_no_module_has_are_refused(whole, path):
    settings, header, payload = parts(whole)
    basis_of(settings)["terms"][0]["fields"]["layer"] = None
    refused(path, signed(settings, header, payload), "arrays that belong to no module")


@pytest.mark.parametrize("depth", [100, 500, 900, 100_000])
def test_deep_nesting_is_refused(whole, path, depth):
    settings, header, payload = parts(whole)
    settings["model"]["fields"]["theta"] = "HERE"
    text = json.dumps(settings | {"sha256": "SUM"}).replace('"HERE"', "[" * depth + "]" * depth)
    refused(path, signed(text, header, payload))


@pytest.mark.parametrize("name", ["System", "Path", "AbstractEnergy", "Module", None, 7, [], ""])
def test_unknown_classes_are_refused(whole, path, name):
    settings, header, payload = parts(whole)
    basis_of(settings)["dynamics"]["class"] = name
    refused(path, signed(settings, header, payload), "unknown class|System has the fields")


def test_a_part_of_a_model_is_refused(whole, path):
    settings, header, payload = parts(whole)
    settings["model"] = basis_of(settings)["terms"][0]
    refused(path, signed(settings, header, payload), "a KineticFeatures, not a Hamiltonian")


# No code


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_pickles_are_refused_and_not_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        refused(path, pickle.dumps(Bomb(), protocol), "not an hgn-jax model")
    assert not (tmp_path / "exploded").exists()


def test_no_module_is_imported_for_a_file(whole, path, tmp_path, monkeypatch):
    (tmp_path / "explosive.py").write_text("import os; os.mkdir('exploded')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings, header, payload = parts(whole)
    for name in ("explosive.Feature", "os.system", "explosive"):
        basis_of(settings)["dynamics"]["class"] = name
        refused(path, signed(settings, header, payload), f"unknown class .*{name}")
    assert not (tmp_path / "exploded").exists()
