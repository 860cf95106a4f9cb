"""Who reads: the key that signed a read's token, and what its role lets it see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from clearing.contract import bounds
from clearing.errors import ErrorReason, Rejection
from clearing.model import KeyId, MerchantId, Role

STAFF: Final = (Role.OPERATOR, Role.FINANCE, Role.AUDITOR)
"""They read everything. The cardholders' desk, whose role is service, is not among them: it reads cards, transactions,
members, stores and keys, and no prices, statements or entries."""
MEMBERS: Final = (Role.MERCHANT, Role.MERCHANT_OFFICE)
"""They read what is their merchant's."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated reader."""

    key_id: KeyId
    role: Role
    merchant: MerchantId | None
    """Of a merchant's key: whose it is."""

    def merchant_in_view(self, asked: str) -> MerchantId:
        """The merchant whose data is read: a merchant's own; whom the others name.

        Raises ``Rejection`` with NOT_FOUND where a merchant asks for another's, INVALID_FIELD where nobody is named.
        """
        if self.merchant is not None:
            if asked not in ("", self.merchant):
                raise Rejection(ErrorReason.NOT_FOUND, "no such merchant among those you may see", field="merchant")
            return self.merchant
        if not asked:
            raise Rejection(ErrorReason.INVALID_FIELD, "merchant: name the merchant to read", field="merchant")
        return bounds.participant(asked, "merchant")

    def require_role(self, *roles: Role) -> None:
        """Refuse with ROLE_NOT_ALLOWED a caller of another role."""
        if self.role not in roles:
            allowed = ", ".join(role.name.lower() for role in roles)
            raise Rejection(
                ErrorReason.ROLE_NOT_ALLOWED,
                f"this takes a key of the role {allowed}, and yours has the role {self.role.name.lower()}",
            )
