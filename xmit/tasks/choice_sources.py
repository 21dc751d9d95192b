"""English multiple choice that is an intermediate task of its own and what targets are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xmit.data.readers import read_csv, read_jsonl, read_lines
from xmit.data.sources import find_file, labels_to_ids, load_hub
from xmit.errors import DataError
from xmit.tasks.multiple_choice import choice_table, numbers
from xmit.tasks.parallel import Columns, published_rows

if TYPE_CHECKING:
    import datasets

    from xmit.tasks.base import Task

COPA_COLUMNS = ("idx", "premise", "question", "choice1", "choice2", "label")
COPA_HUB = "aps/super_glue"
COPA_SIZES = {"train": 400, "validation": 100, "test": 500}
COSMOS_COLUMNS = ("context", "question", "answer0", "answer1", "answer2", "answer3", "label")
COSMOS_HUB = "allenai/cosmos_qa"
COSMOS_SIZES = {"train": 25_262, "validation": 2_985}
SIQA_COLUMNS = ("context", "question", "answerA", "answerB", "answerC")
SIQA_HUB = "lighteval/siqa"
SIQA_SIZES = {"train": 33_410, "validation": 1_954}


def load_copa(task: Task, split: str, language: str) -> datasets.Dataset:
    """A split of COPA for any task, from SuperGLUE's files, those beside XCOPA's, or XTREME-R's translations.

    Args:
        task: Who asks.
        split: ``train``, ``validation`` or, with a ``data_dir``, ``test``: SuperGLUE, whose copy the hub has, keeps the
            labels of that.
        language: An xmit language code.
    """
    sizes = {name: rows for name, rows in COPA_SIZES.items() if task.data_dir or name != "test"}
    count, where = published_rows(task, "COPA", sizes, split, language), COPA_HUB
    if task.data_dir:
        part = {"validation": "val"}.get(split, split)
        names = [*copa_files(split, "en"), f"COPA/{part}.jsonl", f"{part}.jsonl"]
        translated = f"xcopa_translate_train/xcopa_{language}_translate_{part}.jsonl"
        path = task.file(split, language, *names, translations=[translated])
        rows, where = read_jsonl(path, COPA_COLUMNS), str(path)
    else:
        table = load_hub(COPA_HUB, config="copa", split=split, rows=count)
        rows = {name: table[name][:] for name in COPA_COLUMNS}
    return copa_table(rows, {"train": "copa"}.get(split, split), where)


def copa_table(rows: Columns, prefix: str, where: str) -> datasets.Dataset:
    """COPA's rows as XTREME's baseline asks them: ``{premise} What was the {cause|effect}?``.

    Args:
        rows: COPA's columns.
        prefix: Goes before ``idx`` in the ids.
        where: Where the rows come from, for errors.
    """
    for row, question in enumerate(rows["question"], 1):
        if question not in ("cause", "effect"):
            raise DataError(f"{where}: the question of row {row} is {question!r}, not cause or effect; mend that row")
    contexts = (rows["premise"], [f"What was the {question}?" for question in rows["question"]])
    ids = [f"{prefix}-{i}" for i in rows["idx"]]
    labels = numbers(rows["label"], where, 2, first=0)
    return choice_table(ids, contexts, (rows["choice1"], rows["choice2"]), labels)


def copa_files(split: str, language: str) -> list[str]:
    """Where a split of COPA or XCOPA may lie: in XCOPA's layout, or in XTREME's."""
    part = {"validation": "val"}.get(split, split)
    name = f"{part}.{language}.jsonl"
    return [f"data/{language}/{name}", f"xcopa/data/{language}/{name}", f"{language}/{name}", f"xcopa/{name}", name]


def matched(keys: Sequence[Any], other: Columns, name: str) -> list[Any]:
    """A column of another language's rows, joined by ``idx``; None where that language lacks the item."""
    known = dict(zip(other["idx"], other[name], strict=True))
    return [known.get(key) for key in keys]


def load_cosmos_qa(task: Task, split: str, language: str) -> datasets.Dataset:
    """Cosmos QA's training or validation split as ``{context} {question}`` and four answers, for any task.

    Args:
        task: Who asks. Its ``data_dir`` holds the release's ``train.csv`` and ``valid.csv``.
        split: ``train`` or ``validation``.
        language: An xmit language code.
    """
    count, where = published_rows(task, "Cosmos QA", COSMOS_SIZES, split, language), COSMOS_HUB
    if task.data_dir:
        name = f"{'valid' if split == 'validation' else split}.csv"
        path = task.file(split, language, f"cosmos_qa/{name}", f"cosmosqa/data/{name}", f"data/{name}", name)
        rows: Columns = dict(read_csv(path, COSMOS_COLUMNS))
        where = str(path)
    else:  # the repository is a script; this is its converted copy
        table = load_hub(COSMOS_HUB, split=split, parquet_branch=True, rows=count)
        rows = {name: table[name][:] for name in COSMOS_COLUMNS}
    *contexts, first, second, third, fourth, labels = rows.values()
    ids = [f"cosmos-{split}-{i}" for i in range(len(labels))]
    return choice_table(ids, contexts, (first, second, third, fourth), numbers(labels, where, 4, first=0))


def load_social_iqa(task: Task, split: str, language: str) -> datasets.Dataset:
    """Social IQa's training or validation split as ``{context} {question}`` and three answers, for any task.

    Args:
        task: Who asks. Its ``data_dir`` holds ``socialiqa-train-dev/train.jsonl`` with ``train-labels.lst`` beside
            it, or version 1.4's ``socialIQa_v1.4_trn.jsonl``, whose rows have the letter of the answer.
        split: ``train`` or ``validation``.
        language: An xmit language code.
    """
    count = published_rows(task, "Social IQa", SIQA_SIZES, split, language)
    if task.data_dir:
        part = "dev" if split == "validation" else split
        # XTREME-R trains on version 1.4, which has the answer's letter in the row, and on translations of it
        names = [f"socialiqa-train-dev/{part}.jsonl", f"socialIQa_v1.4_{'trn' if part == 'train' else part}.jsonl"]
        translated = f"siqa_translate_train/socialIQa_v1.4_{language}_translate_{part}.jsonl"
        names = [folder + name for name in names for folder in ("siqa/", "")]
        path = task.file(split, language, *names, translations=[translated])
        if path.name.startswith("socialIQa"):
            *columns, letters = read_jsonl(path, (*SIQA_COLUMNS, "correct")).values()
            labels = labels_to_ids(letters, "ABC", path)
        else:
            columns = list(read_jsonl(path, SIQA_COLUMNS).values())
            name = path.name.removesuffix(".gz").removesuffix(".jsonl")
            file = find_file(path.parent, f"{name}-labels.lst", task=task.name, hub=SIQA_HUB)
            labels = numbers(read_lines(file), str(file), 3)
            if len(labels) != len(columns[0]):
                raise DataError(
                    f"{file}: {len(labels)} labels for {len(columns[0])} questions in {path}; get both again"
                )
    else:
        table = load_hub(SIQA_HUB, split=split, rows=count)
        columns, labels = [table[name][:] for name in SIQA_COLUMNS], numbers(table["label"][:], SIQA_HUB, 3)
    return choice_table([f"siqa-{split}-{i}" for i in range(len(labels))], columns[:2], columns[2:], labels)
