"""Two processes give what one gives."""

import pathlib

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from xmit.errors import MetricError
from xmit.metrics import CrossLingualConsistency, LanguageAccuracy

LANGUAGES = ["en", "sw", "zh"]
SPLITS = {
    "uneven": ([slice(0, 37)], [slice(37, 90)]),
    "repeats": ([slice(0, 50), slice(80, 90)], [slice(40, 90)]),
    "one has nothing": ([], [slice(0, 50), slice(50, 90)]),
    "nobody has anything": ([], []),
}


def data(kind):
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(90, 5, generator=generator)
    preds = scores if kind == "scores" else scores.argmax(1)
    ids = [f"beispiel-{i % 30}" for i in range(90)]
    language = torch.arange(90) // 30
    return preds, ids, language, torch.randint(0, 5, (30,), generator=generator).repeat(3)


def consistency(kind, slices):
    metric = CrossLingualConsistency()
    preds, ids, language, target = data(kind)
    for part in slices:
        codes = [LANGUAGES[i] for i in language[part]]
        if kind in ("labels", "scores"):
            metric.update(preds[part], ids[part], codes, target[part])
        elif kind == "values":
            metric.update(preds[part] / 4, ids[part], codes)
        else:
            metric.update([["NOUN"] * int(n) + ["VERB"] for n in preds[part]], ids[part], codes)
    return metric


def accuracy(slices):
    metric = LanguageAccuracy(LANGUAGES)
    preds, _, language, target = data("labels")
    for part in slices:
        metric.update(preds[part], target[part], language[part])
    return metric


def worker(rank, folder):
    folder = pathlib.Path(folder)
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    lines = []
    for name, parts in SPLITS.items():
        for kind in ("labels", "scores", "values", "bags"):
            metric = consistency(kind, parts[rank])
            lines.append(f"{name} {kind} {metric.compute()!r}")
            # after the gather each process goes on with its own rows
            metric._computed = None
            lines.append(f"{name} {kind} again {metric.compute()!r}")
        metric = accuracy(parts[rank])
        lines.append(f"{name} accuracy {metric.compute()!r} {metric.counts()!r}")
    # labels on one process, scores on the other: a state that only one of them has
    mixed = consistency("scores" if rank else "labels", [slice(0, 60)] if rank else [slice(60, 90)])
    lines.append(f"mixed {mixed.compute()!r}")
    metric = CrossLingualConsistency()
    metric.update(torch.tensor([rank]), ["x"], "en")
    try:
        metric.compute()
    except MetricError as error:
        lines.append(str(error))
    (folder / f"{rank}.txt").write_text("\n".join(lines))
    dist.destroy_process_group()


def expected():
    lines = []
    for name, parts in SPLITS.items():
        whole = [part for half in parts for part in half]
        for kind in ("labels", "scores", "values", "bags"):
            result = consistency(kind, whole).compute()
            lines += [f"{name} {kind} {result!r}", f"{name} {kind} again {result!r}"]
        # accuracy knows no ids, so it counts repeats in both worlds
        metric = accuracy(whole)
        lines.append(f"{name} accuracy {metric.compute()!r} {metric.counts()!r}")
    metric = consistency("scores", [slice(0, 60)])
    preds, ids, _, target = data("labels")
    metric.update(preds[60:], ids[60:], "zh", target[60:])
    lines.append(f"mixed {metric.compute()!r}")
    return lines


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_processes_give_what_one_gives(tmp_path):
    mp.start_processes(worker, (str(tmp_path),), nprocs=2, start_method="spawn")
    first, second = ((tmp_path / f"{rank}.txt").read_text().split("\n") for rank in (0, 1))
    assert first == second
    assert first[:-1] == expected()
    assert "'x' in 'en' was given twice with contradictory predictions" in first[-1]
