"""The module against transformers' own models, and what training may and may not touch."""

from __future__ import annotations

import math

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from encode_tools import one_or_several
from my_tasks import MyTask
from small_trainer import trainer
from transformers import AutoModel, AutoTokenizer, XLMRobertaForSequenceClassification

from xmit import MultimodalModule
from xmit.errors import ConfigError, DataError, EncoderError, TrainingError
from xmit.modules.encoders import load_text_encoder, load_tokenizer, resolve_init_from
from xmit.modules.heads import ClassificationHead, ContrastiveHead, Encoded, build_head
from xmit.modules.vision import VisionConfig
from xmit.tasks import CldrRetrieval, DigitsImage

TEXTS = ["Habari ya asubuhi", "good", "ein etwas längerer Satz mit vielen Wörtern"]


@pytest.fixture
def trained(tiny_encoder, tmp_path):
    torch.manual_seed(0)
    module = MultimodalModule(encoder=tiny_encoder, learning_rate=1e-2, embedding="frozen")
    trainer(tmp_path).fit(module, MyTask(batch_size=8))
    return module.eval()


@pytest.fixture
def built(tiny_encoder):
    module = MultimodalModule(encoder=tiny_encoder).eval()
    module._build_encoder()
    module.text_encoder.eval()
    return module


def inputs(folder):
    return dict(load_tokenizer(folder)(TEXTS, padding=True, return_tensors="pt"))


@torch.no_grad()
@pytest.mark.parametrize("layer", [None, 0, 1, 2])
def test_hidden_states_are_transformers_own(built, tiny_encoder, layer):
    side = inputs(tiny_encoder)
    own = AutoModel.from_pretrained(tiny_encoder).eval()(**side, output_hidden_states=True)
    expected = own.last_hidden_state if layer is None else own.hidden_states[layer]
    torch.testing.assert_close(built.encode(side, layer).hidden, expected)


def test_images_without_a_tower_are_refused(built, tiny_encoder):
    with pytest.raises(ConfigError, match=r"model\.vision\.name"):
        built.encode({**inputs(tiny_encoder), "image": torch.randn(3, 5, 6)})


@torch.no_grad()
def test_classification_head_is_xlm_r_s(tiny_encoder):
    oracle = XLMRobertaForSequenceClassification.from_pretrained(tiny_encoder, num_labels=3).eval()
    head = ClassificationHead(16, 2, num_labels=3).eval()
    head.dense.load_state_dict(oracle.classifier.dense.state_dict())
    head.projection.load_state_dict(oracle.classifier.out_proj.state_dict())
    side, labels = inputs(tiny_encoder), torch.tensor([0, 2, 1])

    @one_or_several
    def encode(side, layer=None, first=False):
        return Encoded(oracle.roberta(**side).last_hidden_state, side["attention_mask"])

    expected = oracle(**side, labels=labels)
    outputs = head(encode, {"text": side, "labels": labels})
    torch.testing.assert_close(outputs["logits"], expected.logits)
    torch.testing.assert_close(outputs["loss"], expected.loss)


@torch.no_grad()
def test_contrastive_loss_is_open_clip_s():
    from open_clip.loss import ClipLoss

    head = ContrastiveHead(16, 2)
    hidden = {side: torch.randn(7, 1, 16) for side in ("caption", "match")}

    @one_or_several
    def encode(side, layer=None, first=False):
        return Encoded(hidden[side["which"]], torch.ones(7, 1))

    batch = {side: {"which": side} for side in hidden}
    outputs = head(encode, {**batch, "labels": torch.arange(7)})
    expected = ClipLoss()(outputs["match"], outputs["caption"], head.log_scale.exp())
    torch.testing.assert_close(outputs["loss"], expected)
    # two items of one group count as each other's positives, so neither is a false negative
    same = head(encode, {**batch, "labels": torch.zeros(7, dtype=torch.int64)})["loss"]
    logits = head.log_scale.exp() * outputs["caption"] @ outputs["match"].T
    uniform = -(logits.log_softmax(1).mean() + logits.T.log_softmax(1).mean()) / 2
    torch.testing.assert_close(same, uniform)


