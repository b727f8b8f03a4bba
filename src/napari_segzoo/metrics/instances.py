"""Scores of object segmentation, all from the counts of label pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .contingency import Contingency

THRESHOLDS = tuple(n / 100 for n in range(50, 100, 5))
SPLIT_SHARE = 0.1
BATCH_EDGES = 1000
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Objects:
    """Objects of two label images and how they overlap.

    Parameters
    ----------
    reference, prediction : int64 array
        Labels of the objects (0 is none), in order.
    reference_size, prediction_size : int64 array
        Their voxels; voxels to be ignored do not count.
    row, column : int64 array, shape (overlaps,)
        Positions in `reference` and `prediction` of the two objects of each overlap.
    overlap : int64 array, shape (overlaps,)
        Voxels they share, above 0.
    hidden : int64 array
        Voxels to be ignored of each object in `prediction`.
    """

    reference: Ints
    prediction: Ints
    reference_size: Ints
    prediction_size: Ints
    row: Ints
    column: Ints
    overlap: Ints
    hidden: Ints

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each overlap."""
        together = self.reference_size[self.row] + self.prediction_size[self.column]
        return self.overlap / (together - self.overlap)


def objects(contingency: Contingency, ignored: Contingency | None = None) -> Objects:
    """Sort the counts of label pairs by objects; `ignored` are those of voxels to be ignored."""
    reference, reference_size = _sizes(contingency.reference, contingency.count)
    prediction, prediction_size = _sizes(contingency.prediction, contingency.count)
    hidden = np.zeros(len(prediction), np.int64)
    if ignored is not None:
        known = np.isin(ignored.prediction, prediction)
        place = np.searchsorted(prediction, ignored.prediction[known])
        np.add.at(hidden, place, ignored.count[known])
    both = (contingency.reference > 0) & (contingency.prediction > 0)
    return Objects(
        reference,
        prediction,
        reference_size,
        prediction_size,
        np.searchsorted(reference, contingency.reference[both]),
        np.searchsorted(prediction, contingency.prediction[both]),
        contingency.count[both],
        hidden,
    )


