"""An image is known by its own bytes."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from claude_code_api.conversation import IMAGE_TYPES
from claude_code_api.image_formats import media_type_of


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp"])
def test_every_type_that_claude_takes_is_told_from_its_bytes(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, kind)
    assert media_type_of(file.getvalue()) == f"image/{kind}"
    assert f"image/{kind}" in IMAGE_TYPES


@pytest.mark.parametrize("data", [b"", b"GIF88a", b"RIFF....WAVE", b"<svg/>", b"BM", b"%PDF-1.7", b" \xff\xd8\xff"])
def test_other_bytes_are_no_image(data: bytes) -> None:
    assert media_type_of(data) is None
