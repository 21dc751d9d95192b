"""Runs over two processes, each with a simulated GPU of its own, whose collectives take no tensors of the host."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from cuda.device import Device
from families import TEXT, Choices, Classes, Pool
from lightning.pytorch import Callback
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from running import Run, build, run

from xmit.checkpoints import BestCheckpoint, LastCheckpoint
from xmit.metrics import CrossLingualConsistency, LanguageAccuracy
from xmit.tasks import TaskMixture

TOGETHER, ODD = 8, 150
"""Examples an update of all processes, and tokens of a batch that is scored, of which there is then an odd number."""


def mixture(**more: Any) -> TaskMixture:
    """Two tasks whose losses are means over items, so that the mean over processes is the whole batch's."""
    return TaskMixture([Classes(**more), Choices(**more)], "both", updates_per_epoch=5, sampling="uniform")


TASKS: dict[str, Callable[..., Any]] = {
    "classification": Classes,
    "retrieval": Pool,
    "retrieval-margin": partial(Pool, scoring="margin", centre=True),
    "qa": TEXT["qa"],
    "mixture": mixture,
}


class SimulatedDDP(DDPStrategy):
    """DDP without its reducer, which is C++'s: gradients are averaged one by one, through the same group."""

    def configure_ddp(self) -> None:
        """Begin with the first process's weights."""
        assert self.model is not None
        for value in (*self.model.parameters(), *self.model.buffers()):
            dist.broadcast(value.detach(), 0)

    def post_backward(self, closure_loss: torch.Tensor) -> None:
        """Average the gradients."""
        assert self.model is not None
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad, dist.ReduceOp.AVG)


class NoDropout(Callback):
    """Heads drop too, and processes draw apart."""

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        for part in module.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0


def run_task(name: str, encoder: str, folder: Path, device: Device | None, world: int) -> Run:
    """Fit, validate, test and predict a task; the same in one process or in several."""
    task = TASKS[name](batch_size=TOGETHER // world, eval_tokens=ODD, num_workers=0)
    more: dict[str, Any] = {"callbacks": [NoDropout()]}
    if world > 1:
        more |= {"strategy": SimulatedDDP(process_group_backend="gloo"), "accelerator": "gpu", "devices": world}
        more |= {"plugins": [LightningEnvironment()]}
    if name == "classification":  # whose checkpoints gather what each process has drawn
        best = BestCheckpoint(folder / f"best-{world}")
        last = LastCheckpoint(folder / f"last-{world}")
        more |= {"callbacks": [NoDropout(), best, last], "enable_checkpointing": True}
    stages = ("fit", "test", "predict") if name.startswith("retrieval") else ("fit", "validate", "test", "predict")
    return run(build(encoder), task, folder, device, stages=stages, **more)


def metrics(place: torch.device, rows: slice) -> str:
    """What this library's own metrics say of some rows, gathered over processes if there are several."""
    generator = torch.Generator("cpu").manual_seed(3)
    scores = torch.randn(30, 4, generator=generator, device="cpu")[rows]
    target = torch.randint(4, (30,), generator=generator, device="cpu")[rows]
    language = (torch.arange(30, device="cpu") // 15)[rows]
    ids = [f"item-{i % 15}" for i in range(30)][rows]
    accuracy = LanguageAccuracy(["en", "de"]).to(place)
    accuracy.update(scores.argmax(1).to(place), target.to(place), language.to(place))
    consistency = CrossLingualConsistency(pivot="en").to(place)
    consistency.update(scores.to(place), ids, [("en", "de")[i] for i in language.tolist()], target.to(place))
    found = {**accuracy.compute(), **consistency.compute()}
    return repr({name: _rounded(value) for name, value in sorted(found.items())})


def _rounded(value: Any) -> Any:
    return round(float(value), 5) if isinstance(value, float) or getattr(value, "ndim", 1) == 0 else str(value)


def process(rank: int, world: int, encoder: str, folder: str, names: list[str], message: str | None) -> None:
    """One of the processes; it leaves what came of its runs in a file.

    Args:
        rank: Its number.
        world: How many there are.
        encoder: The encoder's folder.
        folder: Where the file is left.
        names: The tasks.
        message: What a first collective of tensors of the host must fail with; None asks for none.
    """
    torch.set_num_threads(1)
    os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=timedelta(seconds=120))
    found: dict[str, Any] = {}
    try:
        if message is not None:
            with Device(index=rank, count=world):
                try:
                    dist.all_reduce(torch.ones(2))
                except RuntimeError as error:
                    found["refused"] = str(error)
        for name in names:
            made = run_task(name, encoder, Path(folder), Device(index=rank, count=world), world)
            assert made.device is not None
            found[name] = {
                "losses": made.losses,
                "results": made.results,
                "predictions": made.predictions,
                "update_waits": made.update_waits,
                "scoring_waits": made.scoring_waits(),
                "copies": made.copies_a_batch(),
                "batches": dict(made.batches),
                "collectives": made.device.collectives,
            }
        with Device(index=rank, count=world) as device:
            found["metrics"] = metrics(device.device, slice(rank, None, world))
        (Path(folder) / f"{rank}.pickle").write_bytes(pickle.dumps(found))
    finally:
        dist.destroy_process_group()


def run_processes(encoder: str, folder: Path, names: list[str], message: str | None = None) -> list[dict[str, Any]]:
    """Run tasks over two processes; what :func:`process` left, by process and task."""
    arguments = (2, encoder, str(folder), names, message)
    torch.multiprocessing.spawn(process, arguments, nprocs=2, join=True)
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(2)]
