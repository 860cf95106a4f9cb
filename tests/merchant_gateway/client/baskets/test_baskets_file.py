"""Reading baskets and mappings: every fault names its line, and nothing is guessed."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path

import pytest

from clearing.calendar import moment_of
from clearing.model import Instant, MerchantId, StoreId
from merchant_gateway.client.baskets.basket_file import Basket, read_baskets
from merchant_gateway.client.baskets.csv_file import CsvFileError, CsvUnreadableError, Fault
from merchant_gateway.client.baskets.errors import BasketJobError
from merchant_gateway.client.baskets.store_merchants import hashed_store_merchants, read_store_merchants
from merchant_gateway.client.card_secret import card_secret
from tests.zones import calendar_of

HEADER = "basket_id,household_id,store_id,purchased_at,amount,coupon_discount\n"
ROW = "1,906,319,2017-01-01T12:30:27,1.50,0.00\n"


def written(folder: Path, content: str | bytes) -> Path:
    """A file with this content."""
    path = folder / "baskets.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, decimals: int = 2, time_zone: str = "Europe/Berlin") -> list[Basket]:
    return read_baskets(path, currency_decimals=decimals, calendar=calendar_of(time_zone))


def utc(text: str) -> Instant:
    """The instant of a time in UTC."""
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)
    return Instant(int(moment.timestamp()) * 1_000_000)


def purchased_at(folder: Path, text: str, time_zone: str = "Europe/Berlin") -> str:
    """When, in UTC, a basket of this time was bought."""
    (basket,) = read(written(folder, HEADER + ROW.replace("2017-01-01T12:30:27", text)), time_zone=time_zone)
    return moment_of(basket.purchased_at).replace(tzinfo=None).isoformat()


def faults(path: Path, decimals: int = 2) -> list[Fault]:
    with pytest.raises(CsvFileError) as raised:
        read(path, decimals)
    return list(raised.value.faults)


# ---- what is read ----


def test_a_basket_is_read_with_its_line_and_in_minor_units(tmp_path: Path) -> None:
    (basket,) = read(written(tmp_path, HEADER + "7,906,store-1,2017-07-01T12:30:27,12.5,0.30\n"))
    assert basket == Basket(2, "7", "906", StoreId("store-1"), utc("2017-07-01T10:30:27"), 1250)


def test_baskets_come_in_the_order_of_time_and_those_of_one_instant_in_the_order_of_the_file(tmp_path: Path) -> None:
    rows = [
        "b,1,s,2017-01-02T10:00:00,1,0",
        "a,1,s,2017-01-01T10:00:00,1,0",
        "d,1,s,2017-01-02T10:00:00,1,0",
        "c,1,s,2017-01-02T09:00:00Z,1,0",
    ]
    baskets = read(written(tmp_path, HEADER + "\n".join(rows)))
    assert [basket.basket_id for basket in baskets] == ["a", "b", "d", "c"]


def test_a_compressed_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    assert len(read(written(tmp_path, gzip.compress((HEADER + ROW).encode())))) == 1


def test_a_file_as_spreadsheets_write_it_is_read(tmp_path: Path) -> None:
    content = (HEADER + '"1","906","319","2017-01-01T12:30:27","1.50","0.00"\n').replace("\n", "\r\n")
    assert len(read(written(tmp_path, b"\xef\xbb\xbf" + content.encode()))) == 1


def test_a_file_of_a_header_alone_holds_no_baskets(tmp_path: Path) -> None:
    assert read(written(tmp_path, HEADER)) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2017-01-01T12:30:27", "2017-01-01T11:30:27"),
        ("2017-07-01T12:30:27.000001", "2017-07-01T10:30:27.000001"),
        ("2017-07-01T12:30:27Z", "2017-07-01T12:30:27"),
        ("2017-07-01T12:30:27-05:00", "2017-07-01T17:30:27"),
        # Clocks went back at 03:00 to 02:00: of the two, the first.
        ("2017-10-29T02:30:00", "2017-10-29T00:30:00"),
        ("2017-10-29T03:00:00", "2017-10-29T02:00:00"),
        # Clocks went forward at 02:00 to 03:00: as if they had not.
        ("2017-03-26T01:59:59", "2017-03-26T00:59:59"),
        ("2017-03-26T02:30:00", "2017-03-26T01:30:00"),
        ("2017-03-26T03:30:00", "2017-03-26T01:30:00"),
    ],
)
def test_local_times_are_those_of_the_alliance(tmp_path: Path, text: str, expected: str) -> None:
    assert purchased_at(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("amount", "decimals", "minor"),
    [("0", 2, 0), ("0.00", 2, 0), ("-0.00", 2, 0), ("1", 2, 100), ("1.5", 2, 150), ("7", 0, 7), ("0.0001", 4, 1)],
)
def test_amounts_are_exact(tmp_path: Path, amount: str, decimals: int, minor: int) -> None:
    row = ROW.replace("1.50", amount).replace("0.00\n", "0\n")
    (basket,) = read(written(tmp_path, HEADER + row), decimals)
    assert basket.amount_minor == minor


# ---- what is not ----


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("1", "", "basket_id: must be 1 to 59 printable ASCII characters"),
        ("1", "a b", "basket_id: must be"),
        ("1", "x" * 60, "basket_id: must be"),
        ("1", "é", "basket_id: must be"),
        ("1", "\0", "basket_id: must be"),
        ("906", "", "household_id: must be"),
        ("906", "Jane Doe", "household_id: must be"),
        ("319", "", "store_id: must be 1 to 32 of a-z, 0-9 and hyphens"),
        ("319", "Store", "store_id: must be"),
        ("2017-01-01T12:30:27", "", "purchased_at: must be a moment that exists, such as"),
        ("2017-01-01T12:30:27", "2017-02-29T12:00:00", "purchased_at: must be"),
        ("2017-01-01T12:30:27", "2017-01-01T24:00:01", "purchased_at: must be"),
        ("2017-01-01T12:30:27", "2017-01-01", "purchased_at: must be"),
        ("2017-01-01T12:30:27", "2017-01-01 12:30:27", "purchased_at: must be"),
        ("2017-01-01T12:30:27", "2017-01-01T12:30", "purchased_at: must be"),
        ("2017-01-01T12:30:27", "01/01/2017 12:30", "purchased_at: must be"),
        ("2017-01-01T12:30:27", "2017-01-01T12:30:27+25:00", "purchased_at: must be"),
        ("2017-01-01T12:30:27", "1969-12-31T12:00:00", "purchased_at: must lie between 1971 and 2099"),
        ("2017-01-01T12:30:27", "9999-12-31T23:59:59", "purchased_at: must lie between 1971 and 2099"),
        ("1.50", "", "amount: must be a decimal number, such as 12.50"),
        ("1.50", "abc", "amount: must be a decimal number"),
        ("1.50", "1e3", "amount: must be a decimal number"),
        ("1.50", "NaN", "amount: must be a decimal number"),
        ("1.50", "1.", "amount: must be a decimal number"),
        ("1.50", ".5", "amount: must be a decimal number"),
        ("1.50", "$5", "amount: must be a decimal number"),
        ("1.50", " 1", "amount: must be a decimal number"),
        ("1.50", "\u0661", "amount: must be a decimal number"),
        ("1.50", '"1,50"', "amount: must be a decimal number"),
        ("1.50", "9" * 20, "amount: must be a decimal number"),
        ("1.50", "-0.01", "amount: must not be negative"),
        ("1.50", "1.505", "amount: has 3 decimals, and the alliance's currency has 2"),
        ("1.50", "10000000000.01", "amount: is larger than any purchase may be"),
        ("0.00", "-1", "coupon_discount: must not be negative"),
        ("0.00", "x", "coupon_discount: must be a decimal number"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_its_line(tmp_path: Path, field: str, value: str, expected: str) -> None:
    fields = [value if each == field else each for each in ROW.strip().split(",")]
    content = HEADER + "0,906,319,2017-01-01T12:30:26,1.00,0.00\n" + ",".join(fields) + "\n"
    (fault,) = faults(written(tmp_path, content))
    assert fault.line == 3
    assert fault.text.startswith(expected)


@pytest.mark.parametrize(
    ("content", "line", "expected"),
    [
        ("", 1, "the file is empty"),
        (ROW, 1, "the header must be basket_id,"),
        (HEADER.replace("amount", "Amount"), 1, "the header must be"),
        ("\n" + HEADER, 1, "the header must be"),
        (HEADER + "1,906,319,2017-01-01T12:30:27,1.50\n", 2, "too few columns: 5 instead of 6"),
        (HEADER + ROW.strip() + ",7\n", 2, "too many columns: 7 instead of 6"),
        (HEADER + ROW.replace(",", ";"), 2, "too few columns: 1 instead of 6"),
        (HEADER + "\n" + ROW, 2, "the line is empty"),
        (HEADER + ROW + ROW, 3, "basket_id: '1' stands on line 2 already"),
        (HEADER + ROW + '"2,906', 3, "not CSV: unexpected end of data"),
        (HEADER + ROW + '"2"x,906,319,2017-01-01T12:30:27,1.50,0\n', 3, "not CSV:"),
        (HEADER.encode() + b"\xff" + ROW.encode(), 2, "byte 1 of the line is not UTF-8"),
        ((HEADER + ROW).encode("utf-16"), 1, "byte 1 of the line is not UTF-8"),
        (HEADER + "x" * 70_000, 2, "the line is longer than 65,536 bytes"),
    ],
)
def test_a_file_that_is_wrong_names_the_line(tmp_path: Path, content: str | bytes, line: int, expected: str) -> None:
    (fault,) = faults(written(tmp_path, content))
    assert fault.line == line
    assert fault.text.startswith(expected)


def test_a_compressed_file_that_is_cut_short_or_damaged_says_where(tmp_path: Path) -> None:
    rows = "".join(ROW.replace("1,", f"{number},", 1) for number in range(5_000))
    compressed = gzip.compress((HEADER + rows).encode())
    (fault,) = faults(written(tmp_path, compressed[:-2_000]))
    assert "cut short" in fault.text
    assert 1 < fault.line <= 5_001
    assert "cut short" in faults(written(tmp_path, compressed[:-1]))[0].text
    damaged = bytearray(compressed)
    damaged[-5] ^= 1  # in the checksum
    assert "damaged" in faults(written(tmp_path, bytes(damaged)))[0].text
    assert "damaged" in faults(written(tmp_path, compressed + b"more"))[0].text
    assert "cut short" in faults(written(tmp_path, compressed[:5]))[0].text


def test_all_lines_at_fault_are_told_and_the_first_are_named(tmp_path: Path) -> None:
    rows = [ROW.replace("1,", f"{number},", 1).replace("1.50", "free") for number in range(15)]
    path = written(tmp_path, HEADER + "".join(rows))
    with pytest.raises(CsvFileError) as raised:
        read(path)
    assert [fault.line for fault in raised.value.faults] == list(range(2, 17))
    lines = str(raised.value).splitlines()
    assert lines[0] == f"{path}, line 2: amount: must be a decimal number, such as 12.50"
    assert len(lines) == 11
    assert lines[10] == f"and 5 more faults in {path}"


def test_a_file_that_is_not_there_or_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CsvUnreadableError, match=r"cannot read .*absent\.csv: No such file"):
        read(tmp_path / "absent.csv")
    with pytest.raises(CsvUnreadableError, match="Is a directory"):
        read(tmp_path)


# ---- stores and merchants ----


def test_a_mapping_file_gives_each_store_its_merchant(tmp_path: Path) -> None:
    path = written(tmp_path, "store_id,merchant\n319,bakery\n361,cinema\n")
    assert read_store_merchants(path) == {"319": "bakery", "361": "cinema"}


@pytest.mark.parametrize(
    ("rows", "line", "expected"),
    [
        ("319,bakery\n319,cinema\n", 3, "store_id: '319' stands in the file already"),
        ("319,The Bakery\n", 2, "merchant: must be"),
        (",bakery\n", 2, "store_id: must be"),
        ("319\n", 2, "too few columns"),
    ],
)
def test_a_mapping_file_that_is_wrong_names_the_line(tmp_path: Path, rows: str, line: int, expected: str) -> None:
    with pytest.raises(CsvFileError) as raised:
        read_store_merchants(written(tmp_path, "store_id,merchant\n" + rows))
    (fault,) = raised.value.faults
    assert fault.line == line
    assert fault.text.startswith(expected)


def test_the_hash_is_the_documented_one() -> None:
    merchants = [MerchantId(name) for name in ("cinema", "bakery", "garage")]
    # printf 319 | sha256sum: 156091ee0884f36d..., printf 361 | sha256sum: 73daa9289ddd08a5...
    first, second = 0x156091EE0884F36D, 0x73DAA9289DDD08A5
    ordered = ["bakery", "cinema", "garage"]
    expected = {"319": ordered[first % 3], "361": ordered[second % 3]}
    assert hashed_store_merchants([StoreId("319"), StoreId("361")], merchants) == expected


def test_without_merchants_no_store_is_given_away() -> None:
    with pytest.raises(BasketJobError, match="admit"):
        hashed_store_merchants([StoreId("319")], [])


# ---- the secret of the card tokens ----


def test_the_secret_is_made_once_and_read_ever_after(tmp_path: Path) -> None:
    secret = card_secret(tmp_path / "secret")
    assert len(secret) == 32
    assert card_secret(tmp_path / "secret") == secret
    assert card_secret(tmp_path / "other") != secret
