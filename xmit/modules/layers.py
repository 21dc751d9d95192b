"""The encoder's layers on packed batches: ``(1, T, H)``, the real tokens of all sequences one behind the other.

:class:`PackedLayer` stands in for a layer of the stock model and has its weights, names and numbers. A padded batch
goes through the stock layer's own code; a packed one is computed on here, on the CPU by the stock layer's parts.

On CUDA an update of a large encoder is some thousand kernels of a few microseconds each, and the host cannot launch
them as fast as they run. So there a packed layer takes fewer and larger ones, with the same numbers as autocast: all
its weights are cast by one launch instead of twelve, their gradients by another; query, key and value are one product;
and a state is cast once, not by each product that reads it. With padded groups, one scatter serves query, key and value
of all groups. How many launches that saves stands in docs/performance.md, counted on a simulated device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaLayer

from xmit import hardware
from xmit.data.packing import Packing, among
from xmit.modules.dropout import dropout as drop


class PackedLayer(XLMRobertaLayer):  # type: ignore[no-untyped-call]
    """A layer that computes on packed batches too; stock layers become one by :meth:`take_over`."""

    last: bool
    """Whether it is the encoder's last, of which a head may want the first token of each sequence alone."""

    @classmethod
    def take_over(cls, layers: nn.ModuleList) -> None:
        """Make an encoder's layers packed ones; weights, names and hooks stay as they are.

        Args:
            layers: All layers of an encoder.
        """
        layer: Any
        for number, layer in enumerate(layers):
            layer.__class__ = cls
            layer.last = number == len(layers) - 1

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        *args: Any,
        packing: Packing | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """The layer's output.

        Args:
            hidden_states: ``(B, L, H)``, or ``(1, T, H)`` with ``packing``.
            attention_mask: Of a padded batch.
            *args: As the stock layer's.
            packing: Where the sequences of a packed batch lie. If it wants the first text tokens only, the last layer
                gives these alone, ``(1, S, H)``: the others are keys and values, but nothing else is computed of them.
            **kwargs: As the stock layer's.
        """
        if packing is None:
            padded: Tensor = super().forward(hidden_states, attention_mask, *args, **kwargs)
            return padded
        firsts = packing.firsts if self.last and packing.only_firsts else None
        if hardware.wants_few_launches(hidden_states.device):
            return self._few_launches(hidden_states, packing, firsts)
        own = self.attention.self

        def asked() -> Tensor:  # anew each time: gradients are then summed in the stock order, to the last bit
            return hidden_states if firsts is None else hidden_states.index_select(1, firsts)

        shape = (-1, own.num_attention_heads, own.attention_head_size)
        query: Tensor | None = own.query(asked()).view(shape)
        states = [part(hidden_states).view(shape) for part in (own.key, own.value)]
        if firsts is None:
            states, query = [query, *states], None
        context = attend(states, query, packing, self._attention_dropout, own.scaling)
        attended = self.attention.output(context.reshape(1, len(context), -1), asked())
        output: Tensor = self.feed_forward_chunk(attended)  # type: ignore[no-untyped-call]
        return output

    @property
    def _attention_dropout(self) -> float:
        return float(self.attention.self.dropout.p) if self.training else 0.0

    def _few_launches(self, hidden_states: Tensor, packing: Packing, firsts: Tensor | None) -> Tensor:
        """The same in few kernels, see the top of this file."""
        own, after, up, down = self.attention.self, self.attention.output, self.intermediate, self.output
        shape = (own.num_attention_heads, own.attention_head_size)
        linears = [own.query, own.key, own.value, after.dense, up.dense, down.dense]
        autocast = torch.is_autocast_enabled("cuda")
        dtype = torch.get_autocast_dtype("cuda") if autocast else hidden_states.dtype
        with torch.autocast("cuda", enabled=False):
            (w_qkv, w_out, w_up, w_down), (b_qkv, b_out, b_up, b_down) = _weights(linears, dtype)
            asked = states = hidden_states.squeeze(0)
            low, query = states.to(dtype), None
            if firsts is not None:
                sizes = [own.all_head_size, 2 * own.all_head_size]
                (w_query, w_qkv), (b_query, b_qkv) = torch.split(w_qkv, sizes), torch.split(b_qkv, sizes)
                asked = states.index_select(0, firsts)
                query = F.linear(asked.to(dtype), w_query, b_query).view(-1, *shape)
            joined = F.linear(low, w_qkv, b_qkv).view(len(low), -1, *shape)
            context = attend(joined, query, packing, self._attention_dropout, own.scaling)
            del low, joined, query  # scoring keeps nothing for a backward pass, and names would
            dense = F.linear(context.reshape(len(asked), -1), w_out, b_out)
            del context
            attended = after.LayerNorm(after.dropout(dense) + asked)
            del dense, states, asked
            wide = up.intermediate_act_fn(F.linear(attended.to(dtype), w_up, b_up))
            output: Tensor = down.LayerNorm(down.dropout(F.linear(wide, w_down, b_down)) + attended)
        return output.unsqueeze(0)


# -- weights -----------------------------------------------------------------------------------------------


