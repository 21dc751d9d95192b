"""Every shipped config runs through the command line; every registered task has complete facts."""

from __future__ import annotations

from pathlib import Path

import mini_hub_choices
import mini_hub_images
import mini_hub_texts
import pandas as pd
import pytest
import yaml
from mini_hub import IMAGE_LANGUAGES, LANGUAGES, Hub
from mini_hub_images import local_settings
from retrieval_tools import lareqa_files, squad_files

from xmit.__main__ import main
from xmit.languages import get_language
from xmit.registry import registered_tasks
from xmit.study.plan import load_plan
from xmit.study.results import load_results
from xmit.tasks.answers import AnswerTask
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.contrastive import ContrastiveTask
from xmit.tasks.image_matching import ImageRetrievalTask
from xmit.tasks.masked_lm import MaskedLMTask
from xmit.tasks.mining import BitextMiningTask
from xmit.tasks.multiple_choice import MultipleChoiceTask
from xmit.tasks.question_answering import QuestionAnsweringTask
from xmit.tasks.ranking import RankingTask
from xmit.tasks.retrieval import RetrievalTask
from xmit.tasks.token_classification import TokenClassificationTask

CONFIGS = Path(__file__).parents[1] / "configs"
ALL = sorted([*CONFIGS.glob("target/*.yaml"), *CONFIGS.glob("intermediate/*.yaml")])
MIXTURES = [path for path in ALL if "TaskMixture" in path.read_text()]
TASKS = [path for path in ALL if path not in MIXTURES]
BUILT_IN = {name: task for name, task in registered_tasks().items() if task.__module__.startswith("xmit.")}
FAMILIES = {  # family: the config that is also tested from its checkpoint
    SequenceClassificationTask: "pawsx",
    TokenClassificationTask: "udpos",
    QuestionAnsweringTask: "tydiqa",
    MultipleChoiceTask: "xcopa",
    RetrievalTask: "tatoeba",
    BitextMiningTask: "bucc2018",
    RankingTask: "lareqa",
    ContrastiveTask: "digits_text",
    AnswerTask: "xgqa",
    ImageRetrievalTask: "xflickrco",
    MaskedLMTask: "masked_lm",
}
TOWER = {"name": "embedded:digits", "weights": None, "random": True}  # training the tower takes long
pytestmark = pytest.mark.filterwarnings("ignore")


def _some_later(paths):
    """Of the tasks with images one a family in the fast suite, and one mixture; the others are slow tests."""
    soon = {"snli_ve", "nlvr2", "image_mlm", "xgqa", "xflickrco", "emoji_names"}
    later = set(IMAGE_LANGUAGES) - soon | {"text_and_image_text", "text_mix"}
    return [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in later)) for path in paths]


@pytest.fixture(scope="session")
def miniatures(tmp_path_factory):
    """The hub with a handful of rows of everything, and LAReQA's files, which are on no hub."""
    hub = Hub(tmp_path_factory.mktemp("hub"))
    for miniatures in (mini_hub_choices, mini_hub_texts, mini_hub_images):
        hub.fill(miniatures.BUILDERS)
    squad_files(lareqa_files(hub.folder / "files" / "lareqa"))
    return hub


def settings_for(config, encoder, hub):
    """What a test sets otherwise than the config: the encoder, the data, and two steps of four."""
    data = {}
    if config.stem in LANGUAGES:
        data = {"languages": LANGUAGES[config.stem], "batch_size": 4}
    data |= {
        "bucc2018": {"threshold_on": "test"},  # the hub has no development corpora
        "lareqa": {"data_dir": str(hub.folder / "files" / "lareqa")},
        "ccg": {"data_dir": str(hub.folder / "files" / "ccg")},
        "cldr_retrieval": {"layer": 2},  # the tiny encoder has no layer 12
        **local_settings(hub),
    }.get(config.stem, {})
    trainer = {"enable_progress_bar": False, "enable_model_summary": False, "precision": "32-true", "logger": False}
    if BUILT_IN[config.stem].trains:
        trainer |= {"max_steps": 2, "val_check_interval": 2, "check_val_every_n_epoch": None}
    quick = {"model": {"encoder": encoder}, "trainer": trainer, "data": {"init_args": data}}
    if yaml.safe_load(config.read_text())["model"].get("vision"):
        quick["model"]["vision"] = TOWER
    return quick


