"""``clearing submit``: a file of shopping baskets becomes signed transactions."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from back_office.cli.console import note, print_json, print_table, progress_bar
from back_office.cli.options import JsonOption, StoresOption, settings_of
from back_office.client.connection import GatewayConnection
from back_office.client.encryption import channel_credentials_of
from back_office.client.home import home_of, merchant_keys
from back_office.errors import BackOfficeError
from clearing.model import Points
from merchant_gateway.client.baskets.submission import submit_baskets
from merchant_gateway.client.baskets.summary import BasketSummary
from merchant_gateway.client.baskets.waves import BasketRules
from merchant_gateway.client.card_secret import card_secret
from merchant_gateway.client.connection import MerchantConnection
from merchant_gateway.client.receipt_store import ReceiptStore


def submit(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="BASKETS.csv[.gz]",
            help="Header basket_id,household_id,store_id,purchased_at,amount,coupon_discount.",
        ),
    ],
    stores: StoresOption = None,
    points_per_unit: Annotated[
        str, typer.Option(metavar="NUMBER", help="Points that one major unit of the currency earns.")
    ] = "1",
    burn_at: Annotated[
        int, typer.Option(metavar="POINTS", help="As soon as a card can spend so many points, so many are burned.")
    ] = 200,
    receipts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep every receipt in this file (SQLite).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Present a file of baskets: cards are opened, amounts earn points, and points are burned.

    Each merchant's transactions are signed by its key, keys/merchant-MERCHANT.pem in the home folder. Run again, it
    changes nothing; interrupted and run again, it ends where it would have ended.
    """
    settings = settings_of(context)
    home = home_of(settings)
    rules = BasketRules(_decimal(points_per_unit), Points(burn_at))
    keys = merchant_keys(settings)
    with GatewayConnection(settings) as gateway, progress_bar() as progress:
        task = progress.add_task("Presenting baskets", total=None)
        verifier = gateway.alliance.verifier
        with (
            ReceiptStore(receipts, verifier) if receipts is not None else nullcontext() as kept,
            MerchantConnection(
                settings.address,
                gateway.alliance,
                receipts=kept,
                credentials=channel_credentials_of(settings),
                insecure_plaintext=settings.insecure_plaintext,
            ) as connection,
        ):
            summary = submit_baskets(
                file,
                connection,
                keys,
                rules,
                card_secret(home.card_token_secret_file),
                store_merchants=stores,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    if as_json:
        print_json(_as_object(summary))
    else:
        _print(summary)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise BackOfficeError(f"--points-per-unit: {text!r} is no number, such as 1 or 0.5") from None


def _print(summary: BasketSummary) -> None:
    rows = [
        ("baskets in the file", summary.baskets),
        ("baskets that earn less than a point", summary.baskets_without_points),
        ("cards opened", summary.cards_opened),
        ("cards that were open already", summary.cards_known),
        ("earns", summary.earns),
        ("burns", summary.burns),
        ("points issued", summary.points_issued),
        ("points redeemed", summary.points_redeemed),
        ("transactions presented", summary.transactions),
        ("of these presented before", summary.replayed),
        *((f"refused: {outcome.name.lower()}", count) for outcome, count in sorted(summary.refused.items())),
    ]
    speed = f"{summary.seconds:.1f} s, {summary.transactions_per_second:,.0f} transactions/s"
    print_table(f"Submitted in {speed}", ("what", "count"), [(what, f"{count:,}") for what, count in rows], ("count",))
    for refusal in summary.refusals:
        note(str(refusal), "yellow")


def _as_object(summary: BasketSummary) -> dict[str, object]:
    result = {field.name: getattr(summary, field.name) for field in dataclasses.fields(summary)}
    result["refused"] = {outcome.name: count for outcome, count in summary.refused.items()}
    result["refusals"] = [
        {"line": each.line, "basket_id": each.basket_id, "kind": str(each.kind), "outcome": each.outcome.name}
        for each in summary.refusals
    ]
    return result
