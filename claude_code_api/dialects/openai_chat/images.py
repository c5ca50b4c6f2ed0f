"""The URL of an image part: the image itself (`data:`), or where it is."""

from __future__ import annotations

import binascii
import re
from urllib.parse import urlsplit

from claude_code_api.conversation import IMAGE_TYPES, Base64Source, UrlSource
from claude_code_api.dialects.openai_chat.limits import Limits
from claude_code_api.errors import InvalidRequest
from claude_code_api.image_formats import media_type_of, size_fault

_MAX_URL = 8192


def read_image(url: str, path: str, limits: Limits) -> Base64Source | UrlSource:
    """The image that `url` holds, or its address where remote images are allowed. `path` names it in a fault.

    A `data:` URL must say what the image's own bytes say: a wrong label is told, not mended.
    """
    if url[:5].lower() == "data:":
        return _data_url(url, path, limits)
    if not _is_http_url(url):
        raise _invalid("an image is a data: URL with base64, or an http(s) URL", path)
    if not limits.remote_images:
        raise InvalidRequest(
            f"`{path}`: images are not fetched from URLs here; send the image as a data: URL.",
            code="unsupported_image_url",
            param=path,
        )
    return UrlSource(url)


def _data_url(url: str, path: str, limits: Limits) -> Base64Source:
    head, comma, data = url.partition(",")
    labelled = re.fullmatch(r"data:([\w.+-]+/[\w.+-]+);base64", head[:100], re.IGNORECASE)
    if not comma or not labelled or len(head) > 100:
        raise _invalid("a data: URL of an image begins data:image/…;base64,", path)
    media_type = labelled[1].lower().replace("image/jpg", "image/jpeg")
    if media_type not in IMAGE_TYPES:
        raise _invalid(f"{media_type} is none of {', '.join(sorted(IMAGE_TYPES))}", path)
    if len(data) // 4 * 3 > limits.max_image_bytes + 2:  # base64 pads with two bytes at most
        raise _too_large(path, limits)
    try:
        image = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        raise _invalid("this is no base64", path) from None
    if len(image) > limits.max_image_bytes:
        raise _too_large(path, limits)
    found = media_type_of(image)
    if found != media_type:
        raise _invalid(f"the image is not {media_type}, as its URL says, but {found or 'of no known format'}", path)
    if fault := size_fault(image):
        raise _invalid(f"the image {fault}", path)
    return Base64Source(media_type, data)


def _is_http_url(url: str) -> bool:
    if len(url) > _MAX_URL or not re.fullmatch(r"https?://[!-~]+", url, re.IGNORECASE):
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _too_large(path: str, limits: Limits) -> InvalidRequest:
    return InvalidRequest(
        f"`{path}`: the image is larger than {limits.max_image_bytes} bytes.", code="image_too_large", param=path
    )


def _invalid(reason: str, path: str) -> InvalidRequest:
    return InvalidRequest(f"`{path}`: {reason}.", code="invalid_image", param=path)
