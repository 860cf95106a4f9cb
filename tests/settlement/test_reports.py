"""JSON and CSV: canonical bytes, exact texts, and figures that agree with the statements."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings

from clearing.log.merkle import leaf_hash, root, verify_inclusion
from clearing.log.settlement_trees import payment_leaf, payment_salt, statement_leaf
from clearing.model import POOL, Payment, SettlementMethod
from settlement.reports.report_csv import COLUMNS, alliance_csv, merchant_csv
from settlement.v1.money import amount_text, decimal_text, exact_text
from settlement.v1.proposal import proofs_of, proposal_of
from settlement.v1.report_json import alliance_json, merchant_json
from settlement.v1.statements import Settlement
from tests.settlement.scenario import LOG_ROOT, MERCHANTS, settled
from tests.settlement.test_month_end import settlements
from tests.settlement.test_obligations import POOL_MONTH

A, B, C, D = MERCHANTS
MONTH = """
    prices alliance 2026-01-01 redemption 0.0105
    before
    a earn 1000 on 2025-12-05
    during
    a earn 100 on 2026-01-05
    a burn 301 at b on 2026-01-05
    a burn_refunded 20 at c on 2025-12-06
    a burn 40 at a on 2026-01-06
    a expiry 25 on 2026-01-06
    b earn 500 on 2026-01-06
    b earn_refunded 50 on 2026-01-06
