"""The file of a file part: a PDF or a text becomes a document, a picture an image."""

from __future__ import annotations

import binascii
import re

from claude_code_api.conversation import IMAGE_TYPES, PDF_TYPE, Base64Source, Document, Image, TextSource
from claude_code_api.dialects.openai_chat.images import read_image
from claude_code_api.dialects.openai_chat.limits import Limits
from claude_code_api.dialects.openai_chat.schema import File
from claude_code_api.errors import InvalidRequest

MAX_TITLE = 500  # characters; Anthropic's limit

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w-]+=[^;,]*)*);base64", re.IGNORECASE)
_MAX_HEAD = 300
_UNKNOWN = "application/octet-stream"
_TEXT = re.compile(
    r"text/.+|application/(?:(?:.+\+)?(?:json|xml|yaml)|x-yaml|x-ndjson|jsonl|jsonlines|toml|sql|csv|markdown|"
    r"(?:x-|ecma)?(?:java|type)?script|x-sh|x-python|x-tex|graphql)"
)
_ENCODING = re.compile(r"charset=\"?(?!utf-?8\b|us-ascii\b|ascii\b)", re.IGNORECASE)
_ENCRYPTED = re.compile(rb"/Encrypt\s*(?:\d+\s+\d+\s+R|<<)")
_PDF_HEADER_WITHIN = 1024  # bytes; what readers of PDF take (ISO 32000-1, annex H, note 13)


def read_file(file: File, path: str, limits: Limits) -> Document | Image:
    """The file that a part holds: as a data: URL, or in base64 alone, whose bytes then tell what it is.

    A label must say what the bytes say. `path` names the part in a fault.
    """
    if file.file_id is not None:
        raise InvalidRequest(
            f"`{path}.file_id`: no files are stored here; send the file itself in `file_data`.",
            code="unsupported_parameter",
            param=f"{path}.file_id",
        )
    at = f"{path}.file_data"
    if not file.file_data:
        raise _invalid("required, but missing", at)
    media_type, parameters, data = _parts(file.file_data, at)
    if media_type in IMAGE_TYPES or media_type == "image/jpg":
        return Image(read_image(file.file_data, at, limits))
    content = _decoded(data, at, limits)
    title = (file.filename or "")[:MAX_TITLE].strip() or None
    if media_type == PDF_TYPE or (media_type == _UNKNOWN and content.lstrip().startswith(b"%PDF-")):
        return Document(_pdf(content, data, at), title)
    if media_type == _UNKNOWN and b"\0" in content:
        raise _invalid("the file is neither a PDF nor a text", at)
    if media_type != _UNKNOWN and not _TEXT.fullmatch(media_type):
        raise _invalid(f"{media_type} is no type that Claude reads: PDF, text or image", at)
    return Document(_text(content, parameters, at), title)


def _parts(file_data: str, path: str) -> tuple[str, str, str]:
    """Media type, its parameters, and the base64."""
    if file_data[:5].lower() != "data:":
        if "://" in file_data[:10]:
            raise _invalid("files are not fetched from URLs; send the file itself in base64", path)
        return _UNKNOWN, "", file_data
    head, comma, data = file_data.partition(",")
    labelled = _DATA_URL.fullmatch(head[: _MAX_HEAD + 1])
    if not comma or not labelled:
        raise _invalid("a data: URL of a file begins data:application/pdf;base64, or with another media type", path)
    return (labelled[1] or _UNKNOWN).lower(), labelled[2], data


def _decoded(data: str, path: str, limits: Limits) -> bytes:
    if len(data) // 4 * 3 > limits.max_file_bytes + 2:  # base64 pads with two bytes at most
        raise _too_large(path, limits)
    try:
        content = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        raise _invalid("this is no base64", path) from None
    if len(content) > limits.max_file_bytes:
        raise _too_large(path, limits)
    if not content.strip():
        raise _invalid("the file is empty", path)
    return content


def _is_pdf(content: bytes) -> bool:
    return b"%PDF-" in content[:_PDF_HEADER_WITHIN]


def _pdf(content: bytes, data: str, path: str) -> Base64Source:
    if not _is_pdf(content):
        raise _invalid("the file is no PDF, as its type says", path)
    if _ENCRYPTED.search(content):
        raise _invalid("the PDF is encrypted; Claude reads none that is", path)
    return Base64Source(PDF_TYPE, data)


def _text(content: bytes, parameters: str, path: str) -> TextSource:
    if _ENCODING.search(parameters):
        raise _invalid("texts are UTF-8 here, whatever else they may be encoded in", path)
    try:
        return TextSource(content.decode("utf-8-sig"))
    except UnicodeDecodeError as fault:
        raise _invalid(f"the text is not UTF-8 (byte {fault.start})", path) from None


def _too_large(path: str, limits: Limits) -> InvalidRequest:
    return InvalidRequest(
        f"`{path}`: the file is larger than {limits.max_file_bytes} bytes.", code="file_too_large", param=path
    )


def _invalid(reason: str, path: str) -> InvalidRequest:
    return InvalidRequest(f"`{path}`: {reason}.", code="invalid_file", param=path)
