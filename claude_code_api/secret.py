"""A secret has a type: it prints redacted, compares in constant time, and is unwrapped by name."""

from __future__ import annotations

import hmac


class Secret:
    """Text that must not be shown. `reveal()` is the only way to it, so that a search finds every use.

    It cannot be pickled, copied into JSON or formatted by accident: `str`, `repr` and f-strings give
    `Secret(…abcd)`, with the last four characters at most (policy T1) and none of a short one.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    @property
    def hint(self) -> str:
        """The last four characters, or nothing where four would be much of the whole."""
        return self._text[-4:] if len(self._text) >= 24 else ""

    def __repr__(self) -> str:
        return f"Secret(…{self.hint})"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret is not to be pickled or copied")
