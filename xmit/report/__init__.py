"""The report of a study: tables, figures, a page; all from result rows and nothing else.

Names are loaded when they are first used, so that importing this package draws in neither pandas nor matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmit.lazy import lazy_names

if TYPE_CHECKING:
    from xmit.report.axes import size_curves, source_table
    from xmit.report.charts import agreement, forest, gain_by_pretraining, size_plot
    from xmit.report.console import print_summary
    from xmit.report.effects import effect_table, family_table, primary_table
    from xmit.report.evidence import consistency_table, intermediate_table
    from xmit.report.formats import render
    from xmit.report.languages import language_effects, target_language_effects
    from xmit.report.page import write_report
    from xmit.report.plots import gains, language_dots, overview
    from xmit.report.rows import missing_cells
    from xmit.report.selection import best_table
    from xmit.report.sentences import answer
    from xmit.report.stored import study_options
    from xmit.report.tables import group_table, language_table, summary_table

_WHERE = {
    "agreement": "xmit.report.charts",
    "answer": "xmit.report.sentences",
    "best_table": "xmit.report.selection",
    "consistency_table": "xmit.report.evidence",
    "effect_table": "xmit.report.effects",
    "forest": "xmit.report.charts",
    "gain_by_pretraining": "xmit.report.charts",
    "gains": "xmit.report.plots",
    "group_table": "xmit.report.tables",
    "intermediate_table": "xmit.report.evidence",
    "language_dots": "xmit.report.plots",
    "language_effects": "xmit.report.languages",
    "language_table": "xmit.report.tables",
    "missing_cells": "xmit.report.rows",
    "overview": "xmit.report.plots",
    "primary_table": "xmit.report.effects",
    "print_summary": "xmit.report.console",
    "render": "xmit.report.formats",
    "size_curves": "xmit.report.axes",
    "size_plot": "xmit.report.charts",
    "source_table": "xmit.report.axes",
    "study_options": "xmit.report.stored",
    "summary_table": "xmit.report.tables",
    "target_language_effects": "xmit.report.languages",
    "family_table": "xmit.report.effects",
    "write_report": "xmit.report.page",
}
__all__ = [
    "agreement",
    "answer",
    "best_table",
    "consistency_table",
    "effect_table",
    "family_table",
    "forest",
    "gain_by_pretraining",
    "gains",
    "group_table",
    "intermediate_table",
    "language_dots",
    "language_effects",
    "language_table",
    "missing_cells",
    "overview",
    "primary_table",
    "print_summary",
    "render",
    "size_curves",
    "size_plot",
    "source_table",
    "study_options",
    "summary_table",
    "target_language_effects",
    "write_report",
]

__getattr__ = lazy_names(__name__, _WHERE)
