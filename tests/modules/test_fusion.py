"""Fusions against transformers' own model: what they change, and what they must not."""

from __future__ import annotations

import copy
import pickle
import time

import pytest
import torch
from fusion_tools import ALL, EXACT, TEXTS, TOKENS, WIDTH, build, name_of, opened
from transformers import AutoModel, XLMRobertaConfig, XLMRobertaModel

from xmit import MultimodalModule
from xmit.errors import ConfigError
from xmit.modules.encoders import load_text_encoder, load_tokenizer
from xmit.modules.fusion import FusionConfig, build_fusion
from xmit.modules.heads import ClassificationHead

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def side(tiny_encoder):
    return dict(load_tokenizer(tiny_encoder)(TEXTS, padding=True, return_tensors="pt"))


@pytest.fixture
def images():
    return torch.randn(3, 2 * TOKENS, WIDTH, generator=torch.Generator().manual_seed(2))


# -- what the encoder computes -----------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("settings", EXACT, ids=name_of)
@pytest.mark.parametrize("layer", [None, 0, 1, 2])
def test_step_0_is_the_text_alone(tiny_encoder, side, images, settings, layer):
    module = build(tiny_encoder, settings)
    own = AutoModel.from_pretrained(tiny_encoder).eval()(**side, output_hidden_states=True)
    expected = own.last_hidden_state if layer is None else own.hidden_states[layer]
    fused = module.encode({**side, "image": images}, layer)
    assert torch.equal(fused.hidden, expected)
    assert fused.n_visual == 0
    assert torch.equal(fused.mask, side["attention_mask"])


def test_step_0_is_the_text_alone_in_training_too(tiny_encoder, side, images):
    """With dropout: the fusion draws no random numbers of its own, so the encoder draws the same."""
    for settings in EXACT:
        module = build(tiny_encoder, settings)
        module.train()
        torch.manual_seed(4)
        alone = module.encode(side).hidden
        torch.manual_seed(4)
        assert torch.equal(module.encode({**side, "image": images}).hidden, alone)


@torch.no_grad()
@pytest.mark.parametrize("settings", ALL, ids=name_of)
def test_text_without_images_is_unchanged_and_images_change_it(tiny_encoder, side, images, settings):
    module = opened(build(tiny_encoder, settings))
    own = AutoModel.from_pretrained(tiny_encoder).eval()(**side).last_hidden_state
    real = side["attention_mask"].bool()
    fused = module.encode({**side, "image": images})
    assert (fused.hidden[:, fused.n_visual :][real] - own[real]).abs().max() > 1e-3
    assert torch.equal(module.encode(side).hidden, own)
    # what another image says, and which image comes first, is seen
    swapped = module.encode({**side, "image": images.flip(1)})
    ordered = [module.encode({**side, "image": i}).pool("mean") for i in (images, images.roll(TOKENS, 1))]
    assert (swapped.pool("mean") - fused.pool("mean")).abs().max() > 1e-4
    assert (ordered[0] - ordered[1]).abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("settings", ALL[:2], ids=name_of)
