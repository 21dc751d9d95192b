"""Every target task's files in miniature, in the layouts of the original releases and of XTREME."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from retrieval_tools import lareqa_files, mewslix_files


@dataclass
class File:
    """A file of a few rows.

    Args:
        text: What it holds, with an é, so that another encoding shows.
        split: The split that is read from it.
        wrong: A text within it and what that must not be: a label out of range, an answer beyond its context.
        ids: Whether its rows have ids of their own, which must not occur twice; for JSON other than SQuAD's the
            pattern of one, as its group.
        kind: What it holds where its name does not say: JSON lines under the name ``.json``.
    """

    text: str
    split: str
    wrong: tuple[str, str] | None = None
    ids: bool | str = False
    kind: str = ""


@dataclass
class Case:
    """A task with the files of one layout."""

    files: dict[str, File]
    languages: list[str]
    options: dict[str, Any] = field(default_factory=dict)


def table(rows, *header, separator="\t"):
    return "".join(separator.join(map(str, row)) + "\n" for row in ([header] if header else []) + rows)


def jsonl(*rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def squad(*ids):
    context = "Né à Bonn, il vécut ici."
    qas = [{"id": i, "question": f"{i} où?", "answers": [{"text": "Bonn", "answer_start": 5}]} for i in ids]
    data = [{"title": "t", "paragraphs": [{"context": context, "qas": qas}]}]
    return json.dumps({"version": "1.1", "data": data}, ensure_ascii=False, indent=1) + "\n"


def conllu(*ids):
    words = [("Né", "VERB"), ("ici", "ADV")]
    rows = ["".join(f"{n}\t{w}\t_\t{t}\t_\t_\t{n - 1}\tdep\t_\t_\n" for n, (w, t) in enumerate(words, 1)) for _ in ids]
    return "".join(f"# sent_id = {i}\n{row}\n" for i, row in zip(ids, rows, strict=True))


def tagged(tags, separator="\t"):
    return "".join(f"é{n}{separator}{tag}\n" for n, tag in enumerate(tags)) + "\n"


NLI = table([("é", "h", "neutral"), ("p", "h", "entailment")])
BAD_NLI = ("entailment", "maybe")
MNLI = File(NLI, "train", BAD_NLI)
NUMBERED = table([("é", "h", 0), ("p", "h", 2)], "premise", "hypothesis", "label")
AMERICAS = table(
    [(25_051, "aym", "é", "h", "neutral"), (25_052, "aym", "p", "h", "entailment")],
    *("id", "language", "premise", "hypothesis", "label"),
)
RELEASED = table(
    [("sw", "neutral", "é", "h"), ("en", "neutral", "é", "h"), ("sw", "entailment", "p", "h")],
    *("language", "gold_label", "sentence1", "sentence2"),
)
PAWS = table([("é", "b", 0), ("c", "d", 1)])
NUSA = table([(5, "é", "neutral"), (7, "b", "positive")], "id", "text", "label", separator=",")
SIB = table([(5, "travel", "é"), (7, "politics", "b")], "index_id", "category", "text")
COPA = {"premise": "é", "choice1": "a", "choice2": "b", "question": "cause"}
XCOPA = jsonl({**COPA, "idx": 0, "label": 0}, {**COPA, "idx": 1, "label": 1})
BAD_COPA = ('"label": 1', '"label": 2')
SIQA = jsonl(*({"context": c, "question": "q", **{f"answer{k}": k for k in "ABC"}} for c in "éc"))
STORY = ("InputStoryid", *(f"InputSentence{k}" for k in (1, 2, 3, 4)))
STORY = (*STORY, "RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2", "AnswerRightEnding")
STORIES = table([(f"s{n}", *"éabcde", 1 + n % 2) for n in range(12)], *STORY)
BAD_STORY = ("e\t2\n", "e\t3\n")
PASSAGE = {"link": "u", "flores_passage": "é", "question": "q", **{f"mc_answer{k}": "a" for k in (1, 2, 3, 4)}}
BELEBELE = jsonl(*({**PASSAGE, "question_number": n, "correct_answer_num": str(n)} for n in (1, 2)))
COSMOS = ("id", "context", "question", *(f"answer{k}" for k in range(4)), "label")
COSMOS = table([("x", "é", *"qabcd", 3), ("y", "c", *"qabcd", 0)], *COSMOS, separator=",")
BAD_COSMOS = ("d,0\n", "d,4\n")
BAD_UPOS, BAD_NER = ("ADV", "ADVERB"), ("I-PER", "I-FOO")
NER = tagged(["O", "B-PER", "I-PER"])
UNER = "# sent_id = s1\n" + "".join(f"{n}\té{n}\t{t}\t-\t-\n" for n, t in enumerate(["O", "I-PER"], 1)) + "\n"
BAD_SQUAD = ('"answer_start": 5', '"answer_start": 5000')
LINES = "eins é\nzwei\n"


def questions(split, prefix="q"):
    return File(squad(f"{prefix}-1", f"{prefix}-2"), split, BAD_SQUAD, ids=True)


def corpora(part, split):
    sides = {code: File(table([(f"{code}-1", "é"), (f"{code}-2", "b")]), split, ids=True) for code in ("de", "en")}
    gold = File(table([("de-1", "en-2"), ("de-2", "en-1")]), split, ("en-1", "en-7"))
    return {f"de-en.{part}.{suffix}": file for suffix, file in {**sides, "gold": gold}.items()}


SQUAD = {"train-v1.1.json": questions("train"), "dev-v1.1.json": questions("validation")}
IMAGELESS = {"images": "none"}  # images are damaged in test_image_text


def entailment(photo):
    labels = ("neutral", "entailment", "-", "entailment")
    rows = zip("ébcd", labels, strict=True)
    return jsonl(*({photo: text, "pairID": text, "sentence2": text, "gold_label": label} for text, label in rows))


def gqa(split):
    rows = {f"0{n}": {"imageId": "n1", "question": f"é{n}?", "answer": answer} for n, answer in enumerate(("ja", "no"))}
    text = json.dumps(rows, ensure_ascii=False, indent=1) + "\n"
    return File(text, split, ('"answer": "no"', '"answer": null'), ids=r'"(0\d)": ')


def nlvr2(part, split):
    rows = [{"identifier": f"{part}-{n}-0-0", "sentence": s, "directory": n, "label": label}
            for n, (s, label) in enumerate((("é", "True"), ("b", "False")))]  # fmt: skip
    return File(jsonl(*rows), split, ('"False"', '"Perhaps"'), ids=True, kind="jsonl")


def karpathy(*parts):
    sentences = [{"raw": "é", "tokens": ["é"]}, {"raw": "b", "tokens": ["b"]}]
    rows = [{"sentids": [0, 1], "filename": f"{part}{n}.jpg", "split": part, "sentences": sentences}
            for part in parts for n in range(2)]  # fmt: skip
    return json.dumps({"images": rows, "dataset": "flickr30k"}, ensure_ascii=False, indent=1) + "\n"


XVNLI = {f"snli_ve_{part}.jsonl": File(entailment("Flickr30K_ID"), split, BAD_NLI)
         for part, split in (("train", "train"), ("dev", "validation"))}  # fmt: skip
MARVL = {"concept": "1-Cat", "left_img": "1.jpg", "right_img": "2.jpg"}
MARVL = jsonl(
    {"id": "sw-0", **MARVL, "caption": "é", "label": True}, {"id": "1", **MARVL, "caption": "b", "label": False}
)
XFLICKR = jsonl(*({"id": str(n), "img_path": f"{n}.jpg", "sentences": [s]} for n, s in enumerate("éb")))
XFLICKR = {"xFlickrCO/annotations/tr/test.jsonl": File(XFLICKR, "test", ('["b"]', '[""]'), ids=True)}
FLICKR = jsonl(*({"img_path": f"{n}.jpg", "sentences": [s, "b"]} for n, s in enumerate("éc")))
XM3600 = jsonl(*({"image/key": f"k{n}", "fil": {"caption": [s, "b"]}} for n, s in enumerate("éc")))
EMOJI = jsonl(  # the first two are in the test split
    *({"emoji": e, "file": "u.png", "group": "Symbols", "names": {"en": f"n {e}", "de": s}}
      for e, s in (("©", "é"), ("½", "b"), ("®", "c"), ("5", "d")))
)  # fmt: skip
CASES = {
    "xnli": Case(
        {"xnli/train-en.tsv": MNLI, "xnli/dev-en.tsv": File(NLI, "validation", BAD_NLI)}
        | {"xnli/test-sw.tsv": File(NLI, "test", BAD_NLI)},
        ["sw"],
    ),
    "xnli as released": Case(
        {
            "multinli_1.0_train.jsonl": File(
                jsonl(
                    {"gold_label": "neutral", "sentence1": "é", "sentence2": "h"},
                    {"gold_label": "entailment", "sentence1": "p", "sentence2": "h"},
                ),
                "train",
                BAD_NLI,
            ),
            "xnli.dev.tsv": File(RELEASED, "validation", ("en\tneutral", "en\tmaybe")),
            "xnli.test.tsv": File(RELEASED, "test", ("sw\tentailment", "sw\tmaybe")),
        },
        ["sw"],
    ),
    "americas_nli": Case(
        {"train-en.tsv": MNLI, "dev-en.tsv": File(NLI, "validation", BAD_NLI)}
        | {"test/aym.tsv": File(AMERICAS, "test", BAD_NLI, ids=True)},
        ["ay"],
    ),
    "afri_xnli": Case(
        {"train-en.tsv": MNLI, "eng/dev.tsv": File(NUMBERED, "validation", ("h\t2", "h\t3"))}
        | {"zul/test.tsv": File(NUMBERED, "test", ("h\t2", "h\t3"))},
        ["zu"],
    ),
    "pawsx": Case(
        {f"pawsx/{part}-en.tsv": File(PAWS, split, ("d\t1", "d\t2")) for part, split in (("train", "train"),
         ("dev", "validation"), ("test", "test"))} | {"pawsx/test-de.tsv": File(PAWS, "test", ("d\t1", "d\t2"))},
        ["de"],
    ),
    "nusax": Case(
        {f"sentiment/{folder}/{part}.csv": File(NUSA, split, ("positive", "fine"), ids=True)
         for folder, part, split in (("english", "train", "train"), ("english", "valid", "validation"),
         ("acehnese", "test", "test"))},
        ["ace"],
    ),
    "sib200": Case(
        {name: File(SIB, split, ("politics", "weather"), ids=True) for name, split in
         (("eng_Latn/train.tsv", "train"), ("eng_Latn/dev.tsv", "validation"), ("yor_Latn/test.tsv", "test"))},
        ["yo"],
    ),
    "xcopa": Case(
        {f"data/{code}/{part}.{code}.jsonl": File(XCOPA, split, BAD_COPA, ids=True) for code, part, split in
         (("en", "train", "train"), ("en", "val", "validation"), ("et", "test", "test"), ("th", "test", "test"))}
        | {"siqa/socialiqa-train-dev/train.jsonl": File(SIQA, "train"),
           "siqa/socialiqa-train-dev/train-labels.lst": File("3\n1\n", "train", ("1\n", "4\n"))},
        ["et", "th"],
        {"train_from": "siqa+copa"},
    ),
    "xstory_cloze": Case(
        {"spring2016.val.en.tsv.split_20_80_train.tsv": File(STORIES, "train", ("e\t1\ns11", "e\t3\ns11")),
         "spring2016.val.my.tsv.split_20_80_eval.tsv": File(STORIES, "test", BAD_STORY, ids=True)},
        ["my"],
    ),
    "belebele": Case(
        {"train.csv": File(COSMOS, "train", BAD_COSMOS), "valid.csv": File(COSMOS, "validation", BAD_COSMOS)}
        | {"Belebele/zul_Latn.jsonl": File(BELEBELE, "test", ('"2"}', '"5"}'))},
        ["zu"],
    ),
    "udpos": Case(
        {f"UD/{code}_gsd-ud-{part}.conllu": File(conllu("a", "b"), split, BAD_UPOS, ids=True) for code, part, split in
         (("en", "train", "train"), ("en", "dev", "validation"), ("de", "test", "test"))},
        ["de"],
    ),
    "udpos of xtreme": Case(
        {f"udpos/{part}-{code}.tsv": File(tagged(["NOUN", "ADV"]), split, BAD_UPOS) for code, part, split in
         (("en", "train", "train"), ("en", "dev", "validation"), ("de", "test", "test"))},
        ["de"],
    ),
    "panx": Case(
        {"panx/train-en.tsv": File(NER, "train", BAD_NER), "panx/dev-en.tsv": File(NER, "validation", BAD_NER)}
        | {"panx/test-de.tsv": File(NER, "test", BAD_NER)},
        ["de"],
    ),
    "masakhaner2": Case(
        {f"UNER_English-EWT/en_ewt-ud-{part}.iob2": File(UNER, split, BAD_NER) for part, split in
         (("train", "train"), ("dev", "validation"))}
        | {"hau/test.txt": File(tagged(["O", "B-PER", "I-PER"], " "), "test", BAD_NER)},
        ["ha"],
    ),
    "xquad": Case({**SQUAD, "xquad.th.json": questions("test")}, ["th"]),
    "mlqa": Case(
        {"train-v1.1.json": questions("train")}
        | {f"{part}/{part}-context-{code}-question-{code}.json": questions(split) for part, code, split in
           (("dev", "en", "validation"), ("test", "hi", "test"))},
        ["hi"],
    ),
    "tydiqa": Case(
        {"tydiqa-goldp-v1.1-train.json": File(squad(*(f"english-{n}" for n in range(2))), "train", BAD_SQUAD),
         "tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-korean.json": questions("test", "korean")},
        ["ko"],
    ),
    "bucc2018": Case(corpora("training", "test"), ["de"]),
    "bucc2018 for thresholds": Case(corpora("sample", "test"), ["de"], {"test_split": "validation"}),
    "tatoeba": Case({f"tatoeba.deu-eng.{code}": File(LINES, "test") for code in ("deu", "eng")}, ["de"]),
    "xvnli": Case(
        {**XVNLI, "XVNLI/annotations/ar/test.jsonl": File(entailment("Flikr30kID"), "test", BAD_NLI, ids=True)},
        ["ar"],
        IMAGELESS,
    ),
    "marvl": Case(
        {"data/train.json": nlvr2("train", "train"), "data/dev.json": nlvr2("dev", "validation"),
         "zero_shot/annotations/marvl-sw.jsonl": File(MARVL, "test", ("false", "2"), ids=True)},
        ["sw"],
        IMAGELESS,
    ),
    "xgqa": Case(
        {"train_balanced_questions.json": gqa("train"), "val_balanced_questions.json": gqa("validation"),
         "zero_shot/testdev_balanced_questions_de.json": gqa("test")},
        ["de"],
        IMAGELESS,
    ),
    "xflickrco": Case(
        {"dataset_flickr30k.json": File(karpathy("train", "val"), "train", ('"split": "val"', '"split": "v"'),
         ids=r'"filename": "(train\d.jpg)"'), **XFLICKR},
        ["tr"],
        IMAGELESS,
    ),
    "xflickrco of iglue": Case(
        {f"{part}_ann.jsonl": File(FLICKR, split, ('["c", "b"]', '["c", ""]'), ids=True) for part, split in
         (("train", "train"), ("valid", "validation"))} | XFLICKR,
        ["tr"],
        IMAGELESS,
    ),
    "xm3600": Case({"captions.jsonl": File(XM3600, "test", ('["c", "b"]', '"c"'), ids=True)}, ["tl"], IMAGELESS),
    "emoji_names": Case({"annotations.jsonl": File(EMOJI, "test", ('"de": "d"', '"de": 5'), ids=True)}, ["de"]),
}  # fmt: skip


def other_case(name, folder):
    """LAReQA and Mewsli-X, whose files other tests write too."""
    (lareqa_files if name == "lareqa" else mewslix_files)(folder)
    files = {}
    for path in sorted(folder.iterdir()):
        if name == "lareqa":
            text = json.dumps(json.loads(path.read_text("utf-8")), ensure_ascii=False, indent=1).replace(" q1", " é1")
            wrong, ids = ('"sentence_breaks": [', '"sentence_breaks": [[0, 5000], '), True
        else:
            text = jsonl(*(json.loads(line) for line in path.read_text("utf-8").splitlines()))
            span = '"mention_span": {"start": '
            wrong, ids = ((span, span + "9") if "mentions" in path.name else None), True
            text = text.replace("Köln", "Kéln")
        files[path.name] = File(text + "\n" * (name == "lareqa"), "test", wrong, ids)
    return Case(files, ["de"] if name == "lareqa" else ["de", "tr"])
