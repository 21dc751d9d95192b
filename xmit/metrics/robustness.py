"""How evenly does a system do over languages, and how do the weakest fare?"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from xmit.errors import MetricError
from xmit.languages import get_language

NAN = float("nan")
CLASSES = range(6)


class LanguageInfo(Protocol):
    """What the summary needs to know of a language; ``xmit.languages`` gives it."""

    @property
    def script(self) -> str:
        """ISO 15924 code."""

    @property
    def family(self) -> str:
        """Language family."""

    @property
    def resource_class(self) -> int | None:
        """Class 0 (fewest resources) to 5 of Joshi et al. (2020), if known."""

    @property
    def in_xlmr(self) -> bool:
        """Whether XLM-R's pre-training saw it."""


def robustness_summary(
    values: Mapping[str, float],
    source_language: str | Collection[str] = "en",
    low_resource: Collection[int] = (0, 1, 2),
    baseline: Mapping[str, float] | None = None,
    lookup: Callable[[str], LanguageInfo] = get_language,
) -> dict[str, Any]:
    """Summarise one metric over the languages of a task.

    Args:
        values: ``{language: score}``, higher is better, in any unit; a NaN score is left out and named.
        source_language: The language that was trained on, or several. Only ``mean``, ``worst``, ``sd`` and ``range``
            include it: all other means are over zero-shot languages.
        low_resource: Resource classes (Joshi et al. 2020) that count as low-resource.
        baseline: Scores of a baseline system by language, for ``delta``.
        lookup: Gives what is known of a language code.

    Returns:
        A dict with the keys

        - ``mean``, ``zero_shot_mean``, ``low_resource_mean``: unweighted means over languages;
        - ``worst``, ``worst_language``: the lowest score and its language (``None`` without scores);
        - ``sd``, ``range``: sample standard deviation over languages; highest minus lowest score;
        - ``transfer_gap``: source language, or the mean of several, minus ``zero_shot_mean``;
        - ``n``: number of languages behind ``mean``, ``zero_shot_mean`` and ``low_resource_mean``, by the
          same keys;
        - ``groups``: ``{"resource_class" | "script" | "family" | "pretraining" | "writing": {group: {"mean",
          "n"}}}`` over zero-shot languages, with all classes ``"0"`` to ``"5"`` (``"unknown"`` if any),
          ``"seen"`` and ``"unseen"`` in XLM-R's pre-training, ``"Latin"`` and ``"non-Latin"``, listed even
          when empty;
        - ``left_out``: ``{language: why}``;
        - ``reasons``: ``{key: why}`` for every NaN, groups as ``groups/{kind}/{group}``;
        - ``delta``, if a baseline was given: all of the above for the differences to the baseline over the
          languages that both have (so ``worst`` is the smallest gain), and ``per_language`` differences, and
          ``floor``, the gain of the worst score, whichever language holds it.

    Example:
        >>> from types import SimpleNamespace as L
        >>> known = {"en": L(script="Latn", family="Germanic", resource_class=5, in_xlmr=True),
        ...          "sw": L(script="Latn", family="Niger-Congo", resource_class=2, in_xlmr=True),
        ...          "hi": L(script="Deva", family="Indo-Aryan", resource_class=4, in_xlmr=True)}
        >>> s = robustness_summary({"en": 0.9, "sw": 0.6, "hi": 0.7}, lookup=known.__getitem__)
        >>> round(s["transfer_gap"], 3), s["worst_language"]
        (0.25, 'sw')
        >>> s["low_resource_mean"], s["n"]["low_resource_mean"]
        (0.6, 1)
        >>> s["groups"]["pretraining"]["unseen"], s["reasons"]["groups/pretraining/unseen"]
        ({'mean': nan, 'n': 0}, 'no zero-shot language of this group among the 2')
    """
    strange = set(low_resource) - set(CLASSES)
    if strange:
        raise MetricError(f"resource classes run from 0 to 5, got {sorted(strange)}")
    sources = [source_language] if isinstance(source_language, str) else list(source_language)
    summary = _summarise(values, sources, low_resource, lookup)
    if baseline is not None:
        # languages that only one side has cannot be compared, whatever else is NaN
        both = [code for code in values if code in baseline]
        difference = {code: values[code] - baseline[code] for code in both}
        delta = _summarise(difference, sources, low_resource, lookup)
        delta["left_out"] |= {c: "the baseline has no score" for c in values if c not in baseline}
        delta["left_out"] |= {c: "only the baseline has a score" for c in baseline if c not in values}
        kept = [code for code, value in difference.items() if math.isfinite(value)]
        delta["per_language"] = {code: difference[code] for code in kept}
        floors = [min((scores[code] for code in kept), default=NAN) for scores in (values, baseline)]
        delta["floor"] = float(floors[0] - floors[1])
        if not kept:
            delta["reasons"]["floor"] = "no language has a score and a baseline"
        summary["delta"] = delta
    return summary