@pytest.mark.parametrize("n_images", [1, 2])
def test_prefix_takes_no_position_from_the_text(tiny_encoder, side, images, settings, n_images):
    """Blind to the visual tokens, the text is encoded exactly as alone."""
    module = build(tiny_encoder, settings)
    alone = module.encode(side).hidden
    n, seen = n_images * (settings.get("tokens") or TOKENS), {}

    def spy(module, args, kwargs):
        seen.update(kwargs)
        blind = kwargs["attention_mask"].clone()
        blind[:, :n] = 0
        return args, {**kwargs, "attention_mask": blind}

    handle = module.text_encoder.register_forward_pre_hook(spy, with_kwargs=True)
    fused = module.encode({**side, "image": images[:, : n_images * TOKENS]})
    handle.remove()
    assert fused.n_visual == n
    assert seen["attention_mask"][:, :n].all()
    real = side["attention_mask"].bool()
    torch.testing.assert_close(fused.hidden[:, n:][real], alone[real], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_images_are_resampled_each_by_itself(tiny_encoder, images):
    fusion = build(tiny_encoder, {"kind": "prefix", "tokens": 2}).fusion
    fusion.tokens.types.zero_()
    both = fusion(images)
    assert both.shape == (3, 4, 16)
    torch.testing.assert_close(both, torch.cat([fusion(images[:, :TOKENS]), fusion(images[:, TOKENS:])], dim=1))


@torch.no_grad()
def test_prefix_starts_at_the_scale_of_words(tiny_encoder):
    """Else the encoder's first layer norm would drown either the visual tokens or their position."""
    features = torch.randn(64, TOKENS, WIDTH) * 7 + 3
    for settings in ({"kind": "prefix"}, {"kind": "prefix", "tokens": 3}):
        module = build(tiny_encoder, settings)
        words = module.text_encoder.embeddings.word_embeddings.weight[:1000].std()
        assert 0.5 < module.fusion(features).std() / words < 2


@torch.no_grad()
def test_cross_attention_is_flamingo_s(tiny_encoder, side, images):
    """y = x + tanh(a)·attention(x, image); z = y + tanh(b)·feed_forward(y), between transformers' own layers."""
    module = opened(build(tiny_encoder, {"kind": "cross_attention", "every": 2}))
    stock, fusion = AutoModel.from_pretrained(tiny_encoder).eval(), module.fusion
    visual, (gated,) = fusion(images), fusion.layers
    mask = torch.where(side["attention_mask"].bool(), 0.0, torch.finfo(torch.float32).min)[:, None, None]
    hidden = stock.encoder.layer[0](stock.embeddings(side["input_ids"]), mask)
    attention, (first, second) = gated.attention, torch.tanh(gated.gates)
    query, key, value = (
        (x @ w.T + b).unflatten(-1, (2, 8)).transpose(1, 2)
        for x, w, b in zip(
            (gated.norm(hidden), gated.context_norm(visual), gated.context_norm(visual)),
            attention.in_proj_weight.chunk(3),
            attention.in_proj_bias.chunk(3),
            strict=True,
        )
    )
    weights = (query @ key.transpose(2, 3) / 8**0.5).softmax(-1)
    hidden = hidden + first * attention.out_proj((weights @ value).transpose(1, 2).flatten(2))
    hidden = hidden + second * gated.feed_forward(hidden)
    expected = stock.encoder.layer[1](hidden, mask)
    torch.testing.assert_close(module.encode({**side, "image": images}).hidden, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_cross_attention_stands_before_every_nth_layer(tiny_encoder):
    encoder = load_text_encoder(tiny_encoder)
    for every, places in ((1, [0, 1]), (2, [1])):
        fusion = build_fusion(FusionConfig("cross_attention", every=every), WIDTH, TOKENS, encoder)
        assert [i for i, layer in enumerate(encoder.encoder.layer) if layer._forward_pre_hooks] == places
        fusion.detach()
        assert not any(layer._forward_pre_hooks for layer in encoder.encoder.layer)


@pytest.mark.parametrize("settings", ALL, ids=name_of)
def test_recomputed_activations_give_the_same_gradients(tiny_encoder, side, images, settings):
    """Gradient checkpointing runs the layers, and hooks before them, again in the backward pass."""
    module, gradients = opened(build(tiny_encoder, settings)), []
    for recompute in (False, True):
        module.zero_grad()
        if recompute:
            module.text_encoder.gradient_checkpointing_enable()
        module.text_encoder.train()
        for part in module.text_encoder.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        module.encode({**side, "image": images}).pool("mean").square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in module.fusion.named_parameters()})
    assert gradients[0].keys() == dict(module.fusion.named_parameters()).keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])


@torch.no_grad()
@pytest.mark.parametrize("settings", ALL, ids=name_of)
def test_modules_are_copied_and_pickled_with_their_fusion(tiny_encoder, side, images, settings):
    """As processes that are spawned get them."""
    module = opened(build(tiny_encoder, settings))
    expected = module.encode({**side, "image": images}).hidden
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(other.encode({**side, "image": images}).hidden, expected)
        for parameter in module.fusion.parameters():
            parameter.zero_()  # no part of the copy is the original's
        assert torch.equal(other.encode({**side, "image": images}).hidden, expected)
        opened(module).load_state_dict(other.state_dict())


