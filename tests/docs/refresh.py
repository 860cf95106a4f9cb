"""Writes the worked example of the protocol anew: `python -m tests.docs.refresh`, once the contract's bytes changed.

Into docs/protocol-example.json, and into the blocks of docs/protocol.md that are named after places in it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.docs.by_hand_example import example

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(?P<form>hex|text) (?P<place>\S+)\n.*?^```$", re.MULTILINE | re.DOTALL)


def value_at(values: Any, place: str) -> Any:
    """The value at a place such as ``entries.presentment.payload``."""
    for step in place.split("."):
        values = values[int(step)] if isinstance(values, list) else values[step]
    return values


def main() -> None:
    """Write both files."""
    values = example()

    def block(found: re.Match[str]) -> str:
        value = value_at(values, found["place"])
        shown = value if isinstance(value, list) else [value.rstrip("\n")]
        return "\n".join([f"```{found['form']} {found['place']}", *shown, "```"])

    (DOCS / "protocol-example.json").write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    protocol = DOCS / "protocol.md"
    protocol.write_text(BLOCK.sub(block, protocol.read_text()))


if __name__ == "__main__":
    main()