def _weights(linears: list[nn.Linear], dtype: torch.dtype) -> tuple[list[Tensor], list[Tensor]]:
    """The weights, and the biases, of a layer's products: the first three joined, all in the precision computed in."""
    weights: list[Tensor] = [part.weight for part in linears]
    biases: list[Tensor] = [part.bias for part in linears]
    if all(part.dtype == dtype for part in weights):
        return [torch.cat(weights[:3]), *weights[3:]], [torch.cat(biases[:3]), *biases[3:]]
    cast: tuple[Tensor, ...] = _CastTogether.apply(dtype, *weights, *biases)
    return list(cast[: len(cast) // 2]), list(cast[len(cast) // 2 :])


class _CastTogether(torch.autograd.Function):
    """Casts six weights and six biases by one launch, the first three of each joined; and their gradients by another.

    Autocast casts each by itself, and each gradient again: 24 launches a layer.
    """

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.like = parameters
        made = []
        for six in (parameters[:6], parameters[6:]):
            rows = sum(len(part) for part in six[:3])
            made += [six[0].new_empty(rows, *six[0].shape[1:], dtype=dtype)]
            made += [torch.empty_like(part, dtype=dtype) for part in six[3:]]
        torch._foreach_copy_(_split(made, parameters), list(parameters))
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        like = ctx.like
        whole = [torch.empty_like(part) for part in like]
        torch._foreach_copy_(whole, _split(list(gradients), like))
        return None, *whole


def _split(joined: list[Tensor], like: tuple[Tensor, ...]) -> list[Tensor]:
    """Weights and biases of which the first three are joined, one by one."""
    half = len(joined) // 2
    parts: list[Tensor] = []
    for own, six in ((joined[:half], like[:6]), (joined[half:], like[6:])):
        parts += [*torch.split(own[0], [len(part) for part in six[:3]]), *own[1:]]
    return parts


# -- attention ---------------------------------------------------------------------------------------------


def attend(
    states: Tensor | Sequence[Tensor], query: Tensor | None, packing: Packing, dropout: float, scaling: float
) -> Tensor:
    """Attention within each sequence of a packed batch, by the kernel that the packing names.

    Args:
        states: Query, key and value, each ``(T, heads, d)``, or side by side ``(T, 3, heads, d)``; without the query
            where that is given apart.
        query: One query a sequence ``(S, heads, d)``, if not every token asks.
        packing: Where the sequences lie.
        dropout: Of the attention weights.
        scaling: Of the products.

    Returns:
        As the query.
    """
    if packing.kernel == "groups":
        if packing.padded:
            return _padded_groups(states, query, packing, dropout, scaling)
        return _equal_groups(states, query, packing, dropout, scaling)
    parts = list(states.unbind(1) if isinstance(states, Tensor) else states)
    ends, most = [packing.cu_seqlens, packing.cu_seqlens], [packing.max_length, packing.max_length]
    if query is not None:
        parts, ends[0], most[0] = [query, *parts], packing.one_each, 1
    if packing.kernel == "flash-attn":
        from flash_attn import flash_attn_varlen_func

        flash: Tensor = flash_attn_varlen_func(*parts, *ends, *most, dropout_p=dropout, softmax_scale=scaling)
        return flash
    from torch.nn.attention.varlen import varlen_attn

    varlen = varlen_attn(parts[0], parts[1], parts[2], ends[0], ends[1], most[0], most[1], scale=scaling)
    assert isinstance(varlen, Tensor)  # a tuple only where more was asked for
    return varlen


def _equal_groups(
    states: Tensor | Sequence[Tensor], query: Tensor | None, packing: Packing, dropout: float, scaling: float
) -> Tensor:
    """SDPA of the sequences of each length: nothing is padded, masked or copied, but every length is a call."""
    sizes = [group.tokens for group in packing.groups]
    parts = [torch.split(own, sizes) for own in (states.unbind(1) if isinstance(states, Tensor) else states)]
    if query is not None:
        parts = [torch.split(query, [group.n for group in packing.groups]), *parts]
    outputs = []
    for group, *own in zip(packing.groups, *parts, strict=True):
        q, k, v = (part.view(group.n, -1, *part.shape[1:]).transpose(1, 2) for part in own)
        outputs.append(_sdpa(q, k, v, None, dropout, scaling).transpose(1, 2).reshape(-1, *own[0].shape[1:]))
    return torch.cat(outputs)


def _padded_groups(
    states: Tensor | Sequence[Tensor], query: Tensor | None, packing: Packing, dropout: float, scaling: float
) -> Tensor:
    """SDPA of a few groups of like length, padded: few calls. Query, key and value are scattered at once."""
    joined = states if isinstance(states, Tensor) else torch.stack(list(states), 1)
    sizes = [group.n * group.width for group in packing.groups]
    places = torch.split(among(sum(sizes), packing.places, joined), sizes)
    queries: Sequence[Tensor | None] = [None] * len(sizes)
    if query is not None:
        queries = torch.split(query, [group.n for group in packing.groups])
    assert packing.bias is not None
    biases, outputs = torch.split(packing.bias, sizes), []
    for group, own, bias, asked in zip(packing.groups, places, biases, queries, strict=True):
        parts = [part.view(group.n, group.width, *part.shape[1:]) for part in own.unbind(1)]
        if asked is not None:
            parts = [asked.unsqueeze(1), *parts]
        q, k, v = (part.transpose(1, 2) for part in parts)
        mask = bias.view(group.n, 1, 1, group.width).expand(-1, -1, q.shape[2], -1)
        outputs.append(_sdpa(q, k, v, mask, dropout, scaling).transpose(1, 2).flatten(0, 1))
    found = torch.cat(outputs)
    return found.index_select(0, packing.places) if query is None else found


def _sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, scale: float) -> Tensor:
    """torch's, but for dropout on the CPU: there it looks for rows of which all is masked, and here are none."""
    if not dropout or q.is_cuda or mask is not None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale)
    return drop((q * scale @ k.transpose(-1, -2)).softmax(-1), dropout) @ v
