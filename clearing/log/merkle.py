"""Merkle tree hashes, inclusion paths and consistency paths of RFC 6962 §2.1, with SHA-256.

Makers and checkers of paths are deliberately independent of each other: the makers follow the recursive
definitions of RFC 6962 §2.1.1 and §2.1.2, the checkers the bitwise algorithms of RFC 9162 §2.1.3.2 and
§2.1.4.2. A mistake in one is caught by the other.
"""

from collections.abc import Sequence
from hashlib import sha256

from clearing.errors import ClearingError

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()

LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"


class ProofError(ClearingError):
    """A proof is malformed, or does not prove what it is said to prove."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf that holds `entry` (RFC 6962 §2.1)."""
    return sha256(LEAF_PREFIX + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of the inner node above the hashes `left` and `right` (RFC 6962 §2.1)."""
    return sha256(NODE_PREFIX + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Merkle tree hash of the given leaves (RFC 6962 §2.1); the empty tree is SHA-256 of nothing."""
    if not leaf_hashes:
        return EMPTY_ROOT
    layer = list(leaf_hashes)
    while len(layer) > 1:
        above = [node_hash(left, right) for left, right in zip(layer[::2], layer[1::2], strict=False)]
        if len(layer) % 2:
            # A last node without sibling rises unchanged, which is RFC 6962's split by powers of two.
            above.append(layer[-1])
        layer = above
    return layer[0]


def inclusion_ranges(index: int, size: int) -> list[range]:
    """The ranges of leaves whose tree hashes form the inclusion path, from the leaf's sibling upwards.

    Follows PATH of RFC 6962 §2.1.1. Raises ProofError unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ProofError(f"entry {index} is not in a tree of {size} entries; ask for a tree that holds it")
    start, end = 0, size
    siblings = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            siblings.append(range(middle, end))
            end = middle
        else:
            siblings.append(range(start, middle))
            start = middle
    return siblings[::-1]


def consistency_ranges(old_size: int, new_size: int) -> list[range]:
    """The ranges of leaves whose tree hashes form the consistency path between two sizes.

    Follows PROOF and SUBPROOF of RFC 6962 §2.1.2. Raises ProofError unless 0 < old_size <= new_size.
    """
    _check_sizes(old_size, new_size)
    start, end = 0, new_size
    siblings = []
    while end != old_size:
        middle = start + _split(end - start)
        if old_size <= middle:
            siblings.append(range(middle, end))
            end = middle
        else:
            siblings.append(range(start, middle))
            start = middle
    if start > 0:
        # The old root itself is known to the verifier only if the old tree is one whole subtree.
        siblings.append(range(start, end))
    return siblings[::-1]


def inclusion_path(leaf_hashes: Sequence[bytes], index: int, size: int) -> list[bytes]:
    """Inclusion path of leaf `index` in the tree of the first `size` leaves (RFC 6962 §2.1.1).

    Hashes every leaf; for a tree stored as tiles use `clearing.log.tile_reader.TileReader`.
    Raises ProofError unless 0 <= index < size <= len(leaf_hashes).
    """
    _check_leaves(leaf_hashes, size)
    return [root(leaf_hashes[leaves.start : leaves.stop]) for leaves in inclusion_ranges(index, size)]


def inclusion_paths(leaf_hashes: Sequence[bytes]) -> list[list[bytes]]:
    """The inclusion path of every leaf in the tree of all of them, for the work of little more than the root's."""
    paths: list[list[bytes]] = [[] for _ in leaf_hashes]
    layer, height = list(leaf_hashes), 0
    while len(layer) > 1:
        for index, path in enumerate(paths):
            # A last node without sibling rises unchanged, and adds nothing to the paths below it.
            sibling = (index >> height) ^ 1
            if sibling < len(layer):
                path.append(layer[sibling])
        above = [node_hash(left, right) for left, right in zip(layer[::2], layer[1::2], strict=False)]
        if len(layer) % 2:
            above.append(layer[-1])
        layer, height = above, height + 1
    return paths


def consistency_path(leaf_hashes: Sequence[bytes], old_size: int, new_size: int) -> list[bytes]:
    """Consistency path between the trees of the first `old_size` and `new_size` leaves (RFC 6962 §2.1.2).

    Raises ProofError unless 0 < old_size <= new_size <= len(leaf_hashes).
    """
    _check_leaves(leaf_hashes, new_size)
    return [root(leaf_hashes[leaves.start : leaves.stop]) for leaves in consistency_ranges(old_size, new_size)]


def verify_inclusion(leaf_hash: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf is entry `index` of the tree of `size` entries with this root (RFC 9162 §2.1.3.2).

    Raises ProofError if it is not, or if any argument is malformed.
    """
    if not 0 <= index < size:
        raise ProofError(f"entry {index} cannot be in a tree of {size} entries; get the proof for this tree")
    _check_hashes(leaf_hash, root, *path)
    node, last = index, size - 1
    computed = leaf_hash
    for sibling in path:
        if last == 0:
            raise ProofError(f"the inclusion path of {len(path)} hashes is too long for a tree of {size} entries")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while not node & 1 and node != 0:
                node >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise ProofError(f"the inclusion path of {len(path)} hashes is too short for a tree of {size} entries")
    if computed != root:
        raise ProofError(
            f"the inclusion path of entry {index} does not lead to the root of the tree of {size} entries; "
            "the entry, the path or the root was altered"
        )


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Check that the new tree only appended to the old one (RFC 9162 §2.1.4.2).

    Raises ProofError if it did not, or if any argument is malformed. An old size of zero is refused:
    every tree extends the empty one, so such a proof proves nothing.
    """
    _check_sizes(old_size, new_size)
    _check_hashes(old_root, new_root, *path)
    if old_size == new_size:
        if path:
            raise ProofError("a consistency path between equal sizes must be empty")
        if old_root != new_root:
            raise ProofError(f"two different roots are given for the tree of {new_size} entries: the log forked")
        return
    if not path:
        raise ProofError(f"the consistency path from {old_size} to {new_size} entries is empty")
    siblings = list(path)
    if old_size & (old_size - 1) == 0:
        siblings.insert(0, old_root)
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node >>= 1
        last >>= 1
    computed_old = computed_new = siblings[0]
    for sibling in siblings[1:]:
        if last == 0:
            raise ProofError(f"the consistency path from {old_size} to {new_size} entries is too long")
        if node & 1 or node == last:
            computed_old = node_hash(sibling, computed_old)
            computed_new = node_hash(sibling, computed_new)
            while not node & 1 and node != 0:
                node >>= 1
                last >>= 1
        else:
            computed_new = node_hash(computed_new, sibling)
        node >>= 1
        last >>= 1
    if last != 0:
        raise ProofError(f"the consistency path from {old_size} to {new_size} entries is too short")
    if computed_old != old_root or computed_new != new_root:
        raise ProofError(
            f"the tree of {new_size} entries is not shown to extend the one of {old_size} entries; "
            "the log was rewritten, or a root or the path was altered"
        )


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (at least 2): where RFC 6962 divides a tree."""
    return 1 << ((size - 1).bit_length() - 1)


def _check_hashes(*hashes: bytes) -> None:
    for given in hashes:
        if len(given) != HASH_SIZE:
            raise ProofError(f"every hash of a proof must be exactly {HASH_SIZE} bytes")


def _check_sizes(old_size: int, new_size: int) -> None:
    if not 0 < old_size <= new_size:
        raise ProofError(
            f"no consistency proof leads from {old_size} to {new_size} entries; "
            "the old size must be at least 1 and not above the new size"
        )


def _check_leaves(leaf_hashes: Sequence[bytes], size: int) -> None:
    if size > len(leaf_hashes):
        raise ProofError(f"a tree of {size} entries was asked for, but only {len(leaf_hashes)} are given")
