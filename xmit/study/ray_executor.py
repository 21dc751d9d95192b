"""The same plan as Ray tasks: several cells at a time, on one machine or on a cluster with a shared folder or URL."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xmit.errors import MissingDependencyError, StudyError, XmitError
from xmit.interruption import Interrupted
from xmit.progress import quiet
from xmit.study.executors import run_one
from xmit.study.plan import Cell
from xmit.study.progress import StudyProgress
from xmit.study.remote import open_folder

RETRIES = 20
"""How often a cell is tried again whose node or process is lost; each time it goes on from its last checkpoint."""
GRACE = 60.0
"""Seconds that running cells have to save when the study is told to end."""
PASSED_ON = ("PYTHONPATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "HF_HOME", "HF_TOKEN", "HF_HUB_OFFLINE", "XMIT_CACHE")
"""What the processes on other nodes take over of our environment."""


class Preempted(Exception):
    """A node told the cell to end; it has saved what it did."""


def run_on_ray(
    cells: Sequence[Cell], folder: str, resources: Mapping[str, float], address: str | None, progress: StudyProgress
) -> dict[str, str]:
    """Carry out cells as Ray tasks.

    Args:
        cells: What is not yet done, parents first.
        folder: The study's folder, the same on every node, or a URL.
        resources: ``num_cpus``, ``num_gpus`` and ``memory`` of a cell; one CPU by default.
        address: Of a running cluster; without one, and without ``$RAY_ADDRESS``, Ray is started on this machine.
        progress: Told of every cell that ends.

    Returns:
        The error of every cell that failed or whose parent did, by name.

    Raises:
        MissingDependencyError: If Ray is not installed.
        StudyError: If there is no cluster at the address, or a disk takes no more.
        Interrupted: If this process was told to end; the cells were told too and have saved what they did.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError("ray", "ray") from error
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    ours = not ray.is_initialized()
    if ours:
        try:
            _reach(address or os.environ.get("RAY_ADDRESS") or "")
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": environment},
                **({} if address or os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}),
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise StudyError(
                f"there is no Ray cluster at {address or os.environ.get('RAY_ADDRESS')}: start one with 'ray start "
                f"--head', or leave --address out ({' '.join(str(error).split())[:200]})"
            ) from error
    try:
        return _run(ray, cells, folder, {"num_cpus": 1, **resources}, progress)
    finally:
        if ours:
            ray.shutdown()


def _reach(address: str) -> None:
    """Find out at once that nobody listens at an address: Ray tries for minutes.

    Raises:
        OSError: If so.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), 10).close()


def _run(
    ray: Any, cells: Sequence[Cell], folder: str, resources: Mapping[str, float], progress: StudyProgress
) -> dict[str, str]:
    progress.share = 1 / _slots(ray.cluster_resources(), resources)
    task = ray.remote(max_retries=RETRIES, retry_exceptions=[Preempted], **resources)(_carry_out)
    results: dict[str, Any] = {}
    waiting: dict[Any, Cell] = {}
    for cell in cells:
        # a parent that is done already has no result to wait for
        result = task.remote(cell, folder, str(Path.cwd()), results.get(cell.depends or ""))
        results[cell.name] = result
        waiting[result] = cell
    failed: dict[str, str] = {}
    try:
        while waiting:
            ended, _ = ray.wait(list(waiting), num_returns=1)
            for result in ended:
                cell = waiting.pop(result)
                seconds, error = _outcome(ray, result, cell)
                if error is not None:
                    failed[cell.name] = error
                progress.done(cell, seconds, error)
    except BaseException:
        for result in waiting:
            ray.cancel(result, force=False, recursive=False)  # SIGINT to those that run: they save and end
        ray.wait(list(waiting), num_returns=len(waiting), timeout=GRACE)
        raise
    return failed


def _outcome(ray: Any, result: Any, cell: Cell) -> tuple[float, str | None]:
    """Seconds and error of a cell.

    Raises:
        StudyError: If a disk takes no more.
    """
    try:
        seconds, error = ray.get(result)
    except ray.exceptions.RayTaskError as raised:
        if isinstance(raised.cause, XmitError):
            raise StudyError(str(raised.cause)) from raised
        return 0.0, f"{type(raised.cause).__name__}: {raised.cause}"
    except ray.exceptions.RayError as raised:  # its node or process was lost too often
        return 0.0, f"{type(raised).__name__} after {RETRIES} retries: {' '.join(str(raised).split())[:300]}"
    return seconds, error


def _carry_out(
    cell: Cell, folder: str, cwd: str, parent: tuple[float, str | None] | None
) -> tuple[float, str | None]:  # pragma: no cover - in a process of Ray's
    """One cell, in a process of Ray's."""
    begun = time.monotonic()
    if parent is not None and parent[1] is not None:
        return 0.0, f"left out: {cell.depends}, which it starts from, failed"
    place, remote = open_folder(folder)
    if remote is None or Path(cwd).is_dir():
        os.chdir(cwd)  # paths in configs are those of the study's process
    quiet()
    try:
        error = run_one(cell, place, [], remote)
    except Interrupted as stopped:
        raise Preempted(str(stopped)) from stopped
    return time.monotonic() - begun, error


def _slots(there: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    """How many cells run at the same time."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    shares = [there.get(names[key], 0) / value for key, value in wanted.items() if value]
    return max(1, int(min(shares, default=1)))
