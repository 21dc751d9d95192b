"""Result rows made ready for the tables: checked, the main scores apart, paired with the baseline."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd

from xmit.errors import LanguageNotFoundError, StudyError
from xmit.metrics.robustness import robustness_summary

NAN = float("nan")
_Function = TypeVar("_Function", bound=Callable[..., pd.DataFrame])
ALL = "all"
BASELINE = "none"
TEXTS = (
    "study",
    "cell",
    "role",
    "encoder",
    "intermediate",
    "target",
    "benchmark_version",
    "split",
    "language",
    "metric",
    "reason",
)
COLUMNS = (*TEXTS, "seed", "is_main", "value", "n")
OPTIONAL: dict[str, Any] = {"study": "", "cell": "", "encoder": "", "benchmark_version": "", "n": np.nan, "reason": ""}
UNIT = ["study", "encoder", "benchmark_version", "target", "metric"]
"""What a score must share with another one to be compared with it."""

_CHECKED: dict[int, weakref.ref[pd.DataFrame]] = {}
"""The frames that :func:`checked` has made, by id."""

SourceLanguage = str | Mapping[str, str]
"""The language that was trained on, for all targets or by target."""
Missing = Iterable[Mapping[str, Any] | str]
"""Cells without results: mappings with ``intermediate``, ``target``, ``seed``, maybe ``reason``; or texts."""


@dataclass(frozen=True)
class Described:
    """What a table shows of a language; a language that xmit does not know has only its code."""

    code: str
    name: str
    script: str = "?"
    family: str = "?"
    resource_class: int | None = None
    in_xlmr: bool = False
    known: bool = False
    cc100_gib: float | None = None

    @property
    def latin(self) -> bool:
        """Whether it is written in the Latin script."""
        return self.script == "Latn"


@functools.cache
def describe(code: str) -> Described:
    """What is known of a language, without failing for the language of a plug-in task.

    Args:
        code: A language code.
    """
    from xmit.languages import get_language

    try:
        found = get_language(code)
    except LanguageNotFoundError:
        return Described(code, code)
    return Described(
        code, found.name, found.script, found.family, found.resource_class, bool(found.in_xlmr), True, found.cc100_gib
    )


def pretraining_size(code: str) -> float | None:
    """GiB of a language's text that XLM-R was trained on; None where there was none or it is not known."""
    return describe(code).cc100_gib


def by_resources(codes: Iterable[str]) -> list[Described]:
    """Languages by resource class (poorest first, unknown last), Latin script first, then script and name."""
    return sorted(
        map(describe, dict.fromkeys(codes)),
        key=lambda d: (
            math.inf if d.resource_class is None else d.resource_class,
            not d.latin,
            d.script,
            d.name,
            d.code,
        ),
    )


def source_of(source_language: SourceLanguage, target: str) -> str:
    """The source language of one target; of several, their codes joined by ``+``."""
    return source_language if isinstance(source_language, str) else source_language.get(target, "en")


def trained_on(source: str) -> list[str]:
    """The source languages of one target, the one that others are compared with first."""
    return source.split("+")


def is_transfer(scores: pd.DataFrame, source_language: SourceLanguage) -> pd.Series:
    """Which rows are of a language that their target was not trained on.

    Args:
        scores: Rows with ``target`` and ``language``.
        source_language: The language that was trained on.
    """
    own = {target: trained_on(source_of(source_language, target)) for target in scores["target"].unique()}
    pairs = zip(scores["target"], scores["language"], strict=True)
    return pd.Series([code not in own[target] for target, code in pairs], index=scores.index, dtype=bool)


def checked(rows: pd.DataFrame) -> pd.DataFrame:
    """Result rows with every column there and of one type, each result once.

    Args:
        rows: Tidy result rows.

    Raises:
        StudyError: If a column is missing, or the same result is there with two values.
    """
    known = _CHECKED.get(id(rows))
    if known is not None and known() is rows:
        return rows
    absent = [name for name in COLUMNS if name not in rows.columns and name not in OPTIONAL]
    if absent:
        raise StudyError(f"these are no result rows: no column {', '.join(absent)}")
    filled = rows.assign(**{k: v for k, v in OPTIONAL.items() if k not in rows.columns})[list(COLUMNS)].copy()
    for name in TEXTS:
        filled[name] = filled[name].astype(object).where(filled[name].notna(), "").astype(str)
    filled["seed"] = filled["seed"].astype(int)
    filled["is_main"] = filled["is_main"].astype(bool)
    filled["value"] = pd.to_numeric(filled["value"]).astype(float)
    filled["n"] = pd.to_numeric(filled["n"]).astype(float)
    key = [*UNIT, "role", "intermediate", "seed", "split", "language"]
    filled = filled.drop_duplicates([*key, "value"])
    twice = filled[filled.duplicated(key)]
    if len(twice):
        one = twice.iloc[0]
        raise StudyError(
            f"two different results for {one['metric']} of {one['intermediate']} on "
            f"{one['target'] or 'itself'}, seed {one['seed']}, language {one['language']}: "
            "were two runs written into one study?"
        )
    filled = filled.reset_index(drop=True)
    _CHECKED[id(filled)] = weakref.ref(filled)
    weakref.finalize(filled, _CHECKED.pop, id(filled), None).atexit = False
    return filled


