"""Images that nobody vouches for: whatever the bytes, an RGB image of bounded size comes out, or a DataError."""

import contextlib
import io
import os
import struct
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from xmit.data import images
from xmit.data.images import Member, archive_images, content_key, open_image, source_id, to_rgb
from xmit.errors import DataError


def picture(width=21, height=13, mode="RGB") -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    image = Image.fromarray(noise).convert("RGB")
    return image if mode == "RGB" else image.convert(mode)


def file_bytes(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def files() -> dict[str, bytes]:
    """One file of every format and mode that is read."""
    rgb = picture()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "described"
    return {
        "jpeg": file_bytes(rgb, "JPEG"),
        "jpeg progressive": file_bytes(rgb, "JPEG", progressive=True),
        "jpeg exif": file_bytes(rgb, "JPEG", exif=exif),
        "jpeg cmyk": file_bytes(picture(mode="CMYK"), "JPEG"),
        "png": file_bytes(rgb, "PNG"),
        "png palette": file_bytes(picture(mode="P"), "PNG", transparency=3),
        "png alpha": file_bytes(picture(mode="RGBA"), "PNG"),
        "gif": file_bytes(rgb, "GIF", save_all=True, append_images=[ImageOps.invert(rgb)]),
        "bmp": file_bytes(rgb, "BMP"),
        "webp": file_bytes(rgb, "WEBP"),
        "webp lossless": file_bytes(rgb, "WEBP", lossless=True),
    }


FILES = files()


@pytest.mark.parametrize("name", FILES)
def test_sound_files_of_every_kind(name, tmp_path):
    """Whatever the file is called: the content says what it is."""
    path = tmp_path / "picture.txt"
    path.write_bytes(FILES[name])
    expected = ImageOps.exif_transpose(Image.open(path))
    if "palette" not in name and "alpha" not in name:
        expected = expected.convert("RGB")
        for source in (path, str(path), FILES[name], {"bytes": FILES[name], "path": None}, {"path": str(path)}):
            image = open_image(source)
            assert image.mode == "RGB"
            assert image.size == expected.size
            assert image.tobytes() == expected.tobytes()
    assert open_image(path).size == expected.size


# -- hostile files -----------------------------------------------------------------------------------------


def survives(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning is no answer
        started = time.process_time()
        try:
            image = open_image(data)
        except DataError:
            image = None
        if image is not None:
            assert image.mode == "RGB"
            assert 0 < image.width * image.height <= images.MAX_PIXELS
            assert len(content_key(image)) == 32
        assert time.process_time() - started < 5


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(sorted(FILES)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
    st.binary(max_size=16),
)
def test_mutated_files(name, changes, keep, tail):
    data = bytearray(FILES[name])
    for place, value in changes:
        data[int(place * len(data))] = value
    survives(bytes(data))
    survives(bytes(data[: int(keep * len(data))]) + tail)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(FILES)), st.integers(0, 63), st.integers(0, 2**32 - 1), st.sampled_from("<>"))
def test_mutated_headers(name, place, value, order):
    """Sizes, counts and offsets stand in the first bytes."""
    data = bytearray(FILES[name])
    data[place : place + 4] = struct.pack(f"{order}I", value)
    survives(bytes(data))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF"])
)
def test_bytes_that_are_no_image(data, start):
    survives(start + data)


