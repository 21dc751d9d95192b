"""Result rows, prediction rows and the files of a run on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmit.errors import DataError
from xmit.files import atomic_write, file_hash, write_json

if TYPE_CHECKING:
    import pandas as pd

PLAN = "plan.json"
RESULTS = "results.parquet"
PREDICTIONS = "predictions.parquet"
DONE = "done.json"
STARTED = "started.json"
CONFIG = "config.yaml"
ENCODER = "encoder"
CHECKPOINTS = "checkpoints"
ERROR = "error.json"
ELSEWHERE = "elsewhere.json"
"""In a copy of a cell: the size of its files that lie at the study's URL alone."""
HASHED = 2**20
"""Files below so many bytes are hashed to see whether they are whole; of others the size must do."""
FUSION = "fusion"
COLUMNS = (
    "study", "cell", "role", "encoder", "intermediate", "target", "benchmark_version", "seed", "split",
    "language", "metric", "is_main", "value", "n", "reason",
)  # fmt: skip
"""The columns of result rows. ``reason`` says why a value is NaN; there are no timings."""


PREDICTION_COLUMNS = (
    "task", "language", "id", "prediction", "scores", "target", "item_score", "cluster", "text", "options",
)  # fmt: skip
"""The columns of prediction rows. The mean of ``item_score`` over a language is its main score, where it is known;
``cluster`` ties examples together that are no independent evidence, and is empty for most tasks. What an item of
parallel data asks stands on one of its rows: ``text`` and, where predictions are numbers, ``options``."""


@dataclass
class RunInfo:
    """Where a run stands in a study; for a run of its own the defaults do.

    Args:
        study: Name of the study.
        cell: Name of the cell.
        role: ``intermediate`` or ``target``; by default what the task is for.
        intermediate: The intermediate whose encoder the run starts from; by default what ``init_from`` was trained
            on, and ``none`` for the public encoder.
        encoder: The public encoder at the beginning of it all.
        target: The target's name in the study; by default the task's.
    """

    study: str = ""
    cell: str = ""
    role: str | None = None
    intermediate: str | None = None
    encoder: str | None = None
    target: str | None = None


def result_rows(frame: pd.DataFrame, info: RunInfo, seed: int) -> pd.DataFrame:
    """Add to a module's scores where they belong.

    Args:
        frame: Rows of :attr:`~xmit.modules.module.MultimodalModule.results`.
        info: The run.
        seed: Its seed.

    Returns:
        Rows in the columns :data:`COLUMNS`. An intermediate's rows bear its name; the metrics of a mixture say of
        which task they are (``mnli/accuracy``).
    """
    target = info.role != "intermediate"
    if frame["task"].nunique() > 1:
        frame = frame.assign(metric=frame["task"] + "/" + frame["metric"])
    values = {
        **asdict(info),
        "target": (info.target or frame["task"]) if target else "",
        "seed": seed,
    }
    return frame.assign(**values)[list(COLUMNS)]


def write_results(folder: Path, rows: pd.DataFrame, predictions: pd.DataFrame | None) -> None:
    """Write result rows and prediction rows as parquet, atomically."""
    atomic_write(folder / RESULTS, lambda p: rows.to_parquet(p, index=False))
    if predictions is not None:
        kept = predictions.reindex(columns=PREDICTION_COLUMNS)  # what a task does not know is empty
        atomic_write(folder / PREDICTIONS, lambda p: kept.to_parquet(p, index=False))


def mark_done(folder: Path, identity: str, facts: dict[str, Any]) -> None:
    """Write ``done.json``, last of all, with the hash of every file that must be whole.

    Args:
        folder: The run's folder.
        identity: Hash of what determined the outcome.
        facts: Whatever else is worth knowing, such as seconds and versions.
    """
    files = [p for p in (folder / n for n in (RESULTS, PREDICTIONS, CONFIG)) if p.is_file()]
    for weights in (folder / ENCODER, folder / FUSION):
        files += [p for p in weights.rglob("*") if p.is_file()]
    hashes = {str(p.relative_to(folder)): {"sha256": file_hash(p), "bytes": p.stat().st_size} for p in files}
    write_json(folder / DONE, {"identity": identity, "files": hashes, **facts})


