"""How a charge is shown: the live feed's word, the money so far, and all of it for whoever looks inside."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from pileward.actors.session_state import StopAsked
from pileward.actors.session_view import amount_fen, describe, session_event
from pileward.messages import uplinks as up
from pileward.messages.charging import Bill, SessionState
from pileward.messages.events import SessionChanged
from tests.orders import WIRE, after, at, later, said, session, settled
from tests.piles import CODE, MOMENT, NOW, uplink

S = SessionState


def test_a_charge_that_runs() -> None:
    charge = after(session(S.CHARGING), said(voltage_mv=400_000, current_ma=150_000), now=at(15))
    assert session_event(charge, at(20)) == SessionChanged(
        serial=charge.serial,
        pile_code=CODE,
        gun_no=1,
        state="charging",
        at=later(20),
        detail="",
        soc_pct=78,
        power_w=60_000,
        voltage_mv=400_000,
        current_ma=150_000,
        energy_e4_kwh=100_000,
        amount_fen=1_300,
        remaining_s=1_920,
        live_at=later(15),
        is_pile_online=True,
        refund_fen=None,
    )


def test_power_into_the_vehicle_and_out_of_it_has_no_sign() -> None:
    charge = after(session(S.CHARGING), said(voltage_mv=400_000, current_ma=-150_000))
    assert session_event(charge, NOW).power_w == 60_000


@pytest.mark.parametrize("missing", ["voltage_mv", "current_ma"])
def test_what_was_not_measured_is_not_guessed(missing: str) -> None:
    charge = after(session(S.CHARGING), replace(said(), **{missing: None}))
    assert session_event(charge, NOW).power_w is None


def test_an_order_of_which_nothing_was_heard() -> None:
    event = session_event(session(S.FUNDED, is_online=False), NOW)
    assert (event.state, event.is_pile_online, event.live_at, event.power_w) == ("funded", False, None, None)
    assert (event.energy_e4_kwh, event.amount_fen, event.remaining_s) == (0, 0, None)


@pytest.mark.parametrize(("state", "refund"), [
    (S.CREATED, None), (S.CHARGING, None), (S.REFUNDING, 3_700), (S.CLOSED, 3_700), (S.START_FAILED, 5_000),
])  # fmt: skip
def test_a_refund_is_shown_once_it_is_known(state: SessionState, refund: int | None) -> None:
    assert session_event(session(state), NOW).refund_fen == refund


def test_money_so_far_is_the_energy_by_rate_until_there_is_a_bill() -> None:
    charge = session(S.CHARGING, rate_energy_e4_kwh=(10_000, 10_000, 10_000, 5))
    assert amount_fen(charge) == 150 + 130 + 100  # and 0.035 fen
    assert amount_fen(session(S.CHARGING, rate_energy_e4_kwh=(0, 0, 0, 72))) == 1  # 0.504 fen
    bill = Bill(energy_e4_kwh=1, electricity_fen=700, service_fen=77, total_fen=777, lines=())
    assert amount_fen(session(S.REFUNDING, bill=bill)) == 777
    assert amount_fen(after(session(S.SETTLING), settled())) == 1_300


def test_a_description_is_plain_and_whole() -> None:
    charge = after(
        session(S.CHARGING), said(), uplink(up.BmsHandshake, wire_number=WIRE, vin="LSVAU2180N2183294")
    )
    charge = after(charge, StopAsked(1, "user"))
    data = describe(charge, at(30))
    assert msgspec.json.decode(msgspec.json.encode(data)).keys() == data.keys()
    told = {name: data[name] for name in ("state", "detail", "wants_stop", "stop_attempts", "is_giving_up")}
    assert told == {
        "state": "stopping",
        "detail": "stopping",
        "wants_stop": True,
        "stop_attempts": 1,
        "is_giving_up": False,
    }
    assert (data["serial"], data["paid_fen"], data["amount_fen"]) == (charge.serial, 5_000, 1_300)
    assert data["telemetry_age_s"] == 30
    assert data["telemetry"]["energy_e4_kwh"] == 100_000
    assert data["facts"]["BmsHandshake"]["vin"] == "LSVAU2180N2183294"
    assert data["live_at"] == MOMENT.isoformat().replace("+00:00", "Z")


def test_a_description_before_anything_was_heard() -> None:
    data = describe(session(S.CREATED), NOW)
    assert (data["state"], data["telemetry"], data["telemetry_age_s"], data["facts"]) == (
        "created",
        None,
        None,
        {},
    )
