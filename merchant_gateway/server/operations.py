"""The service that the operator and finance call: instructions, and the alliance's directory."""

from __future__ import annotations

import grpc
import sqlalchemy

from clearing.contract import bounds
from clearing.contract.entry import decode_entry, timestamp_of
from clearing.contract.instruction import encode_offsets
from clearing.deciding.caller import MEMBERS, STAFF
from clearing.errors import ErrorReason, Rejection
from clearing.model import AdoptRules, AmendConstitution, CreateAlliance, EntryIndex, MerchantId, Role
from clearing.postgres.database import snapshot
from clearing.postgres.database_errors import translated_errors
from clearing.postgres.reading.ledger_reads import list_past_lots
from clearing.postgres.reading.stored_log import stored_leaf
from clearing.rules.directory import Key, Merchant, Prices, TermsScope, Versions
from clearing.v1 import instruction_pb2
from clearing.v1 import operations_pb2 as contract
from clearing.v1.operations_pb2_grpc import OperationsServicer
from clearing.writer.writer import Writer
from merchant_gateway.server.authentication import Authenticator
from merchant_gateway.server.calls import caller_of, instruction_of


class Operations(OperationsServicer):
    """Instructions go the way transactions go; the directory is read from the writer's memory."""

    def __init__(self, writer: Writer, engine: sqlalchemy.Engine, authenticator: Authenticator) -> None:
        self._writer = writer
        self._engine = engine
        self._authenticator = authenticator
        self._constitution: instruction_pb2.CreateAlliance | None = None
        """As the log's first entry has it."""

    def Instruct(self, request: contract.InstructRequest, context: grpc.ServicerContext) -> contract.InstructResponse:
        """Authenticate on this thread, wait for the writer, answer with the receipt."""
        message = instruction_of(request.envelope, context, self._authenticator)
        (reply,) = self._writer.submit([message]).result()
        if isinstance(reply, Rejection):
            raise reply
        return contract.InstructResponse(receipt=reply.message())

    def GetAlliance(
        self, request: contract.GetAllianceRequest, context: grpc.ServicerContext
    ) -> contract.GetAllianceResponse:
        """The constitution in force, what was and will be amended, and where the ledger stands; anyone may ask."""
        directory = self._authenticator.directory()
        ledger_time = self._authenticator.ledger_time()
        window = directory.window_at(ledger_time)
        head = self._writer.head
        assert head is not None, "an alliance has a log"
        if self._constitution is None:
            # Read once: this call takes no key, and anybody who repeats it must not keep the database busy.
            with translated_errors(), self._engine.connect() as connection:
                founding = decode_entry(stored_leaf(connection, EntryIndex(0)))
            instruction = instruction_pb2.Instruction.FromString(founding.envelope.payload)
            self._constitution = instruction.create_alliance
        return contract.GetAllianceResponse(
            origin=directory.origin,
            constitution=_in_force(
                self._constitution,
                directory.constitution_on(directory.local_date(ledger_time)),
                directory.versions_in(window),
            ),
            accepted_at=timestamp_of(head.accepted_at),
            window=window,
            log_size=head.size,
            zone_offsets=encode_offsets(directory.calendar.offsets),
            amendments=[
                contract.Amendment(entry_index=each.entry_index, amendment=_amendment(each.action))
                for each in directory.amendments
            ],
            adoptions=[
                contract.Adoption(entry_index=each.entry_index, adoption=_adoption(each.action))
                for each in directory.adoptions
            ],
            log_id=directory.log_id,
        )

    def GetMerchant(
        self, request: contract.GetMerchantRequest, context: grpc.ServicerContext
    ) -> contract.GetMerchantResponse:
        """One merchant with its stores."""
        caller_of(context, self._authenticator)
        merchant = self._authenticator.directory().merchants.get(MerchantId(request.merchant))
        if merchant is None:
            raise Rejection(ErrorReason.NOT_FOUND, f"no merchant {request.merchant[:32]!r}", field="merchant")
        return contract.GetMerchantResponse(merchant=_merchant(merchant))

    def ListMerchants(
        self, request: contract.ListMerchantsRequest, context: grpc.ServicerContext
    ) -> contract.ListMerchantsResponse:
        """All merchants with their stores."""
        caller_of(context, self._authenticator)
        merchants = self._authenticator.directory().merchants
        return contract.ListMerchantsResponse(merchants=[_merchant(merchants[name]) for name in sorted(merchants)])

    def ListKeys(self, request: contract.ListKeysRequest, context: grpc.ServicerContext) -> contract.ListKeysResponse:
        """All keys, or a merchant's; a merchant sees its own."""
        caller = caller_of(context, self._authenticator)
        directory = self._authenticator.directory()
        merchant = caller.merchant_in_view(request.merchant) if caller.merchant or request.merchant else None
        return contract.ListKeysResponse(
            keys=[_key(key) for key in directory.keys.values() if merchant in (None, key.registration.merchant)]
        )

    def ListTerms(
        self, request: contract.ListTermsRequest, context: grpc.ServicerContext
    ) -> contract.ListTermsResponse:
        """All terms, the alliance's first; a merchant does not see other pairs' agreements."""
        caller = caller_of(context, self._authenticator)
        caller.require_role(*STAFF, *MEMBERS)
        directory = self._authenticator.directory()
        terms = [
            _terms(scope, prices)
            for scope in sorted(directory.terms, key=lambda scope: (scope[0] or "", scope[1] or ""))
            if caller.merchant is None or scope[1] is None or caller.merchant in scope
            for prices in directory.terms[scope]
        ]
        return contract.ListTermsResponse(terms=terms)

    def ListPastLots(
        self, request: contract.ListPastLotsRequest, context: grpc.ServicerContext
    ) -> contract.ListPastLotsResponse:
        """A page of what ``ExpireLots`` would book: operators book it, and the cards are nobody else's business."""
        caller_of(context, self._authenticator).require_role(Role.OPERATOR)
        today = self._authenticator.directory().local_date(self._authenticator.ledger_time())
        as_of = bounds.date(request.as_of, "as_of") if request.as_of else today
        page_size = min(request.page_size or bounds.EXPIRE_CARDS_MAX, bounds.EXPIRE_CARDS_MAX)
        bounds.whole_number(page_size, 1, bounds.EXPIRE_CARDS_MAX, "page_size")
        after = bounds.card_token(request.page_token, "page_token") if request.page_token else None
        with snapshot(self._engine) as connection:
            page = list_past_lots(connection, as_of, cards_limit=page_size, after=after)
        return contract.ListPastLotsResponse(
            as_of=as_of.isoformat(),
            lots=[
                contract.PastLot(
                    card_token=lot.card, issuer=lot.issuer, expires_on=lot.expires_on.isoformat(), points=lot.points
                )
                for lot in page.lots
            ],
            next_page_token=page.goes_on_after or "",
        )