def test_retrieval_layer_scales_to_depth():
    assert build_head("embedding", 1024, 24, {}).layer == 14
    assert build_head("embedding", 384, 12, {}).layer == 7
    with pytest.raises(ConfigError, match="hidden layers 0 to 12"):
        build_head("embedding", 384, 12, {"layer": 13})
    with pytest.raises(ConfigError, match="Did you mean classification"):
        build_head("clasification", 1, 1, {})


def test_training_changes_the_encoder_but_not_frozen_embeddings(trained, tiny_encoder):
    before, after = load_text_encoder(tiny_encoder).state_dict(), trained.text_encoder.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "embeddings.word_embeddings.weight" not in changed
    assert "encoder.layer.0.attention.self.query.weight" in changed


def test_image_text_training_leaves_the_tower_alone_and_no_trace_of_it(tiny_encoder, tmp_path):
    module = MultimodalModule(
        encoder=tiny_encoder,
        learning_rate=1e-2,
        vision=VisionConfig("embedded:digits", random=True, cache_dir=str(tmp_path / "cache")),
    )
    before = {name: value.clone() for name, value in module.image_spec.tower.state_dict().items()}
    fit = trainer(tmp_path)
    fit.fit(module, DigitsImage(batch_size=8))
    after = module.image_spec.tower.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in module.image_spec.tower.parameters())
    trained = {id(p) for group in fit.optimizers[0].param_groups for p in group["params"]}
    assert not trained & {id(p) for p in module.image_spec.tower.parameters()}
    assert {id(p) for p in module.fusion.parameters()} <= trained
    assert not [name for name in module.state_dict() if "visual" in name or "tower" in name]
    # what is saved is a stock encoder: the fusion is gone, the text path is as it was in the module
    module.eval().save_pretrained(str(tmp_path / "encoder"))
    stock, side = AutoModel.from_pretrained(tmp_path / "encoder").eval(), inputs(tiny_encoder)
    assert {n for n in stock.state_dict() if "pooler" not in n} == set(load_text_encoder(tiny_encoder).state_dict())
    with torch.no_grad():
        torch.testing.assert_close(stock(**side).last_hidden_state, module.encode(side).hidden)


def test_saved_encoder_is_stock(trained, tiny_encoder, tmp_path):
    trained.save_pretrained(str(tmp_path / "encoder"))
    side = inputs(tiny_encoder)
    with torch.no_grad():
        own = AutoModel.from_pretrained(tmp_path / "encoder").eval()(**side).last_hidden_state
        torch.testing.assert_close(own, trained.encode(side).hidden)
    assert (
        AutoTokenizer.from_pretrained(tmp_path / "encoder")(TEXTS)["input_ids"]
        == load_tokenizer(tiny_encoder)(TEXTS)["input_ids"]
    )
    names = {p.name for p in (tmp_path / "encoder").iterdir()}
    assert "model.safetensors" in names
    assert not any(name.endswith((".bin", ".pt", ".pkl", ".py")) for name in names)


def test_init_from_takes_the_encoder_and_a_new_head(trained, tiny_encoder, tmp_path):
    trained.save_pretrained(str(tmp_path / "run" / "encoder"))
    for source in (tmp_path / "run", tmp_path / "run" / "encoder"):
        module = MultimodalModule(encoder=tiny_encoder, init_from=str(source))
        trainer(tmp_path, max_steps=1, limit_val_batches=0, limit_train_batches=0).fit(module, MyTask())
        for name, value in trained.text_encoder.state_dict().items():
            assert torch.equal(value, module.text_encoder.state_dict()[name]), name
        assert not torch.equal(module.heads["my_task"].dense.weight, trained.heads["my_task"].dense.weight)


def test_init_from_says_what_is_wrong(tmp_path):
    (tmp_path / "x.ckpt").touch()
    with pytest.raises(DataError, match="xmit export"):
        resolve_init_from(str(tmp_path / "x.ckpt"))
    with pytest.raises(DataError, match="no encoder in"):
        resolve_init_from(str(tmp_path))
    with pytest.raises(DataError, match="there is no folder"):
        resolve_init_from(str(tmp_path / "nowhere"))


