"""What an image's first bytes tell: its media type and its size in pixels."""

from __future__ import annotations

import base64
import struct
from typing import Any


def media_type(data: bytes) -> str | None:
    """The media type by the file's signature; None for anything that the API does not take."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def pixels(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF or JPEG; None where the header does not tell."""
    try:
        match media_type(data):
            case "image/png":
                width, height = struct.unpack_from(">II", data, 16)
            case "image/gif":
                width, height = struct.unpack_from("<HH", data, 6)
            case "image/jpeg":
                return _jpeg_pixels(data)
            case _:
                return None
    except (struct.error, IndexError):
        return None
    return width, height


def _jpeg_pixels(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        # The start-of-frame markers; C4, C8 and CC in their range are something else.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None


def describe(source: dict[str, Any]) -> str:
    """An image in words: `an image/png of 32×16 pixels`."""
    if source["type"] != "base64":
        return f"an image at {source.get('url') or source.get('file_id')}"
    size = pixels(base64.b64decode(source["data"]))
    return f"an {source['media_type']}" + (f" of {size[0]}×{size[1]} pixels" if size else "")
