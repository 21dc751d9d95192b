"""Metrics of target tasks: two processes give what one gives."""

import pathlib
import random

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from xmit.metrics import LanguageAnswerF1, LanguagePairF1, LanguageRanking, LanguageSpanF1

LANGUAGES = ["en", "sw", "zh"]
SPLITS = {
    "uneven": ([slice(0, 11)], [slice(11, 90)]),
    "one has nothing": ([], [slice(0, 50), slice(50, 90)]),
    "nobody has anything": ([], []),
}


def spans(rows, rng):
    metric = LanguageSpanF1(LANGUAGES)
    for part in rows:
        gold = [["NOUN", "NOUN", "SYM", f"B-{i % 5}", "O"] for i in part]
        metric.update(
            [[rng(i, tag) for tag in s] for i, s in zip(part, gold, strict=True)], gold, [i % 3 for i in part]
        )
    return metric


def answers(rows, rng):
    metric = LanguageAnswerF1(LANGUAGES)
    for part in rows:
        metric.update([rng(i, "red house") for i in part], [["red house"] for _ in part], [i % 3 for i in part])
    return metric


def ranking(rows, rng):
    metric = LanguageRanking(LANGUAGES)
    for part in rows:
        metric.update([[rng(i, "a"), "b", "a"] for i in part], [{"a", "b"} for _ in part], [i % 3 for i in part])
    return metric


def pairs(rows, rng):
    metric = LanguagePairF1(LANGUAGES)
    for part in rows:
        for code in range(3):
            gold = [(f"x{i % 9}", f"y{i % 9}") for i in part if i % 3 == code]
            metric.update([(a, rng(i, b)) for i, (a, b) in enumerate(gold)], gold, LANGUAGES[code])
    return metric


def change(i, word):
    return random.Random(f"{i} {word}").choice([word, word, "red", "VERB"])


def values(metric):
    """All scores, rounded, since sums of floats depend on their order."""
    result = metric.compute()
    return [f"{code} {name} {value:.12f}" for code, scores in result.items() for name, value in scores.items()]


def lines(select):
    out = []
    for name, halves in SPLITS.items():
        rows = [range(90)[part] for half in select(halves) for part in half]
        for make in (spans, answers, ranking, pairs):
            metric = make(rows, change)
            out.append(f"{name} {make.__name__} {values(metric)}")
            metric._computed = None  # after the gather each process goes on with its own rows
            out.append(f"{name} {make.__name__} again {values(metric)}")
    return out


def worker(rank, folder):
    folder = pathlib.Path(folder)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    (folder / f"{rank}.txt").write_text("\n".join(lines(lambda halves: [halves[rank]])))
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_processes_give_what_one_gives(tmp_path):
    mp.start_processes(worker, (str(tmp_path),), nprocs=2, start_method="spawn")
    first, second = ((tmp_path / f"{rank}.txt").read_text().split("\n") for rank in (0, 1))
    assert first == second == lines(lambda halves: halves)
