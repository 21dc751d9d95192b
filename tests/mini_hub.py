"""Every data set in miniature, in the hub's own layout and columns, in a folder that stands in for the hub.

What no hub could be asked for (see ``../shared/reference/hub.md``) is as other projects' loaders read it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import datasets
import pytest
import yaml
from retrieval_tools import mewslix_files, pair_files

from xmit.data import sources
from xmit.data.treebanks import TREEBANKS
from xmit.registry import get_task
from xmit.tasks import SIB200
from xmit.tasks.nli import LABELS
from xmit.tasks.target.panx import XTREME as PANX_XTREME
from xmit.tasks.target.tatoeba import XTREME as TATOEBA_XTREME

TEXT, NUMBER = datasets.Value("string"), datasets.Value("int32")
NER = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
# UD's own order and its 18th name, which are not ours
UPOS = ["NOUN", "PUNCT", "ADP", "NUM", "SYM", "SCONJ", "ADJ", "PART", "DET"]
UPOS += ["CCONJ", "PROPN", "PRON", "X", "_", "ADV", "INTJ", "VERB", "AUX"]


def features(*texts, labels=(), **others):
    """Columns of texts, of a label with these names, and others."""
    named = {"label": datasets.ClassLabel(names=list(labels))} if labels else {}
    return datasets.Features({**dict.fromkeys(texts, TEXT), **named, **others})


NLI = features("premise", "hypothesis", labels=LABELS)
PAWS = features("sentence1", "sentence2", labels="01", id=NUMBER)
ANSWERS = {"text": datasets.List(TEXT), "answer_start": datasets.List(NUMBER)}
SQUAD = features("id", "title", "context", "question", answers=ANSWERS)

PARTS, CONVERTED = "{config}/{split}-00000-of-00001.parquet", "{config}/{split}/0000.parquet"
LAYOUT = {  # hub id: how the files of a config and split are called
    "nyu-mll/glue": PARTS,
    "facebook/xnli": PARTS,
    "google-research-datasets/paws-x": PARTS,
    "cambridgeltl/xcopa": PARTS,
    "aps/super_glue": PARTS,
    "lighteval/siqa": "data/{split}-00000-of-00001.parquet",
    "Rowan/hellaswag": "data/{split}-00000-of-00001.parquet",
    "tau/commonsense_qa": "data/{split}-00000-of-00001.parquet",
    "nala-cub/americas_nli": PARTS,
    "masakhane/afrixnli": "data/{config}/{split}.tsv",
    "Davlan/sib200": "data/{config}/{split}.tsv",
    "facebook/belebele": "data/{config}.jsonl",
    "allenai/cosmos_qa": CONVERTED,
    "juletxara/xstory_cloze": CONVERTED,
    "indonlp/NusaX-senti": CONVERTED,
    "google/xtreme": PARTS,
    "unimelb-nlp/wikiann": PARTS,
    "commul/universal_dependencies": PARTS,
    "masakhane/masakhaner2": CONVERTED,
    "universalner/universal_ner": CONVERTED,
    "rajpurkar/squad": PARTS,
    "rajpurkar/squad_v2": PARTS,
    "google/xquad": PARTS,
    "google-research-datasets/tydiqa": PARTS,
    "mteb/BUCC": PARTS,
    "mteb/tatoeba-bitext-mining": PARTS,
    "izhx/mewsli-x": "{config}/{split}.jsonl",
    "wikimedia/wikipedia": PARTS,
    "stanfordnlp/snli": PARTS,
    "facebook/anli": PARTS,
}
LANGUAGES = {  # task: the languages of its miniature, those with a name, script or source of their own among them
    "afri_xnli": ["am", "en", "tw"],
    "americas_nli": ["ay", "oto"],
    "belebele": ["en", "hi-Latn", "zh-Hant"],
    "bucc2018": ["de", "zh"],
    "commonsense_qa": ["en"],
    "copa": ["en"],
    "cosmos_qa": ["en"],
    "hellaswag": ["en"],
    "lareqa": ["de", "en"],
    "masakhaner2": ["bbj", "ha"],
    "masked_lm": ["en", "sw", "yo"],
    "mewslix": ["de", "tr"],
    "mlqa": ["en", "zh"],
    "nusax": ["bbc", "en", "id"],
    "panx": ["en", "lt", "sw"],
    "pawsx": ["de", "en"],
    "sib200": ["ace-Arab", "en", "zh-Hant"],
    "social_iqa": ["en"],
    "squad": ["en"],
    "squad_v2": ["en"],
    "tatoeba": ["de", "fa", "ro"],
    "tydiqa": ["en", "ko", "sw"],
    "udpos": ["en", "fr", "th"],
    "xcopa": ["et", "th"],
    "xnli": ["en", "sw"],
    "xquad": ["ar", "ro"],
    "xstory_cloze": ["en", "my"],
    "mnli": ["en"],
    "snli": ["en"],
    "anli_plus": ["en"],
    "qqp": ["en"],
    "ccg": ["en"],
}


class Hub:
    """A folder with miniature repositories in the hub's layout."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.configs, self.asked = folder, {}, []

    def write(self, hub, config, split, columns, features=None):
        """One split of one configuration."""
        name = LAYOUT[hub].format(config=config, split=split)
        path = self.folder / hub / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table = datasets.Dataset.from_dict(columns, features=features)
        if path.suffix == ".parquet":
            table.to_parquet(path)
        elif path.suffix == ".jsonl":
            table.to_json(path, force_ascii=False)
        else:
            rows = zip(*columns.values(), strict=True)
            path.write_text("\n".join("\t".join(map(str, row)) for row in [columns, *rows]) + "\n", encoding="utf-8")
        if LAYOUT[hub] != CONVERTED:  # the converted copies have no card
            self.configs.setdefault(hub, {}).setdefault(config, {})[split] = name
            card = [
                {"config_name": c, "data_files": [{"split": s, "path": p} for s, p in splits.items()]}
                for c, splits in self.configs[hub].items()
            ]
            (self.folder / hub / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': card})}---\n")

    def load(self, dataset, *, rows=None, **arguments):
        """The real loader on the folder; a miniature has not the real number of rows."""
        assert rows is None or rows > 50
        self.asked.append((dataset, arguments.get("config"), arguments["split"], rows))
        return sources.load_hub(str(self.folder / dataset), **arguments)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make every module of tasks load from here, nothing reach the hub, and no cache outlive the folder."""
        for name, module in list(sys.modules.items()):
            if name.startswith("xmit.") and module is not sources and hasattr(module, "load_hub"):
                monkeypatch.setattr(module, "load_hub", self.load)
        monkeypatch.setattr(sources, "_unreachable", lambda _: "tests have no network")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", self.folder / "cache")

    def fill(self, name):
        """The miniature of a task."""
        BUILDERS[name](self, [get_task(name).metadata.language_map.get(code, code) for code in LANGUAGES[name]])


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


_TASKS = (
    *(
        afri_xnli,
        americas_nli,
        belebele,
        bucc2018,
        masakhaner2,
        masked_lm,
        mewslix,
        mlqa,
        nusax,
        panx,
        pawsx,
        sib200,
        tatoeba,
    ),
    *(tydiqa, udpos, xcopa, xnli, xquad, xstory_cloze),
    *(mnli, snli, anli_plus, qqp, ccg),
)
BUILDERS = {build.__name__: build for build in _TASKS}
BUILDERS |= {
    **{"commonsense_qa": commonsense_qa, "copa": english_copa, "cosmos_qa": cosmos_qa, "hellaswag": hellaswag},
    **{"social_iqa": social_iqa, "squad": squad, "squad_v2": squad_v2},
}
"""What makes the miniature of a task; LAReQA's data are on no hub."""
