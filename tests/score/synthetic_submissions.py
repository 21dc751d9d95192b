"""Small submissions with their labels, in every format."""

from __future__ import annotations

import json
import random

from xmit.score.layouts import LAYOUTS, official


def label_text(layout, language, n=5):
    """Content of a file of labels."""
    rng = random.Random(f"{layout.name} {language}")
    ids = [f"q{i}" for i in range(n)]
    if layout.format == "lines":
        return "".join(f"{rng.choice(layout.labels or ('10', '23', '117'))}\n" for _ in ids)
    if layout.format == "choices":
        return "".join(json.dumps({"label": rng.randrange(2), "idx": i}) + "\n" for i in range(n))
    if layout.format == "tags":
        return "\n".join("".join(f"{rng.choice(layout.labels)}\n" for _ in range(rng.randint(1, 6))) for _ in ids)
    if layout.format == "pairs":
        return "".join(f"{language}-00{i}\ten-10{i}\n" for i in range(n))
    if layout.format == "rankings":
        return "{\n" + ",\n".join(f'"{key}": ["Q{i}"]' for i, key in enumerate(ids)) + "\n}\n"
    questions = [
        {"id": key, "question": "?", "answers": [{"text": f"réponse {key} 北京", "answer_start": 0}]} for key in ids
    ]
    return json.dumps({"data": [{"paragraphs": [{"context": "…", "qas": questions}]}]}, ensure_ascii=False, indent=1)


def prediction_text(layout, language, n=5):
    """Content of a file of predictions that are all right."""
    if layout.format == "answers":
        return json.dumps({f"q{i}": f"réponse q{i} 北京" for i in range(n)}, ensure_ascii=False, indent=1)
    return label_text(layout, language, n)


def write_perfect(folder, benchmark, n=5):
    """Write all files of a benchmark below ``predictions`` and ``labels``."""
    for layout in official(benchmark).values():
        for language in layout.languages[benchmark]:
            for side, text in (("predictions", prediction_text), ("labels", label_text)):
                file = layout.file(folder / side, language)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text(layout, language, n), encoding="utf-8")
    return folder


NAMES = sorted(LAYOUTS)
