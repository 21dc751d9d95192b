"""Image-text tasks on miniatures in both layouts: their rows, and where their images lie."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import mini_image_files as mini
import numpy as np
import pytest
import torch
from image_tools import Tower
from mini_hub import IMAGE_LANGUAGES, Hub
from mini_hub_images import BUILDERS
from PIL import Image

from xmit.data.image_files import ImageSources, find_images, image_source
from xmit.data.images import content_key, open_image
from xmit.errors import ConfigError, DataError, MissingDataError
from xmit.modules.scoring import prediction_rows
from xmit.registry import get_task

pytestmark = pytest.mark.filterwarnings("ignore:task .* rows instead of the published")
BOTH = {  # task: the files of its original release
    "snli_ve": mini.snli_ve_files,
    "vqa_v2": mini.vqa_files,
    "gqa": mini.gqa_files,
    "flickr30k_itm": mini.flickr_files,
    "coco_itm": mini.coco_files,
    "image_mlm": mini.flickr_files,
    "xvnli": lambda folder: mini.xvnli_files(folder, ["ar", "en"]),
    "xgqa": lambda folder: mini.xgqa_files(folder, ["de", "en"]),
    "xflickrco": lambda folder: mini.xflickrco_files(folder, ["en", "tr"]),
    "xm3600": lambda folder: mini.xm3600_files(folder, ["en", "quz", "fil"]),
    "marvl": lambda folder: mini.marvl_files(folder, ["sw", "zh"]),
}
FILES_ONLY = {"nlvr2": mini.nlvr2_files, "nlvr": mini.nlvr_files, "emoji": mini.emoji_files}
FILES_ONLY |= dict.fromkeys(("emoji_itm", "emoji_names"), mini.emoji_files)
BY_NUMBER = ("snli_ve", "xvnli", "xgqa")  # the hub's rows have no ids


@pytest.fixture(scope="session")
def image_hub(tmp_path_factory):
    hub = Hub(tmp_path_factory.mktemp("hub"))
    hub.fill({name: BUILDERS[name] for name in BOTH})
    return hub


@pytest.fixture
def hub(image_hub, monkeypatch):
    image_hub.install(monkeypatch)
    return image_hub


def emoji(tmp_path, tokenizer):
    task = get_task("emoji")(data_dir=str(mini.emoji_files(tmp_path / "emoji")))
    task.bind(tokenizer, Tower())
    return task


def splits_of(name):
    task = get_task(name)
    if not task.trains:
        return ("test",)
    return ("train", "validation") if name == "vqa_v2" else ("train", "validation", "test")


def pixels(task, table):
    """The decoded images of every row, column by column."""
    opened = [np.asarray(open_image(source)) for source in ImageSources(table, task.image_columns)]
    n = len(task.image_columns)
    return [opened[i : i + n] for i in range(0, len(opened), n)]


@pytest.mark.parametrize("name", sorted(BOTH))
def test_hub_and_original_files_say_the_same(name, hub, tmp_path):
    languages = IMAGE_LANGUAGES[name]
    files = get_task(name)(languages=languages, data_dir=str(BOTH[name](tmp_path)))
    folder = {"coco_itm": {"image_dir": str(hub.folder / "files" / "coco")}}.get(name, {})
    online = get_task(name)(languages=languages, **folder)
    for split in splits_of(name):
        if name == "marvl" and split != "test":
            with pytest.raises(DataError, match="no hub has the training images"):
                online.table(split)
            continue
        one, two = files.table(split), online.table(split)
        columns = [c for c in files.columns if c not in files.image_columns and (c != "id" or name not in BY_NUMBER)]
        for column in columns:
            assert list(one[column]) == list(two[column]), (split, column)
        for a, b in zip(pixels(files, one), pixels(online, two), strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
        if files.metadata.parallel and split == "test":
            for task, table in ((files, one), (online, two)):
                own = {code: [i for i, c in zip(table["id"], table["language"], strict=True) if c == code]
                       for code in task.languages}  # fmt: skip
                assert len({tuple(ids) for ids in own.values()}) == 1


def test_the_rows_are_those_of_the_data(tmp_path):
    for name, build in {**BOTH, **FILES_ONLY}.items():
        folder = build(tmp_path / name)
        task = get_task(name)(languages=IMAGE_LANGUAGES[name], data_dir=str(folder))
        n = len(task.languages)
        rows = {split: len(task.table(split)) for split in splits_of(name)}
        expected = {"train": mini.N["train"], "validation": mini.N["validation"], "test": mini.N["test"] * n}
        if name in ("snli_ve", "xvnli"):  # one pair of each has no label
            expected = {"train": 11, "validation": 5, "test": 4 * n}
        elif name in ("flickr30k_itm", "coco_itm", "image_mlm", "xflickrco"):
            expected = {"train": 24, "validation": 12, "test": 10}
            expected |= {"train": 48} if name == "coco_itm" else {"test": 10} if name == "xflickrco" else {}
        elif name == "nlvr":  # two orders of the boxes
            expected["train"] *= 2
        elif name == "xm3600":
            expected = {"test": 5 * 3 * 3}
        elif name.startswith("emoji"):
            expected = rows
            assert name == "emoji_names" or sum(rows.values()) == 60
        assert rows == {split: expected[split] for split in rows}, name


def test_nlvr_shows_each_image_in_all_orders_of_its_boxes_that_are_there(tmp_path, tokenizer):
    folder = str(mini.nlvr_files(tmp_path))
    task = get_task("nlvr")(data_dir=folder)
    table = task.table("train")
    for row in table:
        statement, order = row["id"].rpartition("-")[::2]
        assert row["image"].endswith(f"/train-{statement}-{order}.png")
    assert Counter(key[-1] for key in table["id"]) == {"0": 12, "1": 12}
    assert Counter(Counter(table["statement"]).values()) == {2: 12}
    assert list(get_task("nlvr")(data_dir=folder, orders=1).table("train")["id"]) == table["id"][:12]
    assert list(get_task("nlvr")(data_dir=folder, images="none").table("train")["id"]) == list(table["id"])
    (tmp_path / "train" / "images.tar").unlink()
    assert len(get_task("nlvr")(data_dir=folder, images="none").table("train")) == 6 * 12  # as in the release
    with pytest.raises(MissingDataError, match="none of its 12 images"):
        get_task("nlvr")(data_dir=folder).table("train")
    with pytest.raises(ConfigError, match="from 1 to 6"):
        get_task("nlvr")(orders=7)
    # what stands beside one statement is one piece of evidence
    task.bind(tokenizer, Tower())
    items = torch.arange(5)
    decoded = {"item": items, "prediction": items % 2, "scores": torch.full((5, 2), 0.5)}
    rows = prediction_rows(task, decoded, "test")
    assert rows["cluster"].tolist() == list(task.table("test")["statement"])
    assert prediction_rows(emoji(tmp_path, tokenizer), decoded, "train")["cluster"].isna().all()


def test_two_images_stand_beside_a_statement(tmp_path, tokenizer):
    task = get_task("nlvr2")(data_dir=str(mini.nlvr2_files(tmp_path)), batch_size=4)
    spec = Tower()
    task.bind(tokenizer, spec)
    batch = next(iter(task.train_dataloader()))
    assert batch["text"]["image"].shape == (4, 4, 4)
    table = task.table("train")
    for item, features in zip(batch["item"].tolist(), batch["text"]["image"], strict=True):
        identifier = table[item]["id"].rpartition("-")[0]
        keys = [content_key(mini.image(f"{identifier}-img{n}.png")) for n in (0, 1)]
        assert torch.equal(features, spec.batch([keys])[0])
    assert task.evaluation_batches("validation").batches  # visual tokens count
    assert task.visual_tokens == 4
    assert "folder" not in table.column_names


# -- lazily, and without trust -------------------------------------------------------------------------------


def test_nothing_is_decoded_before_it_is_asked_for(hub, tmp_path, monkeypatch):
    task = get_task("emoji")(data_dir=str(mini.emoji_files(tmp_path / "emoji")))
    pictures = get_task("flickr30k_itm")()
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", lambda *_, **__: pytest.fail("decoded"))
        assert len(task.table("train")) > 20
        images = task.split_images("train")
        assert len(images) == len(task.table("train"))
        assert len(pictures.split_images("train")) == 24
    assert open_image(images[0]).size == (20, 16)
    assert [image.size for image in task.preview(split="train", n=2)["image"]] == [(20, 16)] * 2
    assert pictures.preview(split="train", n=1)["image"][0].size == (20, 16)


def test_images_are_looked_for_where_they_may_lie(tmp_path):
    mini.images(tmp_path / "a" / "images", ["x.png"])
    mini.images(tmp_path / "b", ["y.png", "x.png"])
    folders = [tmp_path / "a", tmp_path / "b"]
    found = find_images(folders, ["x.png", "y.png", "x.png"], ["{name}", "images/{name}"], "t")
    assert found == [f"{tmp_path}/a/images/x.png", f"{tmp_path}/b/y.png", f"{tmp_path}/a/images/x.png"]
    with pytest.raises(MissingDataError, match=r"none of its 1 images is there; looked for z.png or .*image_dir"):
        find_images(folders, ["z.png"], ["{name}", "images/{name}"], "t")


def test_archives_are_read_by_member(tmp_path):
    mini.tar(tmp_path / "i.tar", {"a.png": mini.file_bytes("a.png"), "b.png": b""})
    assert np.array_equal(np.asarray(open_image(image_source(f"{tmp_path}/i.tar::a.png"))), mini.image("a.png"))
    with pytest.raises(DataError, match=r"i\.tar has no file c\.png"):
        open_image(image_source(f"{tmp_path}/i.tar::c.png"))
    (tmp_path / "j.tar").write_bytes(b"no archive at all" * 50)
    with pytest.raises(DataError, match=r"j\.tar is no zip and no uncompressed tar archive"):
        find_images([tmp_path], ["a.png"], ["j.tar::{name}"], "t")


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_bad_images_are_refused_or_their_rows_left_out(damage, tmp_path, tokenizer):
    folder = mini.snli_ve_files(tmp_path)
    victim = folder / "flickr30k-images" / "1001.jpg"
    if damage == "cut":
        victim.write_bytes(victim.read_bytes()[:60])
    else:
        victim.unlink()
    strict, lax = (get_task("snli_ve")(data_dir=str(folder), on_bad_image=how) for how in ("refuse", "skip"))
    for task in (strict, lax):
        task.bind(tokenizer, Tower())
    with pytest.raises(DataError, match=r"1001\.jpg"):
        strict.examples("train")
    table, examples = lax.table("train"), lax.examples("train")
    kept = [row for row in table if not row["image"].endswith("1001.jpg")]
    assert 0 < len(examples) == len(kept) == len(table) - 2  # one of its three pairs has no label
    assert examples.ids == [row["id"] for row in kept]
    assert examples.labels.tolist() == [row["label"] for row in kept]
    assert examples.images["text"] == [
        (content_key(mini.image(row["image"].rpartition("/")[2])),) for row in kept
    ]  # fmt: skip


# -- errors that name the file -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "build", "file", "content", "message"),
    [
        ("gqa", mini.gqa_files, "train_balanced_questions.json", '{"1": {"imageId": "n0"}}',
         "entry '1' has no 'question'"),
        ("gqa", mini.gqa_files, "train_balanced_questions.json", "[]", "no entries"),
        ("vqa_v2", mini.vqa_files, "v2_mscoco_train2014_annotations.json",
         '{"annotations": [{"question_id": 0, "answers": []}]}', "no answers to question 1"),
        ("flickr30k_itm", mini.flickr_files, "dataset_flickr30k.json", '{"images": [{"filename": "a"}]}',
         "entry 0 has no 'split'"),
        ("snli_ve", mini.snli_ve_files, "snli_ve_train.jsonl", '{"gold_label": "maybe", "sentence2": "a", '
         '"Flickr30K_ID": "1000", "pairID": "x"}\n', "the label of row 1 is 'maybe'"),
    ],
)  # fmt: skip
def test_damaged_files_are_named(name, build, file, content, message, tmp_path):
    folder = build(tmp_path)
    (folder / file).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        get_task(name)(data_dir=str(folder)).table("train")
    assert file in str(caught.value)


def test_the_emoji_annotations_that_docs_make(tmp_path):
    images, cldr = tmp_path / "png", tmp_path / "cldr"
    mini.images(images, [f"emoji_u{n}.png" for n in ("1f600", "0033_20e3", "1f636_200d_1f32b", "1f44b_1f3fb")])
    (tmp_path / "emoji-test.txt").write_text(
        "# group: Smileys & Emotion\n"
        "1F600                                      ; fully-qualified     # 😀 E1.0 grinning face\n"
        "1F636 200D 1F32B FE0F                      ; fully-qualified     # 😶‍🌫️ E13.1 face in clouds\n"
        "1F636 200D 1F32B                           ; minimally-qualified # 😶‍🌫 E13.1 face in clouds\n"
        "1F601                                      ; fully-qualified     # 😁 without an image\n"
        "# group: People & Body\n1F44B 1F3FB                     ; fully-qualified     # 👋🏻 a skin tone\n"
        "# group: Symbols\n0033 FE0F 20E3                        ; fully-qualified     # 3️⃣ E0.6 keycap: 3\n"
    )
    names = {"en": {"😀": "grinning face", "😁": "beaming face"}, "sw": {"😀": "uso"}, "und": None}
    derived = {"en": {"😶‍🌫": "face in clouds", "3⃣": "keycap: 3", "👋🏻": "waving hand: light"}}
    for package, key, every in (("", "annotations", names), ("-derived", "annotationsDerived", derived)):
        for locale, own in every.items():
            file = cldr / f"cldr-annotations{package}-full" / key / locale / "annotations.json"
            file.parent.mkdir(parents=True)
            rows = {} if own is None else {"annotations": {e: {"default": ["x"], "tts": [n]} for e, n in own.items()}}
            file.write_text(json.dumps({key: {"identity": {}, **rows}}))
    script = Path(__file__).parents[2] / "docs" / "emoji_annotations.py"
    made = subprocess.run(
        [sys.executable, script, "--images", images, "--groups", tmp_path / "emoji-test.txt", "--names", cldr],
        capture_output=True, text=True, check=True, encoding="utf-8",
    )  # fmt: skip
    (tmp_path / "annotations.jsonl").write_text(made.stdout, encoding="utf-8")
    tables = [
        get_task("emoji")(data_dir=str(tmp_path), image_dir=str(images), masked=0.0).load_split(split, "en")
        for split in ("train", "validation", "test")
    ]
    rows = {row["id"]: row for table in tables for row in table}
    assert {emoji: row["text"] for emoji, row in rows.items()} == {
        "😀": "grinning face", "😶‍🌫️": "face in clouds", "3️⃣": "keycap: 3",
    }  # fmt: skip
    assert rows["3️⃣"]["label"] == 7
    assert rows["😶‍🌫️"]["image"].endswith("emoji_u1f636_200d_1f32b.png")


# -- the published data --------------------------------------------------------------------------------------


@pytest.mark.realdata
def test_real_emoji_and_nlvr(real_data):
    task = get_task("emoji")(data_dir=str(real_data / "emoji"))
    tables = {split: task.table(split) for split in mini.N}
    assert sum(map(len, tables.values())) == 1779
    assert len({i for table in tables.values() for i in table["id"]}) == 1779
    assert set().union(*(table["label"] for table in tables.values())) == set(range(9))
    images = task.split_images("validation")
    assert {open_image(image).size for image in images} == {(72, 72)}
    names = get_task("emoji_names")(data_dir=str(real_data / "emoji")).table("test")
    per_language = Counter(names["language"])
    assert len(per_language) == 102
    assert min(per_language.values()) > 150
    nlvr = get_task("nlvr")(data_dir=str(real_data / "nlvr"), train_file="test/test.json")
    assert {split: len(nlvr.table(split)) for split in ("train", "validation")} == {"train": 1980, "validation": 989}
    assert len(set(nlvr.table("train")["statement"])) == 247
    for split in ("train", "validation"):
        sources = nlvr.split_images(split)
        assert len(sources) == len(nlvr.table(split))
        assert open_image(sources[len(sources) - 1]).size == (400, 100)


@pytest.mark.realdata
def test_real_annotations_of_iglue_and_xgqa(real_data, tmp_path):
    folder = str(real_data / "iglue")
    xvnli = get_task("xvnli")(data_dir=folder, languages=["en", "es", "fr"], images="none").table("test")
    ids = [[i for i, c in zip(xvnli["id"], xvnli["language"], strict=True) if c == code] for code in ("en", "es", "fr")]
    assert [len(own) for own in ids] == [1164 - 14] * 3  # 14 pairs have no label
    assert ids[0] == ids[1] == ids[2]
    marvl = get_task("marvl")(data_dir=folder, languages=["id", "zh"], images="none").table("test")
    assert Counter(marvl["language"]) == {"id": 1128, "zh": 1012}
    assert len(set(zip(marvl["language"], marvl["id"], strict=True))) == 2140
    codes = ["de", "en", "ko", "pt", "ru", "zh"]
    (tmp_path / "zero_shot").mkdir()
    for code in codes:  # the questions at hand are the few-shot ones
        link = tmp_path / "zero_shot" / f"testdev_balanced_questions_{code}.json"
        link.symlink_to(real_data / "xgqa" / "few_shot" / code / "train_10.json")
    xgqa = get_task("xgqa")(data_dir=str(tmp_path), languages=codes, images="none").table("test")
    assert Counter(xgqa["language"]) == dict.fromkeys(codes, 317)
    by_id = {}
    for key, answers in zip(xgqa["id"], xgqa["answers"], strict=True):
        by_id.setdefault(key, set()).add(answers[0])
    assert len(by_id) == 317
    assert all(len(answers) == 1 for answers in by_id.values())
