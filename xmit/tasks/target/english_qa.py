"""What the question answering targets are trained on: SQuAD 1.1, or TyDiQA-GoldP's training split."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from xmit.metrics.qa import squad_scores
from xmit.tasks.base import Task
from xmit.tasks.parallel import Columns
from xmit.tasks.qa_sources import SQUAD_SIZES, TYDIQA_ENGLISH, load_squad, load_tydiqa
from xmit.tasks.question_answering import QuestionAnsweringTask
from xmit.tasks.spans import qa_table, training_table

if TYPE_CHECKING:
    import datasets

Source = Literal["squad", "tydiqa"]


class EnglishQATask(QuestionAnsweringTask):
    """A target with a test split in many languages, trained on English questions; scored by SQuAD 1.1's rules.

    Another ``source_language`` trains on translations below ``data_dir``, see
    :func:`~xmit.tasks.qa_sources.load_squad` and :func:`~xmit.tasks.qa_sources.load_tydiqa`. Training rows whose
    answers do not stand where the data say are dropped with a warning that counts them.

    Args:
        train_from: Training and validation split: ``squad``, SQuAD 1.1's two; or ``tydiqa``, TyDiQA-GoldP's training
            split in the source language, a tenth of whose passages is kept for validation.
        languages: See :class:`~xmit.tasks.base.Task`, as for all further arguments.
    """

    own_validation: ClassVar[bool] = False
    """Whether the data set has a validation split of its own."""

    def __init__(self, train_from: Source = "squad", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.train_from = train_from
        english = {"squad": SQUAD_SIZES["1.1"], "tydiqa": TYDIQA_ENGLISH}[train_from]
        self.sizes |= {"train": english["train"]} if self.own_validation else english

    @abstractmethod
    def read(self, split: str, language: str) -> Columns:
        """The data set's own test split of a language, and its validation split if ``own_validation``.

        Returns:
            The columns of :func:`~xmit.tasks.spans.qa_table`.
        """

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load one split of one language."""
        if split == "test" or (split == "validation" and self.own_validation):
            return qa_table(self.read(split, language))
        columns = SOURCES[self.train_from](self, split, language)
        return training_table(columns, self.name) if split == "train" else qa_table(columns)

    def score_answers(self, language: str, answers: dict[str, str], gold: dict[str, list[str]]) -> Mapping[str, Any]:
        """Score by SQuAD 1.1's rules, which XTREME applies to every language."""
        return squad_scores(answers, gold)


SOURCES: dict[str, Callable[[Task, str, str], Columns]] = {"squad": load_squad, "tydiqa": load_tydiqa}
