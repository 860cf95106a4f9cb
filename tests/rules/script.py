"""Plays a small alliance from a text in the domain's own words, one step or one expectation a line.

    at 2026-01-05                      the ledger's time: local noon, or a local or absolute (Z) time of day
    a open o1 C1                       merchant a presents a transaction under the reference o1
    a earn e1 C1 100                   (store=, unit=, occurred=-3d change what is presented)
    b burn b1 C1 60 -> accepted 60     its outcome; without an arrow it must be accepted
    a refund r1 C1 e1 40               part of e1; without a number all that remains
      earn_refunded C1 a 2027-01-31 40
                                       indented below a step: all its postings, in order
    a atomic: earn e2 C1 10; burn b2 C1 999 -> atomic_aborted; insufficient_points
    a all: ...                         several in one presentment, each for itself
    a again e1 b1 -> already decided 3 presents the same content once more
    ops i1 admit c -> merchant_exists  an instruction, below its reference
    C1 holds a 2027-01-31 40, b 2027-02-28 10
    C1 owes a 60 | C1 available 40 | a issued 100 | a owes b 60 | a expired 10
                                       the state so far; "nothing" where there is none
    window 2026-01 3..7 | window 2026-01 settled

Each step is decided twice, on arguments that must not change, and the invariants must hold after it. Merchants a, b, c
and d are members from the start, with the stores a-1, b-1, c-1 and d-1; the entries of that are not counted: the first
step is entry 1.
"""

from __future__ import annotations

import copy
import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from zoneinfo import ZoneInfo

from clearing.calendar import instant_of, month_end
from clearing.key_id import key_id_of
from clearing.log.merkle import inclusion_paths, leaf_hash, root
from clearing.log.settlement_trees import payment_leaf, payment_salt, statement_leaf
from clearing.model import (
    MICROSECONDS_PER_DAY,
    Action,
    AdmitMerchant,
    AdoptRules,
    AmendConstitution,
    ApproveSettlement,
    Burn,
    CardToken,
    Channel,
    ClockKind,
    CloseWindow,
    CreateAlliance,
    Earn,
    EntryIndex,
    ExpireLots,
    Instant,
    Instruction,
    InstructionResult,
    KeyId,
    MerchantId,
    OffsetChange,
    OpenCard,
    OpenStore,
    Outcome,
    Payment,
    Points,
    Presentment,
    ProposeSettlement,
    RecordPayment,
    Reference,
    Refund,
    RegisterKey,
    RevokeKey,
    Role,
    SetOffsets,
    SetTerms,
    SettlementMethod,
    StoreId,
    Transaction,
    TransactionDetails,
    TransactionResult,
    WindowId,
)
from clearing.rules.case import InstructionDecision, no_settlement
from clearing.rules.directory import Directory
from clearing.rules.instruction import decide_founding, decide_instruction
from clearing.rules.invariants import Books, violations
from clearing.rules.ledger import Ledger, LedgerChanges, RecordedInstruction
from clearing.rules.movements import Account, Posting
from clearing.rules.presentment import AlreadyDecided, PresentmentDecision, decide_presentment, entry_that_decided_all
from tests.zones import offsets_of

ORIGIN = "alliance.example/log"
MEMBERS = ("a", "b", "c", "d")


def card(name: str) -> CardToken:
    """``C1`` as a card token."""
    return CardToken(f"card_{name:0>26}")


def public_key(name: str) -> bytes:
    """32 bytes that stand for a key of this name."""
    return name.encode().ljust(32, b".")


def registration(name: str, role: Role, holder: str, **validity: Instant | None) -> RegisterKey:
    """The registration of the key of this name; a merchant's key is its holder's."""
    return RegisterKey(
        public_key=public_key(name),
        role=role,
        merchant=MerchantId(holder) if role.is_of_a_merchant else None,
        holder=holder,
        valid_from=validity.get("valid_from"),
        valid_until=validity.get("valid_until"),
    )


def time_in(text: str, time_zone: str) -> Instant:
    """A local day's noon, a local time, or an absolute time where it ends in Z."""
    moment = datetime.datetime.fromisoformat(text if "T" in text else f"{text}T12:00:00")
    return instant_of(moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(time_zone)))