def read_done(folder: Path) -> dict[str, Any]:
    """What ``done.json`` says; empty if it is not there or damaged, which is the same as not done."""
    try:
        done = json.loads((folder / DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return done if isinstance(done, dict) else {}


def done_facts(folder: Path, identity: str) -> dict[str, Any] | None:
    """What ``done.json`` says of a run of this identity that is finished and whole; else None.

    Small files are hashed; of large ones, weights above all, the size is compared.
    """
    done = read_done(folder)
    try:
        if done["identity"] != identity:
            return None
        copied = folder / ELSEWHERE
        elsewhere = json.loads(copied.read_text(encoding="utf-8")) if copied.is_file() else {}
        for name, facts in done["files"].items():
            path = folder / name
            if name in elsewhere and not path.exists():
                if elsewhere[name] != facts["bytes"]:
                    return None
                continue
            if path.stat().st_size != facts["bytes"]:
                return None
            if facts["bytes"] < HASHED and file_hash(path) != facts["sha256"]:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # nothing there, or damaged: the run is simply not done
    return done


def is_done(folder: Path, identity: str) -> bool:
    """Whether a run of this identity is finished and whole."""
    return done_facts(folder, identity) is not None


def read_rows(paths: Iterable[tuple[Path, str]]) -> pd.DataFrame:
    """Read many files of result rows into one frame.

    Args:
        paths: Each with the name of the study that it now belongs to, whatever that was called when the file was
            written; or with none.

    Raises:
        DataError: If one cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for path, study in paths:
        try:
            table = pq.ParquetFile(path).read().replace_schema_metadata(None)
            if study:
                table = table.set_column(table.column_names.index("study"), "study", pa.array([study] * len(table)))
            tables.append(table)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error}): delete {path.parent} and run the study again") from error
    frame: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    return frame


def load_results(folder: str | Path) -> pd.DataFrame:
    """Read the result rows of a run, a study, or a folder of studies.

    Args:
        folder: Such as ``runs/demo`` or ``runs``; of a study also a URL that fsspec knows.

    Returns:
        All rows of all finished runs in it, in the columns :data:`COLUMNS`.

    Raises:
        DataError: If there are none, or a file cannot be read.
    """
    from xmit.study.remote import local_copy

    root = local_copy(folder)
    there = sorted(p for p in root.rglob(RESULTS) if (p.parent / DONE).is_file())
    planned: dict[Path, tuple[str, dict[str, str]] | None] = {}
    found = [(p, study) for p in there if (study := _study_of(p.parent, planned)) is not None]
    if not found:
        why = f"{there[0].parent} is damaged or no longer what its study plans" if there else f"no {RESULTS} and {DONE}"
        raise DataError(f"no finished run in {root} ({why}): run a study or fit first")
    return read_rows(found)


def _study_of(run: Path, planned: dict[Path, tuple[str, dict[str, str]] | None]) -> str | None:
    """The study that a run is a cell of, empty if it stands by itself; None if it is no longer one of its cells."""
    plan = run.parent / PLAN
    if plan not in planned:
        planned[plan] = None
        if plan.is_file():
            try:
                read = json.loads(plan.read_text(encoding="utf-8"))
                planned[plan] = str(read.get("name", "")), {cell["name"]: cell["identity"] for cell in read["cells"]}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise DataError(f"{plan} is damaged ({error}): run the study again, nothing done is lost") from error
    found = planned[plan]
    if found is None:
        return ""
    name, identities = found
    return name if run.name in identities and is_done(run, identities[run.name]) else None
