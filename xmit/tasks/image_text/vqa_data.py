"""VQA v2's questions and answers, from the release and from the hub, and their score."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from xmit.data.readers import read_json
from xmit.data.sources import load_hub
from xmit.errors import DataError
from xmit.metrics.vqa import vqa_accuracy
from xmit.tasks.base import Score
from xmit.tasks.image_text.sources import COCO_IMAGES, entries, with_images_of
from xmit.tasks.parallel import Columns, published_rows

if TYPE_CHECKING:
    import datasets
    import pandas as pd

    from xmit.tasks.with_images import WithImages

VQA_HUB = "lmms-lab/VQAv2"
VQA_ROWS = {"train": 443_757, "validation": 214_354}
PARTS = {"train": "train2014", "validation": "val2014"}


def load_vqa(task: WithImages, split: str, language: str) -> datasets.Dataset:
    """A split as ``id``, ``question``, ``answers`` (ten) and ``image``.

    Args:
        task: Who asks.
        split: ``train`` or ``validation``.
        language: An xmit language code.
    """
    count = published_rows(task, "VQA v2", VQA_ROWS, split, language)
    if not task.data_dir:
        # the card leaves the training files out of its splits
        table = load_hub(VQA_HUB, split=split, data_files=f"data/{split}-*", rows=count)
        rows: Columns = {"id": [str(key) for key in table["question_id"][:]], "question": table["question"][:]}
        rows["answers"] = [[answer["answer"] for answer in given] for given in table["answers"][:]]
        if "image_id" in table.column_names:
            rows["photo"] = [_photo(split, number) for number in table["image_id"][:]]
        return with_images_of(rows, ("image",), table)
    part = PARTS[split]
    questions = f"v2_OpenEnded_mscoco_{part}_questions.json"
    path = task.file(split, language, questions, f"vqa/{questions}")
    asked = _list(path, "questions", ("question_id", "image_id", "question"))
    answers = f"v2_mscoco_{part}_annotations.json"
    answered_in = task.file(split, language, answers, f"vqa/{answers}")
    answered = _list(answered_in, "annotations", ("question_id", "answers"))
    given = {row["question_id"]: [answer["answer"] for answer in row["answers"]] for row in answered}
    missing = next((row["question_id"] for row in asked if row["question_id"] not in given), None)
    if missing is not None:
        raise DataError(f"{answered_in}: no answers to question {missing} of {path}; get both files again")
    rows = {"id": [str(row["question_id"]) for row in asked], "question": [row["question"] for row in asked]}
    rows["answers"] = [given[row["question_id"]] for row in asked]
    names = [_photo(split, row["image_id"]) for row in asked]
    rows["image"] = task.local_images(names, *COCO_IMAGES, beside=path.parent)
    return with_images_of(rows, (), None)


def official_scores(predictions: pd.DataFrame) -> list[Score]:
    """VQA's accuracy of prediction rows, whose target is a JSON list of what people answered."""
    scores = []
    for language, rows in predictions.groupby("language", sort=False):
        values = [
            vqa_accuracy(answer, json.loads(people))
            for answer, people in zip(rows["prediction"], rows["target"], strict=True)
        ]
        scores.append(Score(str(language), "vqa_accuracy", sum(values) / len(values), len(values)))
    return scores


def _photo(split: str, number: Any) -> str:
    """COCO's name of an image."""
    return f"COCO_{PARTS[split]}_{int(number):012d}.jpg"


def _list(path: Any, key: str, keys: tuple[str, ...]) -> list[Any]:
    value = read_json(path)
    return list(entries(path, value.get(key) if isinstance(value, dict) else None, keys).values())
