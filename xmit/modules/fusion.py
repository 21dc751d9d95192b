"""How visual tokens enter the text encoder; every fusion comes off without a trace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from xmit.errors import ConfigError, check_choice

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

KINDS = ("prefix", "cross_attention", "late")
_EVERY = 2


@dataclass
class FusionConfig:
    """Which fusion.

    Args:
        kind: ``prefix``: visual tokens before the text embeddings, read by every layer. ``cross_attention``: the text
            looks at the visual tokens through gated layers, which start closed. ``late``: the mean of the visual
            tokens is added to the encoder's output, the baseline.
        tokens: How many tokens a small resampler makes of an image; by default the tower's own, as they are. Not
            for ``late``, which always reads one.
        every: Before every so many layers of the encoder the text looks at the image; 2 by default. Only for
            ``cross_attention``.
        images: The most images an item has.
        dropout: Dropout on visual tokens and in the fusion's own layers.
        new: Begin anew where ``init_from`` has a trained fusion, which is taken along otherwise.

    Raises:
        ConfigError: If the settings contradict each other.
    """

    kind: Literal["prefix", "cross_attention", "late"] = "prefix"
    tokens: int | None = None
    every: int | None = None
    images: int = 2
    dropout: float = 0.0
    new: bool = False

    def __post_init__(self) -> None:
        check_choice("model.fusion.kind", self.kind, KINDS)
        if self.kind == "late" and self.tokens is not None:
            raise ConfigError("model.fusion.tokens is not for 'late', which reads one pooled feature: leave it out")
        if self.kind != "cross_attention" and self.every is not None:
            raise ConfigError(f"model.fusion.every is for 'cross_attention', not for {self.kind!r}: leave it out")
        for name in ("tokens", "every", "images"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(f"model.fusion.{name} must be a whole number from 1, not {value!r}")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            raise ConfigError(f"model.fusion.dropout must be a number from 0 and below 1, not {self.dropout!r}")


class Fusion(nn.Module, ABC):
    """Base of the fusions: makes visual tokens of features, lets them enter the encoder, or join what it gives.

    Text without an image never meets it.

    Args:
        config: The settings.
        vision_width: Width of the tower's features.
        n_tokens: How many features the tower gives an image.

    Raises:
        ConfigError: If settings and tower do not fit.
    """

    def __init__(self, config: FusionConfig, vision_width: int, n_tokens: int) -> None:
        super().__init__()
        if config.tokens is not None and config.tokens > n_tokens:
            raise ConfigError(
                f"model.fusion.tokens is {config.tokens}, but the tower gives {n_tokens} an image and a resampler only "
                f"makes fewer: lower it, or leave it out to take them all"
            )
        self.config, self.vision_width, self.n_tokens = config, vision_width, n_tokens

    def split_images(self, features: Tensor) -> Tensor:
        """Features ``(B, V, W)`` image by image, ``(B, images, tokens, W)``.

        Raises:
            ConfigError: If they are not a whole number of images, or of more than ``model.fusion.images``.
        """
        n, rest = divmod(features.shape[1], self.n_tokens)
        if rest or not n or features.shape[2] != self.vision_width:
            raise ConfigError(
                f"the batch has images of shape {tuple(features.shape[1:])}, but the tower gives {self.n_tokens} "
                f"features of width {self.vision_width} an image"
            )
        if n > self.config.images:
            raise ConfigError(f"an item has {n} images: set model.fusion.images to {n} (now {self.config.images})")
        return features.reshape(len(features), n, self.n_tokens, self.vision_width)

    @property
    def prefix_places(self) -> int | None:
        """How many places an image takes before the text; None where layers of the encoder look at it instead."""
        return 0

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Visual tokens ``(B, N, H)`` in the text encoder's width, of features ``(B, V, W)``."""

    def attach(self, encoder: XLMRobertaModel) -> None:
        """Hook what the encoder needs to see visual tokens; without any, it computes what it computed before."""

    def detach(self) -> None:
        """Take the hooks away again."""

    def enter(self, encoder: XLMRobertaModel, inputs: dict[str, Tensor], visual: Tensor) -> dict[str, Tensor]:
        """Inputs of the encoder for text with visual tokens.

        Args:
            encoder: The text encoder.
            inputs: ``input_ids`` and ``attention_mask`` ``(B, L)``.
            visual: What :meth:`forward` gave.

        Returns:
            Arguments of the encoder; ``attention_mask`` ``(B, N + L)`` where visual tokens take places of their own.
        """
        return inputs

    def join(self, hidden: Tensor, visual: Tensor) -> Tensor:
        """Hidden states ``(B, …, H)`` after the encoder."""
        return hidden