def once_a_frame(function: _Function) -> _Function:
    """Keep what a function makes of a frame while that lives: every table of a large report asks for the same again.

    Further frames are told by identity, lists by their text. What is kept must not be changed.
    """
    kept: dict[tuple[Any, ...], tuple[list[weakref.ref[pd.DataFrame]], pd.DataFrame]] = {}

    @functools.wraps(function)
    def remembering(frame: pd.DataFrame, *more: Any) -> pd.DataFrame:
        frames = [frame, *(m for m in more if isinstance(m, pd.DataFrame))]
        key = tuple(id(m) if isinstance(m, pd.DataFrame) else repr(m) for m in (frame, *more))
        if key not in kept or any(ref() is not f for ref, f in zip(kept[key][0], frames, strict=True)):
            kept[key] = [weakref.ref(f) for f in frames], function(frame, *more)
            weakref.finalize(frame, kept.pop, key, None).atexit = False
        return kept[key][1]

    return cast(_Function, remembering)


@once_a_frame
def main_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """The main test score of every target, intermediate, seed and language.

    Args:
        rows: Rows from :func:`checked`.
    """
    chosen = rows[(rows["role"] == "target") & (rows["split"] == "test") & rows["is_main"]]
    chosen = chosen[~chosen["language"].isin([ALL, ""])]
    return chosen[[*UNIT, "intermediate", "seed", "language", "value", "n", "reason"]].reset_index(drop=True)


@once_a_frame
def grid(scores: pd.DataFrame, missing: Missing = ()) -> pd.DataFrame:
    """Every cell that the study should have: each target with each intermediate.

    Args:
        scores: Rows from :func:`main_scores`.
        missing: Cells that the study lists as missing; perhaps intermediates and targets without any row.

    Returns:
        One row a unit and intermediate, the baseline first, with ``seeds`` (sorted tuple), ``missing_seeds``
        and ``why_missing``.
    """
    listed = [m for m in missing if not isinstance(m, str) and m.get("intermediate") and m.get("target")]
    present = {
        key: tuple(sorted(int(s) for s in part["seed"].unique()))
        for key, part in scores.groupby([*UNIT, "intermediate"], sort=False)
    }
    units = list(dict.fromkeys(key[:-1] for key in present))
    for entry in listed:
        target, (study, encoder) = str(entry["target"]), units[0][:2] if units else ("", "")
        encoder = str(entry.get("encoder", encoder))
        if (encoder, target) not in {(unit[1], unit[3]) for unit in units}:
            # benchmark and metric as with another encoder; no row says them of a target of which no cell is done
            known = next((unit for unit in units if unit[3] == target), ("", "", "", "", ""))
            units.append((study, encoder, known[2], target, known[4]))
    table = []
    for unit in units:
        same = [key for key in present if key[:2] == unit[:2]]
        mine = [m for m in listed if m.get("encoder", unit[1]) == unit[1]]
        intermediates = dict.fromkeys([*(key[-1] for key in same), *(str(m["intermediate"]) for m in mine)])
        seeds_listed = {int(m["seed"]) for m in mine if m.get("seed") is not None}
        expected = {s for key in same for s in present[key]} | seeds_listed
        for intermediate in sorted(intermediates, key=lambda name: (name != BASELINE, name)):
            seeds = present.get((*unit, intermediate), ())
            here = [m for m in mine if (m["intermediate"], m["target"]) == (intermediate, unit[3])]
            lacking = expected - set(seeds)
            # an untrained baseline has one result whatever the seed, unless the study lists others
            if intermediate == BASELINE and len(seeds) == 1 and not here:
                lacking = set()
            why = "; ".join(dict.fromkeys(str(m["reason"]) for m in here if m.get("reason")))
            table.append((*unit, intermediate, tuple(seeds), tuple(sorted(lacking)), why))
    return pd.DataFrame(table, columns=[*UNIT, "intermediate", "seeds", "missing_seeds", "why_missing"])


