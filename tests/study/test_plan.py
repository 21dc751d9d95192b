"""A study's plan: its cells, what they share, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from xmit.errors import StudyError
from xmit.study.plan import load_plan

CONFIGS = Path(__file__).parents[2] / "configs"
STUDY = {
    "name": "s",
    "encoder": "embedded:e5-small",
    "seeds": [0, 1, 2],
    "intermediates": ["none", "digits_text", "digits_image"],
    "targets": ["cldr_geo", "cldr_retrieval"],
    "configs": str(CONFIGS),
}


def plan_of(tmp_path, **changes):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({**STUDY, **changes}))
    return load_plan(file)


def test_every_cell_once_and_intermediates_shared(tmp_path):
    plan = plan_of(tmp_path)
    names = [c.name for c in plan.cells]
    assert len(set(names)) == len(names)
    # 2 intermediates × 3 seeds; 3 × 3 geo; retrieval on 2 × 3 encoders and once on the public one
    assert len(names) == 6 + 9 + 6 + 1
    seen = set()
    for cell in plan.cells:
        assert cell.depends is None or cell.depends in seen
        assert (cell.depends is None) == (cell.role == "intermediate" or cell.intermediate == "none")
        seen.add(cell.name)


def test_demo_study_plans():
    assert len(load_plan(CONFIGS / "study" / "demo.yaml").cells) == 4 + 6 + 5


def test_identity_changes_with_what_determines_the_outcome(tmp_path):
    before = {c.name: c.identity for c in plan_of(tmp_path).cells}
    same = {c.name: c.identity for c in plan_of(tmp_path, name="other").cells}
    assert before == same
    faster = {c.name: c.identity for c in plan_of(tmp_path, model={"learning_rate": 0.5}).cells}
    assert all(before[name] != faster[name] for name in before)
    digits = {"digits_image": {"trainer": {"max_steps": 3}}, "digits_text": None}
    longer = {c.name: c.identity for c in plan_of(tmp_path, intermediates=digits).cells}
    changed = {name for name in before if before[name] != longer[name]}
    assert changed == {name for name in before if name.startswith("digits_image")}


def test_settings_are_merged_over_the_file(tmp_path):
    plan = plan_of(
        tmp_path, trainer={"max_steps": 7}, targets={"cldr_geo": {"data": {"batch_size": 4}}}, data={"max_length": 16}
    )
    cell = next(c for c in plan.cells if c.target == "cldr_geo")
    init_args = cell.config["data"]["init_args"]
    assert (init_args["batch_size"], init_args["max_length"], init_args["pooling"]) == (4, 16, "mean")
    assert cell.config["trainer"]["max_steps"] == 7
    assert cell.config["run"]["intermediate"] == "none"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": [0]}, "unknown key 'seed'. Did you mean seeds"),
        ({"seeds": 3}, "'seeds' must be a list"),
        ({"seeds": [0, 0]}, "a seed occurs twice"),
        ({"seeds": [True]}, "'seeds' must be a list"),
        ({"targets": ["cldr_goe"]}, "no config for 'cldr_goe'"),
        ({"targets": []}, "'targets' is missing"),
        ({"targets": {"cldr_geo": {"modle": {}}}}, "unknown key 'modle'. Did you mean model"),
        ({"encoder": ""}, "'encoder' is missing"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(tmp_path, changes, message):
    with pytest.raises(StudyError, match=message):
        plan_of(tmp_path, **changes)


def test_unknown_task_in_a_config_suggests(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "x.yaml").write_text("data: {class_path: CldrGeoo}\n")
    with pytest.raises(StudyError, match=r"unknown task 'CldrGeoo'\. Did you mean CldrGeo"):
        plan_of(tmp_path, configs=str(tmp_path), intermediates=["none"], targets=["x"])


@pytest.mark.parametrize("text", ["a: [1", "- 1\n", ""])
def test_a_file_that_is_no_study_is_one_clear_error(tmp_path, text):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(StudyError, match=r"s\.yaml"):
        load_plan(tmp_path / "s.yaml")
    with pytest.raises(StudyError, match="no file"):
        load_plan(tmp_path / "none.yaml")
