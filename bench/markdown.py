"""Markdown templates: prose with `{{placeholders}}`, which the sections fill with figures."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"


def filled(name: str, values: Mapping[str, str]) -> str:
    """Template of that name with its placeholders replaced.

    **Raises:** `ValueError` if a placeholder has no value, or a value no placeholder.
    """
    template = (TEMPLATES / f"{name}.md").read_text().strip()
    wanted = set(re.findall(r"\{\{(\w+)\}\}", template))
    if wanted != values.keys():
        raise ValueError(
            f"{name}.md has the placeholders {sorted(wanted)}, but its section computes "
            f"{sorted(values)}"
        )
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def rows(table: Iterable[Iterable[str]]) -> str:
    """Lines of a Markdown table, without its head."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in table)


def factor(value: float | None) -> str:
    """A ratio of times as text; a dash if there is none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
