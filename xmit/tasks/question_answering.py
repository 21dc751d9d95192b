"""Extractive question answering: windows over long contexts, n-best spans, answers cut out of the context."""

from __future__ import annotations

import json
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xmit.data.batching import Ragged
from xmit.errors import ConfigError, DataError
from xmit.tasks.base import Batch, Examples, HeadSpec, Score, Task
from xmit.tasks.examples import IGNORED
from xmit.tasks.scoring import value_consistency
from xmit.tasks.spans import answer_tokens, best_spans, cut, pair_template, spans_of, tokenize

if TYPE_CHECKING:
    import datasets
    import pandas as pd

CLS = 0
"""The place of the first token, which stands for no answer, in this window or at all."""


class QuestionAnsweringTask(Task):
    """The answer is a span of the context; windows of a long context overlap, and the best span of all wins.

    ``load_split`` returns ``id``, ``question``, ``context``, ``answers`` (``{"text": [...], "answer_start": [...]}``,
    starts counted in characters) and perhaps ``is_impossible``. Rows without an answer that are not marked as
    impossible have no target and are not scored.

    Spans are cut out of the context by the characters that their tokens cover and never aligned to words split
    at blanks: that alignment, which older scripts do, breaks Chinese (google-research/xtreme#38), and MLQA's
    official processing skips it there.

    Args:
        max_length: The most tokens of a window, with question and special tokens; a longer context has several.
        stride: Tokens that two windows of a context share, as in transformers. The ``doc_stride`` of XTREME's
            script is the step from one window to the next instead.
        max_query: The most tokens of a question; longer ones are cut (BERT's 64).
        n_best: How many spans of a window are kept.
        max_answer_length: The most tokens of an answer.
        null_threshold: Answer nothing where the first token's score, the least over the windows, is more than
            this above the best span's (SQuAD 2.0); by default there is always an answer.
        languages: See :class:`~xmit.tasks.base.Task`, as for all further arguments.
    """

    tokens_per_example: ClassVar[int] = 300
    decoded_fields: ClassVar[tuple[str, ...]] = ("item", "start", "end", "scores", "null")
    metrics: ClassVar[tuple[str, ...]] = ("f1", "exact_match")
    """What is reported of that which :meth:`score_rows` returns."""

    def __init__(
        self,
        max_length: int = 384,
        stride: int = 128,
        max_query: int = 64,
        n_best: int = 20,
        max_answer_length: int = 30,
        null_threshold: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(max_length=max_length, **kwargs)
        for name, value, least in (
            ("stride", stride, 0),
            ("max_query", max_query, 1),
            ("n_best", n_best, 1),
            ("max_answer_length", max_answer_length, 1),
        ):
            if value < least:
                raise ConfigError(f"task {self.name!r}: {name} is {value}, it must be at least {least}")
        self.stride, self.max_query, self.n_best = stride, max_query, n_best
        self.max_answer_length, self.null_threshold = max_answer_length, null_threshold

    @abstractmethod
    def score_answers(self, language: str, answers: dict[str, str], gold: dict[str, list[str]]) -> Mapping[str, Any]:
        """Score one language by the data set's official rules.

        Args:
            language: An xmit language code.
            answers: The answer to each question, by id.
            gold: All right answers to each question, by id; none where it is impossible to answer.

        Returns:
            At least ``exact_match`` and ``f1``, each between 0 and 1; as ``per_item`` the same of each question.
        """

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns."""
        return ("id", "question", "context", "answers")

    @property
    def asked_columns(self) -> tuple[str, ...]:
        """The question."""
        return ("question",)

    def head_spec(self) -> HeadSpec:
        """Start and end scores for every token."""
        return HeadSpec("span")

    def check_rows(self, table: datasets.Dataset, where: str) -> None:
        """Refuse rows whose answers are not lists of texts and starts of one length, or lack the context."""
        for key, context, answers in zip(table["id"][:], table["context"][:], table["answers"][:], strict=True):
            if (
                not isinstance(context, str)
                or not isinstance(answers, dict)
                or not {"text", "answer_start"} <= set(answers)
            ):
                raise DataError(
                    f"{where}: example {key!r} needs a context and answers as {{'text': [...], 'answer_start': [...]}}"
                )
            if len(answers["text"]) != len(answers["answer_start"]):
                raise DataError(f"{where}: example {key!r} has not one answer_start for each answer text")

    # -- windows -------------------------------------------------------------------------------------------

    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise questions and each distinct context once, and lay windows over the contexts.

        Returns:
            Items are windows; ids and languages stand for examples. ``extra`` has by window ``example``, ``begin``
            (its first token in the context), ``first`` and ``stop`` (the context's places in the window); by
            example ``context``, ``gold``; by context its ``texts``, and ``offsets`` of its tokens in characters.
        """
        assert self.tokenizer is not None
        numbers: dict[str, int] = {}
        context = [numbers.setdefault(text, len(numbers)) for text in table["context"][:]]
        texts = list(numbers)
        tokens, offsets = tokenize(self.tokenizer, texts)
        queries, _ = tokenize(self.tokenizer, table["question"][:])
        before, between, after = pair_template(self.tokenizer)
        impossible = table["is_impossible"][:] if "is_impossible" in table.column_names else [False] * len(table)
        sequences: list[npt.NDArray[np.int32]] = []
        windows: list[tuple[int, int, int, int]] = []
        labels: list[tuple[int, int]] = []
        gold: list[list[str] | None] = []
        misplaced = 0
        for example, answers in enumerate(table["answers"][:]):
            query = queries[example][: self.max_query]
            words, places = tokens[context[example]], offsets[context[example]]
            head = np.concatenate([before, query, between])
            room = self.max_length - len(head) - len(after)
            if room <= self.stride:
                raise ConfigError(
                    f"task {self.name!r}: max_length {self.max_length} leaves {room} tokens for the context beside a "
                    f"question of {len(query)}, no more than the stride of {self.stride}: raise max_length or lower "
                    f"stride or max_query"
                )
            gold.append([] if impossible[example] else [text for text in answers["text"] if text] or None)
            found = None if impossible[example] else answer_tokens(texts[context[example]], answers, places)
            wrong = found is None and not impossible[example] and gold[-1] is not None
            misplaced += wrong
            for begin, stop in spans_of(len(words), room, self.stride):
                sequences.append(np.concatenate([head, words[begin:stop], after]))
                windows.append((example, begin, len(head), len(head) + stop - begin))
                label = (IGNORED, IGNORED) if wrong else (CLS, CLS)
                if found and begin <= found[0] and found[1] < stop:
                    label = (found[0] - begin + len(head), found[1] - begin + len(head))
                labels.append(label)
        if misplaced:
            warnings.warn(
                f"task {self.name!r}: the answers of {misplaced} of {len(table)} examples are not in the context at "
                f"their answer_start: no loss is computed on them",
                stacklevel=2,
            )
        columns = np.asarray(windows, dtype=np.int64).T
        ends = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum([len(s) for s in sequences])])
        return Examples(
            ids=[str(i) for i in table["id"][:]],
            languages=table["language"][:],
            text={"text": Ragged(np.concatenate(sequences), ends)},
            labels=torch.tensor(labels, dtype=torch.int64),
            extra={
                **dict(zip(("example", "begin", "first", "stop"), columns, strict=True)),
                "context": context,
                "gold": gold,
                "texts": texts,
                "offsets": offsets,
            },
        )

    def collate(self, examples: Examples, items: Sequence[int]) -> Batch:
        """As for every task, and ``context (B, 2)``: where a window's context starts, and where it has ended."""
        batch = super().collate(examples, items)
        rows = np.asarray(items, dtype=np.int64)
        bounds = np.stack([examples.extra["first"][rows], examples.extra["stop"][rows]], axis=1)
        batch["context"] = torch.from_numpy(bounds)
        return batch

    def for_workers(self, split: str) -> Self:
        """As every task's, without the contexts, which only answers are cut out of."""
        sent = super().for_workers(split)
        extra = sent._examples[split].extra
        sent._examples[split].extra = {name: extra[name] for name in ("first", "stop")}
        return sent

    # -- answers -------------------------------------------------------------------------------------------

    def decode(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The best spans of each window, ``(B, n_best)``, and the first token's score ``null (B,)``."""
        start, end = outputs["start"].float(), outputs["end"].float()
        first, last, scores = best_spans(start, end, batch["context"], self.n_best, self.max_answer_length)
        return {
            "item": batch["item"],
            "start": first.int(),
            "end": last.int(),
            "scores": scores,
            "null": start[:, CLS] + end[:, CLS],
        }

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """The best answer of each example over its windows.

        Returns:
            Rows with the answer's text as ``prediction``, in ``scores`` the best span's score and the least of
            the first tokens', and as ``target`` the right answers as a JSON list: empty where it is impossible to
            answer, and None where the data do not say. ``answer`` is the prediction without ``null_threshold``.
        """
        import pandas as pd

        examples = self.examples(split)
        extra, items = examples.extra, decoded["item"].numpy()
        windows = extra["example"][items]
        null = np.full(len(examples.ids), np.inf)
        np.minimum.at(null, windows, decoded["null"].numpy().astype(np.float64))
        shift = (extra["begin"] - extra["first"])[items][:, None]
        width = decoded["scores"].shape[1]
        scores = decoded["scores"].numpy().ravel()
        spans = np.stack([(decoded[side].numpy() + shift).ravel() for side in ("start", "end")], axis=1)
        owner = np.repeat(windows, width)
        order = np.lexsort((-scores, owner))  # stable: of equals the first window's
        order = order[scores[order] > -np.inf]
        begins = np.searchsorted(owner[order], np.arange(len(examples.ids) + 1))
        rows: list[dict[str, Any]] = []
        for example in np.unique(windows).tolist():
            text, best = "", -np.inf
            number = extra["context"][example]
            for candidate in order[begins[example] : begins[example + 1]]:
                first, last = spans[candidate]
                text = cut(extra["texts"][number], extra["offsets"][number], int(first), int(last))
                if text:  # a span of blanks is no answer
                    best = float(scores[candidate])
                    break
            silent = self.null_threshold is not None and null[example] - best > self.null_threshold
            gold = extra["gold"][example]
            rows.append(
                {
                    "language": examples.languages[example],
                    "id": examples.ids[example],
                    "prediction": "" if silent else text,
                    "scores": np.asarray([best, null[example]], dtype=np.float32),
                    "target": None if gold is None else json.dumps(gold, ensure_ascii=False),
                    "answer": text,
                }
            )
        return pd.DataFrame(rows)

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """The ``metrics`` of each language; examples without a target are left out."""
        scores = []
        for language, rows in predictions.groupby("language", sort=False):
            known = rows[rows["target"].notna()]
            gold = {key: json.loads(target) for key, target in zip(known["id"], known["target"], strict=True)}
            values = self.score_rows(str(language), known, gold) if gold else {}
            why = "no example is of this kind" if gold else "no example has a target"
            for metric in self.metrics:
                value = float(values.get(metric, np.nan))
                scores.append(Score(str(language), metric, value, len(gold), why if np.isnan(value) else ""))
        return scores

    def score_rows(self, language: str, rows: pd.DataFrame, gold: dict[str, list[str]]) -> Mapping[str, Any]:
        """The ``metrics`` of one language from its prediction rows that have a target, see :meth:`score_answers`."""
        return self.score_answers(language, dict(zip(rows["id"], rows["prediction"], strict=True)), gold)

    def item_scores(self, predictions: pd.DataFrame) -> npt.NDArray[np.float64]:
        """The main score of each answer, where :meth:`score_answers` gives it ``per_item`` and there is a target."""
        out = np.full(len(predictions), np.nan)
        known = predictions["target"].notna().to_numpy()
        for language, rows in predictions.groupby("language", sort=False).indices.items():
            kept = rows[known[rows]]
            part = predictions.iloc[kept]
            gold = {key: json.loads(target) for key, target in zip(part["id"], part["target"], strict=True)}
            answers = dict(zip(part["id"], part["prediction"], strict=True))
            per_item = self.score_answers(str(language), answers, gold).get("per_item", {}) if gold else {}
            out[kept] = [per_item.get(key, {}).get(self.metadata.main_score, np.nan) for key in part["id"]]
        return out

    def evaluate(self, predictions: pd.DataFrame) -> list[Score]:
        """The scores, and of parallel examples how alike the answers score in all languages."""
        scores = self.score(predictions)
        if self.metadata.parallel and predictions["language"].nunique() > 1:
            # answers in two languages are never the same string
            worth = predictions["item_score"] if "item_score" in predictions else self.item_scores(predictions)
            scores += value_consistency(predictions.assign(value=worth), self.source_language)
        return scores
