"""Mewsli-X: the entity that a mention in the news means, by descriptions in many languages."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from xmit.data.readers import read_jsonl
from xmit.data.sources import find_file, load_hub
from xmit.errors import ConfigError, DataError
from xmit.registry import register_task
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.ranking import RankingTask

if TYPE_CHECKING:
    import datasets

PARTS = {"validation": "dev", "test": "test"}
_BRACED = re.compile(r"\{(.*?)\}")


@register_task
class MewsliX(RankingTask):
    """Mentions in WikiNews of eleven languages, against some 50,000 entities described in fifty.

    As in XTREME-R (``utils_mewslix.py``): a query is the mention, a colon, and the sentence it stands in with the
    mention in braces; a candidate is the first sentences of the entity's article; both are cut at 64 tokens. What is
    called ``map@20`` is MRR@20, each mention having one right entity. XTREME's download blanks the test's entities:
    it is predicted, not scored; ``test_split: validation`` scores the development mentions.

    XTREME-R's baseline trains on English Wikipedia pairs before (in-batch softmax). That phase is *not* there yet:
    the encoder is scored as it is, so that numbers do not compare with the published ones.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="mewslix",
        roles=("target",),
        languages=("ar", "de", "en", "es", "fa", "ja", "pl", "ro", "ta", "tr", "uk"),
        main_score="map@20",
        dataset="izhx/mewsli-x",
        license="Apache 2.0",
        citation="Ruder et al. (2021), XTREME-R: Towards More Challenging and Nuanced Multilingual Evaluation, EMNLP",
        description="the entity that a mention in the news means",
        benchmark_version="xtreme-r",
    )
    rule = "mrr"

    def __init__(self, max_length: int = 64, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, **kwargs)

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """Load the mentions of ``test`` or ``validation`` in one language."""
        import datasets

        if split not in PARTS:
            raise ConfigError(f"task {self.name!r} has no split {split!r}: it is only scored, on 'test'")
        if self.data_dir:
            part = PARTS[split]
            names = [f"wikinews_mentions/{part}-{language}.jsonl", f"wikinews_mentions/{language}/{part}.jsonl"]
            names = [
                f"{folder}{name}" for folder in ("", "mewslix/") for name in (*names, f"wikinews_mentions-{part}.jsonl")
            ]
            path = find_file(self.data_dir, *names, task=self.name, hub=self.metadata.dataset)
            columns = read_jsonl(path, ["context", "mentions"])
            rows = list(_mentions(columns["context"], columns["mentions"], str(path), language))
        else:
            table = load_hub(self.metadata.dataset, split=split, config=language)
            if "mentions" in table.column_names:
                rows = list(_mentions(table["context"], table["mentions"], self.metadata.dataset, language))
            else:  # one mention a row, its text made ready
                ids = table["example_id"] if "example_id" in table.column_names else range(len(table))
                rows = list(zip(map(str, ids), table["mention"], table["entity_id"], strict=True))
        targets = [[entity.strip()] if entity and entity.strip() else None for _, _, entity in rows]
        return datasets.Dataset.from_dict(
            {"id": [key for key, _, _ in rows], "query": [text for _, text, _ in rows], "targets": targets}
        )

    def load_candidates(self) -> datasets.Dataset:
        """Load the entities with their descriptions."""
        import datasets

        columns: Any
        if self.data_dir:
            names = ("candidate_set_entities.jsonl", "mewslix/candidate_set_entities.jsonl", "candidate_entities.jsonl")
            path = find_file(self.data_dir, *names, task=self.name, hub=self.metadata.dataset)
            columns = read_jsonl(path, ["entity_id", "description", "sentence_spans"])
            spans = columns["sentence_spans"]
        else:
            columns = load_hub(self.metadata.dataset, split="test", config="candidate_entities")
            spans = columns["sentence_spans"] if "sentence_spans" in columns.column_names else [None] * len(columns)
        texts = [
            _flat(" ".join(text[s["start"] : s["end"]] for s in parts) if parts else text)
            for text, parts in zip(columns["description"], spans, strict=True)
        ]
        return datasets.Dataset.from_dict({"id": list(columns["entity_id"]), "text": texts})


def _mentions(
    contexts: Iterable[Any], mentions: Iterable[Any], where: str, language: str
) -> Iterable[tuple[str, str, str]]:
    """Id, query and entity of every mention in the language."""
    for line, (context, inside) in enumerate(zip(contexts, mentions, strict=True), 1):
        try:
            if context["language"] == language:
                for mention in inside:
                    yield mention["example_id"], _query(context, mention["mention_span"]), mention["entity_id"]
        except (KeyError, TypeError, StopIteration, RuntimeError) as error:
            raise DataError(
                f"{where}:{line}: no mentions in context as in Mewsli-X ({error!r}); get the file again"
            ) from error


def _query(context: dict[str, Any], span: dict[str, Any]) -> str:
    """The mention, a colon, and its sentence with the mention in braces; other braces become round brackets."""
    text, start, end = context["text"], span["start"], span["end"]
    sentence = next((s for s in context["sentence_spans"] if s["start"] <= start < end <= s["end"]), None)
    if sentence is None:
        raise KeyError(f"the mention {span['text']!r} lies in no sentence")
    left, right = (
        _BRACED.sub(r"(\1)", part) for part in (text[sentence["start"] : start], text[end : sentence["end"]])
    )
    return _flat(f"{span['text']}: {left} {{ {span['text']} }} {right}")


def _flat(text: str) -> str:
    return " ".join(text.splitlines()).replace("  ", " ").strip()
