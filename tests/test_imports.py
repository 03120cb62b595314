"""Imports of the package point one way."""

import ast
from pathlib import Path

import pytest

import hgn_jax

ROOT = Path(hgn_jax.__file__).parent
LAYERS = [
    {"__main__"},
    {"cli"},
    {"demo"},
    {"plots", "ase", "export"},
    {"metrics", "deviation"},
    {"fitting", "dynamics", "flows"},
    {"io"},
    {"systems", "integrators"},
    {"models"},
    {"features"},
    {"graphs", "linear"},
    {"_arguments", "_quick_compile"},
    {"_types", "_tree", "_page", "_progress", "_block_sizes", "groups"},
]
"""Each layer imports only layers below it; members of a layer do not import one another."""
FLOOR = {name: floor for floor, names in enumerate(LAYERS) for name in names}
MODULES = sorted(p.relative_to(ROOT) for p in ROOT.rglob("*.py") if p.name != "__init__.py")


def imported(path: Path) -> set[tuple[str, ...]]:
    """Modules of the package that a file imports, at its top or later, as paths of names."""
    folder = path.parent.parts
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = folder[: len(folder) - node.level + 1]
        target = (*base, *(node.module.split(".") if node.module else ()))
        for alias in node.names:
            longer = (*target, alias.name)
            module = (ROOT.joinpath(*longer).with_suffix(".py")).exists()
            found.add(longer if module or ROOT.joinpath(*longer).is_dir() else target)
    return {f for f in found if f}


def folder_of(path: tuple[str, ...]) -> str:
    return path[0]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_from_lower_layers(path):
    own = folder_of(path.with_suffix("").parts)
    for target in imported(path):
        other = folder_of(target)
        assert other == own or FLOOR[other] > FLOOR[own], f"{path} imports {'.'.join(target)}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {p.with_suffix("").parts: imported(p) for p in MODULES}
    done: set = set()

    def visit(module, above):
        assert module not in above, " -> ".join(".".join(m) for m in (*above, module))
        if module in done or module not in graph:
            return
        for target in sorted(graph[module]):
            visit(target, (*above, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_the_house_is_small():
    """Few files at the top level, short files everywhere."""
    assert len([p for p in MODULES if len(p.parts) == 1]) <= 14
    lines = sorted(len((ROOT / p).read_text().splitlines()) for p in MODULES)
    assert lines[len(lines) // 2] <= 120 and lines[-1] <= 300
