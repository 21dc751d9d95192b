"""Packed layers: the few launches of a GPU compute what the stock layer's parts compute, and compile as a whole."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from transformers import XLMRobertaConfig, XLMRobertaModel

from xmit import hardware
from xmit.data.packing import Packing
from xmit.modules import packing
from xmit.modules.layers import PackedLayer, _CastTogether


def encoder(layers=2):
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=99, hidden_size=24, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=80, type_vocab_size=1, pad_token_id=1, initializer_range=0.4,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return XLMRobertaModel(config, add_pooling_layer=False).train()


def states(model, lengths, first, pads=True):
    ids = torch.randint(3, 99, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(len(lengths)))
    place = Packing([lengths], [max(lengths)], groups=pads)
    return packing.encode(model, [{"input_ids": ids}], place, None, first)[0]


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("pads", [False, True])
def test_few_launches_give_the_states_and_gradients_of_the_stock_parts(first, pads):
    found = []
    for few in (False, True):
        model = encoder()
        with mock.patch.object(hardware, "wants_few_launches", lambda device, few=few: few):
            hidden = states(model, [7, 30, 12, 3, 3], first, pads)
            hidden.pow(2).mean().backward()
        found.append((hidden.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_cast_together_and_their_gradients_are_those_cast_one_by_one(dtype):
    torch.manual_seed(0)
    shapes = [(4, 4)] * 4 + [(8, 4), (4, 8)] + [(4,)] * 4 + [(8,), (4,)]
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    cast = _CastTogether.apply(dtype, *parameters)
    weights, biases = parameters[:6], parameters[6:]
    expected = [torch.cat(weights[:3]), *weights[3:], torch.cat(biases[:3]), *biases[3:]]
    upstream = [torch.randn(part.shape).to(dtype) for part in cast]
    assert [part.dtype for part in cast] == [dtype] * 8
    for part, own in zip(cast, expected, strict=True):
        assert torch.equal(part, own.to(dtype))
    torch.autograd.backward(cast, upstream)
    got = [part.grad for part in parameters]
    for part in parameters:
        part.grad = None
    torch.autograd.backward([own.to(dtype) for own in expected], upstream)
    for own, part in zip(got, parameters, strict=True):
        assert own.dtype == torch.float32
        assert torch.equal(own, part.grad)


@pytest.mark.filterwarnings("ignore")
def test_a_whole_layer_compiles_without_a_break_once_for_all_lengths(monkeypatch):
    torch.compiler.reset()
    monkeypatch.setattr(hardware, "wants_few_launches", lambda device: True)  # a mock cannot be compiled
    counter = CompileCounterWithBackend("eager")
    model, plain = encoder(1), encoder(1)
    packing.prepare(model)
    model.encoder.layer[0].compile(dynamic=True, fullgraph=True, backend=counter)
    batches = [[*range(2, 15)], [*range(9, 30)], [5] * 14 + [17, 20]]
    for lengths in batches:
        hidden = states(model, lengths, False)
        torch.testing.assert_close(hidden, states(plain, lengths, False), atol=1e-5, rtol=1e-5)
        hidden.sum().backward()
    assert counter.frame_count == 1
    assert isinstance(model.encoder.layer[0], PackedLayer)
