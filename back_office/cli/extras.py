"""What a command says where the packages that it needs are not installed: which extra brings them."""

from __future__ import annotations

from typing import Final

WRONG_INSTALLATION: Final = 2
"""Exit code where a command's packages are missing: as for wrong usage, nothing was tried."""

BACK_OFFICE: Final = "back-office"
"""The extra of the command itself: what works with a gateway elsewhere, or with an export."""
GATEWAY: Final = "gateway"
"""The extra of the gateway's machine: PostgreSQL and what serves."""

_OURS: Final = frozenset({"clearing", "merchant_gateway", "settlement", "back_office", "benchmarks"})


def is_of_an_extra(error: ModuleNotFoundError) -> bool:
    """Whether what is missing is another project's package; a module of our own that is missing is a defect."""
    return (error.name or "").partition(".")[0] not in _OURS | {""}


def how_to_install(error: ModuleNotFoundError, extra: str) -> str:
    """One sentence for whoever called: the package that is missing, and the command that installs the extra."""
    return f"The Python package {error.name} is not installed: pip install 'loyalty-clearing[{extra}]'"
