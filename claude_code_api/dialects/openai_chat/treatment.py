"""What happens to a field of a request: said in the field's own annotation, read back as rows of a table."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

Treatment = Literal["honoured", "no effect", "refused"]


def honoured(note: str) -> Meta:
    return _row("honoured", note)


def no_effect(note: str = "") -> Meta:
    return _row("no effect", note)


def refused(*neutral: str, note: str = "") -> Meta:
    """`neutral` as JSON: unlike 0 and False, their texts differ for the cache that `typing` keeps of annotations."""
    return _row("refused", note, neutral)


def _row(treatment: Treatment, note: str, neutral: tuple[str, ...] = ()) -> Meta:
    return Meta(description=note or None, extra={"treatment": treatment, "note": note, "neutral": neutral})


Anything = Raw | UnsetType
"""A value that is kept as its bytes: what is not used is not built."""


class Row(msgspec.Struct, frozen=True):
    """One row of the table. `neutral` are the values beside null that a refused field may have."""

    name: str
    treatment: Treatment
    note: str
    neutral: tuple[str, ...]

    def accepts(self, value: Anything) -> bool:
        """Whether the value asks for nothing."""
        if value is UNSET:
            return True
        encoded = bytes(value)
        if len(encoded) > 64:  # a neutral value is short; what is long need not be built to be refused
            return False
        try:
            given = msgspec.json.decode(encoded)
        except (msgspec.DecodeError, UnicodeDecodeError):  # what was skipped is not wholly checked
            return False
        return given is None or any(
            given == neutral and isinstance(given, bool) == isinstance(neutral, bool)
            for neutral in map(msgspec.json.decode, self.neutral)
        )


def rows(struct: type[msgspec.Struct]) -> tuple[Row, ...]:
    """The table of a struct's fields, for those that say what happens to them."""
    kinds = msgspec.inspect.type_info(struct)
    if not isinstance(kinds, msgspec.inspect.StructType):
        raise TypeError(f"{struct.__name__} is no struct")
    return tuple(
        Row(field.encode_name, **field.type.extra)
        for field in kinds.fields
        if isinstance(field.type, msgspec.inspect.Metadata) and field.type.extra
    )
