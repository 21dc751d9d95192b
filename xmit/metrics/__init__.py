"""Metrics: per-language scores, consistency over languages, robustness."""

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

__all__ = [
    "CrossLingualConsistency",
    "LanguageAccuracy",
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
