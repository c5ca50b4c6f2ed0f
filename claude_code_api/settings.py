"""The one table of settings: names, defaults, limits and what each is for.

Flags beat environment variables, which beat `claude-code-api.toml` in the working directory, which beats the
defaults. An environment variable is the name in capitals with the prefix `CCAPI_`; some have an unprefixed
name too. Every secret may be given as `…_FILE`, the path of a file that holds it. `docs/configuration.md` is
made from this table (`scripts/configuration.py`).
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from claude_code_api import environment
from claude_code_api.errors import WrongSetting
from claude_code_api.secret import Secret

PREFIX = "CCAPI_"
CONFIG_FILE = "claude-code-api.toml"


# --- kinds of value -------------------------------------------------------------------------------------


def _secret(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str) and value.strip():
        return Secret(value.strip())
    raise ValueError


_REDIS_URL = re.compile(
    r"(rediss?://([^\s/?#]*@)?([^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/\d*)?|unix://([^\s/?#]*@)?/[^\s?#@]+)"
    r"(\?[^\s#@]*)?"
)
"""Narrow, since the start of a password that holds a slash would be taken for the host, which is shown."""


def _redis_url(value: object) -> Secret:
    url = _secret(value)
    if _REDIS_URL.fullmatch(url.reveal()) and urlsplit(url.reveal()).port != 0:  # ValueError above 65535
        return url
    raise ValueError


def _rates(value: str) -> str:
    if value == "off" or all(
        re.fullmatch(r"[1-9]\d{0,8}/([1-9]\d{0,4} ?)?(second|minute|hour|day)", part.strip())
        for part in value.split(";")
    ):
        return value
    raise ValueError


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for network in value:
        ipaddress.ip_network(network, strict=False)
    return value


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _mapped(value: object) -> object:
    """`a=b,c=d`, as it can be written in an environment variable."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if not all(name.strip() and sign and target.strip() for name, sign, target in pairs):
        raise ValueError
    return {name.strip(): target.strip() for name, _, target in pairs}


def _command(value: object) -> object:
    """A text is split as a shell would do it; there is none."""
    words = shlex.split(value) if isinstance(value, str) else value
    if words == []:
        raise ValueError
    return words


_WORDS: dict[object, str] = {
    _secret: "a text that is not empty",
    _redis_url: 'an address that begins with redis://, rediss:// or unix://, with "/", "?", "#" and spaces in its '
    "password percent-encoded",
    _rates: 'limits such as "100/minute" or "10/second;1000/hour", or "off"',
    _networks: 'addresses or networks, such as "10.0.0.1,192.168.0.0/16"',
    _listed: 'texts, such as "https://a.example,https://b.example"',
    _command: 'a program and its arguments, such as "decrypt --key gateway"',
    _mapped: 'names and models, such as "gpt-4o=sonnet,gpt-4o-mini=haiku"',
}
"""What each of these takes, in the words of `allowed`."""

SecretText = Annotated[Secret, BeforeValidator(_secret), PlainSerializer(lambda secret: repr(secret), return_type=str)]
RedisUrl = Annotated[Secret, BeforeValidator(_redis_url), PlainSerializer(lambda secret: repr(secret), return_type=str)]
Rates = Annotated[str, AfterValidator(_rates)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_networks)]
Aliases = Annotated[dict[str, str], NoDecode, BeforeValidator(_mapped)]
Command = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_command)]
Port = Annotated[int, Field(ge=0, le=65535)]


def setting(default: Any, help: str, *, group: str, also: str | None = None, **limits: Any) -> Any:  # noqa: A002
    """One row of the table. `also` is the unprefixed name that counts too."""
    return Field(default, description=help, json_schema_extra={"group": group, "also": also}, **limits)


# --- the table ------------------------------------------------------------------------------------------


TITLES = {
    "listen": "Where it listens",
    "storage": "What it stores",
    "administrators": "Administrators",
    "usage": "What it writes down of requests",
    "limits": "Limits on clients",
    "models": "Models",
    "claude code": "Claude Code",
    "logs": "Logs and streams",
}
"""The groups of settings, in the order in which they are shown."""


