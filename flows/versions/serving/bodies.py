"""Bodies of requests to images: files, base64, arrays, one or many; nothing is unpickled."""

import base64
import binascii
import io
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from pydantic_core import from_json
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from flows.versions.serving.records import Limits, RefusedError
from models.config.data import ImageForm
from models.datasets.decoding import check_size, decode_in_thread
from models.datasets.pixels import Pixels, conform
from models.datasets.reading import stack_images
from models.errors import InputError

JSON, NPY, FORM = "application/json", "application/x-npy", "multipart/form-data"
FILE_TYPES = ("application/octet-stream", "application/x-www-form-urlencoded", "")
"""What programs call a file of whose kind they know nothing; curl's `--data-binary` the second."""
ARRAYS = ("inputs", "instances")
"""Keys of MLflow's scoring protocol; both mean an array (n, channels, height, width)."""
_PARSING = threading.Lock()
"""NumPy parses headers as Python. Under 3.11 several threads that do so at once may fail by
"AST constructor recursion depth mismatch": 1 of 6,905 requests of 16 clients did."""
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
Images: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Body:
    """What a client sent."""

    kind: str
    """Media type, lower case, without options."""
    options: Mapping[str, str]
    """Of the media type: boundary, charset."""
    content: bytes

    @classmethod
    def of(cls, content_type: str, content: bytes) -> "Body":
        """Take a body by its Content-Type; the empty text stands for none."""
        kind, options = parse_options_header(content_type)
        named = {key.decode(): value.decode("latin-1") for key, value in options.items()}
        return cls(kind.decode("latin-1"), named, content)


@dataclass(frozen=True, slots=True)
class Reading:
    """What bodies are read for."""

    form: ImageForm
    """Of the version that answers."""
    limits: Limits
    deadline: float = math.inf
    """Monotonic seconds; beyond, nobody waits for the images."""


Reader: TypeAlias = Callable[[Body, Reading], Images]


def read_any(body: Body, reading: Reading) -> Images:
    """Read any body that /predict takes as images (n, channels, height, width).

    Raises RefusedError where it is none, or beyond a limit.
    """
    if body.kind == FORM:
        return _pictures(_parts(body, reading.limits), reading)
    if body.kind == NPY:
        return _checked(_npy(body.content), reading)
    if body.kind == JSON:
        document = _document(body)
        if "images" not in document:
            return _array(document, reading, whole=True)
        if set(document) & set(ARRAYS):
            raise _bad(_listed(document), "has images and an array", "send one of them")
        return _pictures(_listed_images(document["images"], reading.limits), reading)
    if body.kind in FILE_TYPES or body.kind.startswith("image/"):
        return _pictures([body.content], reading)
    raise _unknown_type(body, ("image/png", "image/jpeg", FORM, JSON, NPY))


def read_invocation(body: Body, reading: Reading) -> Images:
    """Read a body of MLflow's scoring protocol as images; raises as `read_any` does.

    As MLflow's own server did, it cuts off what follows the point of a number.
    """
    if body.kind != JSON:
        raise _unknown_type(body, (JSON,))
    return _array(_document(body), reading, whole=False)


def _document(body: Body) -> dict[str, JsonValue]:
    if body.options.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        charset = body.options["charset"]
        raise RefusedError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"charset {charset[:40]}",
            "is not UTF-8",
            "send UTF-8",
        )
    try:
        document = from_json(body.content, allow_inf_nan=False)
    except ValueError as error:
        raise _bad("body", f"is no JSON ({str(error)[:200]})", "send one JSON object") from error
    if not isinstance(document, dict):
        raise _bad("body", f"is a JSON {type(document).__name__}", 'send {"inputs": [...]}')
    return document


def _array(document: dict[str, JsonValue], reading: Reading, *, whole: bool) -> Images:
    """The one array of a document; other keys, such as MLflow's `params`, say nothing here."""
    given = [key for key in ARRAYS if key in document]
    if len(given) != 1:
        wanted = '"images", or one of ' if whole else "one of "
        raise _bad(
            f"keys {_listed(document)}", f'{wanted}"inputs" and "instances" is wanted', "send it"
        )
    return _checked(_bytes_of(document[given[0]], given[0], whole=whole), reading)


def _checked(images: Images, reading: Reading) -> Images:
    """Refuse an array that is not of images as the version's were stored."""
    if images.shape[1:] != reading.form.shape or images.ndim != 4:
        wanted = ", ".join(map(str, reading.form.shape))
        raise _bad(
            f"array of shape {images.shape}",
            f"is not (n, {wanted}): n images, channels, height, width",
            'send that, or pictures of any size as files or as "images"',
        )
    _check_count(len(images), reading.limits)
    return images


def _bytes_of(values: JsonValue, where: str, *, whole: bool) -> Images:
    """Nested lists of 0..255 as an array of bytes; whole: fractions are refused, not cut off."""
    try:
        numbers = np.asarray(values)
    except (ValueError, OverflowError) as error:
        raise _bad(where, f"is no array ({str(error)[:120]})", "send rows of one length") from error
    if numbers.dtype.kind not in ("iuf" if whole else "biuf"):
        raise _bad(where, "holds what is no number", "send lists of numbers of 0 to 255")
    if numbers.size == 0:
        raise _bad(where, "is empty", "send one image or more")
    if not np.all((numbers >= 0) & (numbers < 256)):
        wrong = numbers[~((numbers >= 0) & (numbers < 256))][0]
        raise _bad(f"{where}: pixel {wrong:g}", "is not within 0 to 255", "scale the pixels")
    if whole and numbers.dtype.kind == "f" and np.any(numbers != np.trunc(numbers)):
        wrong = numbers[numbers != np.trunc(numbers)][0]
        raise _bad(
            f"{where}: pixel {wrong:g}", "is no whole number of 0 to 255", "scale the pixels"
        )
    return numbers.astype(np.uint8)


