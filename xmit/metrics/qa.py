"""Exact match and F1 of extracted answers, by the rules of SQuAD 1.1, SQuAD 2.0 and MLQA.

Functions (fractions 0 to 1; predictions for unknown ids are ignored, a question without prediction scores 0, as in
the official scripts)::

    squad_scores(pred: dict[id, str], gold: dict[id, list[str]], version="1.1")
        -> {"exact_match": float, "f1": float, "per_item": {id: {"exact_match": float, "f1": float}}}
    mlqa_scores(pred, gold, language)  # the same dict, by MLQA's rules for the language of the answers

XTREME scores XQuAD and TyDiQA-GoldP in every language by ``squad_scores``, MLQA by ``mlqa_scores``; a benchmark's
number is the mean of exact match and F1. :class:`LanguageAnswerF1` does the same with a language axis.

SQuAD's rules were made for English: articles are English, punctuation is ASCII, words are split at blanks, so that
北京 against 北京市 scores 0. MLQA's know seven languages.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from xmit.errors import MetricError

Version = Literal["1.1", "2.0"]
Rule = Literal["squad", "squad2", "mlqa"]
Tokenise = Callable[[str], list[str]]


class _NoPunctuation(dict[int, "int | None"]):
    """A table for ``str.translate`` that deletes every character of a Unicode class P, and ASCII's symbols."""

    def __missing__(self, code: int) -> int | None:
        char = chr(code)
        drop = char in string.punctuation or unicodedata.category(char).startswith("P")
        self[code] = None if drop else code
        return self[code]


_ASCII = dict.fromkeys(map(ord, string.punctuation))
_UNICODE = _NoPunctuation()
_ENGLISH = re.compile(r"\b(?:a|an|the)\b")
_IDEOGRAPH = re.compile("([\u4e00-\u9fa5])")


def _words(forms: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(forms.split())})\b")


# what MLQA takes out in each language; Hindi and Chinese have no articles
_MLQA: dict[str, re.Pattern[str] | None] = {
    "ar": re.compile("ال"),
    "de": _words("ein eine einen einem eines einer der die das den dem des"),
    "en": _ENGLISH,
    "es": _words("un una unos unas el la los las"),
    "hi": None,
    "vi": _words("của là cái chiếc những"),
    "zh": None,
}


def squad_tokens(text: str) -> list[str]:
    """Words of an answer as SQuAD compares them.

    Lower case; ASCII punctuation deleted, not replaced; ``a``, ``an`` and ``the`` taken out; split at blanks
    (``evaluate-v1.1.py`` of SQuAD, in XTREME ``third_party/evaluate_squad.py``).

    Example:
        >>> squad_tokens("The U.S.-born  Café, “a” la carte")
        ['usborn', 'café', '“', '”', 'la', 'carte']
    """
    return _ENGLISH.sub(" ", text.lower().translate(_ASCII)).split()


def mlqa_tokens(text: str, language: str) -> list[str]:
    """Words of an answer as MLQA compares them.

    Lower case; every character of a Unicode class P and ASCII's symbols deleted; the language's articles taken out;
    split at blanks, and in Chinese around every ideograph from U+4E00 to U+9FA5 (``mlqa_evaluation_v1.py``, in
    XTREME ``third_party/evaluate_mlqa.py``).

    In Arabic the official pattern means to take out the article ال before a word, but matches it anywhere and puts
    a blank there: قال becomes ق. Published numbers contain this, so it is kept.

    Args:
        text: The answer.
        language: ``ar``, ``de``, ``en``, ``es``, ``hi``, ``vi`` or ``zh``.

    Raises:
        MetricError: MLQA has no rule for the language.

    Example:
        >>> mlqa_tokens("«Die» Straße", "de"), mlqa_tokens("北京 Beijing市", "zh"), mlqa_tokens("قال", "ar")
        (['straße'], ['北', '京', 'beijing', '市'], ['ق'])
    """
    try:
        articles = _MLQA[language]
    except KeyError:
        known = " ".join(_MLQA)
        raise MetricError(f"MLQA has no rule for {language!r}, only for {known}; score it by SQuAD's") from None
    text = text.lower().translate(_UNICODE)
    if articles is not None:
        text = articles.sub(" ", text)
    if language == "zh":
        text = _IDEOGRAPH.sub(r" \1 ", text)
    return text.split()