def constitution(
    *,
    time_zone: str = "Europe/Berlin",
    settlement_method: SettlementMethod = SettlementMethod.ISSUER_PAYS,
    four_eyes: bool = False,
    lot_lifetime_months: int = 12,
    late_presentment_days: int = 30,
    notice_days: int = 0,
) -> CreateAlliance:
    """An alliance's constitution, with one operator key, or two people's where four eyes are asked for."""
    operators = [registration("k-anna", Role.OPERATOR, "anna"), registration("k-ben", Role.OPERATOR, "ben")]
    return CreateAlliance(
        unit="PTS",
        currency="EUR",
        currency_decimals=2,
        time_zone=time_zone,
        settlement_method=settlement_method,
        clock=ClockKind.PRESENTED,
        log_verifier=f"{ORIGIN}+00000000+AA==",
        operator_keys=tuple(operators if four_eyes else operators[:1]),
        four_eyes=four_eyes,
        lot_lifetime_months=lot_lifetime_months,
        late_presentment_days=late_presentment_days,
        issuance_price=Decimal("0.0100"),
        redemption_price=Decimal("0.0090"),
        rules_version=1,
        notice_days=notice_days,
        settlement_version=1,
        zone_offsets=offsets_of(time_zone),
    )


def instruction(reference: str, action: Action, issued_at: Instant, party: str = "") -> Instruction:
    """An instruction of this party, with a digest that tells its content from any other."""
    digest = hashlib.sha256(repr((action, party)).encode()).digest()[:16]
    merchant = MerchantId(party) if party else None
    return Instruction(ORIGIN, issued_at, Reference(reference), action, digest, merchant)


def transaction(
    reference: str, token: CardToken, store: str, occurred_at: Instant, kind: TransactionDetails, unit: str = ""
) -> Transaction:
    """A transaction, with a digest that tells its content from any other."""
    digest = hashlib.sha256(repr((token, store, occurred_at, unit, kind)).encode()).digest()[:16]
    return Transaction(Reference(reference), token, StoreId(store), occurred_at, Channel.TILL, unit, kind, digest)


def founded(terms: CreateAlliance, at: Instant) -> Directory:
    """A directory right after the founding, with the members and a store of each."""
    directory = decide_founding(instruction("found", terms, at), at).directory
    for name in MEMBERS:
        for action in (
            AdmitMerchant(MerchantId(name), name.upper()),
            OpenStore(MerchantId(name), StoreId(f"{name}-1")),
        ):
            decision = decide_instruction(directory, Ledger(), instruction(name, action, at), at, EntryIndex(1), ())
            assert isinstance(decision, InstructionDecision)
            assert decision.result.outcome is Outcome.ACCEPTED
            directory = decision.directory
    return directory


@dataclass
class World:
    """An alliance under test: what the writer, or the auditor's replay, keeps between entries."""

    directory: Directory
    now: Instant
    ledger: Ledger = field(default_factory=Ledger)
    books: Books = field(default_factory=Books)
    index: EntryIndex = field(default=EntryIndex(1))
    presented: dict[tuple[str, str], Transaction] = field(default_factory=dict)
    instructed: dict[tuple[str, str], Instruction] = field(default_factory=dict)
    postings: list[Posting] = field(default_factory=list)
    settles_to: dict[WindowId, ProposeSettlement] = field(default_factory=dict)
    """What closed windows settle to: what was proposed last, unless its line says ``ledger=other``."""
    payments: dict[WindowId, list[Payment]] = field(default_factory=dict)
    """Of what was proposed last before it was approved."""

    def settlement_of(self, window: WindowId) -> ProposeSettlement:
        return self.settles_to[window] if window in self.settles_to else no_settlement(window)

    @property
    def time_zone(self) -> str:
        return self.directory.constitution.time_zone

    @property
    def today(self) -> datetime.date:
        return self.directory.local_date(self.now)

    def present(
        self, merchant: str, transactions: list[Transaction], *, atomic: bool = False
    ) -> PresentmentDecision | AlreadyDecided:
        """Decide one presentment and make it hold."""
        presentment = Presentment(ORIGIN, MerchantId(merchant), self.now, atomic, tuple(transactions))
        before = copy.deepcopy((self.directory, self.ledger))
        decision = self._decided_presentment(presentment)
        assert self._decided_presentment(presentment) == decision
        assert (self.directory, self.ledger) == before, "deciding changes nothing"
        for each in transactions:
            self.presented.setdefault((merchant, each.reference), each)
        if isinstance(decision, PresentmentDecision):
            self._record(decision.changes)
        return decision

    def _decided_presentment(self, presentment: Presentment) -> PresentmentDecision | AlreadyDecided:
        decided_before = entry_that_decided_all(self.ledger, presentment)
        if decided_before is not None:
            return AlreadyDecided(decided_before)
        return decide_presentment(self.directory, self.ledger, presentment, self.now, self.index)

    def _decided(self, order: Instruction, signers: tuple[KeyId, ...]) -> InstructionDecision | AlreadyDecided:
        return decide_instruction(self.directory, self.ledger, order, self.now, self.index, signers, self.settlement_of)

    def instruct(self, order: Instruction, signers: tuple[KeyId, ...] = ()) -> InstructionDecision | AlreadyDecided:
        """Decide one instruction and make it hold."""
        before = copy.deepcopy((self.directory, self.ledger))
        decision = self._decided(order, signers)
        assert self._decided(order, signers) == decision
        assert (self.directory, self.ledger) == before, "deciding changes nothing"
        self.instructed.setdefault((order.merchant or "", order.reference), order)
        if isinstance(decision, InstructionDecision):
            self.directory = decision.directory
            recorded = RecordedInstruction(self.index, order.content_digest)
            self.ledger.instructions.setdefault(order.key, recorded)
            self._record(decision.changes)
        return decision

    def _record(self, changes: LedgerChanges) -> None:
        self.ledger.apply(changes)
        self.postings = [posting for _, posting in changes.postings]
        for posting in self.postings:
            self.books.add(posting)
        self.directory = self.directory.with_entry(self.index, self.now)
        self.index = EntryIndex(self.index + 1)
        assert violations(self.books, self.ledger) == []


