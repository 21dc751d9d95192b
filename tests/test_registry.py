"""The registry: names, suggestions, plug-ins."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile

import pytest

import xmit
from xmit import registry
from xmit.errors import ConfigError, LanguageNotFoundError, TaskNotFoundError
from xmit.tasks import SequenceClassificationTask, TaskMetadata, register_task

MINI = """
from xmit.tasks import SequenceClassificationTask, TaskMetadata, register_task


@register_task
class Mini(SequenceClassificationTask):
    metadata = TaskMetadata(
        name="mini", roles=("target",), languages=("en",), main_score="accuracy", dataset="-", license="-",
        citation="-", description="-",
    )
    label_names = ("a", "b")

    def load_split(self, split, language):
        from datasets import Dataset

        return Dataset.from_dict({"id": ["1"], "text": ["x"], "label": [0]})
"""
FACTS = {
    "languages": ("en",),
    "main_score": "accuracy",
    "dataset": "-",
    "license": "-",
    "citation": "-",
    "description": "-",
}


@pytest.fixture(autouse=True)
def _restore(monkeypatch):
    monkeypatch.setattr(registry, "_TASKS", dict(registry._TASKS))


def make(name, qualname="Made", **facts):
    metadata = TaskMetadata(name=name, roles=("target",), **{**FACTS, **facts})
    cls = type(qualname, (SequenceClassificationTask,), {"metadata": metadata, "__module__": __name__})
    cls.__qualname__ = qualname
    return cls


def test_unknown_task_suggests_the_nearest():
    with pytest.raises(TaskNotFoundError, match=r"unknown task 'cldr_goe'\. Did you mean cldr_geo"):
        xmit.get_task("cldr_goe")


def test_taken_name_is_refused_but_a_cell_run_again_is_not():
    register_task(make("thing"))
    again = register_task(make("thing"))
    assert xmit.get_task("thing") is again
    with pytest.raises(ConfigError, match="'thing' is taken by"):
        register_task(make("thing", "Other"))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"license": ""}, "lacks license"),
        ({"languages": ("en", "en")}, "twice"),
        ({"roles": ("tarket",)}, "unknown role"),
    ],
)
def test_metadata_is_checked(facts, message):
    with pytest.raises(ConfigError, match=message):
        TaskMetadata(**{"name": "x", "roles": ("target",), **FACTS, **facts})


def test_class_without_metadata_is_refused():
    with pytest.raises(ConfigError, match="needs a class attribute"):
        register_task(type("Bare", (SequenceClassificationTask,), {}))


def test_list_tasks_by_role():
    everything, targets = xmit.list_tasks(), xmit.list_tasks(role="target")
    assert {"cldr_geo", "digits_image"} <= set(everything["name"])
    assert "digits_image" not in set(targets["name"])
    with pytest.raises(ConfigError, match="unknown role"):
        xmit.list_tasks(role="aim")


def test_languages_by_our_code_or_the_data_s_own():
    task = xmit.get_task("cldr_geo")
    assert task(languages=["fil", "sw"]).languages == ["tl", "sw"]
    with pytest.raises(LanguageNotFoundError, match="'xx'"):
        task(languages=["xx"])


def test_installed_plug_in_is_found_and_a_broken_one_only_warns(tmp_path):
    """A mini package, installed by pip beside ours, in a process of its own."""
    points = "[xmit.tasks]\nmini = mini_plugin:Mini\nbroken = mini_broken:Nothing\n"
    files = {
        "mini_plugin-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: mini-plugin\nVersion: 1.0\n",
        "mini_plugin-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "mini_plugin-1.0.dist-info/entry_points.txt": points,
        "mini_plugin-1.0.dist-info/RECORD": "",
        "mini_broken.py": "raise RuntimeError('no luck')\n",
        "mini_plugin.py": MINI,
    }
    wheel = tmp_path / "mini_plugin-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    site = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True)
    code = "import xmit, json; print(json.dumps(list(xmit.list_tasks()['name'])))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(site), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mini" in json.loads(done.stdout.splitlines()[-1])
    assert "'broken' of mini-plugin could not be loaded" in done.stderr
    assert "no luck" in done.stderr