def main_scores(folder, languages):
    """The main score of each language, one a language; of all scores NaN only with a reason."""
    rows = load_results(folder)
    assert (rows.value.notna() | rows.reason.ne("")).all()
    scored = rows[rows.is_main & (rows.split == "test")].set_index("language")
    assert sorted(scored.index) == sorted(languages)
    assert (scored.value.between(0, 1) | scored.value.isna()).all()
    return scored


@pytest.mark.parametrize("config", _some_later(TASKS), ids=lambda path: path.stem)
def test_config_runs(config, tiny_encoder, tmp_path, miniatures, monkeypatch):
    name, task = config.stem, BUILT_IN[config.stem]
    assert yaml.safe_load(config.read_text())["data"]["class_path"] == f"xmit.tasks.{task.__name__}"
    miniatures.install(monkeypatch)
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(settings_for(config, tiny_encoder, miniatures)))
    files = ["--config", str(config), "--config", str(tmp_path / "quick.yaml")]
    assert main(["fit", *files, "--output", str(tmp_path / "r")]) == 0
    languages = LANGUAGES.get(name, task.metadata.languages)
    target = config.parent.name == "target"
    if target:
        scored = main_scores(tmp_path / "r", languages)
        assert set(scored.target) == {name}
        assert scored.n.gt(0).all()
        assert set(scored.metric) == {task.metadata.main_score}
    else:
        assert set(load_results(tmp_path / "r").target) == {""}
        assert (tmp_path / "r" / "encoder" / "model.safetensors").is_file()
    if name in FAMILIES.values():
        checkpoint = ["--ckpt_path", str(tmp_path / "r" / "checkpoints" / "best.ckpt")] if task.trains else []
        assert main(["test", *files, *checkpoint, "--output", str(tmp_path / "t")]) == 0
        again = main_scores(tmp_path / "t", languages)
        if target:
            assert again[["value", "n"]].equals(scored[["value", "n"]])


@pytest.mark.parametrize("config", _some_later(MIXTURES), ids=lambda path: path.stem)
def test_mixture_runs(config, tiny_encoder, tmp_path, miniatures, monkeypatch):
    miniatures.install(monkeypatch)
    content = yaml.safe_load(config.read_text())
    content["model"]["encoder"] = tiny_encoder
    if "vision" in content["model"]:
        content["model"]["vision"] = TOWER
    content["trainer"] |= {"max_steps": 3, "val_check_interval": 3, "enable_progress_bar": False, "accelerator": "cpu"}
    names = {cls.__name__: name for name, cls in BUILT_IN.items()}
    tasks = [names[part["class_path"].rpartition(".")[2]] for part in content["data"]["init_args"]["tasks"]]
    for name, part in zip(tasks, content["data"]["init_args"]["tasks"], strict=True):
        part["init_args"] |= {"batch_size": 2, "languages": LANGUAGES[name]}
        part["init_args"] |= local_settings(miniatures).get(name, {})
        if name == "ccg":
            part["init_args"]["data_dir"] = str(miniatures.folder / "files" / "ccg")
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(content))
    assert main(["fit", "--config", str(tmp_path / "quick.yaml"), "--output", str(tmp_path / "r")]) == 0
    rows = load_results(tmp_path / "r")
    assert set(rows["intermediate"]) == {config.stem}
    assert {metric.partition("/")[0] for metric in rows[rows.is_main]["metric"]} == set(tasks)
    if config.stem == "all_nine":
        assert len(tasks) == 9


