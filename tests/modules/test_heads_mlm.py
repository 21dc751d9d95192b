"""The masked-LM head against transformers' own, and the embedding matrix that it shares with the encoder."""

from __future__ import annotations

import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_module import trainer
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

from xmit import MultimodalModule
from xmit.errors import EncoderError
from xmit.modules.encoders import load_text_encoder, load_tokenizer
from xmit.modules.heads import build_head
from xmit.modules.heads_mlm import pretrained_head
from xmit.tasks import HeadSpec, MaskedLM

WORDS = [
    f"{a} {b}" for a in ("one", "two", "red", "blue") for b in ("dog sleeps", "cat runs", "bird sings", "fish swims")
]
NAMES = {"dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias", "bias"}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A folder as the hub has it: encoder and language-model head in one file."""
    folder = tmp_path_factory.mktemp("pretrained")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = XLMRobertaConfig(
        vocab_size=250002, max_position_embeddings=130, type_vocab_size=1, layer_norm_eps=1e-3, pad_token_id=1, **sizes
    )
    model = XLMRobertaForMaskedLM(config)
    for parameter in model.lm_head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    load_tokenizer("embedded:e5-small").save_pretrained(folder)
    return str(folder)


@pytest.fixture
def texts(tmp_path):
    for code in ("de", "en"):
        (tmp_path / f"{code}.txt").write_text("\n\n".join(f"{text} {n}" for n in range(3) for text in WORDS))
    return str(tmp_path)


def batch(labels=True):
    torch.manual_seed(1)
    ids = torch.randint(5, 250000, (3, 20))
    mask = torch.ones_like(ids)
    mask[1, 12:], ids[1, 12:] = 0, 1
    chosen = (torch.rand(ids.shape) < 0.3) & mask.bool()
    chosen[2] = False  # a block without any token to predict
    return {"task": "masked_lm", "text": {"input_ids": ids, "attention_mask": mask},
            "labels": torch.where(chosen, ids, -100) if labels else None}  # fmt: skip


def built(source, **settings):
    module = MultimodalModule(encoder=source, **settings)
    module._build_encoder()
    module._build_heads({"masked_lm": HeadSpec("mlm")})
    return module.eval()


@torch.no_grad()
@pytest.mark.parametrize("sharded", [False, True])
def test_head_is_transformers_own_with_its_pretrained_weights(pretrained, tmp_path, sharded):
    oracle = XLMRobertaForMaskedLM.from_pretrained(pretrained).eval()
    source = pretrained
    if sharded:
        source = str(tmp_path)
        oracle.save_pretrained(source, max_shard_size="1MB")
        load_tokenizer(pretrained).save_pretrained(source)
        assert not (tmp_path / "model.safetensors").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module = built(source)
    data = batch()
    expected = oracle(**data["text"], labels=data["labels"])
    chosen = data["labels"] != -100
    head = module.heads["masked_lm"]
    logits = head.logits(module.encode(data["text"]).hidden[chosen])
    torch.testing.assert_close(logits, expected.logits[chosen])
    outputs = module(data)
    torch.testing.assert_close(outputs["loss"], expected.loss)
    assert outputs["masked"].tolist() == chosen.sum(1).tolist()
    assert outputs["masked"][2] == outputs["right"][2] == outputs["nats"][2] == 0
    torch.testing.assert_close(outputs["nats"].sum() / chosen.sum(), expected.loss)
    # of the best guesses, some are right by construction
    best = expected.logits.argmax(-1)
    data["labels"][0, 3:7] = best[0, 3:7]
    assert module(data)["right"][0] >= 4
    assert module(data)["right"].tolist() == (best == data["labels"]).sum(1).tolist()


def test_embeddings_are_shared_and_counted_once(pretrained):
    module = built(pretrained)
    assert {name.removeprefix("heads.masked_lm.") for name in module.state_dict() if name.startswith("heads.")} == NAMES
    large = [name for name, p in module.named_parameters() if p.shape[0] == 250002 and p.ndim == 2]
    assert large == ["text_encoder.embeddings.word_embeddings.weight"]
    module.train()(batch())["loss"].backward()
    gradient = module.text_encoder.embeddings.word_embeddings.weight.grad
    # the softmax reaches all rows, where the embedding layer alone reaches those of the batch
    assert (gradient.abs().sum(1) > 0).float().mean() > 0.99
    frozen = built(pretrained, embedding="frozen")
    frozen.train()(batch())["loss"].backward()
    assert frozen.text_encoder.embeddings.word_embeddings.weight.grad is None
    assert frozen.heads["masked_lm"].bias.grad.abs().sum() > 0


def test_nothing_masked_is_no_loss(pretrained):
    data = batch()
    data["labels"].fill_(-100)
    loss = built(pretrained).train()(data)["loss"]
    assert loss == 0
    loss.backward()


def test_training_updates_the_shared_matrix_once_and_saves_a_stock_encoder(pretrained, texts, tmp_path):
    module = MultimodalModule(encoder=pretrained, learning_rate=1e-3)
    fit = trainer(tmp_path, max_steps=2)
    fit.fit(module, MaskedLM(languages=["de", "en"], data_dir=texts, batch_size=4, max_length=32))
    updated = [p for group in fit.optimizers[0].param_groups for p in group["params"]]
    assert len({id(p) for p in updated}) == len(updated) == len(list(module.parameters()))
    before = load_text_encoder(pretrained).embeddings.word_embeddings.weight
    after = module.text_encoder.embeddings.word_embeddings.weight
    assert module.heads["masked_lm"]._words[0].weight is after
    assert not torch.equal(before, after)
    module.save_pretrained(str(tmp_path / "encoder"))
    saved = set(load_file(tmp_path / "encoder" / "model.safetensors"))
    assert saved == set(load_text_encoder(pretrained).state_dict())
    assert not any("lm_head" in name for name in saved)


def test_checkpoint_brings_the_head_back(pretrained, texts, tmp_path):
    module = MultimodalModule(encoder=pretrained, learning_rate=1e-3)
    fit = trainer(tmp_path, max_steps=2)
    fit.fit(module, MaskedLM(languages=["de", "en"], data_dir=texts, batch_size=4, max_length=32))
    fit.save_checkpoint(tmp_path / "x.ckpt")
    again = MultimodalModule.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=True)
    assert again.heads["masked_lm"]._words[0] is again.text_encoder.embeddings.word_embeddings
    with torch.no_grad():
        assert torch.equal(module.cpu().eval()(batch())["nats"], again.eval()(batch())["nats"])


def test_without_pretrained_head_it_starts_at_random_with_a_warning(tiny_encoder):
    assert pretrained_head("embedded:e5-small") == pretrained_head(tiny_encoder) == {}
    with pytest.warns(UserWarning, match=r"starts at random: .* has no lm_head"):
        module = built(tiny_encoder)
    assert module.heads["masked_lm"].dense.weight.std().item() == pytest.approx(0.02, rel=0.3)
    assert torch.isfinite(module(batch())["loss"])


def test_a_head_that_does_not_fit_is_refused(pretrained, tmp_path):
    weights = load_file(f"{pretrained}/model.safetensors")
    del weights["lm_head.dense.bias"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    head = build_head("mlm", 16, 2, {})
    with pytest.raises(EncoderError, match=r"do not fit.*dense\.bias"):
        head.attach(load_text_encoder(pretrained), str(tmp_path))
