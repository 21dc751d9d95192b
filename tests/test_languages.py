"""The language table, against Babel's copy of CLDR where that says the same thing."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from xmit.errors import LanguageNotFoundError
from xmit.languages import LANGUAGES, from_flores, get_language

core = pytest.importorskip("babel.core")

# the classes as the reference lists them (shared/reference/mission-facts.md §3)
JOSHI = {
    5: "ar de en es fr ja zh",
    4: "eu fa fi hu hi it pt nl ko ru pl tr vi",
    3: "af bg uk bn ur el et he id ms tl ka kk lt ro ta th",
    2: "mr pa sw yo wo ht",
    1: "az gu jv ml te my qu",
}
XTREME_R = {code for codes in JOSHI.values() for code in codes.split()}


def words(text):
    return set(text.split())


# the configurations of Davlan/sib200 and facebook/belebele
SIB_200 = words(
    """
    ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn als_Latn amh_Ethi apc_Arab
    arb_Arab arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn
    bak_Cyrl bam_Latn ban_Latn bel_Cyrl bem_Latn ben_Beng bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn
    bug_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn cjk_Latn ckb_Arab crh_Latn cym_Latn dan_Latn deu_Latn
    dik_Latn dyu_Latn dzo_Tibt ell_Grek eng_Latn epo_Latn est_Latn eus_Latn ewe_Latn fao_Latn fij_Latn
    fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn gaz_Latn gla_Latn gle_Latn glg_Latn grn_Latn guj_Gujr
    hat_Latn hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn
    isl_Latn ita_Latn jav_Latn jpn_Jpan kab_Latn kac_Latn kam_Latn kan_Knda kas_Arab kas_Deva kat_Geor
    kaz_Cyrl kbp_Latn kea_Latn khk_Cyrl khm_Khmr kik_Latn kin_Latn kir_Cyrl kmb_Latn kmr_Latn knc_Arab
    knc_Latn kon_Latn kor_Hang lao_Laoo lij_Latn lim_Latn lin_Latn lit_Latn lmo_Latn ltg_Latn ltz_Latn
    lua_Latn lug_Latn luo_Latn lus_Latn lvs_Latn mag_Deva mai_Deva mal_Mlym mar_Deva min_Arab min_Latn
    mkd_Cyrl mlt_Latn mni_Beng mos_Latn mri_Latn mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva nqo_Nkoo
    nso_Latn nus_Latn nya_Latn oci_Latn ory_Orya pag_Latn pan_Guru pap_Latn pbt_Arab pes_Arab plt_Latn
    pol_Latn por_Latn prs_Arab quy_Latn ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Olck scn_Latn
    shn_Mymr sin_Sinh slk_Latn slv_Latn smo_Latn sna_Latn snd_Arab som_Latn sot_Latn spa_Latn srd_Latn
    srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn szl_Latn tam_Taml taq_Latn taq_Tfng tat_Cyrl tel_Telu
    tgk_Cyrl tgl_Latn tha_Thai tir_Ethi tpi_Latn tsn_Latn tso_Latn tuk_Latn tum_Latn tur_Latn twi_Latn
    tzm_Tfng uig_Arab ukr_Cyrl umb_Latn urd_Arab uzn_Latn vec_Latn vie_Latn war_Latn wol_Latn xho_Latn
    ydd_Hebr yor_Latn yue_Hant zho_Hans zho_Hant zsm_Latn zul_Latn
    """
)
BELEBELE = words(
    """
    acm_Arab afr_Latn als_Latn amh_Ethi apc_Arab arb_Arab arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng
    azj_Latn bam_Latn ben_Beng bod_Tibt bul_Cyrl cat_Latn ceb_Latn ces_Latn ckb_Arab dan_Latn deu_Latn
    ell_Grek eng_Latn est_Latn eus_Latn fin_Latn fra_Latn fuv_Latn gaz_Latn grn_Latn guj_Gujr hat_Latn
    hau_Latn heb_Hebr hin_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn
    jav_Latn jpn_Jpan kac_Latn kan_Knda kat_Geor kaz_Cyrl kea_Latn khk_Cyrl khm_Khmr kin_Latn kir_Cyrl
    kor_Hang lao_Laoo lin_Latn lit_Latn lug_Latn luo_Latn lvs_Latn mal_Mlym mar_Deva mkd_Cyrl mlt_Latn
    mri_Latn mya_Mymr nld_Latn nob_Latn npi_Deva nso_Latn nya_Latn ory_Orya pan_Guru pbt_Arab pes_Arab
    plt_Latn pol_Latn por_Latn ron_Latn rus_Cyrl shn_Mymr sin_Sinh slk_Latn slv_Latn sna_Latn snd_Arab
    som_Latn sot_Latn spa_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn tam_Taml tel_Telu tgk_Cyrl
    tgl_Latn tha_Thai tir_Ethi tsn_Latn tso_Latn tur_Latn ukr_Cyrl urd_Arab uzn_Latn vie_Latn war_Latn
    wol_Latn xho_Latn yor_Latn zho_Hans zho_Hant zsm_Latn zul_Latn ben_Latn hin_Latn npi_Latn sin_Latn
    urd_Latn
    """
)
# the languages of AmericasNLI, AfriXNLI, MasakhaNER 2, NusaX and XStoryCloze by the data's own codes
OTHERS = words(
    """
    aym bzd cni gn hch nah oto quy shp tar amh eng ewe fra hau ibo kin lin lug orm sna sot swa twi wol xho yor
    zul bam bbj fon luo mos nya pcm tsn ace ban bbc bjn bug ind jav mad min nij sun en ru zh es ar hi id te sw
    eu my
    """
)
FIRST = {code for code in LANGUAGES if "-" not in code}


def test_the_table_holds_xtreme_r():
    assert len(XTREME_R) == 50
    assert set(LANGUAGES) >= XTREME_R
    assert all(code == language.code for code, language in LANGUAGES.items())
    assert list(LANGUAGES) == sorted(LANGUAGES)


def test_it_holds_every_language_of_the_tasks():
    assert {from_flores(code) for code in SIB_200 | BELEBELE} <= set(LANGUAGES)
    assert len({from_flores(code) for code in SIB_200}) == 205
    assert len({from_flores(code) for code in BELEBELE}) == 122
    assert {get_language(code).code for code in OTHERS} <= set(LANGUAGES)
    # no line that no task needs
    used = XTREME_R | {from_flores(code) for code in SIB_200 | BELEBELE} | {get_language(code).code for code in OTHERS}
    assert set(LANGUAGES) == used


def test_a_script_stands_only_at_the_second():
    for code in LANGUAGES:
        first, _, script = code.partition("-")
        if script:
            assert LANGUAGES[code].script == script
            assert LANGUAGES[first].script != script
            assert LANGUAGES[first].iso639_3 == LANGUAGES[code].iso639_3
            assert LANGUAGES[first].family == LANGUAGES[code].family
    assert len({LANGUAGES[code].iso639_3 for code in FIRST}) == len(FIRST)


def test_codes_are_as_short_as_iso_allows():
    aliases = core.get_global("language_aliases")
    for code in FIRST - {"tl", "tw", "dik", "ajp", "prs"}:  # in CLDR fil, ak, din (the macrolanguage), apc, fa_AF
        assert aliases.get(LANGUAGES[code].iso639_3, code) == code
    assert {len(code) for code in FIRST} == {2, 3}


def test_scripts_are_the_likely_ones():
    likely = core.get_global("likely_subtags")
    for code in FIRST:
        if code in likely and likely[code].split("_")[1] != LANGUAGES[code].script:
            assert "CLDR" in LANGUAGES[code].notes, code


def test_names_are_cldrs():
    names = core.Locale("en").languages
    for code in FIRST - {"bn"}:
        assert names.get(code, LANGUAGES[code].name) == LANGUAGES[code].name
    assert len({language.name for language in LANGUAGES.values()}) == len(LANGUAGES)


def test_resource_classes():
    for resource_class, codes in JOSHI.items():
        assert {LANGUAGES[code].resource_class for code in codes.split()} == {resource_class}
    assert all(language.resource_class in (None, *range(6)) for language in LANGUAGES.values())
    assert "class 0" in LANGUAGES["ht"].notes


def test_pretraining():
    assert {code for code in XTREME_R if not LANGUAGES[code].in_xlmr} == {"ht", "qu", "wo", "yo"}
    # fairseq's list: 100 lines, of which no task has br, fy, la and romanised ta and te; my stands there twice
    assert sum(language.in_xlmr for language in LANGUAGES.values()) == 100 - 5 - 1
    for language in LANGUAGES.values():
        assert language.cc100_gib is None or (language.in_xlmr and language.cc100_gib > 0)


def test_lookup():
    assert get_language("fil") is get_language("tl") is get_language("tgl")
    assert get_language("deu") is get_language("de")
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_language("de").name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        LANGUAGES["xx"] = get_language("de")  # type: ignore[index]


def test_members_stand_for_their_macrolanguage():
    for member, code in {"quy": "qu", "als": "sq", "kmr": "ku", "pes": "fa", "cmn": "zh", "no": "nb"}.items():
        assert get_language(member) is LANGUAGES[code]
    assert get_language("ace").script == "Latn"
    for unknown in ("eng_Cyrl", "xxx_Latn", "eng", "en"):
        with pytest.raises(LanguageNotFoundError, match="unknown FLORES language"):
            from_flores(unknown)


@pytest.mark.realdata
def test_the_real_folders_of_sib200(real_data):
    folders = {p.name for p in (real_data / "sib200").iterdir() if p.is_dir()}
    assert folders <= SIB_200
    assert len(folders) == 189  # 205 less 16 kept out


def test_unknown_language_is_answered_with_the_nearest():
    with pytest.raises(LanguageNotFoundError, match=r"unknown language 'enn'.*Did you mean .*en"):
        get_language("enn")
    with pytest.raises(LanguageNotFoundError, match=r"'Welsh'"):
        get_language("Welsh")
    with pytest.raises(LanguageNotFoundError, match=r"Known: de\. German is a name, not a code"):
        get_language("German")


def test_import_is_light():
    heavy = "import sys, xmit.languages; print(*{'torch', 'babel', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_it_holds_every_language_of_every_registered_task():
    from xmit.registry import registered_tasks

    for name, task in registered_tasks().items():
        for code in (*task.metadata.languages, task.metadata.source_language):
            assert code in LANGUAGES, f"{name}: {code}"
