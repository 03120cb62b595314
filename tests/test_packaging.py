"""The package from outside: its version, its import, its dependencies."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

import hgn_jax as hgn
from hgn_jax.cli import app

ROOT = Path(__file__).parent.parent


def fresh(code):
    """Standard output of the code in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_version_is_that_of_the_installed_package():
    assert hgn.__version__ == version("hgn-jax") == pyproject()["project"]["version"]


def test_command_prints_the_version():
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, hgn.__version__ + "\n")


def test_import_leaves_matplotlib_out_and_jax_as_it_was():
    code = """
import sys, jax
before = dict(jax.config.values)
import hgn_jax as hgn
assert not {"matplotlib", "hgn_jax.ase"} & sys.modules.keys()
assert before.items() <= jax.config.values.items()
assert jax.numpy.ones(1).dtype == "float32"
print(len(before), hgn.plots.parity.__name__, "matplotlib" in sys.modules)
"""
    settings, function, loaded = fresh(code).split()
    assert int(settings) > 50
    assert (function, loaded) == ("parity", "True")


def test_plots_without_matplotlib_says_what_to_install():
    code = """
import sys
sys.modules["matplotlib"] = None
import hgn_jax as hgn
try:
    hgn.plots
except ModuleNotFoundError as error:
    print(error)
"""
    assert 'pip install "hgn-jax[plots]"' in fresh(code)


def test_without_ase_files_are_read_and_its_calculator_says_what_to_install(tmp_path):
    path = tmp_path / "dimer.xyz"
    path.write_text("2\nenergy=-1 pbc=F\nH 0 0 0\nH 0.7 0 0\n")
    code = f"""
import sys
sys.modules["ase"] = None
import hgn_jax as hgn
print(hgn.read({str(path)!r}, cutoff=2).n_edge[0])
try:
    hgn.ase
except ModuleNotFoundError as error:
    print(error)
"""
    edges, words = fresh(code).splitlines()
    assert edges == "2" and 'pip install "hgn-jax[ase]"' in words


def test_without_h5py_other_files_are_read_and_hdf5_says_what_to_install(tmp_path):
    (tmp_path / "run.csv").write_text("t,x1,y1\n0,0,0\n1,1,0\n2,2,0\n")
    (tmp_path / "run.h5").write_bytes(b"")
    code = f"""
import os, sys
sys.modules["h5py"] = None
import hgn_jax as hgn
os.chdir({str(tmp_path)!r})
print(len(hgn.read("run.csv", mass=1.0, edges=[], rates=False).n_node))
start = hgn.graphs.chain(2)
for use in (
    lambda: hgn.read("run.h5", edges="all"),
    lambda: hgn.write("new.h5", start),
    lambda: hgn.rollout(hgn.systems.mass_spring("spring"), start, [0, 1], dt=0.1, output="new.h5"),
):
    try:
        use()
    except ModuleNotFoundError as error:
        print(error)
print(sorted(os.listdir()))
"""
    frames, *words, files = fresh(code).splitlines()
    assert frames == "3" and len(words) == 3 and files == "['run.csv', 'run.h5']"
    assert all('pip install "hgn-jax[files]"' in line for line in words)


def test_unknown_attribute_is_an_error():
    with pytest.raises(AttributeError, match="module 'hgn_jax' has no attribute 'polts'"):
        _ = hgn.polts


def test_releases_of_jax_with_known_faults_are_excluded():
    requirements = {
        r.name: r.specifier for r in map(Requirement, pyproject()["project"]["dependencies"])
    }
    for name in ("jax", "jaxlib"):
        accepted = ("0.7.2", "0.10.1", "0.11.2", "0.12.0")
        refused = ("0.6.2", "0.10.2", "0.11.0", "0.11.1", "0.13.0")
        assert all(v in requirements[name] for v in accepted)
        assert not any(v in requirements[name] for v in refused)


def check_lock(file, wanted):
    """Checks that a lock names no host, and pins what the requirements accept."""
    lines = (ROOT / file).read_text().splitlines()
    pin, checksum = r"[a-z0-9-]+==[^/]+ \\", r"    --hash=sha256:[0-9a-f]{64}( \\)?"
    assert all(re.fullmatch(f"{pin}|{checksum}", line) for line in lines)
    pins = [Requirement(line.rstrip(" \\")) for line in lines if not line.startswith(" ")]
    for requirement in map(Requirement, wanted):
        specifiers = [pin.specifier for pin in pins if pin.name == requirement.name]
        assert specifiers, requirement.name
        for specifier in specifiers:
            (pin,) = specifier
            assert requirement.specifier.contains(pin.version, prereleases=True), pin


def test_locks_name_no_host_and_pin_what_pyproject_accepts():
    check_lock("requirements.lock", pyproject()["project"]["dependencies"])
    check_lock("website/requirements.lock", pyproject()["dependency-groups"]["site"])
