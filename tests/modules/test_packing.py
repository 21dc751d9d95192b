"""Packed batches against transformers' own padded ones."""

from __future__ import annotations

import pickle
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mix_tasks import Vowels
from transformers import XLMRobertaConfig, XLMRobertaModel

from xmit import MultimodalModule
from xmit.data.packing import Packing
from xmit.modules import module as module_file
from xmit.modules import packing
from xmit.modules.encoders import load_tokenizer
from xmit.modules.fusion import FusionConfig, build_fusion
from xmit.modules.layers import attend


@pytest.fixture(scope="module")
def encoder():
    """A random encoder of a small vocabulary, whose states differ by position and by neighbour."""
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=99, hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48,
        max_position_embeddings=80, type_vocab_size=1, pad_token_id=1, initializer_range=0.4,
    )  # fmt: skip
    return XLMRobertaModel(config, add_pooling_layer=False).eval()


def padded_batch(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]
    ids = torch.randint(3, 99, mask.shape, generator=generator)
    return {"input_ids": ids.masked_fill(~mask, 1), "attention_mask": mask.long()}


@pytest.fixture(params=["by length", "padded"])
def grouping(request):
    """The groups of attention on the CPU, and those of a GPU without a kernel for packed batches."""
    with mock.patch.object(module_file, "pads_groups", return_value=request.param == "padded"):
        yield request.param


def packed(encoder, lengths, layer=None, first=False, pads=False, **side):
    """Hidden states of one packed side."""
    device = side["input_ids"].device
    place = Packing([lengths], [side["input_ids"].shape[1]], groups=pads).to(device)
    return packing.encode(encoder, [side], place, layer, first)[0]