class CrossAttention(nn.Module):
    """Queries look at a context: attention and a feed-forward layer, each normalised before and added.

    With gates it is the gated cross-attention layer of Flamingo (Alayrac et al. 2022, section 2.2):
    ``y = x + tanh(a) · attention(x, context)``, ``z = y + tanh(b) · feed_forward(y)``, where ``a`` and ``b`` start
    at zero, so that ``z = x``.

    Args:
        width: Width of queries and context.
        heads: Attention heads.
        dropout: Dropout on attention weights and within the feed-forward layer.
        gated: Whether there are gates.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0, gated: bool = False) -> None:
        super().__init__()
        self.norm, self.context_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
        )
        self.gates = nn.Parameter(torch.zeros(2)) if gated else None

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Queries ``(B, Q, H)`` that have seen the context ``(B, K, H)``."""
        context = self.context_norm(context)
        first, second = (1.0, 1.0) if self.gates is None else torch.tanh(self.gates)
        seen, _ = self.attention(self.norm(queries), context, context, need_weights=False)
        attended = queries + first * seen
        output: Tensor = attended + second * self.feed_forward(attended)
        return output.to(queries.dtype)


def image_types(images: int, width: int, scale: float) -> Tensor:
    """Where the embeddings that tell the images of an item apart start, ``(images, width)``.

    The first is zero. The others are not, or nothing would tell which image is which until training breaks the
    symmetry; they are drawn apart, so that the random numbers of all else do not depend on how many there are.
    """
    types = torch.randn(images, width, generator=torch.Generator("cpu").manual_seed(0), device="cpu") * scale
    types[0] = 0
    return types


class VisualTokens(nn.Module):
    """Projects features to the encoder's width, with learned positions, and resamples each image if asked to.

    Args:
        fusion: Its settings and the tower's facts.
        hidden_size: Width of the text encoder.
        heads: Attention heads of the resampler.
        scale: Standard deviation that the tokens start at.

    Inputs:
        ``features``: ``(B, images, tokens, W)``.

    Returns:
        ``(B, images · k, H)``, image behind image, where ``k`` is ``tokens`` or what the resampler leaves.
    """

    def __init__(self, fusion: Fusion, hidden_size: int, heads: int, scale: float) -> None:
        super().__init__()
        config, width = fusion.config, fusion.vision_width
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, hidden_size)
        nn.init.normal_(self.projection.weight, std=scale / width**0.5)
        nn.init.zeros_(self.projection.bias)
        self.positions = nn.Parameter(torch.randn(fusion.n_tokens, hidden_size) * scale)
        self.types = nn.Parameter(image_types(config.images, hidden_size, scale))
        self.dropout = nn.Dropout(config.dropout)
        self.resampler = Resampler(config.tokens, hidden_size, heads, scale, config.dropout) if config.tokens else None

    def forward(self, features: Tensor) -> Tensor:
        """Project and resample."""
        n = features.shape[1]
        tokens: Tensor = self.projection(self.norm(features)) + self.positions
        if self.resampler is not None:
            tokens = self.resampler(tokens.flatten(0, 1)).reshape(len(features), n, -1, tokens.shape[-1])
        tokens = self.dropout(tokens + self.types[:n, None])
        return tokens.flatten(1, 2)


class Resampler(nn.Module):
    """Learned queries that look at the tokens of an image once, so that any number of tokens becomes few.

    One layer of the Perceiver Resampler (Alayrac et al. 2022, section 2.1; Jaegle et al. 2021).

    Args:
        tokens: How many queries.
        width: Width of tokens.
        heads: Attention heads.
        scale: Standard deviation that the output starts at.
        dropout: Dropout within.
    """

    def __init__(self, tokens: int, width: int, heads: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(tokens, width))
        self.layer = CrossAttention(width, heads, dropout)
        self.norm = nn.LayerNorm(width)
        nn.init.constant_(self.norm.weight, scale)

    def forward(self, tokens: Tensor) -> Tensor:
        """``(B, k, H)`` of tokens ``(B, T, H)``."""
        output: Tensor = self.norm(self.layer(self.queries.expand(len(tokens), -1, -1), tokens))
        return output


