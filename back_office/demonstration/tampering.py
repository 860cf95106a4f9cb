"""What happens to somebody who alters the log: the audit names the entry."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from back_office.cli.console import say
from back_office.errors import BackOfficeError
from clearing.errors import ClearingError
from clearing.log.note import Verifier
from settlement.auditing.audit import verify_export


def show_that_a_flipped_byte_is_caught(log: Path, verifier: Verifier) -> None:
    """Flip one bit in the middle of a copy's entries, and print what the audit says. Raises ``BackOfficeError``."""
    with tempfile.TemporaryDirectory(prefix="clearing-demo-") as folder:
        altered = Path(shutil.copytree(log, Path(folder) / "log"))
        bundles = sorted(path for path in (altered / "tile" / "entries").rglob("*") if path.is_file())
        bundle = bundles[len(bundles) // 2]
        content = bytearray(bundle.read_bytes())
        place = len(content) // 2
        content[place] ^= 1
        bundle.write_bytes(content)
        say(f"One bit of byte {place:,} of {bundle.relative_to(altered)} is flipped. The audit says:")
        try:
            verify_export(altered, verifier)
        except ClearingError as error:
            say(f"  {error}", "red")
            return
    raise BackOfficeError("the audit did not notice a flipped byte; please report this")
