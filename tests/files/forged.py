"""Files that are split, changed, and joined again with a valid checksum."""

import hashlib
import json

import pytest
from safetensors.numpy import save

import hgn_jax as hgn


def parts(content):
    """Our settings, the header of safetensors, and the bytes of the arrays."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    return json.loads(header["__metadata__"]["hgn_jax"]), header, content[start:]


def basis_of(settings):
    """The fields of the model's basis, to be changed in place."""
    return settings["model"]["fields"]["basis"]["fields"]


def joined(settings, header, payload):
    """A file with these settings, header and bytes, its checksum as the settings state it."""
    settings = settings if isinstance(settings, str) else json.dumps(settings)
    text = json.dumps(header | {"__metadata__": {"hgn_jax": settings}}).encode()
    return len(text).to_bytes(8, "little") + text + payload


def signed(settings, header, payload):
    """A file whose checksum is right, whatever the header says."""
    zeros = "0" * 64
    if isinstance(settings, str):
        content = joined(settings.replace("SUM", zeros, 1), header, payload)
    else:
        content = joined(settings | {"sha256": zeros}, header, payload)
    digits = hashlib.sha256(content).hexdigest()
    return content.replace(zeros.encode(), digits.encode(), 1)


def with_arrays(settings, arrays):
    """A file of other arrays whose checksum is right."""
    zeros = "0" * 64
    content = save(arrays, {"hgn_jax": json.dumps(settings | {"sha256": zeros})})
    return content.replace(zeros.encode(), hashlib.sha256(content).hexdigest().encode(), 1)


def refused(path, content, words=None):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        hgn.load(path)
    assert str(caught.value).startswith(f"{path}: ")
