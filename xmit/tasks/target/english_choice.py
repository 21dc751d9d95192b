"""English multiple-choice data that targets without training data of their own are trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Sampler

from xmit.data.batching import BatchStream, TrainingBatches
from xmit.data.readers import read_csv, read_jsonl, read_lines
from xmit.data.sources import find_file, load_hub
from xmit.errors import DataError
from xmit.tasks.multiple_choice import MultipleChoiceTask
from xmit.tasks.parallel import Columns

if TYPE_CHECKING:
    import datasets

COPA_COLUMNS = ("idx", "premise", "question", "choice1", "choice2", "label")
COPA_ROWS = {"train": 400, "validation": 100, "test": 500}
SIQA = "lighteval/siqa"
SIQA_ROWS = {"train": 33_410, "validation": 1_954}
COSMOS = "allenai/cosmos_qa"
COSMOS_ROWS = {"train": 25_262, "validation": 2_985}


def choice_table(
    ids: Sequence[Any], contexts: Sequence[Sequence[str]], choices: Sequence[Sequence[str]], labels: Sequence[int]
) -> datasets.Dataset:
    """The canonical columns of multiple choice.

    Args:
        ids: One an item.
        contexts: What makes the first segment, joined by spaces: the passages of all items, their questions.
        choices: One sequence for the first choice of all items, one for the second, and so on.
        labels: The right choice of each item, from 0.

    Raises:
        DataError: If a context or choice is no text.
    """
    import datasets

    for column in (*contexts, *choices):
        for row, text in enumerate(column):
            if not isinstance(text, str):
                raise DataError(f"example {ids[row]!r} has {text!r} where text belongs; mend that row")
    rows = [list(own) for own in zip(*choices, strict=True)]
    first = [" ".join(own) for own in zip(*contexts, strict=True)]
    columns = {"id": [str(i) for i in ids], "context": first, "choices": rows, "label": list(labels)}
    return datasets.Dataset.from_dict(columns)


def numbered(*parts: Sequence[Any]) -> list[str]:
    """Ids made of several columns; one that occurs again has its number added (``link#1``, ``link#1#2``)."""
    seen: Counter[str] = Counter()
    ids = []
    for own in zip(*parts, strict=True):
        name = "#".join(str(part) for part in own)
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return ids


def copa_table(rows: Columns, prefix: str) -> datasets.Dataset:
    """COPA's rows as XTREME's baseline asks them: ``{premise} What was the {cause|effect}?``."""
    where = f"COPA, {prefix}"
    for row, question in enumerate(rows["question"], 1):
        if question not in ("cause", "effect"):
            raise DataError(f"{where}: the question of row {row} is {question!r}, not cause or effect; mend that row")
    contexts = (rows["premise"], [f"What was the {question}?" for question in rows["question"]])
    ids = [f"{prefix}-{i}" for i in rows["idx"]]
    labels = numbers(rows["label"], where, 2, first=0)
    return choice_table(ids, contexts, (rows["choice1"], rows["choice2"]), labels)


def copa_files(split: str, language: str) -> list[str]:
    """Where a split of COPA or XCOPA may lie: in the release's layout, or in XTREME's."""
    part = "val" if split == "validation" else split
    name = f"{part}.{language}.jsonl"
    return [f"data/{language}/{name}", f"xcopa/data/{language}/{name}", f"{language}/{name}", f"xcopa/{name}", name]


def matched(keys: Sequence[Any], other: Columns, name: str) -> list[Any]:
    """A column of another language's rows, joined by ``idx``; None where that language lacks the item."""
    known = dict(zip(other["idx"], other[name], strict=True))
    return [known.get(key) for key in keys]


def social_iqa(data_dir: str | None, split: str, task: str) -> datasets.Dataset:
    """Social IQa (Sap et al. 2019): 33,410 questions with three answers, as ``{context} {question}``.

    Args:
        data_dir: Holds ``siqa/socialiqa-train-dev/train.jsonl`` and ``train-labels.lst`` beside it, as XTREME's
            download; None loads the hub's copy.
        split: ``train`` or ``validation``.
        task: Who asks, for errors.
    """
    names = ("context", "question", "answerA", "answerB", "answerC")
    if data_dir:
        name = f"socialiqa-train-dev/{'dev' if split == 'validation' else split}"
        path = find_file(data_dir, f"siqa/{name}.jsonl", f"{name}.jsonl", task=task, hub=SIQA)
        rows: Columns = read_jsonl(path, names)
        file = find_file(data_dir, f"siqa/{name}-labels.lst", f"{name}-labels.lst", task=task, hub=SIQA)
        rows["label"] = numbers(read_lines(file), str(file), 3)
        if len(rows["label"]) != len(rows["context"]):
            raise DataError(f"{file}: {len(rows['label'])} labels for {len(rows['context'])} questions in {path}")
    else:
        rows = load_hub(SIQA, split=split, rows=SIQA_ROWS[split]).to_dict()
        rows["label"] = numbers(rows["label"], SIQA, 3)
    contexts = (rows["context"], rows["question"])
    ids = [f"siqa-{split}-{i}" for i in range(len(contexts[0]))]
    return choice_table(ids, contexts, [rows[name] for name in names[2:]], rows["label"])


def cosmos_qa(data_dir: str | None, split: str, task: str) -> datasets.Dataset:
    """Cosmos QA (Huang et al. 2019): 25,262 questions on a text with four answers, as ``{context} {question}``.

    Args:
        data_dir: Holds ``train.csv`` and ``valid.csv`` of the release, perhaps in ``cosmos_qa``; None loads the
            hub's copy.
        split: ``train`` or ``validation``.
        task: Who asks, for errors.
    """
    names = ("context", "question", "answer0", "answer1", "answer2", "answer3", "label")
    if data_dir:
        name = f"{'valid' if split == 'validation' else split}.csv"
        path = find_file(data_dir, f"cosmos_qa/{name}", f"cosmosqa/data/{name}", name, task=task, hub=COSMOS)
        rows: Columns = dict(read_csv(path, names))
        rows["label"] = numbers(rows["label"], str(path), 4, first=0)
    else:  # the repository is a script; this is its converted copy
        rows = load_hub(COSMOS, split=split, parquet_branch=True, rows=COSMOS_ROWS[split]).to_dict()
    contexts = (rows["context"], rows["question"])
    ids = [f"cosmos-{split}-{i}" for i in range(len(contexts[0]))]
    return choice_table(ids, contexts, [rows[name] for name in names[2:6]], rows["label"])


def numbers(values: Sequence[Any], where: str, n: int, first: int = 1) -> list[int]:
    """Turn answers that are counted from ``first``, perhaps as text, into 0 to ``n - 1``.

    Raises:
        DataError: For what is no such number, with its row counted from 1.
    """
    known = {str(first + k): k for k in range(n)}
    for row, value in enumerate(values, 1):
        if str(value).strip() not in known:
            raise DataError(f"{where}: the answer of row {row} is {value!r}, not {first} to {first + n - 1}; mend it")
    return [known[str(value).strip()] for value in values]


class Stages(Sampler[list[int]]):
    """One stage of training after the other in a single pass, each with an order of its own in every round.

    A :class:`~xmit.data.batching.BatchStream`.

    Args:
        lengths: The length of each example in tokens, ``(n,)``.
        stage: The stage of each example, ``(n,)``; lower ones come first.
        rounds: How often each stage is gone through before the next.
        **options: For :class:`~xmit.data.batching.TrainingBatches`.
    """

    def __init__(
        self, lengths: npt.NDArray[np.int64], stage: npt.NDArray[np.int64], rounds: int, **options: Any
    ) -> None:
        items = [np.flatnonzero(stage == s) for s in np.unique(stage)]
        self.stages = [(own, TrainingBatches(lengths[own], **options)) for own in items]
        self.rounds = rounds
        self.epoch = self.start_batch = 0

    def __iter__(self) -> Iterator[list[int]]:
        start, self.start_batch = self.start_batch, 0
        for own, batches in self.stages:
            batches.epoch = self.epoch * self.rounds
            for _ in range(self.rounds):
                batches.start_batch, start = min(start, len(batches)), max(0, start - len(batches))
                for batch in batches:
                    yield own[batch].tolist()
        self.epoch += 1

    def __len__(self) -> int:
        return self.rounds * sum(len(batches) for _, batches in self.stages)


class StagedChoiceTask(MultipleChoiceTask):
    """Multiple choice with two choices, trained on COPA, on Social IQa, or on first the one and then the other.

    XTREME's baseline fine-tunes on Social IQa and goes on with COPA, keeping the head: so does ``siqa+copa``, though
    with one learning-rate schedule over both.

    Args:
        train_from: ``copa``, ``siqa``, or ``siqa+copa``.
        rounds: How often ``siqa+copa`` goes through each set; XTREME's baseline has 5.
        languages: See :class:`~xmit.tasks.base.Task`, as for all further arguments.
    """

    def __init__(
        self, train_from: Literal["copa", "siqa", "siqa+copa"] = "copa", rounds: int = 5, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.train_from, self.rounds = train_from, rounds
        self.num_choices = 2 if train_from == "copa" else 3
        rows = {"copa": COPA_ROWS["train"], "siqa": SIQA_ROWS["train"]}
        self.sizes["train"] = sum(rows[part] for part in train_from.split("+"))

    def with_siqa(self, copa: datasets.Dataset) -> datasets.Dataset:
        """The training rows that were asked for."""
        import datasets

        if self.train_from == "copa":
            return copa
        siqa = social_iqa(self.data_dir, "train", self.name)
        return siqa if self.train_from == "siqa" else datasets.concatenate_datasets([siqa, copa])

    def train_batches(self, drop_last: bool = False) -> BatchStream:
        """Random batches, those of Social IQa before those of COPA."""
        if self.train_from != "siqa+copa":
            return super().train_batches(drop_last)
        examples = self.examples("train")
        stage = np.array([not i.startswith("siqa") for i in examples.ids], dtype=np.int64)
        seed = torch.initial_seed() % 2**63
        options = {"batch_size": self.batch_size, "batching": self.batching, "seed": seed, "drop_last": drop_last}
        return Stages(examples.lengths, stage, self.rounds, **options)
