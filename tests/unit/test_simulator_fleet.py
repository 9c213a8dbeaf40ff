"""Simulated piles over real sockets, against a scripted platform of a few lines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pileward.clock import Clock, ManualClock
from pileward.codecs.ykc.frames_charge import RealTimeData, TransactionRecord, TransactionRecordAnswer
from pileward.codecs.ykc.frames_device import Reboot, RebootAnswer
from pileward.codecs.ykc.frames_link import (
    BillingModelAnswer,
    Heartbeat,
    HeartbeatAnswer,
    Login,
    LoginAnswer,
    SetTime,
    SetTimeAnswer,
)
from pileward.simulator.control import Control
from pileward.simulator.fleet import Fleet
from pileward.simulator.habits import Habits, Nameplate
from pileward.simulator.load import LoadRun
from pileward.simulator.memory import MemoryFolder
from pileward.simulator.plan import Plan, populate
from tests.unit.simulator_street import CODE, MODEL_NO, Platform, record

OTHER = "32010600019237"
QUICK = Habits(
    reconnect_first_s=0.02,
    reconnect_most_s=0.05,
    boot_shortest_s=0.02,
    boot_longest_s=0.05,
    login_retry_s=0.2,
)


@asynccontextmanager
async def street(
    codes: tuple[str, ...] = (CODE,), **options: Any
) -> AsyncIterator[tuple[Platform, list[Control]]]:
    """A scripted platform and piles behind one line."""
    async with Platform({CODE, OTHER}) as platform:
        fleet = Fleet("127.0.0.1", platform.port, is_watched=True, **options)
        try:
            yield platform, fleet.add([Nameplate(code, 2) for code in codes], habits=QUICK)
        finally:
            await fleet.close()


async def test_a_pile_comes_online_over_a_real_socket() -> None:
    async with street() as (platform, (pile,)):
        await pile.wait_online()
        await pile.expect(BillingModelAnswer, billing_model_no=MODEL_NO)
        await platform.until(lambda: platform.count(RealTimeData) >= 2 and platform.count(Heartbeat) >= 2)
        await platform.until(lambda: platform.count(SetTimeAnswer) == 1)
        assert pile.pile.memory.tariff is not None


async def test_what_is_done_to_a_pile_shows_on_the_wire() -> None:
    async with street() as (platform, (pile,)):
        await pile.wait_online()
        await platform.until(lambda: platform.count(RealTimeData) == 2)
        pile.plug(2)
        pile.fault(0x1000, gun_no=1)
        await platform.until(lambda: platform.count(RealTimeData) == 4)
        plugged, broken = [frame for frame in platform.received if isinstance(frame, RealTimeData)][2:]
        assert (plugged.gun_no, plugged.gun_plugged) == (2, 1)
        assert (broken.gun_no, broken.hardware_fault) == (1, 0x1000)
        pile.send_garbage(b"\x00\x01\x02")
        pile.send(Heartbeat(CODE, 1, 0), times=3)
        await platform.until(lambda: platform.garbage == 1 and platform.count(Heartbeat) == 5)


async def test_expect_finds_a_frame_by_its_fields_and_gives_up_in_time() -> None:
    async with street() as (_, (pile,)):
        await pile.wait_online()
        answer = await pile.expect(HeartbeatAnswer, gun_no=2)
        assert answer.gun_no == 2
        with pytest.raises(TimeoutError):
            await pile.expect(Reboot, timeout_s=0.05)


async def test_a_dropped_pile_logs_in_again() -> None:
    async with street() as (platform, (pile,)):
        for logins, is_reset in ((2, False), (3, True)):
            await pile.wait_online()
            pile.drop(is_reset=is_reset)
            await platform.until(lambda logins=logins: platform.count(Login) == logins)  # type: ignore[misc]
            await pile.expect(LoginAnswer)


async def test_a_vanished_pile_leaves_its_old_socket_open() -> None:
    async with street() as (platform, (pile,)):
        await pile.wait_online()
        pile.vanish()
        await platform.until(lambda: platform.count(Login) == 2)
        assert len(platform.wires) == 2, "the old socket is half-open"


async def test_a_frozen_pile_keeps_its_socket_and_says_nothing() -> None:
    async with street() as (platform, (pile,)):
        await pile.wait_online()
        await platform.until(lambda: platform.count(SetTimeAnswer) == 1)
        pile.freeze()
        platform.send(CODE, SetTime(CODE, None))
        heard = len(platform.received)
        pile.plug(1)
        pile.thaw()
        await platform.until(lambda: platform.count(Login) == 2)
        assert isinstance(platform.received[heard], Login), "nothing in between"


async def test_a_power_cut_and_its_end() -> None:
    async with street() as (platform, (pile,)):
        await pile.wait_online()
        pile.cut_power()
        assert len(platform.wires) == 1
        pile.restore_power()
        await platform.until(lambda: platform.count(Login) == 2)
        assert len(platform.wires) == 2


async def test_a_reboot_is_answered_and_followed_by_a_login() -> None:
    async with street() as (platform, (pile,)):
        await pile.wait_online()
        platform.send(CODE, Reboot(CODE, 1))
        await platform.until(lambda: platform.count(RebootAnswer) == 1 and platform.count(Login) == 2)
        await platform.until(lambda: len(platform.wires) == 1)


async def test_an_unknown_pile_is_refused_and_tries_again() -> None:
    async with Platform(set()) as platform:
        fleet = Fleet("127.0.0.1", platform.port)
        fleet.add([Nameplate(CODE, 1)], habits=QUICK)
        await platform.until(lambda: platform.count(Login) >= 2)
        assert fleet.tally.events["login_refused"] >= 1
        assert fleet.tally.online == 0
        await fleet.close()


async def test_a_pile_that_found_nobody_comes_when_the_platform_is_there() -> None:
    async with Platform({CODE}) as platform:
        port = platform.port
    clock = ManualClock()
    fleet = Fleet("127.0.0.1", port, clock=clock, is_watched=True)
    (pile,) = fleet.add([Nameplate(CODE, 1)])
    clock.advance(0.0)
    await fleet.settle_dials()
    assert fleet.tally.events["not_connected"] == 1
    async with Platform({CODE}, port):
        clock.advance(1.5)
        await pile.wait_online()
        await fleet.close()


async def test_several_piles_share_a_connection() -> None:
    async with street((CODE, OTHER)) as (platform, (first, second)):
        await first.wait_online()
        await second.wait_online()
        assert len(platform.wires) == 1
        await first.expect(HeartbeatAnswer)
        first.cut_power()
        assert len(platform.wires) == 1 and second.is_online, "the concentrator stays"
        first.restore_power()
        await platform.until(lambda: platform.count(Login) == 3)
        assert len(platform.wires) == 1
        second.keep_record(record(trade_no="7" * 32, code=OTHER))
        await platform.until(lambda: platform.count(TransactionRecord) == 1)
        platform.send(OTHER, TransactionRecordAnswer("7" * 32, 0))
        await second.expect(TransactionRecordAnswer)
        assert second.pile.memory.records == []
        second.drop()
        await platform.until(lambda: platform.count(Login) == 5)


async def test_unsent_records_and_tariff_survive_the_simulator(tmp_path: Path) -> None:
    memories = MemoryFolder(tmp_path)
    async with street(memories=memories) as (platform, (pile,)):
        await pile.expect(BillingModelAnswer)
        pile.keep_record(record())
        await platform.until(lambda: platform.count(TransactionRecord) == 1)
    async with street(memories=memories) as (platform, (pile,)):
        await platform.until(lambda: platform.count(TransactionRecord) == 1)
        assert platform.count(TransactionRecord) == 1
        platform.send(CODE, TransactionRecordAnswer(record().trade_no, 0))
        await pile.expect(TransactionRecordAnswer)
    assert memories.load(CODE).records == []
    held = memories.load(CODE).tariff
    assert held is not None and held.billing_model_no == MODEL_NO


async def test_a_faster_clock_makes_piles_live_faster() -> None:
    async with street(clock=Clock(rate=500.0)) as (platform, (pile,)):
        await platform.until(lambda: platform.count(Heartbeat) >= 20)
        assert pile.is_online


async def test_time_moved_by_hand_moves_the_piles() -> None:
    clock = ManualClock()
    async with Platform({CODE}) as platform:
        fleet = Fleet("127.0.0.1", platform.port, clock=clock, is_watched=True)
        (pile,) = fleet.add([Nameplate(CODE, 2)])
        clock.advance(0.0)
        await pile.wait_online()
        for beats in (2, 4, 6):
            await platform.until(lambda beats=beats: platform.count(Heartbeat) == beats)  # type: ignore[misc]
            clock.advance(10.0)
        await platform.until(lambda: platform.count(Heartbeat) == 8)
        await fleet.close()


async def test_a_fleet_of_hundreds_comes_up_and_is_measured() -> None:
    codes = Plan(first_code=CODE, piles=300).codes
    async with Platform(set(codes)) as platform:
        plan = Plan(
            first_code=CODE, piles=300, piles_per_connection=3, ramp_s=0.1, habits=Habits(heartbeat_s=1.0)
        )
        report = await LoadRun("127.0.0.1", platform.port, plan).run(1.2)
    assert (report.online, report.connections, report.errors) == (300, 100, {})
    assert report.heartbeat["count"] >= 600
    assert 0 < report.heartbeat["p50_ms"] <= report.heartbeat["p99_ms"] <= report.heartbeat["max_ms"]
    assert report.all_online_s is not None


async def test_a_load_run_reports_what_went_wrong() -> None:
    async with Platform({CODE}) as platform:
        plan = Plan(first_code=CODE, piles=2)
        report = await LoadRun("127.0.0.1", platform.port, plan, patience_s=0.2).run(0.1)
    assert (report.online, report.all_online_s) == (1, None)
    assert report.errors == {"login_refused": 1}


async def test_many_piles_are_put_on_several_sources() -> None:
    fleet = Fleet("127.0.0.1", 9)
    populate(fleet, Plan(first_code=CODE, piles=2_001, ramp_s=1_000.0))
    assert len(fleet.controls) == 2_001
    with pytest.raises(ValueError, match="there already"):
        fleet.add([Nameplate(CODE, 1)])
    await fleet.close()
