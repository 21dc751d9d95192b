"""Image-text tasks on miniatures in both layouts, and what the mix-in for images promises."""

from __future__ import annotations

from collections import Counter

import mini_hub_images as mini
import numpy as np
import pytest
import torch
import yaml
from mini_hub import Hub
from PIL import Image

from xmit.__main__ import main
from xmit.data.image_files import ImageSources, find_images, image_source
from xmit.data.images import content_key, open_image
from xmit.errors import ConfigError, DataError, MissingDataError
from xmit.registry import get_task
from xmit.study.results import load_results
from xmit.tasks.with_images import shuffle

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


class Tower:
    """Stands in for an image spec: a feature that tells which image it is of."""

    n_tokens, width = 2, 4

    def encode(self, images, on_bad="refuse"):
        self.seen = len(images)
        keys = []
        for image in images:
            try:
                keys.append(content_key(open_image(image)))
            except DataError:
                if on_bad == "refuse":
                    raise
                keys.append(None)
        return keys

    def batch(self, keys):
        values = [[int(key[:6], 16) for key in item] for item in keys]
        return torch.tensor(values).float().repeat_interleave(2, 1)[..., None].expand(-1, -1, 4)


@pytest.fixture(scope="session")
def tokenizer():
    from xmit.modules.encoders import load_tokenizer

    return load_tokenizer("embedded:e5-small")


@pytest.fixture(scope="session")
def image_hub(tmp_path_factory):
    hub = Hub(tmp_path_factory.mktemp("hub"))
    for name in BOTH:
        hub.fill(name)
    return hub


@pytest.fixture
def hub(image_hub, monkeypatch):
    image_hub.install(monkeypatch)
    return image_hub


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
    languages = mini.IMAGE_LANGUAGES[name]
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
        task = get_task(name)(languages=mini.IMAGE_LANGUAGES[name], data_dir=str(folder))
        n = len(task.languages)
        rows = {split: len(task.table(split)) for split in splits_of(name)}
        expected = {"train": mini.N["train"], "validation": mini.N["validation"], "test": mini.N["test"] * n}
        if name in ("snli_ve", "xvnli"):  # one pair of each has no label
            expected = {"train": 11, "validation": 5, "test": 4 * n}
        elif name in ("flickr30k_itm", "coco_itm", "image_mlm", "xflickrco"):
            expected = {"train": 24, "validation": 12, "test": 10}
            expected |= {"train": 48} if name == "coco_itm" else {"test": 10} if name == "xflickrco" else {}
        elif name == "xm3600":
            expected = {"test": 5 * 3 * 3}
        elif name.startswith("emoji"):
            expected = rows
            assert name == "emoji_names" or sum(rows.values()) == 60
        assert rows == {split: expected[split] for split in rows}, name


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


# -- the controls --------------------------------------------------------------------------------------------


def test_shuffling_gives_every_image_another_place():
    rows = [(f"k{i // 2}",) for i in range(40)]
    shuffled = shuffle(rows, 3)
    assert all(a != b for a, b in zip(rows, shuffled, strict=True))
    assert Counter(shuffled) == Counter(rows)
    assert len(set(zip(rows, shuffled, strict=True))) == 20  # the same other image for all rows of one
    assert shuffle(rows, 3) == shuffled != shuffle(rows, 4)


def test_the_controls_change_nothing_but_the_images(tmp_path, tokenizer):
    torch.manual_seed(5)
    folder = str(mini.xvnli_files(tmp_path, ["ar", "en"]))
    real, other, none = (
        get_task("xvnli")(languages=["ar", "en"], data_dir=folder, images=how) for how in ("real", "shuffled", "none")
    )
    for task in (real, other):
        task.bind(tokenizer, Tower())
    none.bind(tokenizer)  # without a tower
    for split in ("train", "test"):
        a, b, c = (task.examples(split) for task in (real, other, none))
        assert a.ids == b.ids == c.ids
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.labels, c.labels)
        assert all(np.array_equal(a.text["text"].flat, x.text["text"].flat) for x in (b, c))
        assert not c.images
        assert all(x != y for x, y in zip(a.images["text"], b.images["text"], strict=True))
        half = len(a.ids) // 2
        if split == "test":  # translations see the same image
            assert b.images["text"][:half] == b.images["text"][half:]
    assert [list(batch) for batch in real.train_batches()] == [list(batch) for batch in none.train_batches()]
    assert "image" not in next(iter(none.train_dataloader()))["text"]
    assert none.split_images("train") == ()
    with pytest.raises(ConfigError, match=r"no vision tower: set model\.vision\.name"):
        real.bind(tokenizer)


