"""Figures of effects: the primary endpoint, gains against pre-training size, agreement, training sizes.

Like :mod:`xmit.report.plots`, functions that return a matplotlib figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from xmit.report.axes import SizeCurve
from xmit.report.effects import mark
from xmit.report.plots import COLORS, GRID, INK, MARKERS, clean, new_figure, plain
from xmit.report.rows import by_resources, describe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = 12
"""Panels that one figure shows at most; the tables have all."""
UNSEEN_AT = 0.02
"""Where, in GiB, languages stand that XLM-R did not see: left of the least it saw, 0.1."""


def forest(primary: pd.DataFrame) -> Figure:
    """The primary endpoint of every intermediate with its interval, and each seed's estimate.

    Args:
        primary: From :func:`~xmit.report.effects.primary_table`.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    lines = primary[primary["low-resource"].notna()].to_dict("records")
    figure = new_figure(7.6, 1.0 + 0.32 * max(len(lines), 1))
    ax = figure.subplots()
    clean(ax, "x")
    ax.axvline(0, color=INK, linewidth=1)
    several = primary[["study", "encoder"]].drop_duplicates().shape[0] > 1
    for y, line in enumerate(lines):
        value = 100 * line["low-resource"]
        color = COLORS[0] if value >= 0 else COLORS[1]
        if not pd.isna(line["low-resource_low"]):
            low, high = 100 * line["low-resource_low"], 100 * line["low-resource_high"]
            ax.plot([low, high], [y, y], color=color, linewidth=2)
        seeds = [100 * v for v in line["seeds"]]
        ax.plot(seeds, np.full(len(seeds), y + 0.28), "|", color=INK, markersize=4)
        # filled where the test says so, hollow where it does not
        face = color if mark(line["p_holm"]) else "none"
        ax.plot([value], [y], "o" if value >= 0 else "s", color=color, markerfacecolor=face, markersize=6.5)
    names = [f"{n['intermediate']} · {n['encoder']} · {n['study']}" if several else n["intermediate"] for n in lines]
    ax.set_yticks(range(len(lines)), [plain(n) for n in names], fontsize=9, color=INK)
    ax.set_ylim(len(lines) - 0.4, -0.6)
    ax.set_xlabel(
        "difference to no intermediate training in low-resource languages, points\n"
        "thick: 95 % interval; short strokes: seeds; filled: significant after Holm's correction",
        color=INK, fontsize=9,
    )  # fmt: skip
    return figure


