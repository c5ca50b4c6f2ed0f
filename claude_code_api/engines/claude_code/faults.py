"""What went wrong with processes and upstream, counted by kind: for the metrics, beside the error that a client got."""

from __future__ import annotations

from collections import Counter
from typing import Literal

Kind = Literal["start", "died", "silent", "unreadable", "upstream"]
"""A process could not be started, ended by itself, did nothing for too long, or wrote what cannot be read; Anthropic's
API failed or broke an answer off."""

Faults = Counter[Kind]
