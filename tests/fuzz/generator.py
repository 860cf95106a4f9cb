"""Bad input, made of good input: the same for the same seed, keys and time."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple

from clearing.card_token import token_of_bytes
from clearing.clock import system_time
from clearing.contract import instruction as instruction_contract
from clearing.contract import presentment as presentment_contract
from clearing.contract.entry import timestamp_of
from clearing.contract.log_identity import LogIdentity
from clearing.model import MICROSECONDS_PER_DAY, Instant
from clearing.signing.envelope import add_signature, sign_envelope
from clearing.signing.keys import PrivateKey
from clearing.signing.tokens import make_token
from clearing.v1 import entry_pb2, instruction_pb2, merchant_gateway_pb2, operations_pb2, presentment_pb2
from clearing.v1.envelope_pb2 import Envelope
from tests.fuzz.wire import NUMBERS, TEXTS, mutated, mutated_bytes

SUBMIT, INSTRUCT = "/clearing.v1.MerchantGateway/Submit", "/clearing.v1.Operations/Instruct"
CHECKPOINT, CARD = "/clearing.v1.Audit/GetCheckpoint", "/clearing.v1.MerchantGateway/GetCard"
TRANSACTION, TRANSACTIONS = (f"/clearing.v1.MerchantGateway/{name}" for name in ("GetTransaction", "ListTransactions"))

CARDS: Final = 20
TOKEN_TEXTS: Final = ("", "none", "EdDSA", "HS256", "RS256", "\0", "\N{EURO SIGN}" * 50, "x" * 3_000, "../../key.pem")


class FuzzInput(NamedTuple):
    """One call."""

    method: str
    request: bytes
    authorization: str | bytes | None = None


@dataclass(frozen=True)
class Actors:
    """Who may do what at the gateway: inputs that pass the signature's check need their keys."""

    alliance: LogIdentity
    bakery: PrivateKey
    operator: PrivateKey
    second_operator: PrivateKey
    stranger: PrivateKey


