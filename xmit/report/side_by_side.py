"""Answers to the same question in many languages, without intermediate training and after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from xmit.report.columns import file_name
from xmit.report.examples import Answers, Example, agreement_matrix, examples, lay_out, worst_items
from xmit.report.rows import BASELINE, UNIT, SourceLanguage, source_of, trained_on
from xmit.report.stored import Stored

SHOWN = 5
"""Examples of each target."""


@dataclass(frozen=True)
class Parallel:
    """What the page shows of one target with the same items in several languages.

    Args:
        target: Its name, with that of encoder and study where there are several.
        source: Its source language, the first of several.
        matrices: By run, which languages agree.
        runs: The runs of the examples: the baseline, and an intermediate if there is one.
        examples: For each question the example of every run, None where a run lacks it.
        free_text: Whether answers are texts, which agree where both are right or both wrong.
    """

    target: str
    source: str
    matrices: dict[str, pd.DataFrame]
    runs: tuple[str, ...]
    examples: list[tuple[Example | None, ...]] = field(default_factory=list)
    free_text: bool = False

    @property
    def file(self) -> str:
        """The target's name as part of a file's name."""
        return file_name(self.target)

    @property
    def frame(self) -> pd.DataFrame:
        """The matrices of all runs, one below the other."""
        named = [m.rename_axis("language").reset_index().assign(run=name) for name, m in self.matrices.items()]
        return pd.concat(named, ignore_index=True)[["run", *named[0].columns.drop("run")]]


def parallel_answers(
    rows: pd.DataFrame, stored: Stored, intermediates: Sequence[str], source_language: SourceLanguage
) -> Iterator[Parallel]:
    """Agreement and worst examples of every target with parallel items whose prediction rows are there.

    Args:
        rows: Rows from :func:`~xmit.report.rows.checked`.
        stored: The prediction rows.
        intermediates: Candidates to stand beside the baseline, the first that has predictions is taken.
        source_language: The language that was trained on.
    """
    chosen = rows[(rows["role"] == "target") & (rows["split"] == "test")]
    parallel = chosen[chosen["metric"].str.startswith("consistency/")][UNIT[:-1]].drop_duplicates()
    with_main = chosen[chosen["is_main"]][UNIT].drop_duplicates().merge(parallel, on=UNIT[:-1])
    apart = [name for name in ("study", "encoder") if with_main[name].nunique() > 1]
    for record in with_main.to_dict("records"):
        unit = {str(k): v for k, v in record.items()}
        source = trained_on(source_of(source_language, str(unit["target"])))[0]
        runs: dict[str, Answers] = {}
        for name in (BASELINE, *intermediates):
            found = stored.predictions({**unit, "intermediate": name})
            # the tags of a sentence are no one answer
            if found is not None and isinstance(found["prediction"].iloc[0], str):
                runs[_title(name, found)] = lay_out(found)
            if len(runs) == 2:
                break
        if not runs:
            continue
        # the worst after intermediate training, and what the same questions got without it
        ids = worst_items(list(runs.values())[-1], source, SHOWN)
        by_run = [{e.id: e for e in examples(answers, source, ids)} for answers in runs.values()]
        yield Parallel(
            " · ".join(str(unit[name]) for name in ("target", *apart)),
            source,
            {name: agreement_matrix(answers) for name, answers in runs.items()},
            tuple(runs),
            [tuple(known.get(i) for known in by_run) for i in ids],
            any(answers.free_text for answers in runs.values()),
        )


def _title(name: str, found: Any) -> str:
    return f"{'without' if name == BASELINE else 'after ' + name}, seed {found['seed'].iloc[0]}"
