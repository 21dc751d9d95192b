"""A folder that stands in for the hub, for data sets in miniature in the hub's own layout and columns.

The miniatures are in ``mini_hub_choices``, ``mini_hub_texts`` and ``mini_hub_images``. What no hub could be asked for
(see ``../shared/reference/hub.md``) is as other projects' loaders read it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import datasets
import pytest
import yaml

from xmit.data import sources
from xmit.registry import get_task

TEXT, NUMBER = datasets.Value("string"), datasets.Value("int32")


def features(*texts, labels=(), **others):
    """Columns of texts, of a label with these names, and others."""
    named = {"label": datasets.ClassLabel(names=list(labels))} if labels else {}
    return datasets.Features({**dict.fromkeys(texts, TEXT), **named, **others})


DATA = "data/{split}-00000-of-00001.parquet"
PARTS, CONVERTED = "{config}/{split}-00000-of-00001.parquet", "{config}/{split}/0000.parquet"
LAYOUT = {  # hub id: how the files of a config and split are called
    "nyu-mll/glue": PARTS,
    "facebook/xnli": PARTS,
    "google-research-datasets/paws-x": PARTS,
    "cambridgeltl/xcopa": PARTS,
    "aps/super_glue": PARTS,
    "lighteval/siqa": DATA,
    "Rowan/hellaswag": DATA,
    "tau/commonsense_qa": DATA,
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
    "lmms-lab/GQA": PARTS,
    **{f"floschne/{name}": DATA for name in ("xvnli", "xgqa", "marvl", "xflickrco", "xm3600")},
    **dict.fromkeys(("Phando/snli-ve-shuffled", "lmms-lab/VQAv2"), DATA),
    **dict.fromkeys(("umaru97/flickr30k_train_val_test", "yerevann/coco-karpathy"), DATA),
}
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
    **IMAGE_LANGUAGES,
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

    def fill(self, builders: Mapping[str, Callable[..., None]]) -> None:
        """The miniatures of tasks, each in its languages."""
        for name, build in builders.items():
            build(self, [get_task(name).metadata.language_map.get(code, code) for code in LANGUAGES[name]])
