"""Questions and the sentences that answer them: of XQuAD-R for the test of LAReQA, of SQuAD 1.1 for its training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmit.data.readers import read_json, read_squad
from xmit.data.sentences import english_sentences
from xmit.data.sources import find_file
from xmit.errors import ConfigError, DataError
from xmit.tasks.qa_sources import load_squad

if TYPE_CHECKING:
    from xmit.tasks.base import Task

URL = "https://raw.githubusercontent.com/{repository}/{revision}/xquad-r/{code}.json"


@dataclass(frozen=True)
class AnswerSentences:
    """One language of XQuAD-R.

    Args:
        questions: Their text by id.
        candidates: The sentences of all paragraphs, each followed by its paragraph, by name:
            language, paragraph and place, joined by ``_``.
        right: The names of the right candidates by a question's id.
    """

    questions: dict[str, str]
    candidates: dict[str, str]
    right: dict[str, list[str]]


def load_xquad_r(task: Task, language: str) -> AnswerSentences:
    """One language of XQuAD-R, from the task's ``data_dir`` or the release on GitHub.

    The hub's copy (``google-research-datasets/xquad_r``) has lost the sentence breaks.

    Raises:
        DataError: If the file is not to be had, or broken.
    """
    facts = task.metadata
    if task.data_dir:
        names = [f"{folder}{language}.json" for folder in ("", "xquad-r/", "lareqa/xquad-r/")]
        return read_xquad_r(find_file(task.data_dir, *names, task=task.name, hub=facts.dataset), language)
    import datasets

    repository = facts.dataset.removeprefix("github.com/")
    url = URL.format(repository=repository, revision=facts.revision, code=language)
    try:
        return read_xquad_r(Path(datasets.DownloadManager().download(url)), language)
    except (OSError, ValueError) as error:
        remedy = f"pass data_dir with the files of {facts.dataset}"
        raise DataError(f"task {task.name!r}: {url} cannot be fetched ({error}); {remedy}") from error


def load_squad_pairs(task: Task, split: str, language: str) -> dict[str, list[str]]:
    """Questions of SQuAD 1.1 with the sentences that answer them: XTREME-R's training, and its validation.

    The questions that :func:`answer_pairs` leaves out are counted in a warning.

    Args:
        task: From its ``data_dir`` come ``train-v1.1.json`` and ``dev-v1.1.json`` (or ``train_file`` and
            ``validation_file``), else the data come from the hub.
        split: ``train`` or ``validation``.
        language: English alone, for whose sentences there are rules.

    Returns:
        The columns ``id``, ``query`` and ``candidate``.

    Raises:
        ConfigError: If another language is asked for.
        DataError: If the file is not to be had, or broken.
    """
    if language != "en":
        raise ConfigError(f"task {task.name!r} has no split {split!r} in language {language!r}, only in 'en'")
    pairs, dropped = answer_pairs(load_squad(task, split, language))
    if dropped:
        text = f"task {task.name!r}: {dropped} questions of {split!r} left out, whose answers stand in no sentence"
        warnings.warn(text, stacklevel=2)
    return pairs


def read_xquad_r(path: Path, language: str) -> AnswerSentences:
    """Read a file of XQuAD-R: SQuAD's layout with ``sentence_breaks``.

    Right is the sentence in which the answer begins, and any of the same paragraph with the same text (as
    ``utils_lareqa.py`` in google-research/xtreme). A question whose answer begins in no sentence is left out.

    Raises:
        DataError: If the file is not in SQuAD's layout, or the breaks are missing or beyond the paragraph.
    """
    read_squad(path)  # which refuses what is broken
    found = AnswerSentences({}, {}, {})
    paragraphs = [p for article in read_json(path)["data"] for p in article["paragraphs"]]
    for number, paragraph in enumerate(paragraphs, 1):
        context, breaks = paragraph["context"], paragraph.get("sentence_breaks")
        if not breaks or any(not 0 <= a <= b <= len(context) for a, b in breaks):
            raise DataError(
                f"{path}: paragraph {number} has no (or wrong) sentence_breaks: XQuAD-R is wanted, not XQuAD; "
                "get it from github.com/google-research-datasets/lareqa"
            )
        sentences = {f"{language}_{number}_{place}": context[a:b] for place, (a, b) in enumerate(breaks)}
        found.candidates.update({name: candidate_text(text, context) for name, text in sentences.items()})
        for qa in paragraph["qas"]:
            answer = answer_sentence(context, breaks, qa["answers"][0]["answer_start"] if qa["answers"] else -1)
            if answer:
                found.questions[str(qa["id"])] = qa["question"]
                found.right[str(qa["id"])] = [name for name, text in sentences.items() if text == answer]
    return found


def answer_pairs(columns: Mapping[str, Sequence[Any]]) -> tuple[dict[str, list[str]], int]:
    """Pair English questions with the sentence in which the first answer begins, followed by its paragraph.

    SQuAD marks no sentences, see :func:`~xmit.data.sentences.english_sentences`. As in XTREME-R's baseline
    (``processors/lareqa.py``) a question is left out if its answer begins in no sentence, or is not what stands there.

    Args:
        columns: ``id``, ``question``, ``context`` and ``answers`` as of :func:`~xmit.data.readers.read_squad`.

    Returns:
        Columns ``id``, ``query`` and ``candidate``, and how many questions were left out.
    """
    pairs: dict[str, list[str]] = {"id": [], "query": [], "candidate": []}
    spans: dict[str, list[tuple[int, int]]] = {}
    for key, question, context, answers in zip(
        *(columns[name] for name in ("id", "question", "context", "answers")), strict=True
    ):
        text, start = next(zip(answers["text"], answers["answer_start"], strict=True), ("", -1))
        if context not in spans:
            spans[context] = english_sentences(context)
        sentence = answer_sentence(context, spans[context], start)
        if sentence and context.startswith(text, start):
            row = str(key), question, candidate_text(sentence, context)
            for values, value in zip(pairs.values(), row, strict=True):
                values.append(value)
    return pairs, len(columns["id"]) - len(pairs["id"])


def answer_sentence(context: str, breaks: Sequence[Sequence[int]], start: int) -> str:
    """The first sentence that has the character at ``start``; empty if none has."""
    return next((context[a:b] for a, b in breaks if a <= start < b), "")


def candidate_text(sentence: str, context: str) -> str:
    """A sentence followed by its paragraph, without line breaks."""
    return (sentence + context).replace("\n", "")
