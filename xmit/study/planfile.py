"""``plan.json`` and what stands behind it: the cells of a study and their state."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from xmit.errors import StudyError
from xmit.files import write_json
from xmit.study.plan import Plan
from xmit.study.results import CHECKPOINTS, DONE, ERROR, PLAN, RESULTS, done_facts, read_done, read_rows
from xmit.tasks.scoring import MAJORITY


def write_plan(folder: Path, plan: Plan, finished: Mapping[str, Mapping[str, Any]], failed: Mapping[str, str]) -> None:
    """Write ``plan.json``: the cells, resolved, and their state.

    Args:
        folder: The study's folder.
        plan: The plan.
        finished: The cells that are done, by name.
        failed: The error of those that failed, by name.
    """
    cells = [
        {
            "name": cell.name,
            "role": cell.role,
            "intermediate": cell.intermediate,
            "target": cell.target,
            "seed": cell.seed,
            "encoder": cell.config["model"]["encoder"],
            "depends": cell.depends,
            "identity": cell.identity,
            "source_language": cell.source_language,
            "config": cell.config,
            "state": "done" if cell.name in finished else "failed" if cell.name in failed else "open",
            "error": failed.get(cell.name, ""),
        }
        for cell in plan.cells
    ]
    write_json(folder / PLAN, {"name": plan.name, "source": plan.source, "cells": cells})


def check_folder(folder: Path, plan: Plan, finished: Collection[str]) -> list[str]:
    """See whether a folder can take a study.

    Args:
        folder: Where it shall be.
        plan: The study.
        finished: Its cells that are done there.

    Returns:
        The cells that are finished there with other settings; running them replaces what they left.

    Raises:
        StudyError: If it is a file, belongs to a single run, or has finished cells of another study.
    """
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"{folder} is a file: give a folder as --output")
    try:
        before = read_plan(folder)
    except StudyError:  # none, or damaged, and then it is written anew
        before = {"cells": []}
        left = next((name for name in (DONE, RESULTS, CHECKPOINTS) if (folder / name).exists()), None)
        if left is not None and not (folder / PLAN).exists():
            raise StudyError(f"{folder} belongs to a single run (its {left}): give another --output") from None
    if before.get("name", plan.name) != plan.name:
        cells = {cell["name"]: cell["identity"] for cell in before["cells"] if cell["name"] not in finished}
        lost = [name for name, identity in cells.items() if done_facts(folder / name, identity) is not None]
        if lost:
            raise StudyError(
                f"{folder} holds the study {before['name']!r} with {len(lost)} finished cells that {plan.name!r} would "
                f"replace or lose sight of, such as {lost[0]}: give another --output"
            )
    identities = {cell.name: cell.identity for cell in plan.cells if cell.name not in finished}
    found = {name: read_done(folder / name).get("identity") for name in identities}
    return [name for name, identity in found.items() if identity not in (None, identities[name])]


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
        raise StudyError(
            f"{folder} holds no study (no {PLAN}): give the folder that 'xmit study' wrote; "
            f"single runs below a folder are read by xmit.load_results in Python"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{folder / PLAN} is damaged ({error}): run the study again, nothing done is lost") from error
    return plan


def study_rows(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The result rows of a study's finished cells, and how it was run.

    Args:
        folder: The study's folder.

    Returns:
        The rows, and a dict with ``name``, ``config``, ``cells`` (seconds by name), ``missing``, ``source_language``,
        ``chance`` (by target), ``leakage`` (what was left out of training data, by intermediate), ``warnings``,
        ``versions``, ``hardware`` and ``date``.

    Raises:
        StudyError: If nothing is finished.
    """
    plan = read_plan(folder)
    paths, missing, latest = [], [], 0.0
    facts: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    leakage: dict[str, str] = {}
    for cell in plan["cells"]:
        run = folder / cell["name"]
        done = done_facts(run, cell["identity"])
        if done is None:
            place = {key: cell[key] for key in ("intermediate", "target", "seed")}
            place |= {"encoder": cell["encoder"]} if "encoder" in cell else {}  # not in plans of before
            missing.append({**place, "reason": cell["error"] or _error(run, cell["identity"]) or "not run yet"})
            continue
        facts = done
        latest = max(latest, (run / DONE).stat().st_mtime)
        seconds[cell["name"]] = facts.get("seconds", float("nan"))
        leakage |= {cell["intermediate"]: _dropped(facts["leakage"])} if facts.get("leakage") else {}
        paths.append(run / RESULTS)
    if not paths:
        raise StudyError(f"no cell of the study in {folder} is finished ({missing[0]['reason']}): run the study again")
    rows = read_rows([(path, plan["name"]) for path in paths])
    majority = rows[(rows["metric"] == MAJORITY) & (rows["split"] == "test")]
    info = {
        "name": plan["name"],
        "config": plan["source"],
        "cells": seconds,
        "missing": missing,
        "source_language": {c["target"]: c["source_language"] for c in plan["cells"] if c["target"]},
        "chance": majority.groupby("target")["value"].mean().to_dict(),
        "leakage": leakage,
        "warnings": [],
        "versions": facts.get("versions", {}),
        "hardware": facts.get("hardware", ""),
        "date": time.strftime("%Y-%m-%d", time.localtime(latest)),
    }
    return rows, info


def _error(run: Path, identity: str) -> str:
    """What a cell left of its failure, if the study itself was killed before it could say so."""
    try:
        error = json.loads((run / ERROR).read_text(encoding="utf-8"))
        return str(error["error"]) if error["identity"] == identity else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _dropped(counts: Mapping[str, Mapping[str, Any]]) -> str:
    """What was left out of the training data of an intermediate."""
    parts = []
    for task, count in counts.items():
        names = ", ".join(f"{n} with {name}" for name, n in sorted(count["shared_with"].items()))
        parts.append(
            f"{count['dropped']} of {count['examples']} training examples of {task} dropped, shared with test data"
            + (f" ({names})" if names else "")
        )
    return "; ".join(parts)
