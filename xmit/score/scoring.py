"""Score a whole submission: every task and language of a benchmark, their means, consistency and robustness.

The rules, after google-research/xtreme's ``evaluate.py``: a task's score in a metric is the unweighted mean over its
languages, English included; a question answering task's score is the mean of exact match and F1, any other's is its
one metric; the overall score is the unweighted mean over the benchmark's tasks. It exists only where every file does.

**XTREME-R.** The official script cannot compute its overall score: it lists LAReQA among the tasks but has no
languages and no metric for it, so that its overall is either absent or a ``KeyError``. The rule is there all the same:
``all_task`` is the sum of the tasks' scores divided by their number, for both versions; means of groups go to a table
of their own (``evaluate`` in ``evaluate.py``, "Display logic"). So the ten tasks of the XTREME-R paper (Ruder et al.
2021: XNLI, XCOPA, UD-POS, WikiANN-NER, XQuAD, MLQA, TyDiQA-GoldP, Tatoeba, Mewsli-X, LAReQA) count once each, though
the script has XCOPA in two groups; LAReQA's score is its mAP@20, the mean over the eleven question languages, which
have equally many questions. No printed table of the paper or the leaderboard was at hand to check the mean against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from xmit.errors import DataError, XmitError
from xmit.score.files import READERS, read_file
from xmit.score.layouts import LAYOUTS, Benchmark, Layout, official
from xmit.score.scorers import SCORERS, Scored

Kind = Literal["missing", "damaged", "odd", "extra"]
SOURCE = "en"
"""Every task of both benchmarks is trained on English."""


@dataclass(frozen=True)
class Finding:
    """Something about a submission that its author should know.

    Args:
        kind: ``missing``, a file is not there; ``damaged``, one cannot be scored; ``odd``, it is scored by the official
            rules, but hardly as meant; ``extra``, a file that is not scored.
        text: One line, with the file.
    """

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {' '.join(self.text.split())}"


@dataclass
class Report:
    """Scores and findings.

    Args:
        scores: ``{"benchmark", "tasks": {task: {"languages", "mean", "consistency", "robustness"}}, "overall"}``,
            percentages; what is undefined is None.
        findings: Everything that is missing, damaged, odd or extra.
    """

    scores: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)

    @property
    def damaged(self) -> bool:
        """Whether a file could not be scored."""
        return any(finding.kind == "damaged" for finding in self.findings)

    @property
    def complete(self) -> bool:
        """Whether all files are there and as they should be; extra ones do no harm."""
        return all(finding.kind == "extra" for finding in self.findings)


def score_submission(predictions: Path, labels: Path, benchmark: Benchmark = "xtreme") -> Report:
    """Score prediction files in XTREME's submission layout.

    Args:
        predictions: Folder with a folder for each task, see :mod:`xmit.score.layouts`.
        labels: The like with the right answers.
        benchmark: Which tasks and languages count.

    Returns:
        The scores, as far as there are files, and all that is wrong with these.

    Raises:
        DataError: A folder is not there, or holds no task at all.
    """
    tasks = official(benchmark)
    for folder, what in ((predictions, "predictions"), (labels, "labels")):
        _check_folder(folder, what, tasks)
    report = Report({"benchmark": benchmark, "tasks": {}, "overall": None})
    for layout in tasks.values():
        scored = _score_languages(layout, predictions, labels, benchmark, report.findings)
        if scored:
            report.scores["tasks"][layout.name] = _summarise(layout, scored)
    report.findings.extend(_extra_files(predictions, tasks))
    if all(
        set(report.scores["tasks"].get(name, {}).get("languages", ())) == set(layout.languages[benchmark])
        for name, layout in tasks.items()
    ):
        scores = [task_score(tasks[name], task["mean"]) for name, task in report.scores["tasks"].items()]
        report.scores["overall"] = math.fsum(scores) / len(scores)
    return report


def task_score(layout: Layout, mean: dict[str, float]) -> float:
    """A task's one score from its mean metrics."""
    return math.fsum(mean[name] for name in layout.main) / len(layout.main)


def _check_folder(folder: Path, what: str, tasks: dict[str, Layout]) -> None:
    if not folder.is_dir():
        raise DataError(f"--{what}: there is no folder {folder}")
    if not any((folder / name).is_dir() for name in tasks):
        others = [name for name in LAYOUTS if (folder / name).is_dir()]
        remedy = "see --help for the layout"
        if others:
            remedy = f"{', '.join(others)} is of the other benchmark, see --benchmark"
        elif folder.name in LAYOUTS:
            remedy = f"give the folder above, {folder.parent}"
        raise DataError(f"--{what}: {folder} holds none of the folders {', '.join(tasks)}; {remedy}")


