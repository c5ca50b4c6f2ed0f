"""A reader of the pages whose browser runs no scripts."""

from __future__ import annotations

import html
import re

import httpx2
from browsing import PASSWORD


def shown(answer: httpx2.Response) -> str:
    """What a reader sees: the text, without markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


class Reader:
    """Fills in forms as a browser without scripts does: with the token that the page has, and its `Origin`."""

    def __init__(self, client: httpx2.Client) -> None:
        self.client = client
        self.page = client.get("/admin/login")

    def go(self, address: str) -> httpx2.Response:
        self.page = self.client.get(address, follow_redirects=True)
        return self.page

    def send(self, address: str, **fields: str) -> httpx2.Response:
        token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', self.page.text)
        data = fields | ({"csrf_token": token[1]} if token else {})
        self.page = self.client.post(address, data=data, follow_redirects=True)
        return self.page

    def sign_in(self, name: str = "admin", password: str = PASSWORD) -> httpx2.Response:
        return self.send("/admin/login", username=name, password=password)
