"""The commits of hub data sets that are loaded unless another revision is asked for.

No hub could be asked when these were collected (November 2026), so each comes from public projects that load the same
data by that very commit; the comment says which, and what shows that the commit has data files instead of a script.
Repositories that are scripts are read from the hub's converted copy and have no commit here.
"""

from __future__ import annotations

REVISIONS: dict[str, str] = {
    # mteb of 2026-08-22, mteb/tasks/bitext_mining/multilingual/bucc_bitext_mining.py: one row of lists, as read here
    "mteb/BUCC": "414572247440f0ccacf7eb0bb70a31533a0e5443",
    # mteb of 2026-08-22, mteb/tasks/bitext_mining/multilingual/tatoeba_bitext_mining.py
    "mteb/tatoeba-bitext-mining": "69e8f12da6e31d59addadda9a9c8a2e601a0e282",
    # mteb of 2026-08-22, mteb/tasks/retrieval/multilingual/x_qu_ad_retrieval.py; others fetch its parquet
    "google/xquad": "51adfef1c1287aab1d2d91b5bead9bcfb9c68583",
    # mteb's AfriXNLI before it moved to a copy of mteb's own; other evaluations load validation (450) and test by it
    "masakhane/afrixnli": "e3ca06b30f3e7af2a86f6c8609ea76fee326bc56",
    # inspect_evals 0.23.0, hellaswag.py; others fetch data/validation-00000-of-00001.parquet
    "Rowan/hellaswag": "218ec52e09a7e7462a5400043bb9a69a41d06b76",
    # mteb, XFlickr30kCoT2IRetrieval.py and XM3600T2IRetrieval.py: one split a language, images as structs
    "floschne/xflickrco": "0af2c2eba58b27a71898787e286be04befdd7a20",
    "floschne/xm3600": "8d3e5665526c55a5855cd6ddfbaba2032bc7cee4",
    # The following stand in two or more public projects each; the index that was searched shows the lines, not whose
    # they are. What they fetch by the commit:
    # all_languages/test-00000-of-00001.parquet with its checksum
    "facebook/xnli": "b8dd5d7af51114dbda02c0e3f6133f332186418e",
    # zh/validation-00000-of-00001.parquet with its checksum
    "google-research-datasets/paws-x": "4cd8187c404bda33cb1f62b49b001115862acf37",
    # tr and zh by configuration, 500 test rows each with idx; e2e9d7f1 is a commit of the repository on GitHub
    "cambridgeltl/xcopa": "042f78955ba48e6404616762fa6e05e839c3907a",
    # data/ssw_Latn/*.tsv: 701, 99 and 204 rows by that commit
    "Davlan/sib200": "38977a667f6fc264d5c26ec57a01e16db040b358",
    # data/vie_Latn.jsonl, 900 rows; the older commit that mteb had (75b39939) has one split a language instead
    "facebook/belebele": "7899cdfa4e1e0d733fd77c848e2c273cb1d32be2",
    # secondary_task, 49,881 rows to train on
    "google-research-datasets/tydiqa": "da78f23f9119363459acbaf46bf89426ff26c259",
    # all splits by load_dataset, and the arrow files of plain_text
    "facebook/anli": "8e4813d81f46d313dac7892e1c28076917cfcdf9",
    # mrpc/train-00000-of-00001.parquet
    "nyu-mll/glue": "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    # plain_text/train-00000-of-00001.parquet
    "stanfordnlp/snli": "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b",
    # plain_text in the caches that training guides list
    "rajpurkar/squad": "7b6d24c440a36b6815f21b70d25016731768db1f",
    # squad_v2/train-00000-of-00001.parquet, 130,319 rows
    "rajpurkar/squad_v2": "3ffb306f725f7d2ce8394bc1873b24868140c412",
    # data/train-00000-of-00001.parquet with its checksum
    "tau/commonsense_qa": "94630fe30dad47192a8546eb75f094926d47e155",
    # 1,954 validation rows by that commit
    "lighteval/siqa": "54c6a1f8cb6daf4f5abf24a601852612fb35eb25",
    # multirc/validation-00000-of-00001.parquet
    "aps/super_glue": "3de24cf8022e94f4ee4b9d55a6f539891524d646",
    # 20231101.tr, .zh, .fa and more as parquet
    "wikimedia/wikipedia": "b04c8d1ceb2f5cd4588862100d08de323dccfbaa",
}
"""Commits by hub id."""

UNPINNED: dict[str, str] = {
    "google/xtreme": "no project was found that pins it",
    "unimelb-nlp/wikiann": "no project was found that pins it",
    "izhx/mewsli-x": "no project was found that pins it",
    "nala-cub/americas_nli": "no project was found that pins it",
    "Phando/snli-ve-shuffled": "no project was found that pins it",
    "lmms-lab/VQAv2": "no project was found that pins it",
    "lmms-lab/GQA": "no project was found that pins it",
    "umaru97/flickr30k_train_val_test": "no project was found that pins it",
    "yerevann/coco-karpathy": "no project was found that pins it",
    "floschne/xvnli": "no project was found that pins it",
    "floschne/xgqa": "no project was found that pins it",
    "floschne/marvl": "no project was found that pins it",
    "indonlp/NusaX-senti": "a script: the converted copy is read",
    "juletxara/xstory_cloze": "a script: the converted copy is read",
    "masakhane/masakhaner2": "a script: the converted copy is read",
    "universalner/universal_ner": "a script: the converted copy is read",
    "allenai/cosmos_qa": "a script: the converted copy is read",
    "commul/universal_dependencies": "its releases are branches: the task names one",
}
"""Why an id that tasks load has no commit."""
