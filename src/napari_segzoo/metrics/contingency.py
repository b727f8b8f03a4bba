"""How many voxels hold each pair of labels: what all overlap measures are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import acceleration

PIECE = 1 << 20
DENSE_LIMIT = 1 << 20
Labels = NDArray[Any]


@dataclass(frozen=True)
class Contingency:
    """Pairs of labels that occur, in order of reference and then prediction label.

    Parameters
    ----------
    reference, prediction : int64 array, shape (pairs,)
        The two labels.
    count : int64 array, shape (pairs,)
        Voxels that hold both; above 0.
    """

    reference: NDArray[np.int64]
    prediction: NDArray[np.int64]
    count: NDArray[np.int64]

    def without(self, ignore: int | None) -> Contingency:
        """Leave out the voxels whose reference label is `ignore`."""
        return self if ignore is None else self._where(self.reference != ignore)

    def only(self, label: int | None) -> Contingency:
        """Keep the voxels whose reference label is `label`; none for None."""
        return self._where(self.reference == label)

    def _where(self, keep: Any) -> Contingency:
        keep = np.broadcast_to(keep, self.reference.shape)
        return Contingency(self.reference[keep], self.prediction[keep], self.count[keep])

    def labels(self, ignore: int | None = None) -> list[int]:
        """Return all labels of both images but `ignore` in order, 0 always among them."""
        found = np.unique(np.concatenate([[0], self.reference, self.prediction]))
        return [int(v) for v in found if v != ignore]

    def dense(self, labels: Sequence[int]) -> NDArray[np.int64]:
        """Return the confusion matrix: row = reference, column = prediction, in `labels` order.

        One more column counts the voxels that are predicted to have another label.
        """
        table = np.zeros((len(labels), len(labels) + 1), np.int64)
        rows = np.searchsorted(labels, self.reference)
        known = np.isin(self.prediction, labels)
        columns = np.where(known, np.searchsorted(labels, self.prediction), len(labels))
        np.add.at(table, (rows, columns), self.count)
        return table


def merge(parts: Sequence[Contingency]) -> Contingency:
    """Add up contingencies of separate voxels."""
    reference = np.concatenate([p.reference for p in parts])
    prediction = np.concatenate([p.prediction for p in parts])
    count = np.concatenate([p.count for p in parts])
    order = np.lexsort((prediction, reference))
    reference, prediction, count = reference[order], prediction[order], count[order]
    new = np.ones(len(order), bool)
    new[1:] = (reference[1:] != reference[:-1]) | (prediction[1:] != prediction[:-1])
    starts = np.flatnonzero(new)
    sums = np.add.reduceat(count, starts) if len(starts) else count
    return Contingency(reference[starts], prediction[starts], sums)


def count_pairs(reference: Labels, prediction: Labels) -> Contingency:
    """Count the pairs of labels in two blocks.

    Parameters
    ----------
    reference, prediction : uint8, uint16 or uint64 array
        C-contiguous, of the same shape.
    """
    wide = np.result_type(reference, prediction, np.uint16)
    reference, prediction = (
        labels.reshape(-1).astype(wide, copy=False) for labels in (reference, prediction)
    )
    kernels = acceleration.kernels()
    if kernels is not None:
        return merge([Contingency(*part) for part in kernels.count_pairs(reference, prediction)])
    return merge(
        [
            _count_piece(reference[a : a + PIECE], prediction[a : a + PIECE])
            for a in range(0, reference.size, PIECE)
        ]
    )


def _count_piece(reference: Labels, prediction: Labels) -> Contingency:
    rows, columns = int(reference.max()) + 1, int(prediction.max()) + 1
    if max(rows, columns) <= 4 and reference.size % 4 == 0 and reference.dtype == np.uint16:
        return from_table(unpack(np.bincount(_packed(reference, prediction), minlength=1 << 16)))
    if rows * columns <= DENSE_LIMIT:
        fused = reference.astype(np.intp)
        fused *= columns
        fused += prediction.astype(np.intp)
        return from_table(np.bincount(fused, minlength=rows * columns).reshape(rows, columns))
    return _count_runs(reference, prediction)


def from_table(table: NDArray[np.int64]) -> Contingency:
    """Return the non-zero entries of a table of counts."""
    rows, columns = np.nonzero(table)
    return Contingency(
        rows.astype(np.int64), columns.astype(np.int64), table[rows, columns].astype(np.int64)
    )


def _packed(reference: Labels, prediction: Labels) -> NDArray[Any]:
    """Put four voxels with labels below 4 into one number of 16 bits, 4 bits a voxel."""
    fused = reference << np.uint16(2)
    fused |= prediction
    words = fused.view(np.uint64)
    words |= words >> np.uint64(12)
    words |= words >> np.uint64(24)
    words &= np.uint64(0xFFFF)
    packed: NDArray[Any] = words.view(np.int64)
    return packed


def unpack(histogram: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the 4 x 4 table that a histogram of 65536 packed quadruples stands for."""
    for side in (256, 16):
        halves = histogram.reshape(side, side)
        histogram = halves.sum(axis=0) + halves.sum(axis=1)
    return histogram.reshape(4, 4)


def _count_runs(reference: Labels, prediction: Labels) -> Contingency:
    """Count stretches in which neither label changes; good for objects, exact for all."""
    changes = (reference[1:] != reference[:-1]) | (prediction[1:] != prediction[:-1])
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(starts, append=reference.size)
    labels = (reference[starts].astype(np.int64), prediction[starts].astype(np.int64))
    return merge([Contingency(*labels, lengths.astype(np.int64))])
