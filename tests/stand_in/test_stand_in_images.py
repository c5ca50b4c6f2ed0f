"""An image's size is read from its first bytes, and a broken one does no harm."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from claude_code_api.stand_in import images


def file_of(kind: str, size: tuple[int, int], **options: bool) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size).save(file, kind, **options)
    return file.getvalue()


@settings(deadline=None)
@given(size=st.tuples(st.integers(1, 300), st.integers(1, 300)), kind=st.sampled_from(["PNG", "JPEG", "GIF"]))
def test_the_size_is_the_one_that_was_saved(size: tuple[int, int], kind: str) -> None:
    assert images.pixels(file_of(kind, size)) == size


def test_a_progressive_jpeg_has_its_size_too() -> None:
    assert images.pixels(file_of("JPEG", (40, 30), progressive=True)) == (40, 30)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_truncated_file_has_no_size_or_the_right_one(kind: str) -> None:
    whole = file_of(kind, (40, 30))
    assert {images.pixels(whole[:length]) for length in range(len(whole))} <= {None, (40, 30)}


@pytest.mark.parametrize(
    "data", [b"", b"BM", b"\xff\xd8\xff\xe0\x00\x04..garbage, no marker", b"\xff\xd8\xff\xe0\x00\x02\xff\xe1"]
)
def test_what_is_no_image_has_no_size(data: bytes) -> None:
    assert images.pixels(data) is None
