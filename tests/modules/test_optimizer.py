"""Clipping within the update, and the memory of the compact embedding's gradient."""

import copy

import numpy as np
import pytest
import torch
from mix_tasks import Vowels
from small_trainer import trainer as small_trainer
from torch import nn

from xmit import MultimodalModule
from xmit.modules.compact_embedding import CompactEmbedding, follow_decay
from xmit.modules.encoders import load_text_encoder
from xmit.modules.optimizer import clip_by_norm


@pytest.mark.parametrize("largest", [1e-3, 0.5, 1e6])
@pytest.mark.parametrize("loss_scale", [1.0, 1024.0])
def test_clipping_within_the_update_is_clip_grad_norm(largest, loss_scale):
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))
    ours = copy.deepcopy(theirs)
    optimizers = [torch.optim.AdamW(m.parameters(), 1e-2, fused=True) for m in (theirs, ours)]
    for step in range(20):
        x = torch.randn(4, 8) * (step + 1)
        norms = []
        for model, optimizer, scale in zip((theirs, ours), optimizers, (1.0, loss_scale), strict=True):
            optimizer.zero_grad()
            (model(x).square().mean() * scale).backward()
            if model is theirs:
                norms.append(nn.utils.clip_grad_norm_(model.parameters(), largest))
            else:
                norms.append(clip_by_norm(optimizer, largest, scale))
                optimizer.grad_scale = optimizer.grad_scale * scale  # as GradScaler does
            optimizer.step()
        torch.testing.assert_close(norms[1], norms[0])
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("precision", "algorithm"), [("32-true", "norm"), ("bf16-mixed", "norm"), ("bf16-mixed", "value")]
)
def test_a_run_clips_in_either_precision(tmp_path, tiny_encoder, precision, algorithm):
    """Lightning refuses a fused optimizer with clipping in bf16, though nothing is scaled there."""
    moved = []
    for largest in (1e-12, None):
        torch.manual_seed(1)
        module = MultimodalModule(encoder=tiny_encoder, learning_rate=1e-2, warmup=0.0, dropout=0.0)
        clip = {"gradient_clip_val": largest, "gradient_clip_algorithm": algorithm}
        trainer = small_trainer(tmp_path, max_steps=1, max_epochs=-1, precision=precision, limit_val_batches=0, **clip)
        trainer.fit(module, Vowels(batch_size=4))
        weight = "encoder.layer.0.output.dense.weight"
        before = load_text_encoder(tiny_encoder).get_parameter(weight)
        moved.append((module.text_encoder.get_parameter(weight) - before).abs().max())
    assert moved[0] < 0.1 * moved[1]  # gradients far below AdamW's epsilon


def test_a_gradient_is_written_where_the_last_one_was():
    torch.manual_seed(0)
    whole = nn.Embedding(50, 4, padding_idx=1)
    compact = CompactEmbedding(whole, np.arange(0, 50, 1))
    optimizer = torch.optim.AdamW(compact.parameters(), 1e-2, fused=True)
    follow_decay(compact, optimizer)
    places = set()
    for step in range(4):
        ids = torch.randint(50, (3, 5))
        optimizer.zero_grad()
        weight = compact.weight.detach().clone().requires_grad_()
        nn.functional.embedding(ids, weight, 1).square().sum().backward()
        compact(ids).square().sum().backward()
        torch.testing.assert_close(compact.weight.grad, weight.grad)
        places.add(compact.weight.grad.data_ptr())
        if step == 2:  # what accumulates stays
            compact(ids).square().sum().backward()
            torch.testing.assert_close(compact.weight.grad, 2 * weight.grad)
        optimizer.step()
    assert len(places) == 1
