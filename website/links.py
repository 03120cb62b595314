"""Links code such as `hgn.fit(data)` or `QR()`, in pages and docstrings, to the reference."""

import re
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
DOCUMENTED = {
    name
    for page in REFERENCE.glob("*.md")
    for name in re.findall(r"^::: hgn_jax\.(\S+)$", page.read_text(), re.MULTILINE)
}
NAME = re.compile(r"(?:hgn\.)?((?<=\.)[\w.]*\w|[A-Z]\w+)")
TITLES = ("a", "h1", "h2", "h3", "h4", "h5", "h6")


class Links(Treeprocessor):
    """Puts such code into elements that mkdocstrings replaces by links."""

    def run(self, root: Element) -> None:
        for child in root:
            if child.tag == "code" and (name := NAME.match(child.text or "")):
                if name[1] in DOCUMENTED:
                    link = SubElement(child, "autoref", identifier=f"hgn_jax.{name[1]}")
                    link.text, child.text = child.text, None
            elif child.tag not in TITLES:
                self.run(child)


class LinksExtension(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        md.treeprocessors.register(Links(md), "links", 5)  # after the texts have become code


def makeExtension() -> LinksExtension:
    """Called by Markdown."""
    return LinksExtension()
