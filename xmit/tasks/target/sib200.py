"""SIB-200."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_tsv
from xmit.data.sources import labels_to_ids, load_hub
from xmit.registry import register_task
from xmit.tasks.classification import SequenceClassificationTask
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.target.flores import flores_languages

CODES = flores_languages("""
Arab ace acm acq aeb ajp apc arb ars ary arz azb bjn ckb kas knc min pbt pes prs snd uig urd Armn hye Beng asm ben mni
Cyrl bak bel bul kaz khk kir mkd rus srp tat tgk ukr Deva awa bho hin hne kas mag mai mar npi san Ethi amh tir Geor kat
Grek ell Gujr guj Guru pan Hang kor Hans zho Hant yue zho Hebr heb ydd Jpan jpn Khmr khm Knda kan Laoo lao Latn ace afr
aka als arb ast ayr azj bam ban bem bjn bos bug cat ceb ces cjk crh cym dan deu dik dyu eng epo est eus ewe fao fij fin
fon fra fur fuv gaz gla gle glg grn hat hau hrv hun ibo ilo ind isl ita jav kab kac kam kbp kea kik kin kmb kmr knc kon
lij lim lin lit lmo ltg ltz lua lug luo lus lvs min mlt mos mri nld nno nob nso nus nya oci pag pap plt pol por quy ron
run sag scn slk slv smo sna som sot spa srd ssw sun swe swh szl taq tgl tpi tsn tso tuk tum tur twi umb uzn vec vie war
wol xho yor zsm zul Mlym mal Mymr mya shn Nkoo nqo Olck sat Orya ory Sinh sin Taml tam Telu tel Tfng taq tzm Thai tha
Tibt bod dzo
""")
ROWS = {"train": 701, "validation": 99, "test": 204}


@register_task
class SIB200(SequenceClassificationTask):
    """The topic of a FLORES-200 sentence, in 205 languages and scripts: 701 English to train on, 204 to test."""

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="sib200",
        roles=("target", "low-resource"),
        languages=tuple(CODES),
        language_map=CODES,
        main_score="accuracy",
        dataset="Davlan/sib200",
        license="CC BY-SA 4.0",
        citation="Adelani et al. 2024, SIB-200: A Simple, Inclusive, and Big Evaluation Dataset, EACL",
        description="topic of a sentence (7 classes)",
        parallel=True,
        overlaps=("belebele",),
        sizes=ROWS,
    )
    label_names = ("science/technology", "travel", "politics", "sports", "health", "entertainment", "geography")

    def load_split(self, split: str, language: str) -> Any:
        """Load one split of one language, ``data_dir`` having the release's ``eng_Latn/train.tsv``."""
        import datasets

        code, hub = self.native(language), self.metadata.dataset
        if self.data_dir:
            file = f"{code}/{'dev' if split == 'validation' else split}.tsv"
            files = (file, f"sib200/{file}", f"data/annotated/{file}")
            path = self.file(split, language, *files, translations=files)
            rows: Any = read_tsv(path, ("index_id", "category", "text"), header=True)
        else:
            rows = load_hub(hub, config=code, split=split, rows=ROWS[split]).to_dict()
        rows["label"] = labels_to_ids(rows.pop("category"), self.label_names, f"SIB-200, {code}, {split}")
        return datasets.Dataset.from_dict({"id": [str(i) for i in rows.pop("index_id")], **rows})
