"""Figures of a study, as functions that return a matplotlib figure; matplotlib is imported when one is drawn."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from xmit.errors import MissingDependencyError, TaskNotFoundError
from xmit.report.rows import (
    BASELINE,
    UNIT,
    Described,
    Missing,
    SourceLanguage,
    by_resources,
    checked,
    describe,
    differences,
    grid,
    main_scores,
    selected,
    source_of,
    trained_on,
)
from xmit.report.tables import column_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

By = Literal["resource_class", "script"]
INK, GRID, SHADE = "#222222", "#d0d0d0", "#ececec"
# Okabe and Ito's colours tell apart for all kinds of colour vision; markers do so without any colour
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("^", "s", "D", "v", "P", "X", "<", ">")


def overview(
    rows: pd.DataFrame,
    *,
    intermediates: Sequence[str] | None = None,
    chance: Mapping[str, float] | None = None,
    source_language: SourceLanguage = "en",
    missing: Missing = (),
) -> Figure:
    """The study in one figure: a panel for each target, languages from the fewest resources to the most.

    Args:
        rows: Tidy result rows.
        intermediates: Which are drawn, all by default; more than six look alike.
        chance: By target, the score of always answering the most frequent class, drawn as a line.
        source_language: The language that was trained on; its baseline score is a dashed line.
        missing: Cells that the study lists as missing.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    scores = main_scores(checked(rows))
    cells = grid(scores, missing)
    if intermediates is not None:
        cells = cells[cells["intermediate"].isin(intermediates)]
    languages = by_resources(scores["language"])
    targets = list(dict.fromkeys(cells["target"]))
    styles = _styles(cells)
    figure = new_figure(max(7.0, 0.2 * len(languages) + 1), 0.9 + 2.3 * len(targets))
    axes = figure.subplots(len(targets), 1, sharex=True, squeeze=False)[:, 0]
    at = {d.code: i for i, d in enumerate(languages)}
    for ax, target in zip(axes, targets, strict=True):
        clean(ax, "y")
        _bands(ax, languages)
        here = selected(cells, target=target)
        for i, cell in enumerate(here.to_dict("records")):
            found = _seeds(selected(scores, **{k: cell[k] for k in (*UNIT, "intermediate")}), "value")
            x = np.array([at[code] for code in found.index]) + _dodge(i, len(here))
            _draw(ax, x, found, styles[column_name(cell, cells)])
        _lines(ax, scores, target, source_of(source_language, target), chance)
        ax.set_ylabel(f"{plain(target)}\n{plain(_metric(here))} in %", color=INK, fontsize=9)
        ax.set_ylim(bottom=0)
        ax.set_xlim(-0.7, len(languages) - 0.3)
    _name_classes(axes[0], languages)
    for ax in axes[:-1]:  # no label stands there, yet each of hundreds of ticks would be made and measured
        ax.xaxis.set_visible(False)
    axes[-1].set_xticks(range(len(languages)), [plain(d.code) for d in languages], fontsize=7.5, color=INK)
    sources = {code for t in targets for code in trained_on(source_of(source_language, t))}
    for label, described in zip(axes[-1].get_xticklabels(), languages, strict=True):
        label.set_fontweight("bold" if described.code in sources else "normal")
    axes[-1].set_xlabel(
        "language, by resource class; shaded: not in Latin script; upright lines: range over seeds",
        color=INK,
        fontsize=9,
    )
    _legend(figure, axes[0], styles)
    return figure


def language_dots(
    rows: pd.DataFrame,
    target: str,
    *,
    by: By = "resource_class",
    source_language: SourceLanguage = "en",
    missing: Missing = (),
) -> Figure:
    """The score of one target in every language after every intermediate, a line from the lowest to the highest seed.

    Args:
        rows: Tidy result rows.
        target: Name of the target.
        by: Group languages by ``"resource_class"`` or ``"script"``.
        source_language: The language that was trained on, set in bold.
        missing: Cells that the study lists as missing.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
        TaskNotFoundError: If there are no rows of that target.
    """
    scores, cells = _of_target(rows, target, missing)
    languages, groups = _grouped(scores["language"], by)
    styles = _styles(cells)
    figure = new_figure(6.2, 1.1 + 0.2 * len(languages))
    ax = figure.subplots()
    clean(ax, "x")
    at = {d.code: i for i, d in enumerate(languages)}
    for i, cell in enumerate(cells.to_dict("records")):
        found = _seeds(selected(scores, **{k: cell[k] for k in (*UNIT, "intermediate")}), "value")
        y = np.array([at[code] for code in found.index]) + _dodge(i, len(cells))
        _draw(ax, y, found, styles[column_name(cell, cells)], upright=False)
    _name_rows(ax, languages, groups, source_of(source_language, target))
    _say_no_score(ax, at, scores)
    ax.set_xlabel(f"{plain(target)}: {plain(_metric(cells))} in %", color=INK, fontsize=9)
    _legend(figure, ax, styles)
    return figure


