"""``python -m xmit report`` and ``load_results`` on a study's folder as it lies on disk."""

import json

import pytest
from big_study import write_study

import xmit
from xmit.__main__ import main
from xmit.study.results import COLUMNS, mark_done

LANGUAGES = ("en", "de", "sw", "yo")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two intermediates, two targets, three seeds, every cell done; the first intermediate with 100 examples."""
    runs = tmp_path_factory.mktemp("runs")
    folder = runs / "small"
    rows = write_study(folder, 2, 2, LANGUAGES, range(3), 40, missing=None)
    cells = []
    for name, part in rows[list(COLUMNS)].groupby("cell"):
        (folder / name).mkdir(exist_ok=True)
        part.to_parquet(folder / name / "results.parquet", index=False)
        mark_done(folder / name, "x", {"seconds": 7.0, "versions": {"torch": "2"}, "hardware": "2 cores"})
        first = part.iloc[0]
        place = {key: str(first[key]) for key in ("role", "intermediate", "target")} | {"seed": int(first["seed"])}
        config = {"data": {"class_path": "MNLI", "init_args": {"train_examples": 100}}}
        more = {"identity": "x", "source_language": "en", "depends": None, "state": "done", "error": ""}
        cells.append({"name": name, **place, "config": config, **more})
    lost = {**cells[0], "name": "lost", "intermediate": "task00", "target": "target00", "seed": 3, "error": "CUDA: no"}
    plan = {"name": "small", "source": "name: small", "cells": [*cells, lost]}
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    return folder


def test_html_and_summary(folder, capsys):
    assert main(["report", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "report.html" in said
    # item scores reach the console, too: with three seeds something is tested
    assert "over seeds and items" in " ".join(said.split())
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "task00 on target00, seed 3: CUDA: no" in text
    assert "2 cores" in text
    assert "Same question, different answers" in text


@pytest.mark.parametrize(("format", "mark"), [("latex", r"\toprule"), ("markdown", "| --:"), ("csv", "study,encoder")])
def test_other_formats(folder, capsys, format, mark):
    assert main(["report", str(folder), "--format", format]) == 0
    text = capsys.readouterr().out
    assert mark in text
    assert "±" in text or format == "csv" or r"$\pm$" in text


def test_results_of_a_study_and_of_a_folder_of_studies(folder):
    one, every = xmit.load_results(folder), xmit.load_results(folder.parent)
    assert len(one) == len(every)
    assert set(one["target"]) == {"target00", "target01", ""}


def test_a_damaged_plan_is_named(folder, tmp_path):
    from xmit.errors import StudyError
    from xmit.report import study_options

    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(StudyError, match=r"plan\.json is damaged"):
        study_options(tmp_path, xmit.load_results(folder))
