"""CCG supertagging."""

from functools import cached_property
from typing import Any, ClassVar

from xmit.data.ccgbank import frequent_categories, read_auto, read_sections
from xmit.registry import register_task
from xmit.tasks.base import Score
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.token_classification import TokenClassificationTask, sentences, word_scores

SECTIONS = {"train": range(2, 22), "validation": range(1), "test": range(23, 24)}
MOST, OTHER = 425, "other"


@register_task
class CCG(TokenClassificationTask):
    """The category of every word in combinatory categorial grammar, from CCGbank in ``data_dir``.

    The labels are the 425 most frequent categories of the training sections 02 to 21, and ``other`` for the rest,
    which is always scored as wrong. ``accuracy`` is over all words (Clark and Curran 2007). Validation is section 00,
    the test 23. ``train_file`` and ``validation_file`` are ``.auto`` files.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="ccg",
        roles=("intermediate",),
        languages=("en",),
        main_score="accuracy",
        dataset="LDC2005T13",
        license="LDC User Agreement",
        citation="Hockenmaier and Steedman 2007, CCGbank, J07-3004; task: Clark and Curran 2007, J07-4004",
        description="CCG category of every word (425 and the rest)",
        # Clark and Curran's counts; Phang et al. 2020 have 38,015, how they prepared the sections is not published
        sizes={"train": 39_604, "validation": 1_913, "test": 2_407},
    )

    @cached_property
    def label_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """The categories, and ``other``; known once the data are at hand."""
        tags = [row for language in self.source_languages for row in self._read("train", language)["tags"]]
        return (*frequent_categories(tags, MOST), OTHER)

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language."""
        columns, known = self._read(split, language), set(self.label_names)
        columns["tags"] = [[tag if tag in known else OTHER for tag in row] for row in columns["tags"]]
        return sentences(columns)

    def _read(self, split: str, language: str) -> dict[str, list[Any]]:
        if self.data_dir and self.own_file(split):
            return read_auto(self.file(split, language))
        own = "" if language == self.metadata.source_language else f"translate-train/{language}"
        return read_sections(self.data_dir, own, SECTIONS[split])

    def score(self, predictions: Any) -> list[Score]:
        """Accuracy over all words, and that of the most frequent category."""
        return word_scores(predictions, OTHER)
