"""English image-text data that are intermediate tasks of their own and what multilingual targets are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmit.data.readers import read_json, read_jsonl
from xmit.data.sources import labels_to_ids, load_hub
from xmit.errors import DataError
from xmit.tasks.multiple_choice import numbered
from xmit.tasks.nli import LABELS
from xmit.tasks.parallel import Columns, keep_rows, published_rows

if TYPE_CHECKING:
    import datasets

    from xmit.tasks.with_images import WithImages

FLICKR_IMAGES = ("flickr30k-images/{name}", "flickr30k_images/{name}", "images/{name}")
COCO_IMAGES = ("train2014/{name}", "val2014/{name}", "images/{name}")
GQA_IMAGES = ("images/{name}", "gqa/images/{name}")

SNLI_VE_HUB = "Phando/snli-ve-shuffled"
SNLI_VE_ROWS = {"train": 529_527, "validation": 17_858, "test": 17_901}
GQA_HUB = "lmms-lab/GQA"
GQA_ROWS = {"train": 943_000, "validation": 132_062, "test": 12_578}
GQA_PARTS = {"train": "train", "validation": "val", "test": "testdev"}
NLVR2_ROWS = {"train": 86_373, "validation": 6_982, "test": 6_967}
NLVR2_FILES = {"train": "train", "validation": "dev", "test": "test1"}
TRUE_FALSE = ("false", "true")


def snli_ve(task: WithImages, split: str, language: str) -> datasets.Dataset:
    """A split of SNLI-VE: ``hypothesis``, ``label`` and the photograph that takes the premise's place.

    Args:
        task: Who asks. Its ``data_dir`` holds ``snli_ve_train.jsonl`` and so on, and Flickr30k's images.
        split: The split.
        language: An xmit language code.
    """
    count = published_rows(task, "SNLI-VE", SNLI_VE_ROWS, split, language)
    if not task.data_dir:
        table = load_hub(SNLI_VE_HUB, split=split, rows=count)
        rows = {"id": [f"{split}-{n}" for n in range(len(table))], "hypothesis": table["sentence"][:]}
        if "Flickr30K_ID" in table.column_names:
            rows["photo"] = [f"{str(number).removesuffix('.jpg')}.jpg" for number in table["Flickr30K_ID"][:]]
        return entailment_table(rows, table["gold_label"][:], SNLI_VE_HUB, table)
    name = f"snli_ve_{'dev' if split == 'validation' else split}.jsonl"
    path = task.file(split, language, name, f"snli_ve/{name}", f"data/{name}")
    read = read_jsonl(path, ("gold_label", "sentence2", "Flickr30K_ID", "pairID"), texts=("sentence2", "pairID"))
    files = [f"{number}.jpg" for number in read["Flickr30K_ID"]]
    rows = {"id": numbered(read["pairID"]), "hypothesis": read["sentence2"]}
    rows["image"] = task.local_images(files, *FLICKR_IMAGES, beside=path.parent)
    return entailment_table(rows, read["gold_label"], path)


def entailment_table(
    rows: Columns, labels: Sequence[str], where: str | Path, images: datasets.Dataset | None = None
) -> datasets.Dataset:
    """The canonical columns of visual entailment, without pairs whose annotators did not agree (``-``).

    Args:
        rows: ``id``, ``hypothesis`` and perhaps ``image``.
        labels: The label of each row by its name.
        where: Where the rows come from, for errors.
        images: The table that has them in a column ``image``.
    """
    kept = [row for row, label in enumerate(labels) if label != "-"]
    rows = keep_rows({**rows, "label": labels}, kept)  # type: ignore[dict-item]
    rows["label"] = labels_to_ids(rows["label"], LABELS, where)
    return with_images_of(rows, ("image",), images.select(kept) if images is not None else None)


def with_images_of(rows: Columns, columns: Sequence[str], images: datasets.Dataset | None) -> datasets.Dataset:
    """A table of rows beside the images of another one, whose files are not looked into.

    Rows from the hub may have a column ``photo``: the file name of each image in the collection that it is from, by
    which test images are known even where the hub's copies were coded anew.
    """
    import datasets

    table = datasets.Dataset.from_dict(rows)
    if images is None:
        return table
    return datasets.concatenate_datasets([table, images.select_columns(list(columns))], axis=1)


def gqa(task: WithImages, split: str, language: str) -> datasets.Dataset:
    """A balanced split of GQA: ``question``, the one answer as ``answers``, and ``image``; ``testdev`` is the test.

    Args:
        task: Who asks. Its ``data_dir`` holds ``train_balanced_questions.json`` and so on, and ``images/``.
        split: The split.
        language: An xmit language code.
    """
    count, part = published_rows(task, "GQA", GQA_ROWS, split, language), f"{GQA_PARTS[split]}_balanced"
    if task.data_dir:
        path = task.file(split, language, f"{part}_questions.json", f"gqa/{part}_questions.json")
        return gqa_questions(task, path)
    table = load_hub(GQA_HUB, config=f"{part}_instructions", split=GQA_PARTS[split], rows=count)
    rows: Columns = {"id": table["id"][:], "question": table["question"][:]}
    rows["answers"] = [[answer] for answer in table["answer"][:]]
    rows["photo"] = [f"{key}.jpg" for key in table["imageId"][:]]
    if task.images == "none" and not task.sorts_images:
        return with_images_of(rows, (), None)  # the images are a download of their own
    # questions and images are two tables; a question without its image shows as a missing key
    images = load_hub(GQA_HUB, config=f"{part}_images", split=GQA_PARTS[split])
    places = {key: row for row, key in enumerate(images["id"])}
    missing = next((key for key in table["imageId"][:] if key not in places), None)
    if missing is not None:
        raise DataError(f"{GQA_HUB}, {part}: no image {missing!r} among its images; use data_dir with the release")
    return with_images_of(rows, ("image",), images.select([places[key] for key in table["imageId"][:]]))


def gqa_questions(task: WithImages, path: Path) -> datasets.Dataset:
    """A file of questions in GQA's layout, ``{id: {imageId, question, answer}}``, as xGQA has it too."""
    read = entries(path, read_json(path), ("imageId", "question", "answer"))
    names = [f"{row['imageId']}.jpg" for row in read.values()]
    for key, row in read.items():
        if not (isinstance(row["question"], str) and isinstance(row["answer"], str)):
            raise DataError(f"{path}: its entry {key!r} has a question or an answer that is no text; mend it")
    rows: Columns = {"id": list(read), "question": [row["question"] for row in read.values()]}
    rows["answers"] = [[row["answer"]] for row in read.values()]
    rows["image"] = task.local_images(names, *GQA_IMAGES, beside=path.parent)
    return with_images_of(rows, (), None)