def squad_scores(
    pred: Mapping[str, str], gold: Mapping[str, Sequence[str]], version: Version = "1.1"
) -> dict[str, Any]:
    """Exact match and F1 by SQuAD's rules, the best over the gold answers of each question.

    Args:
        pred: The answer to each question; a question that is missing scores 0, an unknown one is ignored.
        gold: The gold answers of each question.
        version: ``"1.1"``: every question has answers, and an answer without words has F1 0 even if it is right.
            ``"2.0"``: a question without gold answers (or only such without words) is right if the prediction has
            no words; means over the two kinds of questions are added. (SQuAD 2.0's script leaves a question
            without prediction out of the mean; here it scores 0 in both versions.)

    Returns:
        ``exact_match`` and ``f1``, means over ``gold``, 0 to 1 and NaN without questions; ``per_item``, both values
        of each question. For 2.0 also ``has_answer_f1``, ``has_answer_exact_match``, ``no_answer_f1`` and
        ``no_answer_exact_match``, NaN where there is no such question.

    Raises:
        MetricError: An answer is no string, or a question has no gold answer though 1.1 has no such questions.

    Example:
        >>> scores = squad_scores({"q": "the red house", "r": ""}, {"q": ["red", "house"], "r": [""]})
        >>> scores["exact_match"], scores["f1"]
        (0.5, 0.333...)
        >>> squad_scores({"q": "red"}, {"q": []}, "2.0")["per_item"]
        {'q': {'exact_match': 0.0, 'f1': 0.0}}
    """
    if version not in ("1.1", "2.0"):
        raise MetricError(f"version must be '1.1' or '2.0', not {version!r}")
    tokens, allow_none = lru_cache(maxsize=1 << 16)(squad_tokens), version == "2.0"
    per_item = _per_item(pred, gold, tokens, allow_none)
    scores = {"exact_match": _mean(per_item, "exact_match"), "f1": _mean(per_item, "f1"), "per_item": per_item}
    if allow_none:
        for kind, wanted in (("has_answer", True), ("no_answer", False)):
            part = {k: v for k, v in per_item.items() if bool(gold[k]) is wanted}
            scores |= {f"{kind}_{name}": _mean(part, name) for name in ("exact_match", "f1")}
    return scores


def squad_best(
    pred: Mapping[str, str], gold: Mapping[str, Sequence[str]], no_answer: Mapping[str, float]
) -> dict[str, float]:
    """SQuAD 2.0's scores at the threshold that is best for each, chosen on the gold answers themselves.

    A question whose ``no_answer`` is above the threshold is left unanswered (``find_best_thresh`` of SQuAD's
    ``evaluate-v2.0.py``). As there, questions are answered one by one from the lowest value on, in the order of
    ``gold`` where values are equal, so that the best may lie between equal values; and a question without gold answer
    is wrong as soon as its prediction is not empty.

    Args:
        pred: The answer to each question, as if all could be answered.
        gold: The gold answers of each question; none where there is no answer.
        no_answer: How likely each question has no answer, on any scale, such as the first token's score minus the
            best span's.

    Returns:
        ``best_exact`` and ``best_f1``, 0 to 1 and NaN without questions, and the thresholds ``best_exact_threshold``
        and ``best_f1_threshold``, 0 where it is best to answer nothing.

    Raises:
        MetricError: A question has no prediction or no ``no_answer``; see also :func:`squad_scores`.

    Example:
        >>> pred, gold = {"q": "red", "r": "blue", "s": "a house"}, {"q": ["red"], "r": [], "s": ["house", "hut"]}
        >>> squad_best(pred, gold, {"q": -3.0, "r": 2.0, "s": 1.0})
        {'best_exact': 1.0, 'best_exact_threshold': 1.0, 'best_f1': 1.0, 'best_f1_threshold': 1.0}
    """
    missing = [key for key in gold if key not in pred or key not in no_answer]
    if missing:
        raise MetricError(f"question {missing[0]!r} lacks a prediction or a value of no_answer; give both for each")
    per_item = squad_scores(pred, gold, "2.0")["per_item"]
    order = sorted(gold, key=lambda key: no_answer[key])
    found: dict[str, float] = {}
    for name, metric in (("best_exact", "exact_match"), ("best_f1", "f1")):
        score = best = float(sum(not answers for answers in gold.values()))
        threshold = 0.0
        for key in order:
            score += per_item[key][metric] if gold[key] else -float(pred[key] != "")
            if score > best:
                best, threshold = score, float(no_answer[key])
        found |= {name: best / len(gold) if gold else float("nan"), f"{name}_threshold": threshold}
    return found


