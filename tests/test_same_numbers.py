"""The same numbers as Hugging Face's Trainer, and costs that do not grow with the number of examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

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


@pytest.mark.slow
@pytest.mark.realdata
def test_a_run_whose_tokens_are_cached_starts_within_ten_seconds(real_data, tmp_path):
    """Processor time of a command until its first update begins, on the 9,815 pairs of MNLI dev."""
    words = ["fit", "--config", "configs/intermediate/mnli.yaml", "--model.encoder", "embedded:e5-small"]
    words += ["--data.data_dir", str(real_data), "--trainer.max_steps", "1", "--trainer.limit_val_batches", "0"]
    for part in ("train", "validation"):
        words += [f"--data.{part}_file", "nli/mnli/dev.csv"]
    words += ["--trainer.accelerator", "cpu", "--no_test", "--save_encoder", "false", "--save_every", "0"]
    environment = {
        **os.environ,
        "XMIT_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    seconds = []
    for run in ("first", "second"):
        file = tmp_path / f"{run}.txt"
        watch = [{"class_path": "mix_tasks.Started", "init_args": {"file": str(file)}}]
        own = ["--trainer.callbacks", json.dumps(watch), "--output", str(tmp_path / run)]
        subprocess.run([sys.executable, "-m", "xmit", *words, *own], env=environment, check=True, capture_output=True)
        seconds.append(float(file.read_text()))
    assert seconds[1] < 10, seconds
