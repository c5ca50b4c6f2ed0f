"""Passwords: which ones may be, as what they count, and how they are kept (policy A3, A5)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import threading
from collections.abc import Iterator

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_code_api.access import password_hash
from claude_code_api.access.password_hash import AT_ONCE, MOST_WAITING, PasswordHasher
from claude_code_api.access.password_rules import MOST_COMMON, SHORTEST, check_strength, counted
from claude_code_api.errors import InvalidRequest, Overloaded
from claude_code_api.secret import Secret

QUICK = 4
"""bcrypt's lowest factor."""
PEPPER = b"p" * 32


@pytest.fixture
def hasher() -> Iterator[PasswordHasher]:
    hasher = PasswordHasher(PEPPER, QUICK)
    yield hasher
    hasher.close()


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The factor of each hashing by bcrypt, as it is done."""
    done: list[int] = []
    hashpw, checkpw = bcrypt.hashpw, bcrypt.checkpw

    def hashed(password: bytes, salt: bytes) -> bytes:
        done.append(int(salt.split(b"$")[2]))
        return hashpw(password, salt)

    def checked(password: bytes, kept: bytes) -> bool:
        done.append(int(kept.split(b"$")[2]))
        return checkpw(password, kept)

    monkeypatch.setattr(bcrypt, "hashpw", hashed)
    monkeypatch.setattr(bcrypt, "checkpw", checked)
    return done


# --- strength -------------------------------------------------------------------------------------------

WEAK = {
    "A password has 12 to 1024 characters": ["", "x", "Tr0ub4dor&3", "  eleven char  ", "x" * 5 + "é" * 6, "q8Z" * 400],
    "a sample": [
        "changeme", "PassWord", "CHANGE_ME",
        "changeme-now", "Please change me!", "change_me_12345", "your-password-here", "<replace this>", "password1234",
        "EXAMPLE.password", "PASSWORD-PASSWORD", "example-default-1",
    ],
    "the administrator's name": ["Administrator", "administrator-2026"],
    "again and again": ["hunter2hunter2", "abcABCabcABC", "zzzzzzzzzzzz", "ab" * 40],
    "counts": ["123456789012", "098765432109", "abcdefghijklm", "ZYXWVUTSRQPON"],
    "most common": ["q1w2e3r4t5y6", "QWERTY123456", "counterstrike", "dragon20262027", "!!!letmein!!!!!!"],
}  # fmt: skip


@pytest.mark.policy("A5")
@pytest.mark.parametrize(("why", "password"), [(why, each) for why, all_ in WEAK.items() for each in all_])
def test_a_weak_password_is_refused_with_the_reason_and_never_repeated(why: str, password: str) -> None:
    with pytest.raises(InvalidRequest, match=why) as refused:
        check_strength(Secret(password), "administrator")
    assert (refused.value.code, refused.value.param) == ("weak_password", "password")
    assert len(password) < 4 or password.strip() not in refused.value.message


@pytest.mark.policy("A5")
@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple", "twelve chars", "long enough password", "a-password-of-mine", "9127 4480 1735",
        "Tr0ub4dor&3-extra", "пароль длинный", "密码要十二个字符才能够用的", "éàüñøßæœčšžł", "nu\0l and \x1b too",
    ],
)  # fmt: skip
def test_any_other_is_good_in_any_script(password: str) -> None:
    check_strength(Secret(password), "admin")


@pytest.mark.policy("A5")
def test_none_of_the_10_000_most_common_ones_is_good() -> None:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    common = FREQUENCY_LISTS["passwords"][:MOST_COMMON]
    assert len(set(common)) == 10_000
    for password in common:
        for shape in (password, password.upper(), f"(20){password}-1234567890!" if password.isalpha() else password):
            with pytest.raises(InvalidRequest):
                check_strength(Secret(shape), "admin")


@pytest.mark.policy("A5")
@given(st.text(min_size=1))
def test_no_text_breaks_the_rules(text: str) -> None:
    try:
        check_strength(Secret(text), text[:3])
    except InvalidRequest:
        return
    assert len(counted(Secret(text))) >= SHORTEST


# --- what counts ----------------------------------------------------------------------------------------


@pytest.mark.policy("A3")
@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("p" * 72 + "a", "p" * 72 + "b", False),  # bcrypt reads 72 bytes
        ("密" * 24 + "a", "密" * 24 + "b", False),
        ("long password\0a", "long password\0b", False),  # and stops at a NUL
        ("\0" + "a" * 12, "\0" + "b" * 12, False),
        ("Case Counts Here", "case counts here", False),
        ("in between  two", "in between two", False),
        ("circled ① one!!", "circled 1 one!!", False),
        ("cafe\u0301 au lait", "café au lait", True),  # keyboards differ in this,
        ("space\u00a0of a mac", "space of a mac", True),  # in this,
        ("  copied, with a line end\r\n", "copied, with a line end", True),  # and copies in this
    ],
)
async def test_passwords_count_whole(hasher: PasswordHasher, one: str, other: str, same: bool) -> None:
    kept = await hasher.hash(Secret(one))
    assert await hasher.matches(Secret(one), kept)
    assert await hasher.matches(Secret(other), kept) is same


@pytest.mark.policy("A3")
async def test_what_is_kept_is_bcrypt_under_the_pepper(hasher: PasswordHasher) -> None:
    password = Secret(secrets.token_urlsafe())
    kept = await hasher.hash(password)
    assert kept.startswith(f"$2b$0{QUICK}$")
    assert kept != await hasher.hash(password), "each has a salt of its own"
    plain = password.reveal().encode()
    for guess in (plain, base64.b64encode(hashlib.sha256(plain).digest()), hashlib.sha256(plain).hexdigest().encode()):
        assert not bcrypt.checkpw(guess, kept.encode()), "the database alone is no ground to guess on"
    other = PasswordHasher(b"q" * 32, QUICK)
    assert not await other.matches(password, kept)
    other.close()
    assert password.reveal() not in repr(vars(hasher))


# --- what it costs --------------------------------------------------------------------------------------


@pytest.mark.policy("A3")
async def test_a_refusal_costs_the_same_whatever_is_kept(work: list[int]) -> None:
    hashers = {rounds: PasswordHasher(PEPPER, rounds) for rounds in (4, 6)}
    right, wrong = Secret("right horse"), Secret("wrong horse")
    kept = {rounds: await hasher.hash(right) for rounds, hasher in hashers.items()}
    for hasher in hashers.values():  # the factor of the setting: before it was raised, and after
        for found in (None, kept[4], kept[6]):
            work.clear()
            assert not await hasher.matches(wrong, found, [kept[4], kept[6]])
            assert sum(2**rounds for rounds in work) == 2**6
        hasher.close()


@pytest.mark.policy("A3")
async def test_one_hashing_decides(hasher: PasswordHasher, work: list[int]) -> None:
    kept = await hasher.hash(Secret("right horse"))
    for password, found in (("right horse", kept), ("wrong horse", kept), ("right horse", None)):
        work.clear()
        await hasher.matches(Secret(password), found, [kept])
        assert work == [QUICK]


@pytest.mark.policy("A3")
async def test_what_is_far_too_long_costs_no_more_and_is_never_right(hasher: PasswordHasher, work: list[int]) -> None:
    for right in (Secret("right horse"), Secret("")):
        kept = await hasher.hash(right)
        work.clear()
        assert not await hasher.matches(Secret(right.reveal() + " " * 30_000_000), kept, [kept])
        assert work == [QUICK]
    with pytest.raises(InvalidRequest, match="many more"):
        check_strength(Secret("x1" * 10_000_000), "admin")


class Gate:
    """Hashings that wait until they may end, and how many there are at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.now = self.most = self.begun = 0
        self.threads: set[str] = set()
        self._lock = threading.Lock()
        hashpw = bcrypt.hashpw

        def waiting(password: bytes, salt: bytes) -> bytes:
            with self._lock:
                self.now += 1
                self.begun += 1
                self.most = max(self.most, self.now)
                self.threads.add(threading.current_thread().name.partition("_")[0])
            assert self.open.wait(30)
            with self._lock:
                self.now -= 1
            return hashpw(password, salt)

        monkeypatch.setattr(password_hash.bcrypt, "hashpw", waiting)

    async def until_begun(self, number: int) -> None:
        while self.begun < number:
            await asyncio.sleep(0.001)