class Generator:
    """Makes inputs for one alliance with a bakery and its store bakery-1."""

    def __init__(self, actors: Actors, seed: int) -> None:
        self._actors = actors
        self._seed = seed
        self._now = system_time()
        self.cards = [token_of_bytes(Random(f"{seed}/card/{number}").randbytes(16)) for number in range(CARDS)]

    def inputs(self, number: int) -> list[FuzzInput]:
        """The input of this number, as one call or, for what is sent again, two."""
        random = Random(f"{self._seed}/{number}")
        kind = random.randrange(10)
        if kind < 4:
            made = FuzzInput(SUBMIT, self._submission(random))
        elif kind < 6:
            made = FuzzInput(INSTRUCT, self._instruct_request(random))
        elif kind < 9:
            made = self._read(random)
        else:
            size = random.choice((0, 1, 8, 64, 1_000))
            made = FuzzInput(random.choice((SUBMIT, INSTRUCT)), random.randbytes(size))
        if kind < 6 and random.random() < 0.02:
            other = INSTRUCT if made.method == SUBMIT else SUBMIT
            return [made, made._replace(method=other)]
        return [made]

    # ---- Submit ----

    def good_presentment(self, random: Random) -> presentment_pb2.Presentment:
        """One to four transactions of the bakery."""
        return presentment_pb2.Presentment(
            origin=self._actors.alliance.origin,
            log_id=self._actors.alliance.log_id,
            merchant="bakery",
            presented_at=timestamp_of(self._now),
            atomic=random.random() < 0.2,
            transactions=[self._transaction(random) for _ in range(random.randint(1, 4))],
        )

    def _transaction(self, random: Random) -> presentment_pb2.Transaction:
        kinds: tuple[dict[str, Any], ...] = (
            {"open_card": presentment_pb2.OpenCard()},
            {"earn": presentment_pb2.Earn(points=random.randint(1, 500), purchase_amount_minor=1_200)},
            {"burn": presentment_pb2.Burn(points=random.randint(1, 100))},
            {"refund": presentment_pb2.Refund(original_reference=f"r-{random.randrange(2_000)}")},
        )
        return presentment_pb2.Transaction(
            # References come again: with the same content, and with other.
            reference=f"r-{random.randrange(2_000)}",
            card_token=random.choice(self.cards),
            store="bakery-1",
            occurred_at=timestamp_of(Instant(self._now - random.randrange(3_600) * 1_000_000)),
            channel=presentment_pb2.CHANNEL_TILL,
            **random.choice(kinds),
        )

    def _submission(self, random: Random) -> bytes:
        if random.random() < 0.05:
            envelopes = [self._bad_presentment(random) for _ in range(random.randint(2, 5))]
        else:
            envelopes = [self._bad_presentment(random)]
        request = merchant_gateway_pb2.SubmitRequest(envelopes=envelopes).SerializeToString()
        return mutated(random, request) if random.random() < 0.15 else request

    def _bad_presentment(self, random: Random) -> Envelope:
        payload = self.good_presentment(random).SerializeToString()
        instruction = random.choice(ACTIONS)(self, random)
        return self._bad_envelope(random, payload, presentment_contract.PAYLOAD_TYPE, self._actors.bakery, instruction)

    # ---- Instruct ----

    def _instruct_request(self, random: Random) -> bytes:
        payload = random.choice(ACTIONS)(self, random)
        presentment = self.good_presentment(random).SerializeToString()
        kind = instruction_contract.PAYLOAD_TYPE
        envelope = self._bad_envelope(random, payload, kind, self._actors.operator, presentment)
        if random.random() < 0.3:
            add_signature(envelope, random.choice((self._actors.stranger, self._actors.second_operator)))
        request = operations_pb2.InstructRequest(envelope=envelope).SerializeToString()
        return mutated(random, request) if random.random() < 0.15 else request

    def instruction(self, random: Random, **action: Any) -> bytes:
        """An instruction with one of few references, so that most come again."""
        return instruction_pb2.Instruction(
            origin=self._actors.alliance.origin,
            log_id=self._actors.alliance.log_id,
            issued_at=timestamp_of(self._now),
            expires_at=timestamp_of(Instant(self._now + MICROSECONDS_PER_DAY)),
            reference=f"i-{random.randrange(200)}",
            **action,
        ).SerializeToString()

    def registration(self, key: PrivateKey) -> instruction_pb2.RegisterKey:
        """Of a merchant's key."""
        return instruction_pb2.RegisterKey(
            public_key=key.public_key, role=instruction_pb2.ROLE_MERCHANT, merchant="bakery", holder="bakery-till"
        )

    @property
    def stranger(self) -> PrivateKey:
        """A key that is not registered."""
        return self._actors.stranger

    # ---- envelopes ----

    def _bad_envelope(
        self, random: Random, payload: bytes, payload_type: str, key: PrivateKey, other_payload: bytes
    ) -> Envelope:
        """Most are signed rightly, so that what lies behind the signature's check is reached."""
        kind = random.randrange(20)
        if kind < 11:
            return sign_envelope(mutated(random, payload), payload_type, [key])
        if kind == 11:
            return sign_envelope(random.randbytes(random.randrange(200)), payload_type, [key])
        if kind == 12:
            return sign_envelope(other_payload, payload_type, [key])
        if kind == 13:
            return sign_envelope(payload, payload_type, [random.choice(self._keys())])
        if kind == 14:
            return sign_envelope(payload, payload_type, random.choices(self._keys(), k=random.randint(2, 9)))
        signed = sign_envelope(payload, payload_type, [key])
        if kind == 15:
            signed.payload = mutated(random, payload)
        elif kind == 16:
            signed.signatures[0].sig = mutated_bytes(random, signed.signatures[0].sig)
        elif kind == 17:
            signed.signatures[0].keyid = random.choice([each.key_id for each in self._keys()] + ["", "x" * 9_999])
        elif kind == 18:
            signed.payload_type = random.choice(("", payload_type.upper(), payload_type + " ", "x" * 9_999))
        return signed

    def _keys(self) -> tuple[PrivateKey, ...]:
        actors = self._actors
        return (actors.bakery, actors.operator, actors.second_operator, actors.stranger)

    # ---- reads ----

    def _read(self, random: Random) -> FuzzInput:
        method = random.choice((CHECKPOINT,) * 8 + (CARD, TRANSACTION, TRANSACTIONS))
        requests = {
            CHECKPOINT: b"",
            CARD: merchant_gateway_pb2.GetCardRequest(card_token=random.choice(self.cards)).SerializeToString(),
            TRANSACTION: merchant_gateway_pb2.GetTransactionRequest(reference="r-1").SerializeToString(),
            TRANSACTIONS: merchant_gateway_pb2.ListTransactionsRequest(
                window="2026-01", page_size=2, page_token="1.0"
            ).SerializeToString(),
        }
        request = requests[method]
        if method is CHECKPOINT or random.random() < 0.2:
            return FuzzInput(method, request, self._bad_authorization(random))
        good = make_token(self._actors.bakery, self._actors.alliance.origin, system_time())
        return FuzzInput(method, mutated(random, request), f"Bearer {good}")

    def _bad_authorization(self, random: Random) -> str | bytes | None:
        kind = random.randrange(20)
        if kind == 0:
            return random.choice((None, "", "Bearer", "Bearer ", "bearer x", b"Bearer \xff\xfe", "Basic eDp5"))
        if kind == 1:
            return "Bearer " + "".join(chr(random.randrange(1, 1_000)) for _ in range(random.randrange(300)))
        if kind < 7:
            good = make_token(self._actors.bakery, self._actors.alliance.origin, system_time())
            return "Bearer " + mutated_bytes(random, good.encode()).decode("latin-1")
        return "Bearer " + self._signed_token(random)

    def _signed_token(self, random: Random) -> str:
        """Rightly signed, whatever it says."""
        key = random.choice((self._actors.bakery,) * 6 + (self._actors.operator, self._actors.stranger))
        now = system_time() // 1_000_000
        header: Any = {"alg": "EdDSA", "typ": "JWT", "kid": key.key_id}
        claims: Any = {"iss": key.key_id, "aud": self._actors.alliance.origin, "iat": now, "exp": now + 60}
        for part in (header, claims):
            if random.random() < 0.6:
                self._spoil(random, part)
        head, body = (self._json(random, part) for part in (header, claims))
        signed = f"{_base64url(head)}.{_base64url(body)}"
        return f"{signed}.{_base64url(key.sign(signed.encode()))}"

    @staticmethod
    def _spoil(random: Random, part: dict[str, Any]) -> None:
        name = random.choice((*part, "nbf", "crit", "b64", "jku", "jwk", "jti", "zip", "sub"))
        values: tuple[Any, ...] = (
            *NUMBERS,
            *TOKEN_TEXTS,
            *(None, True, False, [], {}, [["x"]], {"kid": "x"}, -1, 0.5, 1e308, -(2**63), [part.get(name)]),
            part.get("iat", 0) - 120 if isinstance(part.get("iat"), int) else "iat",
        )
        if random.random() < 0.15:
            part.pop(name, None)
        else:
            part[name] = random.choice(values)

    @staticmethod
    def _json(random: Random, part: Any) -> bytes:
        text = json.dumps(part).encode()
        kind = random.randrange(20)
        if kind == 0:
            return mutated_bytes(random, text)
        if kind == 1:
            return random.choice(
                (b"", b"[]", b"null", b"1" * 300, b"NaN", b'"x"', b"[" * 900, b'{"a":' * 200, *TEXTS[:4])
            )
        if kind == 2:
            return text[:-1] + b', "iat": 1, "exp": NaN, "iss": Infinity}'
        return text


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


