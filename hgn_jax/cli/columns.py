"""Names of columns and units, as the command line writes them and as Python does."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def parsed(options: Sequence[str]) -> dict[str, Any] | None:
    """Argument `columns=` of `hgn.read` from texts such as `time=t`, `sun=x1,y1` and
    `sun.velocity=u1,v1`; None if there are none.

    **Raises:** `ValueError` for other texts, and for a name that is given twice.
    """
    columns: dict[str, Any] = {}
    for text in options:
        name, _, titles = text.partition("=")
        body, dot, array = name.partition(".")
        if not (body and titles) or (dot and not array):
            raise ValueError(
                "--columns must be NAME=COLUMN, such as time=t, or BODY=COLUMN,COLUMN, such as "
                f"sun=x1,y1 or sun.velocity=u1,v1, got {text!r}"
            )
        held: Any = columns.setdefault(body, {}) if dot else columns
        key = array if dot else body
        if not isinstance(held, dict) or key in held:
            raise ValueError(
                f"--columns names {name!r} twice; with other arrays, positions are "
                f"{body}.position=..."
            )
        parts = tuple(title.strip() for title in titles.split(","))
        held[key] = parts if len(parts) > 1 else parts[0]
    return columns or None


def as_options(message: str) -> str:
    """The message with `--columns {...}` and `--units {...}` as this command takes them."""

    def option(found: re.Match[str]) -> str:
        texts = list(_texts(ast.literal_eval(found[2])))
        if found[1] == "units":
            return f"--units {','.join(texts)}"
        return " ".join(f"--columns {text}" for text in texts)

    return re.sub(r"--(columns|units) (\{[^{}]*\})", option, message)


def _texts(columns: Mapping[str, Any]) -> Iterator[str]:
    for name, titles in columns.items():
        yield f"{name}={titles if isinstance(titles, str) else ','.join(titles)}"
