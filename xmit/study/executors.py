"""Where the cells of a plan are carried out: here, one after another."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import yaml

from xmit import interruption
from xmit.errors import StudyError, XmitError
from xmit.files import DRAFT, no_room, write_json, write_text
from xmit.study.plan import Cell, Keep
from xmit.study.results import CHECKPOINTS, CONFIG, DONE, ENCODER, ERROR, STARTED

if TYPE_CHECKING:
    from xmit.study.remote import RemoteFolder

CellDone = Callable[[Cell, float, str | None], None]
"""Called after a cell with its seconds, and its error in one line if it failed."""


def run_locally(
    cells: Iterable[Cell],
    folder: Path,
    start: Callable[[Cell], list[pl.Callback]],
    done: CellDone,
    remote: RemoteFolder | None = None,
) -> dict[str, str]:
    """Carry out cells one after another in this process, which builds the encoder only once.

    Args:
        cells: What is not yet done, parents first.
        folder: The study's folder.
        start: Called before a cell; returns callbacks for its trainer.
        done: Called after it.
        remote: Where what a cell leaves is copied to.

    Returns:
        The error of every cell that failed or whose parent did, by name.

    Raises:
        StudyError: If the disk takes no more.
        Interrupted: If the process was told to end; the cell has saved what it did.
    """
    failed: dict[str, str] = {}
    for cell in cells:
        begun = time.monotonic()
        if cell.depends in failed:
            error: str | None = f"left out: {cell.depends}, which it starts from, failed"
        else:
            error = run_one(cell, folder, start(cell), remote)
        if error is not None:
            failed[cell.name] = error
        done(cell, time.monotonic() - begun, error)
        gc.collect()
    return failed


def run_one(cell: Cell, folder: Path, callbacks: list[pl.Callback], remote: RemoteFolder | None = None) -> str | None:
    """Carry out one cell, from its last checkpoint on if there is one; the rest of a study goes on when it fails.

    Args:
        cell: The cell.
        folder: The study's folder.
        callbacks: For its trainer, where it runs in this process.
        remote: Where what it needs is copied from, and what it leaves is copied to. That a copy fails is the cell's
            error; the next start copies again.

    Returns:
        The error in one line, or None. The traceback is in the cell's ``error.json``.

    Raises:
        StudyError: If the disk takes no more: the rest would fail as well.
        Interrupted: If the process was told to end.
    """
    if remote is None:
        return _run_here(cell, folder, callbacks)
    try:
        remote.fetch_for(cell.name, cell.depends)
        try:
            return _run_here(cell, folder, callbacks)
        finally:  # however it ended, so that it can go on elsewhere
            remote.send(cell.name)
    except XmitError:
        raise
    except Exception as error:  # every filesystem has errors of its own
        return f"{remote.url}: {type(error).__name__}: {' '.join(str(error).split())}"


def _run_here(cell: Cell, folder: Path, callbacks: list[pl.Callback]) -> str | None:
    run = folder / cell.name
    try:
        config = {**cell_config(cell, folder), "ckpt_path": prepare(run, cell.identity)}
        write_text(run / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        if needs_processes(cell.config):
            _run_apart(run / CONFIG, cell.identity)
        else:
            from xmit.study.cell_cli import run_cell

            run_cell(run / CONFIG, cell.identity, callbacks)
        if not (run / DONE).is_file():
            raise StudyError("the run ended without results")
    except (Exception, SystemExit) as error:  # recorded, and named by the report
        trouble = no_room(error)
        if trouble is not None:
            raise StudyError(
                f"{trouble} while {cell.name} ran in {folder}: all that is finished is kept; mend it, and the same "
                f"command goes on"
            ) from error
        message = " ".join(str(error).split()) or type(error).__name__
        write_json(run / ERROR, {"error": message, "identity": cell.identity, "traceback": traceback.format_exc()})
        if isinstance(error, XmitError):  # data, settings, a loss that is no number: it would fail again
            clear_checkpoints(run, "none")
        return message
    clear_checkpoints(run, cell.keep)
    return None


def prepare(run: Path, identity: str) -> str | None:
    """Make a cell's folder ready.

    Args:
        run: The folder.
        identity: The cell's; what a run of another identity has left is removed.

    Returns:
        The checkpoint from which a killed run of this identity goes on, if it left one.
    """
    last = run / CHECKPOINTS / "last.ckpt"
    try:
        same = json.loads((run / STARTED).read_text(encoding="utf-8"))["identity"] == identity
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if same and last.is_file() and not (run / DONE).exists():
        (run / ERROR).unlink(missing_ok=True)
        clear_drafts(run)
        return str(last)
    shutil.rmtree(run, ignore_errors=True)  # leftovers of a killed, failed, damaged or outdated run
    write_json(run / STARTED, {"identity": identity})
    return None


def clear_drafts(folder: Path) -> None:
    """Remove what a kill left half written, and no other hidden file: the folder may be a project's own."""
    for place in (folder, folder / CHECKPOINTS):
        for draft in place.glob(".*"):
            if draft.is_file() and DRAFT.fullmatch(draft.name):
                draft.unlink()


def cell_config(cell: Cell, folder: Path) -> dict[str, Any]:
    """The config of the ``fit`` that carries a cell out in a study's folder."""
    config = {
        **cell.config,
        "output": str(folder / cell.name),
        "trainer": {
            "devices": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            **cell.config["trainer"],
        },
    }
    if cell.depends:
        config["model"] = {**cell.config["model"], "init_from": str(folder / cell.depends / ENCODER)}
    return config


def clear_checkpoints(run: Path, keep: Keep) -> None:
    """Remove what a finished cell does not keep; the encoder and the rows always stay."""
    folder = run / CHECKPOINTS
    clear_drafts(run)
    if keep == "none":
        shutil.rmtree(folder, ignore_errors=True)
    elif keep == "best":
        (folder / "last.ckpt").unlink(missing_ok=True)
    (run / STARTED).unlink(missing_ok=True)


def needs_processes(config: Any) -> bool:
    """Whether Lightning starts more processes for a run, which then must not be those of the whole study."""
    trainer = config.get("trainer") or {}
    return trainer.get("devices", 1) not in (1, "1", [0]) or trainer.get("num_nodes", 1) != 1


def _run_apart(config: Path, identity: str) -> None:
    """Carry out a cell of several devices: its first process and the others that Lightning starts.

    Raises:
        RuntimeError: If it failed.
        Interrupted: If this process was told to end; the cell was told too, and is waited for.
    """
    command = [sys.executable, "-m", "xmit.study.cell", str(config), identity, str(os.getpid())]
    with (config.parent / "output.txt").open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code:
        signalled = interruption.requested()
        if signalled is not None:
            raise interruption.Interrupted(signalled)
        lines = (config.parent / "output.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise RuntimeError(f"{lines[-1].removeprefix('xmit: ') if lines else 'no message'} (all of it in output.txt)")
