"""The report: one self-contained page that needs no network, and its tables as files beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from xmit.errors import MissingDependencyError, StudyError
from xmit.files import atomic_write, write_text
from xmit.report import plots
from xmit.report.columns import ABSENT, Shown, all_tables, points, signed
from xmit.report.formats import write_tables
from xmit.report.rows import BASELINE, UNIT, checked, main_scores, missing_cells, selected
from xmit.report.sentences import count, seeds_note, sentences_of

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure

KNOWN = ("name", "version", "date", "hardware", "versions", "cells", "missing", "warnings", "config")
OPTIONS = ("source_language", "chance")


def write_report(folder: str | Path, rows: pd.DataFrame, info: Mapping[str, Any] | None = None) -> Path:
    """Write ``report.html``, its tables as ``report-<table>.csv`` and ``.tex``, and the overview as PNG and PDF.

    Args:
        folder: The study's folder.
        rows: Tidy result rows.
        info: How the study was run, all optional: ``name``; ``version`` of xmit; ``date``; ``hardware`` and
            ``versions`` (texts or dicts); ``cells`` (seconds by cell); ``warnings`` (texts); ``missing`` (cells without
            results: dicts with ``intermediate``, ``target``, ``seed``, ``reason``, or texts); ``config`` (a text, or
            texts by name); ``source_language`` (a code, or codes by target); ``chance`` (score of the most frequent
            class by target). Any other key is shown as it is.

    Returns:
        The path of the page.

    Raises:
        StudyError: If there are no scores to report.
        MissingDependencyError: If jinja2 or matplotlib is not installed.
    """
    info = dict(info or {})
    template = _template()
    rows = checked(rows)
    if not len(main_scores(rows)):
        raise StudyError("there is no test score of any target to report: run the study first")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    missing = list(info.get("missing") or [])
    options: dict[str, Any] = {"source_language": info.get("source_language") or "en", "missing": missing}
    tables = list(all_tables(rows, **options))
    by_name = {table.name: table for table in tables}
    effect = by_name["effect"].frame if "effect" in by_name else pd.DataFrame()
    languages = [table for table in tables if table.name.startswith("languages-")]
    overview = plots.overview(rows, chance=info.get("chance"), **options)
    page = template.render(
        name=info.get("name") or ", ".join(sorted(set(rows["study"]) - {""})) or "study",
        date=str(info.get("date") or ""),
        facts=list(_facts(info)),
        configs=_named(info.get("config"), "study file"),
        answer=sentences_of(by_name["summary"].frame, effect, options["source_language"]),
        seeds=seeds_note(rows),
        missing=_missing(rows, missing),
        warnings=[*map(str, info.get("warnings") or []), *_warnings(by_name)],
        matrices=list(_matrices(by_name["summary"].frame, effect)),
        figures=_figures(rows, overview, [t.title for t in languages], options),
        tables=by_name,
        languages=languages,
        seconds=_seconds(info.get("cells")),
    )
    write_tables(folder, tables)
    for kind in ("png", "pdf"):
        atomic_write(folder / f"report-overview.{kind}", partial(overview.savefig, format=kind, dpi=150))
    path = folder / "report.html"
    write_text(path, page)
    return path


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


def _figures(rows: pd.DataFrame, overview: Figure, targets: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """The overview and, by target, scores by script and gains by resource class, as SVG that is safe in the page."""
    from markupsafe import Markup

    def svg(figure: Any, name: str, title: str) -> Any:
        # matplotlib escapes every text that it draws, so nothing but its own marks is markup
        return Markup(plots.to_svg(figure, name, title))

    drawn: dict[str, Any] = {"overview": svg(overview, "overview", "Scores of every target in every language")}
    for i, target in enumerate(targets):
        dots = plots.language_dots(rows, target, by="script", **options)
        gained = plots.gains(rows, target, **options)
        drawn[target] = [
            svg(dots, f"dots{i}", f"Scores of {target} by script"),
            svg(gained, f"gains{i}", f"Gains on {target} over no intermediate training by resource class"),
        ]
    return drawn


def _matrices(summary: pd.DataFrame, effect: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Intermediates by targets, one matrix for each study and encoder."""
    for (study, encoder), part in summary.groupby(["study", "encoder"], sort=False):
        units = list(part[UNIT].drop_duplicates().itertuples(index=False, name=None))
        lines = []
        for intermediate in dict.fromkeys(part["intermediate"]):
            cells = [
                selected(part, **dict(zip(UNIT, unit, strict=True)), intermediate=intermediate).iloc[0].to_dict()
                for unit in units
            ]
            over_all = {"delta": "", "pairs": ""}
            if len(effect) and intermediate != BASELINE:
                found = selected(effect, study=study, encoder=encoder, intermediate=intermediate).iloc[0]
                over_all = {
                    "delta": signed(found["delta_low_resource"]),
                    "pairs": count(int(found["n_pairs_low_resource"]), "pair"),
                }
            lines.append({"name": intermediate, "cells": [_matrix_cell(c) for c in cells], "all": over_all})
        several = summary[["study", "encoder"]].drop_duplicates().shape[0] > 1
        yield {"title": f"{study} · {encoder}" if several else "", "targets": [u[3] for u in units], "lines": lines}


def _matrix_cell(cell: Mapping[Any, Any]) -> dict[str, Any]:
    base = cell["intermediate"] == BASELINE
    low = f" ({cell['n_low_resource']})" if cell["n_low_resource"] else ""
    return {
        "missing": not cell["n_seeds"],
        "zero_shot": points(cell["zero_shot_mean"]),
        "delta_zero_shot": "" if base else signed(cell["delta_zero_shot"]),
        "low": points(cell["low_resource_mean"]) + low,
        "delta_low": "" if base else signed(cell["delta_low_resource"]),
        "seeds": count(int(cell["n_seeds"]), "seed")
        + (f", missing {cell['missing_seeds']}" if cell["missing_seeds"] else ""),
        "note": cell["note"],
    }


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
