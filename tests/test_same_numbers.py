"""The same numbers as Hugging Face's Trainer, and costs that do not grow with the number of examples."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from xmit.bench.models import lengths
from xmit.bench.recipes import RECIPES, Settings
from xmit.data.batching import Ragged, TrainingBatches


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_training_curves_are_hugging_face_s_over_50_updates():
    torch.set_num_threads(1)
    settings = Settings("hf", 2, 32 * 50, dropout=0.0, vocabulary=2000, rows=900, log=True, width=64)
    theirs = RECIPES["hf"](settings)["losses"]
    ours = RECIPES["ours"](replace(settings, recipe="ours"))["losses"]
    assert len(ours) == len(theirs) == 50
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize("batching", ["packed", "grouped"])
def test_an_example_costs_the_same_among_1_000_and_400_000(batching):
    """Drawing and padding batches: time and memory beyond the tokens themselves."""
    costs, memory = [], []
    for n in (1_000, 400_000):
        sizes = lengths("mnli", n)
        ragged = Ragged(np.ones(int(sizes.sum()), np.int32), np.concatenate([[0], np.cumsum(sizes)]))
        batches = TrainingBatches(ragged.lengths, 32, batching)
        stream = iter(batches)
        next(stream)  # the order of the epoch is drawn here
        times = []
        tracemalloc.start()
        for _ in range(30):
            start = time.process_time()
            ragged.pad(next(stream), 1)
            times.append(time.process_time() - start)
        memory.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        costs.append(float(np.median(times)))
    assert costs[1] < 4 * costs[0]
    assert memory[1] < 4 * memory[0] + 2**20
