"""Words: every code that can be shown has some, in both languages."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pileward.actors.gun_machine import GunState
from pileward.actors.session_state import START_REFUSALS
from pileward.http import words
from pileward.messages.charging import RefundStep, SessionRow, SessionState
from tests.business import NOW
from tests.charges import TARIFF

ROW = SessionRow(
    serial="2" * 20,
    operator_id=1,
    driver_id=1,
    station_id=1,
    pile_code="32010600000001",
    gun_no=1,
    protocol="ykc",
    wire_number="",
    tariff=TARIFF,
    prepaid_fen=5_000,
    out_trade_no="",
    requested_at=NOW,
)


def test_every_state_and_step_has_its_words() -> None:
    assert set(words.GUN_STATES) == {state.name.lower() for state in GunState}
    assert set(words.SESSION_STATES) == set(SessionState)
    assert set(words.REFUND_STAGES) == set(RefundStep)
    assert set(START_REFUSALS.values()) <= set(words.START_FAILURES)
    for table in (words.GUN_STATES, words.SESSION_STATES, words.START_FAILURES, words.STOP_REASONS):
        assert all(zh and en for zh, en in table.values())


@pytest.mark.parametrize(
    ("reason", "code", "zh"),
    [
        ("", None, None),
        ("energy_limit", None, "已达设定电量"),
        ("energy_limit", 0x40, "已达设定电量"),
        ("remote", 0x40, "您已停止充电"),
        ("remote", 0x72, "急停开入"),
        ("", 0x41, "SOC达到100%"),
        ("", 0x40, "APP远程停止"),
        ("something_new", None, "已停止"),
        ("", 0xFE, "未知 (0xFE)"),
    ],
)
def test_why_a_charge_ended(reason: str, code: int | None, zh: str | None) -> None:
    found = words.stop_words(replace(ROW, stop_reason=reason, stop_code=code))
    assert (found[0] if found is not None else None) == zh


def test_why_an_order_never_charged() -> None:
    assert words.start_failure_words(ROW) is None
    assert words.start_failure_words(replace(ROW, start_failure="pile_offline")) == (
        "充电桩离线",
        "the pile went offline",
    )
    assert words.start_failure_words(replace(ROW, start_failure="refused_9")) == ("启动失败", "refused 9")
    assert words.gun_words("new") == ("new", "new")
