"""What an image is, by its own bytes: the only witness that a client cannot mislabel."""

from __future__ import annotations

MAX_SIDE = 8000
"""Pixels of the longest side that Anthropic takes. Claude Code decodes an image of any size before it asks: one PNG of
336 kB and 9000×9000 pixels took 400 MB there."""

_MOST_SEGMENTS = 1000
"""Of a JPEG before its size; a colour profile has 255 at most, and metadata some dozens."""
_USUAL_PIECE = 64
"""Bytes that a piece of a GIF has on average, or more; encoders fill them to 255."""


def media_type_of(image: bytes) -> str | None:
    """The media type, one of `conversation.IMAGE_TYPES`, or None for any other bytes. The first 12 bytes tell."""
    if image.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if image.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if image.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if image.startswith(b"RIFF") and image[8:12] == b"WEBP":
        return "image/webp"
    return None


def size_fault(image: bytes) -> str | None:
    """Why an image is refused for its size, in words that follow `the image`; None where it is not.

    One whose size cannot be read is refused too: nobody knows what a decoder would make of it.
    """
    size = size_of(image)
    if size is None:
        return "has no size that can be read"
    if max(size) > MAX_SIDE:
        return f"has {size[0]}×{size[1]} pixels, and may have {MAX_SIDE} a side"
    return None


def size_of(image: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, as large as any decoder may take them; None where they cannot be read.

    Nothing is decoded. Takes any bytes, and time for a few of them, but for a GIF: some 2 ms for each MB.
    """
    match media_type_of(image):
        case "image/png" if image[12:16] == b"IHDR":
            width, height = _number(image[16:20], "big"), _number(image[20:24], "big")
        case "image/jpeg":
            width, height = _jpeg_size(image)
        case "image/gif":
            width, height = _gif_size(image)
        case "image/webp":
            width, height = _webp_size(image)
        case _:
            return None
    return (width, height) if width and height else None


_number = int.from_bytes
_NO_SIZE = (0, 0)
_JPEG_FRAMES = frozenset(bytes([marker]) for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC))
_JPEG_SEGMENTS = frozenset(bytes([marker]) for marker in (0xC4, 0xCC, *range(0xDB, 0xF0), 0xFE))


def _jpeg_size(image: bytes) -> tuple[int, int]:
    """From the start of frame (ITU-T T.81, B.2.2), where nothing but segments of known markers comes before it.

    Behind anything else decoders look on, each in its own way.
    """
    at = 2
    for _ in range(_MOST_SEGMENTS):
        mark, marker = image[at : at + 1], image[at + 1 : at + 2]
        if mark + marker == b"\xff\xff":  # a fill byte
            at += 1
        elif mark == b"\xff" and marker in _JPEG_FRAMES:
            return _number(image[at + 7 : at + 9], "big"), _number(image[at + 5 : at + 7], "big")
        elif mark == b"\xff" and marker in _JPEG_SEGMENTS:
            at += 2 + _number(image[at + 2 : at + 4], "big")
        else:
            break
    return _NO_SIZE


def _gif_size(image: bytes) -> tuple[int, int]:
    """The screen, or what its frames cover where that is more: some decoders grow the screen (GIF89a, 18 and 20)."""
    width, height = _number(image[6:8], "little"), _number(image[8:10], "little")
    at = 13 + _colours(image[10:11])
    in_data = False  # pieces with their lengths, up to an empty one
    for _ in range(1000 + len(image) // _USUAL_PIECE):
        first = image[at : at + 1]
        if in_data and first:
            in_data = first != b"\0"
            at += 1 + first[0]
        elif first == b"," and len(image) >= at + 10:
            left, top, wide, high = (_number(image[at + n : at + n + 2], "little") for n in (1, 3, 5, 7))
            width, height = max(width, left + wide), max(height, top + high)
            at += 11 + _colours(image[at + 9 : at + 10])
            in_data = True
        elif first == b"!":
            at += 2
            in_data = True
        elif first in (b"", b";", b","):
            return width, height
        else:
            at += 1  # between the blocks; some decoders look on
    return _NO_SIZE


def _colours(flags: bytes) -> int:
    """Bytes of the colour table that follows a GIF's screen or frame."""
    flag = _number(flags, "big")
    return 3 << (flag & 7) + 1 if flag & 0x80 else 0


def _webp_size(image: bytes) -> tuple[int, int]:
    """From the first chunk: lossy (RFC 6386, 9.1), lossless, or extended, whose frames are no larger (RFC 9649)."""
    match image[12:16]:
        case b"VP8 " if image[23:26] == b"\x9d\x01\x2a":
            return _number(image[26:28], "little") & 0x3FFF, _number(image[28:30], "little") & 0x3FFF
        case b"VP8L" if image[20:21] == b"\x2f" and len(image) >= 25:
            bits = _number(image[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X" if len(image) >= 30:
            return _number(image[24:27], "little") + 1, _number(image[27:30], "little") + 1
    return _NO_SIZE