"""


@pytest.fixture
def settlement() -> Settlement:
    return settled(MONTH)


def read(content: bytes) -> Any:
    return json.loads(content)


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize(
    ("minor", "decimals", "text"),
    [(0, 2, "0.00"), (5, 2, "0.05"), (-5, 2, "-0.05"), (-12345, 2, "-123.45"), (7, 0, "7"), (-1, 3, "-0.001")],
)
def test_amounts_are_written_with_all_decimals_of_the_currency(minor: int, decimals: int, text: str) -> None:
    assert amount_text(minor, decimals) == text


@pytest.mark.parametrize(
    ("exact", "decimals", "text"),
    [("0", 2, "0.00"), ("316.05", 2, "3.1605"), ("-0.50", 2, "-0.005"), ("12", 0, "12"), ("12.50", 0, "12.5")],
)
def test_exact_amounts_are_written_with_as_many_decimals_as_they_need(exact: str, decimals: int, text: str) -> None:
    assert exact_text(Decimal(exact), decimals) == text


@pytest.mark.parametrize(
    ("number", "text"), [("0.0100", "0.01"), ("1E+3", "1000"), ("-0.00", "0"), ("1E-8", "0.00000001"), ("100", "100")]
)
def test_one_decimal_has_one_text(number: str, text: str) -> None:
    assert decimal_text(Decimal(number)) == text


def test_an_obligation_in_json_has_points_and_money_exact_and_rounded(settlement: Settlement) -> None:
    obligations = read(alliance_json(settlement))["obligations"]
    assert [(each["debtor"], each["creditor"]) for each in obligations] == [("a", "a"), ("a", "b"), ("a", "c")]
    assert obligations[1] == {
        "debtor": "a",
        "creditor": "b",
        "points": 301,
        "exact": "3.1605",
        "exact_minor": "316.05",
        "amount": "3.16",
        "amount_minor": 316,
        "remainder": "0.0005",
        "remainder_minor": "0.05",
        "lines": [
            {
                "issuer": "a",
                "redeemer": "b",
                "issued_from": "2026-01",
                "issued_to": "2026-01",
                "price": "0.0105",
                "points_counted": 301,
                "points_taken_back": 0,
                "points": 301,
                "exact": "3.1605",
                "exact_minor": "316.05",
            }
        ],
    }
    assert (obligations[2]["points"], obligations[2]["amount"], obligations[2]["amount_minor"]) == (-20, "-0.20", -20)


def test_json_names_the_log_the_window_and_the_totals(settlement: Settlement) -> None:
    statement = read(alliance_json(settlement))
    assert statement["log"] == {"first_index": 5, "end_index": 40, "size": 40, "root_sha256": LOG_ROOT.hex()}
    assert statement["window"]["id"] == "2026-01"
    assert statement["totals"] == {
        "obligations": "2.96",
        "obligations_minor": 296,
        "exact": "2.9605",
        "exact_minor": "296.05",
        "remainder": "0.0005",
        "remainder_minor": "0.05",
        "payments": "3.16",
        "payments_minor": 316,
        "positions_sum": "0.00",
        "positions_sum_minor": 0,
    }
    assert statement["payments"] == [
        {"payer": "a", "payee": "b", "amount": "2.96", "amount_minor": 296},
        {"payer": "c", "payee": "b", "amount": "0.20", "amount_minor": 20},
    ]


def test_a_merchants_json_is_its_own_part(settlement: Settlement) -> None:
    statement = read(merchant_json(settlement.statement_of(B)))
    assert statement["merchant"] == {"id": "b", "legal_name": "=B & Söhne"}
    assert statement["points"]["opening"]["outstanding"] == 0
    assert statement["points"]["closing"]["outstanding"] == 450
    assert [each["debtor"] for each in statement["obligations"]] == ["a"]
    assert statement["position"]["net"] == "3.16"
    assert len(statement["payments"]) == 2


@pytest.mark.parametrize("method", SettlementMethod)
def test_json_bytes_are_canonical_and_hold_no_floats(method: SettlementMethod) -> None:
    def no_float(text: str) -> None:
        raise AssertionError(f"{text} is a floating-point number")

    settlement = settled(MONTH, method)
    for content in (alliance_json(settlement), *map(merchant_json, settlement.merchants)):
        again = json.loads(content, parse_float=no_float)
        assert content.endswith(b"}\n")
        plain = json.dumps(again, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert content == plain.encode() + b"\n"
    assert "Söhne".encode() in merchant_json(settlement.statement_of(A))
    assert alliance_json(settled(MONTH, method)) == alliance_json(settlement)


def test_json_bytes_of_a_known_month_never_change(settlement: Settlement) -> None:
    """Digests of past statements are in the log, so another form is another version of the settlement."""
    digests = [sha256(merchant_json(settlement.statement_of(A))), sha256(alliance_json(settlement))]
    assert [digest.hexdigest() for digest in digests] == [
        "f5eac1b620c94424bb459b65c1f02301e2bb0407476c9eb1ff459437c32dae3f",
        "db87ca7529917760802d4991c4ae29201b8d1a7c5c4b337f51d40fcddf1946fd",
    ]


def test_the_proposal_has_the_roots_of_all_statements_and_payments(settlement: Settlement) -> None:
    proposal = proposal_of(settlement)
    assert proposal.window == "2026-01"
    assert proposal.alliance_statement_digest == sha256(alliance_json(settlement)).digest()
    digests = {name: sha256(merchant_json(settlement.statement_of(name))).digest() for name in MERCHANTS}
    leaves = [name.encode() + b"\0" + digest for name, digest in digests.items()]
    assert (proposal.statements, proposal.statements_root) == (4, root([leaf_hash(leaf) for leaf in leaves]))
    paid = (Payment(A, B, 296), Payment(C, B, 20))
    assert settlement.alliance.payments == paid
    salts = [sha256(digests[each.payer] + index.to_bytes(8, "big")).digest() for index, each in enumerate(paid)]
    leaves = [
        f"{each.payer}\0{each.payee}\0".encode() + each.amount_minor.to_bytes(8, "big") + salt
        for each, salt in zip(paid, salts, strict=True)
    ]
    assert (proposal.payments, proposal.payments_root) == (2, root([leaf_hash(leaf) for leaf in leaves]))
    assert proposal.payments_minor == 316


def test_where_the_pool_pays_the_salt_is_the_payees() -> None:
    settlement = settled(POOL_MONTH, SettlementMethod.POOL)
    for proven in proofs_of(settlement).payments:
        owner = proven.payment.payee if proven.payment.payer == POOL else proven.payment.payer
        assert proven.salt == payment_salt(settlement.merchant_digests[owner], proven.index)
    assert POOL in {proven.payment.payee for proven in proofs_of(settlement).payments}


@settings(max_examples=40)
@given(settlements())
def test_every_statement_and_payment_is_proven_and_a_member_is_given_its_own(settlement: Settlement) -> None:
    proposal, proofs = proposal_of(settlement), proofs_of(settlement)
    assert [each.payment for each in proofs.payments] == list(settlement.alliance.payments)
    for statement in proofs.statements:
        leaf = leaf_hash(statement_leaf(statement.merchant, settlement.merchant_digests[statement.merchant]))
        verify_inclusion(leaf, statement.index, proposal.statements, statement.path, proposal.statements_root)
    for each in proofs.payments:
        payment = each.payment
        leaf = leaf_hash(payment_leaf(payment.payer, payment.payee, payment.amount_minor, each.salt))
        verify_inclusion(leaf, each.index, proposal.payments, each.path, proposal.payments_root)
    for merchant in settlement.merchants:
        own = proofs.of(merchant.merchant)
        assert tuple(each.payment for each in own.payments) == merchant.payments
        assert [each.merchant for each in own.statements] == [merchant.merchant]


def test_the_alliances_statement_covers_every_merchants(settlement: Settlement) -> None:
    digests = read(alliance_json(settlement))["merchant_statement_sha256"]
    assert digests == {name: digest.hex() for name, digest in settlement.merchant_digests.items()}


def test_csv_lines_end_as_rfc_4180_says_and_all_have_every_column(settlement: Settlement) -> None:
    content = alliance_csv(settlement)
    assert content.count(b"\r\n") == content.count(b"\n") > 40
    parsed = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert parsed[0] == list(COLUMNS)
    assert {len(row) for row in parsed} == {len(COLUMNS)}


def test_csv_points_add_up_to_closing(settlement: Settlement) -> None:
    table = rows(merchant_csv(settlement.statement_of(A)))
    points = [int(row["points"]) for row in table if row["record"] == "points"]
    assert points[:9] == [1000, 100, 0, 0, -341, 20, -25, 0, 754]
    assert sum(points[:8]) == points[8]
    assert points[11] + points[12] == points[8]


def test_csv_has_the_same_money_as_the_statement(settlement: Settlement) -> None:
    table = rows(alliance_csv(settlement))

    def amounts(record: str, item: str = "") -> list[tuple[str, str, str]]:
        chosen = [row for row in table if (row["record"], row["item"]) == (record, item)]
        return [(row["from"], row["to"], row["amount"]) for row in chosen]

    assert amounts("obligation") == [("a", "a", "0.00"), ("a", "b", "3.16"), ("a", "c", "-0.20")]
    assert amounts("position", "net") == [
        ("a", "", "-2.96"),
        ("b", "", "3.16"),
        ("c", "", "-0.20"),
        ("d", "", "0.00"),
    ]
    assert amounts("payment") == [("a", "b", "2.96"), ("c", "b", "0.20")]
    assert amounts("bilateral_net") == [("a", "b", "3.16"), ("c", "a", "0.20")]
    (line,) = [row for row in table if row["record"] == "obligation_line" and row["to"] == "b"]
    assert (line["item"], line["price"], line["points"], line["exact_amount"]) == (
        "redemption",
        "0.0105",
        "301",
        "3.1605",
    )
    assert {row["log_root_sha256"] for row in table} == {LOG_ROOT.hex()}
    assert {row["currency"] for row in table if row["amount"]} == {"EUR"}


def test_a_merchants_csv_counts_own_redemptions_once(settlement: Settlement) -> None:
    table = rows(merchant_csv(settlement.statement_of(A)))
    own = [row for row in table if row["record"] == "redemption" and row["from"] == row["to"] == "a"]
    assert [(row["item"], row["points"]) for row in own] == [("redeemed", "40"), ("refunded", "0")]


def test_in_a_pool_issuance_lines_have_no_redeemer() -> None:
    table = rows(alliance_csv(settled(MONTH, SettlementMethod.POOL)))
    issuance = [row for row in table if row["item"] == "issuance"]
    assert [(row["from"], row["to"], row["points"]) for row in issuance] == [("a", "", "100"), ("b", "", "450")]
