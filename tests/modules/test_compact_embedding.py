"""The compact embedding against torch's own AdamW on the whole matrix."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from mix_tasks import Odd, Vowels
from torch import nn
from transformers import AutoModel

from xmit import MultimodalModule, Trainer
from xmit.modules.compact_embedding import CompactEmbedding, follow_decay, used_rows
from xmit.modules.encoders import load_text_encoder
from xmit.tasks import TaskMixture


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(500, 12, padding_idx=1)
        self.body = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 3))


def test_equals_the_whole_matrix_after_200_updates():
    """AdamW with weight decay, gradient clipping and a schedule; unused rows decay too."""
    dense = Model()
    small = copy.deepcopy(dense)
    rows = np.unique([*np.random.default_rng(0).integers(0, 500, 60).tolist(), 1])
    compact = small.words = CompactEmbedding(small.words, rows)
    generator = torch.Generator().manual_seed(1)
    optimizers = [torch.optim.AdamW(m.parameters(), 1e-2, weight_decay=0.1, fused=True) for m in (dense, small)]
    schedules = [torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.1, 200) for o in optimizers]
    follow_decay(compact, optimizers[1])
    for _ in range(200):
        ids = torch.from_numpy(rows)[torch.randint(len(rows), (8, 7), generator=generator)]
        labels = torch.randint(3, (8,), generator=generator)
        for model, optimizer, schedule in zip((dense, small), optimizers, schedules, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model.body(model.words(ids)).mean(1), labels).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
    torch.testing.assert_close(compact.table(), dense.words.weight.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(small.body.state_dict(), dense.body.state_dict(), atol=1e-5, rtol=0)
    assert 0.8 < compact.decay < 0.99
    assert not compact.weight.grad[compact.padding_idx].any()
    torch.testing.assert_close(small.state_dict()["words.weight"], compact.table())
    torch.testing.assert_close(compact.whole()(ids), small.words(ids))


def test_an_id_outside_is_an_error():
    embedding = CompactEmbedding(nn.Embedding(20, 4), np.array([2, 5]))
    with pytest.raises(IndexError):
        embedding(torch.tensor([2, 3]))


def fit(folder, tiny_encoder, task, embedding, ckpt_path=None, **settings):
    torch.manual_seed(3)
    module = MultimodalModule(encoder=tiny_encoder, learning_rate=1e-2, weight_decay=0.1, embedding=embedding)
    last = ModelCheckpoint(folder, "last", every_n_train_steps=4, enable_version_counter=False)
    options = {"max_steps": 12, "max_epochs": -1, "precision": "32-true", "accelerator": "cpu", "logger": False}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "gradient_clip_val": 0.5}
    torch.manual_seed(3)
    trainer = Trainer(**options, **quiet, callbacks=[last], **settings)
    trainer.fit(module, task, ckpt_path=ckpt_path)
    return module, trainer


@pytest.fixture(scope="module")
def runs(tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    found = {}
    for embedding in ("full", "compact"):
        module, trainer = fit(folder / embedding, tiny_encoder, Vowels(batch_size=4), embedding)
        trainer.test(module, trainer.datamodule, verbose=False)
        found[embedding] = module
    return found, folder


def test_a_run_gives_the_same_as_with_all_rows(runs, tiny_encoder, tmp_path):
    found, folder = runs
    full, compact = (found[name].state_dict() for name in ("full", "compact"))
    assert full.keys() == compact.keys()
    for name, value in full.items():
        torch.testing.assert_close(compact[name], value, atol=1e-5, rtol=1e-5, msg=name)
    assert (
        found["compact"]
        .predictions["test"]
        .drop(columns="scores")
        .equals(found["full"].predictions["test"].drop(columns="scores"))
    )
    key = "text_encoder.embeddings.word_embeddings.weight"
    saved = torch.load(folder / "compact" / "last.ckpt", weights_only=True)
    assert saved["state_dict"][key].shape == full[key].shape
    sizes = [state["exp_avg"].shape[0] for state in saved["optimizer_states"][0]["state"].values()]
    assert max(sizes) < 1000  # the optimizer keeps no state of rows that are not in use
    before = load_text_encoder(tiny_encoder).embeddings.word_embeddings.weight.detach()
    unused = np.setdiff1d(np.arange(len(before)), used_rows(bound(found), len(before)))
    assert len(unused) > 249_000
    assert (compact[key][unused].norm() / before[unused].norm()).item() < 0.9999
    found["compact"].save_pretrained(str(tmp_path))
    torch.testing.assert_close(AutoModel.from_pretrained(tmp_path).get_input_embeddings().weight, compact[key])


def bound(found):
    task = Vowels()
    task.bind(found["full"].tokenizer)
    return task


def test_saved_within_training_it_is_whole(tiny_encoder, tmp_path):
    class Save:
        def on_train_batch_end(self, trainer, module, *_):
            if trainer.global_step == 3:
                assert module._compact is not None
                module.save_pretrained(str(tmp_path / "within"))

    from lightning.pytorch import Callback

    saver = type("Saver", (Save, Callback), {})()
    module = MultimodalModule(encoder=tiny_encoder, learning_rate=1e-2)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    Trainer(max_steps=3, enable_model_summary=False, callbacks=[saver], **quiet).fit(module, Vowels(batch_size=4))
    saved = AutoModel.from_pretrained(tmp_path / "within").state_dict()
    mine = module.text_encoder.state_dict()
    assert mine["embeddings.word_embeddings.weight"].shape == (250002, 16)
    for name, value in mine.items():
        torch.testing.assert_close(saved[name], value, msg=name)


def test_a_run_that_goes_on_is_the_same_to_the_last_bit(runs, tiny_encoder, tmp_path):
    found, _ = runs
    with pytest.raises(RuntimeError, match="stopped"):
        fit(tmp_path, tiny_encoder, Stops(batch_size=4), "compact")
    stopped = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert stopped["global_step"] == 4
    assert stopped["embedding"]["decay"] < 1
    resumed, _ = fit(tmp_path, tiny_encoder, Vowels(batch_size=4), "compact", ckpt_path=str(tmp_path / "last.ckpt"))
    for name, value in found["compact"].state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


class Stops(Vowels):
    """Is interrupted in its sixth batch."""

    def batch(self, split, items):
        self.seen = getattr(self, "seen", 0) + 1
        if self.seen == 6:
            raise RuntimeError("stopped")
        return super().batch(split, items)


class Longer(Vowels):
    """Has words that Vowels has not."""

    def load_split(self, split, language):
        table = super().load_split(split, language)
        return table.map(lambda row: {"text": row["text"] + " Blumentopf"})


def test_other_data_are_refused(runs, tiny_encoder, tmp_path):
    _, folder = runs
    with pytest.raises(Exception, match="other rows of the vocabulary"):
        fit(tmp_path, tiny_encoder, Longer(batch_size=4), "compact", ckpt_path=str(folder / "compact" / "last.ckpt"))


def test_a_mixture_has_the_rows_of_all_its_tasks(runs):
    found, _ = runs
    tokenizer = found["full"].tokenizer
    mixture = TaskMixture([Vowels(), Odd()])
    mixture.bind(tokenizer)
    rows = used_rows(mixture, 250002)
    expected = set(tokenizer.all_special_ids)
    for task in (Vowels(), Odd()):
        for split in ("train", "validation"):
            expected |= {i for text in task.load_split(split, "en")["text"] for i in tokenizer(text)["input_ids"]}
    assert rows.tolist() == sorted(expected)


def test_masked_lm_trains_every_row(tiny_encoder, tmp_path):
    from xmit.modules.heads_mlm import MaskedLMHead

    module = MultimodalModule(encoder=tiny_encoder)
    module._build_encoder()
    module.heads["mlm"] = MaskedLMHead(16, 2)
    module._shrink_embedding()
    assert isinstance(module.text_encoder.embeddings.word_embeddings, nn.Embedding)
