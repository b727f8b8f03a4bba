"""Compiled inner loops; imported only if Numba is there (see `acceleration`).

All loops release Python's global lock, so blocks can be counted in several threads. They
run over slices from 0 on because Numba looks out for negative indices otherwise, which keeps
a loop from being vectorised.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .contingency import from_table, unpack

U = np.uint64
CHECKED = 8192
GROUP = 64
MANY = 256
Part = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def count_pairs(reference: NDArray[Any], prediction: NDArray[Any]) -> list[Part]:
    """Count pairs of labels in flat uint16 or uint64 arrays.

    Three loops take over from each other where labels outgrow them: four voxels a step for
    labels below 4, a table for labels below 256, stretches of equal pairs and a hash table
    for all others.
    """
    parts = []
    start = 0
    if reference.dtype == np.uint16:
        packed = np.zeros((2, 1 << 16), np.int64)
        start = 4 * _count_few(_words(reference), _words(prediction), packed)
        if start:
            parts.append(_part(unpack(packed.sum(axis=0))))
        if start < reference.size:
            table = np.zeros((4, MANY, MANY), np.int64)
            start, before = _count_many(reference, prediction, start, table), start
            if start > before:
                parts.append(_part(table.sum(axis=0)))
    size = 1 << 10
    keys, counts = np.zeros((size, 2), U), np.zeros(size, np.int64)
    while start < reference.size:
        start, full = _count_runs(reference, prediction, start, keys, counts)
        if full:
            old = counts > 0
            larger = np.zeros((4 * len(keys), 2), U), np.zeros(4 * len(keys), np.int64)
            _add_all(keys[old], counts[old], *larger)
            keys, counts = larger
    used = counts > 0
    labels = keys[used].astype(np.int64)
    return [*parts, (labels[:, 0], labels[:, 1], counts[used])]


def _words(labels: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """Return the labels four at a time."""
    whole = labels[: labels.size // 4 * 4]
    return (whole if whole.ctypes.data % 8 == 0 else whole.copy()).view(U)


def _part(table: NDArray[np.int64]) -> Part:
    found = from_table(table)
    return found.reference, found.prediction, found.count


@njit(nogil=True, cache=True)
def _count_few(reference, prediction, table):  # type: ignore[no-untyped-def]
    """Count words of four 16-bit labels below 4; return at which word larger ones begin."""
    for first in range(0, reference.size, CHECKED):
        ours, theirs = reference[first : first + CHECKED], prediction[first : first + CHECKED]
        if _add_words(ours, theirs, 1, table) & U(0xFFFCFFFCFFFCFFFC):
            _add_words(ours, theirs, -1, table)
            return first
    return reference.size


@njit(nogil=True, cache=True)
def _add_words(reference, prediction, amount, table):  # type: ignore[no-untyped-def]
    """Add to the counts of words; return all bits that occur in them."""
    bits = U(0)
    for k in range(reference.size):
        bits |= reference[k] | prediction[k]
        word = (reference[k] << U(2)) | prediction[k]
        key = (word | (word >> U(12)) | (word >> U(24)) | (word >> U(36))) & U(0xFFFF)
        table[k & 1, key] += amount
    return bits


@njit(nogil=True, cache=True)
def _count_many(reference, prediction, start, table):  # type: ignore[no-untyped-def]
    """Count labels below 256; return at which voxel larger ones begin."""
    for first in range(start, reference.size, CHECKED):
        ours, theirs = reference[first : first + CHECKED], prediction[first : first + CHECKED]
        bits = U(0)
        for k in range(ours.size):
            bits |= U(ours[k] | theirs[k])
        if bits >= U(MANY):
            return first
        for k in range(ours.size):
            table[k & 3, ours[k], theirs[k]] += 1
    return reference.size


@njit(nogil=True, cache=True)
def _add(a, b, amount, keys, counts):  # type: ignore[no-untyped-def]
    """Add to a pair in a hash table with open addressing; return 1 if the pair is new."""
    mask = U(counts.size - 1)
    place = a * U(0x9E3779B97F4A7C15) ^ b * U(0xC2B2AE3D27D4EB4F)
    place = (place ^ (place >> U(31))) & mask
    while counts[place] != 0 and (keys[place, 0] != a or keys[place, 1] != b):
        place = (place + U(1)) & mask
    new = counts[place] == 0
    keys[place, 0] = a
    keys[place, 1] = b
    counts[place] += amount
    return 1 if new else 0


@njit(nogil=True, cache=True)
def _add_all(pairs, amounts, keys, counts):  # type: ignore[no-untyped-def]
    for k in range(amounts.size):
        _add(pairs[k, 0], pairs[k, 1], amounts[k], keys, counts)


@njit(nogil=True, cache=True)
def _count_runs(reference, prediction, start, keys, counts):  # type: ignore[no-untyped-def]
    """Count runs of equal pairs; return where it stopped and whether the table is half full."""
    size = reference.size
    used = 0
    for k in range(counts.size):
        used += counts[k] > 0
    run = 0
    a = reference[start]
    b = prediction[start]
    for first in range(start, size, GROUP):
        ours, theirs = reference[first : first + GROUP], prediction[first : first + GROUP]
        changed = U(0)
        for k in range(ours.size):
            changed |= U(ours[k] ^ a) | U(theirs[k] ^ b)
        if changed == 0:
            run += ours.size
            continue
        if 2 * (used + GROUP) > counts.size:
            _add(U(a), U(b), run, keys, counts)
            return first, True
        for k in range(ours.size):
            if ours[k] == a and theirs[k] == b:
                run += 1
                continue
            used += _add(U(a), U(b), run, keys, counts)
            a = ours[k]
            b = theirs[k]
            run = 1
    _add(U(a), U(b), run, keys, counts)
    return size, False
