"""Images in a request: what a data: URL says is checked against the bytes, and remote ones need a permission."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import PIL.Image
import pytest

from claude_code_api.conversation import Base64Source, Image, Text, UrlSource
from claude_code_api.dialects.openai_chat import ChatRequest
from claude_code_api.errors import InvalidRequest

Ask = Callable[..., ChatRequest]
PARAM = "messages.0.content.1.image_url.url"


def encoded(kind: str) -> str:
    file = io.BytesIO()
    PIL.Image.new("RGB", (2, 2)).save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


PNG = encoded("png")


def look_at(*urls: str) -> list[dict[str, Any]]:
    images = [{"type": "image_url", "image_url": {"url": url, "detail": "high"}} for url in urls]
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *images]}]


def refusal(call: Callable[[], object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as raised:
        call()
    return raised.value


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "webp"])
def test_a_data_url_is_an_image_in_its_place(ask: Ask, kind: str) -> None:
    data = encoded(kind)
    (turn,) = ask(look_at(f"data:image/{kind};base64,{data}")).conversation.messages
    assert turn.content == (Text("What is this?"), Image(Base64Source(f"image/{kind}", data)))


@pytest.mark.parametrize("label", ["image/jpg", "IMAGE/JPEG"])
def test_common_spellings_of_a_type_are_known(ask: Ask, label: str) -> None:
    (turn,) = ask(look_at(f"DATA:{label};BASE64,{encoded('jpeg')}")).conversation.messages
    assert turn.content[1] == Image(Base64Source("image/jpeg", encoded("jpeg")))


@pytest.mark.policy("V1")
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "an image is a data: URL"),
        ("file:///etc/passwd", "an image is a data: URL"),
        ("ftp://example.com/a.png", "an image is a data: URL"),
        ("http://", "an image is a data: URL"),
        ("http://[::1", "an image is a data: URL"),
        ("http://example.com:0/", "an image is a data: URL"),
        ("http://example.com:99999/", "an image is a data: URL"),
        ("http://example.com/a b", "an image is a data: URL"),
        ("https://example.com/" + "a" * 9000, "an image is a data: URL"),
        (f"data:image/png,{PNG}", "begins data:image"),
        (f"data:;base64,{PNG}", "begins data:image"),
        ("data:image/png;base64", "begins data:image"),
        (f"data:image/{'x' * 200};base64,{PNG}", "begins data:image"),
        (f"data:image/bmp;base64,{PNG}", "image/bmp is none of image/gif, image/jpeg, image/png, image/webp"),
        ("data:text/html;base64,PGI+", "text/html is none of"),
        ("data:image/png;base64,####", "no base64"),
        (f"data:image/png;base64,{PNG[:-1]}", "no base64"),
        (f"data:image/png;base64,{PNG[:8]}\n{PNG[8:]}", "no base64"),
        (f"data:image/png;base64,{PNG[:-4]}é===", "no base64"),
        ("data:image/png;base64,", "not image/png, as its URL says, but of no known format"),
        (f"data:image/jpeg;base64,{PNG}", "not image/jpeg, as its URL says, but image/png"),
    ],
)
def test_a_wrong_image_is_named_with_its_fault(ask: Ask, url: str, words: str) -> None:
    fault = refusal(lambda: ask(look_at(url), changed={"remote_images": True}))
    assert (fault.code, fault.param) == ("invalid_image", PARAM)
    assert words in fault.message
    assert len(fault.message) < 300


@pytest.mark.policy("V2")
@pytest.mark.parametrize("length", range(1996, 2010))
def test_the_size_limit_counts_the_images_own_bytes(ask: Ask, length: int) -> None:
    image = base64.b64decode(PNG)
    data = base64.b64encode(image + bytes(length - len(image))).decode()
    messages = look_at(f"data:image/png;base64,{data}")
    if length <= 2000:
        assert ask(messages)
    else:
        fault = refusal(lambda: ask(messages))
        assert (fault.code, fault.param) == ("image_too_large", PARAM)
        assert "2000 bytes" in fault.message


@pytest.mark.policy("V2")
def test_the_number_of_images_is_limited_over_all_messages(ask: Ask) -> None:
    url = f"data:image/png;base64,{PNG}"
    assert ask(look_at(url, url) + look_at(url))
    fault = refusal(lambda: ask(look_at(url, url) + look_at(url, url)))
    assert (fault.code, fault.param) == ("too_many_images", "messages.1")


@pytest.mark.parametrize("url", ["https://example.com/a.png", "HTTP://example.com:8080/?q=%20"])
def test_remote_images_are_refused_unless_they_are_allowed(ask: Ask, url: str) -> None:
    fault = refusal(lambda: ask(look_at(url)))
    assert (fault.code, fault.param) == ("unsupported_image_url", PARAM)
    (turn,) = ask(look_at(url), changed={"remote_images": True}).conversation.messages
    assert turn.content[1] == Image(UrlSource(url))


@pytest.mark.policy("V2")
def test_an_image_of_too_many_pixels_is_refused_however_small_its_file_is(ask: Ask) -> None:
    file = io.BytesIO()
    PIL.Image.new("1", (8001, 8)).save(file, "png")
    fault = refusal(lambda: ask(look_at(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}")))
    assert (fault.code, fault.param) == ("invalid_image", PARAM)
    assert "8001×8 pixels" in fault.message
