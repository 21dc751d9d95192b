"""The report of a study: tables, figures, a page; all from result rows and nothing else.

Names are loaded when they are first used, so that importing this package draws in neither pandas nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmit.report.console import print_summary
    from xmit.report.evidence import consistency_table, effect_table, intermediate_table
    from xmit.report.formats import render
    from xmit.report.page import write_report
    from xmit.report.plots import gains, language_dots, overview
    from xmit.report.rows import missing_cells
    from xmit.report.sentences import answer
    from xmit.report.tables import group_table, language_table, summary_table

_WHERE = {
    "answer": "sentences",
    "consistency_table": "evidence",
    "effect_table": "evidence",
    "gains": "plots",
    "group_table": "tables",
    "intermediate_table": "evidence",
    "language_dots": "plots",
    "language_table": "tables",
    "missing_cells": "rows",
    "overview": "plots",
    "print_summary": "console",
    "render": "formats",
    "summary_table": "tables",
    "write_report": "page",
}
__all__ = [
    "answer",
    "consistency_table",
    "effect_table",
    "gains",
    "group_table",
    "intermediate_table",
    "language_dots",
    "language_table",
    "missing_cells",
    "overview",
    "print_summary",
    "render",
    "summary_table",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"xmit.report.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'xmit.report' has no attribute {name!r}")
