"""Heads: what stands on the encoder for a task. A task names its head by kind, see ``HeadSpec``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xmit.errors import ConfigError, did_you_mean
from xmit.tasks.examples import IGNORED

if TYPE_CHECKING:
    from transformers import XLMRobertaModel


@dataclass
class Encoded:
    """What the encoder gives for one side of a batch.

    Args:
        hidden: Hidden states ``(B, V + L, H)``, the ``V`` visual tokens first.
        mask: 1 where there is a token ``(B, V + L)``.
        n_visual: ``V``; 0 for text alone.
    """

    hidden: Tensor
    mask: Tensor
    n_visual: int = 0

    def pool(self, pooling: Literal["cls", "mean"]) -> Tensor:
        """One vector an item ``(B, H)``: the first text token, or the mean of all tokens."""
        if pooling == "cls":
            return self.hidden[:, self.n_visual]
        weights = self.mask.unsqueeze(-1).to(self.hidden.dtype)
        return (self.hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


Side = dict[str, Any]
"""One text of each item: ``input_ids`` and ``attention_mask`` ``(B, L)``, and perhaps ``image`` and ``lengths``."""


class Encode(Protocol):
    """Encodes one side of a batch, or several in one pass; ``layer`` counts hidden states, 0 being the embeddings.

    None is the last layer. With ``first`` only the first text token's state is given, at less cost.
    """

    @overload
    def __call__(self, sides: Side, layer: int | None = None, first: bool = False) -> Encoded: ...

    @overload
    def __call__(self, sides: Sequence[Side], layer: int | None = None, first: bool = False) -> list[Encoded]: ...

    def __call__(
        self, sides: Side | Sequence[Side], layer: int | None = None, first: bool = False
    ) -> Encoded | list[Encoded]:
        """Return the hidden states, one for each side."""
        ...


class Head(nn.Module, ABC):
    """Base of the heads.

    Args:
        hidden_size: Width of the encoder.
        n_layers: Depth of the encoder.
    """

    shares_words: ClassVar[bool] = False
    """Whether it computes with the encoder's word embeddings, so that every row of them gets a gradient."""
    compares: ClassVar[bool] = False
    """Whether the loss compares the items of a batch with each other, so that the batch cannot be cut."""

    def __init__(self, hidden_size: int, n_layers: int) -> None:
        super().__init__()
        self.hidden_size, self.n_layers = hidden_size, n_layers

    def attach(self, encoder: XLMRobertaModel, source: str) -> None:
        """Take from the encoder what the head shares with it; most heads share nothing.

        Args:
            encoder: The text encoder.
            source: Where it was loaded from.
        """

    @abstractmethod
    def forward(self, encode: Encode, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Outputs for a batch by name, with ``loss`` (a scalar) where the head can be trained."""

    def terms(self, batch: dict[str, Any]) -> Tensor | int:
        """Of how many terms the loss of a batch is the mean: by default one an item."""
        return len(batch["item"])


class ClassificationHead(Head):
    """XLM-R's classification head: dropout, dense, tanh, dropout, projection; cross-entropy.

    Args:
        hidden_size: Width of the encoder.
        n_layers: Depth of the encoder.
        num_labels: How many labels.
        pooling: What is read: the first token, or the mean.
        dropout: Dropout before each layer.
    """

    def __init__(
        self,
        hidden_size: int,
        n_layers: int,
        num_labels: int,
        pooling: Literal["cls", "mean"] = "cls",
        dropout: float = 0.1,
    ) -> None:
        super().__init__(hidden_size, n_layers)
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.projection = nn.Linear(hidden_size, num_labels)
        initialise(self.dense, self.projection)

    def forward(self, encode: Encode, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``logits (B, num_labels)`` and ``loss``."""
        pooled = encode(batch["text"], first=self.pooling == "cls").pool(self.pooling)
        logits = self.projection(self.dropout(torch.tanh(self.dense(self.dropout(pooled)))))
        outputs = {"logits": logits}
        if "labels" in batch:
            outputs["loss"] = F.cross_entropy(logits.float(), batch["labels"])
        return outputs


class ContrastiveHead(Head):
    """Two sides in one space; symmetric InfoNCE over the batch (CLIP, Radford et al. 2021).

    Items of the same group are positives of each other, so a caption that occurs twice in a batch is no
    false negative: the target is uniform over the group.

    Args:
        hidden_size: Width of the encoder.
        n_layers: Depth of the encoder.
        temperature: Where the learned temperature starts.
    """

    compares = True

    def __init__(self, hidden_size: int, n_layers: int, temperature: float = 0.05) -> None:
        super().__init__(hidden_size, n_layers)
        self.log_scale = nn.Parameter(torch.tensor(1 / temperature).log())

    def forward(self, encode: Encode, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Unit vectors ``caption`` and ``match``, each ``(B, H)``, and ``loss``."""
        sides = encode([batch["caption"], batch["match"]])
        caption, match = (F.normalize(side.pool("mean").float(), dim=-1) for side in sides)
        with full_precision(caption):
            logits = self.log_scale.float().exp().clamp(max=100) * caption @ match.T
        same = (batch["labels"][:, None] == batch["labels"][None, :]).float()
        target = same / same.sum(1, keepdim=True)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        return {"caption": caption, "match": match, "loss": loss}


class EmbeddingHead(Head):
    """Sentence vectors of a hidden layer, nothing to train.

    Args:
        hidden_size: Width of the encoder.
        n_layers: Depth of the encoder.
        layer: Which hidden state, 0 being the embeddings; by default layer 14 of 24 scaled to the encoder's
            depth, as XTREME's retrieval baselines have it.
        pooling: What makes one vector of the tokens.
    """

    def __init__(
        self, hidden_size: int, n_layers: int, layer: int | None = None, pooling: Literal["cls", "mean"] = "mean"
    ) -> None:
        super().__init__(hidden_size, n_layers)
        self.layer = round(14 / 24 * n_layers) if layer is None else _check_layer(layer, n_layers)
        self.pooling = pooling

    def forward(self, encode: Encode, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``vector (B, H)``."""
        encoded = encode(batch["text"], layer=self.layer, first=self.pooling == "cls")
        return {"vector": encoded.pool(self.pooling).float()}


class DualHead(Head):
    """Sentence vectors of queries and candidates by one encoder; softmax over the candidates of the batch.

    As XTREME-R's retrieval baselines have it (``BertForRetrieval`` in google-research/xtreme): the cross-entropy of
    finding a query's candidate among those of the whole batch, by cosine times a scale, in this direction only; the
    baseline's scale is a parameter, but from 100 its learning rate moves it by less than 1. There a candidate that
    occurs twice in a batch is wrong for the other query; here it is left out of that query's softmax. Processes see
    their own candidates alone.

    Args:
        hidden_size: Width of the encoder.
        n_layers: Depth of the encoder.
        layer: Which hidden state, 0 being the embeddings; the last by default.
        pooling: ``pooler``, the first token through XLM-R's pooler, as the baselines; the first token as it is; or
            the mean of all.
        scale: What cosines are multiplied with in the loss.
    """

    compares = True

    def __init__(
        self,
        hidden_size: int,
        n_layers: int,
        layer: int | None = None,
        pooling: Literal["pooler", "cls", "mean"] = "pooler",
        scale: float = 100.0,
    ) -> None:
        super().__init__(hidden_size, n_layers)
        self.layer = _check_layer(layer, n_layers)
        self.pooling, self.scale = pooling, scale
        self.dense = nn.Linear(hidden_size, hidden_size) if pooling == "pooler" else None
        if self.dense is not None:
            initialise(self.dense)

    def vectors(self, encoded: Encoded) -> Tensor:
        """One vector an item ``(B, H)``."""
        pooled = encoded.pool("mean" if self.pooling == "mean" else "cls")
        return (pooled if self.dense is None else torch.tanh(self.dense(pooled))).float()

    def forward(self, encode: Encode, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``vector (B, H)`` of the side ``text``; or ``loss``, if the batch has ``query`` and ``candidate`` instead.

        Items with the same of ``labels (B,)`` have the same candidate.
        """
        options: dict[str, Any] = {"layer": self.layer, "first": self.pooling != "mean"}
        if "query" not in batch:
            return {"vector": self.vectors(encode(batch["text"], **options))}
        sides = encode([batch["query"], batch["candidate"]], **options)
        query, candidate = (F.normalize(self.vectors(side), dim=-1) for side in sides)
        with full_precision(query):
            logits = self.scale * query @ candidate.T
        labels = batch["labels"]
        twice = (labels[:, None] == labels[None, :]).fill_diagonal_(False)
        logits = logits.masked_fill(twice, torch.finfo(logits.dtype).min)
        return {"loss": F.cross_entropy(logits, torch.arange(len(labels), device=logits.device))}


class TokenHead(Head):
    """A label for every token: dropout and a projection; cross-entropy where the label is not -100.

    Args:
        hidden_size: Width of the encoder.
        n_layers: Depth of the encoder.
        num_labels: How many labels.
        dropout: Dropout before the projection.
    """

    def __init__(self, hidden_size: int, n_layers: int, num_labels: int, dropout: float = 0.1) -> None:
        super().__init__(hidden_size, n_layers)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(hidden_size, num_labels)
        initialise(self.projection)

    def forward(self, encode: Encode, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``logits (B, L, num_labels)``, and ``loss`` if the batch has ``labels (B, L)``."""
        encoded = encode(batch["text"])
        logits = self.projection(self.dropout(encoded.hidden[:, encoded.n_visual :]))
        outputs = {"logits": logits}
        if "labels" in batch:
            each = F.cross_entropy(logits.float().flatten(0, 1), batch["labels"].flatten(), reduction="sum")
            outputs["loss"] = each / self.terms(batch).clamp(min=1)
        return outputs

    def terms(self, batch: dict[str, Any]) -> Tensor:
        """The tokens with a label."""
        return labelled(batch["labels"])


class SpanHead(Head):
    """Where an answer starts and ends: a projection to two scores a token; the mean of both cross-entropies.

    Args:
        hidden_size: Width of the encoder.
        n_layers: Depth of the encoder.
    """

    def __init__(self, hidden_size: int, n_layers: int) -> None:
        super().__init__(hidden_size, n_layers)
        self.projection = nn.Linear(hidden_size, 2)
        initialise(self.projection)

    def forward(self, encode: Encode, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``start`` and ``end`` ``(B, L)``, and ``loss`` if the batch has ``labels (B, 2)``."""
        encoded = encode(batch["text"])
        scores = self.projection(encoded.hidden[:, encoded.n_visual :]).float()
        # a padded place is no answer
        scores = scores.masked_fill(encoded.mask[:, encoded.n_visual :, None] == 0, torch.finfo(scores.dtype).min)
        start, end = scores.unbind(-1)
        outputs = {"start": start, "end": end}
        if "labels" in batch:
            first, last = batch["labels"].unbind(-1)
            summed = F.cross_entropy(start, first, reduction="sum") + F.cross_entropy(end, last, reduction="sum")
            outputs["loss"] = summed / (2 * self.terms(batch).clamp(min=1))
        return outputs

    def terms(self, batch: dict[str, Any]) -> Tensor:
        """The items with an answer, or with none for certain."""
        return labelled(batch["labels"][:, 0])


class ChoiceHead(Head):
    """One score for each choice, read from the first token through XLM-R's pooler; cross-entropy over choices.

    Args:
        hidden_size: Width of the encoder.
        n_layers: Depth of the encoder.
        num_choices: How many choices; the batch has the sides ``choice_0`` and so on, and ``n_choices (B,)``
            where an item has fewer.
        dropout: Dropout before the projection.
    """

    def __init__(self, hidden_size: int, n_layers: int, num_choices: int, dropout: float = 0.1) -> None:
        super().__init__(hidden_size, n_layers)
        self.num_choices = num_choices
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(hidden_size, 1)
        initialise(self.dense, self.projection)

    def forward(self, encode: Encode, batch: dict[str, Any]) -> dict[str, Tensor]:
        """``logits (B, num_choices)``, and ``loss`` if the batch has ``labels (B,)``."""
        encoded = encode([batch[f"choice_{i}"] for i in range(self.num_choices)], first=True)
        pooled = torch.stack([one.pool("cls") for one in encoded], dim=1)
        logits = self.projection(self.dropout(torch.tanh(self.dense(pooled)))).squeeze(-1).float()
        if "n_choices" in batch:
            absent = torch.arange(self.num_choices, device=logits.device) >= batch["n_choices"][:, None]
            logits = logits.masked_fill(absent, torch.finfo(logits.dtype).min)
        outputs = {"logits": logits}
        if "labels" in batch:
            outputs["loss"] = F.cross_entropy(logits, batch["labels"])
        return outputs


def full_precision(vectors: Tensor) -> torch.autocast:
    """Compute similarities as they are: in bf16, logits near 100 would be told apart in steps of a half."""
    return torch.autocast(vectors.device.type, enabled=False)


def labelled(labels: Tensor) -> Tensor:
    """How many labels a loss counts."""
    return torch.count_nonzero(labels != IGNORED)


def _check_layer(layer: int | None, n_layers: int) -> int | None:
    """The layer as it is, if the encoder has it."""
    if layer is not None and not 0 <= layer <= n_layers:
        raise ConfigError(f"layer {layer} is asked for, but the encoder has hidden layers 0 to {n_layers}")
    return layer


def initialise(*layers: nn.Linear) -> None:
    """Start layers as XLM-R's own heads start."""
    for layer in layers:
        nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)


def _masked_lm(hidden_size: int, n_layers: int) -> Head:
    from xmit.modules.heads_mlm import MaskedLMHead

    return MaskedLMHead(hidden_size, n_layers)


def _answers(hidden_size: int, n_layers: int, **options: Any) -> Head:
    from xmit.modules.heads_image_text import AnswerHead

    return AnswerHead(hidden_size, n_layers, **options)


def _image_text(hidden_size: int, n_layers: int, **options: Any) -> Head:
    from xmit.modules.heads_image_text import ImageTextHead

    return ImageTextHead(hidden_size, n_layers, **options)


HEADS: dict[str, Callable[..., Head]] = {
    "answers": _answers,
    "choice": ChoiceHead,
    "classification": ClassificationHead,
    "contrastive": ContrastiveHead,
    "dual": DualHead,
    "embedding": EmbeddingHead,
    "image_text": _image_text,
    "mlm": _masked_lm,
    "span": SpanHead,
    "token": TokenHead,
}


def build_head(kind: str, hidden_size: int, n_layers: int, options: dict[str, Any]) -> Head:
    """Build a head by its kind.

    Raises:
        ConfigError: If there is no such kind.
    """
    if kind not in HEADS:
        raise ConfigError(f"unknown head {kind!r}.{did_you_mean(kind, HEADS)}")
    return HEADS[kind](hidden_size, n_layers, **options)
