"""Training with a fusion, which comes off without a trace, and goes along from one run on images to the next."""

from __future__ import annotations

import json

import pytest
import torch
from fusion_tools import ALL, TEXTS, name_of
from image_tasks import Brighter
from mix_tasks import Odd, Vowels
from safetensors.torch import load_file
from small_trainer import trainer
from transformers import AutoModel

from xmit import MultimodalModule
from xmit.__main__ import main
from xmit.errors import EncoderError
from xmit.modules.encoders import load_text_encoder, load_tokenizer
from xmit.modules.fusion import FusionConfig
from xmit.modules.vision import VisionConfig
from xmit.tasks import TaskMixture

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def side(tiny_encoder):
    return dict(load_tokenizer(tiny_encoder)(TEXTS, padding=True, return_tensors="pt"))


@pytest.fixture(scope="module")
def vision(tmp_path_factory):
    return VisionConfig("embedded:digits", random=True, cache_dir=str(tmp_path_factory.mktemp("features")))


# -- training, and away without a trace --------------------------------------------------------------------


def mixture():
    return TaskMixture([Brighter(batch_size=8), Odd(batch_size=8)], "both", updates_per_epoch=6, sampling="uniform")


@pytest.mark.parametrize("settings", ALL, ids=name_of)
def test_text_and_image_text_train_together_and_leave_a_stock_encoder(tiny_encoder, vision, tmp_path, side, settings):
    torch.manual_seed(0)
    module = MultimodalModule(encoder=tiny_encoder, learning_rate=1e-2, vision=vision, fusion=FusionConfig(**settings))
    tower = {name: value.clone() for name, value in module.image_spec.tower.state_dict().items()}
    drawn = []

    def before(optimizer):
        drawn.append({p.grad is not None for p in module.fusion.parameters()})

    module.on_before_optimizer_step = before
    fit = trainer(tmp_path, max_steps=6)
    fit.fit(module, mixture())
    # a text batch leaves the fusion alone, an image-text batch reaches all of it
    assert {True} in drawn
    assert {False} in drawn
    assert len(drawn) == 6
    assert all(len(reached) == 1 for reached in drawn)
    # nothing has moved the tower, and nothing keeps it
    after = module.image_spec.tower.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in tower.items())
    trained = {id(p) for group in fit.optimizers[0].param_groups for p in group["params"]}
    assert not trained & {id(p) for p in module.image_spec.tower.parameters()}
    assert {id(p) for p in module.fusion.parameters()} <= trained
    assert not [name for name in module.state_dict() if "tower" in name or name.startswith("image_spec")]
    # the folder is a stock encoder: no weight more or fewer, and the text path is the module's own
    module.eval().save_pretrained(str(tmp_path / "encoder"))
    stored = load_file(tmp_path / "encoder" / "model.safetensors")
    assert stored.keys() == load_text_encoder(tiny_encoder).state_dict().keys()
    stock, report = AutoModel.from_pretrained(tmp_path / "encoder", output_loading_info=True)
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert all("pooler" in key for key in report["missing_keys"])
    with torch.no_grad():
        assert torch.equal(stock.eval()(**side).last_hidden_state, module.encode(side).hidden)


@pytest.mark.parametrize("settings", ALL, ids=name_of)
def test_checkpoints_hold_the_fusion(tiny_encoder, vision, tmp_path, side, settings):
    whole = MultimodalModule(encoder=tiny_encoder, learning_rate=1e-2, vision=vision, fusion=FusionConfig(**settings))
    fit = trainer(tmp_path, max_steps=2)
    fit.fit(whole, mixture())
    fit.save_checkpoint(tmp_path / "two.ckpt")
    again = MultimodalModule.load_from_checkpoint(tmp_path / "two.ckpt", weights_only=True).eval()
    image = torch.randn(3, whole.image_spec.n_tokens, whole.image_spec.width)
    with torch.no_grad():
        expected = whole.eval().encode({**side, "image": image}).hidden
        assert torch.equal(again.encode({**side, "image": image}).hidden, expected)
    # and training goes on from there
    resumed = MultimodalModule(encoder=tiny_encoder, learning_rate=1e-2, vision=vision, fusion=FusionConfig(**settings))
    trainer(tmp_path, max_steps=3).fit(resumed, mixture(), ckpt_path=tmp_path / "two.ckpt")
    assert resumed.global_step == 3


