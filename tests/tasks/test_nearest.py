"""Exact search against brute force and faiss, with ties, skewed vectors and tiles of every size."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
import torch

from xmit.tasks import nearest
from xmit.tasks.nearest import top_k, top_k_both


def brute(queries, candidates, k):
    full = (queries.double() @ candidates.double().T).numpy()
    order = np.argsort(-full, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(full, order, 1), order


def unit(n, width, seed, mean=0.0):
    generator = torch.Generator().manual_seed(seed)
    offset = mean * torch.randn(width, generator=torch.Generator().manual_seed(99))
    return torch.nn.functional.normalize(torch.randn(n, width, generator=generator) + offset, dim=1)


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(nearest, "_TILE", 64)
    monkeypatch.setattr(nearest, "_BLOCK", 8)
    monkeypatch.setattr(nearest, "_CHUNK", 100)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("mean", [0.0, 4.0])
@pytest.mark.parametrize(("n", "m", "k"), [(150, 203, 4), (64, 64, 1), (130, 7, 4), (5, 300, 20), (1, 1, 3)])
def test_both_directions_equal_brute_force(small_tiles, fast, mean, n, m, k):
    x, y = unit(n, 32, 0, mean), unit(m, 32, 1, mean)
    for (scores, places), (a, b) in zip(top_k_both(x, y, k, fast), ((x, y), (y, x)), strict=True):
        expected, order = brute(a, b, k)
        assert places.numpy().tolist() == order.tolist()
        np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)
        alone = top_k(a, b, k, fast)
        assert torch.equal(alone[0], scores)
        assert torch.equal(alone[1], places)


@pytest.mark.parametrize("fast", [False, True])
def test_the_first_of_equals_comes_first(small_tiles, fast):
    """Sentences that occur many times in different tiles: more equals than candidates are kept."""
    rng = np.random.default_rng(0)
    x = unit(70, 24, 0)
    y = unit(10, 24, 1)[torch.from_numpy(rng.integers(0, 10, 400))]
    scores, places = top_k(x, y, 4, fast)
    full = (x[:, None, :] * y).sum(-1).numpy()  # a product of matrices may give equal vectors unequal scores
    assert places.numpy().tolist() == np.argsort(-full, axis=1, kind="stable")[:, :4].tolist()
    assert (scores == scores[:, :1]).all()
    for _ in range(20):  # small whole numbers: many exact ties
        queries, candidates = (torch.as_tensor(rng.integers(-1, 2, (9, 3)), dtype=torch.float32) for _ in "qc")
        scores, places = top_k(queries, candidates, 4, fast)
        expected, order = brute(queries, candidates, 4)
        assert places.numpy().tolist() == order.tolist()
        assert scores.numpy().tolist() == expected.tolist()


def test_equals_faiss_on_vectors_that_bf16_alone_gets_wrong():
    x = unit(2500, 128, 0, 4.0)
    y = torch.nn.functional.normalize(x + 0.02 * torch.randn(2500, 128, generator=torch.Generator().manual_seed(3)))
    assert (x[:50] @ y.T).mean() > 0.9
    index = faiss.IndexFlatIP(128)
    index.add(y.numpy())
    expected = index.search(x.numpy(), 4)[1]
    plain = (x.bfloat16() @ y.bfloat16().T).float().topk(4)[1].numpy()
    assert (plain == expected).mean() < 0.9
    for fast in (False, True):
        places = top_k(x, y, 4, fast)[1].numpy()
        assert (places == expected).mean() >= 0.999  # fp32 itself cannot tell the nearest of near ties
        assert (places == brute(x, y, 4)[1]).mean() >= 0.999


def test_memory_is_bounded(monkeypatch):
    """No tile is larger than was said, however many vectors there are."""
    seen = []
    tiles = nearest._Product.tiles

    def spy(self):
        for first, second, tile in tiles(self):
            seen.append(tile.shape)
            yield first, second, tile

    monkeypatch.setattr(nearest, "_TILE", 512)
    monkeypatch.setattr(nearest._Product, "tiles", spy)
    top_k_both(unit(1500, 8, 0), unit(3000, 8, 1), 2)
    assert len(seen) == 3 * 6
    assert max(max(shape) for shape in seen) == 512


def test_nothing_to_search():
    (scores, places), (back, _) = top_k_both(torch.empty(0, 4), torch.ones(3, 4), 2)
    assert scores.shape == places.shape == (0, 2)
    assert back.shape == (3, 0)
