"""Every shipped config runs through the command line; every registered task has complete facts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from xmit.__main__ import main
from xmit.languages import get_language
from xmit.registry import registered_tasks
from xmit.study.plan import load_plan
from xmit.study.results import load_results

CONFIGS = Path(__file__).parents[1] / "configs"
TASKS = sorted([*CONFIGS.glob("target/*.yaml"), *CONFIGS.glob("intermediate/*.yaml")])
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("config", TASKS, ids=lambda path: path.stem)
def test_config_runs(config, tiny_encoder, tmp_path):
    quick = {
        "model": {"encoder": tiny_encoder},
        "trainer": {"enable_progress_bar": False, "enable_model_summary": False, "precision": "32-true"},
    }
    settings = yaml.safe_load(config.read_text())
    if settings["data"]["class_path"] == "xmit.tasks.CldrRetrieval":
        quick["data"] = {"init_args": {"layer": 2}}  # the tiny encoder has no layer 12
    else:
        quick["trainer"] |= {"max_steps": 2, "val_check_interval": 2}
    if settings["model"].get("vision"):
        quick["model"]["vision"] = {"name": "embedded:digits", "random": True}  # training the tower takes long
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(quick))
    assert (
        main(
            ["fit", "--config", str(config), "--config", str(tmp_path / "quick.yaml"), "--output", str(tmp_path / "r")]
        )
        == 0
    )
    rows = load_results(tmp_path / "r")
    name = config.stem
    task = registered_tasks()[name]
    assert settings["data"]["class_path"].rsplit(".", 1)[1] == task.__name__
    scored = rows[rows.is_main & (rows.split == "test")]
    if config.parent.name == "target":
        assert set(scored.language) == set(task.metadata.languages)
    else:
        assert set(rows.target) == {""}
        assert (tmp_path / "r" / "encoder" / "model.safetensors").is_file()


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("study/*.yaml")), ids=lambda path: path.stem)
def test_study_plans(config):
    assert load_plan(config).cells


@pytest.mark.parametrize("model", sorted(CONFIGS.glob("model/*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("trainer", sorted(CONFIGS.glob("trainer/*.yaml")), ids=lambda path: path.stem)
def test_fragments_combine(model, trainer, capsys):
    files = [CONFIGS / "target" / "cldr_geo.yaml", model, trainer]
    with pytest.raises(SystemExit) as done:
        main(["fit", *(word for file in files for word in ("--config", str(file))), "--print_config"])
    assert done.value.code in (0, None)
    assert yaml.safe_load(model.read_text())["model"]["encoder"] in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(registered_tasks()))
def test_task_facts_are_complete(name):
    task = registered_tasks()[name]
    facts = task.metadata
    assert facts.description
    assert facts.citation
    assert task.__doc__
    for code in facts.languages:
        assert get_language(code).code == code
    assert set(facts.overlaps) <= set(registered_tasks())