def test_a_fusion_of_other_settings_is_not_resumed(tiny_encoder, vision, tmp_path):
    module = MultimodalModule(encoder=tiny_encoder, vision=vision, fusion=FusionConfig("late"))
    fit = trainer(tmp_path, max_steps=1)
    fit.fit(module, Brighter())
    fit.save_checkpoint(tmp_path / "one.ckpt")
    other = MultimodalModule(encoder=tiny_encoder, vision=vision, fusion=FusionConfig("late", dropout=0.5))
    with pytest.raises(EncoderError, match=r"these differ: fusion .*'dropout': 0\.0"):
        trainer(tmp_path, max_steps=2).fit(other, Brighter(), ckpt_path=tmp_path / "one.ckpt")


# -- from an image-text run to the next --------------------------------------------------------------------


@pytest.fixture(scope="module")
def image_run(tiny_encoder, vision, tmp_path_factory):
    """A run on images, from the command line."""
    run = tmp_path_factory.mktemp("runs") / "brighter"
    arguments = ["--model.encoder", tiny_encoder, "--model.vision.name", vision.name, "--model.vision.random", "true"]
    arguments += ["--model.vision.cache_dir", vision.cache_dir, "--model.learning_rate", "0.01"]
    arguments += ["--model.fusion.kind", "cross_attention", "--model.fusion.tokens", "3"]
    arguments += ["--trainer.max_steps", "3", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    assert main(["fit", "--data", "image_tasks.Brighter", *arguments, "--output", str(run)]) == 0
    return run


def start(run, vision, tmp_path, task=None, **settings):
    module = MultimodalModule(init_from=str(run), vision=vision, learning_rate=0.0, **settings)
    trainer(tmp_path, max_steps=1).fit(module, task or Brighter(batch_size=4))
    return module


def test_a_target_with_images_goes_on_with_the_fusion(image_run, vision, tmp_path):
    done = json.loads((image_run / "done.json").read_text())["files"]
    assert {"fusion/config.json", "fusion/model.safetensors", "encoder/model.safetensors"} <= done.keys()
    saved = load_file(image_run / "fusion" / "model.safetensors")
    assert any(name.endswith("gates") and value.abs().sum() > 0 for name, value in saved.items())
    for run in (image_run, image_run / "encoder"):
        module = start(run, vision, tmp_path)  # without a word about which fusion
        assert module.fusion.config.kind == "cross_attention"
        assert all(torch.equal(value, module.fusion.state_dict()[name]) for name, value in saved.items())
    asked = start(image_run, vision, tmp_path, fusion=FusionConfig("cross_attention", 3, dropout=0.1))
    assert all(torch.equal(value, asked.fusion.state_dict()[name]) for name, value in saved.items())


def test_a_target_of_text_takes_the_encoder_alone(image_run, tmp_path):
    module = start(image_run, None, tmp_path, Vowels())
    assert module.fusion is None
    assert not [name for name in module.state_dict() if not name.startswith(("text_encoder.", "heads."))]
    assert not any(layer._forward_pre_hooks for layer in module.text_encoder.encoder.layer)


def test_a_new_fusion_where_it_is_asked_for(image_run, vision, tmp_path):
    module = start(image_run, vision, tmp_path, fusion=FusionConfig("late", new=True))
    assert module.fusion.config.kind == "late"
    assert not module.fusion.output.weight.any()


def test_a_fusion_that_does_not_fit_is_refused(image_run, vision, tmp_path):
    with pytest.raises(EncoderError, match=r"has kind 'cross_attention' instead of 'prefix'.*model\.fusion\.new true"):
        start(image_run, vision, tmp_path, fusion=FusionConfig())
    pooled = VisionConfig(vision.name, random=True, output="pooled", cache_dir=vision.cache_dir)
    with pytest.raises(EncoderError, match=r"\(random, tokens\), this run's is embedded:digits \(random, pooled\)"):
        start(image_run, pooled, tmp_path)


def test_a_damaged_fusion_is_refused(image_run, vision, tmp_path):
    (tmp_path / "encoder").symlink_to(image_run / "encoder")
    (tmp_path / "fusion").mkdir()
    config = (image_run / "fusion" / "config.json").read_text()
    weights = (image_run / "fusion" / "model.safetensors").read_bytes()
    for text, content, message in (
        (config, weights[:-3], "is damaged"),
        (config[:-9], weights, "is damaged"),
        ("{}", weights, "is damaged"),
        (config.replace('"tokens": 3', '"tokens": 2'), weights, "does not fit the encoder"),
    ):
        (tmp_path / "fusion" / "config.json").write_text(text)
        (tmp_path / "fusion" / "model.safetensors").write_bytes(content)
        with pytest.raises(EncoderError, match=message):
            start(tmp_path, vision, tmp_path)
