"""Questions that are intermediate tasks of their own or what targets are trained on: SQuAD and TyDiQA-GoldP."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xmit.data.readers import read_squad
from xmit.data.sources import load_hub
from xmit.errors import ConfigError
from xmit.tasks.parallel import Columns, keep_rows, published_rows
from xmit.tasks.spans import hub_columns

if TYPE_CHECKING:
    from xmit.tasks.base import Task

SQUAD_HUBS = {"1.1": "rajpurkar/squad", "2.0": "rajpurkar/squad_v2"}
SQUAD_CONFIGS = {"1.1": "plain_text", "2.0": "squad_v2"}
SQUAD_SIZES = {
    "1.1": {"train": 87_599, "validation": 10_570},
    "2.0": {"train": 130_319, "validation": 11_873},
}
TYDIQA = "google-research-datasets/tydiqa"
TYDIQA_ROWS = {"train": 49_881, "validation": 5_077}
TYDIQA_ENGLISH = {"train": 3_333, "validation": 363}
"""What :func:`load_tydiqa` makes of the 3,696 English questions."""
TYDIQA_NAMES = {
    **{"ar": "arabic", "bn": "bengali", "en": "english", "fi": "finnish", "id": "indonesian"},
    **{"ko": "korean", "ru": "russian", "sw": "swahili", "te": "telugu"},
}


def load_squad(task: Task, split: str, language: str, version: Literal["1.1", "2.0"] = "1.1") -> Columns:
    """SQuAD's training or validation split for any task, or XTREME's or MLQA's machine translation of 1.1.

    ``data_dir`` has ``train-v1.1.json`` and ``dev-v1.1.json``, perhaps below ``squad``; and for other languages
    ``SQuAD/translate-train/squad.translate.train.en-de.json``, ``SQuAD/translate-dev/squad.translate.dev.en-de.json``,
    or ``mlqa-translate-train/de_squad-translate-train-train-v1.1.json`` and ``…-dev-v1.1.json``.

    Args:
        task: Who asks.
        split: ``train`` or ``validation``.
        language: An xmit language code.
        version: SQuAD's; 2.0 adds questions without an answer, ``is_impossible``.
    """
    rows = published_rows(task, f"SQuAD {version}", SQUAD_SIZES[version], split, language)
    if task.data_dir:
        part = "train" if split == "train" else "dev"
        translated = []
        if version == "1.1":
            own, folder = f"squad.translate.{part}.en-{language}.json", f"translate-{part}/"
            translated = [f"{root}{folder}{own}" for root in ("SQuAD/", "squad/", "")] + [own]
            translated += [f"mlqa-translate-train/{language}_squad-translate-train-{part}-v1.1.json"]
        name = f"{part}-v{version}.json"
        columns = read_squad(task.file(split, language, name, f"squad/{name}", translations=translated))
    else:
        columns = hub_columns(load_hub(SQUAD_HUBS[version], config=SQUAD_CONFIGS[version], split=split, rows=rows))
    if version == "2.0":
        columns["is_impossible"] = [not answers["text"] for answers in columns["answers"]]
    return columns


def load_tydiqa(task: Task, split: str, language: str) -> Columns:
    """TyDiQA-GoldP's training split in one language, 3,696 questions in English, divided in two.

    TyDiQA's own dev split is what XTREME tests on, so a tenth of the passages, told by the checksum of their
    text, is kept for validation and not trained on; XTREME trains on all and chooses on the test data. With a
    ``validation_file`` nothing is divided.

    Languages other than English are XTREME's translations where ``data_dir`` has them
    (``TyDiQA-GoldP/translate-train/tydiqa.translate.train.en-sw.json``), else TyDiQA's own questions. A translation is
    divided by its own text: of several source languages one may train on what another validates.

    Raises:
        ConfigError: For a language that TyDiQA has not, without a ``data_dir``.
    """
    name, path = TYDIQA_NAMES.get(language, language), Path()
    if task.data_dir:
        train = "tydiqa-goldp-v1.1-train"
        names = [f"{folder}{name}/{name}_tydiqa_train.json" for folder in ("", "tydiqa_goldp/")]
        names += [f"{folder}{train}/tydiqa.goldp.{language}.train.json" for folder in ("", "tydiqa/")]
        names += [f"{folder}{train}.json" for folder in ("", f"{train}/", f"tydiqa/{train}/")]
        own, folders = f"tydiqa.translate.train.en-{language}.json", ("TyDiQA-GoldP/", "tydiqa/", "")
        translated = [f"{folder}translate-train/{own}" for folder in folders] + [own]
        original = names if language in TYDIQA_NAMES else []
        path = task.file(split, language, *names, translations=[*translated, *original])
        columns = read_squad(path, unique=False)
    elif language in TYDIQA_NAMES:
        columns = hub_columns(load_hub(TYDIQA, split="train", config="secondary_task", rows=TYDIQA_ROWS["train"]))
    else:
        raise ConfigError(
            f"task {task.name!r}: TyDiQA has no training questions in {language!r}, only in {', '.join(TYDIQA_NAMES)}; "
            f"pass data_dir with translations below translate-train"
        )
    kept = of_language(columns["id"], name)
    own_file = bool(task.data_dir) and (bool(task.train_file or task.validation_file) or "translate" in path.name)
    if any(kept) or not own_file:  # translations keep the ids of the original
        columns = select(columns, kept)
    if len(set(columns["id"])) < len(columns["id"]):  # XTREME's preprocessing keeps only the last part of an id
        columns["id"] = [f"{name}-{row}-{key}" for row, key in enumerate(columns["id"])]
    if task.validation_file:
        return columns
    validation = [zlib.crc32(context.encode()) % 10 == 0 for context in columns["context"]]
    return select(columns, [kept == (split != "train") for kept in validation])


def of_language(ids: list[str], language: str) -> list[bool]:
    """Whether a TyDiQA id is one of a language: it begins with it, or is a bare number in a language's own file."""
    return [key.split("-")[0] in (language, key) for key in ids]


def select(columns: Columns, keep: list[bool]) -> Columns:
    """Some rows."""
    return keep_rows(columns, (row for row, kept in enumerate(keep) if kept))