def mlqa_scores(pred: Mapping[str, str], gold: Mapping[str, Sequence[str]], language: str) -> dict[str, Any]:
    """Exact match and F1 by MLQA's rules, the best over the gold answers of each question.

    Args:
        pred: The answer to each question; a question that is missing scores 0, an unknown one is ignored.
        gold: The gold answers of each question.
        language: The language of the context, hence of the answers, see :func:`mlqa_tokens`.

    Returns:
        ``exact_match``, ``f1`` and ``per_item`` as of :func:`squad_scores`.

    Raises:
        MetricError: See :func:`mlqa_tokens` and :func:`squad_scores`.

    Example:
        >>> pred, gold = {"q": "北京"}, {"q": ["北京市"]}
        >>> mlqa_scores(pred, gold, "zh")["f1"], squad_scores(pred, gold)["f1"]
        (0.8, 0.0)
    """
    mlqa_tokens("", language)
    per_item = _per_item(pred, gold, lru_cache(maxsize=1 << 16)(lambda text: mlqa_tokens(text, language)), False)
    return {"exact_match": _mean(per_item, "exact_match"), "f1": _mean(per_item, "f1"), "per_item": per_item}


def _mean(per_item: Mapping[str, Mapping[str, float]], name: str) -> float:
    return sum(item[name] for item in per_item.values()) / len(per_item) if per_item else float("nan")


def _per_item(
    pred: Mapping[str, str], gold: Mapping[str, Sequence[str]], tokens: Tokenise, allow_none: bool
) -> dict[str, dict[str, float]]:
    scores = {}
    for key, answers in gold.items():
        if isinstance(answers, str) or not all(isinstance(answer, str) for answer in answers):
            raise MetricError(f"question {key!r}: gold answers must be a list of strings, got {answers!r}")
        if not answers and not allow_none:
            raise MetricError(f"question {key!r} has no gold answer; questions without one need version='2.0'")
        if key not in pred:
            scores[key] = {"exact_match": 0.0, "f1": 0.0}
            continue
        if not isinstance(pred[key], str):
            raise MetricError(f"question {key!r}: a prediction must be a string, got {pred[key]!r}")
        found = tokens(pred[key])
        exact, f1 = _best(found, map(tokens, answers), allow_none)
        scores[key] = {"exact_match": exact, "f1": f1}
    return scores


def _best(found: list[str], answers: Iterable[list[str]], allow_none: bool) -> tuple[float, float]:
    """Exact match and F1 against the best of several answers."""
    wanted = list(answers)
    if allow_none:
        wanted = [answer for answer in wanted if answer] or [[]]
    exact = float(found in wanted)
    if exact and (found or allow_none):
        return exact, 1.0
    return exact, max(_overlap(found, answer) for answer in wanted)


