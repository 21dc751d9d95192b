"""Photographs with five captions each: Flickr30k and COCO in Karpathy's splits, one row a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xmit.data.readers import read_json, read_jsonl
from xmit.data.sources import load_hub
from xmit.errors import DataError
from xmit.tasks.image_text.sources import COCO_IMAGES, FLICKR_IMAGES, entries, with_images_of
from xmit.tasks.parallel import Columns, published_rows

if TYPE_CHECKING:
    import datasets

    from xmit.tasks.with_images import WithImages

FLICKR_HUB = "umaru97/flickr30k_train_val_test"
COCO_HUB = "yerevann/coco-karpathy"
PARTS = ("train", "restval", "val", "test")
FLICKR_ROWS = {"train": 145_000, "validation": 5_070, "test": 5_000}
COCO_ROWS = {"train": 566_747, "validation": 25_010, "test": 25_010}


@dataclass(frozen=True)
class Captions:
    """A collection of captioned images.

    Args:
        name: What errors call it, and what ids begin with.
        hub: Its id on the hub.
        file: Karpathy's file.
        rows: How many captions each split has.
        parts: Karpathy's names of each split.
        hub_splits: The hub's names, and how many images each has.
        images: Where its images lie below a folder.
    """

    name: str
    hub: str
    file: str
    rows: dict[str, int]
    parts: dict[str, tuple[str, ...]]
    hub_splits: dict[str, dict[str, int]]
    images: tuple[str, ...]


FLICKR = Captions(
    "flickr30k",
    FLICKR_HUB,
    "dataset_flickr30k.json",
    FLICKR_ROWS,
    {"train": ("train",), "validation": ("val",), "test": ("test",)},
    {"train": {"train": 29_000}, "validation": {"val": 1_014}, "test": {"test": 1_000}},
    FLICKR_IMAGES,
)
COCO = Captions(
    "coco",
    COCO_HUB,
    "dataset_coco.json",
    COCO_ROWS,
    {"train": ("train", "restval"), "validation": ("val",), "test": ("test",)},
    {"train": {"train": 82_783, "restval": 30_504}, "validation": {"validation": 5_000}, "test": {"test": 5_000}},
    COCO_IMAGES,
)


def load_captions(task: WithImages, source: Captions, split: str, language: str) -> datasets.Dataset:
    """A split, one row a caption: ``id``, ``caption``, ``group`` (the image's file name) and ``image``.

    Args:
        task: Who asks. Its ``data_dir`` holds Karpathy's ``dataset_flickr30k.json`` or ``dataset_coco.json``, or for
            Flickr30k IGLUE's ``train_ann.jsonl``, and the images. COCO's captions come from the hub without images:
            those are in ``image_dir``.
        source: Which collection.
        split: The split.
        language: An xmit language code.
    """
    published_rows(task, source.name, source.rows, split, language)
    if task.data_dir:
        iglue = f"{'valid' if split == 'validation' else split}_ann.jsonl"
        names = (source.file, f"annotations/{source.file}", f"karpathy/{source.file}")
        more = (iglue, f"annotations/{iglue}") if source is FLICKR else ()
        path = task.file(split, language, *names, *more)
        if path.name.startswith("dataset_"):
            value = read_json(path)
            value = value.get("images") if isinstance(value, dict) else None
            images = entries(path, value, ("filename", "split", "sentences"))
            for key, image in images.items():
                if image["split"] not in PARTS:
                    raise DataError(f"{path}: the split of its entry {key!r} is {image['split']!r}; mend it")
            mine = [image for image in images.values() if image["split"] in source.parts[split]]
            found = [(image["filename"], image["sentences"]) for image in mine]
        else:
            read = read_jsonl(path, ("img_path", "sentences"), texts=("img_path",))
            found = list(zip(read["img_path"], read["sentences"], strict=True))
        for row, (name, own) in enumerate(found, 1):
            if not (isinstance(name, str) and isinstance(own, list)):
                raise DataError(
                    f"{path}: row {row} of {split!r}, {name!r}: no file name or no list of sentences; mend it"
                )
        found = [(name, [_text(sentence) for sentence in own]) for name, own in found]
        return caption_table(task, source, found, beside=path.parent)
    import datasets

    tables = [load_hub(source.hub, split=part, rows=rows) for part, rows in source.hub_splits[split].items()]
    table = datasets.concatenate_datasets(tables)
    column = "caption" if "caption" in table.column_names else "sentences"
    texts = [[_text(sentence) for sentence in row] for row in table[column][:]]
    found = list(zip(table["filename"][:], texts, strict=True))
    return caption_table(task, source, found, table if "image" in table.column_names else None)


def caption_table(
    task: WithImages,
    source: Captions,
    found: Sequence[tuple[str, Sequence[str]]],
    images: datasets.Dataset | None = None,
    beside: Any = None,
) -> datasets.Dataset:
    """One row a caption of file names with their captions.

    Args:
        task: Who asks.
        source: Which collection.
        found: File name and captions of each image.
        images: The table that has an image for each of them, if there is one.
        beside: Where else to look for images.

    Raises:
        DataError: If a caption is no text.
    """
    for row, (name, texts) in enumerate(found, 1):
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise DataError(f"{source.name}: row {row}: a caption of {name!r} is empty or no text; get the file again")
    names = [name for name, texts in found for _ in texts]
    rows: Columns = {
        "id": [f"{source.name}-{name.rpartition('.')[0]}-{n}" for name, texts in found for n in range(len(texts))],
        "caption": [text.strip() for _, texts in found for text in texts],
        "group": [f"{source.name}-{name}" for name in names],
        "photo": names,
    }
    if images is not None:
        places = [place for place, (_, texts) in enumerate(found) for _ in texts]
        return with_images_of(rows, ("image",), images.select(places))
    rows["image"] = task.local_images(names, *source.images, beside=beside)
    return with_images_of(rows, (), None)


def _text(sentence: Any) -> Any:
    return sentence.get("raw") if isinstance(sentence, dict) else sentence
