"""QR codes, against those that another maker of them (segno 1.6.6) makes of the same text under the same mask."""

from __future__ import annotations

import hashlib
from xml.etree.ElementTree import fromstring

import pytest

from claude_code_api.admin.pages.qr_code import MOST_BYTES, matrix, qr_code

TEXT = b"otpauth://totp/" * 20

# By bytes, one full code of each version: modules on a side, and a digest of all of them.
FULL = {
    14: (21, "63c72f74f4ae7d1a"),
    26: (25, "803dd8c5580f7bbe"),
    42: (29, "169f650b1e2f4b66"),
    62: (33, "5296dec1d34f7d86"),
    84: (37, "8d84bb3061497e8d"),
    106: (41, "2e8c3bf53cd3f9fa"),
    122: (45, "f56193c5d99acb1a"),
    152: (49, "850015d6203661b1"),
    180: (53, "9641afac7f692074"),
    213: (57, "dbde4256c8b5392d"),
}


@pytest.mark.parametrize("length", FULL)
def test_each_version_is_as_another_maker_has_it(length: int) -> None:
    modules = matrix(TEXT[:length])
    digest = hashlib.sha256("".join("#" if dark else "." for row in modules for dark in row).encode()).hexdigest()
    assert (len(modules), digest[:16]) == FULL[length]


def test_one_byte_more_takes_the_next_version() -> None:
    assert len(matrix(TEXT[:15])) == 25
    assert len(matrix(b"")) == 21


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        matrix(b"x" * (MOST_BYTES + 1))


def test_the_picture_has_a_quiet_edge_and_a_name() -> None:
    picture = fromstring(qr_code("x", "Code <for> your app"))
    assert picture.attrib["viewBox"] == "0 0 29 29"
    assert picture.attrib["aria-label"] == "Code <for> your app"
    path = picture.find("path")
    assert path is not None
    assert path.attrib["d"].startswith("M4 4h7v1h-7z")
