"""The feature cache: what was written comes back, by whomever it was written, or not at all."""

import hashlib
import os
import pickle
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from xmit.data import features
from xmit.data.digests import KIND, Sources, Table, pack, unpack
from xmit.data.features import FeatureCache, cache_root
from xmit.errors import DataError

FINGERPRINT = "f" * 64


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 3, 4)).astype(np.float16)


def key(name) -> str:
    """A content key that ends in zeros, which NumPy's bytes drop."""
    return str(name).encode().hex().ljust(32, "0")


def keys(*names) -> list[str]:
    return [key(name) for name in names]


@pytest.fixture
def filled(tmp_path):
    cache = FeatureCache(tmp_path, FINGERPRINT)
    paths = [cache.append(keys(*(f"{seed}{i}" for i in "abc")), rows(3, seed)) for seed in (0, 1)]
    cache.refresh()
    return cache, paths


def test_round_trip_over_shards(filled):
    cache, _ = filled
    expected = np.concatenate([rows(3, 1)[[2]], rows(3)[[0]], rows(3, 1)[[0]], rows(3)[[0]]])
    np.testing.assert_array_equal(cache.read(keys("1c", "0a", "1a", "0a")), expected)
    assert key("0b") in cache
    assert key("0z") not in cache
    assert cache.holds(keys("1b", "z", "0c")).tolist() == [True, False, True]


def test_the_shard_is_plain_safetensors(filled):
    _, paths = filled
    with safe_open(paths[1], framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("features"), rows(3, 1))
        assert [row.tobytes().hex() for row in file.get_tensor("keys")] == keys("1a", "1b", "1c")


def test_unknown_key(filled):
    with pytest.raises(DataError, match=f"no features of the image '{key('zz')}'"):
        filled[0].read(keys("0a", "zz"))


@pytest.mark.filterwarnings("ignore:the feature shard")
def test_a_flipped_byte_anywhere_is_found(filled, tmp_path):
    """Each byte belongs to the index, checked when the cache is opened, or to one row, checked when it is read."""
    _, (path, _) = filled
    sound, silent = path.read_bytes(), []
    for position in range(len(sound)):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        again = FeatureCache(tmp_path, FINGERPRINT)
        np.testing.assert_array_equal(again.read(keys("1b")), rows(3, 1)[[1]])
        unread = 0
        for name in "abc":
            try:
                again.read(keys(f"0{name}"))
            except DataError:
                unread += 1
        silent += [position] if not unread else []
        assert again.check() == 3  # the other shard's
        assert not path.exists()
    assert silent == []
    assert again.append(keys("0a", "0b", "0c"), rows(3)).read_bytes() == sound
    again.refresh()
    assert again.check() == 6
    np.testing.assert_array_equal(again.read(keys("0c")), rows(3)[[2]])


def test_rows_that_changed_places_are_found(filled, tmp_path):
    _, (path, _) = filled
    content, first, second = path.read_bytes(), *(row.tobytes() for row in rows(3)[:2])
    path.write_bytes(content.replace(first, b"?" * 24).replace(second, first).replace(b"?" * 24, second))
    with pytest.raises(DataError, match=f"{path} is damaged: delete it"):
        FeatureCache(tmp_path, FINGERPRINT).read(keys("0a"))


def test_a_truncated_or_empty_shard_is_dropped(filled, tmp_path):
    _, paths = filled
    paths[0].write_bytes(paths[0].read_bytes()[:-5])
    paths[1].write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged.*deleted now"):
        assert not FeatureCache(tmp_path, FINGERPRINT).holds(keys("0a", "1a")).any()
    assert not paths[0].exists()
    assert not paths[1].exists()


def test_drafts_of_killed_writers_are_no_shards(filled, tmp_path):
    cache, _ = filled
    fresh, stale = (cache.folder / f".abc.safetensors.{name}" for name in ("fresh", "stale"))
    for draft, age in ((fresh, 0), (stale, 2 * features._STALE)):
        draft.write_bytes(b"half a shard")
        os.utime(draft, (time.time() - age,) * 2)
    again = FeatureCache(tmp_path, FINGERPRINT)
    assert key("0a") in again
    again.append(keys("x"), rows(1))
    assert fresh.exists()
    assert not stale.exists()


def test_a_key_that_two_have_written_stands_in_the_index_once(filled, tmp_path):
    cache, paths = filled
    twin = cache.append(keys("0a", "new"), rows(2))
    cache.refresh()
    assert len(cache) == 7
    np.testing.assert_array_equal(cache.read(keys("0a", "new")), rows(2))
    for path in (paths[0], twin):  # whichever is damaged, the other one is there after a check
        kept = path.read_bytes()
        path.write_bytes(kept.replace(rows(1).tobytes(), b"\0" * 24))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = FeatureCache(tmp_path, FINGERPRINT)
            again.check()
        np.testing.assert_array_equal(again.read(keys("0a")), rows(1))
        path.write_bytes(kept)


def test_equal_work_leaves_one_file_and_other_towers_other_folders(filled, tmp_path):
    cache, paths = filled
    assert cache.append(keys("0a", "0b", "0c"), rows(3)) == paths[0]
    assert len(list(cache.folder.glob("*"))) == 2
    assert key("0a") not in FeatureCache(tmp_path, "e" * 64)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_values_that_half_precision_lacks_are_refused(filled, value):
    with pytest.raises(DataError, match="not finite"):
        filled[0].append(keys("x"), np.full((1, 1, 1), value, np.float32))


