"""Metrics: per-language scores, consistency over languages, robustness.

Names are loaded when they are first used: a report needs the summaries, not torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmit.lazy import lazy_names

if TYPE_CHECKING:
    from xmit.metrics.accuracy import LanguageAccuracy
    from xmit.metrics.consistency import CrossLingualConsistency
    from xmit.metrics.functional import (
        all_correct,
        common_items,
        correct_given_pivot,
        fleiss_kappa,
        krippendorff_alpha,
        pairwise_agreement,
        pivot_agreement,
        rankc,
        unanimity,
    )
    from xmit.metrics.robustness import robustness_summary
    from xmit.metrics.store import PredictionStore

_WHERE = {
    "CrossLingualConsistency": "xmit.metrics.consistency",
    "LanguageAccuracy": "xmit.metrics.accuracy",
    "PredictionStore": "xmit.metrics.store",
    "all_correct": "xmit.metrics.functional",
    "common_items": "xmit.metrics.functional",
    "correct_given_pivot": "xmit.metrics.functional",
    "fleiss_kappa": "xmit.metrics.functional",
    "krippendorff_alpha": "xmit.metrics.functional",
    "pairwise_agreement": "xmit.metrics.functional",
    "pivot_agreement": "xmit.metrics.functional",
    "rankc": "xmit.metrics.functional",
    "robustness_summary": "xmit.metrics.robustness",
    "unanimity": "xmit.metrics.functional",
}
__all__ = [
    "CrossLingualConsistency",
    "LanguageAccuracy",
    "PredictionStore",
    "all_correct",
    "common_items",
    "correct_given_pivot",
    "fleiss_kappa",
    "krippendorff_alpha",
    "pairwise_agreement",
    "pivot_agreement",
    "rankc",
    "robustness_summary",
    "unanimity",
]

__getattr__ = lazy_names(__name__, _WHERE)