@pytest.mark.parametrize("settings", [ALL[0], *EXACT], ids=name_of)
def test_what_only_images_tell_is_learned(tiny_encoder, settings):
    """Which of two images is brighter? The text is always the same; chance is one half."""
    module = build(tiny_encoder, settings)
    head = ClassificationHead(16, 2, num_labels=2, dropout=0.0)
    module.text_encoder.embeddings.word_embeddings.requires_grad_(False)
    trained = [p for p in [*module.parameters(), *head.parameters()] if p.requires_grad]
    optimizer, generator = torch.optim.AdamW(trained, lr=5e-3), torch.Generator().manual_seed(0)

    def outputs(n):
        labels = torch.randint(0, 2, (n,), generator=generator)
        image = torch.randn(n, 2, TOKENS, WIDTH, generator=generator)
        image[torch.arange(n), labels, :, :3] += 1.0
        ids = torch.tensor([[0, 28017, 151, 2]]).expand(n, -1)
        side = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "image": image.flatten(1, 2)}
        return head(module.encode, {"text": side, "labels": labels}), labels

    accuracy = 0.0
    for step in range(1, 301):
        optimizer.zero_grad()
        outputs(32)[0]["loss"].backward()
        optimizer.step()
        if step % 30 == 0:
            with torch.no_grad():
                found, labels = outputs(256)
            accuracy = (found["logits"].argmax(1) == labels).float().mean().item()
        if accuracy >= 0.8:
            break
    assert accuracy >= 0.8


@pytest.mark.slow
def test_an_image_costs_hardly_more_than_the_same_number_of_words():
    """Processor time of an update in one thread, 40 tokens of text and ViT-B/32's 49 features of width 768."""
    config = XLMRobertaConfig(
        vocab_size=1000, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        max_position_embeddings=514, type_vocab_size=1, pad_token_id=1,
    )  # fmt: skip
    module = MultimodalModule()
    module.text_encoder = XLMRobertaModel(config, add_pooling_layer=False).train()
    long, image = torch.randint(5, 1000, (8, 89)), torch.randn(8, 49, 768)
    text = {"input_ids": long[:, :40], "attention_mask": torch.ones(8, 40, dtype=torch.int64)}
    cases = {"89 words": (None, {"input_ids": long, "attention_mask": torch.ones_like(long)}), "40 words": (None, text)}
    for settings in (
        {"kind": "prefix"},
        {"kind": "prefix", "tokens": 16},
        {"kind": "cross_attention"},
        {"kind": "late"},
    ):
        cases[name_of(settings)] = settings, {**text, "image": image}
    seconds = {name: [] for name in cases}
    for _ in range(12):
        for name, (settings, side) in cases.items():
            if settings is not None:
                module.fusion = build_fusion(FusionConfig(**settings), 768, 49, module.text_encoder)
            begun = time.process_time()
            module.encode(side).pool("mean").square().sum().backward()
            seconds[name].append(time.process_time() - begun)
            module.zero_grad()
            if settings is not None:
                module.fusion.detach()
    ratio = {name: min(values) / min(seconds["89 words"]) for name, values in seconds.items()}
    print({name: round(value, 2) for name, value in ratio.items()})  # noqa: T201 (the figures of docs/image_text.md)
    assert ratio["prefix"] <= 1.15
    assert ratio["late"] < ratio["prefix-16"] < ratio["prefix"]


# -- what cannot be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "prefx"}, "Did you mean prefix"),
        ({"kind": "late", "tokens": 4}, "tokens is not for 'late'"),
        ({"kind": "late", "every": 2}, "every is for 'cross_attention', not for 'late'"),
        ({"kind": "prefix", "every": 2}, "not for 'prefix'"),
        ({"tokens": 0}, r"model\.fusion\.tokens must be a whole number from 1"),
        ({"kind": "cross_attention", "every": "2"}, r"every must be a whole number"),
        ({"dropout": 1.0}, "below 1"),
        ({"tokens": 6}, "tokens is 6, but the tower gives 5"),
        ({"kind": "cross_attention", "every": 3}, "every is 3, but the encoder has 2 layers"),
    ],
)
def test_settings_that_contradict_each_other(tiny_encoder, settings, message):
    with pytest.raises(ConfigError, match=message):
        build(tiny_encoder, settings)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3 * TOKENS, WIDTH), "an item has 3 images: set model.fusion.images to 3"),
        ((TOKENS + 1, WIDTH), "the tower gives 5 features of width 6"),
        ((0, WIDTH), "the tower gives 5 features"),
        ((TOKENS, WIDTH + 1), "the tower gives 5 features of width 6"),
    ],
)
def test_images_that_do_not_fit(tiny_encoder, side, shape, message):
    for settings in ALL:
        with pytest.raises(ConfigError, match=message):
            build(tiny_encoder, settings).encode({**side, "image": torch.randn(3, *shape)})
