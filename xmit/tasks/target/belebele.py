"""Belebele."""

from __future__ import annotations

from typing import Any, ClassVar

from xmit.data.readers import read_jsonl
from xmit.data.sources import find_file, load_hub
from xmit.registry import register_task
from xmit.tasks.choice_sources import COSMOS_SIZES, load_cosmos_qa
from xmit.tasks.metadata import TaskMetadata
from xmit.tasks.multiple_choice import MultipleChoiceTask, choice_table, numbered, numbers
from xmit.tasks.target.flores import flores_languages

CODES = flores_languages("""Arab acm apc arb ars ary arz ckb pbt pes snd urd Armn hye Beng asm ben Cyrl bul kaz khk kir
mkd rus srp tgk ukr Deva hin mar npi Ethi amh tir Geor kat Grek ell Gujr guj Guru pan Hang kor Hans zho Hant zho Hebr
heb Jpan jpn Khmr khm Knda kan Laoo lao Latn afr als arb azj bam ben cat ceb ces dan deu eng est eus fin fra fuv gaz grn
hat hau hin hrv hun ibo ilo ind isl ita jav kac kea kin lin lit lug luo lvs mlt mri nld nob npi nso nya plt pol por ron
sin slk slv sna som sot spa ssw sun swe swh tgl tsn tso tur urd uzn vie war wol xho yor zsm zul Mlym mal Mymr mya shn
Orya ory Sinh sin Taml tam Telu tel Thai tha Tibt bod
""")
ANSWERS = ("mc_answer1", "mc_answer2", "mc_answer3", "mc_answer4")
COLUMNS = ("link", "question_number", "flores_passage", "question", *ANSWERS, "correct_answer_num")


@register_task
class Belebele(MultipleChoiceTask):
    """Reading comprehension on FLORES-200 passages: 900 questions with 4 answers in 122 languages and scripts.

    It is only a test: training and validation are Cosmos QA's, 4 answers in English, not its authors' RACE and others.
    """

    metadata: ClassVar[TaskMetadata] = TaskMetadata(
        name="belebele",
        roles=("target", "low-resource"),
        languages=tuple(CODES),
        language_map=CODES,
        main_score="accuracy",
        dataset="facebook/belebele",
        license="CC BY-SA 4.0",
        citation="Bandarkar et al. 2024, The Belebele Benchmark: a Parallel Reading Comprehension Dataset, ACL",
        description="questions on a passage, 4 answers to choose from",
        parallel=True,
        overlaps=("sib200",),
        sizes={**COSMOS_SIZES, "test": 900},
    )
    num_choices = 4

    def load_split(self, split: str, language: str) -> Any:
        """Load one split: ``Belebele/eng_Latn.jsonl``, or Cosmos QA's ``train.csv`` and ``valid.csv``."""
        if split != "test":
            return load_cosmos_qa(self, split, language)
        code, hub = self.native(language), self.metadata.dataset
        if self.data_dir:
            where: Any = find_file(self.data_dir, f"Belebele/{code}.jsonl", f"{code}.jsonl", task=self.name, hub=hub)
            rows = read_jsonl(where, COLUMNS)
        else:
            where, rows = f"{hub}, {code}", load_hub(hub, config=code, split=split, rows=900).to_dict()
        link, number, *context, right = (rows[name] for name in COLUMNS if name not in ANSWERS)
        return choice_table(numbered(link, number), context, [rows[name] for name in ANSWERS], numbers(right, where, 4))
