"""The tables as people read them: headings, numbers in points, numbered notes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from xmit.report.evidence import consistency_table, effect_table, intermediate_table
from xmit.report.rows import BASELINE, UNIT, Missing, SourceLanguage, checked, describe, main_scores
from xmit.report.tables import DELTA, column_name, group_table, language_table, summary_table

ABSENT = "–"


@dataclass(frozen=True)
class Cell:
    """One cell: what is shown, and by what it is sorted."""

    text: str
    sort: float | str = ""


@dataclass(frozen=True)
class Shown:
    """A table ready to be set.

    Args:
        name: Short name, part of a file name.
        title: What the table shows.
        frame: The unformatted table.
        headings: Column headings, each with an explanation.
        numeric: Which columns hold numbers.
        rows: The cells, each row with the number of its note or 0.
        notes: The notes, numbered from 1.
    """

    name: str
    title: str
    frame: pd.DataFrame
    headings: list[tuple[str, str]]
    numeric: list[bool]
    rows: list[tuple[list[Cell], int]]
    notes: list[str] = field(default_factory=list)

    @property
    def name_column(self) -> int:
        """Which column names a row: the last of the texts before the first number."""
        return max(self.numeric.index(True) - 1, 0) if True in self.numeric else 0


@dataclass(frozen=True)
class Column:
    """How a column of a table is shown."""

    heading: str
    help: str
    show: Callable[[Mapping[str, Any]], Cell]
    numeric: bool = True


def points(value: Any, digits: int = 1) -> str:
    """A fraction in percentage points."""
    return ABSENT if pd.isna(value) else f"{100 * float(value):.{digits}f}"


def signed(value: Any, digits: int = 1) -> str:
    """A difference in percentage points with its sign; nothing rounds to a signed zero."""
    if pd.isna(value):
        return ABSENT
    text = f"{abs(100 * float(value)):.{digits}f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else '−'}{text}"


def _number(key: str, text: Callable[[Any], str], count: str = "") -> Callable[..., Cell]:
    def show(row: Mapping[str, Any]) -> Cell:
        value = row.get(key, math.nan)
        if pd.isna(value):
            return Cell(ABSENT)
        shown = text(value)
        if count:
            shown += f" ({int(row[count])})"
        return Cell(shown, float(value))

    return show


def _difference(key: str, text: Callable[[Any], str] = signed) -> Callable[..., Cell]:
    """A difference to the baseline, which has none itself."""

    def show(row: Mapping[str, Any]) -> Cell:
        if row["intermediate"] == BASELINE:
            return Cell("")
        return _number(key, text)(row)

    return show


def _text(key: str) -> Callable[..., Cell]:
    return lambda row: Cell(str(row[key]), str(row[key]))


def _ratio(value: Any) -> str:
    return f"{float(value):.2f}".replace("-", "−")


def _worst(row: Mapping[str, Any]) -> Cell:
    if not row["worst_language"]:
        return Cell(ABSENT)
    return Cell(f"{points(row['worst'])} {describe(row['worst_language']).name}", float(row["worst"]))


def _seeds(row: Mapping[str, Any]) -> Cell:
    return Cell(str(row["n_seeds"]) if row["n_seeds"] else "missing", float(row["n_seeds"]))


def _resource_class(row: Mapping[str, Any]) -> Cell:
    known = row["resource_class"]
    return Cell(ABSENT) if pd.isna(known) else Cell(str(int(known)), float(known))


def _language(row: Mapping[str, Any]) -> Cell:
    return Cell(f"{row['name']}{' (source)' if row['is_source'] else ''}", str(row["name"]))


def _seen(row: Mapping[str, Any]) -> Cell:
    seen = row["in_xlmr"]
    return Cell(ABSENT) if seen is None or pd.isna(seen) else Cell("yes" if seen else "no", "yes" if seen else "no")


TARGET = Column("target", "the task that is scored in every language", _text("target"), numeric=False)
INTERMEDIATE = Column("intermediate", "the English task trained on before", _text("intermediate"), numeric=False)
SEEDS = Column("seeds", "training runs behind the row", _seeds)
SUMMARY = [
    TARGET,
    INTERMEDIATE,
    Column("all (n)", "mean over all languages", _number("mean", points, "n_languages")),
    Column("zero-shot", "mean over the languages not trained on", _number("zero_shot_mean", points)),
    Column(
        "low-res. (n)",
        "mean over zero-shot languages of resource class 0 to 2",
        _number("low_resource_mean", points, "n_low_resource"),
    ),
    Column("weakest", "lowest score and its language", _worst),
    Column("gap", "source language minus zero-shot mean", _number("transfer_gap", points)),
    Column("agree", "answers equal to the source language's, in %", _number("agreement", points)),
    Column("κ", "Fleiss' kappa: agreement beyond chance over all languages", _number("fleiss_kappa", _ratio)),
    Column("Δ all", "difference to the baseline, all languages", _difference("delta_mean")),
    Column("range", "highest minus lowest mean over seeds: not an interval", _number("mean_spread", points)),
    Column("Δ low-res.", "difference to the baseline, low-resource languages", _difference("delta_low_resource")),
    Column(
        "Δ range",
        "highest minus lowest Δ low-res. over seeds: not an interval",
        _difference("delta_low_resource_spread", points),
    ),
    SEEDS,
]
CONSISTENCY = [
    TARGET,
    INTERMEDIATE,
    Column("score", "main score, mean over all languages", _number("mean", points)),
    Column("κ", "Fleiss' kappa", _number("fleiss_kappa", _ratio)),
    Column("α", "Krippendorff's alpha, missing translations allowed", _number("krippendorff_alpha", _ratio)),
    Column("agree", "answers equal to the source language's, in %", _number("agreement", points)),
    Column("pairs agree", "mean over pairs of languages, in %", _number("pairwise_mean", points)),
    Column("unanimous", "items answered alike in all languages, in %", _number("unanimous", points)),
    Column("all correct", "items answered correctly in all languages, in %", _number("all_correct", points)),
    Column("items", "items in all languages", _number("n_common", lambda v: f"{float(v):.0f}")),
    Column("collapse", "one class takes over 95 %", lambda row: Cell("yes" if row["collapse"] == 1 else "")),
    SEEDS,
]
GROUPS = [
    TARGET,
    Column("by", "how the languages are grouped", _text("grouping"), numeric=False),
    Column("group", "the group", _text("group"), numeric=False),
    Column("n", "zero-shot languages in the group", _number("n_languages", lambda v: f"{float(v):.0f}")),
]
EFFECT = [
    INTERMEDIATE,
    Column("Δ low-resource", "mean over pairs of target and language", _number("delta_low_resource", signed)),
    Column("pairs", "pairs of a target and a low-resource language", _number("n_pairs_low_resource", str)),
    Column(
        "each seed",
        "the same, seed by seed",
        lambda row: Cell("  ".join(signed(v) for v in row["seeds_low_resource"])),
    ),
    Column("Δ zero-shot", "mean over all zero-shot pairs", _number("delta_zero_shot", signed)),
    Column("pairs", "pairs of a target and a zero-shot language", _number("n_pairs_zero_shot", str)),
    Column("each seed", "the same, seed by seed", lambda row: Cell("  ".join(map(signed, row["seeds_zero_shot"])))),
    SEEDS,
]
OWN = [
    INTERMEDIATE,
    Column("score", "on its own validation set", _number("mean", points)),
    Column("metric", "its main metric", _text("metric"), numeric=False),
    Column("range over seeds", "highest minus lowest", _number("spread", points)),
    SEEDS,
]
LANGUAGE = [
    Column("language", "name", _language, numeric=False),
    Column("class", "resource class of Joshi et al. (2020), 0 = fewest", _resource_class),
]
# the scores stand between, near the name
ABOUT = [
    Column("code", "ISO 639-1, else 639-3", _text("language"), numeric=False),
    Column("script", "ISO 15924", _text("script"), numeric=False),
    Column("family", "language family", _text("family"), numeric=False),
    Column("seen", "in XLM-R's pre-training", _seen, numeric=False),
    Column("items", "scored items", _number("n", lambda v: f"{float(v):.0f}")),
]


def shown(name: str, title: str, frame: pd.DataFrame, columns: list[Column]) -> Shown:
    """Format a table.

    Args:
        name: Short name, part of a file name.
        title: What the table shows.
        frame: The table; a column ``note`` becomes numbered notes.
        columns: The columns to show.
    """
    apart = [k for k in UNIT if k in frame.columns and k not in ("target", "metric") and frame[k].nunique() > 1]
    columns = [Column(k.replace("_", " "), k, _text(k), numeric=False) for k in apart] + columns
    notes: dict[str, int] = {}
    rows = []
    for row in frame.to_dict("records"):
        note = str(row.get("note", ""))
        number = notes.setdefault(note, len(notes) + 1) if note else 0
        rows.append(([c.show({str(k): v for k, v in row.items()}) for c in columns], number))
    headings = [(c.heading, c.help) for c in columns]
    return Shown(name, title, frame, headings, [c.numeric for c in columns], rows, list(notes))


def all_tables(rows: pd.DataFrame, *, source_language: SourceLanguage = "en", missing: Missing = ()) -> Iterator[Shown]:
    """Every table of a report: summary, effect, consistency, groups, each target's languages, intermediates.

    Args:
        rows: Tidy result rows.
        source_language: The language that was trained on.
        missing: Cells that the study lists as missing.
    """
    rows, missing = checked(rows), list(missing)
    options: dict[str, Any] = {"source_language": source_language, "missing": missing}
    yield shown("summary", "Targets and intermediates", summary_table(rows, **options), SUMMARY)
    effect = effect_table(rows, **options)
    if len(effect):
        yield shown("effect", "Difference to the baseline over all targets", effect, EFFECT)
    consistency = consistency_table(rows, **options)
    if len(consistency):
        yield shown("consistency", "Consistency over languages", consistency, CONSISTENCY)
    yield groups_shown(group_table(rows, **options))
    for target in dict.fromkeys(main_scores(rows)["target"]):
        yield languages_shown(rows, target, **options)
    own = intermediate_table(rows)
    if len(own):
        yield shown("intermediates", "The intermediate tasks' own scores", own, OWN)


def languages_shown(rows: pd.DataFrame, target: str, **options: Any) -> Shown:
    """The languages of one target, a column for every intermediate and for its difference to the baseline."""
    table = language_table(rows, target, **options)
    scored = [c for c in table.columns if c not in language_columns()]
    columns = [
        Column(
            c,
            "difference to the baseline" if c.startswith(DELTA) else "main score",
            _number(c, signed if c.startswith(DELTA) else points),
        )
        for c in scored
    ]
    return shown(f"languages-{_safe(target)}", target, table, [*LANGUAGE, *columns, *ABOUT])


def groups_shown(groups: pd.DataFrame) -> Shown:
    """The groups of languages, a column for every intermediate and for its difference to the baseline."""
    names = {str(c["name"]): c for c in groups.assign(name=_names(groups)).to_dict("records")}
    wide: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row, name in zip(groups.to_dict("records"), _names(groups), strict=True):
        key = tuple(row[k] for k in ("target", "benchmark_version", "metric", "grouping", "group"))
        # an empty group says why
        kept = {k: row[k] for k in ("target", "grouping", "group")} | {"note": row["note"]}
        line = wide.setdefault(key, {**kept, "n_languages": 0})
        line |= {name: row["mean"], DELTA + name: row["delta"]}
        line["n_languages"] = max(line["n_languages"], row["n_languages"])
    columns = [Column(n, "mean over the group", _number(n, points)) for n in names]
    columns += [
        Column(DELTA + n, "difference to the baseline", _number(DELTA + n, signed))
        for n, cell in names.items()
        if cell["intermediate"] != BASELINE
    ]
    frame = pd.DataFrame(list(wide.values()))
    return replace(shown("groups", "Groups of zero-shot languages", frame, [*GROUPS, *columns]), frame=groups)


def _names(groups: pd.DataFrame) -> list[str]:
    return [column_name(cell, groups) for cell in groups.to_dict("records")]


def language_columns() -> set[str]:
    """The columns of a language table that describe the language."""
    return {"language", "name", "script", "family", "resource_class", "in_xlmr", "is_source", "n", "note"}


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name) or "_"
