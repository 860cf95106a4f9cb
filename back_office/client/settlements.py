"""A closed window's settlement: reading what the gateway computes, proposing it, and agreeing to it."""

from __future__ import annotations

from back_office.client.connection import GatewayConnection
from back_office.client.instructing import Unsigned
from back_office.client.windows import find_window
from back_office.errors import BackOfficeError
from clearing.contract.decoding import content_digest
from clearing.signing.keys import PrivateKey
from clearing.v1.instruction_pb2 import ApproveSettlement, Instruction, ProposeSettlement
from clearing.v1.settlement_pb2 import GetSettlementRequest


def computed_settlement(connection: GatewayConnection, key: PrivateKey, window: str) -> ProposeSettlement:
    """What the window settles to, as the gateway computes it. Raises ``GatewayError`` where it is not closed."""
    return connection.call(connection.settlement.GetSettlement, GetSettlementRequest(window=window), key).proposal


def proposed_settlement(
    connection: GatewayConnection, key: PrivateKey, window: str, digest: str | None = None
) -> ProposeSettlement:
    """The settlement that is proposed, if the gateway computes the same, and it is the one that was read.

    ``digest`` is the SHA-256 of the alliance's statement that was read, in hexadecimal. Raises ``BackOfficeError``
    where it is another one, and what ``find_window`` raises.
    """
    proposed = find_window(connection, key, window).alliance_statement_digest
    if proposed is None:
        raise BackOfficeError(f"no settlement of {window} is proposed yet; first: clearing window close {window}")
    settlement = computed_settlement(connection, key, window)
    computed = settlement.alliance_statement_digest
    if computed != proposed:
        raise statement_differs(window, proposed.hex(), computed.hex())
    if digest is not None and digest.lower() != proposed.hex():
        raise statement_differs(window, proposed.hex(), digest.lower())
    return settlement


def proposing(settlement: ProposeSettlement) -> Unsigned:
    """Log what a closed window settles to."""
    parts = ("propose", settlement.window, content_digest(settlement).hex()[:12])
    return Unsigned(Instruction(propose_settlement=settlement), parts)


def approving(settlement: ProposeSettlement) -> Unsigned:
    """Agree to a settlement that is proposed: by another person than its proposer."""
    parts = ("approve", settlement.window, content_digest(settlement).hex()[:12])
    return Unsigned(Instruction(approve_settlement=ApproveSettlement(proposal=settlement)), parts)


def statement_differs(window: str, proposed: str, other: str) -> BackOfficeError:
    """The alliance's statement is not the one that was proposed, or not the one that was read.

    ``proposed`` is the digest that is logged, ``other`` the one computed or read, in hexadecimal.
    """
    return BackOfficeError(
        f"the statement proposed for {window} has the SHA-256 {proposed}, and not {other}; read it again with "
        f"clearing window show {window}, and have it proposed again if it is not right"
    )
