"""What a module makes of a task's scores: rows of predictions and results, and the value checkpoints are chosen by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from xmit.metrics.store import PredictionStore
from xmit.tasks.asked import asked, table_rows

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

    from xmit.tasks.base import Score, Task


def filled(stores: nn.ModuleDict) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """What the stores hold that got anything: with ``limit_val_batches`` not all tasks of a mixture have their turn."""
    for name, store in stores.items():
        assert isinstance(store, PredictionStore)
        if not store.empty:
            yield name, store.rows()


def prediction_rows(task: Task, decoded: dict[str, Tensor], split: str) -> pd.DataFrame:
    """A task's prediction rows, with its name, what each adds to the main score, its cluster, and what is asked.

    Args:
        task: The task.
        decoded: Its decoded tensors of the whole split, each ``(n, …)``.
        split: The split.
    """
    rows = task.predictions(decoded, split)
    clusters = _clusters(task, rows, split)
    return rows.assign(task=task.name, item_score=task.item_scores(rows), cluster=clusters, **asked(task, rows, split))


def _clusters(task: Task, rows: pd.DataFrame, split: str) -> list[str] | None:
    """What each row's example shares with others that are no independent evidence beside it."""
    if task.cluster_column is None:
        return None
    values = task.table(split)[task.cluster_column][:]
    return [str(values[place]) for place in table_rows(task, rows, split).values()]


def result_row(task: Task, split: str, score: Score) -> dict[str, Any]:
    """A score as a row of results."""
    return {
        "task": task.name,
        "benchmark_version": task.benchmark_version,
        "split": split,
        "language": score.language,
        "metric": score.metric,
        "is_main": score.metric == task.metadata.main_score,
        "value": score.value,
        "n": score.n,
        "reason": score.reason,
    }


def source_score(task: Task, scores: Iterable[Score]) -> float:
    """The main score's mean over the languages that are trained on; NaN where one of them has none."""
    main = {score.language: score.value for score in scores if score.metric == task.metadata.main_score}
    return sum(main.get(code, math.nan) for code in task.source_languages) / len(task.source_languages)
