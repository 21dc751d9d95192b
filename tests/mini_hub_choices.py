"""Classification and multiple choice in miniature, in the hub's layout."""

from __future__ import annotations

import datasets
from mini_hub import NUMBER, TEXT, features

from xmit.tasks import SIB200
from xmit.tasks.nli import LABELS

NLI = features("premise", "hypothesis", labels=LABELS)
PAWS = features("sentence1", "sentence2", labels="01", id=NUMBER)


# -- classification ------------------------------------------------------------------------------------------


def nli(n, tag):
    return {
        "premise": [f'{tag} "p" {i}' for i in range(n)],
        "hypothesis": [f"{tag} h {i}" for i in range(n)],
        "label": [i % 3 for i in range(n)],
    }


def mnli(hub, codes=()):
    for split, n in (("train", 7), ("validation_matched", 4), ("validation_mismatched", 5)):
        columns = {**nli(n, "mnli"), "idx": list(range(n))}
        hub.write("nyu-mll/glue", "mnli", split, columns, datasets.Features({**NLI, "idx": NUMBER}))


def xnli(hub, codes):
    mnli(hub)
    for code in dict.fromkeys(["en", *codes]):
        for split, n in (("validation", 4), ("test", 5)):
            hub.write("facebook/xnli", code, split, nli(n, f"{code} {split}"), NLI)


def snli(hub, codes):
    for split, n in (("train", 6), ("validation", 4), ("test", 4)):
        columns = nli(n, split)
        columns["label"][1] = -1  # nobody could agree
        hub.write("stanfordnlp/snli", "plain_text", split, columns, NLI)


def anli_plus(hub, codes):
    mnli(hub)
    snli(hub, codes)
    for part in ("train", "dev", "test"):
        for number in (1, 2, 3):
            rows = nli(2 + number, f"r{number}")
            rows |= {"uid": [f"{number}-{i}" for i in range(2 + number)], "reason": [""] * (2 + number)}
            hub.write("facebook/anli", "plain_text", f"{part}_r{number}", rows, features(
                "premise", "hypothesis", "uid", "reason", labels=LABELS))  # fmt: skip


def qqp(hub, codes):
    kinds = features("question1", "question2", labels=("not_duplicate", "duplicate"), idx=NUMBER)
    for split, n in (("train", 8), ("validation", 6)):
        rows = {"question1": [f"{i}?" for i in range(n)], "question2": [f"Is it {i}?" for i in range(n)]}
        rows |= {"label": [i % 2 for i in range(n)], "idx": list(range(n))}
        hub.write("nyu-mll/glue", "qqp", split, rows, kinds)


def americas_nli(hub, codes):
    xnli(hub, [])
    for code in codes:
        hub.write("nala-cub/americas_nli", code, "test", nli(5, code), NLI)


def afri_xnli(hub, codes):
    mnli(hub)
    for code in codes:
        for split in ("validation", "test"):
            hub.write("masakhane/afrixnli", code, split, nli(6, code))


def pawsx(hub, codes=(), absent={"de": [("sentence2", 1)]}):  # noqa: B006
    """All languages, whichever are asked; what ``absent`` names by language is not translated."""
    for code in ("de", "en", "es", "fr", "ja", "ko", "zh"):
        for split in ("train", "validation", "test"):
            n = 6
            texts = {k: [f"{code} {k} {i}" for i in range(n)] for k in ("sentence1", "sentence2")}
            for side, i in absent.get(code, ()) if split != "train" else ():
                texts[side][i] = "NS"
            columns = {"id": list(range(1, n + 1)), **texts, "label": [i % 2 for i in range(n)]}
            hub.write("google-research-datasets/paws-x", code, split, columns, PAWS)


def sib200(hub, codes):
    for code in codes:
        for split in ("train", "validation", "test"):
            columns = {
                "index_id": [9, 3, *range(20, 25)],
                "category": list(SIB200.label_names),
                "text": [f'{code} "NA {i}' for i in range(7)],
            }
            hub.write("Davlan/sib200", code, split, columns)


def nusax(hub, codes, with_id=True):
    for code in codes:
        for split in ("train", "validation", "test"):
            columns = {"id": ["7", "5", "9"]} if with_id else {}
            columns |= {"text": [f"{code} {i}" for i in range(3)], "label": [2, 0, 1]}
            hub.write("indonlp/NusaX-senti", code, split, columns)


# -- multiple choice -----------------------------------------------------------------------------------------


