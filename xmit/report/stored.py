"""What lies in a study's folder beside its result rows: prediction rows, read when they are asked for, and the plan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from xmit.errors import DataError, StudyError
from xmit.metrics.paired import ItemScores
from xmit.report.axes import plan_axes
from xmit.report.rows import UNIT, checked
from xmit.study.results import PLAN, PREDICTIONS

SCORE = "item_score"
ASKED = ("text", "options")
"""Columns that prediction rows of earlier versions do not have."""


def study_options(folder: str | Path, rows: pd.DataFrame, info: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the tables of a study take beside its rows: source languages, missing cells, item scores and axes.

    Args:
        folder: The study's folder.
        rows: Its result rows.
        info: How it was run, see :func:`~xmit.report.page.write_report`.

    Raises:
        StudyError: If ``plan.json`` is damaged.
    """
    info = info or {}
    axes = info.get("axes")
    return {
        "source_language": info.get("source_language") or "en",
        "missing": list(info.get("missing") or []),
        "items": Stored(Path(folder), checked(rows)).items,
        "axes": plan_axes(_cells(Path(folder))) if axes is None else axes,
    }


def _cells(folder: Path) -> list[dict[str, Any]]:
    path = folder / PLAN
    if not path.is_file():
        return []
    try:
        cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [cell for cell in cells if isinstance(cell["config"], dict)]
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path} is damaged ({error}): run the study again, nothing done is lost") from error


class Stored:
    """The predictions of a study's target cells.

    Args:
        folder: The study's folder, which holds a folder for every cell.
        rows: Rows from :func:`~xmit.report.rows.checked`, whose ``cell`` says which run a score comes from.
    """

    def __init__(self, folder: Path, rows: pd.DataFrame) -> None:
        self.folder = folder
        main = rows[(rows["role"] == "target") & (rows["split"] == "test") & rows["is_main"]]
        runs = main[[*UNIT, "intermediate", "seed", "cell"]].drop_duplicates()
        self.cells: dict[tuple[str, ...], dict[int, str]] = {
            tuple(map(str, key)): dict(zip(part["seed"].tolist(), part["cell"], strict=True))
            for key, part in runs.groupby([*UNIT, "intermediate"], sort=False)
        }

    def items(self, cell: Mapping[str, Any]) -> ItemScores | None:
        """The item scores of a cell; None if a seed of it has none.

        Args:
            cell: A mapping with the keys of the unit and ``intermediate``.
        """
        runs = self.cells.get(tuple(str(cell[k]) for k in (*UNIT, "intermediate")), {})
        frames = []
        for seed, name in runs.items():
            frame = self._read(name, str(cell["target"]), ("language", "id", SCORE), optional=("cluster",))
            if frame is None or frame[SCORE].isna().all():
                return None
            frames.append(frame.assign(seed=seed))
        return ItemScores.from_frame(pd.concat(frames, ignore_index=True)) if frames else None

    def predictions(self, cell: Mapping[str, Any]) -> pd.DataFrame | None:
        """The prediction rows of a cell's first seed that has any: ``language``, ``id``, ``prediction``, ``target``.

        Where the file has them also ``item_score``, ``text`` and ``options``.
        """
        runs = self.cells.get(tuple(str(cell[k]) for k in (*UNIT, "intermediate")), {})
        for seed in sorted(runs):
            columns = ("language", "id", "prediction", "target")
            frame = self._read(runs[seed], str(cell["target"]), columns, optional=(SCORE, *ASKED))
            if frame is not None and len(frame):
                return frame.assign(seed=seed)
        return None

    def _read(
        self, name: str, target: str, columns: Sequence[str], optional: Sequence[str] = ()
    ) -> pd.DataFrame | None:
        """Columns of a run's prediction rows; None where there is no such file, or a column lacks that is needed."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / name / PREDICTIONS
        if not name or not path.is_file():
            return None
        try:
            with pq.ParquetFile(path) as file:
                there = set(file.schema_arrow.names)
                if not {"task", *columns} <= there:
                    return None
                wanted = ["task", *columns, *(name for name in optional if name in there)]
                frame: pd.DataFrame = file.read(wanted).to_pandas()
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{path} is damaged ({error}): delete {path.parent} and run the study again") from error
        # a study may name a target as it likes; only of several tasks the name tells which
        if frame["task"].nunique() > 1:
            frame = frame[frame["task"] == target]
        return frame.drop(columns="task").reset_index(drop=True)
