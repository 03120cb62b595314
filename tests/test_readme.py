"""The README's figures are those of the results, and its example runs."""

import json
import re
from pathlib import Path

import pytest

from bench.readme import END, FILES, README, START, figures

RESULTS = Path(__file__).parent.parent / "bench" / "results"


@pytest.fixture(scope="module")
def text():
    return README.read_text()


def test_figures_are_written_from_the_results(text):
    results = {name: json.loads((RESULTS / f"{name}.json").read_text()) for name in FILES}
    assert not any(r["environment"]["quick"] for records in results.values() for r in records)
    assert text.split(START)[1].split(END)[0].strip() == figures(results)


def test_example_runs_and_extrapolates(text):
    example, *_ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    scope: dict = {}
    with pytest.warns(UserWarning, match="outside of the model's trained range"):
        exec(example, scope)
    hgn = scope["hgn"]
    assert hgn.metrics.relative_error(scope["fit"].model, scope["large"])["force"] < 1e-7
    energy = scope["path"].energy
    assert abs(energy - energy[0]).max() < 1e-4 * abs(energy[0])


def test_paths_exist(text):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (README.parent / target).exists(), target
