"""Decode pictures that strangers made: every mode becomes 8-bit sRGB, everything else becomes a sentence."""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms
from PIL.Image import Transpose

from ..errors import ProblemsError

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 40_000_000
MIN_SIDE = 16

FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
CONVERT = "convert it to PNG, JPEG or WebP"

_SIGNATURES = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip file"),
)
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
# warnings.catch_warnings swaps state of the whole process, so only one thread may be inside it.
_opening = threading.Lock()


def content_id(data: bytes) -> str:
    """The id of a file: the first 16 hexadecimal digits of the SHA-256 of its bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def picture_format(data: bytes) -> str:
    """ "png", "jpg" or "webp" by the first bytes (names lie), or "" for anything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return ""


def open_picture(source: str | Path | bytes, name: str = "") -> Image.Image:
    """Decode one PNG, JPEG or WebP to an upright 8-bit sRGB picture, mode RGB.

    Orientation is applied, transparency lies on white, 16 bits are rescaled, CMYK and colour profiles are converted.
    `name` is what the person calls the file; sentences use it. Raises ProblemsError when the bytes are not one whole
    still picture of MIN_SIDE pixels a side or more and MAX_PIXELS or fewer in all.
    """
    name = name or (Path(source).name if isinstance(source, (str, Path)) else "the picture")
    data = source if isinstance(source, bytes) else _read(Path(source), name)
    if len(data) > MAX_BYTES:
        raise ProblemsError(_too_heavy(name))
    if not data:
        raise ProblemsError(f"{name} is empty (0 bytes): copy or download it again")
    kind = picture_format(data)
    if not kind:
        raise ProblemsError(f"{name} is {_what(data)}, not a picture that can be read: {CONVERT}")
    opened = _open(data, kind, name)
    _check_header(opened, name)
    try:
        opened.load()
        return _upright(_rgb(opened), opened)
    except Exception as error:  # Broken files make Pillow's decoders raise nearly every built-in exception.
        raise ProblemsError(_damaged(name)) from error


def stored_orientation(source: bytes | Path) -> int:
    """How a picture that `open_picture` can read is turned where it is stored: an EXIF orientation, 1 when upright."""
    data = source if isinstance(source, bytes) else _read(source, source.name)
    return _orientation(_open(data, picture_format(data), ""))


def _read(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ProblemsError(f"{name} cannot be read: {error.strerror or error}") from error


def _open(data: bytes, kind: str, name: str) -> Image.Image:
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=[FORMATS[kind]])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ProblemsError(f"{name} has too many pixels, at most {MAX_PIXELS:,} are read: make it smaller") from error
    except Exception as error:  # As in open_picture.
        raise ProblemsError(_damaged(name)) from error


def _check_header(picture: Image.Image, name: str) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ProblemsError(f"{name} is {width} x {height} pixels, at most {MAX_PIXELS:,} are read: make it smaller")
    if min(width, height) < MIN_SIDE:
        raise ProblemsError(
            f"{name} is {width} x {height} pixels, each side must have at least {MIN_SIDE}: use a larger picture"
        )
    # Phones put a preview or a depth map behind the photo (MPO); that is still one picture.
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise ProblemsError(f"{name} is animated, must be a still picture: save one frame of it as PNG")


def _rgb(picture: Image.Image) -> Image.Image:
    """Any decoded mode to RGB: colours first, then transparency on white."""
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I"):
        return _from_16_bit(picture, profile)
    if not picture.has_transparency_data:
        return _srgb(picture, profile)
    clear = picture.convert("RGBA")
    colours = _srgb(clear.convert("L" if picture.mode in ("1", "L", "LA") else "RGB"), profile)
    white = Image.new("RGB", picture.size, (255, 255, 255))
    white.paste(colours, mask=clear.getchannel("A"))
    return white


def _from_16_bit(picture: Image.Image, profile: bytes | None) -> Image.Image:
    # Pillow clips 16-bit grey to 255 when it converts; this divides.
    values = np.asarray(picture).astype(np.uint32)
    grey = _srgb(Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8)), profile)
    clear = picture.info.get("transparency")
    if isinstance(clear, int):
        grey.paste((255, 255, 255), mask=Image.fromarray((values == clear).astype(np.uint8) * 255))
    return grey


def _srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to RGB through the embedded profile; one that is broken or of another colour space is ignored."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space = source.profile.xcolor_space.strip()
            mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space)
            grey = picture.mode in ("1", "L")
            if mode and (mode == "CMYK") == (picture.mode == "CMYK") and (mode != "L" or grey):
                target = ImageCms.createProfile("sRGB")
                converted = ImageCms.profileToProfile(picture.convert(mode), source, target, outputMode="RGB")
                if converted is not None:
                    return converted
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            pass
    return picture.convert("RGB")


def _upright(rgb: Image.Image, opened: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(_orientation(opened))
    return rgb if turn is None else rgb.transpose(turn)


def _orientation(opened: Image.Image) -> int:
    try:
        orientation = opened.getexif().get(_ORIENTATION, 1)
    except Exception:  # Damaged EXIF raises many things and is no reason to lose a good picture.
        return 1
    return orientation if isinstance(orientation, int) and orientation in _UPRIGHT else 1


def _too_heavy(name: str) -> str:
    return f"{name} is larger than {MAX_BYTES // 2**20} MB, at most that much is read: make it smaller"


def _damaged(name: str) -> str:
    return f"{name} is damaged or cut off, it cannot be decoded: export or download it again"


def _what(data: bytes) -> str:
    for signature, what in _SIGNATURES:
        if data.startswith(signature):
            return what
    if data[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file"
    if b"<svg" in data[:1024].lower():
        return "an SVG drawing"
    return "text" if data[:1024].isascii() else "of an unknown kind"
