"""The image-text data in miniature, in the hub's layout and in that of the original releases, with the same content.

Importing it adds to :mod:`mini_hub`. Columns that no hub could be asked for are as other projects' loaders read them.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import datasets
import numpy as np
from mini_hub import BUILDERS, LANGUAGES, LAYOUT, PARTS, Hub
from PIL import Image

from xmit.tasks.image_text.emoji_data import GROUPS, split_of
from xmit.tasks.nli import LABELS

DATA = "data/{split}-00000-of-00001.parquet"
IMAGE = datasets.Image()
STRUCT = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
"""How floschne's data sets keep images."""
LAYOUT.update(
    {
        "Phando/snli-ve-shuffled": DATA,
        "lmms-lab/VQAv2": DATA,
        "lmms-lab/GQA": PARTS,
        "umaru97/flickr30k_train_val_test": DATA,
        "yerevann/coco-karpathy": DATA,
        **{f"floschne/{name}": DATA for name in ("xvnli", "xgqa", "marvl", "xflickrco", "xm3600")},
    }
)
IMAGE_LANGUAGES = {
    **{name: ["en"] for name in ("snli_ve", "vqa_v2", "gqa", "nlvr2", "flickr30k_itm", "coco_itm", "image_mlm")},
    **{name: ["en"] for name in ("nlvr", "emoji", "emoji_itm")},
    "xvnli": ["ar", "en"],
    "xgqa": ["de", "en"],
    "marvl": ["sw", "zh"],
    "xflickrco": ["en", "tr"],
    "xm3600": ["en", "qu", "tl"],
    "emoji_names": ["nb", "sw"],
}
LANGUAGES.update(IMAGE_LANGUAGES)
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


def structs(names):
    return [{"bytes": file_bytes(name), "path": name} for name in names]


