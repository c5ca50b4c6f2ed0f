"""What the gateway is told of a request beside its conversation."""

from __future__ import annotations

import msgspec


class Request(msgspec.Struct, frozen=True):
    """`id` is the one that the client is told, never used twice; `endpoint` the path, `stream` how it is answered."""

    id: str
    endpoint: str
    stream: bool
