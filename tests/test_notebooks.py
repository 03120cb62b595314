import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))

DRAWS = re.compile(r"\.plots\.(?!view\()|plt\.subplots\(")
"""Calls that show a figure; `view` writes a page."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": tmp_path}})
    client.execute()
    figures = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    plotted = [
        cell for cell in notebook.cells if cell.cell_type == "code" and DRAWS.search(cell.source)
    ]
    assert len(figures) == len(plotted) > 0
