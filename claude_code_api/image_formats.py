"""What an image is, by its first bytes: the only witness that a client cannot mislabel."""

from __future__ import annotations


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
