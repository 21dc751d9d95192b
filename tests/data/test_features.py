"""The feature cache: what was written comes back, by whomever it was written, or not at all."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from safetensors import safe_open

from xmit.data.features import FeatureCache, cache_root
from xmit.errors import DataError

FINGERPRINT = "f" * 64


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 3, 4)).astype(np.float16)


@pytest.fixture
def filled(tmp_path):
    cache = FeatureCache(tmp_path, FINGERPRINT)
    paths = [cache.append([f"{seed}{i}" for i in "abc"], rows(3, seed)) for seed in (0, 1)]
    return cache, paths


def test_round_trip_over_shards(filled):
    cache, _ = filled
    expected = np.concatenate([rows(3, 1)[[2]], rows(3)[[0]], rows(3, 1)[[0]], rows(3)[[0]]])
    np.testing.assert_array_equal(cache.read(["1c", "0a", "1a", "0a"]), expected)
    assert "0b" in cache
    assert "0z" not in cache


def test_the_shard_is_plain_safetensors(filled):
    _, paths = filled
    with safe_open(paths[1], framework="np") as file:
        np.testing.assert_array_equal(file.get_tensor("features"), rows(3, 1))


def test_unknown_key(filled):
    with pytest.raises(DataError, match="no features of the image 'zz'"):
        filled[0].read(["0a", "zz"])


@pytest.mark.filterwarnings("ignore:the feature shard")
def test_a_flipped_byte_anywhere_is_found(filled, tmp_path):
    _, (path, _) = filled
    sound = path.read_bytes()
    for position in np.random.default_rng(0).integers(0, len(sound), 60):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << int(position) % 8
        path.write_bytes(damaged)
        again = FeatureCache(tmp_path, FINGERPRINT)
        assert "0a" not in again
        np.testing.assert_array_equal(again.read(["1b"]), rows(3, 1)[[1]])
    again.append(["0a", "0b", "0c"], rows(3))
    assert path.read_bytes() == sound
    assert "0a" in again


def test_reading_a_damaged_shard_names_the_file_and_the_remedy(filled, tmp_path):
    cache, (path, _) = filled
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=f"{path} is damaged: delete it"):
        FeatureCache(tmp_path, FINGERPRINT).read(["0a"])
    with pytest.warns(UserWarning, match=f"{path} is damaged.*deleted now"):
        assert "0a" not in cache
    assert not path.exists()


def test_a_truncated_or_empty_shard_is_dropped(filled, tmp_path):
    _, paths = filled
    paths[0].write_bytes(paths[0].read_bytes()[:-5])
    paths[1].write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"):
        missing = [key not in FeatureCache(tmp_path, FINGERPRINT) for key in ("0a", "1a")]
    assert missing == [True, True]
    assert not paths[0].exists()
    assert not paths[1].exists()


def test_drafts_of_killed_writers_are_no_shards(filled, tmp_path):
    cache, _ = filled
    (cache.folder / ".abc.safetensors.1.tmp").write_bytes(b"half a shard")
    assert "0a" in FeatureCache(tmp_path, FINGERPRINT)


def test_a_damaged_duplicate_leaves_the_sound_one(filled, tmp_path):
    cache, paths = filled
    twin = cache.append(["0a"], rows(1))
    for path, seed in ((paths[0], 0), (twin, 0)):
        kept = path.read_bytes()
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = FeatureCache(tmp_path, FINGERPRINT)
            assert "0a" in again
            np.testing.assert_array_equal(again.read(["0a"]), rows(3, seed)[[0]])
        path.write_bytes(kept)


def test_equal_work_leaves_one_file_and_other_towers_other_folders(filled, tmp_path):
    cache, paths = filled
    assert cache.append(["0a", "0b", "0c"], rows(3)) == paths[0]
    assert len(list(cache.folder.glob("*"))) == 2
    assert "0a" not in FeatureCache(tmp_path, "e" * 64)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_values_that_half_precision_lacks_are_refused(filled, value):
    with pytest.raises(DataError, match="not finite"):
        filled[0].append(["x"], np.full((1, 1, 1), value, np.float32))


def test_workers_get_a_cache_without_its_bytes(tmp_path):
    cache = FeatureCache(tmp_path, FINGERPRINT)
    cache.append([str(i) for i in range(500)], rows(500))
    cache.read(["3"])
    packed = pickle.dumps(cache)
    assert len(packed) < 1000
    np.testing.assert_array_equal(pickle.loads(packed).read(["3"]), rows(500)[[3]])


WRITER = """
import sys, numpy as np
from xmit.data.features import FeatureCache
cache = FeatureCache(sys.argv[1], "f" * 64)
for shard in range(30):
    keys = [str(number) for number in range(shard * 10 + 5 * int(sys.argv[2]), shard * 10 + 15)]
    cache.append(keys, np.stack([np.full((2, 2), int(key), np.float16) for key in keys]))
    cache.refresh()
    assert all(key in cache for key in keys)
"""


def test_two_processes_write_at_the_same_time(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-W", "error", "-c", WRITER, tmp_path, str(n)]) for n in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    cache = FeatureCache(tmp_path, FINGERPRINT)
    numbers = np.arange(305)
    np.testing.assert_array_equal(cache.read([str(n) for n in numbers])[:, 1, 1], numbers)


def test_cache_root(monkeypatch, tmp_path):
    monkeypatch.setenv("XMIT_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("XMIT_CACHE")
    assert cache_root().parts[-2:] == (".cache", "xmit")
