"""Batches: nothing lost, nothing twice, within the budget."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from xmit.data.batching import EvaluationStream, Ragged, TrainingBatches

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
    monkeypatch.setattr("xmit.data.batching._world", lambda: (rank, 2))
    lengths = np.arange(1, 42)
    train = TrainingBatches(lengths, 4, seed=5)
    mine = [set(b) for b in train]
    assert len(mine) == len(train) == 5  # 41 examples, 8 an update: the rest would leave a process idle
    monkeypatch.setattr("xmit.data.batching._world", lambda: (1 - rank, 2))
    train.set_epoch(0)
    for own, other in zip(mine, [set(b) for b in train], strict=True):
        assert len(own) == len(other) == 4
        assert not own & other