def gain_by_pretraining(found: pd.DataFrame, primary: pd.DataFrame, panels: int = PANELS) -> Figure:
    """The gain of every language against the text that XLM-R saw of it, a panel for each intermediate.

    Args:
        found: From :func:`~xmit.report.effects.effect_table`.
        primary: From :func:`~xmit.report.effects.primary_table`, for the slope and the order.
        panels: How many intermediates are shown, those with the largest differences.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    order = primary.reindex(primary["zero-shot"].abs().sort_values(ascending=False, kind="stable").index)
    shown = order.head(panels).sort_index().to_dict("records")
    columns = min(4, max(len(shown), 1))
    rows = max(math.ceil(len(shown) / columns), 1)
    figure = new_figure(max(3.1 * columns, 4.2), 0.6 + 2.4 * rows)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax in axes[len(shown) :]:
        ax.set_visible(False)
    for ax, line in zip(axes, shown, strict=False):
        part = found[(found["scope"] == "language") & (found["n_pairs"] > 0)]
        for key in ("study", "encoder", "intermediate"):
            part = part[part[key] == line[key]]
        _scatter(ax, part, line)
    figure.supylabel("mean difference to no intermediate training, points", color=INK, fontsize=9)
    figure.supxlabel(
        "GiB of the language's text in XLM-R's pre-training (left of the gap: not in it)", color=INK, fontsize=9
    )
    return figure


def _scatter(ax: Any, part: pd.DataFrame, line: Mapping[Any, Any]) -> None:
    clean(ax, "y")
    ax.axhline(0, color=INK, linewidth=1)
    ax.set_xscale("log")
    ax.set_xlim(0.012, 500)
    sizes = [describe(code).cc100_gib for code in part["group"]]
    seen = np.array([size is not None for size in sizes], dtype=bool)
    x = np.array([UNSEEN_AT if size is None else size for size in sizes])
    y = 100 * part["estimate"].to_numpy(dtype=float)
    ax.plot(x[seen], y[seen], linestyle="none", marker="o", markersize=3.5, color=COLORS[0])
    ax.plot(x[~seen], y[~seen], linestyle="none", marker="D", markersize=3.5, color=COLORS[1])
    ax.axvline(0.045, color=GRID, linewidth=1, linestyle=":")
    title = str(line["intermediate"])
    if not pd.isna(line["slope"]) and seen.sum() > 1:
        # the line has the slope of the table, which takes the languages alike, and goes through their mean
        where = np.array([x[seen].min(), x[seen].max()])
        centre = np.log10(x[seen]).mean()
        ax.plot(where, y[seen].mean() + 100 * line["slope"] * (np.log10(where) - centre), color=INK, linewidth=1)
        half = "" if pd.isna(line["slope_low"]) else f" ± {50 * (line['slope_high'] - line['slope_low']):.2f}"
        title += f"\n{100 * line['slope']:+.2f}{half} points a tenfold"
    for size, code, value in zip(x, part["group"], y, strict=True):
        if abs(value) >= np.sort(np.abs(y))[-min(3, len(y))]:
            ax.annotate(code, (size, value), xytext=(3, 2), textcoords="offset points", fontsize=7, color=INK)
    ax.set_title(plain(title).replace("-", "−"), color=INK, fontsize=9)


def agreement(matrices: Mapping[str, pd.DataFrame], target: str) -> Figure:
    """Which languages get the same answers: a square for every pair, a panel for every run.

    Args:
        matrices: By the run's name, languages × languages from :func:`~xmit.report.examples.agreement_matrix`.
        target: Name of the target.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    from matplotlib.colors import Normalize

    codes = [d.code for d in by_resources([c for m in matrices.values() for c in m.index])]
    size = max(3.0, 0.11 * len(codes) + 0.8)
    figure = new_figure(size * len(matrices) + 0.8, size + 0.6)
    # places by hand: laying out hundreds of labels takes longer than all else
    figure.set_layout_engine("none")
    places = {"left": 0.45 / figure.get_figwidth(), "right": 1 - 0.9 / figure.get_figwidth(), "wspace": 0.12}
    axes = figure.subplots(1, len(matrices), squeeze=False, gridspec_kw={**places, "top": 0.94, "bottom": 0.08})[0]
    values = [m.to_numpy(dtype=float)[~np.eye(len(m), dtype=bool)] for m in matrices.values()]
    known = np.concatenate(values)[~np.isnan(np.concatenate(values))]
    norm = Normalize(float(known.min()) if len(known) else 0, float(known.max()) if len(known) else 1)
    images = []
    for ax, (name, matrix) in zip(axes, matrices.items(), strict=True):
        square = matrix.reindex(index=codes, columns=codes).to_numpy(dtype=float, copy=True)
        np.fill_diagonal(square, np.nan)
        images.append(ax.imshow(square, cmap="cividis", norm=norm, interpolation="none"))
        ax.set_xticks([])
        ax.set_yticks([])
        for at, code in enumerate(map(plain, codes)):  # texts, of which a tick would make three more objects each
            ax.text(at, len(codes) - 0.3, code, fontsize=6.5, rotation=90, color=INK, ha="center", va="top")
            ax.text(-0.7, at, code, fontsize=6.5, color=INK, ha="right", va="center")
        ax.spines[:].set_visible(False)
        ax.set_title(plain(name), color=INK, fontsize=9)
    beside = figure.add_axes((1 - 0.75 / figure.get_figwidth(), 0.2, 0.12 / figure.get_figwidth(), 0.6))
    bar = figure.colorbar(images[0], cax=beside)
    bar.set_label(f"{plain(target)}: share of items answered alike", color=INK, fontsize=8)
    bar.ax.tick_params(colors=INK, labelsize=7.5)
    return figure


def size_plot(curves: Sequence[SizeCurve]) -> Figure:
    """Target scores by the size of the intermediate training set, with the fitted curve; dashed where it misfits.

    Args:
        curves: From :func:`~xmit.report.axes.size_curves`.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    columns = min(3, len(curves))
    rows = math.ceil(len(curves) / columns)
    figure = new_figure(3.6 * columns, 0.5 + 2.6 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(curves) :]:
        ax.set_visible(False)
    for i, (ax, curve) in enumerate(zip(axes, curves, strict=False)):
        clean(ax, "y")
        look = {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(MARKERS)]}
        half = 50 * np.nan_to_num(np.array(curve.spread))
        ax.errorbar(curve.sizes, 100 * np.array(curve.scores), yerr=half, linestyle="none", markersize=5, **look)
        x = np.geomspace(curve.sizes[0], curve.sizes[-1], 100)
        ax.plot(x, 100 * curve.score(x), color=INK, linewidth=1, linestyle="--" if curve.misfit else "-")
        ax.set_xscale("log")
        flag = "  (misfit)" if curve.misfit else ""
        ax.set_title(f"{plain(curve.task)} → {plain(curve.target)}{flag}", color=INK, fontsize=9)
    figure.supxlabel("examples of intermediate training; upright lines: range over seeds", color=INK, fontsize=9)
    figure.supylabel("mean zero-shot score, %", color=INK, fontsize=9)
    return figure
