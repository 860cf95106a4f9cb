"""What the documents point at exists: links, headings within documents, and files named in the text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(document.relative_to(ROOT)) for document in DOCUMENTS]

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
PATH_IN_TEXT = re.compile(r"`((?:clearing|merchant_gateway|settlement|tests|docs|proto|\.ci)/[\w./*-]*)`")


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as they are made of the headings' text where Markdown is shown."""
    made: set[str] = set()
    for heading in HEADING.findall(FENCE.sub("", document.read_text())):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        repeated = sum(1 for other in made if re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other))
        made.add(f"{anchor}-{repeated}" if anchor in made else anchor)
    return made


def links(document: Path) -> list[str]:
    """Targets of a document's links that are not on the web."""
    targets: list[str] = LINK.findall(FENCE.sub("", document.read_text()))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def test_there_are_documents_and_links_to_check() -> None:
    assert {"docs/protocol.md", "docs/errors.md"} <= set(NAMES)
    assert len(links(ROOT / "docs/protocol.md")) > 10


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_link_leads_somewhere(document: Path) -> None:
    broken = []
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_path_named_in_the_text_exists(document: Path) -> None:
    named: list[str] = PATH_IN_TEXT.findall(FENCE.sub("", document.read_text()))
    assert not [path for path in named if not any(ROOT.glob(path.rstrip("/")))]