def columns(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


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


# -- the hub -------------------------------------------------------------------------------------------------


def snli_ve(hub, codes=()):
    kinds = datasets.Features({**dict.fromkeys(("Flickr30K_ID", "gold_label", "sentence"), datasets.Value("string")),
                               "image": IMAGE})  # fmt: skip
    for split in N:
        rows = entailment(split)
        table = {"Flickr30K_ID": [r["photo"] for r in rows], "gold_label": [r["label"] for r in rows]}
        table |= {"sentence": [r["text"] for r in rows], "image": [image(f"{r['photo']}.jpg") for r in rows]}
        hub.write("Phando/snli-ve-shuffled", "default", split, table, kinds)


def vqa_v2(hub, codes=()):
    for split in ("train", "validation"):
        rows = questions(split)
        answers = [
            [{"answer": a, "answer_confidence": "yes", "answer_id": k + 1} for k, a in enumerate(votes(i))]
            for i in range(len(rows))
        ]
        table = {"question_id": list(range(len(rows))), "question": [r["text"] for r in rows], "answers": answers}
        table |= {"image": structs([vqa_name(split, i // 2) for i in range(len(rows))])}
        hub.write("lmms-lab/VQAv2", "default", split, table)


def vqa_name(split, number):
    part = {"train": "train2014", "validation": "val2014"}[split]
    return f"COCO_{part}_{number:012d}.jpg"


def gqa(hub, codes=()):
    for split, part in (("train", "train"), ("validation", "val"), ("test", "testdev")):
        rows = questions(split)
        table = {"id": [r["id"] for r in rows], "imageId": [r["photo"] for r in rows]}
        table |= {"question": [r["text"] for r in rows], "answer": [r["answer"] for r in rows]}
        hub.write("lmms-lab/GQA", f"{part}_balanced_instructions", part, table)
        photos = sorted({r["photo"] for r in rows}, reverse=True)
        table = {"id": photos, "image": [image(f"{photo}.jpg") for photo in photos]}
        kinds = datasets.Features({"id": datasets.Value("string"), "image": IMAGE})
        hub.write("lmms-lab/GQA", f"{part}_balanced_images", part, table, kinds)


def flickr30k_itm(hub, codes=()):
    kinds = {"image": IMAGE, "caption": datasets.List(datasets.Value("string")), "filename": datasets.Value("string")}
    for split in N:
        rows = captioned(split)
        table = {"image": [image(r["file"]) for r in rows], "caption": [r["texts"] for r in rows]}
        table |= {"filename": [r["file"] for r in rows]}
        part = "val" if split == "validation" else split
        hub.write("umaru97/flickr30k_train_val_test", "default", part, table, datasets.Features(kinds))


def coco_itm(hub, codes=()):
    for split in N:
        for part in ("train", "restval") if split == "train" else (split,):
            rows = captioned(split, source=part[0])
            folder = "train2014" if part == "train" else "val2014"
            table = {"filepath": [folder] * len(rows), "filename": [r["file"] for r in rows]}
            table |= {"sentences": [r["texts"] for r in rows], "cocoid": list(range(len(rows)))}
            hub.write("yerevann/coco-karpathy", "default", part, table)
            images(hub.folder / "files" / "coco" / folder, [r["file"] for r in rows])


def xvnli(hub, codes):
    snli_ve(hub)
    for code in codes:
        rows = entailment("test", code)
        table = {"caption": ["premise"] * len(rows), "hypothesis": [r["text"] for r in rows]}
        table |= {"label": [r["label"] for r in rows], "image": structs([f"{r['photo']}.jpg" for r in rows])}
        hub.write("floschne/xvnli", "default", code, table)


def xgqa(hub, codes):
    gqa(hub)
    for code in codes:
        rows = questions("test", code)
        table = {"question": [r["text"] for r in rows], "answer": [r["answer"] for r in rows]}
        table |= {"full_answer": ["It is."] * len(rows), "image_id": [r["photo"] for r in rows]}
        hub.write("floschne/xgqa", "default", code, table | {"image": structs([f"{r['photo']}.jpg" for r in rows])})


def marvl(hub, codes):
    marvl_files(hub.folder / "files" / "marvl", codes)
    for code in codes:
        rows = statements("test", code)
        table = {"id": [f"{code}-{i}" for i in range(len(rows))], "hypothesis": [r["text"] for r in rows]}
        table |= {"label": [r["label"] for r in rows]}
        for side, n in (("left_img", 0), ("right_img", 1)):
            table[side] = structs([f"{i}-{n}.jpg" for i in range(len(rows))])
        hub.write("floschne/marvl", "default", code, table)


def xflickrco(hub, codes):
    flickr30k_itm(hub)
    for code in codes:
        rows = captioned("test", code, 1)
        table = {"id": [str(i) for i in range(len(rows))], "sentences": [r["texts"][0] for r in rows]}
        hub.write("floschne/xflickrco", "default", code, table | {"image": structs([r["file"] for r in rows])})


def xm3600(hub, codes):
    for code in codes:
        rows = captioned("test", code, 3)
        table = {"image_id": [r["file"].removesuffix(".jpg") for r in rows], "image_locale": ["en"] * len(rows)}
        table |= {"captions": [r["texts"] for r in rows], "image": structs([r["file"] for r in rows])}
        hub.write("floschne/xm3600", "default", code, table)


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
    """Images in a tar of the training split, and in a folder of the others."""
    for split, part in (("train", "train"), ("validation", "dev"), ("test", "test")):
        rows = statements(split)
        own = [{"sentence": r["text"], "label": str(r["label"]).lower(), "identifier": f"{i}-0", "evals": {},
                "directory": str(i % 2)} for i, r in enumerate(rows)]  # fmt: skip
        jsonl(folder / part / f"{part}.json", own)
        names = [f"{row['directory']}/{part}-{row['identifier']}-0.png" for row in own]
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


def local_settings(hub: Hub) -> dict[str, dict[str, str]]:
    """The arguments of tasks that need files; they are made when first asked for."""
    files = hub.folder / "files"
    made = {"nlvr2": nlvr2_files, "nlvr": nlvr_files, "emoji": emoji_files}
    for name, build in made.items():
        if not (files / name).exists():
            build(files / name)
    settings = {name: {"data_dir": str(files / name)} for name in (*made, "marvl")}
    settings |= dict.fromkeys(("emoji_itm", "emoji_names"), settings["emoji"])
    return settings | {"coco_itm": {"image_dir": str(files / "coco")}}


def nothing(hub, codes=()):
    """For data that are on no hub: see :func:`local_settings`."""


BUILDERS.update(
    {
        **{build.__name__: build for build in (snli_ve, vqa_v2, gqa, flickr30k_itm, coco_itm)},
        **{build.__name__: build for build in (xvnli, xgqa, marvl, xflickrco, xm3600)},
        **dict.fromkeys(("nlvr2", "nlvr", "emoji", "emoji_itm", "emoji_names"), nothing),
        "image_mlm": flickr30k_itm,
    }
)
