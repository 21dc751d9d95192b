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
    from xmit.metrics.inference import Effect, Tested, effect, family, holm
    from xmit.metrics.paired import Contribution, ItemScores, Paired, contribution, pair_items, pair_scores
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
    "Contribution": "xmit.metrics.paired",
    "CrossLingualConsistency": "xmit.metrics.consistency",
    "Effect": "xmit.metrics.inference",
    "ItemScores": "xmit.metrics.paired",
    "LanguageAccuracy": "xmit.metrics.accuracy",
    "LanguageAnswerF1": "xmit.metrics.qa",
    "LanguagePairF1": "xmit.metrics.retrieval",
    "LanguageRanking": "xmit.metrics.retrieval",
    "LanguageSpanF1": "xmit.metrics.span_f1",
    "Paired": "xmit.metrics.paired",
    "PredictionStore": "xmit.metrics.store",
    "Tested": "xmit.metrics.inference",
    "all_correct": "xmit.metrics.functional",
    "average_precision": "xmit.metrics.retrieval",
    "bucc_f1": "xmit.metrics.retrieval",
    "common_items": "xmit.metrics.functional",
    "contribution": "xmit.metrics.paired",
    "correct_given_pivot": "xmit.metrics.functional",
    "effect": "xmit.metrics.inference",
    "family": "xmit.metrics.inference",
    "fleiss_kappa": "xmit.metrics.functional",
    "holm": "xmit.metrics.inference",
    "krippendorff_alpha": "xmit.metrics.functional",
    "mean_average_precision": "xmit.metrics.retrieval",
    "mlqa_scores": "xmit.metrics.qa",
    "mrr": "xmit.metrics.retrieval",
    "pair_items": "xmit.metrics.paired",
    "pair_scores": "xmit.metrics.paired",
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
    "Contribution",
    "CrossLingualConsistency",
    "Effect",
    "ItemScores",
    "LanguageAccuracy",
    "LanguageAnswerF1",
    "LanguagePairF1",
    "LanguageRanking",
    "LanguageSpanF1",
    "Paired",
    "PredictionStore",
    "Tested",
    "all_correct",
    "average_precision",
    "bucc_f1",
    "common_items",
    "contribution",
    "correct_given_pivot",
    "effect",
    "family",
    "fleiss_kappa",
    "holm",
    "krippendorff_alpha",
    "mean_average_precision",
    "mlqa_scores",
    "mrr",
    "pair_items",
    "pair_scores",
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
