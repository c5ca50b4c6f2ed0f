"""Whatever is done to a log by someone without the key shows, and where (policy L1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import structs

from claude_code_api.audit.chain import RESTORED, SHORTENED, Chain, Entry, Examination, Fault, Head

pytestmark = pytest.mark.policy("L1")

CHAIN = Chain(b"k" * 32)
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)

texts = st.text(max_size=8)
told = st.tuples(texts, texts, st.none() | texts, st.dictionaries(texts, texts, max_size=2))


def write(*tellings: tuple[str, str, str | None, dict[str, str]], head: Head | None = None) -> list[Entry]:
    """Entries as the gateway writes them."""
    head = head or Head()
    entries: list[Entry] = []
    for actor, action, target, details in tellings:
        number = head.number + 1
        entry = Entry(
            number=number, at=NOON + timedelta(seconds=number), actor=actor, action=action, target=target,
            details=json.dumps(details),
        )  # fmt: skip
        entries.append(CHAIN.sealed(entry, head.code))
        head = Head(number, entries[-1].code)
    return entries


def head_of(entries: Sequence[Entry]) -> Head:
    return Head(entries[-1].number, entries[-1].code) if entries else Head()


def faults(entries: Sequence[Entry], anchor: Head, chain: Chain = CHAIN) -> list[Fault]:
    shortened = next((entry for entry in reversed(entries) if entry.action == SHORTENED), None)
    examination = Examination(chain, shortened, anchor)
    return [fault for entry in entries for fault in examination.take(entry)] + list(examination.end())


logs = st.lists(told, min_size=1, max_size=8).map(lambda tellings: write(*tellings))


@given(logs, st.data())
def test_a_log_as_it_was_written_has_no_fault_whichever_entry_is_anchored(
    log: list[Entry], data: st.DataObject
) -> None:
    anchored = data.draw(st.integers(0, len(log)))
    assert faults(log, head_of(log[:anchored])) == []


@given(logs, st.data())
def test_a_changed_entry_is_named(log: list[Entry], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(log) - 1))
    field, value = data.draw(
        st.one_of(
            st.tuples(st.sampled_from(["actor", "action", "target"]), texts),
            st.tuples(st.just("target"), st.none()),
            st.tuples(st.just("details"), st.just('{"other": 1}')),
            st.tuples(st.just("at"), st.just(NOON)),
            st.tuples(st.just("code"), st.binary(min_size=32, max_size=32)),
        )
    )
    changed = structs.replace(log[index], **{field: value})
    assume(changed != log[index])
    found = faults([*log[:index], changed, *log[index + 1 :]], head_of(log))
    assert index + 1 in [fault.number for fault in found]


@given(logs, st.data())
def test_removed_entries_are_named_wherever_they_stood(log: list[Entry], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(log) - 1))
    last = data.draw(st.integers(first, len(log) - 1))
    found = faults(log[:first] + log[last + 1 :], head_of(log))
    assert found
    assert found[0].number == first + 1
    assert str(last + 1) in found[0].message


@given(logs, st.data())
def test_reordered_entries_are_found_even_under_each_others_numbers(log: list[Entry], data: st.DataObject) -> None:
    one, other = data.draw(st.integers(0, len(log) - 1)), data.draw(st.integers(0, len(log) - 1))
    assume(one != other)
    moved = list(log)
    moved[one] = structs.replace(log[other], number=one + 1)
    moved[other] = structs.replace(log[one], number=other + 1)
    assert {one + 1, other + 1} <= {fault.number for fault in faults(moved, head_of(log))}


@given(logs)
def test_an_entry_put_in_is_found(log: list[Entry]) -> None:
    made_up = structs.replace(log[-1], number=len(log) + 1, action="made.up")
    assert [fault.number for fault in faults([*log, made_up], head_of(log))] == [len(log) + 1]


@given(logs)
def test_another_key_proves_nothing(log: list[Entry]) -> None:
    assert faults(log, head_of(log), Chain(b"other key"))


def test_a_log_written_anew_is_not_the_one_that_was_anchored() -> None:
    told = [("a", "key.created", None, {})] * 3
    first, second = write(*told), write(*told[:2], ("a", "key.revoked", None, {}))
    assert [fault.message for fault in faults(second, head_of(first))] == [
        "Entry 3 is not the one that the anchor names."
    ]


class TestRetention:
    def shortened(self, through: int) -> tuple[list[Entry], Head]:
        log = write(*[("a", "key.created", str(number), {}) for number in range(6)])
        last = log[through - 1]
        told = {"through": through, "code": last.code.hex()}
        sealing = Entry(number=7, at=NOON, actor="gateway", action=SHORTENED, target=None, details=json.dumps(told))
        log.append(CHAIN.sealed(sealing, log[-1].code))
        return log[through:], head_of(log)

    @pytest.mark.parametrize("through", [1, 5, 6])
    def test_what_it_removed_is_no_fault(self, through: int) -> None:
        assert faults(*self.shortened(through)) == []

    def test_removing_more_than_it_did_is(self) -> None:
        log, head = self.shortened(2)
        assert [fault.message for fault in faults(log[1:], head)] == ["Entry 3 is missing."]

    def test_an_older_entry_put_back_is(self) -> None:
        log, head = self.shortened(2)
        assert faults([write(("a", "key.created", "0", {}))[0], *log], head)

    def test_a_made_up_one_removes_nothing_unseen(self) -> None:
        log = write(*[("a", "key.created", str(number), {}) for number in range(6)])
        told = {"through": 3, "code": log[2].code.hex()}
        made_up = structs.replace(log[-1], number=7, action=SHORTENED, details=json.dumps(told))
        assert [fault.number for fault in faults([*log[3:], made_up], head_of(log))] == [7]


class TestRestore:
    def test_a_gap_that_a_restore_tells_of_is_no_fault_and_any_other_is(self) -> None:
        log = write(*[("a", "key.created", str(number), {}) for number in range(4)])
        told = {"lost": [3, 4]}
        entry = Entry(number=5, at=NOON, actor="a", action=RESTORED, target=None, details=json.dumps(told))
        restored = [*log[:2], CHAIN.sealed(entry, log[1].code)]
        assert faults(restored, head_of(log)) == []
        assert [fault.number for fault in faults([log[0], restored[-1]], head_of(log))] == [2]