class Settings(BaseSettings):
    """What a gateway runs with. Times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        toml_file=CONFIG_FILE,
        arbitrary_types_allowed=True,
        protected_namespaces=(),
    )

    # where it listens
    host: str = setting("127.0.0.1", "Address that both listeners bind to.", group="listen")
    port: Port = setting(8000, "Port for HTTP; 0 takes a free one.", group="listen", also="PORT")
    https_port: Port = setting(8443, "Port for HTTPS; 0 takes a free one.", group="listen", also="HTTPS_PORT")
    cert: Path | None = setting(
        None, "Certificate chain (PEM); without one, a self-signed one is made.", group="listen"
    )
    key: Path | None = setting(None, "Private key of `cert` (PEM).", group="listen")
    public_url: str | None = setting(
        None,
        "The address that clients use, where a proxy stands in front.",
        group="listen",
        pattern=r"^https?://[^/\s]+$",
    )
    plain_http: Literal["loopback", "allow", "off"] = setting(
        "loopback",
        "Who may call the API without TLS: programs on this machine, everybody, or nobody. Health is always answered.",
        group="listen",
    )
    trusted_proxies: Networks = setting(
        (),
        "Proxies whose `X-Forwarded-For` is believed (addresses or networks, separated by commas).",
        group="listen",
    )
    cors_origins: Names = setting((), "Origins whose pages may call the API from a browser.", group="listen")
    stop_grace: float = setting(
        20.0, "Time that running answers get to end when the gateway stops.", group="listen", ge=0, le=3600
    )

    # what it stores
    data_dir: Path = setting(Path("data"), "Directory for everything that is kept.", group="storage")
    database_url: SecretText | None = setting(
        None, "Database; by default SQLite in the data directory.", group="storage", also="DATABASE_URL"
    )
    master_key_file: Path | None = setting(
        None,
        "File with the master key; by default `master.key` in the data directory. The first start makes it.",
        group="storage",
    )
    master_key: SecretText | None = setting(
        None, "The master key itself, instead of a file with it: docs/vault.md tells more.", group="storage"
    )
    master_key_command: Command | None = setting(
        None, "Command that prints the master key, for a key service; run without a shell.", group="storage"
    )

    audit_anchor_file: Path | None = setting(
        None,
        "File that holds the audit log's newest entry; by default `audit.anchor` in the data directory. Elsewhere it "
        "also tells when the whole directory is put back to an earlier state.",
        group="storage",
    )

    # administrators
    admin_password: SecretText | None = setting(
        None,
        "Password that `serve` gives the owner `admin`, where there is no owner yet; it never changes one.",
        group="administrators",
        also="ADMIN_PASSWORD",
    )
    bcrypt_rounds: int = setting(
        12,
        "Work factor of bcrypt for their passwords; one more doubles the time. Older ones follow at the next login.",
        group="administrators",
        ge=12,
        le=16,
    )

    session_hours: int = setting(
        24,
        "Hours after which an administrator has to sign in again, however busy.",
        group="administrators",
        ge=1,
        le=24,
    )
    session_idle_minutes: int = setting(
        120,
        "Minutes without a request after which an administrator has to sign in again.",
        group="administrators",
        ge=1,
        le=1440,
    )

    audit_days: int = setting(
        400, "Days for which entries of the audit log are kept.", group="storage", ge=1, le=36_500
    )

    # what it writes down of requests
    usage_failure: Literal["continue", "refuse"] = setting(
        "continue",
        "What happens to requests while their usage cannot be written down, such as on a full disk.",
        group="usage",
    )
    usage_days: int = setting(30, "Days for which the record of each request is kept.", group="usage", ge=1, le=3650)
    usage_hours_days: int = setting(
        396, "Days for which the sums by the hour are kept.", group="usage", ge=1, le=36_500
    )
    prices_file: Path | None = setting(
        None, "File with prices of models (TOML), which come before the built-in ones.", group="usage"
    )

    # limits on clients
    rate_limit_per_ip: Rates = setting("100/minute", "Requests from one address (IPv6: one /64).", group="limits")
    rate_limit_per_key: Rates = setting("off", "Requests with one API key.", group="limits")
    redis_url: RedisUrl | None = setting(
        None,
        "Redis in which these requests are counted, so that a restart forgets none and several gateways count "
        "together; by default each counts in its memory. docs/operations.md tells more.",
        group="limits",
        also="REDIS_URL",
    )
    max_concurrent_per_key: int | None = setting(
        None,
        "Answers that one API key may have under way at once in this gateway, unless it has a limit of its own; by "
        "default any number.",
        group="limits",
        ge=1,
        le=100_000,
    )
    max_head_bytes: int = setting(64 * 1024, "Size of a request's head.", group="limits", ge=1024, le=1024 * 1024)
    head_timeout: float = setting(10.0, "Time for a request's head to arrive.", group="limits", gt=0, le=600)
    max_body_bytes: int = setting(
        32 * 1024 * 1024, "Size of a request's body, packed and unpacked.", group="limits", ge=1024
    )
    max_bodies_bytes: int = setting(
        512 * 1024 * 1024,
        "Size of all bodies that requests hold at once, beyond 64 KiB each; a key may hold as much as is left for the "
        "others. At least twice `max_body_bytes` is taken.",
        group="limits",
        ge=1024,
    )
    body_timeout: float = setting(30.0, "Longest pause in a request's body.", group="limits", gt=0, le=600)
    max_connections: int = setting(
        1000, "Connections at once. Above it, those that ask for nothing make room for new ones.", group="limits", ge=1
    )
    max_depth: int = setting(64, "Nesting of a request's JSON.", group="limits", ge=8, le=500)
    max_messages: int = setting(10_000, "Messages in one request.", group="limits", ge=1)
    max_images: int = setting(100, "Images in one request.", group="limits", ge=0)
    remote_images: bool = setting(False, "Whether image URLs are fetched (from public addresses only).", group="limits")
    max_image_bytes: int = setting(
        3_932_160, "Size of one image; Claude Code takes no larger one.", group="limits", ge=1024
    )
    max_files: int = setting(100, "Files (PDFs and texts) in one request.", group="limits", ge=0)
    max_file_bytes: int = setting(
        20_971_520, "Size of one file; Anthropic takes 32 MB in one request.", group="limits", ge=1024
    )
    remote_image_timeout: float = setting(10.0, "Time to fetch one image.", group="limits", gt=0, le=120)
    unsupported_parameters: Literal["refuse", "ignore"] = setting(
        "refuse", "What happens to request fields that Claude has nothing for.", group="limits"
    )

    # models
    model_aliases: Aliases = setting(
        {}, "More names for models (`gpt-4o=sonnet,…`); they come before the built-in ones.", group="models"
    )

    # Claude Code
    claude_code_path: Path | None = setting(
        None, "The Claude Code program; by default the one in the SDK's wheel.", group="claude code"
    )
    sandbox: Literal["auto", "require", "off"] = setting(
        "auto",
        "Whether the kernel locks Claude Code into its own directories (Landlock): where it can, always, or never.",
        group="claude code",
    )
    claude_code_user: str | None = setting(
        None,
        "User that Claude Code runs as, where the gateway is started as root.",
        group="claude code",
    )
    max_processes: int | None = setting(
        None,
        "Claude Code processes at once, spares included; by default what memory and cores (a container's own) bear, "
        "at most 32.",
        group="claude code",
        ge=1,
        le=1024,
    )
    spare_processes: int = setting(
        2, "Processes kept ready for each credential in use.", group="claude code", ge=0, le=64
    )
    reuse_processes: bool = setting(
        True, "Whether a process stays alive for the next turn of its conversation.", group="claude code"
    )
    parked_timeout: float = setting(
        600.0, "Time that a process waits for the results of a client's tools.", group="claude code", gt=0, le=86400
    )
    max_process_memory: int = setting(
        400 * 1024 * 1024,
        "Memory that a process may hold for itself after an answer; with more it is not used again.",
        group="claude code",
        ge=1024 * 1024,
    )
    queue_timeout: float = setting(
        60.0, "Time that a request may wait for a process.", group="claude code", ge=0, le=3600
    )
    max_waiting: int = setting(
        256, "Requests that may wait for a process; more are told at once to come back.", group="claude code",
        ge=0, le=100_000,
    )  # fmt: skip
    idle_timeout: float = setting(
        300.0,
        "Longest silence of Claude Code within one answer before it is given up.",
        group="claude code",
        gt=0,
        le=3600,
    )
    retries: int = setting(
        2, "How often an overloaded or failed call upstream is tried again.", group="claude code", ge=0, le=10
    )
    claude_code_oauth_token: SecretText | None = setting(
        None, "OAuth token that `serve` stores as the credential `default`.", group="claude code",
        also="CLAUDE_CODE_OAUTH_TOKEN",
    )  # fmt: skip
    anthropic_api_key: SecretText | None = setting(
        None, "Anthropic API key that `serve` stores as the credential `default-api`.", group="claude code",
        also="ANTHROPIC_API_KEY",
    )  # fmt: skip
    anthropic_base_url: str = setting(
        "https://api.anthropic.com", "Where Anthropic's API is.", group="claude code", also="ANTHROPIC_BASE_URL",
        pattern=r"^https?://[^\s]+$",
    )  # fmt: skip
    https_proxy: str | None = setting(
        None, "Proxy to Anthropic, handed on to Claude Code.", group="claude code", also="HTTPS_PROXY"
    )
    no_proxy: str | None = setting(None, "Hosts reached without the proxy.", group="claude code", also="NO_PROXY")
    ssl_cert_file: Path | None = setting(
        None,
        "Certificate authorities to trust, handed on to Claude Code.",
        group="claude code",
        also="SSL_CERT_FILE",
    )

    # what it tells
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "How much is logged.", group="logs", also="LOG_LEVEL"
    )
    log_format: Literal["json", "console"] = setting("json", "How a log line looks.", group="logs")
    alert_webhook: str | None = setting(
        None,
        "Address that alerts are sent to, as JSON.",
        group="logs",
        pattern=r"^https?://[^\s@/]+(/[^\s]*)?$",
    )
    alert_webhook_secret: SecretText | None = setting(
        None, "Secret under which the messages to `alert_webhook` are signed.", group="logs"
    )
    alert_addresses: int = setting(
        20,
        "Addresses (shortened) from which one API key may be used within an hour before there is an alert.",
        group="logs",
        ge=1,
        le=1000,
    )
    keepalive_interval: float = setting(
        10.0,
        "Pause after which a stream gets a comment, to keep proxies from closing it.",
        group="logs",
        gt=0,
        le=600,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls), TomlConfigSettingsSource(settings_cls)

    @property
    def database(self) -> Secret:
        """URL of the database, in SQLAlchemy's form."""
        if self.database_url:
            return self.database_url
        from sqlalchemy.engine import URL  # takes 0.2 s, which no `--help` should

        url = URL.create("sqlite+aiosqlite", database=str(self.data_dir.absolute() / "gateway.db"))
        return Secret(url.render_as_string())

    @property
    def audit_anchor_path(self) -> Path:
        return self.audit_anchor_file or self.data_dir / "audit.anchor"

    @property
    def master_key_path(self) -> Path:
        return self.master_key_file or self.data_dir / "master.key"