def _npy(content: bytes) -> Images:
    """An array of bytes in NumPy's format, which claims no more than it holds."""
    stream = io.BytesIO(content)
    try:
        reads = _HEADER_READERS[np.lib.format.read_magic(stream)]
        with _PARSING:
            shape, fortran, kind = reads(stream)
    except (ValueError, KeyError, EOFError, TypeError, MemoryError, RecursionError) as error:
        raise _bad("body", f"is no array ({str(error)[:120]})", "send numpy.save's file") from error
    if kind != np.uint8 or fortran:
        order = " in Fortran order" if fortran else ""
        raise _bad(f"array of {kind}{order}", "is not uint8 in C order", "convert it before")
    rest = content[stream.tell() :]
    if not all(type(n) is int and n > 0 for n in shape) or math.prod(shape) != len(rest):
        raise _bad(f"array of shape {shape}", f"has {len(rest)} bytes", "save it again")
    return np.frombuffer(rest, np.uint8).reshape(shape)


def _listed_images(listed: JsonValue, limits: Limits) -> Sequence[bytes | Pixels]:
    if not isinstance(listed, list):
        raise _bad('"images"', f"is a {type(listed).__name__}", "send a list")
    _check_count(len(listed), limits)
    return [_listed_image(one, number) for number, one in enumerate(listed)]


def _listed_image(one: JsonValue, number: int) -> bytes | Pixels:
    """A picture of a list: base64 of a file, or rows of grey levels or of colours."""
    where = f"image {number}"
    if isinstance(one, str):
        text = one.partition(",")[2] if one.startswith("data:") else one
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _bad(where, f"is no base64 ({error})", "send base64 of a file") from error
    pixels = _bytes_of(one, where, whole=True)
    if pixels.ndim == 2:
        return pixels[:, :, None]
    if pixels.ndim == 3 and pixels.shape[2] in (1, 3):
        return pixels
    raise _bad(
        f"{where}: array of shape {pixels.shape}",
        "is not (height, width), nor (height, width, 1 or 3)",
        'send that, or images as they are stored as "inputs"',
    )


def _pictures(pictures: Sequence[bytes | Pixels], reading: Reading) -> Images:
    # A picture of one pixel becomes an image as large as any.
    size, most = len(pictures) * math.prod(reading.form.shape), reading.limits.request_bytes
    if size > most:
        raise RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{len(pictures)} images",
            f"have {size} bytes as the network takes them, at most {most} are taken",
            "send fewer at once, or start the server with a larger --max-mb",
        )
    return stack_images(_decoded(pictures, reading), reading.form)


def _decoded(pictures: Sequence[bytes | Pixels], reading: Reading) -> Iterator[Pixels]:
    """Decode and resize one by one, so that one at a time is there in its own size."""
    most = reading.limits.image_pixels
    for number, picture in enumerate(pictures):
        if time.monotonic() > reading.deadline:
            raise too_late(reading.limits)
        try:
            if isinstance(picture, bytes):
                pixels = decode_in_thread(picture, most_pixels=most)
            else:
                check_size(*picture.shape[:2], most_pixels=most)
                pixels = picture
        except InputError as error:
            way_out = "send a PNG or JPEG file of its own size, or a smaller one"
            raise _bad(f"image {number}", str(error), way_out) from error
        yield conform(pixels, reading.form)


def _parts(body: Body, limits: Limits) -> list[bytes]:
    """The parts of a form, each of which is a file, whatever its name."""
    parts: list[bytearray] = []

    def begin() -> None:
        _check_count(len(parts) + 1, limits)
        parts.append(bytearray())

    def write(data: bytes, start: int, end: int) -> None:
        parts[-1] += data[start:end]

    try:
        parser = MultipartParser(
            body.options.get("boundary", ""), {"on_part_begin": begin, "on_part_data": write}
        )
        parser.write(body.content)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise _bad("body", f"is no form ({str(error)[:120]})", "send as curl -F does") from error
    _check_count(len(parts), limits)
    return [bytes(part) for part in parts]


def _check_count(images: int, limits: Limits) -> None:
    if images == 0:
        raise _bad("0 images", "there is nothing to predict", "send one image or more")
    if images > limits.images:
        raise RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{images} images"
            if images > limits.images + 1
            else f"more than {limits.images} images",
            f"at most {limits.images} are taken in one request",
            "send several requests, or start the server with a larger --max-images",
        )


def too_late(limits: Limits) -> RefusedError:
    """The answer to who would wait longer than the limit."""
    return RefusedError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        f"{limits.seconds:g} s",
        "the images were not predicted in that time",
        "send it again later, send fewer images, or start the server with a longer --timeout",
        retry_after=1,
    )


def _unknown_type(body: Body, kinds: Sequence[str]) -> RefusedError:
    return RefusedError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"Content-Type {body.kind[:80] or '(none)'}",
        "is none of those that are read here",
        f"send {', '.join(kinds)}",
    )


def _listed(document: Mapping[str, JsonValue]) -> str:
    return ", ".join(sorted(key[:40] for key in document)[:8]) or "(none)"


def _bad(value: str, rule: str, way_out: str) -> RefusedError:
    return RefusedError(HTTPStatus.BAD_REQUEST, value, rule, way_out)
