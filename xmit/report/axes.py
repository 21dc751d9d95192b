"""What a study shows along its further axes: the source language, and the size of the intermediate training set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xmit.report.rows import NAN, SourceLanguage, checked, is_transfer, main_scores

Axes = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""``{"intermediates" | "targets": {name: {"task", "source_language", "train_examples"}}}``; None where unknown."""
PARAMETERS = 3
SLOPES = np.geomspace(0.02, 5, 250)
"""The exponents that are tried first; beyond these ends a curve cannot be told from a step or from a logarithm."""


def plan_axes(cells: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """What the cells of a plan say of their tasks, source languages and training sizes.

    Args:
        cells: The ``cells`` of ``plan.json``.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {"intermediates": {}, "targets": {}}
    for cell in cells:
        kind = "targets" if cell["target"] else "intermediates"
        data = cell["config"].get("data") or {}
        arguments = data.get("init_args") or {}
        source = arguments.get("source_language") or cell.get("source_language")
        found[kind][cell["target"] or cell["intermediate"]] = {
            "task": str(data.get("class_path", "")).rpartition(".")[2],
            "source_language": source if isinstance(source, str | None) else "+".join(source),
            "train_examples": arguments.get("train_examples"),
        }
    return found


def source_table(rows: pd.DataFrame, axes: Axes, *, source_language: SourceLanguage = "en") -> pd.DataFrame:
    """Source languages ranked by mean transfer, after arXiv 2106.16171.

    Compared are the intermediates, or the targets, that have the same task in more than one source language. Transfer
    is the mean score over the languages that are the source of none of those compared: all are scored on the same.

    Args:
        rows: Tidy result rows.
        axes: The study's axes.
        source_language: The language that each target was trained on.

    Returns:
        One row a phase, task and source language, the best first within a task: ``phase`` (``intermediate`` or
        ``target``), ``task``, ``source``, ``name``, ``transfer``, ``rank``, ``n_targets``, ``n_languages``,
        ``n_seeds``, ``seeds`` (one mean a seed). Only pairs of target, language and seed that all have are averaged.
    """
    scores = main_scores(checked(rows))
    columns = ["phase", "task", "source", "name", "transfer", "rank", "n_targets", "n_languages", "n_seeds", "seeds"]
    table: list[dict[str, Any]] = []
    for phase, kind, column in (("intermediate", "intermediates", "intermediate"), ("target", "targets", "target")):
        for task, named in _same_task(axes.get(kind, {}), "source_language", "train_examples"):
            part = scores[scores[column].isin(named)]
            sources = {str(named[n]["source_language"]) for n in named}
            apart = {code for source in sources for code in source.split("+")}
            part = part[~part["language"].isin(apart) & part["value"].notna()]
            part = part[is_transfer(part, source_language)]
            # what is the same in all: of targets only the languages, of intermediates the target, too
            key = [
                "study",
                "encoder",
                "seed",
                "language",
                *(["target"] if phase == "intermediate" else ["intermediate"]),
            ]
            wide = part.pivot_table(index=key, columns=column, values="value").reindex(columns=list(named)).dropna()
            if not len(wide):
                continue
            seeds = wide.groupby(level="seed").mean()
            order = wide.mean().sort_values(ascending=False, kind="stable")
            level = wide.index.to_frame()
            table += [
                {
                    "phase": phase,
                    "task": task,
                    "source": named[str(name)]["source_language"],
                    "name": str(name),
                    "transfer": float(value),
                    "rank": rank,
                    "n_targets": level["target"].nunique() if "target" in level else 1,
                    "n_languages": level["language"].nunique(),
                    "n_seeds": len(seeds),
                    "seeds": tuple(float(v) for v in seeds[name]),
                }
                for rank, (name, value) in enumerate(order.items(), 1)
            ]
    return pd.DataFrame(table, columns=columns)


def _same_task(
    entries: Mapping[str, Mapping[str, Any]], axis: str, *fixed: str
) -> Iterator[tuple[str, dict[str, Mapping[str, Any]]]]:
    """Entries of one task that differ in one axis and in none of the fixed ones, two or more."""
    groups: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = {}
    for name, entry in entries.items():
        if entry.get("task") and entry.get(axis) is not None:
            groups.setdefault((entry["task"], *(entry.get(k) for k in fixed)), {})[name] = entry
    for key, named in groups.items():
        if len({e[axis] for e in named.values()}) > 1:
            yield str(key[0]), named


@dataclass(frozen=True)
class SizeCurve:
    """The loss ``L(D) = E + A / D^α`` fitted to a target's scores after intermediate training on ``D`` examples.

    Args:
        task: The intermediate task.
        source: Its source language.
        target: The target.
        sizes: Examples of intermediate training, ascending.
        scores: Mean score at each size, over languages and seeds.
        spread: Highest minus lowest seed at each size.
        floor: The loss that no amount of data goes below, E.
        scale: A.
        exponent: α.
        rmse: Root of the mean squared difference of ``scores`` and the curve.
        p: p value of the lack-of-fit test against the seeds' own scatter; NaN where it cannot be made.
        misfit: Why the curve is not to be trusted; empty if nothing speaks against it.
    """

    task: str
    source: str
    target: str
    sizes: tuple[int, ...]
    scores: tuple[float, ...]
    spread: tuple[float, ...]
    floor: float
    scale: float
    exponent: float
    rmse: float
    p: float
    misfit: str

    def score(self, size: Any) -> Any:
        """The score that the curve gives for a size."""
        return 1 - self.floor - self.scale / np.asarray(size, dtype=float) ** self.exponent


def size_curves(rows: pd.DataFrame, axes: Axes, *, source_language: SourceLanguage = "en") -> list[SizeCurve]:
    """Target score against the size of the intermediate training set, a curve for each intermediate task and target.

    The form is that of arXiv 2402.04177, there for the cross-entropy of a downstream task; here the loss is 1 − score,
    the mean over zero-shot languages.

    Args:
        rows: Tidy result rows.
        axes: The study's axes.
        source_language: The language that each target was trained on; it is not averaged.
    """
    scores = main_scores(checked(rows))
    scores = scores[is_transfer(scores, source_language)]
    curves = []
    for task, named in _same_task(axes.get("intermediates", {}), "train_examples", "source_language"):
        size_of = {name: int(entry["train_examples"]) for name, entry in named.items()}
        source = str(next(iter(named.values()))["source_language"])
        part = scores[scores["intermediate"].isin(named)]
        means = part.groupby(["study", "encoder", "target", "intermediate", "seed"], sort=False)["value"].mean()
        for key, found in means.groupby(level=["study", "encoder", "target"], sort=False):
            sizes = found.index.get_level_values("intermediate").map(size_of).to_numpy(dtype=float)
            curves.append(fit_curve(sizes, found.to_numpy(), task, source, str(np.asarray(key, dtype=object)[2])))
    return curves


def fit_curve(
    sizes: NDArray[np.float64], scores: NDArray[np.float64], task: str = "", source: str = "", target: str = ""
) -> SizeCurve:
    """Fit ``1 − score = E + A / D^α`` with ``E, A ≥ 0`` by least squares.

    For a given α the rest is linear, so α alone is searched.

    Args:
        sizes: The size D of each run, shape ``(runs,)``.
        scores: Its score, the same shape; several runs of one size are its seeds.
        task: The intermediate task, for the result.
        source: Its source language.
        target: The target.
    """
    from scipy.optimize import minimize_scalar

    keep = ~np.isnan(scores)
    sizes, loss = np.asarray(sizes, dtype=float)[keep], 1 - np.asarray(scores, dtype=float)[keep]
    levels = sorted(set(sizes.tolist()))
    by_size = [loss[sizes == d] for d in levels]
    means = np.array([v.mean() for v in by_size])
    best = min(SLOPES, key=lambda a: _linear(sizes, loss, a)[2])
    around = SLOPES[max(np.searchsorted(SLOPES, best) - 1, 0)], SLOPES[min(np.searchsorted(SLOPES, best) + 1, 249)]
    refined = minimize_scalar(
        lambda a: _linear(sizes, loss, a)[2], bounds=around, method="bounded", options={"xatol": 1e-10}
    )
    exponent = float(refined.x) if refined.fun <= _linear(sizes, loss, best)[2] else float(best)
    floor, scale, _ = _linear(sizes, loss, exponent)
    fitted = floor + scale / np.array(levels) ** exponent
    p = _lack_of_fit(by_size, fitted)
    at_end = not SLOPES[1] < exponent < SLOPES[-2]
    return SizeCurve(
        task,
        source,
        target,
        tuple(int(d) for d in levels),
        tuple(float(1 - m) for m in means),
        tuple(float(np.ptp(v)) if len(v) > 1 else NAN for v in by_size),
        floor,
        scale,
        exponent,
        float(np.sqrt(np.mean((means - fitted) ** 2))),
        p,
        _misfit(means, scale, at_end, p),
    )


def _linear(sizes: NDArray[np.float64], loss: NDArray[np.float64], exponent: float) -> tuple[float, float, float]:
    """E, A and the sum of squares left, for one α."""
    from scipy.optimize import nnls

    # D relative to the smallest keeps both columns near 1
    smallest = sizes.min()
    design = np.column_stack([np.ones(len(sizes)), (sizes / smallest) ** -exponent])
    (floor, scale), left = nnls(design, loss)
    return float(floor), float(scale * smallest**exponent), float(left**2)


def _lack_of_fit(by_size: Sequence[NDArray[np.float64]], fitted: NDArray[np.float64]) -> float:
    """F test: do the sizes' means lie farther from the curve than the seeds scatter?"""
    from scipy.stats import f

    runs, levels = sum(map(len, by_size)), len(by_size)
    within = sum(float(((v - v.mean()) ** 2).sum()) for v in by_size)
    if levels <= PARAMETERS or runs <= levels or within <= 0:
        return NAN
    between = sum(len(v) * (float(v.mean()) - float(e)) ** 2 for v, e in zip(by_size, fitted, strict=True))
    return float(f.sf(between / (levels - PARAMETERS) / (within / (runs - levels)), levels - PARAMETERS, runs - levels))


def _misfit(means: NDArray[np.float64], scale: float, at_end: bool, p: float) -> str:
    found = []
    if len(means) <= PARAMETERS:
        found.append(f"{len(means)} sizes for {PARAMETERS} parameters: any such curve fits")
    if means[-1] > means[0]:
        found.append("the score falls with more data, which the curve cannot")
    elif scale == 0:
        found.append("no gain with more data: the exponent means nothing")
    if at_end and scale > 0:
        found.append("the exponent is at the end of what was tried: it cannot be told from these sizes")
    if p <= 0.05:
        found.append(f"the sizes lie farther from the curve than the seeds scatter (p = {p:.2g})")
    elif math.isnan(p) and len(means) > PARAMETERS:
        found.append("one seed a size: whether it fits cannot be tested")
    return "; ".join(found)
