"""How long input is looked for that breaks the gateway: a little in the suite, longer with `make fuzz`."""

from __future__ import annotations

import os

LONG = "FUZZ" in os.environ
TIMES = 5 if LONG else 1
SECONDS = 90
"""What schemathesis may take, in the long form."""
