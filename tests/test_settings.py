"""Settings: where each comes from, what a wrong one is told, and that the table is the only truth about them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.errors import WrongSetting
from claude_code_api.secret import Secret
from claude_code_api.settings import (
    CONFIG_FILE,
    Rates,
    Settings,
    allowed,
    environment_names,
    given_only,
    is_secret,
    load,
    secret_variables,
    temporary_directory,
)
from scripts import configuration

FIELDS = Settings.model_fields
every_setting = pytest.mark.parametrize("name", FIELDS)


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str) -> None:
    Path(CONFIG_FILE).write_text(text)


# --- where a setting comes from -------------------------------------------------------------------------


def test_flags_beat_the_environment_which_beats_the_file_which_beats_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load().port == 8000
    write("port = 1001")
    assert load().port == 1001
    monkeypatch.setenv("PORT", "1002")
    assert load().port == 1002
    monkeypatch.setenv("CCAPI_PORT", "1003")
    assert load().port == 1003
    assert load(port=1004).port == 1004
    assert load(port=None).port == 1003


def test_an_empty_variable_counts_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCAPI_PORT", "")
    monkeypatch.setenv("PORT", "1002")
    monkeypatch.setenv("CCAPI_DATABASE_URL", "")
    settings = load()
    assert (settings.port, settings.database_url) == (1002, None)


@pytest.mark.parametrize(
    ("variable", "name", "value", "expected"),
    [
        ("PORT", "port", "9", 9),
        ("HTTPS_PORT", "https_port", "9", 9),
        ("LOG_LEVEL", "log_level", "debug", "debug"),
        ("CLAUDE_CODE_OAUTH_TOKEN", "claude_code_oauth_token", "x", Secret("x")),
        ("ANTHROPIC_API_KEY", "anthropic_api_key", "x", Secret("x")),
        ("ANTHROPIC_BASE_URL", "anthropic_base_url", "http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("DATABASE_URL", "database_url", "x", Secret("x")),
        ("REDIS_URL", "redis_url", "redis://x", Secret("redis://x")),
        ("ADMIN_PASSWORD", "admin_password", "x", Secret("x")),
        ("HTTPS_PROXY", "https_proxy", "http://p", "http://p"),
        ("NO_PROXY", "no_proxy", "localhost", "localhost"),
        ("SSL_CERT_FILE", "ssl_cert_file", "/a", Path("/a")),
    ],
)
def test_the_names_that_other_programs_use_count_too(
    monkeypatch: pytest.MonkeyPatch, variable: str, name: str, value: str, expected: object
) -> None:
    monkeypatch.setenv(variable, value)
    assert getattr(load(), name) == expected


@pytest.mark.parametrize("prefix", ["", "CCAPI_"])
def test_every_secret_can_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prefix: str) -> None:
    file = tmp_path / "secret"
    file.write_text("  redis://hidden\n")  # of a form that each of them may have
    secrets = [name for name, field in FIELDS.items() if is_secret(field)]
    assert secrets == [
        "database_url", "master_key", "admin_password", "redis_url", "claude_code_oauth_token", "anthropic_api_key",
        "alert_webhook_secret",
    ]  # fmt: skip
    for name in secrets:
        if f"{name}_file" in FIELDS:  # a setting of its own: it is kept, and read again
            continue
        if f"{prefix}{name.upper()}" not in environment_names(name, FIELDS[name]):  # has no name without the prefix
            continue
        monkeypatch.setenv(f"{prefix}{name.upper()}_FILE", str(file))
        assert getattr(load(), name) == Secret("redis://hidden")


def test_the_file_of_the_master_key_is_a_setting_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CCAPI_MASTER_KEY_FILE", str(tmp_path / "key"))
    settings = load()
    assert (settings.master_key, settings.master_key_file) == (None, tmp_path / "key")
    monkeypatch.setenv("CCAPI_MASTER_KEY", "hidden")
    assert load().master_key == Secret("hidden")


@pytest.mark.parametrize(
    "url",
    [
        "redis://a", "redis://a/", "redis://a:6379/0", "redis://user:word@a.example:1/15?socket_keepalive=yes",
        "rediss://:p%40ss%2Fw@ord@[fd00::1]:6380", "unix:///run/redis.sock?db=2", "unix://user:word@/run/redis.sock",
    ],
)  # fmt: skip
def test_addresses_of_redis_are_taken_as_they_are_written(url: str) -> None:
    assert load(redis_url=url).redis_url == Secret(url)


def test_a_command_is_split_as_a_shell_would_or_given_as_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCAPI_MASTER_KEY_COMMAND", "decrypt 'a b' $HOME")
    assert load().master_key_command == ("decrypt", "a b", "$HOME")
    monkeypatch.delenv("CCAPI_MASTER_KEY_COMMAND")
    write('master_key_command = ["decrypt", "a b"]')
    assert load().master_key_command == ("decrypt", "a b")


@pytest.mark.policy("T3")
def test_the_variables_that_hold_secrets_are_known() -> None:
    assert secret_variables() == {
        "CCAPI_DATABASE_URL", "DATABASE_URL", "CCAPI_MASTER_KEY", "CCAPI_CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN", "CCAPI_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY",
        "CCAPI_ADMIN_PASSWORD", "ADMIN_PASSWORD", "CCAPI_REDIS_URL", "REDIS_URL", "CCAPI_ALERT_WEBHOOK_SECRET",
    }  # fmt: skip


def test_a_file_for_a_secret_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(WrongSetting, match="DATABASE_URL_FILE names a file that cannot be read"):
        load()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe hidden")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "bytes"))
    with pytest.raises(WrongSetting) as wrong:
        load()
    assert "hidden" not in wrong.value.message


def test_lists_and_names_can_be_written_in_one_variable_or_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write('trusted_proxies = ["10.0.0.1", "::1"]\ncors_origins = []\n[model_aliases]\nfast = "haiku"')
    settings = load()
    assert settings.trusted_proxies == ("10.0.0.1", "::1")
    assert (settings.cors_origins, settings.model_aliases) == ((), {"fast": "haiku"})
    monkeypatch.setenv("CCAPI_TRUSTED_PROXIES", "192.168.0.0/16 , ,10.0.0.1")
    monkeypatch.setenv("CCAPI_CORS_ORIGINS", "https://a.example,https://b.example")
    monkeypatch.setenv("CCAPI_MODEL_ALIASES", "gpt-4o=sonnet, mini = haiku,")
    settings = load()
    assert settings.trusted_proxies == ("192.168.0.0/16", "10.0.0.1")
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.model_aliases == {"gpt-4o": "sonnet", "mini": "haiku"}


def test_the_demo_sees_nothing_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    write("port = 1001")
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "hidden")
    monkeypatch.setenv("CCAPI_UNKNOWN", "1")
    settings = given_only(https_port=7)
    assert (settings.port, settings.https_port, settings.claude_code_oauth_token) == (8000, 7, None)


# --- what a wrong one is told ---------------------------------------------------------------------------

WRONG: dict[str, list[object]] = {
    "host": [5],
    "port": ["x", -1, 65536, "99999", 1.5],
    "https_port": [70000],
    "cert": [5],
    "key": [5],
    "public_url": ["claude.example", "ftp://x", "https://x/path", "https://a b"],
    "plain_http": ["maybe"],
    "trusted_proxies": ["nonsense", ["10.0.0.0/99"], 5],
    "cors_origins": [5, [5]],
    "stop_grace": [-1, "x", float("nan"), float("inf"), 3601],
    "data_dir": [5],
    "database_url": ["", "  ", 5],
    "master_key_file": [5],
    "master_key": ["", 5],
    "master_key_command": ["", "un'closed", 5, [5]],
    "usage_failure": ["stop"],
    "usage_days": [0, 3651, "a month"],
    "usage_hours_days": [0],
    "audit_anchor_file": [5],
    "audit_days": [0, 36_501],
    "prices_file": [5],
    "rate_limit_per_ip": ["often", "0/minute", "1/fortnight", "", "100/minute;", "off;1/minute", 5],
    "rate_limit_per_key": ["1"],
    "redis_url": [
        "",
        5,
        "localhost:6379",
        "http://a",
        "redis:",
        "redis://",
        "redis://:word@",
        "redis://a b",
        "redis://a:b",
        "redis://a:0",
        "redis://a:65536",
        "redis://a/b",
        "redis://a/0/1",
        "redis://a#b",
        "redis://:wo/rd@a",
        "redis://:12/34@a",
        "redis://a:12/3?4@b",
        "redis://:wo?rd@a",
        "redis://:wo#rd@a",
        "redis://[::1",
        "redis://::1",
        "unix://",
        "unix://a",
        "unix://:wo/rd@/run/a.sock",
        "redis+sentinel://a",
    ],
    "max_concurrent_per_key": [0, 100_001, "many"],
    "max_head_bytes": [0, "64k"],
    "head_timeout": [0, 601],
    "max_body_bytes": [1],
    "max_bodies_bytes": [1],
    "body_timeout": [0],
    "max_connections": [0],
    "max_depth": [7, 501],
    "max_messages": [0],
    "max_images": [-1],
    "max_files": [-1],
    "remote_images": ["perhaps"],
    "max_image_bytes": [1],
    "max_file_bytes": [1],
    "admin_password": [" "],
    "bcrypt_rounds": [11, 17],
    "session_hours": [0, 25, "a day"],
    "session_idle_minutes": [0, 1441],
    "remote_image_timeout": [0],
    "unsupported_parameters": ["guess"],
    "model_aliases": ["gpt-4o", "=x", "x=", 5, {"x": 5}],
    "claude_code_path": [5],
    "sandbox": ["maybe"],
    "claude_code_user": [5],
    "max_processes": [0, 1025],
    "spare_processes": [-1, 65],
    "reuse_processes": ["perhaps"],
    "parked_timeout": [0, 86401],
    "max_process_memory": [1024, "1G"],
    "queue_timeout": [-1],
    "max_waiting": [-1, 100_001],
    "idle_timeout": [0],
    "retries": [11, "many"],
    "claude_code_oauth_token": [" "],
    "anthropic_api_key": [5],
    "anthropic_base_url": ["api.anthropic.com"],
    "https_proxy": [5],
    "no_proxy": [5],
    "ssl_cert_file": [5],
    "log_level": ["loud"],
    "log_format": ["xml"],
    "alert_webhook": ["alerts.example", "ftp://a", "https://user:word@a.example/", 5],
    "alert_webhook_secret": [" "],
    "alert_addresses": [0, 1001],
    "keepalive_interval": [0],
}


def test_every_setting_is_tried_with_wrong_values() -> None:
    assert set(WRONG) == set(FIELDS)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_told_with_its_setting_and_what_it_may_be(name: str, value: object) -> None:
    with pytest.raises(WrongSetting) as wrong:
        load(**{name: value})
    message = wrong.value.message
    assert message.startswith(f"The setting {name}")
    assert message.endswith(f": it must be {allowed(FIELDS[name])}.")
    assert "\n" not in message
    shown = str(value[0] if isinstance(value, list) else value["x"] if isinstance(value, dict) else value)
    told = message.removeprefix(f"The setting {name}").partition(": it must be")[0]
    assert told == "" if is_secret(FIELDS[name]) else shown in told


@pytest.mark.policy("T1")
def test_a_wrong_secret_is_never_repeated() -> None:
    class Hidden:
        def __str__(self) -> str:
            return "hidden"

    with pytest.raises(WrongSetting) as wrong:
        load(database_url=Hidden())
    assert wrong.value.message == "The setting database_url: it must be a text that is not empty."


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("port", "a whole number from 0 to 65535"),
        ("max_connections", "a whole number, 1 or more"),
        ("head_timeout", "a number above 0 and up to 600"),
        ("stop_grace", "a number from 0 to 3600"),
        ("max_processes", "a whole number from 1 to 1024"),
        ("plain_http", "loopback, allow or off"),
        ("remote_images", "true or false"),
        ("cert", "a path"),
        ("host", "a text"),
        ("public_url", 'an address such as "https://example.com"'),
        ("rate_limit_per_ip", 'limits such as "100/minute" or "10/second;1000/hour", or "off"'),
        ("anthropic_api_key", "a text that is not empty"),
        ("master_key_command", 'a program and its arguments, such as "decrypt --key gateway"'),
    ],
)
def test_what_a_setting_may_be_is_told_in_words(name: str, words: str) -> None:
    assert allowed(FIELDS[name]) == words


def test_a_wrong_value_in_the_environment_or_the_file_is_told_likewise(monkeypatch: pytest.MonkeyPatch) -> None:
    write("port = 'x'")
    with pytest.raises(WrongSetting, match="The setting port is 'x': it must be"):
        load()
    write("")
    monkeypatch.setenv("CCAPI_TRUSTED_PROXIES", "10.0.0.1,nonsense")
    with pytest.raises(WrongSetting, match=r"The setting trusted_proxies is .*nonsense.*: it must be addresses"):
        load()


@pytest.mark.parametrize("variable", ["CCAPI_PROT", "CCAPI_", "CCAPI_PORT_FILE", "CCAPI_SSL_CERT"])
def test_an_unknown_variable_of_ours_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "")
    with pytest.raises(WrongSetting, match=f"{variable} is no setting"):
        load()


def test_an_unknown_name_in_the_file_or_a_flag_is_refused() -> None:
    with pytest.raises(WrongSetting, match="prot is no setting"):
        load(prot=1)
    write("prot = 1")
    with pytest.raises(WrongSetting, match="prot is no setting"):
        load()


def test_a_file_that_is_no_toml_is_told() -> None:
    write("port = = 1")
    with pytest.raises(WrongSetting, match=r"claude-code-api\.toml cannot be read: .*line 1"):
        load()


def test_a_file_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    write("port = 1")

    def refuse(*_: object, **__: object) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WrongSetting, match=r"cannot be read: .*Permission denied"):
        load()


# --- values ---------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(1, 999_999_999), st.sampled_from(["second", "minute", "hour", "day"])), min_size=1)
)
def test_any_number_of_rates_joins_to_a_limit(rates: list[tuple[int, str]]) -> None:
    from pydantic import TypeAdapter

    text = " ; ".join(f"{count}/{unit}" for count, unit in rates)
    assert TypeAdapter(Rates).validate_python(text) == text


def test_settings_are_values(tmp_path: Path) -> None:
    settings = load()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1
    assert Secret("x") == load(database_url=Secret("x")).database_url


@pytest.mark.policy("T1")
def test_settings_show_no_secret() -> None:
    settings = load(claude_code_oauth_token="sk-ant-oat01-" + "Canary" * 12)
    for shown in (repr(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "Canary" * 2 not in shown


def test_places_follow_from_the_data_directory(tmp_path: Path) -> None:
    settings = load(data_dir=tmp_path / "x ?#%")
    assert settings.master_key_path == tmp_path / "x ?#%" / "master.key"
    from sqlalchemy import make_url

    assert make_url(settings.database.reveal()).database == str(tmp_path / "x ?#%" / "gateway.db")
    settings = load(master_key_file=Path("/a/key"), database_url="postgresql+asyncpg://a/b")
    assert settings.master_key_path == Path("/a/key")
    assert settings.database == Secret("postgresql+asyncpg://a/b")


def test_temporary_files_have_a_directory() -> None:
    assert temporary_directory().is_dir()


# --- the table ------------------------------------------------------------------------------------------


@every_setting
def test_every_setting_has_a_help_a_group_and_its_variable(name: str) -> None:
    field = FIELDS[name]
    assert re.fullmatch(r"[A-Z].*\.", str(field.description))
    assert configuration.group_of(field) in configuration.TITLES
    assert environment_names(name, field)[0] == f"CCAPI_{name.upper()}"


def test_no_two_settings_share_a_variable() -> None:
    names = [variable for name, field in FIELDS.items() for variable in environment_names(name, field)]
    assert len(names) == len(set(names))


def test_the_page_about_settings_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["configuration", "--check"])
    configuration.main()
    page = configuration.PAGE.read_text(encoding="utf-8")
    for name, field in FIELDS.items():
        assert all(f"`{variable}`" in page for variable in environment_names(name, field))


def test_a_page_that_is_out_of_date_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "PAGE", tmp_path / "configuration.md")
    monkeypatch.setattr("sys.argv", ["configuration", "--check"])
    with pytest.raises(SystemExit, match="out of date"):
        configuration.main()
    monkeypatch.setattr("sys.argv", ["configuration"])
    configuration.main()
    monkeypatch.setattr("sys.argv", ["configuration", "--check"])
    configuration.main()
    (tmp_path / "configuration.md").write_text("old")
    with pytest.raises(SystemExit, match="out of date"):
        configuration.main()


@pytest.mark.parametrize(
    ("default", "text"),
    [(None, "none"), ((), "none"), (False, "`false`"), (65536, "`65536` (64 KiB)"), (2**25, "`33554432` (32 MiB)"),
     (20.0, "`20`"), (8000, "`8000`"), (0, "`0`"), ("off", "`off`")],
)  # fmt: skip
def test_defaults_are_shown_as_people_write_them(default: object, text: str) -> None:
    assert configuration.shown(default) == text
