"""What a request may ask for at most, as the settings say."""

from __future__ import annotations

from typing import Self

import msgspec

from claude_code_api.settings import Settings


class Limits(msgspec.Struct, frozen=True):
    """Sizes are in bytes; `max_depth` counts nested arrays and objects, the body itself being the first."""

    max_depth: int
    max_messages: int
    max_images: int
    max_image_bytes: int
    max_files: int
    max_file_bytes: int
    remote_images: bool
    ignore_unsupported: bool

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(
            max_depth=settings.max_depth,
            max_messages=settings.max_messages,
            max_images=settings.max_images,
            max_image_bytes=settings.max_image_bytes,
            max_files=settings.max_files,
            max_file_bytes=settings.max_file_bytes,
            remote_images=settings.remote_images,
            ignore_unsupported=settings.unsupported_parameters == "ignore",
        )
