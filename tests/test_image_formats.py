"""An image is known by its own bytes: its type, and its size before anything decodes it."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from claude_code_api.conversation import IMAGE_TYPES
from claude_code_api.image_formats import MAX_SIDE, media_type_of, size_fault, size_of


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp"])
def test_every_type_that_claude_takes_is_told_from_its_bytes(kind: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, kind)
    assert media_type_of(file.getvalue()) == f"image/{kind}"
    assert f"image/{kind}" in IMAGE_TYPES


@pytest.mark.parametrize("data", [b"", b"GIF88a", b"RIFF....WAVE", b"<svg/>", b"BM", b"%PDF-1.7", b" \xff\xd8\xff"])
def test_other_bytes_are_no_image(data: bytes) -> None:
    assert media_type_of(data) is None


def encoded(kind: str, width: int, height: int, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("png", {}),
        ("gif", {}),
        ("gif", {"save_all": True, "append_images": [Image.new("RGB", (40, 300), "red")], "comment": b"x,!;" * 200}),
        ("jpeg", {}),
        ("jpeg", {"progressive": True, "icc_profile": bytes(200_000), "comment": b"\xff\xc0" * 20}),
        ("webp", {}),
        ("webp", {"lossless": True}),
        ("webp", {"exif": b"Exif\0\0", "lossless": True}),
        ("webp", {"save_all": True, "append_images": [Image.new("RGB", (40, 300), "red")]}),
    ],
)
def test_the_size_is_read_as_it_was_written(kind: str, options: dict[str, Any]) -> None:
    image = encoded(kind, 40, 300, **options)
    assert media_type_of(image) == f"image/{kind}"
    assert size_of(image) == (40, 300)
    assert size_fault(image) is None


@pytest.mark.policy("V2")
@pytest.mark.parametrize("kind", ["png", "gif", "jpeg", "webp"])
def test_a_side_has_its_limit(kind: str) -> None:
    assert size_fault(encoded(kind, 1, MAX_SIDE)) is None
    assert size_fault(encoded(kind, MAX_SIDE + 1, 1)) == "has 8001×1 pixels, and may have 8000 a side"
    assert size_fault(encoded(kind, 1, MAX_SIDE + 1)) == "has 1×8001 pixels, and may have 8000 a side"


SCREEN = b"GIF89a\1\0\1\0\0\0\0"
FRAME = b",\x10\0\0\0\x28\x23\x01\0\0\2\2\x44\1\0"  # 9000×1 at 16, 0
SMALL_FRAME = b",\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
START = b"\xff\xd8"
LARGE = b"\xff\xc0\0\x11\x08\x00\x01\x23\x28"  # 9000×1


@pytest.mark.policy("V2")
@pytest.mark.parametrize(
    ("image", "size"),
    [
        (SCREEN + b";", (1, 1)),
        (SCREEN + FRAME + b";", (9016, 1)),
        (SCREEN + SMALL_FRAME + b"\0!\xf9\4\0\0\0\0\0" + FRAME, (9016, 1)),
        (SCREEN[:10] + b"\x80\0\0" + b"," * 6 + FRAME[:9] + b"\x80" + b"," * 6 + b"\2\2,,\0;", (9016, 1)),
        (SCREEN + b"!\xfe\4,,!;\0" + SMALL_FRAME + FRAME[:9], (1, 1)),
        (SCREEN + bytes(5000) + FRAME, None),
        (START + LARGE, (9000, 1)),
        (START + b"\xff" * 9 + LARGE[1:], (9000, 1)),
        (START + b"\xff\xe0\0\4\xff\xc0" + LARGE, (9000, 1)),
        (START + b"\xff\xfe\0\2" * 2000 + LARGE, None),
        (START + b"\xff\x01" + LARGE, None),
        (START + b"\xff\xd0" + LARGE, None),
        (START + b"\xff\x00" + LARGE, None),
        (START + b"\xffgarbage" + LARGE, None),
        (START + b"\xff\xda\0\2" + LARGE[:7] + b"\0\0", None),
        (b"\x89PNG\r\n\x1a\n\0\0\0\4CgBI" + bytes(20), None),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(8), None),
        (b"RIFF....WEBPVP8 " + bytes(20), None),
        (b"RIFF....WEBPVP8L" + bytes(4) + b"\x2f\xff", None),
        (b"RIFF....WEBPVP8X" + bytes(10), None),
        (b"RIFF....WEBPALPH" + bytes(20), None),
        (b"no image", None),
    ],
)
def test_what_a_decoder_could_take_for_larger_is_large_or_of_no_size(
    image: bytes, size: tuple[int, int] | None
) -> None:
    assert size_of(image) == size
    if size is None:
        assert size_fault(image) == "has no size that can be read"


heads = st.sampled_from(
    [
        START + b"\xff",
        START + LARGE,
        SCREEN,
        SCREEN + FRAME,
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        *(b"RIFF....WEBP" + kind for kind in (b"VP8 ", b"VP8L", b"VP8X", b"")),
    ]
)


@given(heads, st.integers(0, 40), st.binary(max_size=60))
def test_any_bytes_have_a_size_or_none(head: bytes, cut: int, rest: bytes) -> None:
    size = size_of(head[: len(head) - cut] + rest)
    assert size is None or (1 <= size[0] <= 2**32 and 1 <= size[1] <= 2**32)


@pytest.mark.policy("V2")
@pytest.mark.parametrize(
    "image",
    [SCREEN + b"," + bytes(2_000_000), SCREEN + b"!\xfe" + b"\1x" * 1_000_000, START + b"\xff" * 2_000_000,
     START + b"\xff\xe0\0\2" * 500_000],
    ids=["empty", "pieces", "fill", "segments"],
)  # fmt: skip
def test_two_hostile_megabytes_cost_a_twentieth_of_a_second(image: bytes) -> None:
    began = time.process_time()
    assert size_of(image) is None
    assert time.process_time() - began < 0.05
