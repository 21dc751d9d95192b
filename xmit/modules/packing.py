"""Packed batches: the sequences of a batch one behind the other, without padding, through the stock encoder.

The encoder computes on ``(1, T, H)``, T being the real tokens of the batch; only attention must know where a sequence
ends. It is told through transformers' attention interface: the function registered here is SDPA for padded batches, and
for packed ones attends within each sequence alone. Heads get padded hidden states back, so they see no difference.

What no head looks at is not computed: layers above the one that is asked for, and, where only the first token of each
sequence counts, what the last layer does with the others but attend to them.

Positions are the padded batch's own, which begin at ``pad_token_id + 1``. transformers' ``sdpa`` and ``eager`` would
attend across packed sequences without a word, see ``docs/performance.md``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from xmit.modules.dropout import dropout as drop

if TYPE_CHECKING:
    from transformers import XLMRobertaModel

NAME = "xmit_packed"
"""The attention implementation's name in transformers' registry."""
_GROUPS = 4
"""Into how many groups of like length a batch is padded for attention on a GPU; more cost calls, fewer cost padding."""
_BY_LENGTH = ("cpu",)
"""Where calls cost little, so that groups are of one length each and nothing is padded."""


@dataclass(frozen=True)
class _Group:
    """Some sequences that attention computes on at once, padded if they differ in length.

    Args:
        n: How many sequences.
        width: The longest.
        tokens: How many tokens in all.
        places: Where each token goes in the padded group ``(tokens,)``; None where all are of one length.
        mask: True where there is a token ``(n, 1, 1, width)``; the like.
    """

    n: int
    width: int
    tokens: int
    places: Tensor | None = None
    mask: Tensor | None = None


class Packing:
    """Where the sequences of a packed batch lie.

    They are packed by falling length, so that those of like length lie together.

    Args:
        lengths: Tokens of each sequence of the padded batch, on the host ``(B,)``.
        width: The width of the padded batch.
        device: Where the batch is.
        column: The only column of the padded batch that is wanted of the last layer; all by default.
    """

    def __init__(self, lengths: Sequence[int], width: int, device: torch.device, column: int | None = None) -> None:
        sizes = np.asarray(lengths, dtype=np.int64)
        self.order = np.argsort(-sizes, kind="stable")
        self.sizes, self.device, self.shape = sizes[self.order], device, (len(sizes), width)
        self.max_length = int(self.sizes[0])
        self.index = self._send(_places(self.sizes, self.order * width))
        self.wanted: Tensor | None = None  # places of the wanted tokens, in the order in which they are packed
        if column is not None:
            self.wanted = self._send(np.cumsum(self.sizes) - self.sizes + column)

    def _send(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(self.device, non_blocking=True)

    @cached_property
    def cu_seqlens(self) -> Tensor:
        """Where each sequence begins, and the end of the last, ``(B + 1,)`` int32."""
        return self._send(np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int32))

    def ends(self, one_each: bool) -> tuple[Tensor, Tensor, int, int]:
        """Where the queries of a sequence end, where its keys do, and the most of each; with one query each or all."""
        if not one_each:
            return self.cu_seqlens, self.cu_seqlens, self.max_length, self.max_length
        return self._one_each, self.cu_seqlens, 1, self.max_length

    @cached_property
    def _one_each(self) -> Tensor:
        return self._send(np.arange(len(self.sizes) + 1, dtype=np.int32))

    @cached_property
    def groups(self) -> list[_Group]:
        """The sequences in groups of one length each, or in a few of like length."""
        groups = []
        ends: Any = np.flatnonzero(np.diff(self.sizes)) + 1
        if self.device.type not in _BY_LENGTH:
            ends = min(_GROUPS, -(-len(self.sizes) // 4))
        for sizes in np.array_split(self.sizes, ends):
            n, width = len(sizes), int(sizes[0])
            if sizes[-1] == width:
                groups.append(_Group(n, width, n * width))
                continue
            places = self._send(_places(sizes, np.arange(n) * width))
            mask = self._send((np.arange(width) < sizes[:, None])[:, None, None, :])
            groups.append(_Group(n, width, int(sizes.sum()), places, mask))
        return groups

    def pack(self, padded: Tensor) -> Tensor:
        """``(B, L, …)`` to ``(1, T, …)``."""
        return padded.flatten(0, 1).index_select(0, self.index).unsqueeze(0)

    def unpack(self, packed: Tensor) -> Tensor:
        """``(1, T, H)`` to ``(B, L, H)``, zero where there is no token; to ``(B, 1, H)`` if one of each is wanted."""
        n, width = self.shape
        if self.wanted is not None:
            return _among(n, self._send(self.order), packed.squeeze(0)).unsqueeze(1)
        return _among(n * width, self.index, packed.squeeze(0)).view(n, width, -1)


def _places(sizes: Any, starts: Any) -> Any:
    """Consecutive places of sequences that begin at ``starts``, one sequence behind the other, int64."""
    before = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum()), dtype=np.int64) + np.repeat(starts - before, sizes)


@lru_cache(maxsize=1)
def flash_installed() -> bool:
    """Whether the package flash-attn is there."""
    return importlib.util.find_spec("flash_attn") is not None


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packing: Packing | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """SDPA of a padded batch, or attention within each sequence of a packed one.

    Args:
        module: The attention layer.
        query: ``(B, heads, L, d)``; ``(1, heads, T, d)`` if packed.
        key: The like.
        value: The like.
        attention_mask: As :func:`sdpa_mask` makes it; None if packed.
        packing: Where the sequences lie; None for a padded batch.
        dropout: Of the attention weights.
        scaling: Of the products.
        **kwargs: Passed on to SDPA.

    Returns:
        ``(B, L, heads, d)``, and no weights.
    """
    if packing is None:
        padded: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return padded
    # (T, heads, d); [0] instead of squeeze would fill zeros for its gradient
    parts = [part.squeeze(0).transpose(0, 1) for part in (query, key, value)]
    wanted = packing.wanted if hasattr(module, "xmit_only_wanted") else None
    if wanted is not None:
        parts[0] = parts[0].index_select(0, wanted)
    half = query.is_cuda and query.dtype in (torch.float16, torch.bfloat16)
    if half and flash_installed():
        output = _flash(parts, packing.ends(wanted is not None), dropout, scaling)
    elif half and not dropout:  # torch's own kernel knows no dropout
        from torch.nn.attention.varlen import varlen_attn

        found = varlen_attn(parts[0], parts[1], parts[2], *packing.ends(wanted is not None), scale=scaling)
        assert isinstance(found, Tensor)  # a tuple only where more was asked for
        output = found
    else:
        output = _by_groups(parts, packing, wanted is not None, dropout, scaling)
    return (output if wanted is None else _among(query.shape[2], wanted, output)).unsqueeze(0), None


def _flash(parts: list[Tensor], ends: Any, dropout: float, scaling: float | None) -> Tensor:
    from flash_attn import flash_attn_varlen_func

    output: Tensor = flash_attn_varlen_func(*parts, *ends, dropout_p=dropout, softmax_scale=scaling)
    return output


def _by_groups(parts: list[Tensor], packing: Packing, one_each: bool, dropout: float, scaling: float | None) -> Tensor:
    """SDPA group by group, padded where lengths differ: exact everywhere, with dropout too."""
    outputs = []
    shape = parts[0].shape[1:]
    sizes = [group.tokens for group in packing.groups]
    asked = [group.n for group in packing.groups] if one_each else sizes

    def padded(group: _Group, part: Tensor) -> Tensor:
        if group.places is not None:
            part = _among(group.n * group.width, group.places, part)
        return part.view(group.n, group.width, *shape).transpose(1, 2)

    split = zip(packing.groups, torch.split(parts[0], asked), *(torch.split(p, sizes) for p in parts[1:]), strict=True)
    for group, query, key, value in split:
        q = query.unsqueeze(2) if one_each else padded(group, query)
        k, v = padded(group, key), padded(group, value)
        found = _sdpa(q, k, v, group.mask, dropout, scaling)
        flat = found.transpose(1, 2).reshape(-1, *shape)
        outputs.append(flat if one_each or group.places is None else flat.index_select(0, group.places))
    return torch.cat(outputs)


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, scaling: float | None) -> Tensor:
    """torch's, but for dropout on the CPU: there it looks for rows of which all is masked, and here are none."""
    if not dropout or q.is_cuda or mask is not None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling)
    scale = q.shape[-1] ** -0.5 if scaling is None else scaling
    return drop((q * scale @ k.transpose(-1, -2)).softmax(-1), dropout) @ v


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


