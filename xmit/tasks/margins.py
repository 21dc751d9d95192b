"""The ratio margin of nearest neighbours, and mining of translations: what retrieval stands on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xmit.tasks.nearest import Found, top_k_both

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


def margins(queries: Tensor, candidates: Tensor, k: int = 4) -> tuple[Tensor, Tensor]:
    """The ratio margin of each query's nearest candidates (Artetxe and Schwenk 2019, as in LASER).

    A similarity is divided by the mean of two means: of the query with its ``k`` nearest candidates, and of the
    candidate with its ``k`` nearest queries. Only a query's ``k`` nearest can be its answer.

    Args:
        queries: Unit vectors ``(N, H)``.
        candidates: Unit vectors ``(M, H)``.
        k: The size of a neighbourhood.

    Returns:
        Margins and places ``(N, k)``, in the order of similarity.
    """
    return _margins(*top_k_both(queries, candidates, k))


def _margins(found: Found, back: Found) -> Found:
    """The margins of one direction, given the neighbours in both."""
    scores, places = found
    return scores / ((scores.mean(1, keepdim=True) + back[0].mean(1)[places]) / 2), places


def mine(source: Tensor, target: Tensor, k: int = 4) -> tuple[Places, Floats]:
    """Pair sentences with their likely translations: LASER's ``mine`` with ``max`` retrieval and ratio margin.

    Every sentence of either side proposes its best partner; the proposals are taken best first, unless one of the two
    has a partner already. Those with a margin of 0 or less are left out.

    Args:
        source: Unit vectors ``(N, H)`` of distinct sentences.
        target: Unit vectors ``(M, H)`` of distinct sentences.
        k: The size of a neighbourhood.

    Returns:
        Pairs ``(P, 2)`` of places, and their margins ``(P,)``, falling.
    """
    proposals = []
    there, back = top_k_both(source, target, k)
    for (scores, places), turn in ((_margins(there, back), False), (_margins(back, there), True)):
        best, choice = scores.max(1)
        both = torch.stack([torch.arange(len(scores)), places.gather(1, choice[:, None]).flatten()], 1)
        proposals.append((both.flip(1) if turn else both, best))
    pairs: Places = torch.cat([both for both, _ in proposals]).numpy()
    values: Floats = torch.cat([best for _, best in proposals]).double().numpy()
    taken: tuple[set[int], set[int]] = (set(), set())
    kept = []
    for row in np.argsort(-values, kind="stable"):
        a, b = pairs[row].tolist()
        if a not in taken[0] and b not in taken[1]:
            taken[0].add(a)
            taken[1].add(b)
            if values[row] > 0:
                kept.append(row)
    return pairs[kept], values[kept]


def best_threshold(scores: Sequence[float] | Floats, right: Sequence[bool], n_gold: int) -> float:
    """The margin from which on pairs are kept, so that F1 is best: BUCC's search on the dev set.

    The threshold lies half way between the last pair of the best prefix and the next one. (XTREME's script fails
    where the best prefix is the whole list; here the last pair's own margin is the threshold then.)

    Args:
        scores: Margins of the pairs ``(P,)``.
        right: Whether each pair is a gold pair.
        n_gold: How many gold pairs there are.

    Returns:
        The threshold: pairs with at least that margin are kept. 0 where no pair is right.
    """
    values = np.asarray(scores, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    values, hits = values[order], np.cumsum(np.asarray(right, dtype=bool)[order])
    if not len(hits) or not hits[-1]:
        return 0.0
    with np.errstate(invalid="ignore"):
        precision, recall = hits / np.arange(1, len(hits) + 1), hits / n_gold
        f1 = np.where(hits > 0, 2 * precision * recall / (precision + recall), 0.0)
    best = int(f1.argmax())
    return float(values[best] if best + 1 == len(values) else (values[best] + values[best + 1]) / 2)
