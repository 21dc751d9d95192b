"""Carry out a study: plan, do what is not yet done, report."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pandas as pd
import yaml
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from xmit.errors import StudyError
from xmit.files import write_json
from xmit.study.estimate import FLOPS, estimate
from xmit.study.executors import quiet, run_locally
from xmit.study.plan import Cell, Plan, load_plan
from xmit.study.results import DONE, PLAN, RESULTS, is_done
from xmit.tasks.scoring import MAJORITY


def run_study(
    config: str, output: str | None = None, dry_run: bool = False, only: str | None = None, limit: int | None = None
) -> int:
    """Plan a study, run what is not yet done and write its report.

    Args:
        config: The study file.
        output: The study's folder, by default ``runs/<name>``.
        dry_run: Only print the plan.
        only: Only cells whose name contains this.
        limit: At most so many cells.

    Returns:
        The exit code: 1 where a cell failed.

    Raises:
        StudyError: If the study cannot be planned.
    """
    console = Console(soft_wrap=True)
    plan = load_plan(config)
    folder = Path(output) if output else Path("runs") / plan.name
    open_cells = [cell for cell in plan.cells if not is_done(folder / cell.name, cell.identity)]
    chosen = select(plan, open_cells, only, limit)
    check_configs(chosen)
    if dry_run:
        print_plan(console, plan, folder, open_cells, chosen)
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    write_plan(folder, plan, {})
    failed: dict[str, str] = {}
    if chosen:
        quiet()
        finished = len(plan.cells) - len(open_cells)
        console.print(f"study {plan.name}: {len(plan.cells)} cells, {finished} done, {len(chosen)} to run")
        with StudyProgress(console, len(chosen)) as progress:
            failed = run_locally(chosen, folder, progress.start, progress.done)
        write_plan(folder, plan, failed)
    else:
        console.print(f"study {plan.name}: all {len(plan.cells)} cells are done")
    for name, error in failed.items():
        console.print(f"failed: {name}: {error} (see {folder / name / 'error.json'})", style="red", markup=False)
    report_study(folder, console)
    return 1 if failed else 0


def select(plan: Plan, open_cells: list[Cell], only: str | None, limit: int | None) -> list[Cell]:
    """The cells to run now: what was asked for, and the unfinished cells it depends on.

    Raises:
        StudyError: If no cell's name contains ``only``.
    """
    asked = [cell for cell in plan.cells if only is None or only in cell.name]
    if not asked:
        raise StudyError(f"no cell's name contains {only!r}; --dry-run lists them")
    wanted = {cell.name for cell in asked} | {cell.depends for cell in asked if cell.depends}
    chosen = [cell for cell in open_cells if cell.name in wanted]
    return chosen if limit is None else chosen[:limit]


def check_configs(cells: list[Cell]) -> None:
    """Parse one config of every kind of cell before anything runs.

    Raises:
        ConfigError: For the first that a fit would not take.
    """
    from xmit.cli import check_config

    with tempfile.TemporaryDirectory() as folder:
        for cell in {(c.intermediate if c.role == "intermediate" else "", c.target): c for c in cells}.values():
            file = Path(folder) / "config.yaml"
            file.write_text(yaml.safe_dump(dict(cell.config), allow_unicode=True), encoding="utf-8")
            check_config(file, f"cell {cell.name}")


def print_plan(console: Console, plan: Plan, folder: Path, open_cells: list[Cell], chosen: list[Cell]) -> None:
    """Print every cell with its state."""
    unfinished, now = {c.name for c in open_cells}, {c.name for c in chosen}
    for cell in plan.cells:
        state = "done" if cell.name not in unfinished else "to run" if cell.name in now else "not chosen"
        after = f"  after {cell.depends}" if cell.depends else ""
        console.print(f"{state:10} {cell.name}{after}", markup=False, highlight=False)
    shared = sum(cell.role == "intermediate" for cell in plan.cells)
    console.print(
        f"{len(plan.cells)} cells in {folder}: {shared} intermediates, each shared by its targets, "
        f"{len(plan.cells) - len(open_cells)} done, {len(chosen)} to run"
    )
    cost = estimate(chosen)
    console.print(
        f"about {cost.hours:,.0f} GPU hours to run: a rule of thumb, not measured (one A100 that reaches "
        f"{FLOPS / 1e12:.0f} TFLOP/s, typical lengths, no early stopping)"
    )
    if cost.unknown:
        console.print(f"not counted, their training data being of unknown size: {', '.join(cost.unknown)}")


def write_plan(folder: Path, plan: Plan, failed: dict[str, str]) -> None:
    """Write ``plan.json``: the cells, resolved, and their state."""

    def state(cell: Cell) -> str:
        if is_done(folder / cell.name, cell.identity):
            return "done"
        return "failed" if cell.name in failed else "open"

    cells = [
        {
            "name": cell.name,
            "role": cell.role,
            "intermediate": cell.intermediate,
            "target": cell.target,
            "seed": cell.seed,
            "depends": cell.depends,
            "identity": cell.identity,
            "source_language": cell.source_language,
            "config": cell.config,
            "state": state(cell),
            "error": failed.get(cell.name, ""),
        }
        for cell in plan.cells
    ]
    write_json(folder / PLAN, {"name": plan.name, "source": plan.source, "cells": cells})


def read_plan(folder: Path) -> dict[str, Any]:
    """Read ``plan.json``.

    Raises:
        StudyError: If the folder holds no study.
    """
    try:
        plan: dict[str, Any] = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        if not isinstance(plan["cells"], list):
            raise ValueError("its cells are no list")
    except FileNotFoundError as error:
        raise StudyError(f"{folder} holds no study (no {PLAN}): give the folder that 'xmit study' wrote") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{folder / PLAN} is damaged ({error}): run the study again, nothing done is lost") from error
    return plan


def study_rows(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The result rows of a study's finished cells, and how it was run.

    Args:
        folder: The study's folder.

    Returns:
        The rows, and a dict with ``name``, ``config``, ``cells`` (seconds by name), ``missing``, ``source_language``,
        ``chance`` (by target), ``warnings``, ``versions``, ``hardware`` and ``date``.

    Raises:
        StudyError: If nothing is finished.
    """
    plan = read_plan(folder)
    frames, seconds, missing, facts, latest = [], {}, [], {}, 0.0
    for cell in plan["cells"]:
        run = folder / cell["name"]
        if not is_done(run, cell["identity"]):
            place = {key: cell[key] for key in ("intermediate", "target", "seed")}
            missing.append({**place, "reason": cell["error"] or "not run yet"})
            continue
        facts = json.loads((run / DONE).read_text(encoding="utf-8"))
        latest = max(latest, (run / DONE).stat().st_mtime)
        seconds[cell["name"]] = facts.get("seconds", float("nan"))
        frames.append(pd.read_parquet(run / RESULTS))
    if not frames:
        raise StudyError(f"no cell of the study in {folder} is finished ({missing[0]['reason']}): run the study again")
    rows = pd.concat(frames, ignore_index=True)
    majority = rows[(rows["metric"] == MAJORITY) & (rows["split"] == "test")]
    info = {
        "name": plan["name"],
        "config": plan["source"],
        "cells": seconds,
        "missing": missing,
        "source_language": {c["target"]: c["source_language"] for c in plan["cells"] if c["target"]},
        "chance": majority.groupby("target")["value"].mean().to_dict(),
        "warnings": [],
        "versions": facts.get("versions", {}),
        "hardware": facts.get("hardware", ""),
        "date": time.strftime("%Y-%m-%d", time.localtime(latest)),
    }
    return rows, info


