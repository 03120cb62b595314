"""Output of the commands: tables, JSON, and progress."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table

from .._progress import Progress


def say(text: str) -> None:
    """Prints text as it is; rich would break words and colour numbers."""
    Console(highlight=False, soft_wrap=True).print(text, markup=False)


def show_json(record: Mapping[str, Any]) -> None:
    # `default` converts the scalars of NumPy and JAX.
    typer.echo(json.dumps(record, indent=2, allow_nan=False, default=float))


def show_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; columns other than the first are numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for k, heading in enumerate(headings):
        table.add_column(heading, justify="right" if k else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


@contextmanager
def working(what: str) -> Iterator[None]:
    """A sign on stderr, if that is a screen, that something is being computed."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


@contextmanager
def progress(what: str) -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr with the time left, from the library's own reports."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[words]}"),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None, words="compiling")

        def report(state: Progress) -> None:
            words = str(state).removeprefix(f"{state.what} ")
            bar.update(task, total=state.total, completed=state.done, words=words)

        yield report