def untrained(cells: pd.DataFrame) -> set[tuple[Any, ...]]:
    """The units whose baseline needs no training, so that its one seed stands beside every seed.

    Args:
        cells: Rows from :func:`grid`.
    """
    base = cells[cells["intermediate"] == BASELINE]
    single = base[(base["seeds"].map(len) == 1) & (base["missing_seeds"].map(len) == 0)][UNIT]
    return set(single.itertuples(index=False, name=None))


@once_a_frame
def differences(scores: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Differences to the baseline in the same seed and language.

    A baseline that needs no training has one seed, and every seed is compared with it.

    Args:
        scores: Rows from :func:`main_scores`.
        cells: Rows from :func:`grid`.

    Returns:
        ``scores`` of the other intermediates with the columns ``baseline`` and ``delta``, where both
        have a score.
    """
    single = pd.DataFrame(sorted(untrained(cells)), columns=UNIT, dtype=object)
    is_base = scores["intermediate"] == BASELINE
    baseline = scores[is_base][[*UNIT, "seed", "language", "value"]].rename(columns={"value": "baseline"})
    others = scores[~is_base].merge(single.assign(single=True), on=UNIT, how="left")
    one_seed = others["single"].notna()
    parts = [
        others[~one_seed].merge(baseline, on=[*UNIT, "seed", "language"]),
        others[one_seed].merge(baseline.drop(columns="seed"), on=[*UNIT, "language"]),
    ]
    both = pd.concat(parts, ignore_index=True).drop(columns="single")
    both["delta"] = both["value"] - both["baseline"]
    return both[both["delta"].notna()].reset_index(drop=True)


def missing_cells(rows: pd.DataFrame, missing: Missing = ()) -> pd.DataFrame:
    """The cells without results: those that the study lists and those that the grid lacks.

    Args:
        rows: Tidy result rows.
        missing: Cells that the study lists as missing.

    Returns:
        Columns ``target``, ``intermediate``, ``seed``, ``reason``, one row a cell.
    """
    missing = list(missing)
    cells = grid(main_scores(checked(rows)), missing).explode("missing_seeds")
    cells = cells[cells["missing_seeds"].notna()]
    found = pd.DataFrame(
        {
            "target": cells["target"],
            "intermediate": cells["intermediate"],
            "seed": cells["missing_seeds"].astype(int),
            "reason": cells["why_missing"].replace("", "no result rows"),
        }
    )
    return found.drop_duplicates().reset_index(drop=True)


def selected(table: pd.DataFrame, **equal: object) -> pd.DataFrame:
    """The rows of a table whose columns have these values."""
    for name, value in reversed(equal.items()):  # the last, the intermediate as a rule, leaves the fewest
        table = table[(table[name] == value).to_numpy()]
    return table


def summarise(values: Mapping[str, float], source: str) -> dict[str, Any]:
    """Robustness over languages, including ones that only a plug-in task knows."""
    return robustness_summary(values, trained_on(source), lookup=describe)


def over_seeds(cell: pd.DataFrame, column: str) -> dict[str, float]:
    """Mean over seeds in every language, NaN where no seed has a score."""
    values: dict[str, list[float]] = {}  # thousands of small cells, each of which costs groupby a millisecond
    for code, value in zip(cell["language"].tolist(), cell[column].tolist(), strict=True):
        values.setdefault(str(code), []).append(value)
    return {code: _mean(values[code]) for code in sorted(values)}


def source_score(values: Mapping[str, float], source: str) -> float:
    """The mean over the languages that were trained on."""
    return _mean([values[code] for code in trained_on(source) if code in values])


def mean_spread(cell: pd.DataFrame, column: str) -> float:
    """Highest minus lowest mean over languages of any seed; NaN for a single seed, whose spread is not known."""
    values: dict[int, list[float]] = {}
    for seed, value in zip(cell["seed"].tolist(), cell[column].tolist(), strict=True):
        values.setdefault(seed, []).append(value)
    means = [mean for mean in map(_mean, values.values()) if not math.isnan(mean)]
    return max(means) - min(means) if len(means) > 1 else NAN


def _mean(values: list[float]) -> float:
    """Mean of what is no NaN."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else NAN


def numbers(seeds: Iterable[int]) -> str:
    """Seeds as a text."""
    return ", ".join(str(s) for s in seeds)


def left_out(cell: pd.DataFrame) -> list[str]:
    """Why languages have no score, one text a reason."""
    lost = cell[cell["value"].isna()]
    return [
        f"{', '.join(sorted(set(part['language'])))}: {str(reason) or 'no score'}"
        for reason, part in lost.groupby("reason", sort=True)
    ]