def test_wrong_encoders_are_one_clear_error(tmp_path):
    with pytest.raises(EncoderError, match="could not be loaded"):
        load_text_encoder(str(tmp_path / "nothing"))
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(EncoderError, match="of type 'bert'"):
        load_text_encoder(str(tmp_path / "bert"))
    (tmp_path / "xlm").mkdir()
    (tmp_path / "xlm" / "config.json").write_text('{"model_type": "xlm-roberta"}')
    with pytest.raises(EncoderError, match=r"could not be loaded \(\S.*[^:]\)\. Give a folder"):
        load_text_encoder(str(tmp_path / "xlm"))
    with pytest.raises(EncoderError, match=r"xlm' has no tokenizer: copy tokenizer\.json"):
        load_tokenizer(str(tmp_path / "xlm"))


def test_results_and_predictions_agree(trained, tmp_path):
    task = MyTask()
    trainer(tmp_path).test(trained, task, verbose=False)
    rows, predictions = trained.results["test"], trained.predictions["test"]
    main = rows[rows.is_main].set_index("language")["value"]
    right = predictions["prediction"] == predictions["target"]
    expected = right.groupby(predictions["language"]).mean()
    assert list(main.index) == ["en", "de", "sw"]
    for language in main.index:
        assert main[language] == pytest.approx(expected[language])
    agreement = rows[(rows.metric == "consistency/agreement") & (rows.language == "sw")]["value"].item()
    pivoted = predictions.pivot(index="id", columns="language", values="prediction")
    assert agreement == pytest.approx((pivoted["en"] == pivoted["sw"]).mean())


def test_batching_of_the_stream_does_not_change_predictions(trained, tmp_path):
    scores = []
    for eval_tokens in (1, 40, 100000):
        trainer(tmp_path).test(trained, MyTask(eval_tokens=eval_tokens), verbose=False)
        scores.append(torch.tensor(np.stack(trained.predictions["test"]["scores"].to_list())))
    torch.testing.assert_close(scores[0], scores[1])
    torch.testing.assert_close(scores[0], scores[2])


def test_nan_loss_is_one_clear_error(tiny_encoder, tmp_path):
    module = MultimodalModule(encoder=tiny_encoder, learning_rate=math.inf)
    with pytest.raises(TrainingError, match=r"lower model\.learning_rate"):
        trainer(tmp_path, log_every_n_steps=1, max_steps=20).fit(module, MyTask(batch_size=8))


def test_weights_that_are_no_numbers_are_not_validated(tiny_encoder, tmp_path):
    module = MultimodalModule(encoder=tiny_encoder, learning_rate=math.inf)
    scored = []
    module.on_validation_epoch_end = lambda: scored.append(module.global_step)
    fit = trainer(tmp_path, log_every_n_steps=100, max_steps=20, val_check_interval=6)
    with pytest.raises(TrainingError, match="before update 6:"):
        fit.fit(module, MyTask(batch_size=8))
    assert not scored


@pytest.mark.parametrize(
    ("name", "value"),
    [("weight_decay", -1.0), ("head_learning_rate", "1e-3"), ("dropout", 1.5), ("warmup", 2), ("learning_rate", True)],
)
def test_settings_that_are_no_such_numbers_are_refused(name, value):
    with pytest.raises(ConfigError, match=rf"model\.{name} must be a number from 0"):
        MultimodalModule(**{name: value})


@pytest.mark.parametrize("name", ["batch_size", "train_examples", "validation_examples", "train_tokens", "max_length"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "3"])
def test_counts_are_counts(name, value):
    with pytest.raises(ConfigError, match=rf"data\.{name} must be a whole number from 1, not {value!r}"):
        MyTask(**{name: value})


def test_a_head_may_be_left_as_it_is(tiny_encoder, tmp_path):
    module = MultimodalModule(encoder=tiny_encoder, learning_rate=1e-3, head_learning_rate=0)
    fit = trainer(tmp_path)
    fit.fit(module, MyTask(batch_size=8))
    assert {group["initial_lr"] for group in fit.optimizers[0].param_groups} == {0, 1e-3}


