"""Packed batches: the sequences of a batch one behind the other, without padding, through the stock encoder.

The encoder computes on ``(1, T, H)``, T being the real tokens of all sides of the batch; only attention must know
where a sequence ends, see :mod:`xmit.modules.layers`. Heads get padded hidden states back, so they see no difference.

What no head looks at is not computed: layers above the one that is asked for, and, where only the first token of each
sequence counts, what the last layer does with the others but attend to them.

Positions are the padded batch's own, which begin at ``pad_token_id + 1``. transformers' ``sdpa`` and ``eager`` would
attend across packed sequences without a word, see ``docs/performance.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from xmit import hardware
from xmit.data.packing import Packing
from xmit.modules.layers import PackedLayer

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

NAME = "xmit_padded"
"""The attention implementation's name in transformers' registry."""


def padded_mask(
    batch_size: int, q_length: int, kv_length: int, attention_mask: Tensor | None = None, **kwargs: Any
) -> Tensor | None:
    """The mask of a padded batch, True where there is a token, ``(B, 1, 1, L)``.

    transformers' own first looks whether anything is masked at all, which on a GPU makes the host wait for it.

    Args:
        batch_size: Sequences.
        q_length: Places that look.
        kv_length: Places that are looked at.
        attention_mask: 1 where there is a token ``(B, L)``; None where all are.
        **kwargs: As for transformers' own.
    """
    if attention_mask is None or attention_mask.device.type == "cpu":
        own: Tensor | None = sdpa_mask(batch_size, q_length, kv_length, attention_mask=attention_mask, **kwargs)
        return own
    return attention_mask.bool()[:, None, None, :].expand(-1, -1, q_length, -1)


AttentionInterface.register(NAME, sdpa_attention_forward)
AttentionMaskInterface.register(NAME, padded_mask)


def prepare(encoder: XLMRobertaModel) -> None:
    """Let an encoder's layers compute on packed batches too; once, and without a trace in what it saves."""
    if not isinstance(encoder.encoder.layer[0], PackedLayer):
        encoder.set_attn_implementation(NAME)
        PackedLayer.take_over(encoder.encoder.layer)


@contextmanager
def _layers_up_to(encoder: XLMRobertaModel, layer: int | None) -> Iterator[None]:
    """Within it the encoder is as deep as ``layer``."""
    every = encoder.encoder.layer
    if layer is not None:
        encoder.encoder.layer = nn.ModuleList(list(every)[:layer])
    try:
        yield
    finally:
        encoder.encoder.layer = every


def lengths_of(encoder: XLMRobertaModel, side: Mapping[str, Any], first: bool, layer: int | None) -> list[int] | None:
    """Tokens of each text of a side, on the host, if its padding is not to be computed on.

    Where the loader has not said so, scoring by the first tokens on the CPU costs less packed.

    Args:
        encoder: The text encoder.
        side: The side, perhaps with ``lengths``.
        first: Whether the first tokens alone are wanted.
        layer: Of which hidden state.
    """
    mask: Tensor = side["attention_mask"]
    if not hardware.runs_packed(mask.device):
        return None
    lengths: list[int] | None = side.get("lengths")
    if lengths is None and first and _not_the_last(encoder, layer) is None and not encoder.training:
        lengths = mask.sum(1).tolist() if mask.device.type == "cpu" else None
    return lengths


def encode(
    encoder: XLMRobertaModel, sides: Sequence[dict[str, Tensor]], packing: Packing, layer: int | None, first: bool
) -> list[Tensor]:
    """Run the encoder once on all sides of a batch, without their padding.

    Args:
        encoder: The text encoder.
        sides: ``input_ids (B, L)`` or ``inputs_embeds (B, L, H)``, what stands before the text included.
        packing: Where their tokens lie, on the encoder's device.
        layer: Which hidden state; the last by default.
        first: Give the state of each sequence's first text token alone.

    Returns:
        Hidden states of each side, ``(B, L, H)``, or ``(B, 1, H)`` with ``first``.
    """
    prepare(encoder)
    deep = _not_the_last(encoder, layer)
    name = "inputs_embeds" if any("inputs_embeds" in side for side in sides) else "input_ids"
    words = encoder.embeddings.word_embeddings
    given = [side[name] if name in side else words(side["input_ids"]) for side in sides]
    position = int(encoder.config.pad_token_id or 0) + 1  # where a padded batch counts from; pad's own before the text
    last: Any = encoder.encoder.layer[-1]
    attention = last.attention.self
    autocast = torch.is_autocast_enabled(packing.device.type)
    dtype = torch.get_autocast_dtype(packing.device.type) if autocast else next(encoder.parameters()).dtype
    dropout = encoder.training and attention.dropout.p > 0
    chosen = hardware.attention(packing.device, dtype, dropout, attention.attention_head_size)
    packing = packing.prepared(chosen.kernel, dtype, first and deep is None)
    with _layers_up_to(encoder, deep):
        hidden: Tensor = encoder(
            **{name: packing.pack(given)}, position_ids=(packing.columns + position).unsqueeze(0), packing=packing
        ).last_hidden_state
    if packing.only_firsts:
        return packing.unpack_firsts(hidden)
    if first:
        states = hidden.index_select(1, packing.firsts)
        return packing.unpack_firsts(states)
    return packing.unpack(hidden)


def encode_padded(encoder: XLMRobertaModel, layer: int | None = None, **inputs: Tensor) -> Tensor:
    """Run the encoder on a padded batch as it is.

    Args:
        encoder: The text encoder.
        layer: Which hidden state; the last by default.
        **inputs: ``input_ids`` or ``inputs_embeds``, ``attention_mask``, and whatever else the model takes.

    Returns:
        Hidden states ``(B, L, H)``.
    """
    prepare(encoder)
    with _layers_up_to(encoder, _not_the_last(encoder, layer)):
        hidden: Tensor = encoder(**inputs).last_hidden_state
    return hidden


def _not_the_last(encoder: XLMRobertaModel, layer: int | None) -> int | None:
    return None if layer == encoder.config.num_hidden_layers else layer