def environment_names(name: str, field: FieldInfo) -> list[str]:
    """The environment variables that set a field, the first one found counts."""
    extra = field.json_schema_extra
    also = extra.get("also") if isinstance(extra, dict) else None
    names = [PREFIX + name.upper()] + ([also] if isinstance(also, str) else [])
    if is_secret(field) and f"{name}_file" not in Settings.model_fields:
        names += [f"{variable}_FILE" for variable in names]
    return names


def secret_variables() -> set[str]:
    """The environment variables that hold a secret, rather than the path of a file with one."""
    secrets = {name: field for name, field in Settings.model_fields.items() if is_secret(field)}
    return {
        variable
        for name, field in secrets.items()
        for variable in environment_names(name, field)
        if not variable.endswith("_FILE")
    }


def is_secret(field: FieldInfo) -> bool:
    return "Secret" in str(field.annotation) or any("_secret" in str(part) for part in field.metadata)


def allowed(field: FieldInfo) -> str:
    """What a value may be, in words: for the documents, and for who gave a wrong one."""
    optional = [part for kind in get_args(field.annotation) for part in getattr(kind, "__metadata__", ())]
    for part in reversed(field.metadata + optional):
        if words := _WORDS.get(getattr(part, "func", None)):
            return words
    if is_secret(field):
        return _WORDS[_secret]
    annotation = field.annotation
    kind = annotation if get_origin(annotation) is Literal else next(iter(get_args(annotation)), annotation)
    if get_origin(kind) is Literal:
        *others, last = get_args(kind)
        return f"{', '.join(others)} or {last}"
    limits = {
        name: getattr(part, name) for part in field.metadata for name in ("ge", "gt", "le") if hasattr(part, name)
    }
    if kind in (int, float):
        number = "a whole number" if kind is int else "a number"
        if "gt" in limits:
            return f"{number} above {limits['gt']} and up to {limits['le']}"
        return (
            f"{number} from {limits['ge']} to {limits['le']}" if "le" in limits else f"{number}, {limits['ge']} or more"
        )
    if any(getattr(part, "pattern", None) for part in field.metadata):
        return 'an address such as "https://example.com"'
    return "true or false" if kind is bool else "a path" if kind is Path else "a text"