class PrefixFusion(Fusion):
    """Visual tokens before the text, with their own positions and type; the positions of the text are unchanged.

    Args:
        config: The settings.
        vision_width: Width of the tower's features.
        n_tokens: How many features the tower gives an image.
        encoder: The text encoder, whose word embeddings tell the scale that visual tokens start at.
    """

    def __init__(self, config: FusionConfig, vision_width: int, n_tokens: int, encoder: XLMRobertaModel) -> None:
        super().__init__(config, vision_width, n_tokens)
        text, words = encoder.config, encoder.embeddings.word_embeddings
        scale = float(words.weight[:1000].detach().std())
        self.tokens = VisualTokens(self, text.hidden_size, text.num_attention_heads, scale)

    @property
    def prefix_places(self) -> int | None:
        """As many as it has tokens."""
        return self.config.tokens or self.n_tokens

    def forward(self, features: Tensor) -> Tensor:
        """Tokens to be put before the word embeddings."""
        visual: Tensor = self.tokens(self.split_images(features))
        return visual

    def enter(self, encoder: XLMRobertaModel, inputs: dict[str, Tensor], visual: Tensor) -> dict[str, Tensor]:
        """Embeddings, mask and positions of visual tokens and text."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        words = encoder.embeddings.word_embeddings(ids)
        pad = int(encoder.config.pad_token_id or 0)
        # the text keeps the positions it has alone; the visual tokens bring their own
        real = torch.ne(ids, pad).to(ids.dtype)
        positions = real.cumsum(1) * real + pad
        return {
            "inputs_embeds": torch.cat([visual.to(words.dtype), words], dim=1),
            "attention_mask": torch.cat([mask.new_ones(visual.shape[:2]), mask], dim=1),
            "position_ids": torch.cat([positions.new_full(visual.shape[:2], pad), positions], dim=1),
        }


class CrossAttentionFusion(Fusion):
    """The text looks at visual tokens through gated layers between those of the stock encoder.

    Args:
        config: The settings.
        vision_width: Width of the tower's features.
        n_tokens: How many features the tower gives an image.
        encoder: The text encoder.

    Raises:
        ConfigError: If the encoder has fewer layers than ``every``.
    """

    def __init__(self, config: FusionConfig, vision_width: int, n_tokens: int, encoder: XLMRobertaModel) -> None:
        super().__init__(config, vision_width, n_tokens)
        text, every = encoder.config, config.every or _EVERY
        if every > text.num_hidden_layers:
            raise ConfigError(
                f"model.fusion.every is {every}, but the encoder has {text.num_hidden_layers} layers: lower it"
            )
        self.tokens = VisualTokens(self, text.hidden_size, text.num_attention_heads, 1.0)
        # before the layers every, 2 · every, …, so that a stock layer follows each look at the image
        self.places = list(range(every - 1, text.num_hidden_layers, every))
        self.layers = nn.ModuleList(
            CrossAttention(text.hidden_size, text.num_attention_heads, config.dropout, gated=True) for _ in self.places
        )
        self._handles: list[Any] = []

    @property
    def prefix_places(self) -> int | None:
        """None: layers look at it."""
        return None

    def forward(self, features: Tensor) -> Tensor:
        """Tokens to be looked at."""
        visual: Tensor = self.tokens(self.split_images(features))
        return visual

    def attach(self, encoder: XLMRobertaModel) -> None:
        """Hook the gated layers before those of the encoder."""
        for place, layer in zip(self.places, self.layers, strict=True):
            stock = encoder.encoder.layer[place]
            self._handles.append(stock.register_forward_pre_hook(partial(_look, layer), with_kwargs=True))

    def detach(self) -> None:
        """Take the hooks away again."""
        while self._handles:
            self._handles.pop().remove()

    def enter(self, encoder: XLMRobertaModel, inputs: dict[str, Tensor], visual: Tensor) -> dict[str, Tensor]:
        """The text as it is; the stock model hands the visual tokens on to its layers, which leave them alone."""
        return {**inputs, "encoder_hidden_states": visual}


def _look(
    layer: nn.Module, stock: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Before a layer of the encoder: look at the visual tokens among its arguments, if there are any.

    It keeps nothing between calls, so it does the same again where activations are recomputed in the backward pass.
    """
    hidden, *rest = args
    visual = rest[1] if len(rest) > 1 else kwargs.get("encoder_hidden_states")
    return None if visual is None else ((layer(hidden, visual), *rest), kwargs)


class LateFusion(Fusion):
    """The mean feature of each image through a small network, added to what the encoder gives.

    It is added to every token's state, which is the same as adding it to the pooled state, whatever the pooling. The
    last layer starts at zero.

    Args:
        config: The settings.
        vision_width: Width of the tower's features.
        n_tokens: How many features the tower gives an image.
        encoder: The text encoder.
    """

    def __init__(self, config: FusionConfig, vision_width: int, n_tokens: int, encoder: XLMRobertaModel) -> None:
        super().__init__(config, vision_width, n_tokens)
        hidden_size = encoder.config.hidden_size
        self.norm = nn.LayerNorm(vision_width)
        self.projection = nn.Linear(vision_width, hidden_size)
        self.types = nn.Parameter(image_types(config.images, hidden_size, 1.0))
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(hidden_size, hidden_size)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, features: Tensor) -> Tensor:
        """One token an item ``(B, 1, H)``, the sum over its images."""
        images = self.split_images(features).mean(2)
        images = self.projection(self.norm(images)) + self.types[: images.shape[1]]
        visual: Tensor = self.output(self.dropout(nn.functional.gelu(images))).sum(1, keepdim=True)
        return visual

    def join(self, hidden: Tensor, visual: Tensor) -> Tensor:
        """Hidden states with the image added."""
        return hidden + visual.to(hidden.dtype)


_FUSIONS: dict[str, type[PrefixFusion | CrossAttentionFusion | LateFusion]] = {
    "prefix": PrefixFusion,
    "cross_attention": CrossAttentionFusion,
    "late": LateFusion,
}


def build_fusion(config: FusionConfig, vision_width: int, n_tokens: int, encoder: XLMRobertaModel) -> Fusion:
    """Build a fusion and attach it to the encoder.

    Args:
        config: The settings.
        vision_width: Width of the tower's features.
        n_tokens: How many features the tower gives an image.
        encoder: The text encoder.

    Raises:
        ConfigError: If settings, tower and encoder do not fit.
    """
    fusion = _FUSIONS[config.kind](config, vision_width, n_tokens, encoder)
    fusion.attach(encoder)
    return fusion