def copa(n, tag, question):
    rows = {"premise": [f"{tag} {i}." for i in range(n)], "choice1": [f"{tag} a"] * n, "choice2": [f"{tag} b"] * n}
    rows |= {"question": question or ["cause", "effect"] * (n // 2), "label": [i % 2 for i in range(n)]}
    return rows | {"idx": list(range(n))}


def english_copa(hub, codes=()):
    for split, n in (("train", 6), ("validation", 4), ("test", 4)):
        rows = copa(n, "en", None)
        hub.write("aps/super_glue", "copa", split, rows | {"label": [-1] * n} if split == "test" else rows)


def xcopa(hub, codes):
    english_copa(hub)
    for code in codes:
        wrong = ["effect"] * 4 if code == "th" else None
        for split in ("validation", "test"):
            hub.write("cambridgeltl/xcopa", code, split, copa(4, code, wrong))
    social_iqa(hub)


def social_iqa(hub, codes=()):
    siqa = {
        "context": ["C"] * 5,
        "question": ["Q?"] * 5,
        **{f"answer{k}": [k] * 5 for k in "ABC"},
        "label": list("12331"),
    }
    for split in ("train", "validation"):
        hub.write("lighteval/siqa", "default", split, siqa)


def cosmos_qa(hub, codes=()):
    cosmos = {"id": list("abcde"), "context": ["C"] * 5, "question": ["Q"] * 5}
    cosmos |= {f"answer{k}": [str(k)] * 5 for k in range(4)} | {"label": [0, 1, 2, 3, 0]}
    for split in ("train", "validation"):
        hub.write("allenai/cosmos_qa", "default", split, cosmos)


def hellaswag(hub, codes=()):
    for split, n in (("train", 8), ("validation", 5), ("test", 3)):
        rows = {"ind": list(range(n)), "activity_label": ["Sailing"] * n, "ctx_a": [f"{split} {i}." for i in range(n)]}
        rows |= {"ctx_b": ["the man", ""] * (n // 2) + ["she"] * (n % 2)}
        rows |= {"ctx": [f"{a} {b}".strip() for a, b in zip(rows["ctx_a"], rows["ctx_b"], strict=True)]}
        rows |= {"endings": [[f"ends {i} {k}." for k in range(4)] for i in range(n)], "source_id": ["a"] * n}
        rows |= {"split": [split] * n, "split_type": ["indomain"] * n}
        rows |= {"label": [""] * n if split == "test" else [str(i % 4) for i in range(n)]}
        hub.write("Rowan/hellaswag", "default", split, rows)


def commonsense_qa(hub, codes=()):
    choices = {"label": datasets.List(TEXT), "text": datasets.List(TEXT)}
    for split, n in (("train", 8), ("validation", 5), ("test", 3)):
        rows = {"id": [f"{split}{i}" for i in range(n)], "question": [f"Where is {i}?" for i in range(n)]}
        rows |= {"question_concept": ["place"] * n}
        rows |= {"choices": [{"label": list("ABCDE"), "text": [f"{k} {i}" for k in "vwxyz"]} for i in range(n)]}
        rows |= {"answerKey": [""] * n if split == "test" else ["ABCDE"[i % 5] for i in range(n)]}
        columns = features("id", "question", "question_concept", "answerKey", choices=choices)
        hub.write("tau/commonsense_qa", "default", split, rows, columns)


def belebele(hub, codes):
    cosmos_qa(hub)
    for code in codes:
        order = [0, 1, 2] if code == "eng_Latn" else [2, 0, 1]
        rows = {"link": ["u", "u", "v"], "question_number": [1, 2, 1], "flores_passage": [f"{code} P"] * 3}
        rows |= {"question": ["q0", "q1", "q2"], **{f"mc_answer{k}": [f"a{k}"] * 3 for k in (1, 2, 3, 4)}}
        rows |= {"correct_answer_num": ["4", "1", "2"], "dialect": [code] * 3, "ds": ["2023-05-03"] * 3}
        hub.write("facebook/belebele", code, "test", {k: [v[i] for i in order] for k, v in rows.items()})


STORY = ("story_id", *(f"input_sentence_{k}" for k in (1, 2, 3, 4)), "sentence_quiz1", "sentence_quiz2",
         "answer_right_ending")  # fmt: skip


def story(n, tag, names):
    columns = [[f"{tag}-{i}" for i in range(n)], *([f"{tag} {k}."] * n for k in "1234"), ["right"] * n, ["wrong"] * n]
    return dict(zip(names, [*columns, [1 + i % 2 for i in range(n)]], strict=True))


def xstory_cloze(hub, codes):
    for code in codes:
        for split, n in (("train", 12), ("eval", 5)):
            hub.write("juletxara/xstory_cloze", code, split, story(n, split, STORY))


BUILDERS = {
    **{build.__name__: build for build in (mnli, xnli, snli, anli_plus, qqp, americas_nli, afri_xnli, pawsx)},
    **{build.__name__: build for build in (sib200, nusax, xcopa, social_iqa, cosmos_qa, hellaswag)},
    **{build.__name__: build for build in (commonsense_qa, belebele, xstory_cloze)},
    "copa": english_copa,
}