class _Environment(PydanticBaseSettingsSource):
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        given = environment.variables()
        for variable in environment_names(field_name, field):
            value = given.get(variable)
            if not value:
                continue
            if variable.endswith("_FILE") and is_secret(field):
                try:
                    value = Path(value).read_text(encoding="utf-8")
                except (OSError, UnicodeDecodeError) as error:
                    raise WrongSetting(f"{variable} names a file that cannot be read: {error}") from None
            return value, field_name, False
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields.items()
        found = {name: self.get_field_value(field, name)[0] for name, field in fields}
        return {name: value for name, value in found.items() if value is not None}


def load(**flags: Any) -> Settings:
    """The settings in force; flags that are None count as not given. WrongSetting names what is wrong."""
    given = {name: value for name, value in flags.items() if value is not None}
    unknown = sorted(
        variable
        for variable in environment.variables()
        if variable.startswith(PREFIX)
        and variable not in {n for name, f in Settings.model_fields.items() for n in environment_names(name, f)}
    )
    if unknown:
        raise WrongSetting(f"{unknown[0]} is no setting; docs/configuration.md lists them all.")
    try:
        return Settings(**given)
    except ValidationError as error:
        raise WrongSetting(_explain(error)) from None
    except (OSError, ValueError) as error:  # the file is not ours to read, or no TOML
        raise WrongSetting(f"{CONFIG_FILE} cannot be read: {error}") from None


class _GivenOnly(Settings):
    model_config = SettingsConfigDict(toml_file=None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def given_only(**fields: Any) -> Settings:
    """The defaults and what is given here: nothing of the caller's environment or file (the demo, the benchmark)."""
    return _GivenOnly(**fields)


def _explain(error: ValidationError) -> str:
    fault = error.errors()[0]
    name = str(fault["loc"][0])
    field = Settings.model_fields.get(name)
    if field is None:
        return f"{name} is no setting; docs/configuration.md lists them all."
    shown = "" if is_secret(field) else f" is {str(fault['input'])!r}"
    return f"The setting {name}{shown}: it must be {allowed(field)}."


def temporary_directory() -> Path:
    return Path(tempfile.gettempdir())
