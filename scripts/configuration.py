"""Writes docs/configuration.md from the table of settings; `--check` fails where it is out of date."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from claude_code_api.settings import TITLES, Settings, allowed, environment_names, is_secret

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"

INTRODUCTION = """\
# Configuration

<!-- Made by scripts/configuration.py from the table in claude_code_api/settings.py; edit that. -->

Nothing needs to be set: the defaults serve one machine. A setting can come from four places, the first one counts:

1. a flag of `claude-code-api serve` (`--port 9000`), for the few that have one;
2. an environment variable (`CCAPI_PORT=9000`), as named below; an empty one counts as not given;
3. the file `claude-code-api.toml` in the working directory (`port = 9000`);
4. the default.

Every secret can be given as `…_FILE` instead, the path of a file that holds it. `serve` takes secrets out of its own
environment, but whatever has set them there keeps them; a file leaves no such copies:

```sh
CLAUDE_CODE_OAUTH_TOKEN_FILE=/run/secrets/token claude-code-api serve
```

In the file, lists are written as lists and names as tables:

```toml
port = 9000
rate_limit_per_key = "60/minute;1000/hour"
trusted_proxies = ["10.0.0.1"]

[model_aliases]
fast = "haiku"
```

A wrong value stops the start, and the message says what the setting may be; so does a name that starts with `CCAPI_`
or stands in the file and is no setting. `claude-code-api doctor` shows what differs from the defaults.

Times are in seconds, sizes in bytes.
"""


def page() -> str:
    rows = [(group_of(field), name, field) for name, field in Settings.model_fields.items()]
    parts = [INTRODUCTION]
    for group, members in groupby(rows, key=lambda row: row[0]):
        parts.append(f"\n## {TITLES[group]}\n")
        parts.extend(section(name, field) for _, name, field in members)
    return "".join(parts)


def section(name: str, field: FieldInfo) -> str:
    variables = ", ".join(f"`{variable}`" for variable in environment_names(name, field))
    secret = " It is a secret." if is_secret(field) else ""
    return (
        f"\n### `{name}`\n\n{field.description}{secret}\n\n"
        f"- Default: {shown(field.default)}\n- May be: {allowed(field)}\n- Environment: {variables}\n"
    )


def group_of(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["group"])


def shown(default: Any) -> str:
    if default in (None, (), {}):
        return "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int) and default >= 64 * 1024:
        size, unit = (default / 2**20, "MiB") if default >= 2**20 else (default / 2**10, "KiB")
        return f"`{default}` ({size:g} {unit})"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def main() -> None:
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE} is out of date: run `python -m scripts.configuration`.")


if __name__ == "__main__":
    main()