def play(text: str, world: World | None = None, **terms: object) -> World:
    """Play the lines of ``text``; ``terms`` are those of ``constitution``. Fails on the line that does not hold."""
    if world is None:
        the_constitution = constitution(**terms)  # type: ignore[arg-type]
        now = time_in("2026-01-01", the_constitution.time_zone)
        world = World(founded(the_constitution, now), now)
    lines = [line.split("#")[0].rstrip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    position = 0
    while position < len(lines):
        line = lines[position][margin:]
        position += 1
        expected_postings = []
        while position < len(lines) and lines[position][margin:].startswith(" "):
            expected_postings.append(lines[position].strip())
            position += 1
        world.postings = []
        try:
            for part in line.split(" | "):
                _play_line(world, part.strip())
        except AssertionError as failure:
            raise AssertionError(f"{line}\n{failure}") from failure
        if expected_postings:
            shown = [show_posting(world, posting) for posting in world.postings] or ["nothing"]
            assert shown == expected_postings, line
    return world


def _play_line(world: World, line: str) -> None:
    step, _, expected = (part.strip() for part in line.partition("->"))
    words = step.split()
    if words[0] == "at":
        now = time_in(words[1], world.time_zone)
        assert now >= world.now, "the ledger's time never goes back"
        world.now = now
    elif words[0] == "ops" or words[1] == "office":
        party, reference, *action = words if words[0] == "ops" else (words[0], *words[2:])
        signers = tuple(key_id_of(public_key(word[3:])) for word in action if word.startswith("by="))
        action = [word for word in action if not word.startswith("by=")]
        order = parse_instruction(world, reference, action, "" if party == "ops" else party)
        shown = _show_instruction(world.instruct(order, signers))
        assert shown == (expected or "accepted"), shown
    elif words[0] in MEMBERS and words[1] in _STEPS:
        merchant = words[0]
        atomic = words[1] == "atomic:"
        if words[1] == "again":
            transactions = [world.presented[merchant, reference] for reference in words[2:]]
        elif words[1] in ("atomic:", "all:"):
            parts = step.partition(":")[2].split(";")
            transactions = [_transaction(world, merchant, part.split()) for part in parts]
        else:
            transactions = [_transaction(world, merchant, words[1:])]
        decision = world.present(merchant, transactions, atomic=atomic)
        if isinstance(decision, AlreadyDecided):
            assert f"already decided {decision.entry_index}" == expected, decision
            return
        wanted = [part.strip() for part in expected.split(";")] if expected else ["accepted"] * len(transactions)
        shown_results = [_show_result(result, each) for result, each in zip(decision.results, wanted, strict=True)]
        assert shown_results == wanted, shown_results
    else:
        shown = _show_state(world, words)
        assert shown == step, shown


_STEPS = frozenset({"open", "earn", "burn", "refund", "atomic:", "all:", "again"})


def _transaction(world: World, merchant: str, words: list[str]) -> Transaction:
    plain = [word for word in words if "=" not in word]
    options = dict(word.split("=") for word in words if "=" in word)
    name, reference, token, *arguments = plain
    occurred_at = world.now
    if "occurred" in options:
        amount, unit = int(options["occurred"][:-1]), options["occurred"][-1]
        occurred_at = Instant(world.now + amount * {"d": MICROSECONDS_PER_DAY, "s": 1_000_000, "u": 1}[unit])
    kind: TransactionDetails
    match name, arguments:
        case "open", []:
            kind = OpenCard()
        case "earn", [points]:
            kind = Earn(Points(int(points)), None)
        case "burn", [points]:
            kind = Burn(Points(int(points)))
        case "refund", [original]:
            kind = Refund(Reference(original), None)
        case "refund", [original, points]:
            kind = Refund(Reference(original), Points(int(points)))
        case _:
            raise ValueError(f"not a transaction: {words}")
    store = options.get("store", f"{merchant}-1")
    return transaction(reference, card(token), store, occurred_at, kind, options.get("unit", ""))


def parse_instruction(world: World, reference: str, words: list[str], party: str = "") -> Instruction:
    plain = [word for word in words if "=" not in word]
    options = dict(word.split("=") for word in words if "=" in word)
    if plain == ["again"]:
        return world.instructed[party, reference]

    def instant(name: str) -> Instant | None:
        return time_in(options[name], world.time_zone) if name in options else None

    def number(name: str) -> int | None:
        return int(options[name]) if name in options else None

    def merchant_or_none(name: str) -> MerchantId | None:
        return None if name == "-" else MerchantId(name)

    action: Action
    match plain:
        case ["found"]:
            action = constitution()
        case ["admit", merchant]:
            action = AdmitMerchant(MerchantId(merchant), merchant.upper())
        case ["store", merchant, store]:
            action = OpenStore(MerchantId(merchant), StoreId(store))
        case ["key", name, role, holder]:
            action = registration(
                name, Role[role.upper()], holder, valid_from=instant("from"), valid_until=instant("until")
            )
        case ["revoke", name]:
            action = RevokeKey(key_id_of(public_key(name)), instant("at"), instant("compromised"))
        case ["terms", merchant, counterparty, day, issuance, redemption]:
            action = SetTerms(
                merchant_or_none(merchant),
                merchant_or_none(counterparty),
                datetime.date.fromisoformat(day),
                None if issuance == "-" else Decimal(issuance),
                Decimal(redemption),
            )
        case ["close", window]:
            action = CloseWindow(WindowId(window))
        case ["propose", window, version, *payments]:
            action = proposal(world, window, version, payments)
            if "ledger" not in options:
                world.settles_to[action.window] = action
            closed = world.directory.closed_windows.get(action.window)
            if closed is not None and not closed.approved:
                world.payments[action.window] = [payment(text) for text in payments]
        case ["approve", window, version, *payments]:
            action = ApproveSettlement(proposal(world, window, version, payments))
        case ["pay", window, text]:
            action = recording(world, window, text)
        case ["amend", day]:
            action = AmendConstitution(
                datetime.date.fromisoformat(day), number("late"), number("lifetime"), number("notice")
            )
        case ["adopt", window, rules, settlement]:
            action = AdoptRules(WindowId(window), int(rules), int(settlement))
        case ["offsets", start, *changes]:
            action = SetOffsets(
                time_in(start, world.time_zone),
                offset_changes(changes, world.time_zone),
                Instant(4_102_444_740_000_000),
            )
        case ["expire", *tokens]:
            action = ExpireLots(tuple(card(token) for token in tokens))
        case _:
            raise ValueError(f"not an instruction: {words}")
    return instruction(reference, action, world.now, party)


def offset_changes(texts: Sequence[str], time_zone: str) -> tuple[OffsetChange, ...]:
    """Changes of the offset, each written ``2026-10-25T01:00:00Z/60``."""
    pairs = [text.split("/") for text in texts]
    return tuple(OffsetChange(time_in(at, time_zone), int(minutes)) for at, minutes in pairs)


def payment(text: str) -> Payment:
    """A payment written ``a>b:500``."""
    pair, amount = text.split(":")
    payer, payee = pair.split(">")
    return Payment(MerchantId(payer), MerchantId(payee), int(amount))


def digest(name: str) -> bytes:
    """A digest that tells statements of different names apart."""
    return hashlib.sha256(name.encode()).digest()


def payment_hashes(payments: Sequence[Payment]) -> list[bytes]:
    """The leaves of a settlement's payments, hashed."""
    return [
        leaf_hash(payment_leaf(each.payer, each.payee, each.amount_minor, salt_of(each, index)))
        for index, each in enumerate(payments)
    ]


def salt_of(each: Payment, index: int) -> bytes:
    return payment_salt(digest(each.payer), index)


def proposal(world: World, window: str, version: str, payments: Sequence[str]) -> ProposeSettlement:
    """The proposal of this version of the alliance's statement."""
    closed = world.directory.closed_windows.get(WindowId(window))
    members = closed.merchants if closed else ()
    paid = [payment(text) for text in payments]
    return ProposeSettlement(
        window=WindowId(window),
        settlement_version=1,
        alliance_statement_digest=digest(version),
        statements=len(members),
        statements_root=root([leaf_hash(statement_leaf(member, digest(member))) for member in members]),
        payments=len(paid),
        payments_root=root(payment_hashes(paid)),
        payments_minor=sum(each.amount_minor for each in paid),
    )


def recording(world: World, window: str, text: str) -> RecordPayment:
    """The payment with its proof, if it is one of those proposed last; else with the proof of the first."""
    paid = world.payments.get(WindowId(window), [])
    recorded = payment(text)
    index = paid.index(recorded) if recorded in paid else 0
    path = tuple(inclusion_paths(payment_hashes(paid))[index]) if paid else ()
    return RecordPayment(
        WindowId(window),
        recorded,
        world.today,
        "BANK-1",
        index,
        salt_of(paid[index] if paid else recorded, index),
        path,
    )


def _show_result(result: TransactionResult, wanted: str) -> str:
    """As much of the result as the expectation speaks of."""
    words = [result.outcome.name.lower()]
    named = [word.split("=")[0] for word in wanted.split()]
    if len(named) > 1 and named[1].isdigit():
        words.append(str(result.points))
    if "available" in named:
        words.append(f"available={result.points_available}")
    if "owed" in named:
        words.append(f"owed={result.points_owed}")
    if result.original_index is not None:
        words.append(f"original={result.original_index}")
    return " ".join(words)


def _show_instruction(decision: InstructionDecision | AlreadyDecided) -> str:
    if isinstance(decision, AlreadyDecided):
        return f"already decided {decision.entry_index}"
    result: InstructionResult = decision.result
    words = [result.outcome.name.lower()]
    if result.window_range is not None:
        words.append(f"{result.window_range.first_index}..{result.window_range.end_index}")
    if result.points_expired:
        words.append(f"expired={result.points_expired}")
    return " ".join(words)


def _month_told_by(world: World, posting: Posting) -> datetime.date:
    """The month of issue that a lot's last day tells where the constitution was never amended; else the present one."""
    today = world.today.replace(day=1)
    lifetime = world.directory.constitution.lot_lifetime_months
    return today if posting.expires_on is None else month_end(posting.expires_on, -lifetime).replace(day=1)


def show_posting(world: World, posting: Posting) -> str:
    """A posting in the words of the script."""
    words = [posting.movement.name.lower(), posting.card.removeprefix("card_").lstrip("0"), posting.issuer]
    if posting.redeemer is not None:
        words[-1] += f">{posting.redeemer}"
    if posting.expires_on is not None:
        words.append(str(posting.expires_on))
    words.append(str(posting.points))
    if posting.issued_in != _month_told_by(world, posting):
        words += ["issued", f"{posting.issued_in:%Y-%m}"]
    return " ".join(words)


def _show_state(world: World, words: list[str]) -> str:
    match words:
        case ["window", window, *_]:
            closed = world.directory.closed_windows[WindowId(window)]
            if ".." in words[2]:
                return f"window {window} {closed.range.first_index}..{closed.range.end_index}"
            return f"window {window} {closed.status.name.lower()}"
        case [issuer, "issued", _]:
            return f"{issuer} issued {world.books.balances(Account.ISSUED).get(issuer, 0)}"
        case [issuer, "expired", _]:
            return f"{issuer} expired {world.books.balances(Account.EXPIRED).get(issuer, 0)}"
        case [issuer, "owes", *_] if issuer in MEMBERS:
            owed = sorted(
                (redeemer, points)
                for (debtor, redeemer), points in world.books.balances(Account.OWED).items()
                if debtor == issuer
            )
            return f"{issuer} owes " + (", ".join(f"{redeemer} {points}" for redeemer, points in owed) or "nothing")
        case [token, "available", _]:
            return f"{token} available {world.ledger.cards[card(token)].points_available(world.today)}"
        case [token, "owes", *_]:
            debts = sorted(world.ledger.cards[card(token)].debts.items())
            return f"{token} owes " + (", ".join(f"{creditor} {points}" for creditor, points in debts) or "nothing")
        case [token, "holds", *_]:
            lots = sorted(
                (key.expires_on, key.issuer, lot.points)
                for key, lot in world.ledger.cards[card(token)].lots.items()
                if lot.points
            )
            return f"{token} holds " + (
                ", ".join(f"{issuer} {expires_on} {points}" for expires_on, issuer, points in lots) or "nothing"
            )
        case [token, "unknown"]:
            return f"{token} unknown" if card(token) not in world.ledger.cards else f"{token} known"
    raise ValueError(f"not a step: {' '.join(words)}")