@pytest.mark.policy("A3")
async def test_two_at_a_time_a_few_wait_and_more_are_told_to_come_back(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    logins = [asyncio.ensure_future(hasher.matches(Secret("x"), None)) for _ in range(AT_ONCE + MOST_WAITING)]
    await gate.until_begun(AT_ONCE)  # the loop goes on meanwhile
    for _ in range(100):
        with pytest.raises(Overloaded) as full:
            await hasher.matches(Secret("x"), None)
        assert full.value.retry_after
    gate.open.set()
    assert await asyncio.gather(*logins) == [False] * len(logins)
    assert (gate.most, gate.threads) == (AT_ONCE, {"password"})
    assert await hasher.matches(Secret("x"), None) is False, "and then there is room again"


@pytest.mark.policy("A3")
async def test_logins_that_are_left_make_no_room_for_more(
    hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    for _ in range(20):
        left = [asyncio.ensure_future(hasher.matches(Secret("x"), None)) for _ in range(AT_ONCE + MOST_WAITING)]
        await gate.until_begun(AT_ONCE)
        for login in left:
            login.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    assert (gate.begun, gate.now) == (AT_ONCE, AT_ONCE)
    gate.open.set()
    assert await hasher.matches(Secret("x"), None) is False
    assert gate.begun == AT_ONCE + 1, "nothing is hashed that nobody waits for"