def _score_languages(
    layout: Layout, predictions: Path, labels: Path, benchmark: Benchmark, findings: list[Finding]
) -> dict[str, Scored]:
    """Score every language that has both files, and note what is wrong with the others."""
    read_predictions, read_labels = READERS[layout.format]
    scored: dict[str, Scored] = {}
    for language in layout.languages[benchmark]:
        files = [layout.file(folder, language) for folder in (predictions, labels)]
        missing = [file for file in files if not file.is_file()]
        if missing:
            named = " and ".join(str(file) for file in missing)
            findings.append(Finding("missing", f"{named} ({layout.name}, {language} is not scored)"))
            continue
        try:
            pred, gold = read_file(read_predictions, files[0]), read_file(read_labels, files[1])
            scored[language] = SCORERS[layout.metric](layout, pred, gold, language)
        except XmitError as error:
            findings.append(Finding("damaged", f"{error} ({layout.name}, {language} is not scored)"))
            continue
        findings.extend(Finding("odd", remark) for remark in (*pred.remarks, *gold.remarks, *scored[language].remarks))
    return scored


def _summarise(layout: Layout, scored: dict[str, Scored]) -> dict[str, Any]:
    """Mean over languages, consistency and robustness of a task; what is undefined is None."""
    from xmit.metrics import robustness_summary

    metrics = list(next(iter(scored.values())).metrics)
    languages = {code: result.metrics for code, result in scored.items()}
    mean = {name: math.fsum(values[name] for values in languages.values()) / len(languages) for name in metrics}
    by_language = {code: task_score(layout, values) for code, values in languages.items()}
    return {
        "languages": languages,
        "mean": mean,
        "consistency": plain(_consistency(layout, scored)),
        "robustness": plain(robustness_summary(by_language, source_language=SOURCE)),
    }


def _consistency(layout: Layout, scored: dict[str, Scored]) -> dict[str, Any]:
    """How alike the predictions of parallel examples are.

    Of classification the labels are compared, of question answering the F1 of each answer, of LAReQA whether the first
    candidate is right: texts of different languages are never the same.
    """
    if not layout.parallel:
        return {"reason": f"the examples of {layout.name} are not translations of each other"}
    import torch

    from xmit.metrics import CrossLingualConsistency

    lines = layout.format in ("lines", "choices")
    numbers = {code: len(result.ids) for code, result in scored.items()}
    if lines and len(set(numbers.values())) > 1:  # ids are line numbers: of files of other lengths they mean nothing
        listed = ", ".join(f"{code} {number}" for code, number in numbers.items())
        return {"reason": f"the languages have different numbers of lines, so that none can be compared: {listed}"}
    metric = CrossLingualConsistency(pivot=SOURCE)
    codes = {value: i for i, value in enumerate(sorted({v for s in scored.values() for v in (*s.answers, *s.targets)}))}
    if layout.format == "answers":
        for language, result in scored.items():
            metric.update(torch.tensor(result.values, dtype=torch.float64), result.ids, language)
        return {"unit": "F1", **metric.compute()}
    for language, result in scored.items():
        predicted, wanted = (
            torch.tensor([codes[value] for value in values], dtype=torch.int64)
            for values in (result.answers, result.targets)
        )
        metric.update(predicted, result.ids, language, wanted)
    unit = "label" if lines else "first right"
    return {"unit": unit, **metric.compute(), "labels": list(codes)}


def _extra_files(predictions: Path, tasks: dict[str, Layout]) -> list[Finding]:
    """Files that no rule asks for; a misspelt name is the usual reason."""
    found = []
    for path in sorted(predictions.iterdir()):
        if path.name.startswith("."):
            continue
        layout = LAYOUTS.get(path.name)
        if layout is None or not path.is_dir():
            found.append(f"{path} is not scored; known folders: {', '.join(tasks)}")
        elif layout.name not in tasks:
            found.append(f"{path} is not scored: the task is not in this benchmark")
        else:
            # the other version's languages may lie there too: one folder serves both
            wanted = {layout.file(predictions, code).name for code in layout.all_languages}
            found += [
                f"{file} is not scored; expected names such as test-{layout.all_languages[0]}.{layout.suffix}"
                for file in sorted(path.iterdir())
                if file.name not in wanted and not file.name.startswith(".")
            ]
    return [Finding("extra", text) for text in found]


def plain(value: Any) -> Any:
    """With None for what is no number, so that JSON holds it."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
