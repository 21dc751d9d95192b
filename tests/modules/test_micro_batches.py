"""Micro-batches: whatever the budget, loss, gradients and training are those of the whole batch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from mix_tasks import Vowels
from small_trainer import trainer

from xmit.data.batching import cuts, lay_out
from xmit.errors import ConfigError
from xmit.modules.encoders import load_tokenizer
from xmit.modules.micro_batches import summed_loss
from xmit.modules.module import MultimodalModule
from xmit.registry import get_task
from xmit.tasks.base import HeadSpec

TEXTS = ["Habari", "ein etwas längerer Satz mit vielen Wörtern", "good", "no", "wir gehen heute ins Kino", "yes it is"]


def test_cuts_are_greedy_and_lose_no_item():
    assert cuts(np.array([3, 3, 3, 9, 1, 1]), 6) == [0, 2, 3, 4, 6]
    assert cuts(np.array([9]), 6) == [0, 1]
    rng = np.random.default_rng(0)
    for _ in range(200):
        tokens, most = rng.integers(1, 30, rng.integers(1, 40)), int(rng.integers(1, 90))
        places = cuts(tokens, most)
        assert places[0] == 0
        assert places[-1] == len(tokens)
        sums = [tokens[a:b].sum() for a, b in pairwise(places)]
        assert all(own <= most or b - a == 1 for own, (a, b) in zip(sums, pairwise(places), strict=True))
        # the next item would not have fitted
        assert all(own + tokens[b] > most for own, b in zip(sums, places[1:-1], strict=False))


def batch_for(kind, encoder):
    """A batch with whatever the head of a kind wants, and the head's options."""
    side = dict(load_tokenizer(encoder)(TEXTS, padding=True, return_tensors="pt"))
    n, mask = len(TEXTS), side["attention_mask"]
    batch = {"task": "t", "item": torch.arange(n), "text": side}
    if kind in ("token", "mlm"):
        labels = torch.randint(0, 3, mask.shape).masked_fill(mask == 0, -100)
        labels[2] = -100  # an item without a label, which becomes a micro-batch of its own
        labels[1, ::2] = -100
        return batch | {"labels": labels}, {"num_labels": 3} if kind == "token" else {}
    if kind == "choice":
        del batch["text"]
        other = dict(load_tokenizer(encoder)(TEXTS[::-1], padding=True, return_tensors="pt"))
        return batch | {"choice_0": side, "choice_1": other, "labels": torch.randint(0, 2, (n,))}, {"num_choices": 2}
    if kind == "answers":
        return batch | {"answers": torch.rand(n, 4)}, {"num_labels": 4}
    labels = torch.randint(0, 3, (n, 2)) if kind == "span" else torch.randint(0, 3, (n,))
    if kind == "span":
        labels[1] = -100  # an answer that is not where the data say
    return batch | {"labels": labels}, {} if kind == "span" else {"num_labels": 3}


@pytest.mark.filterwarnings("ignore:the masked-LM head starts at random")
@pytest.mark.parametrize("kind", ["classification", "answers", "choice", "span", "token", "mlm"])
@pytest.mark.parametrize("batching", ["packed", "padded"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_are_the_whole_batch_s(kind, batching, precision, tiny_encoder):
    torch.manual_seed(3)
    module = MultimodalModule(encoder=tiny_encoder, dropout=0.0)
    module._build_encoder()
    batch, options = batch_for(kind, tiny_encoder)
    module._build_heads({"t": HeadSpec(kind, options)})
    for part in module.heads.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    found = []
    for most in (None, 15):
        lay_out(batch, len(TEXTS), batching, most)
        assert ("cuts" in batch) == (most is not None)
        module.zero_grad()
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            loss = summed_loss(module, batch) if most else module(batch)["loss"]
        (3 * loss).backward()
        found.append((loss.detach(), {n: p.grad for n, p in module.named_parameters() if p.grad is not None}))
    assert len(batch["cuts"]) > 3
    tolerance = {"atol": 1e-5, "rtol": 1e-5} if precision == torch.float32 else {"atol": 0.05, "rtol": 0.05}
    torch.testing.assert_close(*found, **tolerance)


class NoDropout(Callback):
    """The head's own; its random numbers are drawn in another order when a batch is cut."""

    def on_train_start(self, trainer, pl_module):
        pl_module.heads["vowels"].dropout.p = 0.0


def test_gradients_in_half_precision_are_scaled_before_they_vanish(tiny_encoder, tmp_path, monkeypatch):
    torch.manual_seed(3)
    module = MultimodalModule(encoder=tiny_encoder, dropout=0.0)
    module._build_encoder()
    batch, options = batch_for("classification", tiny_encoder)
    module._build_heads({"t": HeadSpec("classification", options)})
    module.heads["t"].dropout.p = 0.0
    scale, found = 2.0**16, []
    monkeypatch.setattr(MultimodalModule, "loss_scale", scale)
    for most in (None, 15):
        lay_out(batch, len(TEXTS), "packed", most)
        module.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = summed_loss(module, batch) if most else module(batch)["loss"]
        (loss * scale).backward()
        found.append(module.text_encoder.encoder.layer[0].attention.self.query.weight.grad / scale)
    assert found[0].abs().max() > 0
    torch.testing.assert_close(*found, rtol=0.02, atol=1e-3 * float(found[0].abs().max()))


def test_training_is_the_same_and_never_sees_more_tokens(tiny_encoder, tmp_path):
    weights, most = [], []
    for budget in (None, 30):
        torch.manual_seed(0)
        task = Vowels(batch_size=8, train_tokens=budget)
        module = MultimodalModule(encoder=tiny_encoder, dropout=0.0, learning_rate=1e-3, weight_decay=0.1)
        module.configure_model()
        seen: list[int] = []

        # where sequences lie packed: the first layer's (1, tokens, H)
        module.text_encoder.encoder.layer[0].register_forward_pre_hook(
            lambda layer, args, seen=seen: seen.append(args[0].shape[:2].numel()) if layer.training else None
        )
        trainer(tmp_path, gradient_clip_val=0.5, callbacks=[NoDropout()]).fit(module, task)
        most.append(max(seen))
        weights.append({name: p.detach().clone() for name, p in module.text_encoder.named_parameters()})
    assert most[0] > 30 >= most[1]
    torch.testing.assert_close(*weights, atol=2e-5, rtol=1e-4)


def test_losses_that_compare_items_are_not_cut(tiny_encoder, tmp_path):
    task = get_task("digits_text")(train_tokens=50)
    with pytest.raises(ConfigError, match=r"'digits_text': data.train_tokens cuts batches, but its loss compares all"):
        trainer(tmp_path).fit(MultimodalModule(encoder=tiny_encoder), task)
