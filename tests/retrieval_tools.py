"""What the tests of retrieval targets share: files, vectors of one's own, the hub's layout in a folder."""

from __future__ import annotations

import dataclasses
import gzip
import json

import numpy as np
import torch
import yaml
from datasets import Dataset

from xmit.modules.encoders import load_tokenizer
from xmit.tasks.target import LAReQA


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def decoded(task, vector, split="test"):
    """What the module would gather, had the encoder made a vector of each text so."""
    task.bind(load_tokenizer("embedded:e5-small"))
    sequences = task.examples(split).text["text"]
    batch = sequences.pad(range(len(sequences)), 1)
    tokens = task.tokenizer
    texts = [tokens.decode(row, skip_special_tokens=True) for row in batch["input_ids"]]
    vectors = torch.stack([torch.as_tensor(vector(text), dtype=torch.float32) for text in texts])
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))
    return {"item": order, "vector": vectors[order]}


def from_folder(monkeypatch, task, folder):
    """The task as from the hub, which a folder in the hub's layout stands in for."""
    monkeypatch.setattr(task, "metadata", dataclasses.replace(task.metadata, dataset=str(folder)))


def hub(folder, config, split, columns):
    """One configuration of a repository."""
    path = folder / "data" / config / f"{split}.parquet"
    path.parent.mkdir(parents=True)
    Dataset.from_dict(columns).to_parquet(path)
    card = folder / "README.md"
    known = yaml.safe_load(card.read_text().strip("-\n"))["configs"] if card.exists() else []
    known.append({"config_name": config, "data_files": [{"split": split, "path": f"data/{config}/{split}.parquet"}]})
    card.write_text(f"---\n{yaml.safe_dump({'configs': known})}---\n")


def corpora(folder, part, source, target, gold):
    for code, sentences in (("de", source), ("en", target)):
        write(folder / f"de-en.{part}.{code}", "".join(f"{code}-{i}\t{s}\n" for i, s in enumerate(sentences)))
    if gold is not None:
        write(folder / f"de-en.{part}.gold", "".join(f"de-{a}\ten-{b}\n" for a, b in gold))


def lareqa_files(folder, **change):
    """A paragraph of three sentences with two questions, in every language."""
    for code in LAReQA.metadata.languages:
        sentences = [f"{code} one.", f"{code} two.", f"{code} two."]
        context = " ".join(sentences)
        starts = np.cumsum([0, *(len(s) + 1 for s in sentences)])
        breaks = [[int(a), int(a) + len(s)] for a, s in zip(starts, sentences, strict=False)]
        answers = {"q1": context.index("one"), "q2": context.index("two")}
        qas = [
            {"id": key, "question": f"{code} {key}", "answers": [{"text": context[a : a + 3], "answer_start": a}]}
            for key, a in answers.items()
        ]
        paragraph = {"context": context, "sentence_breaks": breaks, "qas": qas} | change.get(code, {})
        write(folder / f"{code}.json", json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    return folder


def squad_files(folder, n=8):
    """SQuAD 1.1 in miniature: passages of three sentences, two questions each."""
    for split, tag in (("train", "t"), ("dev", "d")):
        paragraphs = []
        for i in range(n):
            context = f"Town {tag}{i} is old. It has {i} towers, e.g. Tall Tom. Nobody knows why."
            qas = [
                {
                    "id": f"{tag}{i}-{text}",
                    "question": f"What of {tag}{i} is {text}?",
                    "answers": [{"text": text, "answer_start": context.index(text)}],
                }
                for text in ("old", "towers")
            ]
            paragraphs.append({"context": context, "qas": qas})
        write(folder / f"squad/{split}-v1.1.json", json.dumps({"data": [{"paragraphs": paragraphs}]}))
    return folder


def pair(key, name, entity):
    """A line of Mewsli-X's ``wikipedia_pairs``."""
    sentence = f"They saw {name} there."
    line = mention(key, sentence, [sentence], name, entity, "en")
    description = f"{name} is here. More."
    about = {"entity_id": entity, "title": name, "description": description, "description_language": "en"}
    about |= {"description_url": "", "sentence_spans": [{"start": 0, "end": len(name) + 9}]}
    return {"contextual_mention": {"context": line["context"], "mention": line["mentions"][0]}, "entity": about}


def pair_files(folder, n=8):
    for split, tag in (("train", "T"), ("dev", "D")):
        rows = [pair(f"{tag}{i}", f"{tag}own{i // 2}", f"Q{tag}{i // 2}") for i in range(n)]
        write(folder / f"wikipedia_pairs-{split}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return folder


def mention(key, text, sentences, name, entity, language="de"):
    starts = np.cumsum([0, *(len(s) + 1 for s in sentences)]).tolist()
    spans = [{"start": a, "end": a + len(s)} for a, s in zip(starts, sentences, strict=False)]
    start = text.index(name)
    found = {"start": start, "end": start + len(name), "text": name}
    context = {"text": text, "language": language, "sentence_spans": spans}
    return {
        "context": context,
        "mentions": [{"example_id": key, "mention_span": found, "entity_id": entity}],
    }


def mewslix_files(folder, entity="Q1", part="test"):
    sentences = ["Gestern {so} in Bonn.", "Der Rhein\nfließt."]
    text = " ".join(sentences)
    rows = [mention("m1", text, sentences, "Bonn", entity), mention("m2", text, sentences, "Rhein", entity and "Q2")]
    rows.append(mention("m3", "Bonn.", ["Bonn."], "Bonn", entity, "tr"))
    write(folder / f"wikinews_mentions-{part}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    entities = [
        {"entity_id": f"Q{i}", "title": name, "description": f"{name}\nis here. More.", "language": "en"}
        | {"sentence_spans": [{"start": 0, "end": len(name) + 9}]}
        for i, name in enumerate(["Köln", "Bonn", "Rhein"])
    ]
    write(folder / "candidate_set_entities.jsonl", "".join(json.dumps(row) + "\n" for row in entities))
    return folder