def test_early_stopping_is_saved_and_stops(tiny_encoder, tmp_path, miniatures, monkeypatch):
    miniatures.install(monkeypatch)
    config = CONFIGS / "intermediate" / "hellaswag.yaml"
    quick = settings_for(config, tiny_encoder, miniatures)
    del quick["trainer"]["logger"]
    quick["trainer"] |= {"max_steps": -1, "val_check_interval": 1}  # 3 epochs of 2 updates
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(quick))
    first, again, second = (tmp_path / name for name in ("first", "again", "second"))
    assert main(["fit", "--config", str(config), "--config", str(tmp_path / "quick.yaml"), "--output", str(first)]) == 0
    saved = yaml.safe_load((first / "config.yaml").read_text())
    (stop,) = saved["trainer"]["callbacks"]
    assert stop["class_path"].endswith("EarlyStopping")
    assert (stop["init_args"]["monitor"], stop["init_args"]["mode"], stop["init_args"]["patience"]) == (
        "main_score", "max", 30,
    )  # fmt: skip
    stop["init_args"] |= {"patience": 1, "min_delta": 1.0}  # nothing is that much better
    (tmp_path / "saved.yaml").write_text(yaml.safe_dump(saved))
    assert main(["fit", "--config", str(first / "config.yaml"), "--output", str(again)]) == 0
    assert main(["fit", "--config", str(tmp_path / "saved.yaml"), "--output", str(second)]) == 0
    validations = [len(pd.read_csv(folder / "log.csv")["main_score"].dropna()) for folder in (first, again, second)]
    assert validations == [7, 7, 3]  # one more is that of the checkpoint chosen


def test_every_task_has_a_config_and_a_family_that_is_tested():
    assert sorted(path.stem for path in TASKS) == sorted(BUILT_IN)
    for name, task in BUILT_IN.items():
        assert any(issubclass(task, family) for family in FAMILIES), name
        assert name in LANGUAGES or "embedded" in task.metadata.roles, f"tests/mini_hub.py lacks a miniature of {name}"
    assert all(issubclass(BUILT_IN[name], family) for family, name in FAMILIES.items())


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("study/*.yaml")), ids=lambda path: path.stem)
def test_study_plans(config):
    assert load_plan(config).cells


def test_the_table_of_the_paper_is_one_study(capsys):
    """(1 + 9 + 1 + rivals) × targets × seeds; every intermediate once a seed, shared by its targets."""
    cells = load_plan(CONFIGS / "study" / "stilts.yaml").cells
    trained = [cell for cell in cells if cell.role == "intermediate"]
    names = list(dict.fromkeys(cell.intermediate for cell in trained))
    assert len(names) == 9 + 1 + 6
    assert len(trained) == len(names) * 3
    targets = [cell for cell in cells if cell.role == "target"]
    untrained = 2 * 2  # retrieval on the public encoder does not depend on the seed
    assert len(targets) == (1 + len(names)) * 9 * 3 - untrained
    assert {cell.depends for cell in targets if cell.intermediate != "none"} == {cell.name for cell in trained}
    assert main(["study", "--config", str(CONFIGS / "study" / "stilts.yaml"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert f"{len(cells)} cells" in printed
    assert "GPU hours" in printed
    assert sum(line.startswith("to run") for line in printed.splitlines()) == len(cells)


def test_images_and_their_controls_differ_in_images_alone():
    """Five seeds; every training of the study is as long, and the controls see the same batches."""
    cells = load_plan(CONFIGS / "study" / "multimodal.yaml").cells
    trained = {cell.intermediate: cell.config for cell in cells if cell.role == "intermediate"}
    assert {cell.seed for cell in cells} == set(range(5))
    assert {config["trainer"]["max_steps"] for config in trained.values()} == {20_000}
    assert not any(config["trainer"].get("callbacks") for config in trained.values())
    real = trained["image_text_mix"]
    for control in ("shuffled", "none"):
        config = trained[f"image_text_mix_{control}"]
        assert config["data"]["init_args"] == real["data"]["init_args"] | {
            "name": f"image_text_mix_{control}", "images": control,
        }  # fmt: skip
        assert config["trainer"] == real["trainer"]
        assert config["model"] == real["model"] | ({"vision": None} if control == "none" else {})
    assert all("vision" not in cell.config["model"] for cell in cells if cell.role == "target")


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