def test_a_schedule_without_an_end_is_refused(tiny_encoder, tmp_path):
    endless = trainer(tmp_path, max_steps=-1, max_epochs=-1, max_time="00:00:10:00")
    with pytest.raises(ConfigError, match=r"set trainer\.max_steps or trainer\.max_epochs"):
        endless.fit(MultimodalModule(encoder=tiny_encoder), MyTask(batch_size=8))


def test_saving_leaves_strangers_files_alone(built, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "run.sh").touch(0o755)
    built.save_pretrained(str(tmp_path))
    modes = {path.name: oct(path.stat().st_mode)[-3:] for path in tmp_path.iterdir()}
    assert modes["mine"] == modes["run.sh"] == "755"
    assert modes["model.safetensors"] == "644"


def test_a_part_of_a_split_is_no_pool_of_candidates(tiny_encoder, tmp_path):
    with pytest.raises(ConfigError, match=r"'cldr_retrieval' looks for neighbours among all .* trainer\.limit_"):
        trainer(tmp_path, limit_test_batches=1).test(MultimodalModule(encoder=tiny_encoder), CldrRetrieval())


@pytest.mark.parametrize("kind", ["dual", "contrastive"])
def test_similarities_are_in_full_precision(kind):
    torch.manual_seed(0)
    common = torch.randn(1, 1, 64)
    sides = {name: common + 0.3 * torch.randn(32, 3, 64) for name in ("a", "b")}

    @one_or_several
    def encode(side, layer=None, first=False):
        return Encoded(sides[side], torch.ones(32, 3))

    head = build_head(kind, 64, 2, {"pooling": "mean"} if kind == "dual" else {})
    names = ("query", "candidate") if kind == "dual" else ("caption", "match")
    batch = dict(zip(names, "ab", strict=True)) | {"labels": torch.arange(32)}
    exact = head(encode, batch)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        assert head(encode, batch)["loss"].item() == pytest.approx(exact.item(), rel=1e-5)


def test_dataloaders_without_a_task_are_refused(tiny_encoder, tmp_path):
    module = MultimodalModule(encoder=tiny_encoder)
    with pytest.raises(ConfigError, match="give the trainer a task"):
        trainer(tmp_path).fit(module, torch.utils.data.DataLoader([1]))


def test_learning_rate_rises_and_falls(tiny_encoder, tmp_path):
    module = MultimodalModule(encoder=tiny_encoder, learning_rate=1e-3, head_learning_rate=1e-2, warmup=0.25)
    fit = trainer(tmp_path, max_steps=16)
    rates = []

    def keep(*_):
        rates.append({group["lr"] for group in fit.optimizers[0].param_groups})

    module.on_train_batch_start = keep
    fit.fit(module, MyTask(batch_size=8))
    encoder_rates = [min(r) for r in rates]
    assert encoder_rates[0] == 0
    assert encoder_rates.index(max(encoder_rates)) == 4
    assert max(encoder_rates) == pytest.approx(1e-3)
    assert encoder_rates[-1] == pytest.approx(1e-3 / 12)
    assert max(rates[4]) == pytest.approx(1e-2)


def test_no_gradients_lie_around_while_the_next_batch_is_computed_on(tiny_encoder, tmp_path):
    class Watch(pl.Callback):
        def __init__(self):
            self.updated, self.kept = [], []

        def on_before_optimizer_step(self, trainer, module, optimizer):
            self.updated.append(sum(p.grad is not None for p in module.parameters()))

        def on_train_batch_end(self, trainer, module, *_):
            self.kept.append(sum(p.grad is not None for p in module.parameters()))

    watch = Watch()
    module = MultimodalModule(encoder=tiny_encoder)
    trainer(tmp_path, accumulate_grad_batches=2, max_steps=2, callbacks=[watch]).fit(module, MyTask(batch_size=8))
    assert len(watch.updated) == 2
    assert watch.kept == [watch.updated[0], 0] * 2  # the first of two batches is not an update yet
