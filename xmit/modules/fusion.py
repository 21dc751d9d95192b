"""How visual tokens enter the text encoder; a fusion comes off without a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass
class FusionConfig:
    """Which fusion.

    Args:
        kind: ``prefix``: projected visual tokens before the text embeddings.
        dropout: Dropout on the visual tokens.
    """

    kind: Literal["prefix"] = "prefix"
    dropout: float = 0.0


class PrefixFusion(nn.Module):
    """Visual tokens before the text: projected, with their own positions and type.

    The positions of the text are unchanged, so a text without an image is encoded as by the encoder alone.

    Args:
        vision_width: Width of the tower's tokens.
        n_tokens: How many tokens the tower gives an image.
        hidden_size: Width of the text encoder.
        scale: Standard deviation of the text encoder's word embeddings, which the visual tokens start at.
        dropout: Dropout on the visual tokens.

    Inputs:
        ``features``: ``(B, T, vision_width)``.

    Returns:
        ``(B, T, hidden_size)``, to be put before the word embeddings.
    """

    def __init__(
        self, vision_width: int, n_tokens: int, hidden_size: int, scale: float = 0.02, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(vision_width)
        self.projection = nn.Linear(vision_width, hidden_size)
        nn.init.normal_(self.projection.weight, std=scale / vision_width**0.5)
        nn.init.zeros_(self.projection.bias)
        self.positions = nn.Parameter(torch.randn(n_tokens, hidden_size) * scale)
        self.kind = nn.Parameter(torch.zeros(hidden_size))
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Project visual tokens into the text encoder's input space."""
        tokens: Tensor = self.dropout(self.projection(self.norm(features)) + self.positions + self.kind)
        return tokens
