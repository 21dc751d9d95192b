"""Every target task on the real data of ../shared/data: what it loads, and a short run of each from the command line.

Counts per language of XNLI, PAWS-X, XCOPA, SIB-200, NusaX, UD-POS, MasakhaNER, XQuAD, MLQA, TyDiQA and Tatoeba are
asserted beside their tasks (``test_*_targets.py``, ``test_classification_files.py``); here what those leave out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from xmit.__main__ import main
from xmit.registry import registered_tasks
from xmit.study.results import load_results
from xmit.tasks import target as targets

pytestmark = [pytest.mark.realdata, pytest.mark.filterwarnings("ignore")]

# config, options of the task, languages of the test: two or three small ones of those that are there
RUNS: dict[str, tuple[dict[str, str], list[str]]] = {
    "xnli": ({"train_file": "nli/mnli/dev.csv", "test_split": "validation"}, ["en", "vi"]),
    "americas_nli": ({"train_file": "nli/mnli/dev.csv", "test_split": "validation"}, ["oto", "nah"]),
    "pawsx": ({"test_split": "validation"}, ["de", "zh"]),
    "xcopa": ({"train_from": "copa"}, ["sw", "th"]),
    "sib200": ({}, ["eng_Latn", "wol_Latn", "sat_Olck"]),
    "nusax": ({}, ["en", "bjn"]),
    "udpos": ({}, ["mr", "tl", "ta"]),
    "masakhaner2": ({}, ["wo"]),
    "mlqa": ({"train_from": "tydiqa", "test_split": "validation"}, ["es", "zh"]),
    "tydiqa": ({}, ["bn", "ko"]),
    "xquad": ({"train_from": "tydiqa"}, ["th"]),
    "tatoeba": ({}, ["ta", "th"]),
    "emoji_names": ({}, ["de", "nso", "tl"]),
}
WITHOUT_DATA = {
    **dict.fromkeys(("afri_xnli", "belebele", "bucc2018", "lareqa", "mewslix", "panx", "xstory_cloze"), "no files"),
    **dict.fromkeys(("xvnli", "marvl"), "no photographs and no training files, but annotations: see test_image_text"),
    **{"xgqa": "no photographs, and few-shot questions only: see test_image_text"},
    **dict.fromkeys(("xflickrco", "xm3600"), "neither captions nor photographs"),
}


@pytest.fixture
def data(real_data: Callable[[str], str], tmp_path: Path) -> Callable[[str], str]:
    """The ``data_dir`` of a task; for two of them links that let other English files stand in for absent training."""
    english = "UNER_English-EWT/en_ewt-ud-"
    links = {f"pawsx/{path.name}": path for path in (real_data / "pawsx").iterdir()}
    links["pawsx/train-en.tsv"] = real_data / "pawsx/dev-en.tsv"
    links[f"{english}train.iob2"] = real_data / f"uner/{english}dev.iob2"
    links[f"{english}dev.iob2"] = real_data / f"uner/{english}test.iob2"
    links["nc"] = real_data / "nc"
    folder = tmp_path / "linked"
    for name, path in links.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(path)
    return lambda task: str(folder if task in ("pawsx", "masakhaner2") else real_data)


def test_every_target_is_here_or_has_no_data() -> None:
    names = {name for name, cls in registered_tasks().items() if cls.__module__.startswith("xmit.tasks.target")}
    assert names == RUNS.keys() | WITHOUT_DATA.keys()
    assert not RUNS.keys() & WITHOUT_DATA.keys()


def test_english_stands_in_where_training_files_are_absent(data: Callable[[str], str]) -> None:
    expected = {"masakhaner2": (2001, 2077), "pawsx": (2000, 2000 - 114)}
    for name, counts in expected.items():
        task = registered_tasks()[name](data_dir=data(name))
        assert tuple(len(task.table(split)) for split in ("train", "validation")) == counts, name


def test_one_data_dir_holds_all(data: Callable[[str], str]) -> None:
    """A user gives one folder for all tasks; the counts are those of SOURCES.md."""
    expected = {
        **{"xnli": 2490 * 2, "americas_nli": 222 + 585, "xcopa": 500 * 2, "sib200": 204 * 3, "nusax": 400 * 2},
        **{"udpos": 47 + 128 + 120, "masakhaner2": 1312, "mlqa": 500 + 504, "tydiqa": 113 + 276, "xquad": 1190},
        **{"tatoeba": 307 + 548, "emoji_names": 343 + 232 + 339},
    }
    for name, (options, languages) in RUNS.items():
        table = registered_tasks()[name](data_dir=data(name), languages=languages, **options).table("test")
        if name != "pawsx":  # its untranslated items are dropped in all languages: see test_classification_files
            assert len(table) == expected[name], name
        assert set(table["language"]) == set(registered_tasks()[name](languages=languages).languages)


def test_english_qa_trains_all_three(real_data: Path) -> None:
    settings = {"data_dir": str(real_data), "train_from": "tydiqa"}
    sizes = {len(cls(**settings).table("train")) for cls in (targets.MLQA, targets.TyDiQA, targets.XQuAD)}
    assert len(sizes) == 1


def test_published_sizes_are_those_of_the_real_data(real_data: Path, recwarn: pytest.WarningsRecorder) -> None:
    english: dict[str, tuple[str, ...]] = {
        **dict.fromkeys(("sib200", "nusax", "tydiqa"), ("train", "validation", "test")),
        **{"xcopa": ("train", "validation"), "xquad": ("test",), "xnli": ("validation",), "mlqa": ("validation",)},
    }
    for name, splits in english.items():
        cls = registered_tasks()[name]
        task = cls(data_dir=str(real_data), languages=["en"] if "en" in cls.metadata.languages else ["et"])
        for split in splits:
            assert len(task.table(split)) == cls.metadata.sizes[split], (name, split)
    assert not [w for w in recwarn if "published" in str(w.message)]


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_short_run_of(name: str, data: Callable[[str], str], tmp_path: Path) -> None:
    options, languages = RUNS[name]
    arguments = [
        *("--config", f"configs/target/{name}.yaml", "--data.data_dir", data(name)),
        *("--model.encoder", "embedded:e5-small", "--model.embedding", "frozen", "--trainer.accelerator", "cpu"),
        *("--trainer.max_steps", "20", "--trainer.max_epochs", "-1", "--trainer.val_check_interval", "20"),
        *("--trainer.check_val_every_n_epoch", "null", "--trainer.enable_progress_bar", "false"),
        *("--data.batch_size", "4", f"--data.languages=[{','.join(languages)}]"),
        *(word for key, value in options.items() for word in (f"--data.{key}", value)),
    ]
    assert main(["fit", *arguments, "--no_test", "--output", str(tmp_path / "fit")]) == 0
    checkpoint = tmp_path / "fit" / "checkpoints" / "best.ckpt"
    assert checkpoint.is_file() == registered_tasks()[name].trains
    loaded = ["--ckpt_path", str(checkpoint)] if checkpoint.is_file() else []
    assert main(["test", *arguments, *loaded, "--output", str(tmp_path / "scored")]) == 0
    rows = load_results(tmp_path / "scored")
    rows = rows[rows.is_main & (rows.split == "test")]
    assert list(rows["language"]) == registered_tasks()[name](languages=languages).languages
    assert rows["value"].between(0, 1).all()
    assert len(pd.read_parquet(tmp_path / "scored" / "predictions.parquet")) >= rows["n"].sum()
