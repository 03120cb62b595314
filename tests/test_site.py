"""The site leaves nothing out: pages in its navigation, public names in its reference."""

import ast
import inspect
import re
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from types import ModuleType

import hgn_jax as hgn
from website.check import faults

ROOT = Path(__file__).parent.parent
REFERENCE = [
    name
    for page in sorted((ROOT / "docs" / "reference").glob("*.md"))
    for name in re.findall(r"^::: hgn_jax\.(\S+)$", page.read_text(), re.MULTILINE)
]


def exported(module: ModuleType) -> list[str]:
    """Names that the file of a module imports as themselves: `from .fit import fit as fit`."""
    tree = ast.parse(inspect.getsource(module))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return [alias.name for node in imports for alias in node.names if alias.asname == alias.name]


def defined(module: ModuleType) -> list[str]:
    """Public functions and classes that a module defines."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def public() -> list[str]:
    """Names that users write after `hgn.`, those in modules included."""
    names = []
    for name in exported(hgn):
        value = getattr(hgn, name)
        if isinstance(value, ModuleType):
            names += [f"{name}.{inner}" for inner in exported(value) or defined(value)]
        else:
            names.append(name)
    return names


def test_navigation_names_every_page_once():
    files = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")]
    files += (ROOT / "docs").rglob("*.md")
    files += (notebook.with_suffix(".md") for notebook in (ROOT / "notebooks").glob("*.ipynb"))
    navigation = re.findall(r"[\w/]+\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(navigation) == sorted(str(file.relative_to(ROOT)) for file in files)


def test_reference_explains_every_public_name_once():
    names = public()
    assert {"fit", "graphs.from_frames", "metrics.relative_error", "ase.Calculator"} <= set(names)
    assert sorted(set(names) - set(REFERENCE)) == []
    assert len(REFERENCE) == len(set(REFERENCE))


def test_reference_names_what_has_a_docstring():
    assert [name for name in REFERENCE if not inspect.getdoc(attrgetter(name)(hgn))] == []


def test_reference_of_the_command_line_is_that_of_its_options():
    page = ROOT / "docs" / "reference" / "cli.md"
    command = ["-m", "typer", "hgn_jax.cli", "utils", "docs", "--name", "hgn-jax"]
    command += ["--title", "Command line"]
    written = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert written.returncode == 0, written.stderr
    assert page.read_text().strip() == written.stdout.strip(), (
        f"run .venv/bin/python {' '.join(command)} --output {page.relative_to(ROOT)}"
    )


def test_faults_of_a_built_site_are_found(tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text('<h1 id="here"></h1><a href="https://x.org/">')
    (tmp_path / "style.css").write_text("a { src: url(https://x.org/font.woff2) }")
    (tmp_path / "index.html").write_text(
        '<a href="page/#here"></a><a href="page/#gone"></a><a href="gone/"></a>'
        '<img src="gone.png"><script src="https://x.org/x.js"></script>'
    )
    words = [fault.removeprefix(f"{tmp_path}/") for fault in faults(tmp_path)]
    assert words == [
        "index.html: gone.png leads to no file",
        "index.html: gone/ leads to no file",
        "index.html: loads https://x.org/x.js",
        "index.html: page/#gone leads to no anchor",
        "style.css: loads https://x.org/font.woff2",
    ]