def gains(
    rows: pd.DataFrame,
    target: str,
    *,
    by: By = "resource_class",
    source_language: SourceLanguage = "en",
    missing: Missing = (),
) -> Figure:
    """The gain over the baseline in every language, a panel for each intermediate, a line over the seeds.

    Args:
        rows: Tidy result rows.
        target: Name of the target.
        by: Group languages by ``"resource_class"`` or ``"script"``.
        source_language: The language that was trained on, set in bold.
        missing: Cells that the study lists as missing.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
        TaskNotFoundError: If there are no rows of that target.
    """
    scores, cells = _of_target(rows, target, missing)
    found = differences(scores, cells)
    languages, groups = _grouped(scores["language"], by)
    styles = _styles(cells)
    trained = cells[cells["intermediate"] != BASELINE].to_dict("records")
    figure = new_figure(1.8 + max(2.2 * len(trained), 3), 1.1 + 0.2 * len(languages))
    axes = figure.subplots(1, max(len(trained), 1), sharey=True, sharex=True, squeeze=False)[0]
    at = {d.code: i for i, d in enumerate(languages)}
    for ax in axes:
        clean(ax, "x")
        ax.axvline(0, color=INK, linewidth=1)
    for ax, cell in zip(axes, trained, strict=False):
        part = _seeds(selected(found, **{k: cell[k] for k in (*UNIT, "intermediate")}), "delta")
        name = column_name(cell, cells)
        _draw(ax, np.array([at[code] for code in part.index]), part, styles[name], upright=False)
        title = plain(name) if len(part) else f"{plain(name)}\n(nothing to compare)"
        ax.set_title(title, color=INK, fontsize=9)
        _say_no_score(ax, at, scores)
    for ax in axes:
        _name_rows(ax, languages, groups, source_of(source_language, target), names=ax is axes[0])
    figure.supxlabel(f"{plain(target)}: difference to no intermediate training, points", color=INK, fontsize=9)
    return figure


def to_svg(figure: Figure, prefix: str, title: str) -> str:
    """A figure as SVG to stand in a page: text as text, colours that follow the page's, ids of its own.

    Args:
        figure: The figure.
        prefix: Put before every id, so that several figures can stand in one page.
        title: What a screen reader says.
    """
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style type=.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"(\d\.\d\d)\d+", r"\1", re.sub(r"\s+", " ", svg))
    svg = re.sub(r"(?<=;base64,)[^\"]*", lambda found: found[0].replace(" ", ""), svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    # the page's font and its ink, which a dark page has light
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", svg)
    inks = {INK: "currentColor", "#000000": "currentColor", GRID: "var(--grid)", SHADE: "var(--shade)"}
    for color, css in inks.items():
        svg = svg.replace(color, css)
    label = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


# -- parts of figures ------------------------------------------------------------------------------------------


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that pyplot knows nothing of, in inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "report") from error
    return Figure(figsize=(width, height), layout="constrained")


def _of_target(rows: pd.DataFrame, target: str, missing: Missing) -> tuple[pd.DataFrame, pd.DataFrame]:
    scores = main_scores(checked(rows))
    cells = grid(scores, missing)
    if target not in set(scores["target"]):
        raise TaskNotFoundError("target", target, set(scores["target"]), "Only targets with results can be drawn.")
    return selected(scores, target=target), selected(cells, target=target)


def _metric(cells: pd.DataFrame) -> str:
    return str(cells["metric"].iloc[0])


def plain(text: str) -> str:
    """Names are no mathematics: matplotlib would read dollar signs as such."""
    return text.replace("$", r"\$")


