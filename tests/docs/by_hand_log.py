"""The log's tree, proofs and checkpoints as docs/protocol.md describes them, by hand: nothing of ours."""

from __future__ import annotations

import base64
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.docs.by_hand_wire import Key


class RefusedError(Exception):
    """What is given proves nothing."""


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


# ---- what a log does ----


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = largest_power_of_two_below(len(leaves))
    return node_hash(root(leaves[:split]), root(leaves[split:]))


def inclusion_path(leaves: list[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    split = largest_power_of_two_below(len(leaves))
    if index < split:
        return [*inclusion_path(leaves[:split], index), root(leaves[split:])]
    return [*inclusion_path(leaves[split:], index - split), root(leaves[:split])]


def consistency_path(leaves: list[bytes], old_size: int, *, old_root_is_known: bool = True) -> list[bytes]:
    if old_size == len(leaves):
        return [] if old_root_is_known else [root(leaves)]
    split = largest_power_of_two_below(len(leaves))
    if old_size <= split:
        path = consistency_path(leaves[:split], old_size, old_root_is_known=old_root_is_known)
        return [*path, root(leaves[split:])]
    path = consistency_path(leaves[split:], old_size - split, old_root_is_known=False)
    return [*path, root(leaves[:split])]


def largest_power_of_two_below(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


def key_hash(name: str, public_key: bytes) -> bytes:
    return sha256(name.encode() + b"\n\x01" + public_key).digest()[:4]


def vkey(name: str, public_key: bytes) -> str:
    return f"{name}+{key_hash(name, public_key).hex()}+{base64.b64encode(bytes([1]) + public_key).decode()}"


def checkpoint_text(origin: str, size: int, root_hash: bytes) -> str:
    return f"{origin}\n{size}\n{base64.b64encode(root_hash).decode()}\n"


def note(name: str, text: str, key: Key) -> str:
    signature = base64.b64encode(key_hash(name, key.public_key) + key.sign(text.encode())).decode()
    return f"{text}\n— {name} {signature}\n"


# ---- what a client does ----


def open_checkpoint(signed: str, trusted_vkey: str) -> tuple[int, bytes]:
    """Size and root of a checkpoint, by the four steps of the document."""
    name, named_hash, encoded = trusted_vkey.split("+", 2)
    public_key = base64.b64decode(encoded, validate=True)[1:]
    if named_hash != key_hash(name, public_key).hex():
        raise RefusedError("the verifier key contradicts itself")
    text, separator, signature_lines = signed.rpartition("\n\n")
    text += "\n"
    if not separator:
        raise RefusedError("no signatures")
    for line in signature_lines.splitlines():
        _, signer, signature = line.split(" ")
        content = base64.b64decode(signature, validate=True)
        if signer == name and content[:4] == key_hash(name, public_key):
            try:
                Ed25519PublicKey.from_public_bytes(public_key).verify(content[4:], text.encode())
            except InvalidSignature:
                raise RefusedError("a signature of the trusted key does not hold") from None
            origin, size, root_hash = text.splitlines()[:3]
            if origin != name:
                raise RefusedError("the checkpoint of another log")
            return int(size), base64.b64decode(root_hash, validate=True)
    raise RefusedError("not signed by the trusted key")


def check_inclusion(leaf: bytes, index: int, size: int, path: list[bytes], root_hash: bytes) -> None:
    """The document's pseudocode, line by line."""
    if index >= size:
        raise RefusedError("beyond the tree")
    fn, sn, r = index, size - 1, leaf
    for p in path:
        if sn == 0:
            raise RefusedError("path too long")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            r = node_hash(r, p)
        fn >>= 1
        sn >>= 1
    if sn != 0 or r != root_hash:
        raise RefusedError("another root")


def check_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: list[bytes]) -> None:
    """The document's pseudocode, line by line."""
    if not 0 < old_size <= new_size:
        raise RefusedError("sizes")
    if old_size == new_size:
        if path or old_root != new_root:
            raise RefusedError("fork")
        return
    if not path:
        raise RefusedError("path empty")
    if old_size & (old_size - 1) == 0:
        path = [old_root, *path]
    fn, sn = old_size - 1, new_size - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            raise RefusedError("path too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            sr = node_hash(sr, c)
        fn >>= 1
        sn >>= 1
    if sn != 0 or fr != old_root or sr != new_root:
        raise RefusedError("another root")
