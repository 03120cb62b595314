"""The pages of docs/ print what they show when they are run; no link is broken."""

import os
import socket
import subprocess
import sys

import jax
import pages
import pytest

PAGES = sorted((pages.ROOT / "docs").glob("*.md"))
REFERENCE = (pages.ROOT / "docs" / "reference").glob("*.md")
PROSE = [
    *PAGES,
    *REFERENCE,
    *(pages.ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")),
]


@pytest.fixture(autouse=True)
def programs_of_one_page():
    """Those of all pages together take more memory maps than Linux allows."""
    yield
    jax.clear_caches()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages.run(page)


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(pages.ROOT)))
def test_links_lead_to_files_and_headings(page):
    assert pages.broken_links(page) == []


def test_every_page_is_linked_from_the_readme():
    readme = (pages.ROOT / "README.md").read_text()
    assert [page.name for page in PAGES if f"(docs/{page.name})" not in readme] == []


def test_the_script_for_clusters_runs_in_two_processes(tmp_path):
    (script,) = (
        text
        for _, text, _ in pages.blocks(pages.ROOT / "docs" / "streams.md")
        if text.startswith("# cluster.py")
    )
    (tmp_path / "cluster.py").write_text(script)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    command = [sys.executable, "cluster.py", address, "2"]
    path = os.pathsep.join([str(pages.ROOT), os.environ.get("PYTHONPATH", "")])
    processes = [
        subprocess.Popen(
            [*command, rank], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    try:
        ends = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for rank, (out, err) in enumerate(ends):
        assert f"{rank} 19200 rows" in out.splitlines(), err


@pytest.mark.parametrize(
    ("printed", "expected", "agree"),
    [
        ("error 3e-15\n", "error 8e-16\n", True),
        ("error 3e-05", "error 8e-16", False),
        ("x = 1.00,\n   2.0", "x = 1.01, 2.0", True),
        ("x = 1.0", "x = 1.1", False),
        ("8 bodies", "8 atoms", False),
        ("1,000 bodies", "1,000 bodies", True),
        ("nan", "1.0", False),
        ("", "1.0", False),
    ],
)
def test_outputs_agree_up_to_rounding(printed, expected, agree):
    assert pages.same(printed, expected) is agree


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title, `code`\n[a](page.md#a-title-code) [b](#nowhere) [c](gone.md)\n")
    assert pages.broken_links(page) == ["#nowhere", "gone.md"]