def _summarise(
    values: Mapping[str, float],
    sources: list[str],
    low_resource: Collection[int],
    lookup: Callable[[str], LanguageInfo],
) -> dict[str, Any]:
    scores = {code: float(value) for code, value in values.items() if math.isfinite(value)}
    zero_shot = {code: value for code, value in scores.items() if code not in sources}
    source_scores, source = [scores[code] for code in sources if code in scores], ", ".join(sources)
    info = {code: lookup(code) for code in zero_shot}
    low = [value for code, value in zero_shot.items() if info[code].resource_class in low_resource]
    spread = np.array(list(scores.values()))
    worst = min(scores, key=lambda code: (scores[code], code), default=None)
    reasons: dict[str, str] = {}
    result: dict[str, Any] = {
        "mean": _mean(scores.values()),
        "zero_shot_mean": _mean(zero_shot.values()),
        "low_resource_mean": _mean(low),
        "worst": NAN if worst is None else scores[worst],
        "worst_language": worst,
        "sd": float(spread.std(ddof=1)) if len(spread) > 1 else NAN,
        "range": float(np.ptp(spread)) if len(spread) else NAN,
        "transfer_gap": _mean(source_scores) - _mean(zero_shot.values()),
        "n": {"mean": len(scores), "zero_shot_mean": len(zero_shot), "low_resource_mean": len(low)},
        "groups": _groups(zero_shot, info, reasons),
        "left_out": {code: "the score is not a number" for code in values if code not in scores},
        "reasons": reasons,
    }
    nothing, no_zero_shot = "no language has a score", f"no language but the source {source!r} has a score"
    named = ", ".join(str(c) for c in sorted(low_resource))
    why = {
        "mean": nothing,
        "zero_shot_mean": no_zero_shot if scores else nothing,
        "low_resource_mean": f"no zero-shot language of resource class {named} among the {len(zero_shot)}",
        "worst": nothing,
        "sd": "fewer than two languages have a score",
        "range": nothing,
        "transfer_gap": no_zero_shot if source_scores else f"the source language {source!r} has no score",
    }
    reasons |= {key: reason for key, reason in why.items() if math.isnan(result[key])}
    return result


def _groups(
    scores: Mapping[str, float], info: Mapping[str, LanguageInfo], reasons: dict[str, str]
) -> dict[str, dict[str, dict[str, float | int]]]:
    """Mean and number of languages of each group, and a reason for each empty one."""
    # the fixed groups are listed even when empty, so that tables of all tasks have the same rows
    members: dict[str, dict[str, list[float]]] = {
        "resource_class": {str(c): [] for c in CLASSES},
        "script": {},
        "family": {},
        "pretraining": {"seen": [], "unseen": []},
        "writing": {"Latin": [], "non-Latin": []},
    }
    for code in sorted(scores):
        known = info[code]
        of = {
            "resource_class": "unknown" if known.resource_class is None else str(known.resource_class),
            "script": known.script,
            "family": known.family,
            "pretraining": "seen" if known.in_xlmr else "unseen",
            "writing": "Latin" if known.script == "Latn" else "non-Latin",
        }
        for kind, group in of.items():
            members[kind].setdefault(group, []).append(scores[code])
    for kind, groups in members.items():
        for group, found in groups.items():
            if not found:
                reasons[f"groups/{kind}/{group}"] = f"no zero-shot language of this group among the {len(scores)}"
    return {
        kind: {group: {"mean": _mean(found), "n": len(found)} for group, found in groups.items()}
        for kind, groups in members.items()
    }


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    # fsum: the mean does not depend on the order of languages
    return math.fsum(listed) / len(listed) if listed else NAN
