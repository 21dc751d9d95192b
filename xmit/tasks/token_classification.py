"""Token classification: a tag for every word, such as its part of speech or its place in a name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xmit.data.batching import Ragged
from xmit.data.words import Windows, flatten_lists, split_sentences
from xmit.errors import ConfigError, DataError
from xmit.metrics.span_f1 import span_f1
from xmit.tasks.base import Batch, Examples, HeadSpec, Score, Task
from xmit.tasks.examples import IGNORED
from xmit.tasks.item_scores import span_f1_items, unknown
from xmit.tasks.scoring import MAJORITY, tag_consistency

if TYPE_CHECKING:
    import datasets
    import pandas as pd


def sentences(columns: dict[str, list[Any]]) -> datasets.Dataset:
    """Make a table of the canonical columns.

    Args:
        columns: ``id``, ``tokens`` and ``tags``, as :func:`xmit.data.readers.read_conll` returns them; the tags of a
            sentence are None where they are not known.
    """
    import datasets

    text, words = datasets.Value("string"), datasets.List(datasets.Value("string"))
    rows = {**columns, "id": [str(i) for i in columns["id"]]}
    return datasets.Dataset.from_dict(rows, features=datasets.Features({"id": text, "tokens": words, "tags": words}))


class TokenClassificationTask(Task):
    """One tag for every word of a sentence.

    ``load_split`` returns ``id``, ``tokens``, the words of a sentence, and ``tags``, as many names of
    ``label_names``, or None where they are not known, as in XTREME's test files; :func:`sentences` makes such a
    table of what the readers of :mod:`xmit.data.readers` return.

    The rules are XTREME's (Hu et al. 2020; ``utils_preprocess.py`` and ``third_party/utils_tag.py``): every word is
    tokenised on its own and the tag stands at its first subword; a word without subwords, such as a lone
    zero-width non-joiner, or with more than fit a window, is an unknown one; a sentence of more than
    ``max_length - 3`` subwords is split before the first word that does not fit, and what is predicted for its
    windows is joined again, so that no word goes without a tag. A window counts as an example in ``batch_size``.

    Scores: ``f1``, ``precision`` and ``recall`` of spans by the official rule, see :mod:`xmit.metrics.span_f1`, even
    where tags are no spans, which is XTREME's rule for parts of speech; ``strict_f1``, the F1 of well-formed spans
    only, where tags are BIO; ``accuracy``, the share of words with the right tag; ``majority``, what the most
    frequent tag alone would get of it. ``n`` is the number of sentences.

    Args:
        languages: See :class:`~xmit.tasks.base.Task`, as for all arguments.
    """

    label_names: ClassVar[tuple[str, ...]]
    parallel_ids: ClassVar[str | None] = None
    """How the ids begin of those sentences that are parallel, where not all are."""
    tokens_per_example: ClassVar[int] = 40
    decoded_fields: ClassVar[tuple[str, ...]] = ("item", "prediction")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.max_length < 4:
            raise ConfigError(f"max_length {self.max_length} leaves no room for a word: give 4 or more")

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns."""
        return ("id", "tokens", "tags")

    def head_spec(self) -> HeadSpec:
        """A tag for every token."""
        return HeadSpec("token", {"num_labels": len(self.label_names)})

    def _check(self, table: datasets.Dataset, split: str, language: str) -> None:
        super()._check(table, split, language)
        if split != "test" and any(tags is None for tags in table["tags"][:]):
            raise DataError(
                f"task {self.name!r}, split {split!r}, language {language!r}: sentences without tags; "
                "only test sentences may lack them"
            )

    def check_rows(self, table: datasets.Dataset, where: str) -> None:
        """Refuse sentences without words, tags that do not match the words in number, and unknown tags."""
        ids = table["id"][:]
        words, n_words = flatten_lists(table, "tokens")
        tags, n_tags = flatten_lists(table, "tags")
        for bad, what in (
            (np.flatnonzero(n_words <= 0), "has no words"),
            (np.flatnonzero((n_tags >= 0) & (n_tags != n_words)), "has {n_tags} tags for {n_words} words"),
        ):
            if len(bad):
                i = int(bad[0])
                problem = what.format(n_tags=n_tags[i], n_words=n_words[i])
                raise DataError(f"{where}: sentence {ids[i]!r} {problem}")
        for values, lengths, what in ((words.codes, n_words, "word"), (tags.codes, n_tags, "tag")):
            if (values < 0).any():
                i = int(np.repeat(np.arange(len(ids)), np.maximum(lengths, 0))[np.flatnonzero(values < 0)[0]])
                raise DataError(f"{where}: sentence {ids[i]!r} has a {what} that is null")
        unknown = [i for i, name in enumerate(tags.names) if name not in self.label_names]
        if unknown:
            at = int(np.flatnonzero(np.isin(tags.codes, unknown))[0])
            i = int(np.repeat(np.arange(len(ids)), np.maximum(n_tags, 0))[at])
            raise DataError(
                f"{where}: sentence {ids[i]!r} has the tag {tags.names[tags.codes[at]]!r}, "
                f"not one of {', '.join(self.label_names)}"
            )

    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise word by word and split what is too long."""
        assert self.tokenizer is not None
        words, n_words = flatten_lists(table, "tokens")
        windows = split_sentences(words, n_words, self.tokenizer, self.max_length)
        gold = self._gold(table, n_words)
        labels = np.full(len(windows.text.flat), IGNORED, dtype=np.int32)
        labels[windows.first] = gold
        return Examples(
            ids=[str(i) for i in table["id"][:]],
            languages=table["language"][:],
            text={"text": windows.text},
            extra={"windows": windows, "labels": Ragged(labels, windows.text.offsets), "gold": gold},
        )

    def _gold(self, table: datasets.Dataset, n_words: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """The label of every word, ``(words,)``; IGNORED where a sentence has none."""
        tags, n_tags = flatten_lists(table, "tags")
        gold = np.full(int(n_words.sum()), IGNORED, dtype=np.int32)
        codes = np.asarray([self.label_names.index(name) for name in tags.names], dtype=np.int32)
        gold[np.repeat(n_tags >= 0, n_words)] = codes[tags.codes]
        return gold

    def collate(self, examples: Examples, items: Sequence[int]) -> Batch:
        """Add ``labels`` ``(B, L)``, -100 but at first subwords, and where those are, ``first`` ``(B, words)``.

        ``first`` is filled up with -1 to the most words of any window, so that predictions of all batches stack.
        """
        batch = super().collate(examples, items)
        windows: Windows = examples.extra["windows"]
        batch["labels"] = examples.extra["labels"].pad(items, IGNORED)["input_ids"]
        first = torch.full((len(items), int(windows.places.lengths.max())), -1)
        places = windows.places.pad(items, -1)["input_ids"]
        first[:, : places.shape[1]] = places
        batch["first"] = first
        return batch

    def decode(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The best label of each word ``(B, words)``, -1 where a window has no more words."""
        first = batch["first"]
        best = outputs["logits"].argmax(-1).gather(1, first.clamp(min=0))
        return {"item": batch["item"], "prediction": best.masked_fill(first < 0, -1).int()}

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """One row a sentence, with lists of tags predicted and expected; None where the latter are not known.

        A sentence is left out where a window of it was not predicted, as under ``limit_test_batches``.
        """
        import pandas as pd

        examples = self.examples(split)
        windows: Windows = examples.extra["windows"]
        names = np.asarray(self.label_names, dtype=object)
        predicted = np.full(len(examples.extra["gold"]), -1, dtype=np.int64)
        places, items = windows.places, decoded["item"].numpy()
        rows = decoded["prediction"].numpy()
        filled = rows >= 0
        # the words of a window follow each other in the flat array of all words
        predicted[(places.offsets[items][:, None] + np.arange(rows.shape[1]))[filled]] = rows[filled]
        columns: dict[str, list[Any]] = {key: [] for key in ("language", "id", "prediction", "scores", "target")}
        for i, (start, end) in enumerate(zip(windows.sentences[:-1], windows.sentences[1:], strict=True)):
            if (predicted[start:end] < 0).any():
                continue
            gold = examples.extra["gold"][start:end]
            columns["language"].append(examples.languages[i])
            columns["id"].append(examples.ids[i])
            columns["prediction"].append(names[predicted[start:end]].tolist())
            columns["scores"].append(None)
            columns["target"].append(None if gold[0] == IGNORED else names[gold].tolist())
        return pd.DataFrame(columns)

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """F1 of spans and accuracy of words, every language apart."""
        scores = []
        for language, rows in predictions.groupby("language", sort=False):
            known = rows[[target is not None for target in rows["target"]]]
            pred, gold = list(known["prediction"]), list(known["target"])
            values = dict(span_f1(pred, gold, "official"))
            if _are_bio(self.label_names):
                values["strict_f1"] = span_f1(pred, gold, "strict")["f1"]
            words = Counter(chain.from_iterable(gold))
            values[MAJORITY] = max(words.values(), default=0) / max(words.total(), 1)
            for metric, value in values.items():
                # f1 of nothing is 0 by the official rule, but where nothing is known there is nothing to say
                reason = "" if len(known) else "no example has a target"
                scores.append(Score(str(language), metric, math.nan if reason else value, len(known), reason))
        return scores

    def item_scores(self, predictions: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Each sentence's part in F1 of spans."""
        return span_f1_items(predictions) if self.metadata.main_score == "f1" else unknown(predictions)

    def evaluate(self, predictions: pd.DataFrame) -> list[Score]:
        """The scores, and how alike the tags of a sentence and its translations are, where it has any."""
        scores = self.score(predictions)
        rows = predictions
        if not self.metadata.parallel:
            rows = rows[[self.parallel_ids is not None and i.startswith(self.parallel_ids) for i in rows["id"]]]
        if rows["language"].nunique() > 1:
            scores += tag_consistency(rows, self.source_language, bio=_are_bio(self.label_names))
        return scores


def word_scores(predictions: pd.DataFrame, wrong: str) -> list[Score]:
    """Accuracy over the words of each language, and what the most frequent tag alone would get of it.

    Args:
        predictions: Prediction rows, all with targets.
        wrong: A tag that stands for all rare ones, so that predicting it is never right.
    """
    scores = []
    for language, rows in predictions.groupby("language", sort=False):
        pairs = Counter(zip(chain.from_iterable(rows["prediction"]), chain.from_iterable(rows["target"]), strict=True))
        right = sum(n for (predicted, tag), n in pairs.items() if predicted == tag != wrong)
        tags: Counter[str] = Counter()
        for (_, tag), n in pairs.items():
            tags[tag] += n if tag != wrong else 0
        values = {"accuracy": right, MAJORITY: max(tags.values())}
        scores += [Score(str(language), name, n / pairs.total(), len(rows)) for name, n in values.items()]
    return scores


def _are_bio(tags: Sequence[str]) -> bool:
    return all(tag == "O" or tag[:2] in ("B-", "I-") for tag in tags)