def _styles(cells: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """A look for every intermediate, the same in all panels; the baseline is hollow and in the colour of text."""
    styles: dict[str, dict[str, Any]] = {}
    others = 0
    for cell in sorted(cells.to_dict("records"), key=lambda c: (c["intermediate"] != BASELINE, c["intermediate"])):
        name = column_name(cell, cells)
        if name in styles:
            continue
        if cell["intermediate"] == BASELINE:
            styles[name] = {"color": INK, "marker": "o", "markerfacecolor": "none"}
        else:
            styles[name] = {"color": COLORS[others % len(COLORS)], "marker": MARKERS[others % len(MARKERS)]}
            others += 1
    return styles


def _seeds(scores: pd.DataFrame, column: str) -> pd.DataFrame:
    """Mean, lowest and highest over seeds in every language, in points."""
    found = scores[scores[column].notna()].groupby("language")[column].agg(["mean", "min", "max"])
    return 100 * found


def _dodge(i: int, n: int) -> float:
    """Where the i-th of n marks stands beside its language, so that equal scores do not hide each other."""
    return 0.0 if n < 2 else (i / (n - 1) - 0.5) * min(0.5, 0.22 * (n - 1))


def _draw(ax: Axes, at: Any, found: pd.DataFrame, style: Mapping[str, Any], upright: bool = True) -> None:
    # one broken line for all ranges, not one line each: a page of many figures stays small
    ends = np.column_stack([found["min"], found["max"], np.full(len(found), np.nan)]).ravel()
    for where, score, look in (
        (np.repeat(at, 3), ends, {"color": style["color"], "linewidth": 1}),
        (at, found["mean"], {"linestyle": "none", "markersize": 4.5, "markeredgewidth": 1, **style}),
    ):
        ax.plot(*((where, score) if upright else (score, where)), **look)


def clean(ax: Axes, along: Literal["x", "y"]) -> None:
    """Take away all lines but a faint grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GRID)
    ax.tick_params(colors=INK, labelsize=8, length=0)
    ax.grid(axis=along, color=GRID, linewidth=0.6)
    ax.set_axisbelow(True)


def _bands(ax: Axes, languages: Sequence[Described]) -> None:
    """Shade what is not in Latin script and draw a line between resource classes."""
    for other_script, first, last in _runs([d.known and not d.latin for d in languages]):
        if other_script:
            ax.axvspan(first - 0.5, last + 0.5, color=SHADE, linewidth=0, zorder=0)
    for _, first, _ in list(_runs([d.resource_class for d in languages]))[1:]:
        ax.axvline(first - 0.5, color=INK, linewidth=0.6)


def _runs(values: Sequence[Any]) -> Iterator[tuple[Any, int, int]]:
    """Each value, its first and its last position while it repeats."""
    first = 0
    for value, run in itertools.groupby(values):
        last = first + len(list(run)) - 1
        yield value, first, last
        first = last + 1


def _name_classes(ax: Axes, languages: Sequence[Described]) -> None:
    for number, first, last in _runs([d.resource_class for d in languages]):
        name = "?" if number is None else f"class {number}" if last - first > 1 else str(number)
        ax.annotate(
            name, ((first + last) / 2, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", ha="center", fontsize=8, color=INK,
        )  # fmt: skip


def _lines(ax: Axes, scores: pd.DataFrame, target: str, source: str, chance: Mapping[str, float] | None) -> None:
    """Mark what to compare with: the source language without intermediate training, and chance."""
    marks = []
    first = trained_on(source)[0]
    for (_, encoder), part in selected(scores, target=target, intermediate=BASELINE, language=first).groupby(
        ["study", "encoder"]
    ):
        whose = f" ({encoder})" if scores["encoder"].nunique() > 1 else ""
        if not part["value"].isna().all():
            marks.append((100 * float(part["value"].mean()), f"{describe(first).name}, {BASELINE}{whose}", "--"))
    if chance and target in chance:
        marks.append((100 * float(chance[target]), "majority class", ":"))
    for y, name, dashes in marks:
        ax.axhline(y, color=INK, linewidth=1, linestyle=dashes)
        ax.annotate(
            name, (1, y), xycoords=("axes fraction", "data"), xytext=(-2, 2), textcoords="offset points",
            ha="right", fontsize=7.5, color=INK,
        )  # fmt: skip


def _grouped(codes: Any, by: By) -> tuple[list[Described], list[str]]:
    """Languages in the order of their groups, and the name of each one's group."""
    languages = by_resources(codes)
    if by == "script":
        languages.sort(key=lambda d: (not d.latin, d.script))
        return languages, [d.script for d in languages]
    return languages, ["class ?" if d.resource_class is None else f"class {d.resource_class}" for d in languages]


def _name_rows(
    ax: Axes, languages: Sequence[Described], groups: Sequence[str], source: str, names: bool = True
) -> None:
    """Languages on the y axis from top to bottom, a line between groups, each group's name at its first row."""
    ax.set_ylim(len(languages) - 0.4, -0.6)
    for i, group in enumerate(groups):
        if i and group != groups[i - 1]:
            ax.axhline(i - 0.5, color=INK, linewidth=0.6)
    if not names:
        return
    ax.set_yticks(range(len(languages)), [plain(d.name) for d in languages], fontsize=8, color=INK)
    for label, described in zip(ax.get_yticklabels(), languages, strict=True):
        label.set_fontweight("bold" if described.code in trained_on(source) else "normal")
    for i, group in enumerate(groups):
        if not i or group != groups[i - 1]:
            ax.annotate(
                group, (0, i), xycoords=("axes fraction", "data"), xytext=(-92, 0), textcoords="offset points",
                va="center", ha="left", fontsize=7.5, color=INK, style="italic",
            )  # fmt: skip


def _say_no_score(ax: Axes, at: Mapping[str, int], scores: pd.DataFrame) -> None:
    """An empty row says that it is empty for want of data."""
    known = set(scores[scores["value"].notna()]["language"])
    for code in set(at) - known:
        ax.annotate(
            "no score", (0, at[code]), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
            va="center", fontsize=7, color=INK, style="italic",
        )  # fmt: skip


def _legend(figure: Figure, ax: Axes, styles: Mapping[str, Mapping[str, Any]]) -> None:
    handles = [
        ax.plot([], [], linestyle="none", markersize=5, label=plain(name), **style)[0] for name, style in styles.items()
    ]
    # a letter takes about 6 points, the mark and the gap about 40
    room = int(72 * figure.get_figwidth() / (40 + 6 * max(map(len, styles))))
    figure.legend(
        handles=handles, loc="outside upper left", ncols=max(1, min(len(handles), room)), frameon=False, fontsize=9,
        labelcolor=INK, title="after intermediate training on", title_fontsize=9, alignment="left",
    )  # fmt: skip
