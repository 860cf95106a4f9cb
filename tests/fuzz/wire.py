"""Protobuf's wire format, taken apart and put together wrongly (protobuf.dev, "Encoding")."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

VARINT, FIXED_64, LENGTH_DELIMITED, GROUP_START, GROUP_END, FIXED_32 = range(6)

NUMBERS = (0, 1, 2, 127, 128, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
"""Where whole numbers tip over."""
TEXTS = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # a lone surrogate
    b" bakery",
    b"bakery\n",
    b"BAKERY",
    b"pool",
    b"cinema",
    b"card_" + b"0" * 26,
    b"card_" + b"Z" * 26,
    b"2026-13",
    b"9999-99-99",
    b"-1",
    b"1e309",
    b"NaN",
    b"0.00000001",
    b"../../etc",
    b"'; DROP TABLE entries; --",
    b"%s%n{0}",
    b"\xe2\x80\xae\xf0\x9f\x98\x80",
    b"x" * 65,
    b"x" * 5_000,
    b"x" * 60_000,
)
DEPTHS = (2, 99, 101, 5_000)


class Field(NamedTuple):
    """One field as it stands on the wire."""

    number: int
    wire_type: int
    value: int | bytes


def varint(number: int) -> bytes:
    """Base 128, least significant group first."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def fields_of(message: bytes) -> list[Field] | None:
    """The fields of a message; None if it is none."""
    fields = []
    place = 0
    while place < len(message):
        tag = _varint_at(message, place)
        if tag is None or not tag[0] >> 3:
            return None
        key, place = tag
        value: tuple[int, int] | tuple[bytes, int] | None = None
        if key & 7 == VARINT:
            value = _varint_at(message, place)
        elif key & 7 == LENGTH_DELIMITED:
            length = _varint_at(message, place)
            if length is not None:
                value = _bytes_at(message, length[1], length[0])
        elif key & 7 in (FIXED_32, FIXED_64):
            value = _bytes_at(message, place, 4 if key & 7 == FIXED_32 else 8)
        if value is None:
            return None
        fields.append(Field(key >> 3, key & 7, value[0]))
        place = value[1]
    return fields


def encoded(fields: list[Field]) -> bytes:
    """The fields, one after the other."""
    parts = []
    for number, wire_type, value in fields:
        parts.append(varint(number << 3 | wire_type))
        if isinstance(value, int):
            parts.append(varint(value))
        else:
            parts.append(varint(len(value)) + value if wire_type == LENGTH_DELIMITED else value)
    return b"".join(parts)


def mutated(random: Random, message: bytes, depth: int = 0) -> bytes:
    """The message with one thing wrong, or several, somewhere within it."""
    fields = fields_of(message) if random.random() < 0.8 else None
    if not fields:
        return mutated_bytes(random, message)
    place = random.randrange(len(fields))
    chosen = fields[place]
    if isinstance(chosen.value, bytes) and depth < 4 and random.random() < 0.6:
        fields[place] = chosen._replace(value=mutated(random, chosen.value, depth + 1))
        return encoded(fields)
    operation = random.randrange(12)
    if operation == 0:
        del fields[place]
    elif operation == 1:
        fields[place:place] = [chosen] * random.choice((1, 1, 2, 600))
    elif operation == 2:
        random.shuffle(fields)
    elif operation == 3:
        number = random.choice((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 127, 2**29 - 1, 2**29, 2**40))
        fields[place] = chosen._replace(number=number)
    elif operation == 4:
        fields[place] = chosen._replace(wire_type=random.randrange(8))
    elif operation <= 8:
        fields[place] = _other_value(random, chosen)
    elif operation == 9:
        return encoded(fields) + encoded([Field(random.choice((8, 9, 20, 127)), VARINT, random.choice(NUMBERS))])
    elif operation == 10:
        nested = random.choice(DEPTHS)
        group = varint(chosen.number << 3 | GROUP_START) * nested + varint(chosen.number << 3 | GROUP_END) * nested
        return encoded(fields) + group
    else:
        return _wrongly_encoded(random, fields, place)
    return encoded(fields)


def mutated_bytes(random: Random, data: bytes) -> bytes:
    """The bytes with some changed, lost or added, whatever they mean."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        place = random.randrange(len(changed) + 1)
        operation = random.randrange(6)
        if operation == 0 and place < len(changed):
            changed[place] ^= 1 << random.randrange(8)
        elif operation == 1 and place < len(changed):
            changed[place] = random.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif operation == 2:
            del changed[place : place + random.choice((1, 2, 4, 100))]
        elif operation == 3:
            del changed[place:]
        elif operation == 4:
            changed[place:place] = random.randbytes(random.choice((1, 2, 8, 64)))
        else:
            changed[place:place] = changed[: random.randrange(len(changed) + 1)]
    return bytes(changed)


def _other_value(random: Random, field: Field) -> Field:
    if isinstance(field.value, int):
        near = max(field.value + random.choice((-1, 1)), 0)
        return field._replace(value=random.choice((*NUMBERS, near, random.getrandbits(64))))
    if field.wire_type != LENGTH_DELIMITED:
        return field._replace(value=random.randbytes(len(field.value)))
    if random.random() < 0.5:
        return field._replace(value=random.choice(TEXTS))
    return field._replace(value=mutated_bytes(random, field.value))


def _wrongly_encoded(random: Random, fields: list[Field], place: int) -> bytes:
    """One field with a length that is not its value's, or a number of more bytes than it takes."""
    number, _, value = fields[place]
    if isinstance(value, int):
        overlong = (
            varint(value)[:-1] + bytes([varint(value)[-1] | 128]) + b"\x80" * random.choice((0, 3, 9, 20)) + b"\0"
        )
        wrong = varint(number << 3 | VARINT) + overlong
    else:
        length = random.choice((0, max(len(value) - 1, 0), len(value) + 1, 2**31 - 1, 2**32, 2**63))
        wrong = varint(number << 3 | LENGTH_DELIMITED) + varint(length) + value
    return encoded(fields[:place]) + wrong + encoded(fields[place + 1 :])


def _varint_at(message: bytes, place: int) -> tuple[int, int] | None:
    number = 0
    for group, byte in enumerate(message[place : place + 10]):
        number |= (byte & 127) << 7 * group
        if byte < 128:
            return number, place + group + 1
    return None


def _bytes_at(message: bytes, place: int, length: int) -> tuple[bytes, int] | None:
    if place + length > len(message):
        return None
    return message[place : place + length], place + length
