"""Charges for tests: a known car, a start, a way to the first current."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from pileward.codecs.ykc.frames_charge import (
    RealTimeData,
    RemoteStart,
    RemoteStartAnswer,
    TransactionRecord,
    TransactionRecordAnswer,
)
from pileward.codecs.ykc.frames_link import BillingModelCheckAnswer, LoginAnswer, SetTime
from pileward.codecs.ykc.table import Frame
from pileward.simulator import hands
from pileward.simulator.car import Car
from pileward.simulator.charge import Charge
from pileward.simulator.orders import Phase
from pileward.simulator.quirks import Quirk
from tests.unit.simulator_street import CODE, EPOCH, MODEL_NO, Bench

TRADE: Final = CODE + "01" + "2603011200000007"
OTHER_TRADE: Final = CODE + "02" + "2603011200000008"
NONE: Final = "0" * 16
CARD: Final = "00000000D14B0A54"
RICH_FEN: Final = 1_000_000
CAR: Final = Car(
    vin="LGXE3ARB6UB078542",
    capacity_wh=40_000,
    soc_e1_pct=300,
    empty_e1_v=3_000,
    full_e1_v=3_900,
    amps_e1_a=1_000,
    knee_pct=75,
    ac_w=7_000,
    battery_type=3,
    cycles=321,
    made=(2021, 6, 15),
    pack_no="0B03D63B",
    temp_c=20,
)


def ready(gun_no: int = 1, car: Car = CAR, **options: Any) -> Bench:
    """A pile online with a car at a gun."""
    bench = Bench(**options)
    bench.log_in()
    hands.set_plugged(bench.pile, gun_no, True, bench.now, car)
    bench.settle()
    bench.sent.clear()
    return bench


def start(bench: Bench, gun_no: int = 1, trade_no: str = TRADE, balance_fen: int = RICH_FEN) -> None:
    """The platform wants a charge to begin."""
    bench.give(RemoteStart(trade_no, CODE, gun_no, NONE, NONE, balance_fen))


def charging(
    *quirks: Quirk, gun_no: int = 1, balance_fen: int = RICH_FEN, car: Car = CAR, **options: Any
) -> Bench:
    """A pile that charges, right after the first current."""
    bench = ready(gun_no, car, **options)
    hands.misbehave(bench.pile, gun_no, quirks)
    start(bench, gun_no, TRADE if gun_no == 1 else OTHER_TRADE, balance_fen)
    for _ in range(200):
        bench.wait(0.5)
        bench.answer_heartbeats()
        if any(isinstance(frame, RealTimeData) and frame.status == 3 for frame in bench.frames()):
            return bench
    raise AssertionError("it does not charge")


def running(bench: Bench, gun_no: int = 1) -> Charge:
    """The charge that runs."""
    gun = bench.pile.gun(gun_no)
    assert gun is not None and gun.charge is not None
    return gun.charge


def of(kind: type[Frame], frames: list[Frame]) -> list[Any]:
    """The frames of one kind."""
    return [frame for frame in frames if type(frame) is kind]


def starts(frames: list[Frame]) -> list[tuple[int, int]]:
    """Result and reason of each answer to a start."""
    return [(frame.result, frame.fail_reason) for frame in of(RemoteStartAnswer, frames)]


def settled(bench: Bench, within_s: float = 4 * 3600.0) -> TransactionRecord:
    """Wait for a record, and confirm it."""
    record = bench.until(TransactionRecord, within_s)
    bench.give(TransactionRecordAnswer(record.trade_no, 0))
    return record


def reconnect(bench: Bench) -> None:
    """Lose the line and log in again."""
    bench.lose()
    back(bench)


def back(bench: Bench) -> None:
    """Wait for the pile to dial, and accept its login."""
    while bench.pile.phase is not Phase.CONNECTING:
        bench.wait(1.0)
    bench.sent.clear()
    log_in(bench)


def log_in(bench: Bench) -> None:
    """Let the line come up and the login be accepted by a platform that knows the tariff."""
    bench.connect()
    bench.give(LoginAnswer(CODE, 0))
    bench.give(SetTime(CODE, EPOCH + timedelta(seconds=bench.now)))
    bench.give(BillingModelCheckAnswer(CODE, MODEL_NO, 0))
    bench.answer_heartbeats()
