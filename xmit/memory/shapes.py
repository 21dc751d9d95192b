"""The sizes that memory depends on: of encoder, fusion, head and batch, and how a run computes. No weights are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from xmit.errors import EncoderError, did_you_mean
from xmit.modules.encoders import EMBEDDED

if TYPE_CHECKING:
    from xmit.modules.fusion import FusionConfig

FULL = 4
"""Bytes of a number in fp32."""
Path = Literal["flash", "groups", "lengths", "padded"]
"""How a batch is attended to: by flash attention (flash-attn or torch's varlen), in a few padded groups, in one group a
length (on the CPU), or as the padded batch that it is."""


@dataclass(frozen=True)
class EncoderShape:
    """The sizes of an XLM-R shaped encoder.

    Args:
        vocabulary: Rows of the word embeddings.
        hidden: Width of the hidden states.
        layers: Depth.
        heads: Attention heads of a layer.
        wide: Width of the feed-forward layers.
        positions: Rows of the position embeddings.
        types: Rows of the token type embeddings.
        dropout: Whether hidden states are dropped in training.
        attention_dropout: Whether attention weights are.
    """

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    wide: int
    positions: int = 514
    types: int = 1
    dropout: bool = True
    attention_dropout: bool = True

    @property
    def products(self) -> int:
        """Weights and biases of a layer's six products."""
        return 4 * self.hidden * (self.hidden + 1) + 2 * self.hidden * self.wide + self.wide + self.hidden

    @property
    def layer(self) -> int:
        """Parameters of a layer: its products, and two layer norms."""
        return self.products + 4 * self.hidden

    @property
    def other_embeddings(self) -> int:
        """Parameters of the embeddings but for the words': positions, types, and a layer norm."""
        return (self.positions + self.types + 2) * self.hidden


_PUBLISHED = {
    "FacebookAI/xlm-roberta-base": EncoderShape(250002, 768, 12, 12, 3072),
    "FacebookAI/xlm-roberta-large": EncoderShape(250002, 1024, 24, 16, 4096),
}
"""What the config.json of these says, so that no hub need be reached for the encoders that are used most."""


@lru_cache(maxsize=64)
def encoder_shape(source: str, dropout: float | None = None) -> EncoderShape:
    """The sizes of an encoder, by its config alone: no weights are read.

    Args:
        source: As for :func:`~xmit.modules.encoders.load_text_encoder`.
        dropout: The module's ``dropout``, if it replaces the config's.

    Raises:
        EncoderError: If the config cannot be had.
    """
    if source in _PUBLISHED:
        shape = _PUBLISHED[source]
    elif source.startswith(EMBEDDED):
        shape = _embedded_shape(source.removeprefix(EMBEDDED))
    else:
        from transformers import AutoConfig

        try:
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise EncoderError(
                f"the config.json of {source!r} cannot be had ({reason}): give a local folder"
            ) from error
        if config.model_type != "xlm-roberta":
            raise EncoderError(f"the encoder {source!r} is of type {config.model_type!r}; its memory is not known here")
        shape = EncoderShape(
            config.vocab_size,
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.intermediate_size,
            config.max_position_embeddings,
            config.type_vocab_size,
            config.hidden_dropout_prob > 0,
            config.attention_probs_dropout_prob > 0,
        )
    return shape if dropout is None else replace(shape, dropout=dropout > 0, attention_dropout=dropout > 0)


def _embedded_shape(name: str) -> EncoderShape:
    """Out of the packaged file's header."""
    from xmit.modules.e5_file import E5File
    from xmit.modules.embedded import EMBEDDED_ENCODERS

    if name not in EMBEDDED_ENCODERS:
        raise EncoderError(f"unknown embedded encoder {name!r}.{did_you_mean(name, EMBEDDED_ENCODERS)}")
    file = E5File(EMBEDDED_ENCODERS[name].read())
    return EncoderShape(
        len(file.vocab), file.hidden_size, file.num_layers, file.num_heads, file.ffn_size, file.max_positions + 2
    )


@dataclass(frozen=True)
class FusionShape:
    """A fusion, and the features that it reads.

    Args:
        config: Its settings.
        width: Width of the tower's features.
        features: Features an image.
    """

    config: FusionConfig
    width: int
    features: int

    @property
    def tokens(self) -> int:
        """Visual tokens an image: those of the resampler, or the tower's own; one an item for ``late``."""
        return self.config.tokens or self.features

    def parameters(self, shape: EncoderShape) -> int:
        """How many it has."""
        h, w = shape.hidden, self.width
        attention = 12 * h * h + 15 * h  # of queries to a context: three norms, attention, a feed-forward layer
        enter = 2 * w + w * h + h + self.config.images * h
        if self.config.kind == "late":
            return enter + h * h + h
        enter += self.features * h
        if self.config.tokens:
            enter += attention + self.config.tokens * h + 2 * h
        if self.config.kind == "cross_attention":
            enter += self.looks(shape) * (attention + 2)
        return enter

    def looks(self, shape: EncoderShape) -> int:
        """Gated layers of ``cross_attention``."""
        return shape.layers // (self.config.every or 2) if self.config.kind == "cross_attention" else 0


@dataclass(frozen=True)
class HeadShape:
    """A head.

    Args:
        kind: Of :data:`xmit.modules.heads.HEADS`.
        outputs: Labels, answers or choices.
        pooling: What is read of a text: ``cls``, ``pooler`` or ``mean``.
        layer: The hidden state that is read, 0 being the embeddings; the last by default.
        hard: Whether pairs are also encoded together, see :class:`~xmit.modules.heads_image_text.ImageTextHead`.
    """

    kind: str
    outputs: int = 2
    pooling: str = "cls"
    layer: int | None = None
    hard: bool = False

    @property
    def firsts(self) -> bool:
        """Whether of each sequence the first text token's state alone is wanted."""
        one = self.kind in ("classification", "answers", "embedding", "dual") and self.pooling != "mean"
        return one or self.kind == "choice"

    @property
    def shares_words(self) -> bool:
        """Whether it computes with the word embeddings, which are trained whole then."""
        return self.kind == "mlm"

    def parameters(self, shape: EncoderShape) -> int:
        """How many it has of its own."""
        h, dense = shape.hidden, shape.hidden * (shape.hidden + 1)
        return {
            "classification": dense + (h + 1) * self.outputs,
            "answers": dense + (h + 1) * self.outputs,
            "token": (h + 1) * self.outputs,
            "span": 2 * (h + 1),
            "choice": dense + h + 1,
            "dual": dense if self.pooling == "pooler" else 0,
            "mlm": dense + 2 * h + shape.vocabulary,
            "contrastive": 1,
            "image_text": 1 + 2 * (h + 1) * self.hard,
        }.get(self.kind, 0)


@dataclass(frozen=True)
class Pass:
    """What the encoder is called with once.

    Args:
        lengths: Tokens of each sequence, side by side, visual ones included.
        widths: The width of each side's padded batch, the like.
        images: Images of all sequences.
        packed: Whether no padding is computed on.
        masked: Tokens that a masked-LM head predicts.
    """

    lengths: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...]
    images: int = 0
    packed: bool = True
    masked: int = 0

    @property
    def sequences(self) -> int:
        """Of all sides."""
        return sum(map(len, self.lengths))

    @property
    def padded_tokens(self) -> int:
        """Places of the padded batches."""
        return sum(len(own) * width for own, width in zip(self.lengths, self.widths, strict=True))

    @property
    def tokens(self) -> int:
        """Tokens computed on."""
        return sum(map(sum, self.lengths)) if self.packed else self.padded_tokens

    @property
    def squares(self) -> int:
        """Pairs of tokens that attend to each other."""
        if self.packed:
            return sum(n * n for own in self.lengths for n in own)
        return sum(len(own) * width * width for own, width in zip(self.lengths, self.widths, strict=True))

    def grouped_tokens(self) -> tuple[int, int]:
        """Places of the padded groups that attention computes on, and the pairs of them within sequences."""
        from xmit.data.packing import Packing

        groups = Packing(self.lengths, self.widths, groups=True).groups
        return sum(g.n * g.width for g in groups), sum(g.n * g.width * g.width for g in groups)


