"""The report of a study: tables, figures, a page; all from result rows and nothing else.

Names are loaded when they are first used, so that importing this package draws in neither pandas nor matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmit.lazy import lazy_names

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
    "answer": "xmit.report.sentences",
    "consistency_table": "xmit.report.evidence",
    "effect_table": "xmit.report.evidence",
    "gains": "xmit.report.plots",
    "group_table": "xmit.report.tables",
    "intermediate_table": "xmit.report.evidence",
    "language_dots": "xmit.report.plots",
    "language_table": "xmit.report.tables",
    "missing_cells": "xmit.report.rows",
    "overview": "xmit.report.plots",
    "print_summary": "xmit.report.console",
    "render": "xmit.report.formats",
    "summary_table": "xmit.report.tables",
    "write_report": "xmit.report.page",
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

__getattr__ = lazy_names(__name__, _WHERE)
