"""Tagging, question answering, retrieval and plain text in miniature, in the hub's layout."""

from __future__ import annotations

import json

import datasets
from mini_hub import NUMBER, TEXT, features
from retrieval_tools import mewslix_files, pair_files

from xmit.data.treebanks import TREEBANKS
from xmit.registry import get_task
from xmit.tasks.target.panx import XTREME as PANX_XTREME
from xmit.tasks.target.tatoeba import XTREME as TATOEBA_XTREME

NER = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
# UD's own order and its 18th name, which are not ours
UPOS = ["NOUN", "PUNCT", "ADP", "NUM", "SYM", "SCONJ", "ADJ", "PART", "DET"]
UPOS += ["CCONJ", "PROPN", "PRON", "X", "_", "ADV", "INTJ", "VERB", "AUX"]
ANSWERS = {"text": datasets.List(TEXT), "answer_start": datasets.List(NUMBER)}
SQUAD = features("id", "title", "context", "question", answers=ANSWERS)


# -- tagging -------------------------------------------------------------------------------------------------


def tags(column, names, **others):
    """Columns of tagged sentences."""
    return features(tokens=datasets.List(TEXT), **{column: datasets.List(datasets.ClassLabel(names=names))}, **others)


def panx(hub, codes):
    n = 6
    rows = {"tokens": [["Dar", "es", str(i)] for i in range(n)], "ner_tags": [[5, 6, 0]] * n}
    for code in codes:
        own = rows | {"langs": [[code] * 3] * n}
        lists = {"langs": datasets.List(TEXT)}
        where = "google/xtreme", f"PAN-X.{code}"
        if code not in PANX_XTREME.split():
            where, own = ("unimelb-nlp/wikiann", code), own | {"spans": [["LOC: Dar es"]] * n}
            lists["spans"] = datasets.List(TEXT)
        for split in ("train", "validation", "test"):
            hub.write(*where, split, own, tags("ner_tags", NER, **lists))


def udpos(hub, codes):
    # a fused form beside its words, as the hub has it
    tokens, upos = [["du", "de", "le", "x"], ["y", "."]], [["_", "ADP", "DET", "NOUN"], ["VERB", "PUNCT"]]
    rows = {"sent_id": ["a", "b"], "text": ["du x", "y ."], "tokens": tokens}
    rows |= {"upos": [[UPOS.index(tag) for tag in row] for row in upos]}
    columns = tags("upos", UPOS, sent_id=TEXT, text=TEXT)
    for code in codes:
        for treebank in TREEBANKS[code]:
            config = f"{code}_{treebank.lower()}".replace("fr_spoken", "fr_rhapsodie")
            for split in ("train", "validation", "test") if treebank.islower() else ("test",):
                hub.write("commul/universal_dependencies", config, split, rows, columns)


CCG_LINES = """\
ID=wsj_{name}.1 PARSER=GOLD NUMPARSE=1
(<T S[dcl] 0 2> (<T S[dcl] 1 2> (<T NP 0 1> (<L N NNP NNP Bonn N>) ) (<T S[dcl]\\NP 0 2> (<L (S[dcl]\\NP)/NP VBZ VBZ \
keeps (S[dcl]\\NP_1)/NP_2>) (<T NP 1 2> (<L NP[nb]/N DT DT a NP[nb]_3/N_3>) (<L N NN NN river N>) \
) ) ) (<L . . . . .>) )
ID=wsj_{name}.2 PARSER=GOLD NUMPARSE=1
(<T NP 0 2> (<T NP 0 1> (<L N NNS NNS Bells N>) ) (<T NP[conj] 1 2> (<L conj CC CC and conj>) (<T NP 0 1> \
(<L N CD CD 1\\/2 N>) ) ) )
"""


def ccg(hub, codes):
    """Invented sentences as CCGbank has its own, a file in every section."""
    for section in range(25):
        path = hub.folder / "files" / "ccg" / "data" / "AUTO" / f"{section:02d}" / f"wsj_{section:02d}00.auto"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CCG_LINES.format(name=f"{section:02d}00"), encoding="utf-8")


def masakhaner2(hub, codes):
    n = 5
    rows = {"id": list(map(str, range(n))), "tokens": [["2020", "Bonn"]] * n, "ner_tags": [[7, 5]] * n}
    for code in codes:
        hub.write("masakhane/masakhaner2", code, "test", rows, tags("ner_tags", [*NER, "B-DATE", "I-DATE"], id=TEXT))
    rows = {"idx": [f"e-{i}" for i in range(n)], "text": ["in Bonn"] * n, "tokens": [["in", "Bonn"]] * n}
    rows |= {"ner_tags": [[0, 5]] * n, "annotator": [["me", "me"]] * n}
    columns = tags("ner_tags", NER, idx=TEXT, text=TEXT, annotator=datasets.List(TEXT))
    for split in ("train", "validation"):
        hub.write("universalner/universal_ner", "en_ewt", split, rows, columns)


