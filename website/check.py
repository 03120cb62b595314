"""Checks the built site: links lead to files and anchors, and no page loads anything from another
host. The strict build checks neither pictures, nor links of docstrings, nor hosts."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src")}
"""What a browser fetches unasked."""


class Page(HTMLParser):
    """The anchors of a page, its links, and what it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loaded = {""}, set(), set()
        self.feed(file.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name == "id":
                self.anchors.add(value or "")
            elif (tag, name) in LOADED:
                self.loaded.add(value or "")
            elif (tag, name) == ("a", "href"):
                self.links.add(value or "")


def faults(site: Path) -> list[str]:
    """One line for each link that is broken, and each thing that comes from another host."""
    pages = {file: Page(file) for file in sorted(site.rglob("*.html"))}
    found = []
    for file, page in pages.items():
        for link in sorted(page.links | page.loaded):
            scheme, host, path, _, anchor = urlsplit(link)
            if scheme or host:
                found += [f"{file}: loads {link}"] if link in page.loaded else []
                continue
            target = _file(site if path.startswith("/") else file.parent, path) if path else file
            if not target.is_file():
                found.append(f"{file}: {link} leads to no file")
            elif target in pages and unquote(anchor) not in pages[target].anchors:
                found.append(f"{file}: {link} leads to no anchor")
    for sheet in sorted(site.rglob("*.css")):
        urls = re.findall(r"url\([\"']?(https?:[^\"')]+)", sheet.read_text())
        found += [f"{sheet}: loads {url}" for url in urls]
    return found


def _file(folder: Path, path: str) -> Path:
    target = (folder / unquote(path).lstrip("/")).resolve()
    return target / "index.html" if target.is_dir() else target


if __name__ == "__main__":
    lines = faults(Path(sys.argv[1]).resolve())
    print("\n".join(lines) or "links lead somewhere, nothing comes from another host")
    sys.exit(bool(lines))
