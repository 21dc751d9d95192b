"""The image-text data in miniature: what they say, and the files of the original releases."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from xmit.tasks.image_text.emoji_data import GROUPS, split_of
from xmit.tasks.nli import LABELS

N = {"train": 12, "validation": 6, "test": 5}
ANSWERS = ("yes", "no", "2", "red")


def image(name, mode="RGB", size=(20, 16)):
    """The image of a name: noise of its own."""
    rng = np.random.default_rng(list(name.encode()))
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)


def file_bytes(name, **options):
    """Its file."""
    buffer = io.BytesIO()
    image(name, **options).save(buffer, "PNG")  # whatever the name says: the content decides
    return buffer.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def images(folder, names):
    for name in names:
        write(folder / name, file_bytes(Path(name).name))


def jsonl(path, rows):
    write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


# -- what the data say ---------------------------------------------------------------------------------------


def entailment(split, code="en"):
    """Pairs with their photographs; three pairs share one, and one pair has no label."""
    return [
        {"pair": f"{i // 3}.jpg#0r{i % 3}", "photo": str(1000 + i // 3), "text": f"{code} {split} says {i}",
         "label": "-" if i == 4 else LABELS[i % 3]}
        for i in range(N[split])
    ]  # fmt: skip


def questions(split, code="en"):
    return [
        {"id": f"{split}{i}", "photo": f"n{i // 2}", "text": f"{code} is it {i}?", "answer": ANSWERS[i % 4]}
        for i in range(N[split])
    ]


def votes(i):
    """Ten people, who do not agree."""
    return [ANSWERS[i % 4]] * 7 + [ANSWERS[(i + 1) % 4]] * 2 + ["the Two, maybe"]


def vqa_name(split, number):
    part = {"train": "train2014", "validation": "val2014"}[split]
    return f"COCO_{part}_{number:012d}.jpg"


def statements(split, code="en"):
    part = {"train": "train", "validation": "dev", "test": "test1"}[split]
    return [
        {"id": f"{part}-{i}-0-{i % 2}", "text": f"{code} both show {i}", "label": i % 2 == 0, "folder": i % 3}
        for i in range(N[split])
    ]


def captioned(split, code="en", n=2, source="f"):
    return [
        {"file": f"{source}{split[:2]}{i}.jpg", "texts": [f"{code} {split} caption {i} {k}" for k in range(n)]}
        for i in range(N[split])
    ]


# -- the original releases -----------------------------------------------------------------------------------


def snli_ve_files(folder):
    for split in N:
        name = f"snli_ve_{'dev' if split == 'validation' else split}.jsonl"
        rows = entailment(split)
        jsonl(folder / name, [
            {"pairID": r["pair"], "gold_label": r["label"], "sentence1": "a premise", "sentence2": r["text"],
             "Flickr30K_ID": r["photo"], "captionID": "x"} for r in rows
        ])  # fmt: skip
        images(folder / "flickr30k-images", [f"{r['photo']}.jpg" for r in rows])
    return folder


def vqa_files(folder):
    for split, part in (("train", "train2014"), ("validation", "val2014")):
        rows = questions(split)
        asked = [{"question_id": i, "image_id": i // 2, "question": r["text"]} for i, r in enumerate(rows)]
        given = [
            {"question_id": i, "image_id": i // 2, "question_type": "is", "multiple_choice_answer": ANSWERS[i % 4],
             "answers": [{"answer": a, "answer_confidence": "yes", "answer_id": k + 1} for k, a in enumerate(votes(i))]}
            for i in reversed(range(len(rows)))
        ]  # fmt: skip
        write(folder / f"v2_OpenEnded_mscoco_{part}_questions.json", json.dumps({"questions": asked}))
        write(folder / f"v2_mscoco_{part}_annotations.json", json.dumps({"annotations": given}))
        images(folder / part, [vqa_name(split, i // 2) for i in range(len(rows))])
    return folder


def question_file(path, rows):
    write(path, json.dumps({r["id"]: {"imageId": r["photo"], "question": r["text"], "answer": r["answer"],
                                      "isBalanced": True} for r in rows}))  # fmt: skip


def gqa_files(folder):
    for split, part in (("train", "train"), ("validation", "val"), ("test", "testdev")):
        question_file(folder / f"{part}_balanced_questions.json", questions(split))
        images(folder / "images", [f"{r['photo']}.jpg" for r in questions(split)])
    return folder


def nlvr2_files(folder):
    for split, part in (("train", "train"), ("validation", "dev"), ("test", "test1")):
        rows = statements(split)
        own = [{"identifier": r["id"], "sentence": r["text"], "label": str(r["label"])} for r in rows]
        if split == "train":
            own = [row | {"directory": r["folder"]} for row, r in zip(own, rows, strict=True)]
        jsonl(folder / "data" / f"{part}.json", own)
        for r in rows:
            place = folder / "images" / "train" / str(r["folder"]) if split == "train" else folder / part
            images(place, [f"{r['id'].rpartition('-')[0]}-img{n}.png" for n in (0, 1)])
    return folder


def karpathy_file(path, source="f"):
    found = []
    for split in N:
        for part in ("train", "restval") if split == "train" and source == "c" else (split,):
            name = {"validation": "val"}.get(part, part)
            rows = captioned(split, source=part[0] if source == "c" else source)
            found += [{"filename": r["file"], "split": name, "imgid": len(found) + i, "sentids": [0, 1],
                       "sentences": [{"raw": t, "tokens": t.split()} for t in r["texts"]]}
                      for i, r in enumerate(rows)]  # fmt: skip
    write(path, json.dumps({"images": found, "dataset": "x"}))
    return found


def flickr_files(folder):
    found = karpathy_file(folder / "dataset_flickr30k.json")
    images(folder / "flickr30k-images", [row["filename"] for row in found])
    return folder


def coco_files(folder):
    found = karpathy_file(folder / "dataset_coco.json", "c")
    images(folder / "val2014", [row["filename"] for row in found])
    return folder


def xvnli_files(folder, codes):
    snli_ve_files(folder)
    for code in codes:
        jsonl(folder / "XVNLI" / "annotations" / code / "test.jsonl", [
            {"gold_label": r["label"], "sentence1": "p", "sentence2": r["text"], "captionID": "c",
             "pairID": r["pair"], "Flikr30kID": r["photo"]} for r in entailment("test", code)
        ])  # fmt: skip
    return folder


def xgqa_files(folder, codes):
    gqa_files(folder)
    for code in codes:
        question_file(folder / "zero_shot" / f"testdev_balanced_questions_{code}.json", questions("test", code))
    return folder


def marvl_files(folder, codes):
    nlvr2_files(folder)
    for code in codes:
        rows = statements("test", code)
        jsonl(folder / "zero_shot" / "annotations" / f"marvl-{code}.jsonl", [
            {"concept": "82-铅笔", "language": code, "caption": r["text"], "left_img": f"{i}-0.jpg",
             "right_img": f"{i}-1.jpg", "chapter": "C", "id": f"{code}-{i}", "label": r["label"]}
            for i, r in enumerate(rows)
        ])  # fmt: skip
        names = [f"{i}-{n}.jpg" for i in range(len(rows)) for n in (0, 1)]
        images(folder / "zero_shot" / "images" / code / "images" / "82-铅笔", names)
    return folder


def xflickrco_files(folder, codes):
    flickr_files(folder)
    for code in codes:
        rows = captioned("test", code, 1)
        jsonl(folder / "xFlickrCO" / "annotations" / code / "test.jsonl", [
            {"sentences": r["texts"], "id": str(i), "img_path": r["file"]} for i, r in enumerate(rows)
        ])  # fmt: skip
    return folder


def xm3600_files(folder, codes):
    every = {code: captioned("test", code, 3) for code in codes}
    keys = [r["file"].removesuffix(".jpg") for r in captioned("test")]
    jsonl(folder / "captions.jsonl", [
        {"image/key": key, "image/locale": "en", **{code: {"caption": every[code][i]["texts"]} for code in codes}}
        for i, key in enumerate(keys)
    ])  # fmt: skip
    images(folder / "images", [f"{key}.jpg" for key in keys])
    return folder


def nlvr_files(folder):
    """Images in a tar of the training split, in two orders of the boxes, and in a folder of the others, in one."""
    for split, part in (("train", "train"), ("validation", "dev"), ("test", "test")):
        rows = statements(split)
        own = [{"sentence": r["text"], "label": str(r["label"]).lower(), "identifier": f"{i}-0", "evals": {},
                "directory": str(i % 2)} for i, r in enumerate(rows)]  # fmt: skip
        jsonl(folder / part / f"{part}.json", own)
        orders = (0, 1) if split == "train" else (0,)
        names = [f"{row['directory']}/{part}-{row['identifier']}-{order}.png" for row in own for order in orders]
        if split == "train":
            tar(folder / part / "images.tar", {f"images/{name}": file_bytes(Path(name).name) for name in names})
        else:
            images(folder / part / "images", names)
    return folder


def emoji_files(folder, n=60):
    rows = []
    for i in range(n):
        key = chr(0x1F400 + i)
        name = {"en": f"emoji {i}", "no": f"tegn {i}", "sw": f"picha {i}"}
        if i % 7 == 0:
            del name["no"]
        rows.append({"emoji": key, "file": f"u{ord(key):x}.png", "group": GROUPS[i % 9], "names": name, "keywords": {}})
    assert {split_of(row["emoji"]) for row in rows} == set(N)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write(folder / "annotations.jsonl.gz", gzip.compress(text.encode()))
    tar(folder / "images72.tar", {row["file"]: file_bytes(row["file"], mode="RGBA") for row in rows})
    return folder


def tar(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
