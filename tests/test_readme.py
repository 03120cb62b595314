"""The README's examples run and print what it shows; published figures are those of the results."""

from pathlib import Path

import pages
import pytest

from bench import markdown
from bench.pages import END, PAGE, README, START, page, read, table

RESULTS = Path(__file__).parent.parent / "bench" / "results"


@pytest.fixture(scope="module")
def results():
    return read(RESULTS)


def test_figures_are_written_from_the_results(results):
    assert not any(r["environment"]["quick"] for records in results.values() for r in records)
    shown = README.read_text().split(START)[1].split(END)[0]
    assert shown.strip() == table(results)
    assert PAGE.read_text() == page(results)


def test_a_template_takes_exactly_the_values_that_it_names(tmp_path, monkeypatch):
    monkeypatch.setattr(markdown, "TEMPLATES", tmp_path)
    (tmp_path / "some.md").write_text("| {{error}} | {{ratio}}x |\n")
    assert markdown.filled("some", {"error": "1e-9", "ratio": "2"}) == "| 1e-9 | 2x |"
    for values in ({"error": "1e-9"}, {"error": "1e-9", "ratio": "2", "time": "3"}):
        with pytest.raises(ValueError, match=r"some\.md has the placeholders .*error"):
            markdown.filled("some", values)


def test_examples_run_and_extrapolate():
    scope = pages.run(README)
    energy = scope["path"].energy
    assert abs(energy - energy[0]).max() < 1e-4 * abs(energy[0])


def test_it_is_short_and_names_the_two_commands():
    lines = README.read_text().splitlines()
    assert len(lines) <= 120
    assert {"make demo", "make test"} <= {line.split("  ")[0].strip() for line in lines}
