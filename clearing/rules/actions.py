"""The table of actions: one row says of an instruction who may sign it, how many people, and what decides it.

Deciding, authority, loading and the writer's start ask this table. What an action's bytes mean is a row of
``clearing.contract.instruction.DECODERS``, how a person reads it one of ``back_office.client.wording.WORDS``; a test
keeps the three complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Generic, TypeVar

from clearing.model import (
    Action,
    AdmitMerchant,
    AdoptRules,
    AmendConstitution,
    ApproveSettlement,
    CardToken,
    CloseWindow,
    CreateAlliance,
    ExpireLots,
    MerchantId,
    OpenStore,
    ProposeSettlement,
    RecordPayment,
    RegisterKey,
    RevokeKey,
    Role,
    SetOffsets,
    SetTerms,
)
from clearing.rules.adoption import adopt_rules
from clearing.rules.amendment import amend_constitution
from clearing.rules.case import Case, Ruling
from clearing.rules.directory import Directory
from clearing.rules.expire_cards import expire_cards
from clearing.rules.founding import found_again
from clearing.rules.key_register import member_revoked, member_to_be, register_key, revoke_key
from clearing.rules.membership import admit_merchant, open_store
from clearing.rules.offsets import set_offsets
from clearing.rules.terms import set_terms
from clearing.rules.windows import approve_settlement, close_window, propose_settlement, proposers_of, record_payment

ActionT = TypeVar("ActionT", bound=Action)


class People(Enum):
    """How many people sign."""

    ONE = auto()
    """One is enough."""
    TWO = auto()
    """Two different people, always."""
    TWO_WITH_FOUR_EYES = auto()
    """Two different people where the alliance asks for four eyes, one elsewhere."""


@dataclass(frozen=True, slots=True)
class ActionRule(Generic[ActionT]):
    """One row: what the rules know of an action."""

    action: type[ActionT]
    roles: frozenset[Role]
    """Who of the alliance's people may sign."""
    people: People
    """How many of them."""
    decide: Callable[[Case, ActionT], Ruling]
    """What it comes to. Reads its arguments only."""
    proposers: Callable[[Directory, ActionT], frozenset[str]] | None = None
    """Who proposed what it agrees to: somebody else must sign it, alone or beside them. None: it agrees to nothing that
    was proposed."""
    office_of: Callable[[Directory, ActionT], MerchantId | None] | None = None
    """The merchant named in it, whose office may sign it alone; None: no office may."""
    is_the_offices: bool = False
    """While that merchant has a valid office key, nobody else may sign it."""
    cards: Callable[[ActionT], tuple[CardToken, ...]] | None = None
    """The cards that it changes; None: it changes the directory only."""


_OPERATOR = frozenset({Role.OPERATOR})
_OPERATOR_OR_FINANCE = frozenset({Role.OPERATOR, Role.FINANCE})

_ROWS: Final = (
    ActionRule(CreateAlliance, _OPERATOR, People.ONE, found_again),
    ActionRule(AdmitMerchant, _OPERATOR, People.TWO_WITH_FOUR_EYES, admit_merchant),
    ActionRule(OpenStore, _OPERATOR, People.ONE, open_store),
    ActionRule(
        RegisterKey, _OPERATOR, People.TWO_WITH_FOUR_EYES, register_key, office_of=member_to_be, is_the_offices=True
    ),
    ActionRule(RevokeKey, _OPERATOR, People.TWO_WITH_FOUR_EYES, revoke_key, office_of=member_revoked),
    ActionRule(SetTerms, _OPERATOR, People.TWO_WITH_FOUR_EYES, set_terms),
    ActionRule(ExpireLots, _OPERATOR, People.ONE, expire_cards, cards=lambda action: action.cards),
    ActionRule(SetOffsets, _OPERATOR, People.TWO_WITH_FOUR_EYES, set_offsets),
    ActionRule(AdoptRules, _OPERATOR, People.TWO, adopt_rules),
    ActionRule(AmendConstitution, _OPERATOR, People.TWO, amend_constitution),
    ActionRule(CloseWindow, _OPERATOR_OR_FINANCE, People.ONE, close_window),
    ActionRule(ProposeSettlement, _OPERATOR_OR_FINANCE, People.ONE, propose_settlement),
    ActionRule(
        ApproveSettlement,
        _OPERATOR_OR_FINANCE,
        People.TWO_WITH_FOUR_EYES,
        approve_settlement,
        proposers=proposers_of,
    ),
    ActionRule(RecordPayment, _OPERATOR_OR_FINANCE, People.ONE, record_payment),
)

ACTIONS: Final[Mapping[type[Action], ActionRule[Any]]] = {row.action: row for row in _ROWS}
"""The rows, by action."""


def rule_of(action: Action) -> ActionRule[Any]:
    """The action's row."""
    return ACTIONS[type(action)]


def cards_of(action: Action) -> tuple[CardToken, ...]:
    """The cards that the action changes."""
    row = rule_of(action)
    return row.cards(action) if row.cards is not None else ()
