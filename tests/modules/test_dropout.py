"""Dropout with cheap random numbers against what dropout is by definition."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from xmit.modules.dropout import Dropout, dropout, set_dropout
from xmit.modules.encoders import load_text_encoder


@pytest.mark.parametrize("p", [0.1, 0.25, 0.9, 1e-3])
def test_the_share_and_the_mean_are_right(p):
    torch.manual_seed(3)
    n = 400_001
    dropped = dropout(torch.ones(n), p)
    zero = int((dropped == 0).sum())
    assert stats.binomtest(zero, n, p).pvalue > 1e-3
    assert dropped.max().item() == pytest.approx(1 / (1 - p), rel=1e-4)
    assert dropped.mean().item() == pytest.approx(1.0, abs=5 * (p / (1 - p) / n) ** 0.5)
    # four values come of one random number, and of bytes beside each other: none tells of another
    mask = (dropped == 0).float()
    for lag in (1, 2, 3, 4, 5):
        a, b = mask[:-lag], mask[lag:]
        assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1].item()) < 5 / n**0.5


def test_a_seed_gives_the_same_and_gradients_are_those_of_the_mask():
    states = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    once = dropout(states.transpose(0, 1), 0.4)
    torch.manual_seed(1)
    assert torch.equal(dropout(states.transpose(0, 1), 0.4), once)
    once.sum().backward()
    scale = torch.where(once == 0, 0.0, 1 / 0.6)
    torch.testing.assert_close(states.grad, scale.T.double(), rtol=1e-4, atol=0)


def test_nothing_and_all_are_torchs():
    states = torch.randn(30)
    for p in (0.0, 1.0):
        assert torch.equal(dropout(states, p), F.dropout(states, p))
    layer = Dropout(0.5)
    assert torch.equal(layer.eval()(states), states)
    assert dropout(states.bfloat16(), 0.5).dtype == torch.bfloat16


def test_an_encoder_keeps_its_weights_and_their_names(tiny_encoder, tmp_path):
    encoder = load_text_encoder(tiny_encoder)
    names = list(encoder.state_dict())
    set_dropout(encoder, 0.3)
    layers = [module for module in encoder.modules() if isinstance(module, nn.Dropout)]
    assert layers
    assert all(type(layer) is Dropout and layer.p == 0.3 for layer in layers)
    assert list(encoder.state_dict()) == names
    encoder.save_pretrained(tmp_path)
    assert all(type(m) is not Dropout for m in load_text_encoder(str(tmp_path)).modules())
