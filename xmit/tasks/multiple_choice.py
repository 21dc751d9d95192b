"""Multiple choice: which of a few continuations or answers fits a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from xmit.data.tokens import tokenised
from xmit.errors import DataError
from xmit.tasks.base import Batch, Examples, HeadSpec, Score, Task
from xmit.tasks.item_scores import accuracy_items, unknown
from xmit.tasks.scoring import accuracy_scores, majority_scores, rankings

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from numpy.typing import NDArray


class MultipleChoiceTask(Task):
    """One of ``num_choices`` texts for a context.

    ``load_split`` returns ``id``, ``context`` (the first segment), ``choices`` (a list of texts, the second
    segments) and ``label``, the index of the right one. Each pair is encoded as ``<s> context </s></s> choice
    </s>`` and gets one score, as in transformers' ``XLMRobertaForMultipleChoice``, so training rows may have
    fewer choices than ``num_choices`` (COPA's two beside Social IQa's three): what is not there gets no
    probability.
    """

    num_choices: int
    """The most choices that a row has."""
    tokens_per_example: ClassVar[int] = 256
    decoded_fields: ClassVar[tuple[str, ...]] = ("item", "prediction", "scores")
    asked_options: ClassVar[str | tuple[str, ...]] = "choices"

    @property
    def columns(self) -> tuple[str, ...]:
        """``id``, ``context``, ``choices`` and ``label``."""
        return ("id", "context", "choices", "label")

    @property
    def asked_columns(self) -> tuple[str, ...]:
        """The context."""
        return ("context",)

    def head_spec(self) -> HeadSpec:
        """One score for each choice."""
        return HeadSpec("choice", {"num_choices": self.num_choices})

    def check_rows(self, table: datasets.Dataset, where: str) -> None:
        """Refuse rows with one choice or too many, and labels that name no choice."""
        for row, (choices, label) in enumerate(zip(table["choices"][:], table["label"][:], strict=True)):
            if not 2 <= len(choices) <= self.num_choices:
                raise DataError(
                    f"{where}: example {table['id'][row]!r} has {len(choices)} choices, not 2 to {self.num_choices}"
                )
            if not 0 <= label < len(choices):
                raise DataError(
                    f"{where}: the label of example {table['id'][row]!r} is {label}, not one of 0 to {len(choices) - 1}"
                )

    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise each choice together with the context; the longer of the two is cut first."""
        assert self.tokenizer is not None
        contexts, choices = table["context"][:], table["choices"][:]
        text = {}
        for k in range(self.num_choices):
            pairs = [(c, own[k]) if k < len(own) else ("", "") for c, own in zip(contexts, choices, strict=True)]
            first, second = [p[0] for p in pairs], [p[1] for p in pairs]
            settings: dict[str, Any] = {"truncation": True, "max_length": self.max_length}
            text[f"choice_{k}"] = tokenised(self.tokenizer, (first, second), **settings)
        return Examples(
            ids=[str(i) for i in table["id"][:]],
            languages=table["language"][:],
            text=text,
            labels=torch.tensor(table["label"][:]),
            extra={"n_choices": torch.tensor([len(own) for own in choices])},
        )

    def collate(self, examples: Examples, items: Sequence[int]) -> Batch:
        """As all tasks do, with ``n_choices (B,)`` where a row has fewer choices than the task."""
        batch = super().collate(examples, items)
        n_choices = examples.extra["n_choices"][torch.as_tensor(items)]
        if (n_choices < self.num_choices).any():
            batch["n_choices"] = n_choices
        return batch

    def decode(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The best choice, and the probabilities of all."""
        scores = outputs["logits"].float().softmax(-1)
        return {"item": batch["item"], "prediction": scores.argmax(-1), "scores": scores}

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """The choices predicted and expected, counted from ``"0"``, and the probability of each that a row has."""
        import pandas as pd

        examples, items = self.examples(split), decoded["item"].tolist()
        assert examples.labels is not None
        names = np.asarray([str(k) for k in range(self.num_choices)], dtype=object)
        n_choices = examples.extra["n_choices"][items].tolist()
        return pd.DataFrame(
            {
                "language": [examples.languages[i] for i in items],
                "id": [examples.ids[i] for i in items],
                "prediction": names[decoded["prediction"].numpy()],
                "scores": [own[:n] for own, n in zip(decoded["scores"].numpy(), n_choices, strict=True)],
                "target": names[examples.labels[items].numpy()],
            }
        )

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """Accuracy of each language, and that of the most frequent position."""
        return accuracy_scores(predictions) + majority_scores(predictions)

    def item_scores(self, predictions: pd.DataFrame) -> NDArray[np.float64]:
        """Right or wrong."""
        return accuracy_items(predictions) if self.metadata.main_score == "accuracy" else unknown(predictions)

    def ranking(self, predictions: pd.DataFrame) -> Tensor | None:
        """The choices, which are translations of each other, by probability."""
        return rankings(predictions["scores"])


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

    check_texts(ids, *contexts, *choices)
    rows = [list(own) for own in zip(*choices, strict=True)]
    first = [" ".join(own) for own in zip(*contexts, strict=True)]
    columns = {"id": [str(i) for i in ids], "context": first, "choices": rows, "label": list(labels)}
    return datasets.Dataset.from_dict(columns)


def check_texts(ids: Sequence[Any], *columns: Sequence[Any]) -> None:
    """Refuse the first cell that is no text, such as a missing one."""
    for column in columns:
        for row, text in enumerate(column):
            if not isinstance(text, str):
                raise DataError(f"example {ids[row]!r} has {text!r} where text belongs; mend that row")


def by_place(rows: Sequence[Sequence[str]], n: int, where: str) -> list[list[str]]:
    """Turn a list of choices a row into a list of rows a choice, as :func:`choice_table` wants them.

    Raises:
        DataError: For the first row that has not ``n`` choices, counted from 1.
    """
    for row, own in enumerate(rows, 1):
        if len(own) != n:
            raise DataError(f"{where}: row {row} has {len(own)} choices instead of {n}; mend that row")
    return [[own[k] for own in rows] for k in range(n)]


def numbered(*parts: Sequence[Any]) -> list[str]:
    """Ids made of several columns; one that occurs again has its number added (``link#1``, ``link#1#2``)."""
    seen: Counter[str] = Counter()
    ids = []
    for own in zip(*parts, strict=True):
        name = "#".join(str(part) for part in own)
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return ids


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
