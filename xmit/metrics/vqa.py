"""The accuracy of VQA (Antol et al. 2015; Goyal et al. 2017), and its way to write answers.

Rules as in the official evaluation (``PythonEvaluationTools/vqaEvaluation/vqaEval.py`` of GT-Vision-Lab/VQA, as
salesforce/LAVIS has it for version 2): the answer given is normalised; human ones lose their punctuation, and only
where they differ. An answer gets ``min(n / 3, 1)``, n being how many of nine humans gave it, averaged over the ten
choices of nine. Periods, articles, number words and contractions are treated as there, oddities included: punctuation
next to a blank vanishes while other punctuation becomes a blank, all of it vanishes in an answer with a number such as
1,000, and a period stays only before a digit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_THOUSANDS = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_NUMBERS = {
    word: str(n)
    for n, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
}
_NUMBERS["none"] = "0"
_ARTICLES = {"a", "an", "the"}


def _contractions() -> dict[str, str]:
    """Contractions without their apostrophe; what is a word of its own, such as ``its`` or ``well``, is not there."""
    nots = (
        "ain aren can couldn didn doesn don hadn hasn haven isn mightn mustn needn oughtn shan shouldn wasn weren won"
    )
    forms = [f"{stem}'t" for stem in f"{nots} wouldn".split()]
    endings = {
        "'ve": "could might must not should they we what where who would you",
        "'d": "he how it someone something there they where who you",
        "'ll": "how it somebody someone something they what who why you",
        "'re": "there they what why you",
        "'s": "he how somebody someone that there what when where who why",
    }
    forms += [stem + ending for ending, stems in endings.items() for stem in stems.split()]
    forms += ["ma'am", "o'clock", "'twas", "y'all"]
    table = {form.replace("'", ""): form for form in forms}
    pairs = [f"{stem}n't've" for stem in ("could", "had", "might", "should", "would")]
    pairs += [
        f"{stem}'d've"
        for stem in ["he", "it", "she", "somebody", "someone", "something", "there", "they", "we", "who", "you"]
    ]
    for form in pairs:  # with one of the apostrophes there
        head, _, tail = form.rpartition("'")
        table |= {head + tail: form, head.replace("'", "") + "'" + tail: form}
    table |= {"y'alld've": "y'all'd've", "y'all'dve": "y'all'd've", "yall'd've": "y'all'd've"}
    table |= {"yall'll": "y'all'll", "y'allll": "y'all'll", "somebody'd": "somebodyd"}  # the last is theirs
    table |= {"ow's'at": "'ow's'at", "'ows'at": "'ow's'at", "'ow'sat": "'ow's'at"}
    return table


_CONTRACTIONS = _contractions()


def strip_punctuation(text: str) -> str:
    """Take punctuation out of an answer as the official evaluation does."""
    thousands = _THOUSANDS.search(text) is not None
    stripped = text
    for mark in _PUNCTUATION:
        beside_blank = f"{mark} " in text or f" {mark}" in text
        stripped = stripped.replace(mark, "" if beside_blank or thousands else " ")
    return _PERIOD.sub("", stripped, count=32)  # theirs, who take a flag for the count


@lru_cache(maxsize=1 << 16)
def normalise_answer(text: str) -> str:
    """Write an answer the official way: no punctuation or articles, lower case, numbers as digits.

    Example:
        >>> normalise_answer("The Two dogs, dont know")
        "2 dogs don't know"
    """
    words = strip_punctuation(text.replace("\n", " ").replace("\t", " ").strip()).lower().split()
    digits = [_NUMBERS.get(word, word) for word in words]
    return " ".join(_CONTRACTIONS.get(word, word) for word in digits if word not in _ARTICLES)


def vqa_accuracy(answer: str, humans: Sequence[str]) -> float:
    """The accuracy of an answer, 0 to 1.

    Args:
        answer: The answer given.
        humans: What each human answered, ten in the data; at least two.

    Example:
        >>> round(vqa_accuracy("yes", ["yes"] * 3 + ["no"] * 7), 3)
        0.9
    """
    if len(set(humans)) > 1:
        humans = [strip_punctuation(human) for human in humans]
    return soft_scores(humans).get(normalise_answer(answer), 0.0)


def soft_scores(humans: Sequence[str]) -> dict[str, float]:
    """What each of the humans' answers, as they are, would get: 0.3, 0.6, 0.9 and 1 for 1, 2, 3 and more of ten."""
    total = len(humans)
    return {
        answer: (n * min(1.0, (n - 1) / 3) + (total - n) * min(1.0, n / 3)) / total
        for answer, n in Counter(humans).items()
    }
