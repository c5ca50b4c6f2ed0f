"""Made-up values for every template, filled and empty."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
from markupsafe import Markup

from claude_code_api.access import ApiKey, CredentialRecord
from claude_code_api.admin.pages import charts, wording
from claude_code_api.admin.pages.figures import At, Row
from claude_code_api.admin.pages.rendering import Form, Frame
from claude_code_api.audit import Fault
from claude_code_api.conversation import RateLimitStatus
from claude_code_api.credential import CredentialKind
from claude_code_api.usage.report import Figures, Line

NOW = datetime.now(UTC)
OWNER = Frame(name="anna", role="owner", csrf_token="token")
NOBODY = Frame()


def key(name: str, **fields: Any) -> ApiKey:
    given = {
        "id": "key_" + name.lower().replace(" ", ""),
        "name": name,
        "credential_id": "cred_1",
        "hint": "x7Qz",
        "models": (),
        "rate_limit": None,
        "max_concurrent": None,
        "created_at": NOW - timedelta(days=40),
        "created_by": "admin:anna",
        "expires_at": None,
        "revoked_at": None,
        "last_used_at": NOW - timedelta(minutes=3),
    }
    return ApiKey(**{**given, **fields})


KEYS = [
    key("Anna’s editor", rate_limit="60/minute", max_concurrent=4),
    key("Nightly reports", models=("claude-sonnet-5-5",), last_used_at=NOW - timedelta(hours=9)),
    key("Open WebUI", expires_at=NOW + timedelta(days=5)),
    key("Old importer", last_used_at=NOW - timedelta(days=120), created_at=NOW - timedelta(days=300)),
    key("Support desk", replaced_by="key_new", expires_at=NOW + timedelta(hours=20)),
    key("Contractor", revoked_at=NOW - timedelta(days=2)),
    key(
        "A very long name for a program that somebody wanted to describe with much care",
        last_used_at=None,
        created_at=NOW,
    ),
]


def credential(name: str, **fields: Any) -> CredentialRecord:
    given = {
        "id": "cred_" + name.lower(),
        "name": name,
        "kind": CredentialKind.OAUTH,
        "hint": "a1B2",
        "created_at": NOW - timedelta(days=90),
        "replaced_at": None,
        "limit": None,
        "limit_seen_at": None,
        "refused_at": None,
        "last_used_at": NOW - timedelta(minutes=1),
    }
    return CredentialRecord(**{**given, **fields})


CREDENTIALS = [
    credential(
        "Anna",
        limit=RateLimitStatus(status="allowed_warning", resets_at=int(NOW.timestamp()) + 7200, limit_type="five_hour"),
        limit_seen_at=NOW,
    ),
    credential("Bert", refused_at=NOW - timedelta(hours=5)),
    credential("Console", kind=CredentialKind.API_KEY, last_used_at=None),
]


def figures(scale: float) -> Figures:
    return Figures(
        requests=int(1200 * scale),
        failed=int(14 * scale),
        input_tokens=int(3_400_000 * scale),
        output_tokens=int(410_000 * scale),
        cache_read_tokens=int(9_100_000 * scale),
        cache_write_tokens=int(700_000 * scale),
        cost=int(21_400_000_000 * scale),
        first_tokens=(0, 2, 9, 14, 6, *(0,) * (len(Figures().first_tokens) - 5)),
    )


LINES = [Line(id=each.id, name=each.name, figures=figures(1 / (at + 1) ** 2)) for at, each in enumerate(KEYS)]


def wave(at: int, high: float) -> float:
    return max(0.0, high * (0.55 + 0.45 * math.sin(at / 3.1)) - (at % 5) * high / 19)


def figure(id: str, title: str, value: str, kind: str = "bars", empty: bool = False, **fields: Any) -> Any:  # noqa: A002
    high = 0 if empty else 180
    points = [
        charts.Point(
            f"{at:02}:00",
            (round(wave(at, high)), round(wave(at, high / 9))),
            f"{wave(at, high):.0f} requests, {wave(at, high / 9):.0f} failed",
        )
        for at in range(24)
    ]
    if kind == "lines":
        points = [
            charts.Point(p.label, (None, None) if 5 < at < 8 else p.values, p.told) for at, p in enumerate(points)
        ]
    draw = charts.lines if kind == "lines" else charts.bars
    rows = [
        Row(
            At(point.label, wording.iso(NOW)),
            [wording.count(each) if each is not None else "–" for each in point.values],
        )
        for point in points
    ]
    return SimpleNamespace(
        id=id,
        title=title,
        value=value,
        note=fields.get("note", ""),
        legend=fields.get("legend", ["answered", "failed"]),
        chart=draw(id, title, f"{title} by the hour, {value} in all.", points, wording.short_count),
        columns=fields.get("legend", ["answered", "failed"]),
        rows=rows,
    )


OVERVIEW = [
    figure("requests", "Requests", "2,431", note="31 failed, 1.3 %"),
    figure("tokens", "Tokens", "14.2M", legend=["in", "out"]),
    figure("cost", "Cost", "$41.07", note="what the API would have charged"),
    figure("first-token", "Time to first token", "640 ms", "lines", legend=["half of them within", "95 % within"]),
]

SNIPPETS = SimpleNamespace(
    environment="export OPENAI_BASE_URL=https://gateway.example:8443/v1\nread -rs OPENAI_API_KEY",
    curl='curl "$OPENAI_BASE_URL/chat/completions" -H "Authorization: Bearer $OPENAI_API_KEY" --data "@request.json"',
    python="from openai import OpenAI\n\nclient = OpenAI()",
    node='import OpenAI from "openai";\n\nconst client = new OpenAI();',
)
USE = {
    "snippets": SNIPPETS,
    "self_signed": True,
    "certificate": "data/tls/certificate.pem",
    "base_url": "https://gateway.example:8443/v1",
}

ENTRIES = [
    SimpleNamespace(
        number=120 - at,
        at=NOW - timedelta(hours=at),
        actor=actor,
        action=action,
        target=target,
        code=b"",
        details=details,
    )
    for at, (actor, action, target, details) in enumerate(
        [
            ("admin:anna", "key.created", "key_4f2a", {"name": "Anna’s editor", "credential": "cred_1"}),
            ("gateway", "credential.refused", "cred_2", {}),
            ("command line", "vault.rotated", None, {"records": 14}),
            ("admin:bert", "key.updated", "key_77aa", {"models": ["sonnet", "haiku"], "rate_limit": "60/minute"}),
            ("admin", "administrator.sign_in_failed", None, {"name": "admin", "address": "192.0.2.0/24", "count": 41}),
        ]
    )
]

SESSIONS = [
    SimpleNamespace(
        id="sess_1",
        is_this=True,
        device="Mozilla/5.0 (X11; Linux x86_64) Chrome/140",
        address="192.0.2.0/24",
        created_at=NOW - timedelta(hours=2),
        last_used_at=NOW,
        ends_at=NOW + timedelta(hours=22),
    ),
    SimpleNamespace(
        id="sess_2",
        is_this=False,
        device="Mozilla/5.0 (iPhone) Safari/605",
        address="198.51.100.0/24",
        created_at=NOW - timedelta(hours=20),
        last_used_at=NOW - timedelta(hours=1),
        ends_at=NOW + timedelta(hours=4),
    ),
]

TOKEN = SimpleNamespace(
    id="adm_1",
    name="backup script",
    hint="9zKq",
    role="viewer",
    created_at=NOW - timedelta(days=3),
    last_used_at=None,
    expires_at=NOW + timedelta(days=27),
)

WRONG = Form(
    "new",
    {"name": "", "rate_limit": "lots"},
    {"name": "Give it a name.", "rate_limit": 'A rate limit is like "100/minute".'},
)
NO_FORM = Form("form")
PAIRS = [("cred_1", "Anna"), ("cred_2", "Bert")]
MODELS = ["claude-opus-5", "claude-sonnet-5-5"]
SORTING = SimpleNamespace(column="last_used_at", descending=True, address=lambda column: f"/admin/keys?sort={column}")


def owner(section: str, **fields: Any) -> Frame:
    return msgspec.structs.replace(OWNER, section=section, **fields)


SPANS = [("hour", "Hour"), ("day", "Day"), ("month", "30 days")]
STEP = {"address": "/admin/credentials/new", "action": "Add a credential", "done": False, "next": False}
STEPS = [
    SimpleNamespace(
        **{**STEP, "title": "Store a token", "text": "From claude setup-token, or an API key.", "done": True}
    ),
    SimpleNamespace(
        **{**STEP, "title": "Make an API key", "text": "What a program presents.", "next": True, "action": "Make a key"}
    ),
    SimpleNamespace(
        **{
            **STEP,
            "title": "Send a request",
            "text": "With one of the snippets, or in the playground.",
            "action": "Try it",
        }
    ),
]
ATTENTION = [
    SimpleNamespace(
        kind="bad",
        badge="Refused",
        text="Anthropic refuses the token of Bert",
        hint="since 5 hours ago",
        address="/admin/credentials/cred_2",
    ),
    SimpleNamespace(
        kind="warn", badge="Ends soon", text="2 keys end within 14 days", hint="", address="/admin/keys?sort=expires_at"
    ),
    SimpleNamespace(
        kind="warn",
        badge="Password",
        text="Your password is 120 days old",
        hint="a new one is due after 90",
        address=None,
    ),
]
TOTAL = Figures.sum(line.figures for line in LINES)
EXPORTS = SimpleNamespace(csv="/admin/audit.csv", jsonl="/admin/audit.jsonl")
ADMINISTRATORS = [
    SimpleNamespace(
        id="admin_1",
        password_is_old=False,
        name="anna",
        role="owner",
        second_factor=True,
        password_set_at=NOW - timedelta(days=20),
        created_at=NOW - timedelta(days=200),
    ),
    SimpleNamespace(
        id="admin_2",
        password_is_old=True,
        name="bert",
        role="viewer",
        second_factor=False,
        password_set_at=NOW - timedelta(days=120),
        created_at=NOW - timedelta(days=190),
    ),
]
INVITATION = SimpleNamespace(
    id="invitation_1", name="carla", role="admin", created_by="administrator anna", expires_at=NOW + timedelta(days=1)
)
GROUPS = [
    SimpleNamespace(
        id="listen",
        title="Where it listens",
        rows=[
            SimpleNamespace(
                name="host", value="127.0.0.1", is_default=True, help="Address that both listeners bind to."
            ),
            SimpleNamespace(
                name="public_url",
                value="https://gateway.example",
                is_default=False,
                help="The address that clients use.",
            ),
        ],
    ),
]
ACCOUNT = {
    "password_is_old": True,
    "password_days": 120,
    "password_set_at": NOW - timedelta(days=120),
    "password": Form("password"),
    "factor": None,
    "factor_form": Form("factor"),
    "sessions": SESSIONS,
    "remind_after": 90,
    "tokens": [TOKEN],
    "token": Form("token"),
    "roles": [("viewer", "Viewer"), ("admin", "Admin")],
}

PAGES: dict[str, tuple[str, Frame, dict[str, Any]]] = {
    "login": ("login.html", NOBODY, {"form": Form("login", {"username": "admin"}), "next": ""}),
    "login-wrong": (
        "login.html",
        NOBODY,
        {
            "form": Form(
                "login",
                {"username": "anna"},
                {"password": "The name or the password is wrong."},
                "You could not be signed in",
            ),
            "next": "/admin/keys",
        },
    ),
    "setup": (
        "setup.html",
        NOBODY,
        {"form": Form("setup", {"name": "admin"}), "invited": False},
    ),
    "setup-invited": (
        "setup.html",
        NOBODY,
        {"form": Form("setup"), "invited": True},
    ),
    "overview": (
        "overview.html",
        owner("overview"),
        {"span": "day", "spans": SPANS, "steps": [], "attention": ATTENTION, "figures": OVERVIEW, "dearest": LINES[:4]},
    ),
    "overview-empty": (
        "overview.html",
        owner("overview"),
        {
            "span": "hour",
            "spans": SPANS,
            "steps": STEPS,
            "attention": [],
            "figures": [figure("requests", "Requests", "0", empty=True)],
            "dearest": [],
        },
    ),
    "keys": (
        "keys.html",
        owner("keys", done="The key was revoked."),
        {
            "rows": KEYS,
            "filtered": False,
            "form": NO_FORM,
            "credentials": [("", "Any"), *PAIRS],
            "names": {"cred_1": "Anna"},
            "sorting": SORTING,
            "told": "7 of 7",
            "back": None,
            "on": "/admin/keys?after=x",
        },
    ),
    "keys-none": (
        "keys.html",
        owner("keys"),
        {
            "rows": [],
            "filtered": True,
            "form": Form("form", {"search": "nothing"}),
            "credentials": PAIRS,
            "names": {},
            "sorting": SORTING,
            "told": "",
            "back": None,
            "on": None,
        },
    ),
    "keys-empty": (
        "keys.html",
        owner("keys"),
        {
            "rows": [],
            "filtered": False,
            "form": NO_FORM,
            "credentials": PAIRS,
            "names": {},
            "sorting": SORTING,
            "told": "",
            "back": None,
            "on": None,
        },
    ),
    "key-new": ("key_new.html", owner("keys"), {"form": NO_FORM, "credentials": PAIRS, "models": MODELS}),
    "key-new-wrong": ("key_new.html", owner("keys"), {"form": WRONG, "credentials": PAIRS, "models": MODELS}),
    "key-new-first": ("key_new.html", owner("keys"), {"form": NO_FORM, "credentials": [], "models": MODELS}),
    "key-created": (
        "key_created.html",
        owner("keys"),
        {"key": KEYS[0], "old": None, "text": "the-key-is-shown-here-once-and-is-so-long-that-it-must-wrap", **USE},
    ),
    "key-rotated": ("key_created.html", owner("keys"), {"key": KEYS[0], "old": KEYS[4], "text": "the-new-key", **USE}),
    "key": (
        "key.html",
        owner("keys"),
        {
            "key": KEYS[0],
            "credential": CREDENTIALS[0],
            "figure": OVERVIEW[0],
            "form": Form("edit", {"name": "Anna’s editor"}),
            "rotation": Form("rotation", {"grace_seconds": "86400"}),
            "models": MODELS,
            **USE,
        },
    ),
    "key-revoked": (
        "key.html",
        owner("keys"),
        {
            "key": KEYS[5],
            "credential": None,
            "figure": OVERVIEW[0],
            "form": NO_FORM,
            "rotation": NO_FORM,
            "models": MODELS,
            **USE,
        },
    ),
    "confirm": (
        "confirm.html",
        owner("credentials"),
        {
            "title": "Remove Anna?",
            "back": "/admin/credentials/cred_1",
            "back_text": "Anna",
            "sentences": ["The token is erased here.", "It cannot be brought back."],
            "breaks_text": "3 active keys are revoked with it",
            "breaks": [("/admin/keys/key_1", "Anna’s editor"), ("/admin/keys/key_2", "Open WebUI")],
            "more": 1,
            "hidden": {"force": "true"},
            "action": "/admin/credentials/cred_1/remove",
            "button": "Remove Anna",
            "form": NO_FORM,
        },
    ),
    "credentials": ("credentials.html", owner("credentials"), {"rows": CREDENTIALS, "standing": {"cred_anna": 12}}),
    "credentials-empty": ("credentials.html", owner("credentials"), {"rows": [], "standing": {}}),
    "credential-new": (
        "credential_new.html",
        owner("credentials"),
        {"form": NO_FORM},
    ),
    "credential": (
        "credential.html",
        owner("credentials"),
        {
            "credential": CREDENTIALS[1],
            "keys": KEYS[:3],
            "total": 12,
            "naming": Form("rename"),
            "replacing": Form("replace"),
        },
    ),
    "credential-unused": (
        "credential.html",
        owner("credentials"),
        {"credential": CREDENTIALS[2], "keys": [], "total": 0, "naming": Form("rename"), "replacing": Form("replace")},
    ),
    "usage": (
        "usage.html",
        owner("usage"),
        {
            "csv": "/admin/usage.csv",
            "groupings": [
                ("key", "By key", "/admin/usage?by=key"),
                ("model", "By model", "/admin/usage?by=model"),
                ("day", "By day", "/admin/usage?by=day"),
            ],
            "by": "key",
            "by_text": "Key",
            "form": Form("form", {"since": "2026-11-01", "until": "2026-11-30"}),
            "figures": OVERVIEW[:2],
            "told": "1,200 in all",
            "back": None,
            "on": "/admin/usage?after=x",
            "lines": LINES,
            "most": LINES[0].figures.cost,
            "total": TOTAL,
        },
    ),
    "usage-empty": (
        "usage.html",
        owner("usage"),
        {
            "csv": "/admin/usage.csv",
            "groupings": [],
            "by": "day",
            "by_text": "Day",
            "form": NO_FORM,
            "figures": [],
            "told": "0 in all",
            "back": None,
            "on": None,
            "lines": [],
            "most": 0,
            "total": Figures(),
        },
    ),
    "audit": (
        "audit.html",
        owner("audit"),
        {
            "exports": EXPORTS,
            "state": SimpleNamespace(faults=[], intact=True, at=NOW, entries=120),
            "form": NO_FORM,
            "actions": ["key", "credential"],
            "filtered": False,
            "entries": ENTRIES,
            "back": None,
            "on": "/admin/audit?before=100",
        },
    ),
    "audit-broken": (
        "audit.html",
        owner("audit"),
        {
            "exports": EXPORTS,
            "state": SimpleNamespace(faults=[Fault(17, "Entry 17 was changed.")], intact=False, at=NOW, entries=120),
            "form": NO_FORM,
            "actions": [],
            "filtered": True,
            "entries": [],
            "back": None,
            "on": None,
        },
    ),
    "administrators": (
        "administrators.html",
        owner("administrators"),
        {"rows": ADMINISTRATORS, "invitations": [INVITATION], "form": Form("invite", {"role": "viewer"})},
    ),
    "administrator": (
        "administrator.html",
        owner("administrators"),
        {"administrator": ADMINISTRATORS[1], "sessions": SESSIONS, "form": Form("role", {"role": "viewer"})},
    ),
    "invited": (
        "invited.html",
        owner("administrators"),
        {
            "invitation": INVITATION,
            "link": "https://gateway.example:8443/admin/invitation#token=a-long-token-that-works-once",
        },
    ),
    "settings": ("settings.html", owner("settings"), {"groups": GROUPS}),
    "playground": (
        "playground.html",
        owner("playground"),
        {
            "keys": PAIRS,
            "models": [(each, each) for each in MODELS],
            "form": NO_FORM,
            "answer": "",
            "answer_figures": "",
        },
    ),
    "playground-empty": (
        "playground.html",
        owner("playground"),
        {"keys": [], "models": [], "form": NO_FORM, "answer": "", "answer_figures": ""},
    ),
    "account": ("account.html", owner("account"), ACCOUNT),
    "account-factor": (
        "account.html",
        owner("account"),
        {**ACCOUNT, "factor": SimpleNamespace(recovery_codes=7), "password_is_old": False},
    ),
    "second-factor": (
        "second_factor.html",
        owner("account"),
        {
            "picture": Markup(
                '<svg width="148" height="148" class="segno"><path fill="#fff" d="M0 0h37v37h-37z"/></svg>'
            ),
            "secret_text": "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP",
            "form": NO_FORM,
        },
    ),
    "second-factor-wrong": (
        "second_factor.html",
        owner("account"),
        {"picture": None, "secret_text": "", "form": Form("confirm", {}, {"code": "This is not the code."})},
    ),
    "recovery-codes": (
        "recovery_codes.html",
        owner("account"),
        {"codes": [f"abcd{n}-efgh{n}" for n in range(10)], "turned_on": True},
    ),
    "token-created": (
        "token_created.html",
        owner("account"),
        {
            "token": TOKEN,
            "text": "adm-and-so-on",
            "snippet": 'curl -H "Authorization: Bearer $ADMIN_TOKEN" https://gateway.example:8443/admin/api/v1/keys',
        },
    ),
    "again": ("again.html", NOBODY, {}),
    "error": (
        "error.html",
        owner(""),
        {
            "title": "There is no such page",
            "message": "The address may be misspelt, or what was there is gone.",
            "wait": "",
            "ways": [("/admin", "Overview")],
            "request_id": "req_0123456789abcdef",
        },
    ),
    "error-outside": (
        "error.html",
        NOBODY,
        {
            "title": "Too many attempts",
            "message": "Somebody tried too often.",
            "wait": "30 seconds",
            "ways": [("/admin/login", "Sign in")],
            "request_id": "req_0123456789abcdef",
        },
    ),
}
"""By a name of the state: the template, the frame, and its values."""
