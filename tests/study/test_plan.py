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


AXES = {
    "intermediate": {"train_examples": [100, None]},
    "target": {"length": {"short": {"trainer": {"max_steps": 5}}, "long": {"trainer": {"max_steps": 50}}}},
}


def test_axes_multiply_entries_but_not_the_baseline(tmp_path):
    plan = plan_of(tmp_path, axes=AXES, intermediates=["digits_text"], targets=["cldr_geo"], seeds=[0])
    assert [c.name for c in plan.cells] == [
        "digits_text@train_examples=100-s0",
        "digits_text@train_examples=default-s0",
        *(
            f"{i}--cldr_geo@length={length}-s0"
            for i in ("none", "digits_text@train_examples=100", "digits_text@train_examples=default")
            for length in ("long", "short")
        ),
    ]
    first, cell = plan.cells[0], plan.cells[-1]
    assert first.config["data"]["init_args"]["train_examples"] == 100
    assert cell.config["trainer"]["max_steps"] == 5
    assert cell.config["run"]["target"] == "cldr_geo@length=short"
    assert cell.depends == "digits_text@train_examples=default-s0"
    assert len({c.identity for c in plan.cells}) == len(plan.cells)


def test_an_identity_is_of_content_not_of_order_or_company(tmp_path):
    before = {c.name: c.identity for c in plan_of(tmp_path).cells}
    other = {
        "intermediates": ["digits_image", "digits_text", "none"],
        "targets": ["cldr_terms", "cldr_retrieval", "cldr_geo"],
        "seeds": [2, 1, 0, 7],
        "checkpoints": {"minutes": 1, "keep": "best"},
        "trainer": {"logger": False, "log_every_n_steps": 3},
        "resources": {"num_cpus": 2},
    }
    after = {c.name: c.identity for c in plan_of(tmp_path, **other).cells}
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed <= {"none--cldr_retrieval-s0"}  # the one seed that stands for all, which is another one now
    assert len(after) > len(before)


def test_several_encoders(tmp_path, tiny_encoder):
    encoders = {"embedded:e5-small": None, tiny_encoder: {"trainer": {"max_steps": 3}}}
    plan = plan_of(tmp_path, encoder=encoders, intermediates=["digits_text"], targets=["cldr_geo"], seeds=[0])
    tiny = Path(tiny_encoder).name
    cells = {c.name: c for c in plan.cells}
    assert set(cells) == {
        f"{prefix}--{rest}"
        for prefix in ("embedded-e5-small", tiny)
        for rest in ("digits_text-s0", "none--cldr_geo-s0", "digits_text--cldr_geo-s0")
    }
    cell = cells[f"{tiny}--digits_text--cldr_geo-s0"]
    assert cell.config["trainer"]["max_steps"] == 3
    assert cell.config["model"]["encoder"] == tiny_encoder
    assert cell.depends == f"{tiny}--digits_text-s0"


def test_another_content_of_an_encoder_folder_is_another_identity(tmp_path, tiny_encoder):
    import shutil

    from xmit.study.plan import encoder_version

    folder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, folder)
    first = encoder_version(str(folder))
    assert encoder_version(tiny_encoder) == first
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert encoder_version(str(folder)) != first
    assert encoder_version("FacebookAI/xlm-roberta-base") is None


def test_what_overlaps_a_target_is_held_out_and_part_of_the_identity(tmp_path):
    def identities(**changes):
        plan = plan_of(tmp_path, intermediates=["mnli", "qqp"], targets=["xnli", "tatoeba"], seeds=[0], **changes)
        return {c.name: c for c in plan.cells}

    drop, ignore = identities(), identities(leakage="ignore")
    assert [task["class_path"] for task in drop["mnli-s0"].config["held_out"]] == ["xmit.tasks.XNLI"]
    assert "held_out" not in drop["qqp-s0"].config
    assert drop["mnli-s0"].identity != ignore["mnli-s0"].identity
    assert drop["mnli--tatoeba-s0"].identity != ignore["mnli--tatoeba-s0"].identity
    assert drop["qqp-s0"].identity == ignore["qqp-s0"].identity
    thorough = identities(leakage="thorough")["qqp-s0"].config["held_out"]
    assert [task["class_path"] for task in thorough] == ["xmit.tasks.Tatoeba", "xmit.tasks.XNLI"]
    assert identities(leakage="refuse")["mnli-s0"].config["on_shared"] == "refuse"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": {"targets": {}}}, "unknown key 'targets'. Did you mean target"),
        ({"axes": {"target": {"train_examples": 5}}}, "'train_examples' must be a list of values"),
        ({"axes": {"target": {"data_dir": ["/a/b"]}}}, "'/a/b' cannot stand in the name of a folder"),
        ({"axes": {"target": {"train_examples": [1, 1]}}}, "'1' cannot stand in the name of a folder, or stands"),
        ({"axes": {"target": {"x": {"a": {"seed": 3}}}}}, "unknown key 'seed'"),
        ({"targets": ["cldr_geo", "cldr_geo"]}, "'cldr_geo' stands twice in 'targets'"),
        ({"targets": {"mnli": {"config": str(CONFIGS / "intermediate" / "mnli.yaml")}}}, "'mnli' is no target"),
        (
            {"intermediates": {"geo": {"config": str(CONFIGS / "target" / "cldr_retrieval.yaml")}}},
            "'geo' trains nothing, so it is no intermediate",
        ),
        ({"leakage": "dorp"}, "leakage must be one of drop, .*Did you mean drop"),
        ({"checkpoints": {"minute": 3}}, "unknown key 'minute'. Did you mean minutes"),
        ({"checkpoints": {"keep": "some"}}, "checkpoints.keep must be one of none, best, all"),
        ({"resources": {"num_gpu": 1}}, "num_gpu: 1 is not one of"),
        ({"encoder": ["a/x", "b/x"]}, "two cells would be called"),
    ],
)
def test_impossible_plans_are_refused(tmp_path, changes, message):
    from xmit.errors import XmitError

    with pytest.raises(XmitError, match=message):
        plan_of(tmp_path, **changes)
