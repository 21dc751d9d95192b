"""The image-text data in miniature in the hub's layout, with the content of ``mini_image_files``.

Columns that no hub could be asked for are as other projects' loaders read them.
"""

from __future__ import annotations

import datasets
from mini_hub import Hub
from mini_image_files import (
    N,
    captioned,
    emoji_files,
    entailment,
    file_bytes,
    image,
    images,
    marvl_files,
    nlvr2_files,
    nlvr_files,
    questions,
    statements,
    votes,
    vqa_name,
)

IMAGE = datasets.Image()


def structs(names):
    return [{"bytes": file_bytes(name), "path": name} for name in names]


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
        table |= {"image_id": [i // 2 for i in range(len(rows))]}
        table |= {"image": structs([vqa_name(split, i // 2) for i in range(len(rows))])}
        hub.write("lmms-lab/VQAv2", "default", split, table)


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
        table = {"caption": ["premise"] * len(rows), "caption_id": [f"{r['photo']}.jpg#0" for r in rows]}
        table |= {"hypothesis": [r["text"] for r in rows]}
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


BUILDERS = {
    **{build.__name__: build for build in (snli_ve, vqa_v2, gqa, flickr30k_itm, coco_itm)},
    **{build.__name__: build for build in (xvnli, xgqa, marvl, xflickrco, xm3600)},
    **dict.fromkeys(("nlvr2", "nlvr", "emoji", "emoji_itm", "emoji_names"), nothing),
    "image_mlm": flickr30k_itm,
}
