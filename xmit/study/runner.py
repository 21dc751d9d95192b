"""Carry out a study: plan, do what is not yet done, report."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from xmit.errors import StudyError
from xmit.files import no_room
from xmit.interruption import Interrupted, interruptible
from xmit.progress import quiet
from xmit.study.estimate import FLOPS, Durations, cell_memory, estimate, span
from xmit.study.executors import clear_drafts, run_locally
from xmit.study.lock import locked
from xmit.study.plan import Cell, Plan, load_plan
from xmit.study.planfile import check_folder, study_rows, write_plan
from xmit.study.progress import StudyProgress
from xmit.study.remote import RemoteFolder, open_folder
from xmit.study.results import done_facts


def run_study(
    config: str,
    output: str | None = None,
    dry_run: bool = False,
    only: str | None = None,
    limit: int | None = None,
    executor: str = "local",
    address: str | None = None,
) -> int:
    """Plan a study, run what is not yet done and write its report.

    Args:
        config: The study file.
        output: The study's folder, by default ``runs/<name>``; or a URL, see :mod:`~xmit.study.remote`.
        dry_run: Only print the plan.
        only: Only the cell of this name, or if there is none those whose name contains it.
        limit: At most so many cells.
        executor: ``local``, one cell after another here, or ``ray``.
        address: Of a running Ray cluster; by default one is started here, or that of ``$RAY_ADDRESS`` is taken.

    Returns:
        The exit code: 1 where a cell failed.

    Raises:
        StudyError: If the study cannot be planned, its folder is in use or takes no more.
        Interrupted: If the process was told to end.
    """
    console = Console(soft_wrap=True)
    plan = load_plan(config)
    folder, remote = open_folder(output or Path("runs") / plan.name)
    if remote is not None:
        remote.fetch({cell.name: cell.identity for cell in plan.cells})
    finished = finished_cells(plan, folder)
    replaced = check_folder(folder, plan, finished)
    chosen = select(plan, [cell for cell in plan.cells if cell.name not in finished], only, limit)
    check_plan(chosen)
    if dry_run:
        print_plan(console, plan, folder, finished, chosen, replaced)
        return 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with interruptible(), locked(folder), remote.locked() if remote is not None else nullcontext():
            failed = _run(console, plan, folder, only, limit, executor, address, remote)
    except Interrupted as error:
        words = ["python", "-m", "xmit", "study", "--config", config, *(["--output", output] if output else [])]
        words += ["--executor", executor] if executor != "local" else []
        chosen_by = {"--only": only, "--limit": limit, "--address": address}
        words += [word for name, value in chosen_by.items() if value is not None for word in (name, str(value))]
        error.hint = f"what was done is kept; it goes on with: {shlex.join(words)}"
        raise
    except OSError as error:
        if not isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError) and not no_room(error):
            raise
        raise StudyError(
            f"{error.filename or folder} cannot be written ({error.strerror}): mend it, or give another --output; all "
            f"that is finished is kept"
        ) from error
    report_study(folder, console)
    if remote is not None:
        remote.send()
        console.print(f"copied to {remote.url}", markup=False, highlight=False)
    return 1 if failed else 0


def _run(
    console: Console,
    plan: Plan,
    folder: Path,
    only: str | None,
    limit: int | None,
    executor: str,
    address: str | None,
    remote: RemoteFolder | None,
) -> dict[str, str]:
    """Run what is not yet done now that the folder is ours."""
    if remote is not None:
        remote.send_finished({cell.name: cell.identity for cell in plan.cells})
    finished = finished_cells(plan, folder)  # the process that held it may have gone on
    chosen = select(plan, [cell for cell in plan.cells if cell.name not in finished], only, limit)
    replaced = set(check_folder(folder, plan, finished)) & {cell.name for cell in chosen}
    clear_drafts(folder)
    write_plan(folder, plan, finished, {})
    failed: dict[str, str] = {}
    if chosen:
        console.print(f"study {plan.name}: {len(plan.cells)} cells, {len(finished)} done, {len(chosen)} to run")
        if replaced:
            console.print(_replaces(replaced), style="yellow", markup=False, highlight=False)
        with StudyProgress(console, chosen, Durations(plan.cells, finished)) as progress:
            if executor == "ray":
                from xmit.study.ray_executor import run_on_ray

                place = str(folder) if remote is None else remote.url
                failed = run_on_ray(chosen, place, plan.resources, address, progress)
                if remote is not None:
                    remote.fetch({cell.name: cell.identity for cell in plan.cells})
            else:
                failed = run_locally(chosen, folder, progress.start, progress.done, remote)
        write_plan(folder, plan, finished_cells(plan, folder), failed)
    else:
        others = len(plan.cells) - len(finished)
        done = f"nothing is left of what was chosen, {others} other cells are open"
        console.print(f"study {plan.name}: {done if others else f'all {len(plan.cells)} cells are done'}")
    for name, error in failed.items():
        console.print(f"failed: {name}: {error} (see {folder / name / 'error.json'})", style="red", markup=False)
    return failed


def finished_cells(plan: Plan, folder: Path) -> dict[str, dict[str, Any]]:
    """What ``done.json`` says of every cell that is finished and whole, by name."""
    facts = ((cell.name, done_facts(folder / cell.name, cell.identity)) for cell in plan.cells)
    return {name: found for name, found in facts if found is not None}


def select(plan: Plan, open_cells: list[Cell], only: str | None, limit: int | None) -> list[Cell]:
    """The cells to run now: what was asked for, and the unfinished cells it depends on.

    Raises:
        StudyError: If no cell's name contains ``only``.
    """
    named = [cell for cell in plan.cells if cell.name == only]
    asked = named or [cell for cell in plan.cells if only is None or only in cell.name]
    if not asked:
        raise StudyError(f"no cell's name contains {only!r}; --dry-run lists them")
    wanted = {cell.name for cell in asked} | {cell.depends for cell in asked if cell.depends}
    chosen = [cell for cell in open_cells if cell.name in wanted]
    return chosen if limit is None else chosen[:limit]


def check_plan(cells: Iterable[Cell]) -> None:
    """Parse one config of every kind of cell, and build its tasks, before anything runs.

    Raises:
        ConfigError: For the first that a fit would not take.
    """
    from xmit.study.cell_cli import check_configs

    quiet()
    kinds = {(cell.role, cell.target or cell.intermediate, cell.config["model"]["encoder"]): cell for cell in cells}
    with tempfile.TemporaryDirectory() as folder:

        def files() -> Iterator[tuple[Path, str]]:
            for number, cell in enumerate(kinds.values()):
                file = Path(folder) / f"{number}.yaml"
                file.write_text(yaml.safe_dump(dict(cell.config), allow_unicode=True), encoding="utf-8")
                yield file, f"cell {cell.name}"

        check_configs(files())


def _replaces(cells: Collection[str]) -> str:
    are = "cell is" if len(cells) == 1 else "cells are"
    return (
        f"{len(cells)} {are} finished with other settings: running again replaces what is there, another --output "
        f"keeps it"
    )


def print_plan(
    console: Console,
    plan: Plan,
    folder: Path,
    finished: Mapping[str, Mapping[str, Any]],
    chosen: Iterable[Cell],
    replaced: Collection[str] = (),
) -> None:
    """Print every cell with its state, and what the chosen ones will cost."""
    chosen = list(chosen)
    now = {cell.name for cell in chosen}
    for cell in plan.cells:
        to_run = "run again" if cell.name in replaced else "to run"
        state = "done" if cell.name in finished else to_run if cell.name in now else "not chosen"
        after = f"  after {cell.depends}" if cell.depends else ""
        console.print(f"{state:10} {cell.name}{after}", markup=False, highlight=False)
    shared = sum(cell.role == "intermediate" for cell in plan.cells)
    console.print(
        f"{len(plan.cells)} cells in {folder}: {shared} of intermediates, each shared by its targets, "
        f"{len(finished)} done, {len(chosen)} to run"
    )
    if now & set(replaced):
        console.print(_replaces(now & set(replaced)), style="yellow", markup=False, highlight=False)
    if not chosen:
        return
    _print_memory(console, chosen)
    left = Durations(plan.cells, finished).left(chosen)
    if left is not None:
        console.print(f"about {span(left)} to run one after another, by the time of {len(finished)} finished cells")
        return
    if all((cell.config.get("trainer") or {}).get("accelerator") == "cpu" for cell in chosen):
        console.print("how long they take on the CPU is told by the first that is finished")
        return
    cost = estimate(chosen)
    console.print(
        f"about {cost.hours:,.0f} GPU hours to run: a rule of thumb, not measured (one A100 that reaches "
        f"{FLOPS / 1e12:.0f} TFLOP/s, typical lengths, no early stopping)"
    )
    if cost.unknown:
        more = f" and {len(cost.unknown) - 3} others" if len(cost.unknown) > 3 else ""
        names = ", ".join(cost.unknown[:3])
        console.print(f"not counted, their training data being of unknown size: {names}{more}")


def _print_memory(console: Console, chosen: Iterable[Cell]) -> None:
    """Print the peak memory that each kind of cell is expected to take on a device, and warn where it is too much."""
    from xmit.memory.words import beyond, gigabytes

    kinds = cell_memory(chosen)
    console.print("expected peak memory a device, without reading the data:", markup=False, highlight=False)
    wide = max(len(kind.name) for kind in kinds)
    for kind in kinds:
        n = f"{kind.cells} cell{'s' if kind.cells > 1 else ''}"
        if kind.run.unknown:
            what = f"unknown: {kind.run.unknown}"
        else:
            peak = kind.run.peak
            what = f"{gigabytes(peak.total):>8}  {kind.run.device}, {kind.run.precision}, {peak.moment}"
        console.print(f"  {kind.name:{wide}}  {n:>10}  {kind.encoder}  {what}", markup=False, highlight=False)
        if warning := beyond(kind.run, kind.room):
            cure = f"set {kind.remedy}" if kind.remedy else "take a larger GPU"
            console.print(f"  {kind.name}: {warning}: {cure}", style="yellow", markup=False, highlight=False)


def report_study(folder: Path, console: Console) -> None:
    """Write the report of a study and print its summary."""
    from xmit.report import print_summary, study_options, write_report
    from xmit.report.rows import checked

    rows, info = study_rows(folder)
    rows = checked(rows)
    if not (rows["role"] == "target").any():
        console.print("no target is scored yet, so there is nothing to report")
        return
    page = write_report(folder, rows, info)
    options = study_options(folder, rows, info)
    print_summary(rows, console, **{k: options[k] for k in ("source_language", "missing", "items")})
    console.print(f"report: {page}", markup=False, highlight=False)