def _overlap(found: list[str], wanted: list[str]) -> float:
    """F1 of two bags of words, 0 where either is empty."""
    common = (Counter(found) & Counter(wanted)).total()
    if not common:
        return 0.0
    precision, recall = common / len(found), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


class LanguageAnswerF1(Metric):
    """Exact match and F1 of answers in each language, from one object with a language axis.

    As input to ``update``: predicted answers, the gold answers of each, and each question's index in ``languages``.
    As output of ``compute``: ``{lang: {"exact_match", "f1"}}``, 0 to 1, NaN for a language without questions.
    Questions that come twice count twice. Values of single questions, which consistency over languages needs, are
    what :func:`squad_scores` and :func:`mlqa_scores` return as ``per_item``.

    Args:
        languages: Language codes; their order gives the indices.
        rule: ``"squad"`` (XQuAD, TyDiQA-GoldP), ``"squad2"`` (unanswerable questions allowed) or ``"mlqa"``, for
            which all languages must be MLQA's.
        **kwargs: Arguments of :class:`torchmetrics.Metric`.

    Example:
        >>> metric = LanguageAnswerF1(["en", "zh"], rule="mlqa")
        >>> metric.update(["The house", "北京"], [["house"], ["北京市", "上海"]], [0, 1])
        >>> metric.compute()
        {'en': {'exact_match': 1.0, 'f1': 1.0}, 'zh': {'exact_match': 0.0, 'f1': 0.8}}
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    sums: Tensor
    total: Tensor

    def __init__(self, languages: Sequence[str], rule: Rule = "squad", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(languages, str) or len(set(languages)) != len(languages):
            raise MetricError(f"languages must be a sequence of distinct codes, got {languages!r}")
        if rule not in ("squad", "squad2", "mlqa"):
            raise MetricError(f"rule must be 'squad', 'squad2' or 'mlqa', not {rule!r}")
        for code in languages if rule == "mlqa" else ():
            mlqa_tokens("", code)
        self.languages, self.rule = tuple(languages), rule
        self.add_state("sums", torch.zeros(len(languages), 2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(len(languages), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Sequence[str], target: Sequence[Sequence[str]], language: Sequence[int] | Tensor) -> None:
        """Add questions.

        Args:
            preds: The answer to each of N questions.
            target: The gold answers of each question.
            language: Index of each question's language, integers of shape ``(N,)``.

        Raises:
            MetricError: Lengths do not match, or an answer or language is not as it should be.
        """
        index = torch.as_tensor(language, dtype=torch.int64)
        if isinstance(preds, str) or not len(preds) == len(target) == index.numel():
            raise MetricError(f"{len(preds)} answers, {len(target)} gold ones and {index.numel()} languages must match")
        if len(preds) and not 0 <= int(index.min()) <= int(index.max()) < len(self.languages):
            raise MetricError(f"language indices must lie in 0 … {len(self.languages) - 1}")
        codes = index.tolist()
        for number in sorted(set(codes)):
            rows = [i for i, code in enumerate(codes) if code == number]
            pred, gold = {str(i): preds[i] for i in rows}, {str(i): target[i] for i in rows}
            if self.rule == "mlqa":
                items = mlqa_scores(pred, gold, self.languages[number])["per_item"]
            else:
                items = squad_scores(pred, gold, "2.0" if self.rule == "squad2" else "1.1")["per_item"]
            for column, name in enumerate(("exact_match", "f1")):
                self.sums[number, column] += sum(item[name] for item in items.values())
            self.total[number] += len(rows)

    def compute(self) -> dict[str, dict[str, float]]:
        """Scores per language, over all processes."""
        means = (self.sums / self.total[:, None]).tolist()  # 0 / 0 is NaN
        return {code: {"exact_match": exact, "f1": f1} for code, (exact, f1) in zip(self.languages, means, strict=True)}