class _OnlyWanted:
    """Hooks of the last layer's attention: queries and all that comes after it are of the wanted tokens alone.

    Between the two, transformers wants as many queries and outputs as keys, so the others are zero.
    """

    def __init__(self, attention: Any) -> None:
        self.wanted: Tensor | None = None
        self.tokens = 0
        attention.register_forward_pre_hook(self.begin, with_kwargs=True)
        attention.self.query.register_forward_pre_hook(self.narrow)
        attention.self.query.register_forward_hook(self.widen)
        attention.output.register_forward_pre_hook(self.narrow)

    def begin(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        """Take note of the tokens that this call is about."""
        packing: Packing | None = kwargs.get("packing")
        self.wanted, self.tokens = None if packing is None else packing.wanted, args[0].shape[1]

    def narrow(self, module: nn.Module, args: Any) -> Any:
        """Leave out the tokens that nobody wants."""
        return None if self.wanted is None else tuple(states.index_select(1, self.wanted) for states in args)

    def widen(self, module: nn.Module, args: Any, output: Tensor) -> Any:
        """As many as there are tokens."""
        return None if self.wanted is None else _among(self.tokens, self.wanted, output.squeeze(0)).unsqueeze(0)


def _among(tokens: int, places: Tensor, states: Tensor) -> Tensor:
    """States of some tokens among those of all, which are zero."""
    return states.new_zeros(tokens, *states.shape[1:]).index_copy_(0, places, states)


def _prepare(encoder: XLMRobertaModel) -> None:
    """Set the encoder's attention to this module's, and hook into its last layer, once."""
    if encoder.config._attn_implementation != NAME:
        encoder.set_attn_implementation(NAME)
    last: Any = encoder.encoder.layer[-1].attention
    if not hasattr(last.self, "xmit_only_wanted"):
        _OnlyWanted(last)
        last.self.xmit_only_wanted = True


@contextmanager
def _layers_up_to(encoder: XLMRobertaModel, layer: int) -> Iterator[None]:
    """Within it the encoder is as deep as ``layer``."""
    every = encoder.encoder.layer
    encoder.encoder.layer = nn.ModuleList(list(every)[:layer])
    try:
        yield
    finally:
        encoder.encoder.layer = every


def encode(
    encoder: XLMRobertaModel,
    lengths: Sequence[int] | None,
    layer: int | None = None,
    column: int | None = None,
    /,
    **inputs: Tensor | None,
) -> Tensor:
    """Run the encoder on a padded batch, without its padding where lengths are given.

    Args:
        encoder: The text encoder; its attention is set to this module's.
        lengths: Tokens of each sequence, on the host, visual ones included; None computes on the padded batch, but for
            scoring on the CPU by one column, which costs less packed.
        layer: Which hidden state; the last by default.
        column: Give the states of this column of the batch alone, at which every sequence has a token.
        **inputs: ``input_ids`` or ``inputs_embeds``, ``attention_mask``, perhaps ``position_ids``; padded on the
            right.

    Returns:
        Hidden states ``(B, L, H)``; ``(B, 1, H)`` of one column.
    """
    deep = layer is not None and layer != encoder.config.num_hidden_layers
    mask, packing = inputs.get("attention_mask"), None
    by_item = "encoder_hidden_states" in inputs  # layers that look at images
    if lengths is None and column is not None and not (deep or by_item or encoder.training):
        lengths = mask.sum(1).tolist() if mask is not None and mask.device.type == "cpu" else None
    if lengths is not None:
        _prepare(encoder)
        given = {name: value for name, value in inputs.items() if value is not None and name != "attention_mask"}
        first = next(iter(given.values()))
        packing = Packing(lengths, first.shape[1], first.device, None if deep else column)
        inputs = {name: packing.pack(value) for name, value in given.items()}
        if "position_ids" not in inputs:  # a padded batch counts from here too
            first_position = int(encoder.config.pad_token_id or 0) + 1
            inputs["position_ids"] = (packing.index % packing.shape[1] + first_position).unsqueeze(0)
    with _layers_up_to(encoder, layer) if deep and layer is not None else nullcontext():
        hidden: Tensor = encoder(**inputs, **({"packing": packing} if packing else {})).last_hidden_state
    padded = packing.unpack(hidden) if packing else hidden
    alone = column is None or (packing is not None and packing.wanted is not None)
    return padded if alone else padded[:, column : column + 1]  # type: ignore[operator]