def test_without_images_a_caption_is_matched_with_another_of_its_image(tmp_path, tokenizer):
    task = get_task("flickr30k_itm")(data_dir=str(mini.flickr_files(tmp_path)), images="none")
    task.bind(tokenizer)
    table = task.table("train")
    matches = task.matches(table)
    for row, match in zip(table, matches, strict=True):
        assert match != row["caption"]
        assert match[:-1] == row["caption"][:-1]  # the two captions of an image differ in their last sign
    assert set(task.examples("validation").text) == {"text"}


@pytest.mark.parametrize("images", ["shuffled", "none"])
def test_the_controls_run_from_the_command_line(images, tmp_path, tiny_encoder):
    folder = mini.emoji_files(tmp_path / "data")
    config = {
        "model": {"encoder": tiny_encoder},
        "trainer": {"max_steps": 2, "val_check_interval": 2, "check_val_every_n_epoch": None, "logger": False,
                    "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"},
        "data": {"class_path": "xmit.tasks.Emoji",
                 "init_args": {"data_dir": str(folder), "images": images, "batch_size": 8}},
    }  # fmt: skip
    if images != "none":
        config["model"]["vision"] = {"name": "embedded:digits", "random": True}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(tmp_path / "config.yaml"), "--output", str(tmp_path / "r")]) == 0
    rows = load_results(tmp_path / "r")
    assert set(rows[rows.is_main].metric) == {"accuracy"}
    assert (tmp_path / "r" / "encoder" / "model.safetensors").is_file()


# -- answers -------------------------------------------------------------------------------------------------


def test_answers_are_classes_and_what_is_no_class_is_wrong(tmp_path, tokenizer):
    task = get_task("gqa")(data_dir=str(mini.gqa_files(tmp_path)), answers=2, batch_size=12)
    task.bind(tokenizer, Tower())
    assert task.vocabulary == ["yes", "no"]
    assert task.head_spec().options["num_labels"] == 2
    batch = task.collate(task.examples("train"), list(range(4)))
    assert batch["answers"].tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]]
    rows = task.predictions({"item": torch.arange(5), "prediction": torch.tensor([0, 0, 1, 1, 0])}, "test")
    assert list(rows["target"]) == ["yes", "no", "2", "red", "yes"]
    scores = {score.metric: score.value for score in task.score(rows)}
    assert scores["accuracy"] == pytest.approx(2 / 5)


def test_vqa_has_soft_targets_and_the_official_score(tmp_path, tokenizer):
    task = get_task("vqa_v2")(data_dir=str(mini.vqa_files(tmp_path)))
    task.bind(tokenizer, Tower())
    assert set(task.vocabulary) == {"yes", "no", "2", "red"}
    batch = task.collate(task.examples("train"), [0])
    targets = dict(zip(task.vocabulary, batch["answers"][0].tolist(), strict=True))
    assert targets == pytest.approx({"yes": 1.0, "no": 0.6, "2": 0.0, "red": 0.0})
    places = [task.vocabulary.index(answer) for answer in ("no", "no", "2", "2", "yes", "yes")]
    rows = task.predictions({"item": torch.arange(6), "prediction": torch.tensor(places)}, "validation")
    (score,) = task.score(rows)
    assert (score.metric, score.n) == ("vqa_accuracy", 6)
    assert score.value == pytest.approx((0.6 + 1 + 1 + 0 + 1 + 0) / 6)


def test_classes_do_not_depend_on_the_rows_drawn(tmp_path, tokenizer):
    folder = str(mini.gqa_files(tmp_path))
    few, every = (get_task("gqa")(data_dir=folder, train_examples=n) for n in (2, None))
    assert few.vocabulary == every.vocabulary
    assert len(few.table("train")) == 2


# -- matching ------------------------------------------------------------------------------------------------


def retrieved(tmp_path, tokenizer, vectors):
    """The task, and the prediction rows it makes of vectors by item."""
    task = get_task("xflickrco")(languages=["en", "tr"], data_dir=str(mini.xflickrco_files(tmp_path, ["en", "tr"])))
    task.bind(tokenizer, Tower())
    examples = task.examples("test")
    items = torch.randperm(len(examples), generator=torch.Generator().manual_seed(0))
    return task, task.predictions({"item": items, "vector": vectors(len(examples))[items]}, "test")


