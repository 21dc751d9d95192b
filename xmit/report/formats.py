"""Tables as LaTeX, Markdown or CSV, as text or as files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from xmit.errors import ConfigError
from xmit.files import write_text
from xmit.report.axes import Axes
from xmit.report.columns import Shown
from xmit.report.effects import Items, no_items
from xmit.report.rows import Missing, SourceLanguage
from xmit.report.views import all_tables

Format = Literal["latex", "markdown", "csv"]
PAGE = 40


def render(
    rows: pd.DataFrame,
    format: str,
    *,
    tables: Iterable[str] | None = None,
    source_language: SourceLanguage = "en",
    missing: Missing = (),
    items: Items = no_items,
    axes: Axes | None = None,
) -> str:
    r"""The tables as a text.

    Args:
        rows: Tidy result rows.
        format: ``"latex"`` (booktabs), ``"markdown"`` or ``"csv"``.
        tables: Names of :func:`all_tables`; all by default, but for CSV only ``summary``.
        source_language: The language that was trained on.
        missing: Cells that the study lists as missing.
        items: Gives each cell's item scores, without which nothing is tested.
        axes: The tasks, source languages and training sizes of the study's intermediates and targets.

    Raises:
        ConfigError: If the format or a table is unknown.
    """
    if format not in get_args(Format):
        raise ConfigError(f"unknown format {format!r}, choose from {', '.join(get_args(Format))}")
    every = {
        t.name: t for t in all_tables(rows, source_language=source_language, missing=missing, items=items, axes=axes)
    }
    chosen = list(tables) if tables is not None else (["summary"] if format == "csv" else list(every))
    unknown = [name for name in chosen if name not in every]
    if unknown:
        raise ConfigError(f"unknown table {unknown[0]!r}, choose from {', '.join(every)}")
    write = {"latex": latex, "markdown": markdown, "csv": csv}[format]
    return "\n".join(write(every[name]) for name in chosen)


def csv(table: Shown) -> str:
    """The unformatted table: fractions in full precision."""
    # a tuple holds one value a seed
    plain = table.frame.map(lambda v: " ".join(map(repr, v)) if isinstance(v, tuple) else v)
    return plain.to_csv(index=False, lineterminator="\n")


def markdown(table: Shown) -> str:
    """A pipe table with its notes."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |\n"

    text = f"### {_md(table.title)}\n\n" + line(_md(h) for h, _ in table.headings)
    text += line("--:" if number else ":--" for number in table.numeric)
    for cells, note in table.rows:
        texts = [_md(c.text) for c in cells]
        text += line(_marked(table, texts, f"<sup>{note}</sup>" if note else ""))
    return text + "".join(f"\n{i}. {_md(note)}" for i, note in enumerate(table.notes, 1)) + "\n"


def latex(table: Shown) -> str:
    r"""A booktabs ``tabular``, or several where one would not fit a page; ``\usepackage{booktabs}`` is all it needs."""
    kinds = "".join("r" if number else "l" for number in table.numeric)
    lines = [f"% {_one_line(table.title)}; needs \\usepackage{{booktabs}}"]
    for first in range(0, len(table.rows), PAGE):
        lines += [
            f"\\par\\noindent\\begin{{tabular}}{{{kinds}}}",
            r"\toprule",
            " & ".join(_tex(h) for h, _ in table.headings) + r" \\",
            r"\midrule",
        ]
        for cells, note in table.rows[first : first + PAGE]:
            texts = [_tex(c.text) for c in cells]
            mark = f"\\textsuperscript{{{note}}}" if note else ""
            lines.append(" & ".join(_marked(table, texts, mark)) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}", ""]
    if table.notes:
        notes = (f"\\textsuperscript{{{i}}}{_tex(note)}" for i, note in enumerate(table.notes, 1))
        lines.append(f"\\par\\noindent{{\\footnotesize {'; '.join(notes)}\\par}}")
    return "\n".join(lines) + "\n"


def _marked(table: Shown, texts: list[str], mark: str) -> list[str]:
    """Put the note's mark on the row's name."""
    return [text + mark if i == table.name_column else text for i, text in enumerate(texts)]


def _one_line(text: str) -> str:
    return " ".join(text.split())


_TEX = {
    "\\": r"\textbackslash{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "Δ": r"$\Delta$",
    "κ": r"$\kappa$",
    "α": r"$\alpha$",
    "ˢ": r"\textsuperscript{s}",
    "ⁱ": r"\textsuperscript{i}",
    "→": r"$\to$",
    "×": r"$\times$",
    "≤": r"$\le$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "…": r"\dots{}",
    "·": r"$\cdot$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(c, c) for c in _one_line(text))


def _md(text: str) -> str:
    text = re.sub(r"([\\`*_{}\[\]|~#])", r"\\\1", _one_line(text))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def write_tables(folder: Path, tables: Iterable[Shown]) -> list[Path]:
    """Write each table as ``report-<name>.csv`` and ``.tex``.

    Args:
        folder: Where.
        tables: The tables.
    """
    paths = []
    for table in tables:
        for suffix, text in (("csv", csv(table)), ("tex", latex(table))):
            paths.append(folder / f"report-{table.name}.{suffix}")
            write_text(paths[-1], text)
    return paths
