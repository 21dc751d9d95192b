"""Metrics: per-language scores, consistency over languages, robustness.

Names are loaded when they are first used: a report needs the summaries, not torch. The function ``span_f1`` is
imported from its module, :mod:`xmit.metrics.span_f1`, whose name it bears.
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
    from xmit.metrics.qa import LanguageAnswerF1, mlqa_scores, squad_best, squad_scores
    from xmit.metrics.retrieval import (
        LanguagePairF1,
        LanguageRanking,
        average_precision,
        bucc_f1,
        mean_average_precision,
        mrr,
        reciprocal_rank,
        tatoeba_accuracy,
    )
    from xmit.metrics.robustness import robustness_summary
    from xmit.metrics.span_f1 import LanguageSpanF1, span_counts, span_scores, token_accuracy
    from xmit.metrics.store import PredictionStore

_WHERE = {
    "CrossLingualConsistency": "xmit.metrics.consistency",
    "LanguageAccuracy": "xmit.metrics.accuracy",
    "LanguageAnswerF1": "xmit.metrics.qa",
    "LanguagePairF1": "xmit.metrics.retrieval",
    "LanguageRanking": "xmit.metrics.retrieval",
    "LanguageSpanF1": "xmit.metrics.span_f1",
    "PredictionStore": "xmit.metrics.store",
    "all_correct": "xmit.metrics.functional",
    "average_precision": "xmit.metrics.retrieval",
    "bucc_f1": "xmit.metrics.retrieval",
    "common_items": "xmit.metrics.functional",
    "correct_given_pivot": "xmit.metrics.functional",
    "fleiss_kappa": "xmit.metrics.functional",
    "krippendorff_alpha": "xmit.metrics.functional",
    "mean_average_precision": "xmit.metrics.retrieval",
    "mlqa_scores": "xmit.metrics.qa",
    "mrr": "xmit.metrics.retrieval",
    "pairwise_agreement": "xmit.metrics.functional",
    "pivot_agreement": "xmit.metrics.functional",
    "rankc": "xmit.metrics.functional",
    "reciprocal_rank": "xmit.metrics.retrieval",
    "robustness_summary": "xmit.metrics.robustness",
    "span_counts": "xmit.metrics.span_f1",
    "span_scores": "xmit.metrics.span_f1",
    "squad_best": "xmit.metrics.qa",
    "squad_scores": "xmit.metrics.qa",
    "tatoeba_accuracy": "xmit.metrics.retrieval",
    "token_accuracy": "xmit.metrics.span_f1",
    "unanimity": "xmit.metrics.functional",
}
__all__ = [
    "CrossLingualConsistency",
    "LanguageAccuracy",
    "LanguageAnswerF1",
    "LanguagePairF1",
    "LanguageRanking",
    "LanguageSpanF1",
    "PredictionStore",
    "all_correct",
    "average_precision",
    "bucc_f1",
    "common_items",
    "correct_given_pivot",
    "fleiss_kappa",
    "krippendorff_alpha",
    "mean_average_precision",
    "mlqa_scores",
    "mrr",
    "pairwise_agreement",
    "pivot_agreement",
    "rankc",
    "reciprocal_rank",
    "robustness_summary",
    "span_counts",
    "span_scores",
    "squad_best",
    "squad_scores",
    "tatoeba_accuracy",
    "token_accuracy",
    "unanimity",
]

__getattr__ = lazy_names(__name__, _WHERE)
