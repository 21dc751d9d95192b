"""Batches: nothing lost, nothing twice, within the budget."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from torch.nn.utils.rnn import pad_sequence

from xmit.data.batching import EvaluationStream, LanguageBatches, Ragged, TrainingBatches

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=200).map(lambda v: np.array(v, dtype=np.int64))


@given(st.lists(st.lists(st.integers(4, 99), max_size=9), min_size=1, max_size=20), st.randoms())
@settings(max_examples=60, deadline=None)
def test_ragged_pads_as_torch_does(sequences, random):
    ragged = Ragged.from_lists(sequences)
    chosen = [random.randrange(len(sequences)) for _ in range(5)]
    padded = ragged.pad(chosen, pad_id=1)
    expected = pad_sequence([torch.tensor(sequences[i], dtype=torch.int64) for i in chosen], True, 1)
    assert torch.equal(padded["input_ids"], expected)
    assert padded["attention_mask"].sum(1).tolist() == [len(sequences[i]) for i in chosen]


@given(LENGTHS, st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_stream_covers_everything_once_within_the_budget(lengths, max_tokens):
    batches = list(EvaluationStream(lengths, max_tokens))
    assert sorted(i for b in batches for i in b) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= max_tokens
    longest = [lengths[b].max() for b in batches]
    assert longest == sorted(longest, reverse=True)


@pytest.mark.parametrize("world", [2, 3, 5])
@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_processes_score_as_many_batches_and_all_items(n, world, monkeypatch):
    """FSDP waits for everybody at every forward pass."""
    stream = EvaluationStream(np.full(n, 4), 8)
    shares = []
    for rank in range(world):
        monkeypatch.setattr("xmit.data.batching.processes", lambda rank=rank: (rank, world))
        shares.append(list(stream))
        assert len(stream) == len(shares[-1])
    assert len({len(share) for share in shares}) == 1
    seen = [item for share in shares for batch in share for item in batch]
    assert set(seen) == set(range(n))
    assert len(seen) - n <= 2 * (world - 1)


@pytest.mark.parametrize("batching", ["padded", "grouped"])
@given(lengths=LENGTHS, size=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_training_covers_an_epoch_once(batching, lengths, size):
    sampler = TrainingBatches(lengths, size, batching, seed=3)
    batches = list(sampler)
    assert sorted(i for b in batches for i in b) == list(range(len(lengths)))
    assert len(batches) == len(sampler)


def test_order_is_fixed_by_seed_and_epoch():
    lengths = np.arange(1, 101)
    a, b = TrainingBatches(lengths, 8, seed=1), TrainingBatches(lengths, 8, seed=1)
    first, second = list(a), list(a)
    assert first != second
    assert list(b) == first
    b.set_epoch(1)
    assert list(b) == second
    assert list(TrainingBatches(lengths, 8, seed=2)) != first


def test_grouping_saves_padding():
    lengths = np.random.default_rng(0).integers(1, 100, 2000)

    def padded_tokens(batching):
        return sum(lengths[b].max() * len(b) for b in TrainingBatches(lengths, 16, batching))

    assert padded_tokens("grouped") < 0.65 * padded_tokens("padded")


@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_share_the_work(monkeypatch, rank):
    monkeypatch.setattr("xmit.data.batching.processes", lambda: (rank, 2))
    lengths = np.arange(1, 42)
    train = TrainingBatches(lengths, 4, seed=5)
    mine = [set(b) for b in train]
    assert len(mine) == len(train) == 5  # 41 examples, 8 an update: the rest would leave a process idle
    monkeypatch.setattr("xmit.data.batching.processes", lambda: (1 - rank, 2))
    train.set_epoch(0)
    for own, other in zip(mine, [set(b) for b in train], strict=True):
        assert len(own) == len(other) == 4
        assert not own & other


SIZES = {"en": 4000, "de": 900, "sw": 60, "yo": 7}
BLOCKS = [code for code, n in SIZES.items() for _ in range(n)]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_languages_are_drawn_by_their_size_to_the_alpha(alpha):
    sampler = LanguageBatches(BLOCKS, 50, alpha, seed=2)
    draws = [BLOCKS[i] for _ in range(21) for batch in sampler for i in batch]
    assert len(draws) >= 100_000
    for code in SIZES:
        p = SIZES[code] ** alpha / sum(n**alpha for n in SIZES.values())
        low, high = binom.interval(0.9999, len(draws), p)
        assert low <= draws.count(code) <= high, code


def test_no_item_of_a_language_comes_again_before_all_have_come():
    sampler = LanguageBatches(BLOCKS, 16, seed=2)
    drawn = [i for _ in range(3) for batch in sampler for i in batch]
    epoch = len(drawn) // 3
    assert epoch == len(BLOCKS) // 16 * 16
    for code, n in SIZES.items():
        own = [i for i in drawn if BLOCKS[i] == code]
        passes = [own[k : k + n] for k in range(0, len(own), n)]
        assert all(len(set(part)) == len(part) for part in passes), code
    yoruba = [i for i in drawn if BLOCKS[i] == "yo"]
    assert yoruba[:7] != yoruba[7:14]
    again = LanguageBatches(BLOCKS, 16, seed=2)
    again.set_epoch(2)
    assert [i for batch in again for i in batch] == drawn[2 * epoch :]
    assert list(LanguageBatches(BLOCKS, 16, seed=3)) != list(LanguageBatches(BLOCKS, 16, seed=2))


def test_language_batches_of_two_processes_are_those_of_one(monkeypatch):
    whole = list(LanguageBatches(BLOCKS, 16, seed=5))
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr("xmit.data.batching.processes", lambda rank=rank: (rank, 2))
        parts.append(list(LanguageBatches(BLOCKS, 8, seed=5)))
    assert len(parts[0]) == len(parts[1]) == len(whole)
    for batch, first, second in zip(whole, *parts, strict=True):
        assert batch == [i for pair in zip(first, second, strict=True) for i in pair]


def test_language_batches_go_on_in_the_middle_of_an_epoch():
    sampler, resumed = LanguageBatches(BLOCKS, 16, seed=5), LanguageBatches(BLOCKS, 16, seed=5)
    first, second, third = list(sampler), list(sampler), list(sampler)
    resumed.set_epoch(1)
    resumed.start_batch = 40
    assert list(resumed) == second[40:]
    assert resumed.start_batch == 0
    assert list(resumed) == third
    assert len({len(epoch) for epoch in (first, second, third)} | {len(sampler)}) == 1


def test_fewer_items_than_a_batch_make_one_full_batch():
    (batch,) = LanguageBatches(["de", "en"], 5)
    assert len(batch) == 5


def test_stages_have_another_order_in_every_epoch_and_go_on():
    from xmit.tasks.target.staged_choice import Stages

    def stages():
        return Stages(np.arange(1, 21), np.arange(20) % 2, 2, batch_size=4, seed=1)

    endless = stages()
    epochs = []
    for epoch in range(3):
        endless.set_epoch(epoch)
        iterator = iter(endless)
        epochs.append([next(iterator) for _ in range(len(endless))])  # as Lightning does: never to the very end
    assert len({str(epoch) for epoch in epochs}) == 3
    resumed = stages()
    resumed.set_epoch(2)
    resumed.start_batch = 7
    assert list(resumed) == epochs[2][7:]
