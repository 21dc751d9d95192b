"""Masked language modelling over plain text in many languages."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from xmit.data.batching import BatchStream, LanguageBatches, Ragged
from xmit.data.tokens import tokenised
from xmit.errors import ConfigError, DataError
from xmit.tasks.base import Batch, Examples, HeadSpec, Score, Task
from xmit.tasks.datamodule import draw_rows
from xmit.tasks.examples import IGNORED

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from transformers import PreTrainedTokenizerBase


class MaskedLMTask(Task):
    """Predict masked tokens of running text. Subclass it and implement :meth:`load_documents`.

    A language's documents are tokenised once, joined by ``</s>`` and cut into blocks of ``max_length`` tokens, each
    within ``<s> … </s>``; only the last block of a language is shorter. Of its documents, repeated ones counted once,
    those with the lowest hashes of their text are held out: one ``held_out`` share for validation and one for the test,
    at least one document each, so no document is in two splits.

    Text has no labels to keep from a model, so training, validation and test are in all ``languages``, and examples
    of ``train_examples`` and ``validation_examples`` are documents. Training draws languages with
    ``p ∝ n ** alpha`` over their ``n`` blocks, see :class:`~xmit.data.batching.LanguageBatches`.

    Masking is BERT's (Devlin et al. 2019) as in transformers' ``DataCollatorForLanguageModeling``: 15 % of the tokens
    are predicted, and of these 80 % become ``<mask>``, 10 % a random token, 10 % stay. No special token is predicted,
    ``<unk>`` and a ``<mask>`` in the text among them. Unlike there, no random token is special, and every block has at
    least one token to predict. Training masks a block anew with each batch it is in; scoring always alike.

    Scored are ``accuracy``, the share of masked tokens that are the best guess, and ``perplexity``, the exponential
    of the mean cross-entropy.

    Args:
        languages: Languages to train on and to score; all of the metadata by default. With a ``data_dir`` any language
            that xmit knows.
        source_language: The one of them whose validation chooses the checkpoint: English by default, or the first
            where English is not among them.
        alpha: The exponent; XLM-R's 0.3 by default.
        documents: The most documents of each language, drawn once and alike for every seed; None takes all. Where it
            cuts most languages to the same number it evens them out more than ``alpha`` does.
        held_out: Share of a language's documents for validation, and again for the test.
        mask_rate: Share of tokens that are predicted.
        max_length: Tokens of a block.
        **kwargs: See :class:`~xmit.tasks.base.Task`; ``batching`` has no effect on blocks of one length.
    """

    tokens_per_example: ClassVar[int] = 256
    decoded_fields: ClassVar[tuple[str, ...]] = ("item", "masked", "right", "nats")

    def __init__(
        self,
        languages: list[str] | None = None,
        source_language: str | None = None,
        alpha: float = 0.3,
        documents: int | None = 5000,
        held_out: float = 0.01,
        mask_rate: float = 0.15,
        max_length: int = 256,
        **kwargs: Any,
    ) -> None:
        super().__init__(max_length=max_length, **kwargs)
        for name, value, least, most in (("held_out", held_out, 0, 0.4), ("mask_rate", mask_rate, 0, 1)):
            if not least < value <= most:
                raise ConfigError(f"data.{name} must lie above {least} and at most at {most}, not at {value!r}")
        for name, number in (("max_length", max_length), ("documents", documents)):
            if number is not None and number < 3:  # <s>, a token and </s>; a document for each split
                raise ConfigError(f"data.{name} must be at least 3, not {number!r}")
        if self.validation_file:
            raise ConfigError(f"task {self.name!r}: validation is held out from the text; leave out validation_file")
        if languages:
            self.languages = list(dict.fromkeys(self.resolve_language(code, source=True) for code in languages))
        default = self.source_language if self.source_language in self.languages else self.languages[0]
        chosen = self.resolve_language(source_language, source=True) if source_language else default
        if chosen not in self.languages:
            raise ConfigError(
                f"task {self.name!r}: the source language {chosen!r} is not among its languages "
                f"({', '.join(self.languages)}): choose one of them"
            )
        self.source_language, self.source_languages = chosen, [chosen]
        self.alpha, self.documents, self.held_out, self.mask_rate = alpha, documents, held_out, mask_rate
        self._words: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._special: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)

    @abstractmethod
    def load_documents(self, language: str) -> datasets.Dataset:
        """Load all documents of a language, in a column ``text``; ``documents`` and the splits are seen to here."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The canonical columns."""
        return ("id", "text")

    def load_split(self, split: str, language: str) -> datasets.Dataset:
        """The documents of a split, without those that were repeated; the ``id`` is a hash of the text.

        Raises:
            DataError: If the language has too few documents for three splits.
        """
        import datasets

        table = self.load_documents(language)
        if self.documents is not None:
            table = draw_rows(table, self.documents, 0)
        texts = {
            hashlib.blake2b(t.encode(), digest_size=16).hexdigest(): t for t in table["text"][:] if t and t.strip()
        }
        n = min(math.ceil(self.held_out * len(texts)), (len(texts) - 1) // 2)
        if n < 1:
            raise DataError(
                f"task {self.name!r}, language {language!r}: {len(texts)} different documents, but training, "
                f"validation and test need at least one each; add text, or separate the documents by blank lines"
            )
        ranked = sorted(texts)
        chosen = set({"validation": ranked[:n], "test": ranked[n : 2 * n], "train": ranked[2 * n :]}[split])
        rows = [(i, text) for i, text in texts.items() if i in chosen]
        return datasets.Dataset.from_dict({"id": [i for i, _ in rows], "text": [text for _, text in rows]})

    def split_languages(self, split: str) -> list[str]:
        """All languages, in every split."""
        return self.languages

    def head_spec(self) -> HeadSpec:
        """The language-model head."""
        return HeadSpec("mlm")

    def bind(self, tokenizer: PreTrainedTokenizerBase, image_spec: Any = None) -> None:
        """Take the tokenizer, and learn which of its tokens are special."""
        super().bind(tokenizer, image_spec)
        if tokenizer.mask_token_id is None:
            raise ConfigError(f"task {self.name!r}: the encoder's tokenizer has no mask token")
        self._special = np.unique(np.asarray(tokenizer.all_special_ids, dtype=np.int64))
        self._words = np.setdiff1d(np.arange(len(tokenizer)), self._special)

    def encode(self, table: datasets.Dataset) -> Examples:
        """Tokenise the documents and cut them into blocks, every language by itself."""
        blocks, languages, ids = [], [], []
        start = 0
        for language, rows in groupby(table["language"][:]):
            stop = start + sum(1 for _ in rows)
            own = self._blocks(table[start:stop]["text"])
            start = stop
            blocks += own
            languages += [language] * len(own)
            ids += [f"{language}-{n}" for n in range(len(own))]
        lengths = np.fromiter(map(len, blocks), dtype=np.int64, count=len(blocks))
        ragged = Ragged(np.concatenate(blocks), np.concatenate([[0], np.cumsum(lengths)]))
        return Examples(ids=ids, languages=languages, text={"text": ragged})

    def _blocks(self, documents: list[str]) -> list[npt.NDArray[np.int32]]:
        """Blocks of token ids out of one language's documents."""
        assert self.tokenizer is not None
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        own = tokenised(self.tokenizer, documents, add_special_tokens=False, verbose=False)
        stream = np.insert(own.flat, own.offsets[1:-1], eos)  # between documents, and not after the last
        size = self.max_length - 2
        ends = np.asarray([bos], dtype=np.int32), np.asarray([eos], dtype=np.int32)
        return [np.concatenate([ends[0], stream[i : i + size], ends[1]]) for i in range(0, len(stream), size)]

    def train_batches(self, drop_last: bool = False) -> BatchStream:
        """Random batches over languages; all of them are full."""
        examples, seed = self.examples("train"), torch.initial_seed() % 2**63
        examples.extra["seed"] = seed
        return LanguageBatches(examples.languages, self.batch_size, self.alpha, seed)

    def collate(self, examples: Examples, items: Sequence[int]) -> Batch:
        """Build a batch and mask it, with ``n_masked`` tokens an item: in training by the seed and the batch's items.

        Else by each item alone.

        With batches of a single block, a block is thus always masked alike.
        """
        assert self.tokenizer is not None
        batch = super().collate(examples, items)
        ids = batch["text"]["input_ids"].numpy()
        if "seed" in examples.extra:
            draws = np.random.default_rng([examples.extra["seed"], *items]).random((*ids.shape, 3))
        else:  # token by token, so that a block's are the same whatever else is in the batch, and however long
            draws = np.stack([np.random.default_rng(i).random((ids.shape[1], 3)) for i in items])
        chance, kind, word = np.moveaxis(draws, -1, 0)
        special = np.isin(ids, self._special)
        chance[special] = np.inf
        chosen = (chance <= np.maximum(self.mask_rate, chance.min(1, keepdims=True))) & ~special
        batch["labels"] = torch.from_numpy(np.where(chosen, ids, IGNORED))
        batch["n_masked"] = chosen.sum(1).tolist()  # on the host, where shapes are decided
        ids[chosen & (kind < 0.8)] = self.tokenizer.mask_token_id
        replaced = chosen & (kind >= 0.8) & (kind < 0.9)
        ids[replaced] = self._words[(word[replaced] * len(self._words)).astype(np.int64)]
        return batch

    def decode(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The sums of each block."""
        return {"item": batch["item"], **{name: outputs[name] for name in ("masked", "right", "nats")}}

    def predictions(self, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
        """One row a block: ``scores`` are its masked tokens, those guessed right, and the summed cross-entropy."""
        import pandas as pd

        examples, items = self.examples(split), decoded["item"].tolist()
        sums = torch.stack([decoded[name].double() for name in ("masked", "right", "nats")], dim=1)
        return pd.DataFrame(
            {
                "language": [examples.languages[i] for i in items],
                "id": [examples.ids[i] for i in items],
                "prediction": None,
                "scores": list(sums.numpy()),
                "target": None,
            }
        )

    def score(self, predictions: pd.DataFrame) -> list[Score]:
        """Accuracy and perplexity of each language."""
        scores = []
        for language, rows in predictions.groupby("language", sort=False):
            masked, right, nats = np.stack(rows["scores"].to_list()).sum(0)
            n, reason = int(masked), "" if masked else "no token to predict"
            mean = nats / masked if n else math.nan
            scores.append(Score(str(language), "accuracy", right / masked if n else math.nan, n, reason))
            scores.append(Score(str(language), "perplexity", math.exp(min(mean, 700.0)), n, reason))
        return scores