def report_study(folder: Path, console: Console) -> None:
    """Write the report of a study and print its summary."""
    from xmit.report import print_summary, study_options, write_report

    rows, info = study_rows(folder)
    if not (rows["role"] == "target").any():
        console.print("no target is scored yet, so there is nothing to report")
        return
    page = write_report(folder, rows, info)
    options = study_options(folder, rows, info)
    print_summary(rows, console, **{k: options[k] for k in ("source_language", "missing", "items")})
    console.print(f"report: {page}", markup=False, highlight=False)


class StudyProgress:
    """Shows cells done, the current cell and its updates, and the time left."""

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total, self.finished = console, total, 0
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self.cells: TaskID = self.bar.add_task("cells", total=total)
        self.steps: TaskID = self.bar.add_task("", total=None)

    def __enter__(self) -> StudyProgress:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def start(self, cell: Cell) -> list[pl.Callback]:
        """A cell begins."""
        self.bar.reset(self.steps, description=cell.name, total=None)
        return [_Updates(self.bar, self.steps)]

    def done(self, cell: Cell, seconds: float, error: str | None) -> None:
        """A cell has ended: one line that stays."""
        self.finished += 1
        self.bar.advance(self.cells)
        mark = "✗" if error else "✓"
        self.console.print(
            f"{mark} [{self.finished}/{self.total}] {cell.name}  {seconds:.0f} s{'  ' + error if error else ''}",
            markup=False, highlight=False,
        )  # fmt: skip


class _Updates(pl.Callback):
    """Moves the bar of the current cell."""

    def __init__(self, bar: Progress, task: TaskID) -> None:
        self.bar, self.task, self.shown = bar, task, 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.bar.update(self.task, completed=trainer.global_step, total=trainer.estimated_stepping_batches)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        now = time.monotonic()
        if now - self.shown > 0.2:
            self.shown = now
            self.bar.update(self.task, completed=batch_idx + 1, total=sum(trainer.num_test_batches))