Action = Callable[[Generator, Random], bytes]
ACTIONS: tuple[Action, ...] = (
    lambda g, r: g.instruction(r, admit_merchant=instruction_pb2.AdmitMerchant(merchant="florist", legal_name="F Ltd")),
    lambda g, r: g.instruction(r, open_store=instruction_pb2.OpenStore(merchant="bakery", store="bakery-2")),
    lambda g, r: g.instruction(r, register_key=g.registration(g.stranger)),
    lambda g, r: g.instruction(r, revoke_key=instruction_pb2.RevokeKey(keyid=g.stranger.key_id)),
    lambda g, r: g.instruction(
        r,
        set_terms=instruction_pb2.SetTerms(
            merchant="bakery", effective_from="2099-01-01", issuance_price="0.0100", redemption_price="0.0090"
        ),
    ),
    lambda g, r: g.instruction(r, close_window=instruction_pb2.CloseWindow(window="2026-01")),
    lambda g, r: g.instruction(
        r,
        propose_settlement=instruction_pb2.ProposeSettlement(
            window="2026-01",
            alliance_statement_digest=bytes(32),
            settlement_version=1,
            statements=1,
            statements_root=bytes(32),
            payments=1,
            payments_root=bytes(32),
            payments_minor=5,
        ),
    ),
    lambda g, r: g.instruction(
        r,
        record_payment=instruction_pb2.RecordPayment(
            window="2026-01",
            payment=instruction_pb2.Payment(payer="bakery", payee="cinema", amount_minor=5),
            bank_reference="X-1",
            paid_on="2026-02-01",
            salt=bytes(32),
        ),
    ),
    lambda g, r: g.instruction(r, expire_lots=instruction_pb2.ExpireLots(card_tokens=g.cards[:3])),
    lambda g, r: g.instruction(
        r, adopt_rules=instruction_pb2.AdoptRules(window="2099-01", rules_version=1, settlement_version=1)
    ),
    lambda g, r: g.instruction(
        r,
        amend_constitution=instruction_pb2.AmendConstitution(
            effective_from="2099-01-01", late_presentment_days=r.randint(1, 366)
        ),
    ),
    lambda g, r: g.instruction(
        r,
        create_alliance=instruction_pb2.CreateAlliance(
            unit="PTS", currency="EUR", time_zone="UTC", operator_keys=[g.registration(g.stranger)] * 2
        ),
    ),
    lambda g, r: entry_pb2.Entry(envelope=Envelope(payload=b"x")).SerializeToString(),
)
"""Payloads of instructions; the last is of another message."""