def test_recall_is_that_of_sorting_everything(tmp_path, tokenizer):
    rng = torch.Generator().manual_seed(1)
    made = {}

    def vectors(n):
        made["v"] = torch.nn.functional.normalize(torch.randn(n, 3, generator=rng), dim=-1)
        return made["v"]

    task, rows = retrieved(tmp_path, tokenizer, vectors)
    assert len(made["v"]) == 5 + 2 * 5  # the images of both languages are the same
    scores = {(s.language, s.metric): s.value for s in task.score(rows)}
    for place, code in enumerate(("en", "tr")):
        captions, images = made["v"][place * 5 : place * 5 + 5], made["v"][10:]
        order = (captions @ images.T).argsort(1, descending=True)
        first = [(row == i).nonzero().item() for i, row in enumerate(order)]
        back = [(row == i).nonzero().item() for i, row in enumerate((images @ captions.T).argsort(1, descending=True))]
        for name, ranks in (("t2i", first), ("i2t", back)):
            for k in (1, 5, 10):
                assert scores[code, f"{name}_recall@{k}"] == pytest.approx(np.mean([r < k for r in ranks]))
        both = np.mean([np.mean([r < 1 for r in ranks]) for ranks in (first, back)])
        assert scores[code, "recall@1"] == pytest.approx(both)
    assert any(score.metric.startswith("consistency/") for score in task.evaluate(rows))


def test_vectors_that_collapse_find_nothing(tmp_path, tokenizer):
    task, rows = retrieved(tmp_path, tokenizer, lambda n: torch.ones(n, 3))
    assert {s.value for s in task.score(rows) if s.metric == "recall@1"} == {0.2}


def test_batches_for_scoring_are_of_captions_or_of_images(tmp_path, tokenizer):
    task = get_task("xm3600")(languages=["en", "qu"], data_dir=str(mini.xm3600_files(tmp_path, ["en", "quz"])))
    task.bind(tokenizer, Tower())
    seen, images = [], 0
    for batch in task.test_dataloader():
        seen += batch["item"].tolist()
        images += len(batch["item"]) if "image" in batch["text"] else 0
    assert sorted(seen) == list(range(5 + 2 * 5 * 3))
    assert images == 5
    with pytest.raises(ConfigError, match="only scored"):
        task.load_split("train", "en")


def test_masked_captions_stand_beside_their_own_image(tmp_path, tokenizer):
    task = get_task("image_mlm")(data_dir=str(mini.flickr_files(tmp_path)), batch_size=4)
    task.bind(tokenizer, Tower())
    splits = {split: {row["group"] for row in task.table(split)} for split in mini.N}
    assert len(set().union(*splits.values())) == sum(map(len, splits.values()))
    table, examples = task.table("train"), task.examples("train")
    assert len(examples) == len(table) == 24
    for i, row in enumerate(table):
        ids = examples.text["text"].flat[examples.text["text"].offsets[i] : examples.text["text"].offsets[i + 1]]
        assert tokenizer.decode(ids, skip_special_tokens=True) == row["text"]
        assert examples.images["text"][i] == (content_key(mini.image(row["group"].partition("-")[2])),)
    batch = next(iter(task.train_dataloader()))
    assert ((batch["labels"] != -100).sum(1) > 0).all()
    emoji = get_task("image_mlm")(source="emoji", data_dir=str(mini.emoji_files(tmp_path / "e")))
    assert emoji.table("train")[0]["text"].startswith("emoji ")


# -- emoji ---------------------------------------------------------------------------------------------------


def test_names_are_masked_as_asked_and_alike_for_every_run(tmp_path):
    folder = str(mini.emoji_files(tmp_path))
    shares = {}
    for masked in (0.0, 0.5, 1.0):
        words = " ".join(get_task("emoji")(data_dir=folder, masked=masked).table("train")["text"]).split()
        shares[masked] = words.count("<mask>") / len(words)
    assert (shares[0.0], shares[1.0]) == (0, 1)
    assert 0.3 < shares[0.5] < 0.7
    with pytest.raises(ConfigError, match="from 0 to 1"):
        get_task("emoji")(data_dir=folder, masked=2.0)


def test_no_emoji_is_in_two_splits(tmp_path):
    task = get_task("emoji")(data_dir=str(mini.emoji_files(tmp_path)))
    ids = [set(task.table(split)["id"]) for split in mini.N]
    assert len(set().union(*ids)) == sum(map(len, ids)) == 60
    names = get_task("emoji_names")(data_dir=str(tmp_path), languages=["nb", "sw"])
    assert set(names.table("test")["id"]) == ids[2]
    with pytest.raises(ConfigError, match="on no hub: pass data_dir"):
        get_task("emoji")().table("train")


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
    assert {split: len(nlvr.table(split)) for split in ("train", "validation")} == {"train": 990, "validation": 989}
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