def _in_force(
    founding: instruction_pb2.CreateAlliance, constitution: CreateAlliance, versions: Versions
) -> instruction_pb2.CreateAlliance:
    """The constitution as founded, with the numbers that hold now."""
    message = instruction_pb2.CreateAlliance()
    message.CopyFrom(founding)
    for name in bounds.AMENDABLE:
        setattr(message, name, getattr(constitution, name))
    message.rules_version, message.settlement_version = versions.rules, versions.settlement
    return message


def _amendment(action: AmendConstitution) -> instruction_pb2.AmendConstitution:
    changes = {name: getattr(action, name) for name in bounds.AMENDABLE}
    return instruction_pb2.AmendConstitution(effective_from=action.effective_from.isoformat(), **changes)


def _adoption(action: AdoptRules) -> instruction_pb2.AdoptRules:
    return instruction_pb2.AdoptRules(
        window=action.window, rules_version=action.rules_version, settlement_version=action.settlement_version
    )


def _merchant(merchant: Merchant) -> contract.Merchant:
    return contract.Merchant(merchant=merchant.merchant, legal_name=merchant.legal_name, stores=merchant.stores)


def _key(key: Key) -> contract.Key:
    registration = key.registration
    message = contract.Key(
        keyid=key.key_id,
        registration=instruction_pb2.RegisterKey(
            public_key=registration.public_key,
            role=int(registration.role),  # type: ignore[arg-type]  # the stubs want the enum's own wrapper
            merchant=registration.merchant or "",
            holder=registration.holder,
            valid_from=timestamp_of(key.valid_from),
        ),
    )
    if registration.valid_until is not None:
        message.registration.valid_until.CopyFrom(timestamp_of(registration.valid_until))
    if key.revoked_at is not None:
        message.revoked_at.CopyFrom(timestamp_of(key.revoked_at))
    if key.compromised_since is not None:
        message.compromised_since.CopyFrom(timestamp_of(key.compromised_since))
    return message


def _terms(scope: TermsScope, prices: Prices) -> instruction_pb2.SetTerms:
    merchant, counterparty = scope
    return instruction_pb2.SetTerms(
        merchant=merchant or "",
        counterparty=counterparty or "",
        effective_from=prices.effective_from.isoformat(),
        issuance_price=f"{prices.issuance_price:f}" if prices.issuance_price is not None else "",
        redemption_price=f"{prices.redemption_price:f}",
    )