@dataclass(frozen=True)
class Setting:
    """How a run computes.

    Args:
        path: How packed batches are attended to.
        half: Whether products are computed in half precision.
        weights_half: Whether weights and states are too (``bf16-true``).
        joined: Whether a packed layer takes few, larger kernels, see :mod:`xmit.modules.layers`.
        checkpointing: Whether activations within layers are computed again.
        rows: Word embeddings that are trained: a number of rows if compact, None for all, 0 if frozen.
        micro_batches: Into how many a batch is cut at most.
        accumulates: Whether gradients outlive a batch (``accumulate_grad_batches``).
        processes: Devices that hold the same weights; from two on gradients lie in buckets too.
    """

    path: Path = "flash"
    half: bool = True
    weights_half: bool = False
    joined: bool = True
    checkpointing: bool = False
    rows: int | None = None
    micro_batches: int = 1
    accumulates: bool = False
    processes: int = 1

    @property
    def compute(self) -> int:
        """Bytes of a number in products."""
        return 2 if self.half or self.weights_half else FULL

    @property
    def state(self) -> int:
        """Bytes of a number in weights and in what layer norms read and give."""
        return 2 if self.weights_half else FULL

    @property
    def dropped(self) -> int:
        """Bytes that say of a value whether it was dropped: one, but on the CPU a number to multiply with."""
        return self.compute if self.path == "lengths" else 1

    @property
    def casts(self) -> bool:
        """Whether states and weights are cast for products."""
        return self.compute != self.state
