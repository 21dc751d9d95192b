"""Where the cells of a plan are carried out: here, one after another."""

from __future__ import annotations

import gc
import logging
import shutil
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

import lightning.pytorch as pl
import yaml

from xmit.files import write_json, write_text
from xmit.study.plan import Cell
from xmit.study.results import CONFIG, DONE, ENCODER

CellDone = Callable[[Cell, float, str | None], None]
"""Called after a cell with its seconds, and its error in one line if it failed."""


def run_locally(
    cells: Iterable[Cell], folder: Path, start: Callable[[Cell], list[pl.Callback]], done: CellDone
) -> dict[str, str]:
    """Carry out cells one after another in this process, which builds the encoder only once.

    Args:
        cells: What is not yet done, parents first.
        folder: The study's folder.
        start: Called before a cell; returns callbacks for its trainer.
        done: Called after it.

    Returns:
        The error of every cell that failed or whose parent did, by name.
    """
    failed: dict[str, str] = {}
    for cell in cells:
        begun = time.monotonic()
        if cell.depends in failed:
            error: str | None = f"left out: {cell.depends}, which it starts from, failed"
        else:
            error = run_one(cell, folder, start(cell))
        if error is not None:
            failed[cell.name] = error
        done(cell, time.monotonic() - begun, error)
        gc.collect()
    return failed


def run_one(cell: Cell, folder: Path, callbacks: list[pl.Callback]) -> str | None:
    """Carry out one cell; the rest of a study goes on when it fails.

    Returns:
        The error in one line, or None. The traceback is in the cell's ``error.json``.
    """
    from xmit.cli import run_cell

    run = folder / cell.name
    shutil.rmtree(run, ignore_errors=True)  # leftovers of a killed or outdated run
    config = {
        **cell.config,
        "output": str(run),
        "trainer": {"enable_progress_bar": False, "enable_model_summary": False, **cell.config["trainer"]},
    }
    if cell.depends:
        config["model"] = {**cell.config["model"], "init_from": str(folder / cell.depends / ENCODER)}
    write_text(run / CONFIG, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    try:
        run_cell(run / CONFIG, cell.identity, callbacks)
    except (Exception, SystemExit) as error:  # recorded, and named by the report
        message = " ".join(str(error).split()) or type(error).__name__
        write_json(run / "error.json", {"error": message, "traceback": traceback.format_exc()})
        return message
    finally:
        shutil.rmtree(run / "checkpoints", ignore_errors=True)  # the encoder and the rows are what is kept
    return None if (run / DONE).is_file() else "the run ended without results"


def quiet() -> None:
    """Silence Lightning's remarks, which repeat for every cell."""
    import warnings

    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
