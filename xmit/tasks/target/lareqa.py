"""LAReQA: the sentences, in eleven languages, that answer a question (XQuAD-R)."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.ranking import RankingTask
from xmit.tasks.target.answer_sentences import AnswerSentences, load_squad_pairs, load_xquad_r


@register_task
class LAReQA(RankingTask):
    """Each of 1,190 questions in a language, against all 13,014 sentences of the paragraphs in all eleven.

    As in XTREME-R (``utils_lareqa.py``): a candidate is a sentence followed by its paragraph, right are those in which
    the answer begins, of all languages whichever are asked; the score is mAP@20. Trained and validated on SQuAD 1.1,
    whose dev split has the English test questions; see :mod:`~xmit.tasks.target.answer_sentences`.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="lareqa",
        roles=("target",),
        languages=("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh"),
        main_score="map@20",
        dataset="github.com/google-research-datasets/lareqa",
        revision="9bc8c7fb6dd8d01d72a05a93c2cb96882b0d299c",
        license="CC BY-SA 4.0",
        citation="Roy et al. (2020), LAReQA: Language-Agnostic Answer Retrieval from a Multilingual Pool, EMNLP",
        description="answer sentences in eleven languages to a question in one of them",
        parallel=True,
        benchmark_version="xtreme-r",
        sizes={"train": 87_599, "validation": 10_570, "test": 1_190},
    )
    rule = "map"

    def __init__(self, max_length: int = 256, max_query_length: int = 96, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, max_query_length=max_query_length, **kwargs)
        self.sizes = {}  # questions whose answers stand in no sentence are left out, and counted then

    @cached_property
    def files(self) -> dict[str, AnswerSentences]:
        """XQuAD-R by language: all are needed, whichever is asked."""
        return {code: load_xquad_r(self, code) for code in self.metadata.languages}

    def load_pairs(self, split: str, language: str) -> dict[str, list[str]]:
        """Questions of SQuAD and the sentences that answer them."""
        return load_squad_pairs(self, split, language)

    def load_queries(self, split: str, language: str) -> dict[str, list[Any]]:
        """The questions of one language, and the right sentences of all."""
        questions = self.files[language].questions
        targets = [[name for file in self.files.values() for name in file.right.get(key, ())] for key in questions]
        return {"id": list(questions), "query": list(questions.values()), "targets": targets}

    def load_candidates(self) -> dict[str, list[str]]:
        """The sentences of all languages, each followed by its paragraph."""
        rows = [row for file in self.files.values() for row in file.candidates.items()]
        return {"id": [name for name, _ in rows], "text": [text for _, text in rows]}