def test_more_shards_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "_OPEN_SHARDS", 3)
    cache = FeatureCache(tmp_path, FINGERPRINT)
    for n in range(20):
        cache.append(keys(n), rows(1, n))
    cache.refresh()
    before = len(list(Path("/proc/self/fd").iterdir()))
    np.testing.assert_array_equal(cache.read(keys(*range(20))), np.concatenate([rows(1, n) for n in range(20)]))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3


def test_workers_get_a_cache_without_its_bytes(tmp_path):
    cache = FeatureCache(tmp_path, FINGERPRINT)
    cache.append(keys(*range(500)), rows(500))
    cache.read(keys(3))
    packed = pickle.dumps(cache)
    assert len(packed) < 1000
    np.testing.assert_array_equal(pickle.loads(packed).read(keys(3)), rows(500)[[3]])


WRITER = """
import sys, numpy as np
from xmit.data.features import FeatureCache
cache = FeatureCache(sys.argv[1], "f" * 64)
for shard in range(30):
    numbers = range(shard * 10 + 5 * int(sys.argv[2]), shard * 10 + 15)
    keys = [f"{number:032x}" for number in numbers]
    cache.append(keys, np.stack([np.full((2, 2), number, np.float16) for number in numbers]))
    cache.refresh()
    assert cache.holds(keys).all()
"""


def test_two_processes_write_at_the_same_time(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-W", "error", "-c", WRITER, tmp_path, str(n)]) for n in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    cache = FeatureCache(tmp_path, FINGERPRINT)
    numbers = np.arange(305)
    np.testing.assert_array_equal(cache.read([f"{n:032x}" for n in numbers])[:, 1, 1], numbers)
    assert len(cache) == 305


def test_a_table_is_a_dict_whose_first_values_stay():
    rng = np.random.default_rng(0)
    table, oracle = Table(np.int64), {}
    for _ in range(20):
        numbers = rng.integers(0, 200, 30)
        values = rng.integers(0, 2**40, 30)
        table.add(pack(keys(*numbers)), values)
        for number, value in zip(numbers, values, strict=True):
            oracle.setdefault(int(number), int(value))
    places = table.find(pack(keys(*range(250))))
    assert {n: int(table.values[p]) for n, p in enumerate(places) if p >= 0} == oracle
    assert len(table) == len(oracle)


def test_digests_keep_their_zeros():
    names = ["00" * 16, "ff" * 15 + "00", "00" * 15 + "01"]
    assert unpack(pack(names)) == names
    assert unpack(np.array([], KIND)) == []
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        pack(["00"])


def test_sources_of_several_processes(tmp_path):
    first, second = Sources(tmp_path), Sources(tmp_path)
    first.note(key("a"), key("image"))
    assert first.find(keys("a", "b")) == {key("a"): key("image")}
    first.save()
    second.note(key("b"), key("image"))
    second.save()
    assert second.find(keys("a", "b")) == {key("b"): key("image")}
    second.refresh()
    assert (
        second.find(keys("a", "b"))
        == Sources(tmp_path).find(keys("a", "b"))
        == dict.fromkeys(keys("a", "b"), key("image"))
    )
    for path in tmp_path.glob("*.ids"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert len(Sources(tmp_path)) == 0  # forgotten: only time is lost


def test_sources_that_cannot_be_written_are_a_warning(tmp_path):
    folder = tmp_path / "sources"
    folder.write_text("a file where the folder should be")
    sources = Sources(folder)
    sources.note(key("a"), key("image"))
    with pytest.warns(UserWarning, match="cannot be written"):
        sources.save()
    assert sources.find(keys("a"))


def test_cache_root(monkeypatch, tmp_path):
    monkeypatch.setenv("XMIT_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("XMIT_CACHE")
    assert cache_root().parts[-2:] == (".cache", "xmit")


@pytest.mark.slow
@pytest.mark.parametrize(("n", "shape", "rows"), [(1_000_000, (1, 512), 4096), (40_000, (49, 768), 32)])
def test_a_million_images(n, shape, rows, tmp_path, capsys):
    """The index of a million, and the reads of a thousand shards: what tokens of a million would be in 64 MB shards."""
    cache = FeatureCache(tmp_path, FINGERPRINT)
    names = [hashlib.md5(str(number).encode()).hexdigest() for number in range(n)]
    noise = np.random.default_rng(0).integers(0, 2**14, (rows, *shape), dtype=np.uint16).view(np.float16)
    for start in range(0, n, rows):
        part = names[start : start + rows]
        cache.append(part, np.roll(noise, start // rows, axis=-1)[: len(part)])
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    cache = FeatureCache(tmp_path, FINGERPRINT)
    opened = time.process_time() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    chance, times = np.random.default_rng(1), []
    for _ in range(300):
        picked = chance.integers(0, n, 32)
        started = time.process_time()  # not what else the machine does
        read = cache.read([names[i] for i in picked])
        times.append(time.process_time() - started)
        np.testing.assert_array_equal(read[0], np.roll(noise[picked[0] % rows], int(picked[0]) // rows, axis=-1))
    table = (cache._table.digests.nbytes + cache._table.values.nbytes) / 1e6
    with capsys.disabled():
        print(  # noqa: T201 - the figures of docs/image_text.md
            f"\n{n:,} images of {shape} in {len(cache._shards):,} shards: opened in {opened:.2f} s, "
            f"index {table:.0f} MB, process +{grown:.0f} MB, a batch of 32 in {np.median(times) * 1e3:.2f} ms (median)"
        )
    assert len(cache) == n
    assert opened < 20
    assert grown < 300
    assert np.median(times) < 0.05
