"""Decoding images that anybody may have made: every pixel is read, and no file can fill the memory.

Whatever Pillow reads comes out as an upright 8-bit RGB image: the first frame of an animation, turned as its EXIF
orientation says, transparency laid over white. Files do not tell the range of samples wider than 8 bits, which is not
that of their container: a camera's 12 bits come in 16, masks in 32. So it is taken from the largest sample: integers
are of 8, 12 or 16 bits, whichever are the fewest that hold it, and floats reach to 1 or to 255. Any others are refused.
This is for grey images: of 16-bit colour Pillow gives the upper 8 bits alone, so that 12 bits in 16 stay dark.
"""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps

from jam.errors import InputError

MAX_PIXELS = 89_478_485  # Pillow's own default, a quarter of a gigabyte as RGB
IMAGE_SIZE = 512  # pixels; above the input side of the usual encoders (224 to 518 at most)

_LOSSY = {"JPEG", "MPO", "WEBP", "AVIF", "JPEG2000"}


class ImageTooLargeError(InputError):
    """The header of an image announces more pixels than allowed."""


_lock, _inside, _switches = threading.Lock(), list[int](), ExitStack()


@contextmanager
def _strict_pillow(max_pixels: int) -> Iterator[None]:
    """Pillow's safety switches for a while: neither a bomb nor a truncated file passes.

    They are global, as are the filters of warnings: of several threads the first one in sets them, and the last one
    out puts them back. Threads that decode at one time share the limit of the first.
    """
    with _lock:
        if not _inside:
            _switches.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")  # remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            _switches.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            _switches.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", ImageFile.LOAD_TRUNCATED_IMAGES)
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = max_pixels, False
        _inside.append(max_pixels)
    try:
        yield
    finally:
        with _lock:
            _inside.pop()
            if not _inside:
                _switches.close()


def _load(data: bytes) -> Image.Image:
    """Decode the first frame in full, as stored (any mode, not yet turned)."""
    if not data:
        raise InputError("got 0 bytes, expected an image")
    Image.init()
    formats = [name for name in Image.ID if name != "EPS"]  # EPS is a program, which Pillow hands to Ghostscript
    Image.open(io.BytesIO(data), formats=formats).verify()  # the checksums of a PNG, which load() passes over
    image = Image.open(io.BytesIO(data), formats=formats)
    image.load()
    return image


def _eight_bits(samples: np.ndarray) -> np.ndarray:
    """Wide samples as bytes, by the range that the largest of them says."""
    least, most = samples.min(), samples.max()
    if samples.dtype.kind == "f":
        if not (least >= 0 and most <= 255):  # NaN too
            raise InputError(f"got floats from {least:g} to {most:g}, expected them from 0 to 1 or to 255")
        return np.rint(samples * 255 if most <= 1 else samples).astype(np.uint8)
    if least < 0 or most > 65535:
        raise InputError(f"got integers from {least} to {most}, expected 8, 12 or 16 bits, from 0 to 65535 at most")
    bits = next(bits for bits in (8, 12, 16) if most < 1 << bits)
    return (samples >> (bits - 8)).astype(np.uint8)


def _narrowed(image: Image.Image) -> Image.Image:
    """A grey image of wide samples as bytes; the one that a PNG names as transparent is white, whatever its range."""
    samples = np.asarray(image)
    clear = samples == image.info.get("transparency")
    return Image.fromarray(np.where(clear, 255, _eight_bits(np.where(clear, 0, samples))).astype(np.uint8))


def _is_plain(image: Image.Image) -> bool:
    """Whether every reader gets the same picture out of the encoded bytes as they are."""
    return (
        image.format in ("JPEG", "PNG")
        and image.mode in ("RGB", "L")
        and not image.has_transparency_data
        and getattr(image, "n_frames", 1) == 1
        and image.getexif().get(ExifTags.Base.Orientation) not in range(2, 9)
    )


@contextmanager
def _one_line_errors(max_pixels: int) -> Iterator[None]:
    """Turn whatever a decoder raises into an ``InputError`` of one line."""
    try:
        with _strict_pillow(max_pixels):
            yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"too many pixels, expected at most {max_pixels}") from error
    except Image.UnidentifiedImageError as error:  # its own message holds a memory address
        raise InputError(
            "not an image that Pillow reads (EPS is left out), expected JPEG, PNG, WebP or the like"
        ) from error
    except InputError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, IndexError and more
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"broken image ({reason}), expected one that decodes in full") from error


def as_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as upright 8-bit RGB: what `decode_image` does once a file is open.

    Raises:
        InputError: not an image of Pillow's, a file that does not decode in full, or samples of unknown range.
    """
    if not isinstance(image, Image.Image):
        raise InputError(f"got {type(image).__name__}, expected a PIL image")
    with _one_line_errors(MAX_PIXELS):
        image = ImageOps.exif_transpose(image)
        if image.mode == "F" or image.mode.startswith("I"):  # convert() would clip them at 255
            image = _narrowed(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")


def decode_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode an encoded image in full, to upright 8-bit RGB.

    Args:
        data: the content of an image file.
        max_pixels: refuse an image of more pixels (width times height) before any is decoded.

    Raises:
        ImageTooLargeError: more than ``max_pixels`` pixels.
        InputError: not an image, truncated or damaged, or samples of unknown range.
    """
    with _one_line_errors(max_pixels):
        return as_rgb(_load(data))


def compact_image(data: bytes, *, image_size: int = IMAGE_SIZE, max_pixels: int = MAX_PIXELS) -> bytes:
    """Check an encoded image by decoding it in full, and return it as a PNG or JPEG of bounded size.

    A plain image whose longer side is at most ``image_size`` keeps its bytes. Plain is a PNG or JPEG, RGB or grey,
    8 bits, opaque, one frame, not turned by EXIF. Any other is decoded as `decode_image` does, shrunk to that side
    if it is longer (Lanczos, same aspect ratio, never enlarged) and encoded anew: as PNG if its pixels are still
    those of a lossless file, else as JPEG of quality 90.

    Args:
        data: the content of an image file.
        image_size: longest side allowed, in pixels.
        max_pixels: as of `decode_image`, and so are the errors.
    """
    with _one_line_errors(max_pixels):
        image = _load(data)
        large = max(image.size) > image_size
        if _is_plain(image) and not large:
            return data
        rgb = as_rgb(image)
        if large:
            rgb.thumbnail((image_size, image_size), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        rgb.save(buffer, "JPEG" if large or image.format in _LOSSY else "PNG", quality=90)
        return buffer.getvalue()
