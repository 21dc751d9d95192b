"""The English training data of the question answering targets: SQuAD 1.1, or the English part of TyDiQA-GoldP."""

from __future__ import annotations

import warnings
import zlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from xmit.data.readers import read_squad
from xmit.data.sources import find_file, load_hub
from xmit.errors import ConfigError
from xmit.metrics.qa import squad_scores
from xmit.tasks.question_answering import QuestionAnsweringTask
from xmit.tasks.spans import drop_misaligned, qa_table

if TYPE_CHECKING:
    import datasets

SQUAD = "rajpurkar/squad"
TYDIQA = "google-research-datasets/tydiqa"
SQUAD_ROWS = {"train": 87_599, "validation": 10_570}
TYDIQA_ROWS = {"train": 49_881, "validation": 5_077}
TYDIQA_ENGLISH = {"train": 3_333, "validation": 363}
"""What :func:`tydiqa` makes of the 3,696 English questions."""
Columns = dict[str, list[Any]]
Source = Literal["squad", "tydiqa"]


class EnglishQATask(QuestionAnsweringTask):
    """A target with a test split in many languages, trained on English questions; scored by SQuAD 1.1's rules.

    Training rows whose answers do not stand where the data say are dropped with a warning that counts them.

    Args:
        train_from: Training and validation split: ``squad``, SQuAD 1.1's two; or ``tydiqa``, the English part of
            TyDiQA-GoldP's training split, a tenth of whose passages is kept for validation, see :func:`tydiqa`.
        languages: See :class:`~xmit.tasks.base.Task`, as for all further arguments.
    """

    own_validation: ClassVar[bool] = False
    """Whether the data set has a validation split of its own."""

    def __init__(self, train_from: Source = "squad", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.train_from = train_from
        english = {"squad": SQUAD_ROWS, "tydiqa": TYDIQA_ENGLISH}[train_from]
        self.sizes |= {"train": english["train"]} if self.own_validation else english

    @abstractmethod
    def read(self, split: str, language: str) -> Columns:
        """The data set's own test split of a language, and its validation split if ``own_validation``.

        Returns:
            The columns of :func:`~xmit.tasks.spans.qa_table`.
        """

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load one split of one language.

        Raises:
            ConfigError: For a training or validation split that is not English.
        """
        if split == "test" or (split == "validation" and self.own_validation):
            return qa_table(self.read(split, language))
        if language != "en":
            raise ConfigError(f"task {self.name!r} has no split {split!r} in language {language!r}, only in 'en'")
        columns = ENGLISH[self.train_from](split, self.data_dir, self.name)
        if split == "train":
            columns, dropped = drop_misaligned(columns)
            if dropped:
                text = f"task {self.name!r}: {dropped} training rows dropped, whose answers are not where the data say"
                warnings.warn(text, stacklevel=2)
        return qa_table(columns)

    def score_answers(self, language: str, answers: dict[str, str], gold: dict[str, list[str]]) -> Mapping[str, Any]:
        """Score by SQuAD 1.1's rules, which XTREME applies to every language."""
        return squad_scores(answers, gold)


def squad(split: str, data_dir: str | None, task: str) -> Columns:
    """SQuAD 1.1: 87,599 questions for training, 10,570 for validation (Rajpurkar et al. 2016)."""
    if data_dir:
        name = f"{'train' if split == 'train' else 'dev'}-v1.1.json"
        return read_squad(find_file(data_dir, name, f"squad/{name}", task=task, hub=SQUAD))
    return hub_columns(load_hub(SQUAD, split=split, config="plain_text", rows=SQUAD_ROWS[split]))


def tydiqa(split: str, data_dir: str | None, task: str) -> Columns:
    """The English part of TyDiQA-GoldP's training split, 3,696 questions, divided in two.

    TyDiQA's own dev split is what XTREME tests on, so a tenth of the passages, told by the checksum of their
    text, is kept for validation and not trained on; XTREME trains on all and chooses on the test data.
    """
    if data_dir:
        train = "tydiqa-goldp-v1.1-train"
        names = [
            *("english/english_tydiqa_train.json", "tydiqa_goldp/english/english_tydiqa_train.json"),
            *(f"{folder}{train}/tydiqa.goldp.en.train.json" for folder in ("", "tydiqa/")),
            *(f"{folder}{train}.json" for folder in ("", f"{train}/", f"tydiqa/{train}/")),
        ]
        columns = read_squad(find_file(data_dir, *names, task=task, hub=TYDIQA), unique=False)
    else:
        table = load_hub(TYDIQA, split="train", config="secondary_task", rows=TYDIQA_ROWS["train"])
        columns = hub_columns(table)
    columns = select(columns, of_language(columns["id"], "english"))
    if len(set(columns["id"])) < len(columns["id"]):  # XTREME's preprocessing keeps only the last part of an id
        columns["id"] = [f"english-{row}-{key}" for row, key in enumerate(columns["id"])]
    validation = [zlib.crc32(context.encode()) % 10 == 0 for context in columns["context"]]
    return select(columns, [kept == (split != "train") for kept in validation])


def of_language(ids: list[str], language: str) -> list[bool]:
    """Whether a TyDiQA id is one of a language: it begins with it, or is a bare number in a language's own file."""
    return [key.split("-")[0] in (language, key) for key in ids]


def select(columns: Columns, keep: list[bool]) -> Columns:
    """Some rows."""
    return {name: [v for v, kept in zip(values, keep, strict=True) if kept] for name, values in columns.items()}


def hub_columns(table: datasets.Dataset) -> Columns:
    """The columns that question answering needs, as lists."""
    return {name: list(table[name]) for name in ("id", "question", "context", "answers")}


ENGLISH: dict[str, Callable[[str, str | None, str], Columns]] = {"squad": squad, "tydiqa": tydiqa}
