"""Decoding: what a picture shows must survive every format, and no file may pass unread."""

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile

from jam.data.images import ImageTooLargeError, as_rgb, compact_image, decode_image
from jam.errors import InputError

ORIENTATION = 0x0112
RGB = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def encode(image, fmt, **options):
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def opened(data):
    return Image.open(io.BytesIO(data))


def pixels(data):
    return np.asarray(opened(data).convert("RGB")).astype(int)


def noise():
    return Image.fromarray(RGB)


def exif(orientation):
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    return tags.tobytes()


def black_png(width, height):
    """A valid one-bit PNG whose size in bytes is far below its size in pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * ((width + 7) // 8 + 1)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("fmt", ["PNG", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_plain_image_within_the_limit_keeps_its_bytes(fmt, mode):
    data = encode(noise().convert(mode), fmt)
    assert compact_image(data, image_size=20) == data
    assert compact_image(data, image_size=19) != data


def test_shrinking_keeps_the_aspect_ratio_and_never_enlarges():
    data = encode(Image.new("RGB", (300, 100), "red"), "PNG")
    small = opened(compact_image(data, image_size=60))
    assert small.size == (60, 20)
    assert np.abs(np.asarray(small, int) - [255, 0, 0]).max() <= 2
    assert opened(compact_image(encode(noise(), "BMP"), image_size=500)).size == (20, 12)
    strip = compact_image(encode(Image.new("RGB", (1, 5000)), "PNG"), image_size=100)
    assert opened(strip).size == (1, 100)


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TIFF", "PPM"])
def test_pixels_of_lossless_files_stay_exact(fmt):
    np.testing.assert_array_equal(pixels(compact_image(encode(noise(), fmt))), RGB)
    np.testing.assert_array_equal(np.asarray(decode_image(encode(noise(), fmt))), RGB)


@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "JPEG"])
@pytest.mark.parametrize(
    ("orientation", "turned"),
    [  # the meaning of the tag, by EXIF 2.32: where the stored 0th row and 0th column belong
        (1, RGB),
        (2, RGB[:, ::-1]),
        (3, RGB[::-1, ::-1]),
        (4, RGB[::-1]),
        (5, RGB.transpose(1, 0, 2)),
        (6, RGB[::-1].transpose(1, 0, 2)),
        (7, RGB[::-1, ::-1].transpose(1, 0, 2)),
        (8, RGB[:, ::-1].transpose(1, 0, 2)),
    ],
)
def test_exif_rotation_is_applied_once(fmt, orientation, turned):
    published = encode(noise(), fmt, exif=exif(orientation), quality=100)
    data = compact_image(published)
    for shown in (pixels(data), np.asarray(as_rgb(opened(published)), int)):
        assert shown.shape == turned.shape
        assert np.abs(shown - turned).mean() < (50 if fmt == "JPEG" else 1e-9)  # of colours at random 85 apart
    assert opened(data).getexif().get(ORIENTATION, 1) == 1
    assert compact_image(data) == data


RAMP = np.arange(256)[None].repeat(4, axis=0)
DEPTHS = {
    "16 bits": (np.uint16, RAMP * 257, ["PNG", "TIFF", "PPM"]),
    "12 bits in 16": (np.uint16, RAMP * 4095 // 255, ["PNG", "TIFF"]),
    "8 bits in 16": (np.uint16, RAMP, ["PNG", "TIFF"]),
    "16 bits in 32": (np.int32, RAMP * 257, ["TIFF"]),
    "12 bits in 32": (np.int32, RAMP * 4095 // 255, ["TIFF"]),
    "8 bits in 32": (np.int32, RAMP, ["TIFF"]),
    "floats to 255": (np.float32, RAMP, ["TIFF"]),
    "floats to 1": (np.float32, RAMP / 255, ["TIFF"]),
}


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_ramp_is_the_same_ramp_at_any_depth(depth):
    dtype, samples, formats = DEPTHS[depth]
    image = Image.fromarray(samples.astype(dtype))
    shown = [as_rgb(image)]
    for data in (encode(image, fmt) for fmt in formats):
        shown += [decode_image(data), decode_image(compact_image(data)), as_rgb(opened(data))]
    for found in shown:
        assert np.abs(np.asarray(found, int) - RAMP[..., None]).max() <= 1


@pytest.mark.parametrize(
    ("samples", "got"),
    [
        (np.full((2, 2), 70000, np.int32), "integers from 70000 to 70000"),
        (np.full((2, 2), -1, np.int32), "integers from -1 to -1"),
        (np.full((2, 2), 256, np.float32), "floats from 256 to 256"),
        (np.full((2, 2), -0.5, np.float32), "floats from -0.5 to -0.5"),
        (np.array([[0, np.nan]], np.float32), "floats from nan to nan"),
    ],
)
def test_samples_of_unknown_range_are_refused(samples, got):
    with pytest.raises(InputError, match=f"^got {got}, expected"):
        compact_image(encode(Image.fromarray(samples), "TIFF"))
    with pytest.raises(InputError, match=f"^got {got}, expected"):
        as_rgb(Image.fromarray(samples))


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "I", "F", "LA", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_an_open_image_is_read_as_its_file(mode):
    image = Image.new(mode, (3, 2))
    opened = as_rgb(image)
    assert (opened.mode, opened.size) == ("RGB", (3, 2))
    np.testing.assert_array_equal(np.asarray(as_rgb(opened)), np.asarray(opened))


def test_an_open_image_that_cannot_be_read_is_one_line():
    for bad in (opened(encode(noise(), "JPEG")[:-30]), Image.new("La", (2, 2)), "a.png", RGB):
        with pytest.raises(InputError, match="expected") as caught:
            as_rgb(bad)
        assert "\n" not in str(caught.value)


def test_palette_grey_bilevel_and_cmyk_show_the_same_picture():
    flat = Image.new("RGB", (4, 4), (10, 200, 90))
    for mode, fmt in (("P", "PNG"), ("P", "GIF"), ("CMYK", "TIFF"), ("CMYK", "JPEG")):
        image = flat.quantize(4) if mode == "P" else flat.convert(mode)
        assert np.abs(pixels(compact_image(encode(image, fmt))) - [10, 200, 90]).max() <= 4, (mode, fmt)
    assert pixels(compact_image(encode(Image.new("1", (3, 3), 1), "PNG"))).min() == 255


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparent_pixels_become_white_not_black(mode):
    clear = Image.fromarray(np.array([[[0, 0], [0, 255]]], np.uint8), "LA").convert(mode)
    options = {}
    if mode in "PL":  # the key of a colour or grey
        clear, options = Image.fromarray(np.array([[0, 1]], np.uint8), mode), {"transparency": 0}
        if mode == "P":
            clear.putpalette([0, 0, 0, 1, 1, 1])
    data = compact_image(encode(clear, "PNG", **options))
    assert pixels(data)[0, :, 0].tolist() == [255, int(mode in "PL")]


@pytest.mark.parametrize("clear", [0, 7, 65535])
def test_a_transparent_grey_of_16_bits_becomes_white_and_is_not_of_the_range(clear):
    samples = np.array([[clear, 2048, 16, clear]], np.uint16)
    data = encode(Image.fromarray(samples), "PNG", transparency=clear)
    for shown in (decode_image(data), decode_image(compact_image(data)), as_rgb(opened(data))):
        assert np.asarray(shown)[0, :, 0].tolist() == [255, 128, 1, 255]


@pytest.mark.parametrize("fmt", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken(fmt):
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    data = compact_image(encode(red, fmt, save_all=True, append_images=[blue]))
    assert getattr(opened(data), "n_frames", 1) == 1
    assert np.abs(pixels(data) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_a_truncated_file_is_refused_even_if_pillow_is_told_to_load_it(fmt, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encode(noise(), fmt)
    for size in range(1, len(data) - 4, max(1, len(data) // 50)):
        with pytest.raises(InputError) as caught:
            compact_image(data[:size])
        assert "\n" not in str(caught.value)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_a_png_with_a_wrong_checksum_or_no_end_is_refused():
    data = encode(noise(), "PNG")
    damaged = bytearray(data)
    damaged[data.index(b"IEND") - 5] ^= 1  # last byte of the checksum of the pixels
    for broken in (bytes(damaged), data[:-12]):  # the end mark has 12 bytes
        with pytest.raises(InputError, match="broken image"):
            compact_image(broken)


@pytest.mark.parametrize("data", [b"not an image", b"<svg/>", bytes(1000), b"%PDF-1.4", encode(noise(), "EPS"), b""])
def test_what_is_no_image(data):
    """PostScript is, but it is a program, which is never run."""
    with pytest.raises(InputError, match="EPS is left out" if data else "got 0 bytes, expected an image"):
        decode_image(data)


@pytest.mark.parametrize("side", [101, 150, 1000])  # Pillow warns up to twice its limit, and raises above
def test_a_decompression_bomb_is_refused_by_its_header(side):
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageTooLargeError, match="at most 10000"):
            decode_image(black_png(side, side), max_pixels=10_000)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_threads_share_the_switches_and_the_last_one_out_puts_them_back(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    before = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    whole, large = encode(noise(), "PNG"), black_png(150, 150)

    def decode(i):
        if i % 3 == 0:
            return decode_image(whole, max_pixels=10_000).size
        with pytest.raises(InputError) as caught:
            decode_image(large if i % 3 == 1 else whole[:-30], max_pixels=10_000)
        return type(caught.value)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(decode, range(300)))
    assert found == [noise().size, ImageTooLargeError, InputError] * 100
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == before
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def test_the_pixel_limit_is_inclusive_and_may_exceed_that_of_pillow(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    assert decode_image(black_png(100, 100), max_pixels=10_000).size == (100, 100)


def test_a_whole_pixel_is_read_and_damaged_bytes_either_decode_or_give_one_line():
    rng = np.random.default_rng(0)
    lines = []
    for fmt in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "ICO", "TGA", "PPM"):
        one = compact_image(encode(Image.new("RGB", (1, 1), (200, 30, 30)), fmt))
        assert np.abs(pixels(one) - [200, 30, 30]).max() <= 3
        data = encode(noise(), fmt)
        for _ in range(40):
            damaged = bytearray(data)
            for place in rng.integers(0, min(len(data), 200), size=3):
                damaged[place] = rng.integers(0, 256)
            try:
                stored = compact_image(bytes(damaged), image_size=64, max_pixels=10_000)
            except InputError as error:
                lines.append(str(error))
            else:
                assert max(pixels(stored).shape[:2]) <= 64
    assert len(lines) > 100
    assert not [line for line in lines if "\n" in line or " at 0x" in line]
