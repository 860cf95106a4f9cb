"""What each refusal means, and what to do next, in plain words."""

from __future__ import annotations

from clearing.model import Outcome

_SEE_WINDOWS = "see: clearing window list"

EXPLANATIONS: dict[Outcome, str] = {
    Outcome.REFERENCE_REUSED: "this reference was used before for something else; give another with --reference",
    Outcome.UNKNOWN_CARD: "a card has not been opened",
    Outcome.ALLIANCE_EXISTS: "this log has its alliance already",
    Outcome.MERCHANT_EXISTS: "a merchant of this identifier is a member already; see: clearing merchant list",
    Outcome.UNKNOWN_MERCHANT: "no merchant of this identifier is a member; admit it first: clearing merchant admit",
    Outcome.STORE_EXISTS: (
        "a store of this identifier exists already, perhaps another merchant's; see: clearing store list"
    ),
    Outcome.KEY_EXISTS: "the key is registered already, and a key is registered once; see: clearing key list",
    Outcome.KEY_NOT_REGISTERED: "no such key is registered; see: clearing key list",
    Outcome.KEY_ALREADY_REVOKED: "the key is revoked already; see: clearing key list",
    Outcome.LAST_OPERATOR_KEY: (
        "without this key too few operators would be left to sign; register another operator's key first"
    ),
    Outcome.TERMS_BACKDATED: ("prices change with the first day of a month that has not begun; name a later month"),
    Outcome.WINDOW_NOT_OVER: "the month is not over yet in the ledger's time; close it after its last day",
    Outcome.WINDOW_ALREADY_CLOSED: f"the window is closed already; {_SEE_WINDOWS}",
    Outcome.WINDOW_OUT_OF_ORDER: f"windows close in order from the founding on; {_SEE_WINDOWS}",
    Outcome.WINDOW_NOT_CLOSED: "the window is not closed yet; close it first: clearing window close",
    Outcome.SETTLEMENT_NOT_PROPOSED: "no settlement is proposed yet; propose it first: clearing window close",
    Outcome.PROPOSAL_DIFFERS: "another settlement was proposed last than the one you approve; read its statement again",
    Outcome.SETTLEMENT_ALREADY_APPROVED: f"the settlement is approved already; {_SEE_WINDOWS}",
    Outcome.SETTLEMENT_NOT_APPROVED: "the settlement is not approved yet; approve it first: clearing window approve",
    Outcome.UNKNOWN_PAYMENT: "the approved settlement has no such payment; see: clearing window show",
    Outcome.PAYMENT_ALREADY_RECORDED: "the payment is recorded already; see: clearing window show",
    Outcome.SETTLEMENT_DIFFERS: (
        "what is signed is not what the ledger comes to; take what the gateway computes: clearing window propose"
    ),
    Outcome.AMENDMENT_TOO_SOON: (
        "an amendment is told so many days before as the constitution says; see: clearing alliance show"
    ),
    Outcome.CONSTITUTION_UNCHANGED: "the constitution is so on that day already; see: clearing alliance show",
    Outcome.ADOPTION_TOO_SOON: "that window has begun already, and keeps its versions; name a later one",
    Outcome.VERSION_GOES_BACK: ("versions only go up from window to window; see those adopted: clearing alliance show"),
    Outcome.OFFSETS_TOO_SOON: (
        "offsets change 24 hours after the entry at the earliest; name a later time with --from, and sign again"
    ),
    Outcome.OFFSETS_UNCHANGED: "the offsets are logged so already; see: clearing status",
    Outcome.VERSIONS_UNCHANGED: "these versions hold in that window already; see: clearing alliance show",
}
"""Of every outcome an instruction can have but ACCEPTED."""


def explanation(outcome: Outcome) -> str:
    """What the outcome means for whoever gave the instruction."""
    return EXPLANATIONS.get(outcome, "docs/protocol.md says what this means")
