"""Does a model give the same answer to the same question in every language?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from xmit.errors import MetricError
from xmit.metrics import functional as F
from xmit.metrics import graded
from xmit.metrics._rows import KEPT, KINDS, NONE, ItemTable, as_texts, pack_bag, pack_texts
from xmit.metrics._units import UNITS, Unit
from xmit.metrics.ranking import TOP, Weights, checked_ranking, rank_candidates, rankc_per_query

NAN = float("nan")


class CrossLingualConsistency(Metric):
    """Consistency of predictions over the translations of the same examples.

    Consistency rises when predictions collapse onto one class, so read it beside accuracy and kappa;
    ``collapse`` and ``warnings`` say where that happened.

    As input to ``update``: predictions, example ids that are the same in every language, language codes, and
    gold labels if there are any. Updates may come in any order and split, from any number of processes. The
    same example in the same language counts once (distributed samplers repeat some); if its prediction
    differs, that is an error.

    As output of ``compute``: a dict of plain Python values. A value that is undefined is NaN, and ``reasons``
    says why.

    - ``agreement/{lang}``: share of the items common with the pivot that get the pivot's label
    - ``pairwise``: ``{lang: {lang: share}}``, symmetric, a language with itself 1
    - ``pairwise_n``: ``{lang: {lang: common items}}``, a language with itself: its items
    - ``pairwise_mean``: mean of ``pairwise`` over the unordered pairs that have common items
    - ``unanimous``: share of the items with all languages that get one label in all of them
    - ``fleiss_kappa``: over the items with all languages
    - ``krippendorff_alpha``: over the items with two languages or more
    - ``rankc/{lang}``: RankC with the pivot; where scores or rankings were given
    - ``all_correct``: share of the items with all languages right in all; where targets or values were given
    - ``correct_given_pivot/{lang}``: of the items right in the pivot, share right in the language; likewise
    - ``n_common``, ``n_items``: items with all languages, items with any
    - ``collapse``: ``{lang: {"label", "share": float}}`` where one class, value or tag takes more than ``collapse_at``
    - ``warnings``: list of sentences for the report
    - ``reasons``: ``{key: sentence}`` for every NaN; those in ``pairwise`` as ``pairwise/{a}/{b}``

    ``{lang}`` runs over every language but the pivot; languages are listed pivot first, then by code.

    Where answers in two languages are never the same, they are compared by what they are worth, or what they hold:

    - **values** of items from 0 to 1, such as F1 of an answer: agreement is the mean of ``1 - |a - b|``, ``unanimous``
      that of the highest and lowest, alpha that of an interval scale, ``all_correct`` the mean of the lowest,
      ``correct_given_pivot`` the mean weighted by the pivot's. With values 0 and 1 all are what they are for labels;
      kappa, which is for classes, is NaN.
    - **tags**, a list for each item: agreement is the Dice overlap of the multisets, ``unanimous`` the share of items
      with one multiset; kappa, alpha and correctness are not defined.

    Args:
        pivot: The language the others are compared with.
        rankc_weights: ``"exponential"`` (the paper's) or ``"linear"``, which keeps full rankings in memory.
        rankc_top: Ranks kept per example under exponential weights.
        collapse_at: Warn where one class takes more than this share of a language's predictions.
        **kwargs: Arguments of :class:`torchmetrics.Metric`.

    Example:
        >>> metric = CrossLingualConsistency(pivot="en")
        >>> metric.update(torch.tensor([0, 1, 2, 1]), ["a", "b", "c", "d"], "en")
        >>> metric.update(torch.tensor([0, 1, 1]), ["a", "b", "c"], ["sw", "sw", "sw"])
        >>> result = metric.compute()
        >>> round(result["agreement/sw"], 4), result["n_common"]
        (0.6667, 3)
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    texts: list[Tensor]
    rows: list[Tensor]
    ranks: list[Tensor]

    def __init__(
        self,
        pivot: str = "en",
        rankc_weights: Weights = "exponential",
        rankc_top: int = TOP,
        collapse_at: float = 0.95,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if rankc_weights not in ("exponential", "linear"):
            raise MetricError(f"rankc_weights is 'exponential' or 'linear', not {rankc_weights!r}")
        if rankc_top < 1:
            raise MetricError(f"rankc_top must be at least 1, not {rankc_top}")
        self.pivot, self.collapse_at = pivot, collapse_at
        self.rankc_weights: Weights = rankc_weights
        self.rankc_top = rankc_top
        for name in ("texts", "rows", "ranks"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(
        self,
        preds: Tensor | Sequence[Sequence[str]],
        example_ids: Sequence[str | int] | Tensor,
        languages: Sequence[str] | str,
        target: Tensor | None = None,
        ranking: Tensor | None = None,
    ) -> None:
        """Add predictions.

        Args:
            preds: Predicted labels, integers of shape ``(N,)``; or scores over candidates, floats of shape
                ``(N, K)``, higher is better, ``-inf`` for a candidate that an item does not have, K may
                differ between updates; or values of items from 0 to 1, floats of shape ``(N,)``; or N lists of tags.
            example_ids: N ids, strings or integers; an integer equals its decimal string.
            languages: N language codes, or one code for all.
            target: Gold labels, integers of shape ``(N,)``; for labels and scores only.
            ranking: Beside labels what RankC compares, where it is known already: numbers of candidates, best first,
                integers of shape ``(N, R)``, filled up with -1 where an item has fewer or none. What is not listed
                counts as not there, so the first 20 of thousands make a RankC that is exact to about e^-20.

        Raises:
            MetricError: Something has another form, or values or tags come with targets, or a ranking not with labels.
        """
        tags = None if isinstance(preds, Tensor | np.ndarray) else _tags(preds)
        preds = torch.zeros(len(preds), dtype=torch.int64) if tags is not None else torch.as_tensor(preds).detach()
        ids = as_texts(example_ids, "example ids")
        if preds.ndim == 0:
            preds = preds[None]
        codes = [languages] * len(ids) if isinstance(languages, str) else as_texts(languages, "languages")
        if not len(preds) == len(ids) == len(codes) or (target is not None and len(target) != len(ids)):
            raise MetricError(
                f"one update needs equally many of everything: {len(preds)} predictions, "
                f"{len(ids)} example ids, {len(codes)} languages"
                + (f", {len(target)} targets" if target is not None else "")
            )
        values = preds.ndim == 1 and preds.is_floating_point()
        if target is not None and (values or tags is not None):
            raise MetricError(
                "targets are for labels and scores: values are what a prediction is worth, tags have none"
            )
        if ranking is not None and (values or tags is not None or preds.ndim == 2):
            raise MetricError("a ranking stands beside labels: scores are ranked here, values and tags have none")
        packed, lengths = pack_texts(ids, codes, tags if tags is not None else [""] * len(ids))
        device = self.device
        columns = torch.zeros(len(ids), 5, dtype=torch.int64, device=device)
        columns[:, 0] = KINDS.index("bags" if tags is not None else "values" if values else "labels")
        columns[:, 2] = NONE if target is None else _labels(target, "target").to(device)
        full = self.rankc_weights == "linear"
        if preds.ndim == 2:
            ranking, columns[:, 3] = rank_candidates(preds.to(device), preds.shape[1] if full else self.rankc_top)
            columns[:, 1] = ranking[:, 0]
        elif values:
            columns[:, 1] = _bits(preds).to(device)
        else:
            columns[:, 1] = _labels(preds, "preds").to(device)
            if ranking is not None:
                ranking = checked_ranking(ranking.to(device), len(ids))
                n = (ranking >= 0).sum(dim=1)
                columns[:, 3] = n.where(n > 0, -1)  # none, though they were asked for, is not the same as none
                ranking = ranking if full else ranking[:, : self.rankc_top]
        if ranking is not None:
            there = ranking >= 0
            columns[:, 4] = there.sum(dim=1)
            self.ranks.append(ranking[there])
        self.texts.append(packed.to(device))
        self.rows.append(torch.cat([lengths.to(device), columns], dim=1))

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the rows of all processes, also from processes that have none."""
        # torchmetrics would send an empty float tensor for a state without updates, whatever the others send
        for name, empty in _empty_states().items():
            if not len(getattr(self, name)):
                setattr(self, name, [empty.to(self.device)])
        super().sync(*args, **kwargs)

    def compute(self) -> dict[str, Any]:
        """Evaluate everything that was added; see the class for the keys."""
        table = self._table()
        result: dict[str, Any] = {}
        reasons: dict[str, str] = {}
        warnings: list[str] = []
        self._agreement(table, result, reasons, warnings)
        if table.candidates.any():
            self._rankc(table, result, reasons, warnings)
        if table.kind == "values":
            self._worth(table, result, reasons)
        elif table.has_target.any():
            self._correctness(table, result, reasons, warnings)
        result["n_common"] = int(table.present.all(axis=1).sum())
        result["n_items"] = len(table.present)
        result["warnings"] = warnings
        result["reasons"] = reasons
        return result

    def _table(self) -> ItemTable:
        """All rows, from this process or, inside ``compute``, from all of them."""
        arrays = {}
        for name, empty in _empty_states().items():
            state = getattr(self, name)
            # after a gather the state is one tensor, before it a list
            parts = [state] if isinstance(state, Tensor) else state
            arrays[name] = torch.cat([empty, *(part.cpu() for part in parts)]).numpy()
        return ItemTable.from_rows(arrays["texts"], arrays["rows"], arrays["ranks"], self.pivot)

    def _agreement(
        self, table: ItemTable, result: dict[str, Any], reasons: dict[str, str], warnings: list[str]
    ) -> None:
        unit: Unit = UNITS[table.kind](table)
        present, codes = table.present, table.languages
        pairwise, common = unit.pairwise(), F.common_items(present)
        for column, code in self._others(table):
            value = pairwise[0, column] if self._has_pivot(table) else NAN
            _put(result, reasons, f"agreement/{code}", value, self._no_pair(table, code))
        result["pairwise"] = _nested(pairwise.tolist(), codes)
        result["pairwise_n"] = _nested(common.tolist(), codes)
        for a, b in np.argwhere(common == 0):
            reasons[f"pairwise/{codes[a]}/{codes[b]}"] = f"no item in both {codes[a]!r} and {codes[b]!r}"
        pairs = pairwise[np.triu_indices(len(codes), 1)]
        defined = pairs[~np.isnan(pairs)]
        if 0 < len(defined) < len(pairs):
            warnings.append(
                f"{len(pairs) - len(defined)} of {len(pairs)} pairs of languages share no item: "
                "they are not in pairwise_mean"
            )
        few, incomplete = _too_few(codes), f"no item has a prediction in all {len(codes)} languages"
        _put(
            result,
            reasons,
            "pairwise_mean",
            float(defined.mean()) if len(defined) else NAN,
            few or "no two languages share an item",
        )
        _put(result, reasons, "unanimous", unit.unanimous(), few or incomplete)
        why = unit.no_kappa if present.all(axis=1).any() else incomplete
        _put(result, reasons, "fleiss_kappa", unit.kappa(), few or why)
        paired = (present.sum(axis=1) >= 2).any()
        why = unit.no_alpha if paired else "no item has predictions in two languages"
        _put(result, reasons, "krippendorff_alpha", unit.alpha(), few or why)
        result["collapse"] = self._collapse(unit, table, warnings)

    def _rankc(self, table: ItemTable, result: dict[str, Any], reasons: dict[str, str], warnings: list[str]) -> None:
        unlike = []
        for column, code in self._others(table):
            value, reason = NAN, self._no_pair(table, code)
            if self._has_pivot(table):
                n_a, n_b = table.candidates[:, 0], table.candidates[:, column]
                scored = (n_a > 0) & (n_b > 0)
                usable = np.flatnonzero(scored & (n_a == n_b) & (n_a > 1))
                if (scored & (n_a != n_b)).any():
                    unlike.append(code)
                if len(usable):
                    rankings = table.rankings(usable, 0), table.rankings(usable, column)
                    value = float(rankc_per_query(*rankings, self.rankc_weights).mean())
                elif scored.any():
                    reason = f"no item in both {self.pivot!r} and {code!r} has the same two or more candidates"
                elif (table.present[:, 0] & table.present[:, column]).any():
                    reason = f"no item has scores in both {self.pivot!r} and {code!r}"
            _put(result, reasons, f"rankc/{code}", value, reason)
        if unlike:
            warnings.append(
                f"items with another number of candidates than in {self.pivot!r} are not in rankc: " + ", ".join(unlike)
            )

    def _correctness(
        self, table: ItemTable, result: dict[str, Any], reasons: dict[str, str], warnings: list[str]
    ) -> None:
        known = table.has_target
        correct = (table.labels == table.target) & known
        codes = table.languages
        _put(
            result,
            reasons,
            "all_correct",
            F.all_correct(correct, known),
            _too_few(codes) or f"no item has a prediction and a target in all {len(codes)} languages",
        )
        given = F.correct_given_pivot(correct, 0, known) if len(codes) else np.zeros(0)
        for column, code in self._others(table):
            reason = self._no_pair(table, code)
            if self._has_pivot(table) and (known[:, 0] & known[:, column]).any():
                reason = f"no item in {code!r} is answered correctly in {self.pivot!r}"
            elif self._has_pivot(table) and (table.present[:, 0] & table.present[:, column]).any():
                reason = f"no item has targets in both {self.pivot!r} and {code!r}"
            value = given[column] if self._has_pivot(table) else NAN
            _put(result, reasons, f"correct_given_pivot/{code}", value, reason)
        low = np.where(known, table.target, np.iinfo(np.int64).max).min(axis=1, initial=np.iinfo(np.int64).max)
        high = np.where(known, table.target, NONE).max(axis=1, initial=NONE)
        differing = int((known.any(axis=1) & (low != high)).sum())
        if differing:
            warnings.append(
                f"items whose targets differ between languages, so that they may not be parallel: {differing}"
            )

    def _worth(self, table: ItemTable, result: dict[str, Any], reasons: dict[str, str]) -> None:
        codes = table.languages
        incomplete = f"no item has a prediction in all {len(codes)} languages"
        value = graded.lowest_value(table.values, table.present)
        _put(result, reasons, "all_correct", value, _too_few(codes) or incomplete)
        given = graded.value_given_pivot(table.values, 0, table.present) if len(codes) else np.zeros(0)
        for column, code in self._others(table):
            reason = self._no_pair(table, code)
            if self._has_pivot(table) and (table.present[:, 0] & table.present[:, column]).any():
                reason = f"no item in {code!r} has a value above 0 in {self.pivot!r}"
            value = given[column] if self._has_pivot(table) else NAN
            _put(result, reasons, f"correct_given_pivot/{code}", value, reason)

    def _collapse(self, unit: Unit, table: ItemTable, warnings: list[str]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        what = {"labels": "class", "values": "the value", "bags": "tag"}[table.kind]
        for column, code in enumerate(table.languages):
            label, share = unit.most_frequent(column)
            if share > self.collapse_at:
                found[code] = {"label": label, "share": share}
                warnings.append(
                    f"{code}: {what} {label} takes {share:.1%} of the predictions; consistency means little"
                )
        return found

    def _others(self, table: ItemTable) -> list[tuple[int, str]]:
        return [(column, code) for column, code in enumerate(table.languages) if code != self.pivot]

    def _has_pivot(self, table: ItemTable) -> bool:
        return table.languages[:1] == (self.pivot,)

    def _no_pair(self, table: ItemTable, code: str) -> str:
        if not self._has_pivot(table):
            return f"no prediction in the pivot language {self.pivot!r}"
        return f"no item in both {self.pivot!r} and {code!r}"


def _empty_states() -> dict[str, Tensor]:
    """Each state's type and shape when nothing was added."""
    return {
        "texts": torch.empty(0, dtype=torch.uint8),
        "rows": torch.empty(0, KEPT + 1, dtype=torch.int64),
        "ranks": torch.empty(0, dtype=torch.int32),
    }


def _tags(preds: Sequence[Sequence[str]]) -> list[str]:
    """Each list of tags as the text of its multiset."""
    for tags in preds:
        if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
            raise MetricError(f"preds must be a tensor, or a list of tags for each item, got {tags!r}")
    return [pack_bag(list(tags)) for tags in preds]


def _bits(values: Tensor) -> Tensor:
    """Values as the bits of float64, which gathers as exactly as integers do."""
    values = values.to(torch.float64)
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise MetricError("values of items must lie between 0 and 1; scores over candidates have shape (N, K)")
    return (values + 0.0).view(torch.int64)  # no negative zero


def _labels(values: Tensor, what: str) -> Tensor:
    values = torch.as_tensor(values).detach()
    if values.ndim != 1 or values.is_floating_point() or values.is_complex():
        raise MetricError(
            f"{what} must be integers of shape (N,)"
            + (", or floats of shape (N, K) or (N,)" if what == "preds" else "")
            + f", got {values.dtype} of shape {tuple(values.shape)}"
        )
    return values.to(torch.int64)


def _put(result: dict[str, Any], reasons: dict[str, str], key: str, value: float, reason: str) -> None:
    """Store a value, and the reason beside it if it is undefined."""
    result[key] = float(value)
    if np.isnan(value):
        reasons[key] = reason


def _too_few(codes: tuple[str, ...]) -> str:
    return {0: "there is no prediction", 1: f"only one language: {''.join(codes)!r}"}.get(len(codes), "")


def _nested(matrix: list[list[Any]], codes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    return {a: dict(zip(codes, row, strict=True)) for a, row in zip(codes, matrix, strict=True)}
