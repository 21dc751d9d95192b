"""CLDR names in 49 languages, out of the PyPI package Babel: real zero-shot targets that need no hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from xmit.errors import ConfigError
from xmit.registry import register_task
from xmit.tasks.base import Task
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.embedded import cldr_data
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.retrieval import RetrievalTask

if TYPE_CHECKING:
    import datasets

CLDR: dict[str, Any] = {
    "roles": ("target", "embedded"),
    "languages": cldr_data.LANGUAGES,
    "main_score": "accuracy",
    "dataset": "babel (PyPI)",
    "license": "Unicode License v3",
    "citation": "Unicode Common Locale Data Repository (CLDR), https://cldr.unicode.org",
    "parallel": True,
    "language_map": {"tl": "fil"},
}


class CldrTask(Task):
    """What the tasks on CLDR names share."""

    @classmethod
    def data_version(cls) -> str:
        """The installed CLDR; another one has other names."""
        return cldr_data.cldr_version()


@register_task
class CldrGeo(CldrTask, SequenceClassificationTask):
    """The continent of a territory or currency, by its name; no territory is in two splits.

    The settings of the project's first probe were compared on its test split. Ours (learning rate, steps,
    checkpoint) are chosen on the English validation split and nothing else. Names in Latin script are often
    spelt as in English, so other scripts are worth a mean of their own.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="cldr_geo",
        description="continent of a territory or currency, by its name",
        overlaps=("cldr_retrieval", "cldr_terms"),
        **CLDR,
    )
    label_names: ClassVar[tuple[str, ...]] = cldr_data.CONTINENTS

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load one split of one language."""
        return cldr_data.geography(self.native(language), split)


@register_task
class CldrTerms(CldrTask, SequenceClassificationTask):
    """What a name names: a territory, currency, language, unit or time zone.

    Settings are chosen on the English validation split, as for :class:`CldrGeo`.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="cldr_terms",
        description="the kind of thing that a name names",
        overlaps=("cldr_geo", "cldr_retrieval"),
        **CLDR,
    )
    label_names: ClassVar[tuple[str, ...]] = cldr_data.KINDS

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load one split of one language."""
        return cldr_data.terms(self.native(language), split)


@register_task
class CldrRetrieval(CldrTask, RetrievalTask):
    """The English name of a territory, found by its name in another language; nothing is trained.

    A name spelt as in English is found for nothing: nine tenths of Tagalog's are, and none in other scripts.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="cldr_retrieval",
        description="English name of a territory, by its name in another language",
        overlaps=("cldr_geo", "cldr_terms"),
        **{**CLDR, "languages": tuple(code for code in cldr_data.LANGUAGES if code != "en")},
    )

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load the test split, the only one, of one language."""
        if split != "test":
            raise ConfigError(f"task {self.name!r} has no split {split!r}: it is only scored, on 'test'")
        return cldr_data.territory_pairs(self.native(language))
