"""The tables that tell of actions: each knows them all."""

from typing import get_args

from back_office.client.wording import WORDS
from clearing.contract.instruction import DECODERS
from clearing.model import Action
from clearing.rules.actions import ACTIONS, ActionRule
from clearing.v1 import instruction_pb2

FIELDS = {
    name: field.message_type.name
    for name, field in instruction_pb2.Instruction.DESCRIPTOR.fields_by_name.items()
    if field.containing_oneof is not None and field.message_type is not None
}


def test_every_action_of_the_contract_is_decoded_decided_and_put_into_words() -> None:
    assert set(DECODERS) == set(FIELDS)
    actions = set(get_args(Action))
    assert {action.__name__ for action in actions} == set(FIELDS.values())
    assert set(ACTIONS) == actions
    assert set(WORDS) == actions


def test_every_row_says_who_signs_and_stands_under_its_own_action() -> None:
    for action, row in ACTIONS.items():
        assert isinstance(row, ActionRule)
        assert row.action is action
        assert row.roles