def match(found: Objects, threshold: float = 0.5, most_pairs: bool = True) -> Ints:
    """Pair objects one to one by optimal assignment.

    Parameters
    ----------
    found : Objects
        The objects and their overlaps.
    threshold : float
        IoU that a pair must reach, in (0, 1].
    most_pairs : bool
        True for as many pairs as possible and then the largest sum of IoU, False for the
        largest sum of IoU whatever the number of pairs.

    Returns
    -------
    int64 array, shape (pairs,)
        Positions in the overlaps of `found`, in order of the reference object.

    Notes
    -----
    Above an IoU of 0.5 every object has at most one partner. At 0.5 and below, the assignment
    is solved for some connected groups of objects at a time, so that its cost stays small.
    """
    iou = found.iou
    chosen = np.flatnonzero(iou >= threshold)
    row, column = found.row[chosen], found.column[chosen]
    rivals = (np.bincount(row, minlength=1)[row] > 1) | (
        np.bincount(column, minlength=1)[column] > 1
    )
    if not rivals.any():
        return chosen
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    shape = (len(found.reference), len(found.prediction))
    graph = coo_array((np.ones(len(chosen)), (row, column + shape[0])), (sum(shape), sum(shape)))
    _, group = connected_components(graph, directed=False)
    member = group[row]
    contested = np.isin(member, np.unique(member[rivals]))
    order = np.flatnonzero(contested)[np.argsort(member[contested], kind="stable")]
    kept = [chosen[~contested]]
    ends = np.flatnonzero(np.diff(member[order])) + 1
    _, last = np.unique(ends // BATCH_EDGES, return_index=True)
    for part in np.split(order, ends[last]):
        gain = iou[chosen[part]] + (len(part) if most_pairs else 0)
        kept.append(chosen[part[_assign(row[part], column[part], gain)]])
    return np.sort(np.concatenate(kept))


def _assign(row: Ints, column: Ints, gain: NDArray[np.float64]) -> Ints:
    """Take edges of a bipartite graph with the largest sum; return their positions.

    Every row also gets a column of its own without gain, so that it may stay alone; all
    weights are shifted by 1 because the solver takes a weight of 0 for no edge.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    rows, r = np.unique(row, return_inverse=True)
    columns, c = np.unique(column, return_inverse=True)
    alone = np.arange(len(rows))
    weight = np.concatenate([1 + gain, np.ones(len(rows))])
    edges = np.concatenate([r, alone]), np.concatenate([c, len(columns) + alone])
    shape = (len(rows), len(columns) + len(rows))
    partner = np.empty(len(rows), np.int64)
    taken = min_weight_full_bipartite_matching(csr_array((weight, edges), shape), maximize=True)
    partner[taken[0]] = taken[1]
    return np.flatnonzero(partner[r] == c)


def made_up(found: Objects, pairs: Ints) -> Ints:
    """Positions of the predicted objects in no pair.

    Those of which more than half are voxels to be ignored are left out, as nobody knows whether
    they are right (Kirillov et al. 2019, arXiv:1801.00868).
    """
    alone = np.setdiff1d(np.arange(len(found.prediction)), found.column[pairs])
    return alone[found.hidden[alone] <= found.prediction_size[alone]]


def matching_scores(
    found: Objects, thresholds: Sequence[float] = THRESHOLDS
) -> dict[str, float | dict[str, float]]:
    """Scores of one-to-one matching at several IoU thresholds.

    Returns
    -------
    dict
        "ap" (TP / (TP + FP + FN)) and "f1" (2 TP / (2 TP + FP + FN)) per threshold, "mean_ap"
        over the thresholds; "precision", "recall", and the factors of panoptic quality
        ("segmentation_quality": mean IoU of the matched pairs, "recognition_quality": f1,
        "panoptic_quality": their product) at a threshold of 0.5; "n_reference",
        "n_prediction", "n_matched". All are nan if neither image has an object; if only one
        has, segmentation_quality is nan and panoptic quality 0.
    """
    ours = len(found.reference)
    pairs = {f"{t:g}": match(found, t) for t in thresholds}
    counts = {key: (len(p), len(p) + len(made_up(found, p))) for key, p in pairs.items()}
    ap = {key: _divide(n, ours + theirs - n) for key, (n, theirs) in counts.items()}
    matched = match(found)
    theirs = len(matched) + len(made_up(found, matched))
    quality = float(found.iou[matched].mean()) if len(matched) else float("nan")
    recognition = _divide(2 * len(matched), ours + theirs)
    return {
        "ap": ap,
        "mean_ap": float(np.mean(list(ap.values()))),
        "f1": {key: _divide(2 * n, ours + theirs) for key, (n, theirs) in counts.items()},
        "precision": _divide(len(matched), theirs),
        "recall": _divide(len(matched), ours),
        "panoptic_quality": quality * recognition if len(matched) else recognition,
        "segmentation_quality": quality,
        "recognition_quality": recognition,
        "n_reference": ours,
        "n_prediction": theirs,
        "n_matched": len(matched),
    }


def overlap_scores(found: Objects) -> dict[str, float]:
    """Scores that need no threshold on the IoU.

    Returns
    -------
    dict
        "aji" (aggregated Jaccard index: each reference object with the prediction of highest
        IoU, which may serve several), "aji_plus" (the same with one-to-one pairs) and "seg"
        (Cell Tracking Challenge: mean IoU over reference objects with the prediction that
        covers more than half of them, else 0). nan if there is no object to divide by.
    """
    iou = found.iou
    order = np.lexsort((found.column, -iou, found.row))
    first = np.ones(len(order), bool)
    first[1:] = found.row[order[1:]] != found.row[order[:-1]]
    covering = np.flatnonzero(2 * found.overlap > found.reference_size[found.row])
    return {
        "aji": _aggregated(found, order[first]),
        "aji_plus": _aggregated(found, match(found, np.finfo(float).tiny, most_pairs=False)),
        "seg": _divide(float(iou[covering].sum()), len(found.reference)),
    }


def _aggregated(found: Objects, pairs: Ints) -> float:
    """Sum of intersections over sum of unions of pairs and of all objects in no pair."""
    overlap = found.overlap[pairs]
    row, column = found.row[pairs], found.column[pairs]
    together = found.reference_size[row] + found.prediction_size[column] - overlap
    lost = (
        np.delete(found.reference_size, row).sum() + np.delete(found.prediction_size, column).sum()
    )
    return _divide(float(overlap.sum()), float(together.sum() + lost))


def split_objects(found: Objects) -> Ints:
    """Positions of the reference objects that are split.

    An object is split if at least two predicted objects lie in it by more than half of
    themselves and each covers at least a tenth (`SPLIT_SHARE`) of it.
    """
    return _shared(
        found.row, found.overlap, found.prediction_size[found.column], found.reference_size
    )


def merged_objects(found: Objects) -> Ints:
    """Positions of the predicted objects that merge: `split_objects` with the roles swapped."""
    return _shared(
        found.column, found.overlap, found.reference_size[found.row], found.prediction_size
    )


def _shared(whole: Ints, overlap: Ints, part_size: Ints, whole_size: Ints) -> Ints:
    inside = (2 * overlap > part_size) & (overlap >= SPLIT_SHARE * whole_size[whole])
    return np.flatnonzero(np.bincount(whole[inside], minlength=len(whole_size)) > 1)


def clustering_scores(contingency: Contingency) -> dict[str, float]:
    """Scores that compare the images as groupings of voxels.

    Voxels that are background in the reference are left out; predicted background is one
    more group there.

    Returns
    -------
    dict
        "adapted_rand_error" (1 - F score of pairs of voxels that lie in one object, SNEMI3D)
        with "adapted_rand_precision" and "adapted_rand_recall", in 0..1; "vi_split" and
        "vi_merge", the two conditional entropies of the variation of information, in bits,
        and their sum "variation_of_information". nan without reference objects.
    """
    inside = contingency.without(0)
    count = inside.count.astype(np.float64)
    total = count.sum()
    ours = _sizes(inside.reference, inside.count, background=True)[1].astype(np.float64)
    theirs = _sizes(inside.prediction, inside.count, background=True)[1].astype(np.float64)
    together, pairs_ours, pairs_theirs = (float((n * (n - 1)).sum()) for n in (count, ours, theirs))
    joint, entropy_ours, entropy_theirs = (_entropy(n, total) for n in (count, ours, theirs))
    return {
        "adapted_rand_error": 1 - _divide(2 * together, pairs_ours + pairs_theirs),
        "adapted_rand_precision": _divide(together, pairs_theirs),
        "adapted_rand_recall": _divide(together, pairs_ours),
        "vi_split": joint - entropy_ours,
        "vi_merge": joint - entropy_theirs,
        "variation_of_information": 2 * joint - entropy_ours - entropy_theirs,
    }


def _sizes(labels: Ints, count: Ints, background: bool = False) -> tuple[Ints, Ints]:
    """Return the labels above 0 (or all) and how many voxels each has."""
    found, number = np.unique(labels, return_inverse=True)
    sizes = np.zeros(len(found), np.int64)
    np.add.at(sizes, number, count)
    keep = slice(None) if background else found > 0
    return found[keep], sizes[keep]


def _entropy(count: NDArray[np.float64], total: float) -> float:
    if total == 0:
        return float("nan")
    return float(-(count / total * np.log2(count / total)).sum())


def _divide(above: float, below: float) -> float:
    return above / below if below else float("nan")
