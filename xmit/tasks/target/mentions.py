"""The files of Mewsli-X: mentions in their sentence, and the entities they mean.

The texts are made as XTREME-R's baseline makes them (``utils_mewslix.py`` in google-research/xtreme).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from xmit.data.readers import read_jsonl
from xmit.data.sources import find_file, load_hub
from xmit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from xmit.tasks.base import Task

PARTS = {"train": "train", "validation": "dev", "test": "test"}
FOLDERS = ("", "mewslix/")
_BRACED = re.compile(r"\{(.*?)\}")


def load_mentions(task: Task, split: str, language: str) -> dict[str, list[Any]]:
    """The mentions in the news of one language, from the task's ``data_dir`` or the hub.

    Returns:
        Columns ``id``, ``query`` and ``targets``, the one right entity, or None where the release leaves it blank.

    Raises:
        DataError: If the data are not to be had, or broken.
    """
    hub = task.metadata.dataset
    if task.data_dir:
        stem, part = "wikinews_mentions", PARTS[split]
        names = (f"{stem}/{part}-{language}.jsonl", f"{stem}/{language}/{part}.jsonl", f"{stem}-{part}.jsonl")
        path = find_file(task.data_dir, *(f + name for f in FOLDERS for name in names), task=task.name, hub=hub)
        columns = read_jsonl(path, ["context", "mentions"])
        rows = list(mention_rows(columns["context"], columns["mentions"], str(path), language))
    else:
        table = load_hub(hub, split=split, config=language)
        if "mentions" in table.column_names:
            rows = list(mention_rows(table["context"][:], table["mentions"][:], hub, language))
        else:  # one mention a row, its text made ready
            ids = table["example_id"][:] if "example_id" in table.column_names else range(len(table))
            rows = list(zip(map(str, ids), table["mention"][:], table["entity_id"][:], strict=True))
    targets = [[entity.strip()] if entity and entity.strip() else None for _, _, entity in rows]
    return {"id": [key for key, _, _ in rows], "query": [text for _, text, _ in rows], "targets": targets}


def load_entities(task: Task) -> dict[str, list[str]]:
    """The entities to choose from, from the task's ``data_dir`` or the hub, in columns ``id`` and ``text``."""
    names, keys = ("candidate_set_entities.jsonl", "mewslix/candidate_set_entities.jsonl"), ("entity_id", "description")
    hub = task.metadata.dataset
    columns: Any
    if task.data_dir:
        path = find_file(task.data_dir, *names, "candidate_entities.jsonl", task=task.name, hub=hub)
        columns = read_jsonl(path, [*keys, "sentence_spans"])
        spans = columns["sentence_spans"]
    else:
        columns = load_hub(hub, split="test", config="candidate_entities")
        spans = columns["sentence_spans"] if "sentence_spans" in columns.column_names else [None] * len(columns)
    ids, descriptions = (columns[key] for key in keys)
    return {"id": list(ids), "text": [entity_text(*one) for one in zip(descriptions, spans, strict=True)]}


def load_pairs(task: Task, split: str, language: str) -> dict[str, list[str]]:
    """Mentions in Wikipedia and the entities they mean, from the task's ``data_dir`` or the hub.

    Args:
        task: Its ``data_dir`` holds ``wikipedia_pairs-train.jsonl`` and ``wikipedia_pairs-dev.jsonl`` of the release,
            the hub's files, or ``train_file`` and ``validation_file`` in the same layout.
        split: ``train`` or ``validation``.
        language: An xmit code; the release has English alone.

    Returns:
        Columns ``id``, ``query`` and ``candidate``.

    Raises:
        ConfigError: If another language is asked for of the hub.
        DataError: If the data are not to be had, or broken.
    """
    hub, keys = task.metadata.dataset, ["contextual_mention", "entity"]
    if task.data_dir:
        names = [f"{folder}wikipedia_pairs{mark}{PARTS[split]}.jsonl" for folder in FOLDERS for mark in "-/"]
        path = task.file(split, language, *names)
        columns = read_jsonl(path, keys)
        return pair_columns(columns["contextual_mention"], columns["entity"], str(path))
    if language != task.metadata.source_language:
        raise ConfigError(f"task {task.name!r} has no split {split!r} in language {language!r}, only in 'en'")
    table = load_hub(hub, split=split, config="wikipedia_pairs")
    if missing := [key for key in keys if key not in table.column_names]:
        raise DataError(
            f"{hub} (wikipedia_pairs), split {split!r}: no column {missing[0]!r} among "
            f"{', '.join(table.column_names)}; pass data_dir with the release's wikipedia_pairs-train.jsonl"
        )
    return pair_columns(table["contextual_mention"][:], table["entity"][:], hub)


def mention_rows(
    contexts: Iterable[Any], mentions: Iterable[Any], where: str, language: str
) -> Iterator[tuple[str, str, str]]:
    """Id, text and entity of every mention in the language, of lines of ``wikinews_mentions``.

    Args:
        contexts: What each line has as ``context``.
        mentions: What each line has as ``mentions``.
        where: The file, for errors.
        language: The language of the contexts.

    Raises:
        DataError: For a line in another layout, or a mention that lies in no sentence.
    """
    for line, (context, inside) in enumerate(zip(contexts, mentions, strict=True), 1):
        try:
            if context["language"] == language:
                for mention in inside:
                    yield mention["example_id"], mention_text(context, mention["mention_span"]), mention["entity_id"]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{where}:{line}: no mentions in context as in Mewsli-X ({error!r}); get the file again"
            ) from error


def pair_columns(mentions: Iterable[Any], entities: Iterable[Any], where: str) -> dict[str, list[str]]:
    """Columns ``id``, ``query`` and ``candidate`` of lines of ``wikipedia_pairs``.

    Args:
        mentions: What each line has as ``contextual_mention``.
        entities: What each line has as ``entity``.
        where: The file, for errors.

    Raises:
        DataError: For a line in another layout, or a mention that lies in no sentence.
    """
    columns: dict[str, list[str]] = {"id": [], "query": [], "candidate": []}
    for line, (found, entity) in enumerate(zip(mentions, entities, strict=True), 1):
        try:
            query = mention_text(found["context"], found["mention"]["mention_span"])
            row = (
                str(found["mention"]["example_id"]),
                query,
                entity_text(entity["description"], entity["sentence_spans"]),
            )
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{where}:{line}: no mention with its entity as in Mewsli-X ({error!r}); get the file again"
            ) from error
        for values, value in zip(columns.values(), row, strict=True):
            values.append(value)
    return columns


def mention_text(context: dict[str, Any], span: dict[str, Any]) -> str:
    """The mention, a colon, and its sentence with the mention in braces; other braces become round brackets.

    Raises:
        KeyError: If the mention lies in no sentence.
    """
    text, start, end = context["text"], span["start"], span["end"]
    sentence = next((s for s in context["sentence_spans"] if s["start"] <= start < end <= s["end"]), None)
    if sentence is None:
        raise KeyError(f"the mention {span['text']!r} lies in no sentence")
    left, right = (
        _BRACED.sub(r"(\1)", part) for part in (text[sentence["start"] : start], text[end : sentence["end"]])
    )
    return _flat(f"{span['text']}: {left} {{ {span['text']} }} {right}")


def entity_text(description: str, spans: list[dict[str, int]] | None) -> str:
    """The sentences of an entity's description in one line; all of it where no sentences are marked."""
    return _flat(" ".join(description[s["start"] : s["end"]] for s in spans) if spans else description)


def _flat(text: str) -> str:
    return " ".join(text.splitlines()).replace("  ", " ").strip()
