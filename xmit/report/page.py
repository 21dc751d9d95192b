"""The report: one self-contained page that needs no network, and its tables as files beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from xmit.errors import MissingDependencyError, StudyError
from xmit.files import atomic_write, write_json, write_text
from xmit.report import charts, plots
from xmit.report.axes import Axes, size_curves
from xmit.report.columns import ABSENT, Shown
from xmit.report.formats import write_tables
from xmit.report.matrix import matrices
from xmit.report.rows import BASELINE, checked, main_scores, missing_cells
from xmit.report.sentences import count, level_of, seeds_note, sentences_of
from xmit.report.side_by_side import Parallel, parallel_answers
from xmit.report.stored import Stored, study_options
from xmit.report.views import all_tables

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure

KNOWN = ("name", "version", "date", "hardware", "versions", "cells", "missing", "warnings", "config", "axes")
OPTIONS = ("source_language", "chance")
DRAWN = 5
"""Intermediates drawn beside the baseline; more marks than that cannot be told apart."""
PANELS = 4
"""Targets in one overview figure of the page, so that it fits a printed page."""


def write_report(folder: str | Path, rows: pd.DataFrame, info: Mapping[str, Any] | None = None) -> Path:
    """Write ``report.html``, its tables as ``report-<table>.csv`` and ``.tex``, and the overview as PNG and PDF.

    Tables of an older report in the folder that this one lacks are removed.

    Args:
        folder: The study's folder. Where its cells' folders hold prediction rows, these give intervals over items,
            tests, agreement of languages and examples.
        rows: Tidy result rows.
        info: How the study was run, all optional: ``name``; ``version`` of xmit; ``date``; ``hardware`` and
            ``versions`` (texts or dicts); ``cells`` (seconds by cell); ``warnings`` (texts); ``missing`` (cells without
            results: dicts with ``intermediate``, ``target``, ``seed``, ``reason``, or texts); ``config`` (a text, or
            texts by name); ``source_language`` (a code, or codes by target); ``chance`` (score of the most frequent
            class by target); ``axes`` (see :func:`~xmit.report.axes.plan_axes`; by default those of the plan in the
            folder). Any other key is shown as it is.

    Returns:
        The path of the page.

    Raises:
        StudyError: If there are no scores to report.
        MissingDependencyError: If jinja2 or matplotlib is not installed.
        DataError: If a file of prediction rows is damaged.
    """
    info = dict(info or {})
    template = _template()
    rows = checked(rows)
    if not len(main_scores(rows)):
        raise StudyError("there is no test score of any target to report: run the study first")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    every = study_options(folder, rows, info)
    options = {key: every[key] for key in ("source_language", "missing")}
    tables = {table.name: table for table in all_tables(rows, **every)}
    summary, primary = tables["summary"].frame, tables["primary"].frame
    named = _largest(primary)
    parallel = list(parallel_answers(rows, Stored(folder, rows), named, options["source_language"]))

    def overview(part: pd.DataFrame, missing: list[Any]) -> Figure:
        return plots.overview(
            part,
            intermediates=[BASELINE, *named],
            chance=info.get("chance"),
            source_language=options["source_language"],
            missing=missing,
        )

    whole = overview(rows, options["missing"])
    page = template.render(
        name=info.get("name") or ", ".join(sorted(set(rows["study"]) - {""})) or "study",
        date=str(info.get("date") or ""),
        facts=list(_facts(info)),
        configs=_named(info.get("config"), "study file"),
        answer=sentences_of(primary),
        level=level_of(summary, options["source_language"]),
        seeds=seeds_note(rows, primary),
        missing=_missing(rows, every["missing"]),
        warnings=[*map(str, info.get("warnings") or []), *_warnings(tables)],
        matrices=list(matrices(summary, tables)),
        figures=_figures(rows, tables, parallel, every["axes"], overview, options),
        drawn=named,
        tables=tables,
        parallel=parallel,
        seconds=_seconds(info.get("cells")),
    )
    written = [path.name for path in write_tables(folder, tables.values())]
    for p in parallel:
        written.append(f"report-agreement-{p.file}.csv")
        write_text(folder / written[-1], p.frame.to_csv(index=False, lineterminator="\n"))
    _replace_tables(folder, written)
    whole.draw_without_rendering()
    whole.set_layout_engine("none")  # laid out once for both
    for kind in ("png", "pdf"):
        atomic_write(folder / f"report-overview.{kind}", partial(whole.savefig, format=kind, dpi=150))
    path = folder / "report.html"
    write_text(path, page)
    return path


def _replace_tables(folder: Path, written: list[str]) -> None:
    """Remove the tables of an older report that this one lacks, and no file that is not a report's."""
    listed = folder / "report-files.json"
    try:
        before = [str(name) for name in json.loads(listed.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        before = []  # the first report here
    for name in set(before) - set(written):
        if Path(name).name == name and name.startswith("report-"):
            (folder / name).unlink(missing_ok=True)
    write_json(listed, written)


def _template() -> Template:
    try:
        import jinja2
    except ImportError as error:
        raise MissingDependencyError("jinja2", "report") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("template.html.j2")


def _largest(primary: pd.DataFrame) -> list[str]:
    """The intermediates that are drawn: those with the largest differences, the best first."""
    if not len(primary):
        return []
    size = primary["low-resource"].fillna(primary["zero-shot"]).abs()
    order = primary.loc[size.sort_values(ascending=False, kind="stable").index, "intermediate"]
    kept = set(list(dict.fromkeys(order))[:DRAWN])
    return [n for n in dict.fromkeys(primary["intermediate"]) if n in kept]


def _figures(
    rows: pd.DataFrame,
    tables: Mapping[str, Shown],
    parallel: list[Parallel],
    axes: Axes,
    overview: Callable[..., Figure],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """The page's figures as SVG: one each, or a list of the overview's parts and of each target's agreement."""
    from markupsafe import Markup

    def svg(figure: Figure, name: str, title: str) -> Any:
        # matplotlib escapes every text that it draws, so nothing but its own marks is markup
        return Markup(plots.to_svg(figure, name, title))

    targets = list(dict.fromkeys(main_scores(rows)["target"]))
    parts = [targets[i : i + PANELS] for i in range(0, len(targets), PANELS)]
    listed = [m for m in options["missing"] if not isinstance(m, str)]

    def scores(part: list[str]) -> Figure:
        here = [m for m in listed if m.get("target") in part]
        return overview(rows[rows["target"].isin(part)], here)

    drawn: dict[str, Any] = {
        "overview": [
            svg(scores(part), f"overview{i}", f"Scores in every language: {', '.join(part)}")
            for i, part in enumerate(parts)
        ],
        "agreement": [
            svg(charts.agreement(p.matrices, p.target), f"agreement{i}", f"Agreement of languages on {p.target}")
            for i, p in enumerate(parallel)
        ],
    }
    primary = tables["primary"].frame
    if primary["low-resource"].notna().any():
        drawn["forest"] = svg(charts.forest(primary), "forest", "Difference in low-resource languages")
    effects = tables["languages"].effects
    if effects is not None and primary["zero-shot"].notna().any():
        figure = charts.gain_by_pretraining(effects, primary)
        drawn["pretraining"] = svg(figure, "pretraining", "Gain of each language against its pre-training text")
    curves = size_curves(rows, axes, source_language=options["source_language"])
    if curves:
        drawn["sizes"] = svg(charts.size_plot(curves), "sizes", "Score by size of the intermediate training set")
    return drawn


def _missing(rows: pd.DataFrame, listed: list[Any]) -> list[str]:
    """The cells without results, in words: as the study names them, else as the grid shows them."""
    texts = [m for m in listed if isinstance(m, str)]
    for entry in (m for m in listed if not isinstance(m, str) and not m.get("target")):
        texts.append(f"intermediate {entry.get('intermediate')}, seed {entry.get('seed')}: {entry.get('reason', '')}")
    if texts and all(isinstance(m, str) for m in listed):
        return texts
    found = missing_cells(rows, listed).to_dict("records")
    return texts + [f"{m['intermediate']} on {m['target']}, seed {m['seed']}: {m['reason']}" for m in found]


def _warnings(tables: Mapping[str, Shown]) -> Iterator[str]:
    """What the numbers themselves warn of."""
    consistency = tables.get("consistency")
    if consistency is not None:
        frame = consistency.frame
        for row in frame[frame["collapse"] == 1].to_dict("records"):
            yield (
                f"{row['intermediate']} on {row['target']}: one class takes over 95 % of the predictions in some "
                "language, which makes answers look consistent"
            )


def _facts(info: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How it was run, as names and values."""
    if info.get("version"):
        yield "xmit", str(info["version"])
    for key in ("date", "hardware", "versions"):
        if info.get(key):
            yield ("packages" if key == "versions" else key), _flat(info[key])
    cells = info.get("cells") or {}
    if cells:
        known = [float(s) for s in cells.values() if not pd.isna(s)]
        yield "time", f"{sum(known) / 60:.1f} minutes in {count(len(cells), 'cell')}"
    for key, value in info.items():
        if key not in (*KNOWN, *OPTIONS) and value:
            yield key.replace("_", " "), _flat(value)
    if info.get("source_language"):
        yield "source language", _flat(info["source_language"])


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _named(value: Any, name: str) -> dict[str, str]:
    if not value:
        return {}
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, Mapping) else {name: str(value)}


def _seconds(cells: Any) -> list[tuple[str, str]]:
    return [(str(k), ABSENT if pd.isna(v) else f"{float(v):.0f}") for k, v in (cells or {}).items()]
