"""A user's script in separate processes, as XLA compiles it by default, in either precision."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("springs.py")
TOLERANCES = {
    "float64": {"velocity": 1e-13, "force": 1e-12, "streamed force": 1e-12, "position": 1e-9},
    "float32": {"velocity": 1e-5, "force": 5e-5, "streamed force": 5e-5, "position": 1e-4},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Output of the script by precision; both run at the same time."""
    ours = ("XLA_FLAGS", "JAX_ENABLE_X64")
    env = {k: v for k, v in os.environ.items() if k not in ours}
    env["PYTHONPATH"] = str(SCRIPT.parents[2])
    started = {
        precision: subprocess.Popen(
            [sys.executable, SCRIPT, precision, tmp_path_factory.mktemp(precision)],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for precision in TOLERANCES
    }  # fmt: skip
    printed = {precision: process.communicate() for precision, process in started.items()}
    for precision, process in started.items():
        assert process.returncode == 0, printed[precision][1]
    return {precision: (json.loads(out), err) for precision, (out, err) in printed.items()}


@pytest.mark.parametrize("precision", TOLERANCES)
def test_a_model_and_its_motion_are_those_of_the_known_springs(runs, precision):
    result = runs[precision][0]
    assert result["dtypes"] == [precision]
    for name, tolerance in TOLERANCES[precision].items():
        assert result[name] < tolerance, name


@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize(
    "claim", ["loaded is saved", "resumed rollout is straight", "resumed stream is straight"]
)
def test_files_and_checkpoints_keep_every_bit(runs, precision, claim):
    assert runs[precision][0][claim]


def test_only_float32_warns_of_its_precision(runs):
    said = {precision: "fitting in float32" in err for precision, (_, err) in runs.items()}
    assert said == {"float64": False, "float32": True}
