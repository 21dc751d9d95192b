"""CoNLL-U treebanks as XTREME reads them: fused forms instead of the syntactic words they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xmit.data.text import AGAIN, fail, read_lines

COLUMNS = 10
ZWNJ = "\u200c"

# Which word gives a fused form its tag when several are equally high in the tree: the earliest of these.
# The defaults of XTREME's converter (third_party/ud-conversion-tools/conllu_to_conll.py).
# fmt: off
_RANKING = (
    "VERB", "NOUN", "PROPN", "PRON", "ADJ", "NUM", "ADV", "INTJ",
    "AUX", "ADP", "DET", "PART", "CCONJ", "SCONJ", "X", "PUNCT",
)
# fmt: on
_RANKINGS = {
    "es": ("VERB", "AUX", "PRON", "ADP", "DET"),
    "fr": ("VERB", "AUX", "PRON", "NOUN", "ADJ", "ADV", "ADP", "DET", "PART", "SCONJ", "CONJ"),
    "it": ("VERB", "AUX", "ADV", "PRON", "ADP", "DET", "INTJ"),
}


@dataclass
class _Sentence:
    """The words of one sentence, numbered from 1, and the ranges of words that are written as one."""

    forms: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    heads: list[set[int | None]] = field(default_factory=list)
    ranges: list[tuple[int, int, str]] = field(default_factory=list)
    sent_id: str | None = None
    line: int = 0


def read_conllu(path: Path) -> dict[str, list[Any]]:
    """Read a CoNLL-U treebank.

    The rules are those of XTREME's preparation of UD-POS (``scripts/download_data.sh``, ``conllu_to_conll.py`` with
    ``--replace_subtokens_with_fused_forms``, ``utils_preprocess.py``):

    - A multiword token (``3-4``) is one token with its written form. Its tag is that of the word with the fewest
      ancestors in the tree, enhanced dependencies included; among equals that of the first in a ranking of parts of
      speech, which depends on the language: the part of the file's name before the first ``_``. Where the official
      script would crash, a part of speech that is not ranked comes last here.
    - Empty nodes (``3.1``) are left out.
    - Spaces and zero-width non-joiners within a form are removed, unless nothing would be left.
    - A sentence all or all but one of whose tokens are ``_`` (a treebank without its text) is left out.

    Args:
        path: The file, plain or gzipped.

    Returns:
        Columns ``id`` (``sent_id`` where every sentence has one, else a running number from 0), ``tokens`` and
        ``upos`` (lists of equal length).

    Raises:
        DataError: For a line that is not CoNLL-U, numbers out of order, a ``sent_id`` that occurs twice, or a file
            that does not end with a blank line (the format demands it, and a file cut short lacks it).
    """
    path = Path(path)
    ranking = _RANKINGS.get(path.name.split("_")[0], _RANKING)
    ids: list[str | None] = []
    tokens: list[list[str]] = []
    tags: list[list[str]] = []
    seen: dict[str, int] = {}
    for sentence in _sentences(path):
        if sentence.sent_id is not None:
            if sentence.sent_id in seen:
                what = f"the sent_id {sentence.sent_id!r} occurs twice, first in the sentence at line"
                fail(path, sentence.line, f"{what} {seen[sentence.sent_id]}", AGAIN)
            seen[sentence.sent_id] = sentence.line
        forms, upos = _fused(sentence, ranking)
        blank = forms.count("_")
        if 0 < blank >= len(forms) - 1:
            continue
        ids.append(sentence.sent_id)
        tokens.append(forms)
        tags.append(upos)
    if not tokens:
        fail(path, 1, "no sentence with text", f"{AGAIN}, or merge the text into the treebank")
    numbered = None in ids
    return {"id": [str(i) if numbered else id_ for i, id_ in enumerate(ids)], "tokens": [*tokens], "upos": [*tags]}


def _sentences(path: Path) -> Iterator[_Sentence]:
    sentence = _Sentence()
    lines = read_lines(path)
    for number, line in enumerate(lines, 1):
        if not line:
            if sentence.forms:
                _check_end(path, number, sentence)
                yield sentence
            elif sentence.line:
                fail(path, number, "a sentence without words", AGAIN)
            sentence = _Sentence()
            continue
        sentence.line = sentence.line or number
        if line.startswith("#"):
            key, _, value = line[1:].partition("=")
            if key.strip() == "sent_id":
                sentence.sent_id = value.strip()
        else:
            _add(path, number, line, sentence)
    if sentence.line:
        fail(path, len(lines), "the last sentence does not end with a blank line: the file was cut short", AGAIN)


def _add(path: Path, number: int, line: str, sentence: _Sentence) -> None:
    cells = line.split("\t")
    if len(cells) != COLUMNS:
        fail(path, number, f"{len(cells)} columns instead of CoNLL-U's {COLUMNS}, separated by tabs", AGAIN)
    word, form, tag, head, deps = cells[0], cells[1].strip(), cells[3].strip(), cells[6], cells[8]
    if not form or not tag:
        fail(path, number, "an empty form or part of speech", f"{AGAIN}; CoNLL-U writes _ for what is missing")
    expected = len(sentence.forms) + 1
    if "." in word:  # an empty node, of the enhanced graph only
        return
    if "-" in word:
        first, _, last = word.partition("-")
        if not (first.isdecimal() and last.isdecimal()) or int(first) != expected or int(last) < int(first):
            fail(path, number, f"the range {word!r} does not begin at the next word, {expected}", AGAIN)
        if sentence.ranges and sentence.ranges[-1][1] >= expected:
            fail(path, number, f"the range {word!r} overlaps with the one before it", AGAIN)
        sentence.ranges.append((int(first), int(last), form))
        return
    if word != str(expected):
        fail(path, number, f"the word is numbered {word!r} instead of {expected}", AGAIN)
    if not (head == "_" or head.isdecimal()):
        fail(path, number, f"the head {head!r} is not a number", AGAIN)
    heads: set[int | None] = {None if head == "_" else int(head)}
    heads |= {int(h) for h in (pair.split(":")[0] for pair in deps.split("|")) if h.isdecimal()}
    sentence.forms.append(form)
    sentence.tags.append(tag)
    sentence.heads.append(heads)


def _check_end(path: Path, number: int, sentence: _Sentence) -> None:
    n = len(sentence.forms)
    if sentence.ranges and sentence.ranges[-1][1] > n:
        first, last, _ = sentence.ranges[-1]
        fail(path, number, f"the range {first}-{last} goes beyond the last word, {n}", AGAIN)


def _fused(sentence: _Sentence, ranking: Sequence[str]) -> tuple[list[str], list[str]]:
    """The tokens and tags of a sentence, its ranges fused, its forms cleaned."""
    forms, tags = [], []
    ranges = {first: (last, form) for first, last, form in sentence.ranges}
    word = 1
    while word <= len(sentence.forms):
        last, form = ranges.get(word, (word, sentence.forms[word - 1]))
        head = word if last == word else _span_head(sentence, range(word, last + 1), ranking)
        forms.append(form.replace(ZWNJ, "").replace(" ", "") or form)
        tags.append(sentence.tags[head - 1])
        word = last + 1
    return forms, tags


def _span_head(sentence: _Sentence, span: Sequence[int], ranking: Sequence[str]) -> int:
    depths = {word: len(_ancestors(sentence, word)) for word in span}
    highest = [word for word in span if depths[word] == min(depths.values())]
    rank = {tag: place for place, tag in enumerate(ranking)}
    return min(highest, key=lambda word: rank.get(sentence.tags[word - 1], len(ranking)))  # the first of equals


def _ancestors(sentence: _Sentence, word: int) -> set[int | None]:
    found: set[int | None] = set()
    todo: list[int | None] = [word]
    while todo:
        node = todo.pop()
        heads = sentence.heads[node - 1] if node and node <= len(sentence.heads) else set()
        todo += heads - found
        found |= heads
    return found - {word}