@pytest.mark.parametrize("name", FILES)
def test_truncated_files_are_refused(name):
    with pytest.raises(DataError, match=r"cannot be decoded.*on_bad_image: skip"):
        open_image(FILES[name][: len(FILES[name]) // 3])


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG that claims a size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


BOMB = """
import resource, sys
from pathlib import Path
from xmit.data.images import open_image
from xmit.errors import DataError
open_image(Path(sys.argv[1]))  # Pillow and its plugins are loaded
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    try:
        open_image(Path(path))
    except DataError as error:
        assert "pixels, more than" in str(error) or "exceeds limit" in str(error), error
    else:
        raise SystemExit(f"{path} was opened")
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
assert grown < 64, f"{grown} MiB"
"""


def test_decompression_bombs_are_refused_before_they_are_decoded(tmp_path):
    grey = b"\0" * (1 + 20_000) * 20_000
    bombs = {"a.png": png(20_000, 20_000, grey), "b.png": png(9_000, 9_000), "c.png": png(2**31 - 1, 2**31 - 1)}
    del grey
    webp = bytearray(file_bytes(picture(), "WEBP", lossless=True, save_all=True, append_images=[picture(mode="L")]))
    assert webp[12:16] == b"VP8X"
    webp[24:30] = b"\xfe\x3f\0\xfe\x3f\0"  # 16,383 a side
    bombs["d.webp"] = bytes(webp)
    gif = bytearray(FILES["gif"])
    gif[6:10] = b"\xff\xff\xff\xff"
    bombs["e.gif"] = bytes(gif)
    (tmp_path / "sound.webp").write_bytes(FILES["webp"])
    for name, content in bombs.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / "sound.webp", *(tmp_path / name for name in bombs)]
    run = subprocess.run([sys.executable, "-W", "error", "-c", BOMB, *paths], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_one_pixel_and_long_strips():
    assert open_image(png(1, 1, b"\0\x80")).getpixel((0, 0)) == (128, 128, 128)
    assert open_image(png(100, 1, b"\0" * 101)).size == (100, 1)
    with pytest.raises(DataError, match="one side more than 100 times the other"):
        open_image(png(101, 1, b"\0" * 102))


def test_what_is_no_image_names_the_file_and_the_remedy(tmp_path):
    text = tmp_path / "letter.jpg"
    text.write_text("Dear Sir or Madam")
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    tiff = tmp_path / "picture.tif"
    picture().save(tiff)
    eps = tmp_path / "program.eps"
    eps.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    empty = tmp_path / "empty.png"
    empty.touch()
    cases = {text: "cannot be decoded", pipe: "is no file", tmp_path: "is no file", large: "bytes, more than"}
    cases |= {
        tmp_path / "gone.png": "No such file",
        eps: "cannot be decoded",
        tiff: "cannot be decoded",
        empty: "cannot be decoded",
    }
    for path, message in cases.items():
        with pytest.raises(DataError, match=message) as raised:
            open_image(path)
        assert str(path) in str(raised.value)
        assert "leave" in str(raised.value)
    for source in (None, 3, {"bytes": None, "path": None}, np.zeros((2, 2))):
        with pytest.raises(DataError, match=r"no image|missing"):
            open_image(source)
    with pytest.raises(DataError, match="0 × 5 pixels"):
        open_image(Image.new("RGB", (0, 5)))
    with pytest.raises(DataError, match="null"):
        open_image("a\0b.png")


def test_an_open_image_that_is_truncated(tmp_path):
    path = tmp_path / "half.png"
    path.write_bytes(FILES["png"][:300])
    with pytest.raises(DataError, match="cannot be decoded"):
        open_image(Image.open(path))


# -- modes -------------------------------------------------------------------------------------------------


def test_transparent_pixels_lie_on_white():
    clear = Image.new("RGBA", (2, 1), (9, 9, 9, 0))
    clear.putpixel((1, 0), (10, 20, 30, 255))
    for kind in ("PNG", "WEBP"):
        image = open_image(file_bytes(clear, kind, **({"lossless": True} if kind == "WEBP" else {})))
        assert [image.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (10, 20, 30)]
    half = Image.new("LA", (1, 1), (0, 51))
    assert open_image(file_bytes(half, "PNG")).getpixel((0, 0)) == (204, 204, 204)
    palette = picture(mode="P")
    keyed = open_image(file_bytes(palette, "PNG", transparency=palette.getpixel((4, 2))))
    assert keyed.getpixel((4, 2)) == (255, 255, 255)
    rgb = picture()
    keyed = open_image(file_bytes(rgb, "PNG", transparency=rgb.getpixel((7, 5))))
    assert keyed.getpixel((7, 5)) == (255, 255, 255)
    assert keyed.getpixel((6, 5)) == rgb.getpixel((6, 5))


def test_sixteen_bits_are_scaled_not_cut():
    values = np.array([[0, 128, 257, 32768, 65535]], np.uint16)
    image = open_image(file_bytes(Image.fromarray(values), "PNG"))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    big_endian = Image.frombytes("I;16B", (5, 1), values.byteswap().tobytes())
    assert np.asarray(to_rgb(big_endian))[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    for mode in ("I", "F"):
        with pytest.raises(DataError, match="no fixed range: save it with 8 or 16 bits"):
            open_image(Image.new(mode, (2, 2)))


def test_bilevel_and_cmyk():
    black = Image.new("1", (2, 2))
    assert open_image(file_bytes(black, "PNG")).getpixel((0, 0)) == (0, 0, 0)
    cmyk = open_image(file_bytes(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))
    red, green, blue = cmyk.getpixel((4, 4))
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize("orientation", range(10))
def test_exif_turns_images_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_bytes(picture(), "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert open_image(data).tobytes() == expected.tobytes()


def test_damaged_exif_of_a_sound_image_is_ignored():
    data = file_bytes(picture(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 20)
    plain = file_bytes(picture(), "JPEG")
    assert open_image(data).tobytes() == Image.open(io.BytesIO(plain)).tobytes()


def test_the_first_image_of_an_animation():
    assert open_image(FILES["gif"]).tobytes() == Image.open(io.BytesIO(FILES["gif"])).convert("RGB").tobytes()


def test_keys_follow_pixels_not_files(tmp_path):
    grey = picture(mode="L")
    grey.save(tmp_path / "grey.png")
    grey.save(tmp_path / "grey.bmp")
    keys = {content_key(open_image(source)) for source in (tmp_path / "grey.png", tmp_path / "grey.bmp", grey)}
    assert len(keys) == 1
    assert content_key(picture()) not in keys
    assert content_key(Image.new("RGB", (4, 2))) != content_key(Image.new("RGB", (2, 4)))


# -- archives and names ------------------------------------------------------------------------------------


@pytest.fixture(params=["zip", "zip deflated", "tar"])
def archive(request, tmp_path):
    path = tmp_path / "images.bin"
    content = {"a/one.png": FILES["png"], "../../two.jpg": FILES["jpeg"], "/etc/three.gif": FILES["gif"]}
    if request.param == "tar":
        with tarfile.open(path, "w") as tar:
            for name, data in content.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            for name, kind in (
                ("link.png", tarfile.SYMTYPE),
                ("hard.png", tarfile.LNKTYPE),
                ("fifo", tarfile.FIFOTYPE),
            ):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, "/etc/passwd"
                tar.addfile(info)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if "deflated" in request.param else 0) as file:
            for name, data in content.items():
                file.writestr(name, data)
            file.mkdir("folder")
    return path, content


def test_members_of_archives(archive, tmp_path):
    path, content = archive
    members = archive_images(path)
    assert set(members) == set(content)  # no links, no folders
    for name, member in members.items():
        assert open_image(member).tobytes() == open_image(content[name]).tobytes()
    assert len({source_id(member) for member in members.values()}) == 3
    assert list(tmp_path.iterdir()) == [path]  # nothing is unpacked, so nothing escapes
    for name in ("link.png", "/etc/passwd", "a"):
        with pytest.raises(DataError, match="has no file"):
            open_image(Member(str(path), name))


def test_archives_that_are_damaged_or_bombs(archive, monkeypatch):
    path, content = archive
    members = archive_images(path)
    monkeypatch.setattr(images, "MAX_BYTES", len(content["a/one.png"]) - 1)
    with pytest.raises(DataError, match=r"images.bin:a/one.png has .* bytes, more than"):
        open_image(members["a/one.png"])
    monkeypatch.undo()
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 20):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        for source in members.values():
            with contextlib.suppress(DataError):
                assert open_image(source).mode == "RGB"


def test_a_compressed_tar_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "images.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
    with pytest.raises(DataError, match=r"no uncompressed tar archive.*unpack it first"):
        archive_images(path)
    with pytest.raises(DataError, match="No such file"):
        archive_images(tmp_path / "gone.zip")


def test_forked_processes_read_the_same_archive(archive):
    path, content = archive
    members = [*archive_images(path).values()] * 40
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            try:
                sound = all(open_image(m).tobytes() == open_image(content[m.name]).tobytes() for m in members)
                os._exit(0 if sound else 1)
            finally:
                os._exit(2)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]


def test_source_ids_follow_the_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(FILES["png"])
    first = source_id(path)
    assert source_id(str(path)) == source_id({"path": str(path), "bytes": None}) == first
    os.utime(path, (1, 1))
    touched = source_id(path)
    path.write_bytes(FILES["png"] + b"\0")
    os.utime(path, (1, 1))
    assert len({first, touched, source_id(path)}) == 3
    assert source_id(FILES["png"]) == source_id({"bytes": FILES["png"], "path": "a.png"}) != first
    assert source_id(picture()) == content_key(picture())
    with pytest.raises(DataError, match="No such file"):
        source_id(tmp_path / "gone.png")
