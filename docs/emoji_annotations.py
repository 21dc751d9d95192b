"""Write ``annotations.jsonl`` of the emoji tasks from what their makers publish; needs nothing but Python.

python docs/emoji_annotations.py --images noto-emoji/png/72 --groups emoji-test.txt --names cldr-json/cldr-json > annotations.jsonl

``--images``: ``png/72`` of github.com/googlefonts/noto-emoji. ``--groups``: unicode.org/Public/emoji/latest/emoji-test.txt.
``--names``: github.com/unicode-org/cldr-json, or a folder with the npm packages ``cldr-annotations-full`` and
``cldr-annotations-derived-full``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

SKIN = {chr(c) for c in range(0x1F3FB, 0x1F400)}
FOLDERS = {"annotations": "cldr-annotations-full", "annotationsDerived": "cldr-annotations-derived-full"}


def bare(emoji: str) -> str:
    """Without the character that asks for colour, as CLDR and the images name emoji."""
    return emoji.replace("\ufe0f", "")


def read_groups(path: Path) -> dict[str, str]:
    """The group of every emoji without a skin tone, in Unicode's order."""
    group, groups = "", {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            group = line.partition(":")[2].strip()
        elif found := re.match(r"([0-9A-F ]+?)\s*; fully-qualified", line):
            emoji = "".join(chr(int(code, 16)) for code in found[1].split())
            if not SKIN & set(emoji):
                groups[emoji] = group
    return groups


def read_names(folder: Path) -> dict[str, dict[str, str]]:
    """The name of every emoji by locale."""
    names: dict[str, dict[str, str]] = defaultdict(dict)
    for key, package in FOLDERS.items():
        files = sorted((folder / package / key).glob("*/annotations.json"))
        if not files:
            sys.exit(f"no {key}/*/annotations.json in {folder / package}: unpack {package} there")
        for file in files:
            for emoji, facts in json.loads(file.read_text(encoding="utf-8"))[key].get("annotations", {}).items():
                if facts.get("tts"):
                    names[bare(emoji)].setdefault(file.parent.name, facts["tts"][0])
    return names


def main() -> None:
    """Print a line an emoji that has an image, a group and a name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--images", "--groups", "--names"):
        parser.add_argument(name, type=Path, required=True)
    args = parser.parse_args()
    groups, names = read_groups(args.groups), read_names(args.names)
    for emoji, group in groups.items():
        file = f"emoji_u{'_'.join(f'{ord(c):04x}' for c in bare(emoji))}.png"
        if bare(emoji) in names and (args.images / file).is_file():
            row = {"emoji": emoji, "file": file, "group": group, "names": names[bare(emoji)]}
            print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
