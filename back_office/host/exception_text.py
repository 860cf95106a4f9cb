"""How an exception is written down: what went wrong and where, without the data that it went wrong with.

Left out are the frames' local variables, which hold envelopes, tokens and keys; what a database quotes of rows; and
whatever looks like a secret all the same.
"""

from __future__ import annotations

import re
import traceback
from typing import Any, Final

from structlog.typing import ExcInfo

SECRETS: Final = re.compile(
    r"card_[0-9A-Z]{26}"  # a card token: whoever has it can ask for the balance
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"  # a caller's JWT
    r"|PRIVATE\+KEY\+[^\s'\"]+"  # a signer's key in C2SP signed-note form
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"
    r"|[0-9a-fA-F]{128,}",  # bytes as PostgreSQL writes them, of a signature's length or an envelope's
    re.DOTALL,
)
"""No line of ours names these. A library's exception may, and is stripped of them."""


def without_secrets(text: str) -> str:
    """The text without anything that looks like a secret."""
    return SECRETS.sub("***", text)


def text_of(error: BaseException) -> str:
    """What went wrong, in the words of whoever raised it."""
    from clearing.postgres.database_errors import message_of  # late: most commands need no database, nor its libraries

    return without_secrets(message_of(error))


def exception_objects(exc_info: ExcInfo) -> list[dict[str, Any]]:
    """For programs: the exception, then what caused it, each with the code's places that it passed."""
    return [
        {
            "exc_type": type(error).__name__,
            "exc_value": text_of(error),
            **({"sqlstate": sqlstate} if (sqlstate := getattr(error, "pgcode", None)) else {}),
            "frames": [
                {"filename": frame.filename, "lineno": frame.lineno, "name": frame.name}
                for frame in traceback.extract_tb(error.__traceback__)
            ],
        }
        for error in _with_causes(exc_info[1])
    ]


def exception_text(exc_info: ExcInfo) -> str:
    """For people: the same, the cause first, as Python has it."""
    return "\nwhich led to:\n\n".join(
        "".join(traceback.format_tb(error.__traceback__)) + f"{type(error).__name__}: {text_of(error)}\n"
        for error in reversed(_with_causes(exc_info[1]))
    )


def _with_causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return chain
