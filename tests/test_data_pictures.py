"""Decoding pictures that strangers made."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipelines.data import pictures
from pipelines.data.pictures import content_id, open_picture
from pipelines.errors import ProblemsError

RED = (200, 30, 40)


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def corner_picture(width: int = 48, height: int = 32) -> Image.Image:
    """White, with a red top left quarter: shows which way is up."""
    picture = Image.new("RGB", (width, height), "white")
    picture.paste(RED, (0, 0, width // 2, height // 2))
    return picture


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_claims(width: int, height: int) -> bytes:
    """A few bytes whose header promises width x height pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"\0" * 100)) + png_chunk(b"IEND", b"")


def png_16_bit(values: np.ndarray, colour_type: int) -> bytes:
    """A PNG with 16 bits a channel; values (H, W, channels)."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")


def sentence(data: bytes | Path, name: str = "fox.png") -> str:
    with pytest.raises(ProblemsError) as caught:
        open_picture(data, name)
    assert len(caught.value.problems) == 1
    assert name in caught.value.problems[0]
    return caught.value.problems[0]


def pixel(picture: Image.Image, x: int, y: int) -> np.ndarray:
    assert picture.mode == "RGB"
    return np.asarray(picture)[y, x].astype(int)


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"lossless": True})]
)
def test_each_format_gives_its_pixels_from_bytes_and_from_a_file(tmp_path: Path, kind: str, options: dict) -> None:
    data = encoded(corner_picture(), kind, **options)
    path = tmp_path / "a file"
    path.write_bytes(data)
    for source in (data, path):
        picture = open_picture(source, "fox")
        assert picture.size == (48, 32)
        assert abs(pixel(picture, 4, 4) - RED).max() <= 4
        assert abs(pixel(picture, 40, 28) - 255).max() <= 4


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    picture = open_picture(encoded(corner_picture().convert(mode), kind), "fox")
    assert picture.size == (48, 32)
    assert abs(pixel(picture, 40, 28) - 255).max() <= 3
    dark = pixel(picture, 4, 4)
    assert dark[1] < 110
    if mode in ("P", "RGBA", "CMYK", "YCbCr"):
        assert dark[0] > dark[1] + 100


def test_transparency_lies_on_white() -> None:
    picture = Image.new("RGBA", (32, 32), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 128), (0, 0, 16, 32))
    shown = open_picture(encoded(picture), "fox")
    assert pixel(shown, 24, 4).tolist() == [255, 255, 255]
    assert abs(pixel(shown, 4, 4) - (127, 127, 255)).max() <= 1


def test_transparent_palette_and_colour_key_lie_on_white() -> None:
    palette = Image.new("P", (32, 32), 1)
    palette.putpalette([0, 0, 0, 10, 200, 10])
    palette.paste(0, (0, 0, 16, 32))
    keyed = encoded(Image.new("RGB", (32, 32), RED), transparency=RED)
    shown = open_picture(encoded(palette, transparency=0), "fox")
    assert pixel(shown, 4, 4).tolist() == [255, 255, 255]
    assert pixel(shown, 24, 4).tolist() == [10, 200, 10]
    assert pixel(open_picture(keyed, "fox"), 4, 4).tolist() == [255, 255, 255]


def test_16_bit_is_rescaled_not_clipped() -> None:
    grey = np.full((16, 16, 1), 20000)
    grey[:, 8:] = 65535
    shown = open_picture(png_16_bit(grey, 0), "fox")
    assert pixel(shown, 0, 0).tolist() == [78, 78, 78]
    assert pixel(shown, 12, 0).tolist() == [255, 255, 255]
    colour = np.full((16, 16, 3), (65535, 20000, 256))
    assert abs(pixel(open_picture(png_16_bit(colour, 2), "fox"), 3, 3) - (255, 78, 1)).max() <= 1
    clear = np.full((16, 16, 4), (65535, 20000, 256, 0))
    assert pixel(open_picture(png_16_bit(clear, 6), "fox"), 3, 3).tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    shown = open_picture(encoded(corner_picture(), kind, exif=exif, **options), "fox")
    # Where the stored top left corner belongs, by the EXIF standard.
    top, left = {1: (1, 1), 2: (1, 0), 3: (0, 0), 4: (0, 1), 5: (1, 1), 6: (1, 0), 7: (0, 0), 8: (0, 1)}[orientation]
    assert shown.size == ((48, 32) if orientation < 5 else (32, 48))
    x, y = (4 if left else shown.width - 5), (4 if top else shown.height - 5)
    assert pixel(shown, x, y)[1] < 60
    assert pixel(shown, shown.width - 1 - x, shown.height - 1 - y)[1] > 240


def test_damaged_exif_does_not_lose_the_picture() -> None:
    data = encoded(corner_picture(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert open_picture(data, "fox").size == (48, 32)


def test_colour_profile_is_converted_to_srgb() -> None:
    # A profile whose red and blue are swapped shows whether it was used.
    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", swapped[128:132])[0]
    at = {bytes(swapped[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    red, blue = at[b"rXYZ"], at[b"bXYZ"]
    swapped[red + 4 : red + 12], swapped[blue + 4 : blue + 12] = (
        swapped[blue + 4 : blue + 12],
        swapped[red + 4 : red + 12],
    )
    picture = Image.new("RGB", (32, 32), (250, 10, 10))
    shown = pixel(open_picture(encoded(picture, icc_profile=bytes(swapped)), "fox"), 4, 4)
    assert shown[2] > 200 > 60 > shown[0]
    with_alpha = picture.convert("RGBA")
    shown = pixel(open_picture(encoded(with_alpha, icc_profile=bytes(swapped)), "fox"), 4, 4)
    assert shown[2] > 200 > 60 > shown[0]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_broken_or_foreign_profile_is_ignored(mode: str) -> None:
    plain = open_picture(encoded(corner_picture().convert(mode), "JPEG"), "fox")
    for profile in (b"not a profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()):
        data = encoded(corner_picture().convert(mode), "JPEG", icc_profile=profile)
        assert open_picture(data, "fox").tobytes() == plain.tobytes()


def test_animated_pictures_are_refused() -> None:
    frames = [corner_picture(), Image.new("RGB", (48, 32), "blue")]
    for kind in ("PNG", "WEBP"):
        assert "animated" in sentence(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert "GIF" in sentence(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))


def test_phone_photo_with_a_second_picture_behind_it_is_one_picture() -> None:
    data = encoded(corner_picture(), "MPO", save_all=True, append_images=[Image.new("RGB", (48, 32), "blue")])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert pixel(open_picture(data, "fox.jpg"), 40, 28).min() > 240


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_cut_off_pictures_are_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    for share in (0.02, 0.3, 0.6, 0.9):
        assert "cut off" in sentence(data[: max(16, int(len(data) * share))])


def test_damaged_bytes_give_a_picture_or_one_sentence() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    random = np.random.default_rng(1)
    for kind in ("PNG", "JPEG", "WEBP"):
        data = np.frombuffer(encoded(Image.fromarray(noise), kind), dtype=np.uint8)
        for _ in range(60):
            broken = data.copy()
            broken[random.integers(12, len(data), 8)] = random.integers(0, 255, 8)
            try:
                assert open_picture(broken.tobytes(), "fox.png").mode == "RGB"
            except ProblemsError as error:
                assert len(error.problems) == 1


def test_empty_text_and_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    assert "empty" in sentence(b"")
    assert "text" in sentence(b"a red fox")
    assert "SVG" in sentence(b"<?xml version='1.0'?><svg></svg>")
    assert "TIFF" in sentence(encoded(corner_picture(), "TIFF"))
    assert "BMP" in sentence(encoded(corner_picture(), "BMP"))
    assert "HEIC" in sentence(b"\0\0\0\x18ftypheic" + bytes(20))
    assert "PNG, JPEG or WebP" in sentence(bytes(range(256)))
    assert "cannot be read" in sentence(tmp_path / "fox.png")


def test_huge_dimensions_are_refused_before_decoding(recwarn: pytest.WarningsRecorder) -> None:
    assert "7000 x 6000" in sentence(png_that_claims(7000, 6000))
    assert "pixels" in sentence(png_that_claims(10_000, 10_000))
    assert "pixels" in sentence(png_that_claims(100_000, 100_000))
    assert not recwarn.list


def test_tiny_and_heavy_pictures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "15 x 40" in sentence(encoded(Image.new("RGB", (15, 40))))
    assert open_picture(encoded(Image.new("RGB", (16, 16))), "fox").size == (16, 16)
    monkeypatch.setattr(pictures, "MAX_BYTES", 50)
    assert "larger than" in sentence(encoded(corner_picture()))


def test_content_id_is_the_beginning_of_the_sha256() -> None:
    assert content_id(b"") == "e3b0c44298fc1c14"
    assert content_id(b"a") != content_id(b"b")
