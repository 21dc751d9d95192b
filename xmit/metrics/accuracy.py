"""Accuracy per language, from one object with a language axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from xmit.errors import MetricError


class LanguageAccuracy(Metric):
    """Share of correct predictions in each language.

    One object whose states have a language axis: under distributed evaluation processes see different
    languages, and one metric object per language would gather hundreds of times.

    As input to ``update``: predicted labels, gold labels, and each example's index in ``languages``.

    As output of ``compute``: ``{lang: {"accuracy": share}}`` in the order of ``languages``, 0 to 1, NaN for a
    language without examples.

    Args:
        languages: Language codes; their order gives the indices.
        ignore_index: Gold label of examples that have none and are not counted, such as blanked test labels.
        **kwargs: Arguments of :class:`torchmetrics.Metric`.

    Example:
        >>> metric = LanguageAccuracy(["en", "sw"])
        >>> metric.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1]))
        >>> metric.compute()
        {'en': {'accuracy': 1.0}, 'sw': {'accuracy': 0.0}}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    correct: Tensor
    total: Tensor

    def __init__(self, languages: Sequence[str], ignore_index: int | None = -100, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(languages, str) or len(set(languages)) != len(languages):
            raise MetricError(f"languages must be a sequence of distinct codes, got {languages!r}")
        self.languages = tuple(languages)
        self.ignore_index = ignore_index
        for name in ("correct", "total"):
            self.add_state(name, torch.zeros(len(languages), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, language: Tensor) -> None:
        """Add predictions.

        Args:
            preds: Predicted labels, integers of shape ``(N,)``.
            target: Gold labels, shape ``(N,)``.
            language: Index of each example's language, integers of shape ``(N,)``.
        """
        if preds.ndim != 1 or not preds.shape == target.shape == language.shape:
            raise MetricError(
                "preds, target and language must have one shape (N,), got "
                f"{tuple(preds.shape)}, {tuple(target.shape)}, {tuple(language.shape)}"
            )
        if preds.is_floating_point():
            raise MetricError("preds must be labels; take the argmax of scores first")
        if len(language) and not 0 <= int(language.min()) <= int(language.max()) < len(self.languages):
            raise MetricError(f"language indices must lie in 0 … {len(self.languages) - 1}")
        counted = torch.ones_like(language) if self.ignore_index is None else (target != self.ignore_index).long()
        language = language.long()
        self.correct.index_add_(0, language, (preds == target).long() * counted)
        self.total.index_add_(0, language, counted.long())

    def compute(self) -> dict[str, dict[str, float]]:
        """Accuracy per language, over all processes."""
        share = (self.correct.double() / self.total).tolist()  # 0 / 0 is NaN
        return {code: {"accuracy": value} for code, value in zip(self.languages, share, strict=True)}

    def counts(self) -> dict[str, int]:
        """Number of examples behind each accuracy, over all processes, so all of them must call it.

        Example:
            >>> LanguageAccuracy(["en", "sw"]).counts()
            {'en': 0, 'sw': 0}
        """
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync and not self._is_synced):
            return dict(zip(self.languages, self.total.tolist(), strict=True))