def nlvr2(task: WithImages, split: str, language: str) -> datasets.Dataset:
    """A split of NLVR2: ``statement``, ``label`` and the images ``left`` and ``right``. No hub has those of training.

    Args:
        task: Who asks. Its ``data_dir`` holds the release's ``data/train.json`` (JSON lines) and so on, and the images
            as released: ``images/train/{directory}/{name}`` and ``dev/{name}``.
        split: The split; ``test`` is test-P.
        language: An xmit language code.
    """
    published_rows(task, "NLVR2", NLVR2_ROWS, split, language)
    if not task.data_dir:
        raise DataError(
            f"task {task.name!r}: no hub has the training images of NLVR2: pass data_dir with the release's "
            f"{NLVR2_FILES[split]}.json and images (github.com/lil-lab/nlvr)"
        )
    part = NLVR2_FILES[split]
    path = task.file(split, language, f"{part}.json", f"data/{part}.json", f"nlvr2/data/{part}.json")
    read = read_jsonl(path, ("identifier", "sentence", "label"), texts=("identifier", "sentence"))
    stems = [key.rpartition("-")[0] for key in read["identifier"]]  # the last number is the sentence's
    rows: Columns = {"id": read["identifier"], "statement": read["sentence"]}
    rows["label"] = labels_to_ids([str(label).lower() for label in read["label"]], TRUE_FALSE, path)
    folders = [""] * len(stems)
    if split == "train":  # its images lie in a hundred folders
        folders = [f"{number}/" for number in read_jsonl(path, ("directory",))["directory"]]
    for n, side in enumerate(("left", "right")):
        names = [f"{folder}{stem}-img{n}.png" for folder, stem in zip(folders, stems, strict=True)]
        rows[side] = task.local_images(names, f"{part}/{{name}}", f"images/{part}/{{name}}", beside=path.parent)
    return with_images_of(rows, (), None)


def entries(path: Path, value: Any, keys: Sequence[str]) -> dict[str, Any]:
    """The entries of a JSON object, or of a list by their number, all with these keys.

    Raises:
        DataError: For the first that lacks one.
    """
    found = value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}
    for name, entry in found.items():
        lacks = [key for key in keys if not isinstance(entry, dict) or key not in entry]
        if lacks:
            raise DataError(f"{path}: its entry {name!r} has no {lacks[0]!r}; check that it is this file")
    if not found:
        raise DataError(f"{path}: no entries; check that it is this file, or download it again")
    return {str(name): entry for name, entry in found.items()}
