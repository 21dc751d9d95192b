"""Mixtures: shares, draws, streams, runs; against the formula and against one process."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import yaml
from mix_tasks import Odd, Vowels
from small_trainer import trainer

from xmit import MultimodalModule, Trainer
from xmit.__main__ import main
from xmit.data import batching
from xmit.data.batching import TrainingBatches
from xmit.errors import ConfigError
from xmit.modules.encoders import load_tokenizer
from xmit.study.results import load_results
from xmit.tasks import TaskMixture
from xmit.tasks.mixture import MixedBatches, sampling_shares

SIZES = {"anli_plus": 1_104_934, "qqp": 363_846, "csqa": 9_741, "copa": 400}
K = 2**17
FORMULAS = {
    "proportional": lambda e: min(e, K),
    "uniform": lambda e: 1,
    "temperature": lambda e: math.pow(min(e, K), 1 / 2),
    "proportional, no cap": lambda e: e,
}
pytestmark = pytest.mark.filterwarnings("ignore")


def lengths(n):
    return np.arange(n) % 7 + 3


def streams(sizes, batch_size=4, seed=0):
    return {m: TrainingBatches(lengths(n), batch_size, seed=seed, drop_last=True) for m, n in sizes.items()}


@pytest.mark.parametrize("name", FORMULAS)
def test_draws_match_the_formula(name):
    sampling, _, capless = name.partition(", ")
    shares = sampling_shares(SIZES, sampling, None if capless else K, 2.0)
    total = sum(map(FORMULAS[name], SIZES.values()))
    n = 100_000
    drawn = np.bincount(MixedBatches(streams(dict.fromkeys(SIZES, 9)), shares, n).draws(0), minlength=len(SIZES))
    for task, count in zip(SIZES, drawn, strict=True):
        p = FORMULAS[name](SIZES[task]) / total
        assert shares[task] == pytest.approx(p)
        assert abs(count - n * p) < 4.5 * math.sqrt(n * p * (1 - p)) + 1


def test_weights_multiply_and_bad_settings_are_refused():
    shares = sampling_shares({"a": 100, "b": 100}, weights={"a": 3})
    assert shares == {"a": 0.75, "b": 0.25}
    for bad in ({"weights": {"c": 1}}, {"cap": 0}, {"temperature": 0.5}, {"weights": {"a": 0}}, {"sampling": "best"}):
        with pytest.raises(ConfigError):
            sampling_shares({"a": 1, "b": 1}, **bad)


def test_every_stream_goes_on_over_epochs_and_rounds():
    sizes = {"a": 40, "b": 9}
    mixed = MixedBatches(streams(sizes), {"a": 0.5, "b": 0.5}, 30)
    seen = [list(mixed) for _ in range(3)]
    for task, n in sizes.items():
        mine = [items for epoch in seen for name, items in epoch if name == task]
        alone = streams(sizes)[task]
        expected = [items for _ in range(99) for items in alone]
        assert mine == expected[: len(mine)]
        assert set().union(*mine) == set(range(n))
    assert seen[0] != seen[1]
    again = MixedBatches(streams(sizes), {"a": 0.5, "b": 0.5}, 30)
    assert [list(again) for _ in range(3)] == seen
    for epoch, start in ((0, 7), (2, 0), (2, 29)):
        resumed = MixedBatches(streams(sizes), {"a": 0.5, "b": 0.5}, 30)
        resumed.set_epoch(epoch)
        resumed.start_batch = start
        assert list(resumed) == seen[epoch][start:]
    other = MixedBatches(streams(sizes), {"a": 0.5, "b": 0.5}, 30, seed=1)
    assert [name for name, _ in other] != [name for name, _ in seen[0]]


def test_two_processes_see_what_one_sees(monkeypatch):
    sizes = {"a": 41, "b": 18}
    one = list(MixedBatches(streams(sizes, 4), {"a": 0.6, "b": 0.4}, 50))
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(batching, "processes", lambda rank=rank: (rank, 2))
        parts.append(list(MixedBatches(streams(sizes, 2), {"a": 0.6, "b": 0.4}, 50)))
    for (name, items), (first, left), (second, right) in zip(one, *parts, strict=True):
        assert name == first == second
        assert sorted(items) == sorted(left + right)
        assert len(left) == len(right)


def test_an_epoch_has_as_many_examples_on_several_processes(monkeypatch, tiny_encoder):
    updates = []
    for world in (1, 2, 4):
        monkeypatch.setattr(batching, "processes", lambda world=world: (0, world))
        mixture = TaskMixture([Vowels(batch_size=16 // world), Odd(batch_size=8 // world)], cap=32)
        mixture.bind(load_tokenizer(tiny_encoder))
        updates.append(len(mixture.train_batches()))
    assert updates == [2 + 4] * 3


def test_with_few_batches_the_tasks_that_had_their_turn_are_scored(tiny_encoder, tmp_path):
    module = MultimodalModule(encoder=tiny_encoder)
    trainer(tmp_path, fast_dev_run=True).fit(module, TaskMixture([Vowels(batch_size=4), Odd(batch_size=4)]))
    assert set(module.results["validation"]["task"]) == {"vowels"}


def test_a_mixture_trains_every_head_and_reports_each_task(tiny_encoder):
    torch.manual_seed(0)
    module = MultimodalModule(encoder=tiny_encoder, learning_rate=1e-3)
    mixture = TaskMixture(
        [Vowels(batch_size=4), Odd(batch_size=8)], name="both", sampling="uniform", updates_per_epoch=6
    )
    trainer = Trainer(max_steps=12, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                      enable_model_summary=False, accelerator="cpu", precision="32-true")  # fmt: skip
    first = _remember_heads(module)
    trainer.fit(module, mixture)
    rows = module.results["validation"]
    assert set(rows["task"]) == {"vowels", "odd"}
    mains = rows[rows.is_main].set_index("task")["value"]
    assert float(trainer.callback_metrics["main_score"]) == pytest.approx(mains.mean())
    assert set(module.heads) == {"vowels", "odd"}
    losses = {key for key in trainer.logged_metrics if key.endswith("/loss")}
    assert losses <= {"vowels/loss", "odd/loss"}
    for name, head in module.heads.items():
        before = first[name]
        assert any(not torch.equal(before[key], value) for key, value in head.state_dict().items())


def _remember_heads(module):
    """Copies of the heads as they will be built."""
    build, first = module._build_heads, {}

    def built(specs):
        build(specs)
        first.update({n: {k: v.clone() for k, v in h.state_dict().items()} for n, h in module.heads.items()})

    module._build_heads = built
    return first


def test_a_mixture_from_the_command_line(tiny_encoder, tmp_path):
    config = {
        "model": {"encoder": tiny_encoder},
        "trainer": {"max_steps": 4, "accelerator": "cpu", "enable_progress_bar": False, "logger": False},
        "data": {
            "class_path": "xmit.tasks.TaskMixture",
            "init_args": {
                "name": "both",
                "tasks": [{"class_path": "mix_tasks.Vowels", "init_args": {"batch_size": 4}}, "mix_tasks.Odd"],
            },
        },
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(tmp_path / "c.yaml"), "--output", str(tmp_path / "r")]) == 0
    rows = load_results(tmp_path / "r")
    assert set(rows["intermediate"]) == {"both"}
    assert set(rows[rows.is_main]["metric"]) == {"vowels/accuracy", "odd/accuracy"}
    assert set(rows["role"]) == {"intermediate"}
    assert (tmp_path / "r" / "encoder" / "model.safetensors").is_file()
    assert main(["fit", "--config", str(tmp_path / "r" / "config.yaml"), "--output", str(tmp_path / "again")]) == 0
    assert load_results(tmp_path / "again")["value"].equals(rows["value"])


def test_what_no_mixture_can_be():
    with pytest.raises(ConfigError, match="'odd' is in it twice"):
        TaskMixture([Odd(), Odd()])
    with pytest.raises(ConfigError, match="no tasks"):
        TaskMixture([])
    with pytest.raises(ConfigError, match="at least 1"):
        TaskMixture([Odd()], updates_per_epoch=0)
