"""Parts of the accelerator's benchmark: how they end, and what a later run measures again."""

import json
import sys

import pytest

from bench import accelerator
from bench.accelerator_parts import Part

PROCESS = """
import sys, time
print("words of a library")
print('{"figure": 1}', flush=True)
if "failing" in sys.argv:
    raise RuntimeError("no such device")
if "endless" in sys.argv:
    print('{"figure": 2', end="", flush=True)
    time.sleep(600)
print('{"figure": 2}')
"""
"""Program in place of the process of a part."""


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Fake parts, in processes that begin at once."""
    python = tmp_path / "python"
    (tmp_path / "part.py").write_text(PROCESS)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path / "part.py"} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    found = {name: Part(30, lambda quick: iter(())) for name in ("good", "failing")}
    monkeypatch.setattr(accelerator, "PARTS", found | {"endless": Part(1, found["good"].measure)})


def measured(folder, monkeypatch, *options):
    """Records after a run, without their environments."""
    monkeypatch.setattr(sys, "argv", ["bench.accelerator", "--out", str(folder), *options])
    accelerator.main()
    text = (folder / "accelerator.json").read_text()
    return [{k: v for k, v in r.items() if k != "environment"} for r in json.loads(text)]


def test_records_of_a_part_and_how_it_ended(parts):
    for name, limit, figures, words in (
        ("good", 30, [1, 2], "finished"),
        ("failing", 30, [1], "failed: RuntimeError: no such device"),
        ("endless", 1, [1], "stopped after 1 s"),  # with half a line
    ):
        *records, end = accelerator.outcome(name, False, limit)
        assert [r["figure"] for r in records] == figures
        assert end["ended"] == words
        assert end["seconds"] < 30


def test_only_finished_parts_are_not_measured_again(parts, tmp_path, monkeypatch, capsys):
    first = measured(tmp_path, monkeypatch)
    assert [r["part"] for r in first] == ["good"] * 3 + ["failing"] * 2 + ["endless"] * 2
    capsys.readouterr()
    again = measured(tmp_path, monkeypatch)
    assert again[:3] == first[:3] and [r["part"] for r in again] == [r["part"] for r in first]
    assert capsys.readouterr().out.count("measured before") == 1


def test_an_interrupted_part_and_one_of_other_sizes_are_measured_anew(parts, tmp_path, monkeypatch):
    path = tmp_path / "accelerator.json"
    first = measured(tmp_path, monkeypatch, "--only", "good")
    path.write_text(json.dumps(json.loads(path.read_text())[:1]))  # it has not ended
    again = measured(tmp_path, monkeypatch, "--only", "good")
    assert [r.get("figure") for r in again] == [r.get("figure") for r in first] == [1, 2, None]
    both = measured(tmp_path, monkeypatch, "--only", "good", "--quick")
    assert [r.get("figure") for r in both] == [1, 2, None, 1, 2, None]


def test_no_part_is_begun_without_time_and_unknown_ones_are_named(
    parts, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        sys, "argv", ["bench.accelerator", "--out", str(tmp_path), "--minutes", "0.01"]
    )
    accelerator.main()
    assert capsys.readouterr().out.count("no time left") == 3
    monkeypatch.setattr(sys, "argv", ["bench.accelerator", "--only", "good,other"])
    with pytest.raises(SystemExit, match=r"\['other'\] are none of good, failing, endless"):
        accelerator.main()


def test_a_part_prints_its_records_as_lines(monkeypatch, capsys):
    part = Part(1, lambda quick: iter([{"quick": quick}, {"figure": 1.5}]))
    monkeypatch.setattr(accelerator, "PARTS", {"fake": part})
    monkeypatch.setattr(sys, "argv", ["bench.accelerator", "--part", "fake", "--quick"])
    accelerator.main()
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [{"quick": True}, {"figure": 1.5}]