# -- question answering --------------------------------------------------------------------------------------


def questions(prefix, n=6, start=0):
    """Rows in the hub's columns."""
    rows = []
    for i in range(start, start + n):
        context = f"{prefix} number {i} lies in Town{i}, and Town{i} lies in the north."
        answer = {"text": [f"Town{i}"], "answer_start": [context.index("Town")]}
        rows.append(
            {"id": f"{prefix}-{i}", "title": "T", "context": context, "question": f"Where is {i}?", "answers": answer}
        )
    return rows


def columns_of(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def squad(hub, codes=()):
    for split, rows in {"train": questions("train", 20), "validation": questions("dev")}.items():
        hub.write("rajpurkar/squad", "plain_text", split, columns_of(rows), SQUAD)


def squad_v2(hub, codes=()):
    for split, rows in {"train": questions("train", 20), "validation": questions("dev")}.items():
        for row in rows[::3]:
            row["answers"] = {"text": [], "answer_start": []}
        hub.write("rajpurkar/squad_v2", "squad_v2", split, columns_of(rows), SQUAD)


def xquad(hub, codes):
    squad(hub)
    for code in codes:
        rows = {name: values for name, values in columns_of(questions("same")).items() if name != "title"}
        own = {name: kind for name, kind in SQUAD.items() if name != "title"}
        hub.write("google/xquad", f"xquad.{code}", "validation", rows, datasets.Features(own))


def mlqa(hub, codes):
    squad(hub)
    for code in codes:
        for split in ("validation", "test"):
            rows = columns_of(questions(f"{code}-{split}"))
            hub.write("google/xtreme", f"MLQA.{code}.{code}", split, rows, SQUAD)


def tydiqa(hub, names):
    rows = columns_of([row for name in names for row in questions(name, 20)])
    for split in ("train", "validation"):
        hub.write("google-research-datasets/tydiqa", "secondary_task", split, rows, SQUAD)


# -- retrieval -----------------------------------------------------------------------------------------------


def tatoeba(hub, codes):
    n, xtreme = 5, {get_task("tatoeba").metadata.language_map[code] for code in TATOEBA_XTREME.split()}
    for code in codes:
        sides = [f"{code} {i}" for i in range(n)], [f"English {n - i}" for i in range(n)]
        if code in xtreme:
            rows = dict(zip(("source_sentence", "target_sentence"), sides, strict=True))
            rows |= {"source_lang": [code] * n, "target_lang": ["eng"] * n}
            hub.write("google/xtreme", f"tatoeba.{code}", "validation", rows)
        else:
            rows = dict(zip(("sentence1", "sentence2"), sides, strict=True))
            hub.write("mteb/tatoeba-bitext-mining", f"{code}-eng", "test", rows | {"lang": [f"{code}-eng"] * n})


def bucc2018(hub, codes):
    for code in codes:
        sides = {"sentence1": [[f"{code} {i}" for i in range(5)]], "sentence2": [[f"en {i}" for i in range(6)]]}
        hub.write("mteb/BUCC", f"{code}-en", "test", {**sides, "gold": [[[1, 2], [3, 4], [5, 5]]]})


def mewslix(hub, codes):
    folder = pair_files(mewslix_files(hub.folder / "files" / "mewslix"))
    read = {p.name: [json.loads(line) for line in p.read_text().splitlines()] for p in folder.iterdir()}
    for code in codes:
        rows = [row for row in read["wikinews_mentions-test.jsonl"] if row["context"]["language"] == code]
        hub.write("izhx/mewsli-x", code, "test", columns_of(rows))
    for part, split in (("train", "train"), ("dev", "validation")):
        hub.write("izhx/mewsli-x", "wikipedia_pairs", split, columns_of(read[f"wikipedia_pairs-{part}.jsonl"]))
    hub.write("izhx/mewsli-x", "candidate_entities", "test", columns_of(read["candidate_set_entities.jsonl"]))


# -- plain text ----------------------------------------------------------------------------------------------


def masked_lm(hub, codes):
    for code in codes:
        texts = [f"{code} article {i} says {word} to all.\n\nIts second paragraph." for i, word in enumerate("abcdef")]
        rows = {"id": list("012345"), "url": ["u"] * 6, "title": ["t"] * 6, "text": texts}
        hub.write("wikimedia/wikipedia", f"20231101.{code}", "train", rows)


BUILDERS = {
    **{build.__name__: build for build in (panx, udpos, ccg, masakhaner2, squad, squad_v2, xquad, mlqa, tydiqa)},
    **{build.__name__: build for build in (tatoeba, bucc2018, mewslix, masked_lm)},
}
