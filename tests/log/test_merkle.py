"""Hashes and proofs of the tree: known vectors, and properties against RFC 6962's recursive definitions."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.log.merkle import (
    EMPTY_ROOT,
    ProofError,
    consistency_path,
    inclusion_path,
    inclusion_paths,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# The inputs and roots that Certificate Transparency implementations test with.
KNOWN_ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
KNOWN_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(str(number).encode()) for number in range(70)]
ROOTS = [root(LEAVES[:size]) for size in range(len(LEAVES) + 1)]

sizes = st.integers(1, len(LEAVES))


def split(size: int) -> int:
    """The largest power of two below `size`, searched for rather than computed."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def recursive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word."""
    if len(leaves) == 0:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node_hash(recursive_root(leaves[:k]), recursive_root(leaves[k:]))


def recursive_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 §2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*recursive_path(index, leaves[:k]), recursive_root(leaves[k:])]
    return [*recursive_path(index - k, leaves[k:]), recursive_root(leaves[:k])]


def recursive_proof(old_size: int, leaves: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    """PROOF and SUBPROOF of RFC 6962 §2.1.2, word for word."""
    if old_size == len(leaves):
        return [] if whole else [recursive_root(leaves)]
    k = split(len(leaves))
    if old_size <= k:
        return [*recursive_proof(old_size, leaves[:k], whole=whole), recursive_root(leaves[k:])]
    return [*recursive_proof(old_size - k, leaves[k:], whole=False), recursive_root(leaves[:k])]


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_known_entries_are_the_known_roots(size: int) -> None:
    assert root([leaf_hash(entry) for entry in KNOWN_ENTRIES[:size]]).hex() == KNOWN_ROOTS[size]


def test_known_inclusion_path_of_the_sixth_of_eight_known_entries() -> None:
    leaves = [leaf_hash(entry) for entry in KNOWN_ENTRIES]
    assert [sibling.hex() for sibling in inclusion_path(leaves, 5, 8)] == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_known_consistency_path_from_six_to_eight_known_entries() -> None:
    leaves = [leaf_hash(entry) for entry in KNOWN_ENTRIES]
    path = consistency_path(leaves, 6, 8)
    assert [sibling.hex() for sibling in path] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    verify_consistency(6, 8, bytes.fromhex(KNOWN_ROOTS[6]), bytes.fromhex(KNOWN_ROOTS[8]), path)


def test_leaf_and_node_of_the_same_bytes_hash_differently() -> None:
    left, right = LEAVES[:2]
    assert leaf_hash(left + right) != node_hash(left, right)


def test_every_root_and_inclusion_path_is_the_recursive_one_and_verifies() -> None:
    for size in range(1, 41):
        assert ROOTS[size] == recursive_root(LEAVES[:size])
        for index in range(size):
            path = inclusion_path(LEAVES, index, size)
            assert path == recursive_path(index, LEAVES[:size])
            verify_inclusion(LEAVES[index], index, size, path, ROOTS[size])


def test_every_consistency_path_is_the_recursive_one_and_verifies() -> None:
    for new_size in range(1, 41):
        for old_size in range(1, new_size + 1):
            path = consistency_path(LEAVES, old_size, new_size)
            assert path == recursive_proof(old_size, LEAVES[:new_size])
            verify_consistency(old_size, new_size, ROOTS[old_size], ROOTS[new_size], path)


def altered(hashes: Sequence[bytes], position: int, bit: int) -> list[bytes]:
    changed = bytearray(hashes[position])
    changed[bit // 8] ^= 1 << bit % 8
    return [*hashes[:position], bytes(changed), *hashes[position + 1 :]]


@given(sizes, st.data())
def test_any_altered_inclusion_proof_fails(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(LEAVES, index, size)
    hashes = [LEAVES[index], ROOTS[size], *path]
    position = data.draw(st.integers(0, len(hashes) - 1))
    leaf, tree_root, *altered_path = altered(hashes, position, data.draw(st.integers(0, 255)))
    with pytest.raises(ProofError):
        verify_inclusion(leaf, index, size, altered_path, tree_root)
    other_index = data.draw(st.integers(-1, size + 1).filter(lambda other: other != index))
    with pytest.raises(ProofError):
        verify_inclusion(LEAVES[index], other_index, size, path, ROOTS[size])
    for other_path in (path[:-1], path[1:], [*path, LEAVES[0]], [LEAVES[0], *path]):
        if other_path != path:
            with pytest.raises(ProofError):
                verify_inclusion(LEAVES[index], index, size, other_path, ROOTS[size])


@given(st.tuples(sizes, sizes).map(sorted), st.data())
def test_any_altered_consistency_proof_fails(pair: list[int], data: st.DataObject) -> None:
    old_size, new_size = pair
    path = consistency_path(LEAVES, old_size, new_size)
    hashes = [ROOTS[old_size], ROOTS[new_size], *path]
    position = data.draw(st.integers(0, len(hashes) - 1))
    old_root, new_root, *altered_path = altered(hashes, position, data.draw(st.integers(0, 255)))
    with pytest.raises(ProofError):
        verify_consistency(old_size, new_size, old_root, new_root, altered_path)
    for other_path in (path[:-1], path[1:], [*path, LEAVES[0]], [LEAVES[0], *path]):
        if other_path != path:
            with pytest.raises(ProofError):
                verify_consistency(old_size, new_size, ROOTS[old_size], ROOTS[new_size], other_path)


@given(st.tuples(sizes, sizes).filter(lambda pair: pair[0] != pair[1]).map(sorted))
def test_a_rewritten_log_has_no_consistency_proof(pair: list[int]) -> None:
    old_size, new_size = pair
    rewritten = [leaf_hash(b"rewritten"), *LEAVES[1:]]
    path = consistency_path(rewritten, old_size, new_size)
    with pytest.raises(ProofError, match="not shown to extend"):
        verify_consistency(old_size, new_size, ROOTS[old_size], root(rewritten[:new_size]), path)


def test_hashes_of_any_other_length_are_refused() -> None:
    path = inclusion_path(LEAVES, 2, 5)
    for wrong in (b"", LEAVES[0][:31], LEAVES[0] + b"\x00"):
        for leaf, siblings, tree_root in (
            (wrong, path, ROOTS[5]),
            (LEAVES[2], [wrong, *path[1:]], ROOTS[5]),
            (LEAVES[2], path, wrong),
        ):
            with pytest.raises(ProofError, match="exactly 32 bytes"):
                verify_inclusion(leaf, 2, 5, siblings, tree_root)
        with pytest.raises(ProofError, match="exactly 32 bytes"):
            verify_consistency(5, 5, wrong, wrong, [])


def test_an_inner_node_does_not_pass_for_a_leaf_under_a_shorter_path() -> None:
    with pytest.raises(ProofError, match="too short"):
        verify_inclusion(ROOTS[8], 0, 8, [], ROOTS[8])
    with pytest.raises(ProofError, match="too short"):
        verify_inclusion(ROOTS[4], 0, 8, inclusion_path(LEAVES, 0, 8)[2:], ROOTS[8])
    # A short path whose end is taken for both roots.
    with pytest.raises(ProofError, match="too short"):
        verify_consistency(3, 8, LEAVES[0], LEAVES[0], [LEAVES[0]])


def test_no_entry_is_in_the_empty_tree() -> None:
    with pytest.raises(ProofError, match="cannot be in a tree of 0"):
        verify_inclusion(LEAVES[0], 0, 0, [], EMPTY_ROOT)


def test_an_old_size_of_zero_proves_nothing_and_is_refused() -> None:
    with pytest.raises(ProofError, match="at least 1"):
        verify_consistency(0, 3, EMPTY_ROOT, ROOTS[3], [])
    with pytest.raises(ProofError, match="at least 1"):
        consistency_path(LEAVES, 0, 3)


def test_a_log_cannot_shrink() -> None:
    with pytest.raises(ProofError, match="not above the new size"):
        verify_consistency(4, 3, ROOTS[4], ROOTS[3], [])


def test_two_roots_of_one_size_are_a_fork() -> None:
    with pytest.raises(ProofError, match="forked"):
        verify_consistency(3, 3, ROOTS[3], ROOTS[4], [])
    with pytest.raises(ProofError, match="must be empty"):
        verify_consistency(3, 3, ROOTS[3], ROOTS[3], [LEAVES[0]])


def test_paths_are_made_only_of_leaves_that_are_there() -> None:
    for index, size in ((0, len(LEAVES) + 1), (3, 3), (-1, 3)):
        with pytest.raises(ProofError):
            inclusion_path(LEAVES, index, size)
    with pytest.raises(ProofError):
        consistency_path(LEAVES, 3, len(LEAVES) + 1)


@given(st.integers(0, 70))
def test_all_inclusion_paths_at_once_are_those_made_one_by_one(size: int) -> None:
    hashes = [leaf_hash(bytes([number])) for number in range(size)]
    assert inclusion_paths(hashes) == [inclusion_path(hashes, index, size) for index in range(size)]
