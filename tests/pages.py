"""Runs the Python blocks of Markdown pages in order, and compares their output with the page."""

import contextlib
import io
import math
import re
import warnings
from pathlib import Path

import jax

ROOT = Path(__file__).parent.parent
ROUNDING = 1e-8
"""Numbers below it are rounding errors, which differ between machines."""
TOLERANCE = 0.02
"""Relative difference of the other numbers that a page may show."""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?(?![\w])")


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """(language, text, line) of the fenced blocks of a page."""
    text = page.read_text()
    return [(m[1], m[2], text.count("\n", 0, m.start()) + 2) for m in _BLOCK.finditer(text)]


def run(page: Path) -> dict:
    """Runs the Python blocks in one namespace and compares what they print with the `text` blocks
    that follow them. Warnings and errors count as output. Returns the namespace."""
    scope: dict = {"__name__": "page"}
    fenced = blocks(page)
    for (language, text, line), (following, expected, _) in zip(fenced, [*fenced[1:], ("", "", 0)]):
        if language != "python":
            continue
        # The line numbers of a traceback are those of the page.
        code = compile("\n" * (line - 1) + text, page.name, "exec")
        printed = _output(code, scope, may_fail=following == "text")
        wanted = expected if following == "text" else ""
        assert same(printed, wanted), f"{page.name}, line {line}, prints\n{printed}not\n{wanted}"
    return scope


def _output(code, scope: dict, may_fail: bool) -> str:
    out = io.StringIO()

    def show(message, category, *_):
        print(f"{category.__name__}: {message}", file=out)

    with (
        contextlib.redirect_stdout(out),
        warnings.catch_warnings(),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.showwarning = show
        try:
            exec(code, scope)
        except Exception as error:
            if not may_fail:
                raise
            out.write(f"{type(error).__name__}: {error}\n")
    return out.getvalue()


def same(printed: str, expected: str) -> bool:
    """True if the texts agree, with numbers to TOLERANCE, ignoring line breaks and indents."""
    texts = [" ".join(text.split()) for text in (printed, expected)]
    words = [_NUMBER.sub("#", text) for text in texts]
    numbers = [[float(n.replace(",", "")) for n in _NUMBER.findall(text)] for text in texts]
    return words[0] == words[1] and all(
        max(abs(a), abs(b)) < ROUNDING or math.isclose(a, b, rel_tol=TOLERANCE)
        for a, b in zip(*numbers, strict=True)
    )


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = _BLOCK.sub("", page.read_text())
    anchors = set()
    for title in re.findall(r"^#+ (.+)$", prose, re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        number = 0
        while anchor + (f"-{number}" if number else "") in anchors:
            number += 1
        anchors.add(anchor + (f"-{number}" if number else ""))
    return anchors


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    prose = _BLOCK.sub("", page.read_text())
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)
    return broken