@given(st.lists(st.integers(1, 70), min_size=1, max_size=24), st.sampled_from([None, 0, 1, 3]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@torch.no_grad()
def test_packed_states_are_the_padded_model_s(encoder, grouping, lengths, layer):
    side = padded_batch(lengths)
    encoder.set_attn_implementation("eager")
    own = encoder(**side, output_hidden_states=True)
    expected = own.last_hidden_state if layer is None else own.hidden_states[layer]
    hidden = packed(encoder, lengths, layer, pads=grouping == "padded", **side)
    real = side["attention_mask"].bool()
    torch.testing.assert_close(hidden[real], expected[real], atol=1e-5, rtol=1e-5)
    assert not hidden[~real].any()
    alone = packed(encoder, lengths, layer, True, pads=grouping == "padded", **side)
    torch.testing.assert_close(alone, expected[:, :1], atol=1e-5, rtol=1e-5)


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=7), min_size=2, max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@torch.no_grad()
def test_sides_packed_together_are_what_each_is_alone(encoder, grouping, lengths):
    sides = [padded_batch(own, seed) for seed, own in enumerate(lengths)]
    widths = [side["input_ids"].shape[1] for side in sides]
    place = Packing(lengths, widths, groups=grouping == "padded")
    for first in (False, True):
        for own, side, states in zip(lengths, sides, packing.encode(encoder, sides, place, None, first), strict=True):
            torch.testing.assert_close(states, packed(encoder, own, None, first, **side), atol=1e-5, rtol=1e-5)


def test_a_packing_is_one_piece_of_memory_wherever_it_goes():
    place = Packing([[3, 1], [2, 2]], [3, 2], [0, 1], groups=True)
    assert place.index.untyped_storage().data_ptr() == place.mask.untyped_storage().data_ptr()
    again = pickle.loads(pickle.dumps(place))  # as a worker sends it
    for name in ("index", "columns", "order", "firsts", "places", "cu_seqlens", "one_each", "mask"):
        assert torch.equal(getattr(again, name), getattr(place, name)), name
    assert place.index.tolist() == [0, 1, 2, 6, 7, 8, 9, 3]
    assert place.columns.tolist() == [0, 1, 2, -1, 0, -1, 0, 0]
    assert place.firsts.tolist() == [0, 4, 6, 7]
    assert place.cu_seqlens.tolist() == [0, 3, 5, 7, 8]
    assert place.cu_seqlens.dtype == torch.int32


def test_what_no_head_looks_at_is_not_computed(encoder):
    lengths, rows = [7, 30, 12], []
    handles = [
        part.register_forward_hook(lambda m, args, output: rows.append(args[0].shape[1]))
        for block in encoder.encoder.layer
        for part in (block.attention.self.query, block.attention.self.key, block.intermediate)
    ]
    for layer, first, expected in (
        (None, False, [49, 49, 49] * 3),
        (None, True, [49, 49, 49] * 2 + [49, 3, 3]),
        (2, True, [49, 49, 49] * 2),
        (0, False, []),
    ):
        rows.clear()
        packed(encoder, lengths, layer, first, **padded_batch(lengths))
        assert sorted(rows, reverse=True) == sorted(expected, reverse=True)
    assert packing.lengths_of(encoder, padded_batch(lengths), True, None) == lengths  # scoring on the CPU
    assert packing.lengths_of(encoder, padded_batch(lengths), False, None) is None
    assert len(encoder.encoder.layer) == 3
    for handle in handles:
        handle.remove()


@torch.no_grad()
def test_no_sequence_sees_another(encoder, grouping):
    lengths = [7, 30, 12, 30, 3, 19]
    side = padded_batch(lengths)
    before = packed(encoder, lengths, pads=grouping == "padded", **side)
    side["input_ids"][2, :12] = torch.randint(3, 99, (12,))
    after = packed(encoder, lengths, pads=grouping == "padded", **side)
    assert not torch.equal(after[2, :12], before[2, :12])
    others = [0, 1, 3, 4, 5]
    assert torch.equal(after[others], before[others])


def test_padded_batches_go_on_as_they_were(encoder):
    side = padded_batch([5, 9, 2])
    encoder.set_attn_implementation("sdpa")
    own = encoder(**side).last_hidden_state
    encoder.set_attn_implementation(packing.NAME)
    packed(encoder, [5, 9, 2], **side)
    assert torch.equal(packing.encode_padded(encoder, **side), own)


@pytest.mark.parametrize("lengths", [[5, 9, 2], [4, 4, 4], [30] * 5 + [3] * 9])
def test_dropout_of_attention_is_torchs(grouping, lengths):
    """In the mean over draws the undropped output, and of each weight as much is left as of torch's own."""
    torch.manual_seed(0)
    place = Packing([lengths], [max(lengths)], groups=grouping == "padded").prepared("groups", torch.float32, False)
    q, k, v = (torch.randn(sum(lengths), 2, 4) for _ in range(3))
    v = v.abs() + 1
    plain = attend([q, k, v], None, place, 0.0, 0.5)
    draws = torch.stack([attend([q, k, v], None, place, 0.4, 0.5) for _ in range(3000)])
    torch.testing.assert_close(draws.mean(0), plain, atol=0.0, rtol=0.1)
    first = place.sizes[0]
    own = [part[:first].transpose(0, 1) for part in (q, k, v)]
    sdpa = torch.stack([F.scaled_dot_product_attention(*own, dropout_p=0.4) for _ in range(3000)]).transpose(1, 2)
    torch.testing.assert_close(draws[:, :first].std(0), sdpa.std(0), atol=0.0, rtol=0.15)


def test_a_saved_encoder_knows_nothing_of_packing(encoder, tmp_path):
    packed(encoder, [5], **padded_batch([5]))
    encoder.save_pretrained(tmp_path)
    assert packing.NAME not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("visual", [None, "prefix", "cross_attention", "late"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("first", "checkpointing"), [(False, False), (True, False), (True, True)])
def test_gradients_are_the_padded_batch_s(grouping, visual, precision, first, checkpointing, tiny_encoder):
    module = MultimodalModule(encoder=tiny_encoder, dropout=0.0, checkpointing=checkpointing)
    module._build_encoder()
    torch.manual_seed(1)
    texts = ["Habari", "ein etwas längerer Satz mit vielen Wörtern", "good", "no", "wir gehen heute ins Kino " * 4]
    side = dict(load_tokenizer(tiny_encoder)(texts, padding=True, return_tensors="pt"))
    lengths = side["attention_mask"].sum(1).tolist()
    if visual:
        config = FusionConfig(kind=visual, every=1 if visual == "cross_attention" else None)
        module.fusion = build_fusion(config, 6, 5, module.text_encoder)
        for layer in getattr(module.fusion, "layers", []):
            torch.nn.init.ones_(layer.gates)
        side["image"] = torch.randn(5, 5, 6)
    weights = torch.randn(16)
    found = []
    for extra in ({}, {"lengths": lengths}):
        module.zero_grad()
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            encoded = module.encode({**side, **extra}, first=first and bool(extra))
        every = 0 if first else (encoded.hidden[encoded.mask.bool()].float() @ weights).pow(2).mean()
        loss = every + (encoded.pool("cls").float() @ weights).pow(2).sum()
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
        found.append((loss.detach(), gradients))
    tolerance = {"atol": 1e-5, "rtol": 1e-5} if precision == torch.float32 else {"atol": 0.05, "rtol": 0.05}
    torch.testing.assert_close(*found, **tolerance)


def test_packed_grouped_and_padded_give_a_batch_the_same_loss(tiny_encoder):
    module = MultimodalModule(encoder=tiny_encoder, dropout=0.0)
    module._build_encoder()
    losses = {}
    for batching in ("packed", "grouped", "padded"):
        task = Vowels(batch_size=8, batching=batching)
        task.bind(load_tokenizer(tiny_encoder))
        if not module.heads:
            module._build_heads(task.head_specs())
            module.heads.eval()
        batch = task.batch("train", [3, 1, 30, 7, 22])
        assert ("lengths" in batch["text"]) == (batching == "packed")
        losses[batching] = module(batch)["loss"].item()
    assert losses["packed"] == pytest.approx(losses["padded"], abs=1e-5)
    assert losses["grouped"] == losses["padded"]
    scored = Vowels(batch_size=8)
    scored.bind(load_tokenizer(tiny_encoder))
    assert "lengths" not in scored.batch("test", [0, 1])["text"]  # a sorted stream has next to no padding


@pytest.mark.parametrize("packed", [False, True])
def test_activation_checkpointing_changes_nothing(packed, tiny_encoder):
    found = []
    side = dict(load_tokenizer(tiny_encoder)(["Habari ya asubuhi", "good"], padding=True, return_tensors="pt"))
    if packed:
        side["lengths"] = side["attention_mask"].sum(1).tolist()
    for checkpointing in (False, True):
        module = MultimodalModule(encoder=tiny_encoder, checkpointing=checkpointing, dropout=0.3)
        module._build_encoder()
        torch.manual_seed(5)
        seen = []
        module.text_encoder.encoder.layer[0].attention.self.key.register_forward_hook(
            lambda *_, seen=seen: seen.append(1)
        )
        module.encode(side).hidden.pow(2).sum().backward()
        assert len(seen) == 1 + checkpointing
        found.append([p.grad for p in module.parameters() if p.grad is not None])
    torch.testing.assert_close(*found)


@pytest.mark.gpu
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_packed_on_a_gpu(encoder, dropout):
    lengths = [7, 30, 12, 64, 3, 19]
    side = {name: value.cuda() for name, value in padded_batch(lengths).items()}
    model = encoder.cuda()
    with torch.autocast("cuda", torch.bfloat16), torch.no_grad():
        hidden = packed(model, lengths, pads=True, **side)
    real = side["attention_mask"].bool()
    with torch.no_grad():
        expected = packing.encode_padded(model, **side)
    torch.testing.assert_close(hidden.float()[real], expected[real], atol=0.1, rtol=0.1)
    for layer in model.encoder.layer:
        layer.attention.self.dropout.p = dropout
    with torch.autocast("cuda", torch.bfloat16):
        packed(model.train(), lengths, pads=True, **side).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    encoder.cpu().eval()
