"""Simulated drivers at simulated piles: the whole story, with people and piles as they are.

Everything is real but the clock: node, sockets, HTTP, the WeChat Pay client, its emulator. Whatever drivers
and piles do, each order ends, and what was paid is what was billed plus what went back, to the fen, in the
drivers' eyes, in the emulator's books and in the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from pileward.simulator.control import Control
from pileward.simulator.driver import Driver, Place
from pileward.simulator.drivers import Crowd, Drivers
from pileward.simulator.fleet import Fleet
from pileward.simulator.habits import Habits, Nameplate
from pileward.simulator.intent import Intent, Paying, Plug
from pileward.simulator.memory import MemoryFolder
from pileward.simulator.profiles import LIVELY
from pileward.simulator.quirks import Quirk
from tests.drivers import Market
from tests.nodes import CODES

STEP_S: Final = 4.0
PLAIN: Final = Intent(amount_fen=2_000, stops_after_s=120.0)


class Rank:
    """The crowd on a market's street."""

    def __init__(self, market: Market, seed: int = 1) -> None:
        self.market = market
        self.crowd = Crowd(market.fleet, market.url, market.wechat.url, seed=seed, poll_s=STEP_S)

    def driver(self, name: str, code: str = CODES[0], gun_no: int = 1) -> Driver:
        """A driver who only ever uses this gun."""
        place = Place(self.crowd.fleet.controls[code], gun_no)
        return Driver(self.crowd, name, self.crowd.phone(), place)

    async def see(self, *trips: Any, within_s: float = 3 * 3600.0) -> list[str]:
        """Let time pass until these trips are over; their outcomes."""
        tasks = [asyncio.ensure_future(trip) for trip in trips]
        await self.until(lambda: all(task.done() for task in tasks), within_s)
        return [task.result() for task in tasks]

    async def until(self, condition: Any, within_s: float = 3 * 3600.0) -> None:
        """Let time pass in steps that are short beside all deadlines."""
        end = self.market.clock.monotonic() + within_s
        while not condition():
            assert self.market.clock.monotonic() < end, self.crowd.trips.line()
            await self.market.pass_time(STEP_S, step=STEP_S)

    async def prove(self) -> None:
        """Nobody has lost a fen: drivers, WeChat and the ledger say the same."""
        trips = self.crowd.trips
        assert not trips.wrongs
        books = await self.books()
        assert books["sum_fen"] == 0
        assert books["paid_fen"] == trips.paid_fen
        assert books["refunded_fen"] == trips.refunded_fen
        assert books["paid_fen"] - books["refunded_fen"] == trips.charged_fen - trips.debt_fen
        await self.market.prove_books()

    async def books(self) -> Any:
        """The emulator's books."""
        async with self.market.http.get(f"{self.market.wechat.url}/control/books") as answer:
            return await answer.json()


@pytest.fixture
async def rank(market: Market) -> AsyncIterator[Rank]:
    """Three piles online, and nobody there yet."""
    for code in CODES:
        market.fleet.add([Nameplate(code, 2)], habits=Habits(late_record_longest_s=240.0))
    await market.online(*CODES)
    opened = Rank(market)
    yield opened
    await opened.crowd.close()


# People.


async def test_six_plain_drivers_at_six_guns(rank: Rank) -> None:
    drivers = [rank.driver(f"d{code[-1]}{gun_no}", code, gun_no) for code, gun_no in _guns()]
    outcomes = await rank.see(*(driver.trip(PLAIN) for driver in drivers))
    assert outcomes == ["charged"] * 6
    assert rank.crowd.trips.charged_fen > 0
    await rank.prove()


PEOPLE: Final[Sequence[tuple[Intent, str]]] = (
    (Intent(amount_fen=2_000, stops_after_s=100.0, taps_twice=True), "charged"),
    (Intent(amount_fen=2_000, stops_after_s=100.0, scans_again=True, think_s=5.0), "charged"),
    (Intent(amount_fen=2_000, stops_after_s=100.0, closes_app=True), "charged"),
    (Intent(amount_fen=2_000, stops_after_s=100.0, paying=Paying.PAYS_LATER, by_socket=True), "charged"),
    (Intent(amount_fen=2_000, stops_after_s=100.0, plug=Plug.LATE), "charged"),
    (Intent(amount_fen=2_000, plug=Plug.NEVER), "start_failed"),
    (Intent(amount_fen=2_000, paying=Paying.GIVES_UP), "cancelled"),
    (Intent(amount_fen=2_000, paying=Paying.WALKS_AWAY), "walked_away"),
    (Intent(amount_fen=300), "charged"),
    (Intent(amount_fen=2_000, limit={"kind": "energy", "value": 10_000}), "charged"),
    (Intent(amount_fen=2_000, limit={"kind": "time", "value": 120}), "charged"),
    (Intent(amount_fen=2_000, limit={"kind": "money", "value": 200}), "charged"),
)


async def test_people_of_every_kind_get_what_they_meant(rank: Rank) -> None:
    for at in range(0, len(PEOPLE), 6):
        group = PEOPLE[at : at + 6]
        drivers = [rank.driver(f"p{at + place}", *_guns()[place]) for place in range(len(group))]
        trips = [driver.trip(intent) for driver, (intent, _) in zip(drivers, group, strict=True)]
        assert await rank.see(*trips) == [outcome for _, outcome in group]
    await rank.prove()
    oddities = rank.crowd.trips.oddities
    assert oddities["double_tap"] >= 3 and oddities["second_scan"] == 1 and oddities["app_closed"] == 1


async def test_whoever_walked_away_is_led_back_to_the_open_order(rank: Rank) -> None:
    driver = rank.driver("absent")
    assert await rank.see(driver.trip(Intent(paying=Paying.WALKS_AWAY))) == ["walked_away"]
    assert await rank.see(driver.trip(PLAIN)) == ["charged"], "the order is still there, and is paid now"
    await rank.prove()


async def test_two_drivers_want_the_same_gun(rank: Rank) -> None:
    first, second = rank.driver("first"), rank.driver("second")
    outcomes = await rank.see(first.trip(PLAIN), second.trip(PLAIN))
    assert outcomes.count("charged") == 1 and set(outcomes) == {"charged", "no_gun"}
    await rank.prove()


async def test_drivers_choose_by_themselves(rank: Rank) -> None:
    people = [Driver(rank.crowd, f"free-{number}", rank.crowd.phone()) for number in range(6)]
    intent = Intent(amount_fen=2_000, stops_after_s=60.0, scans=True, think_s=1.0)
    outcomes = await rank.see(*(driver.trip(intent) for driver in people))
    assert outcomes.count("charged") >= 4 and set(outcomes) <= {"charged", "no_gun"}
    assert not rank.crowd.taken
    await rank.prove()


# Piles.

ENDS: Final[Sequence[tuple[Quirk, str]]] = (
    (Quirk.START_LATE, "charged"),
    (Quirk.START_ANSWER_LOST, "charged"),
    (Quirk.START_REFUSED, "start_failed"),
    (Quirk.START_MUTE, "start_failed"),
    (Quirk.NEVER_CHARGES, "start_failed"),
    (Quirk.START_FAILS, "empty"),
    (Quirk.STOP_MUTE, "charged"),
    (Quirk.STOP_LATE, "charged"),
    (Quirk.STOP_IGNORED, "charged"),
    (Quirk.STOP_REFUSED, "charged"),
    (Quirk.IDLE_FRAMES, "charged"),
    (Quirk.RECORD_TWICE, "charged"),
    (Quirk.RECORD_DIFFERENT, "charged"),
    (Quirk.RECORD_LATE, "charged"),
    (Quirk.RECORD_UNKNOWN, "charged"),
    (Quirk.SILENT, "charged"),
    (Quirk.OVERSPENDS, "charged"),
    (Quirk.AMOUNTS_CUT, "charged"),
    (Quirk.AMOUNTS_ZERO, "charged"),
    (Quirk.BUTTON, "charged"),
    (Quirk.PULLED, "charged"),
    (Quirk.CAR_STOPS, "charged"),
    (Quirk.CHARGER_STOPS, "charged"),
)
HELD: Final = (
    Quirk.RECORD_NEGATIVE,
    Quirk.RECORD_ABSURD,
    Quirk.RECORD_BACKWARDS,
    Quirk.RECORD_SKEWED,
)
SURPRISES: Final = (Quirk.BUTTON, Quirk.PULLED, Quirk.CAR_STOPS, Quirk.CHARGER_STOPS, Quirk.OVERSPENDS)


def _guns() -> list[tuple[str, int]]:
    return [(code, gun_no) for code in CODES for gun_no in (1, 2)]


async def _each_at_its_gun(rank: Rank, quirks: Sequence[Quirk]) -> dict[Quirk, str]:
    """Let each quirk happen at a gun of its own, all at the same time; how the trips ended."""
    trips = []
    for (code, gun_no), quirk in zip(_guns(), quirks, strict=False):
        rank.crowd.fleet.controls[code].misbehave(gun_no, quirk)
        intent = Intent(amount_fen=500, stops_after_s=None if quirk in SURPRISES else 90.0)
        trips.append(rank.driver(f"d{code[-1]}{gun_no}", code, gun_no).trip(intent))
    return dict(zip(quirks, await rank.see(*trips), strict=True))


@pytest.mark.parametrize("group", range(0, len(ENDS), 6))
async def test_whatever_piles_do_wrong_the_money_is_right(rank: Rank, group: int) -> None:
    expected = dict(ENDS[group : group + 6])
    assert await _each_at_its_gun(rank, tuple(expected)) == expected
    await rank.prove()


async def test_a_pile_that_charges_although_it_refused_is_paid_for_what_it_gave(rank: Rank) -> None:
    rank.crowd.fleet.controls[CODES[0]].misbehave(1, Quirk.CHARGES_REFUSED)
    outcomes = await rank.see(rank.driver("only").trip(Intent(amount_fen=500)))
    assert outcomes in (["start_failed"], ["charged"]), "the record may come before the refund, or after it"
    await rank.market.pass_time(120, step=STEP_S)
    assert not rank.crowd.trips.wrongs
    await rank.market.prove_books()


async def test_impossible_records_are_held_for_a_person(rank: Rank) -> None:
    assert set((await _each_at_its_gun(rank, HELD)).values()) == {"held"}
    assert (await rank.books())["refunded_fen"] == 0, "nothing moves before somebody has looked"
    for control in rank.crowd.fleet.controls.values():
        assert control.pile.memory.records == [], "the piles have their receipts"
    await rank.market.prove_books()


async def test_without_its_record_an_order_stays_open(rank: Rank) -> None:
    rank.crowd.fleet.controls[CODES[0]].misbehave(1, Quirk.RECORD_LOST)
    trip = asyncio.ensure_future(rank.driver("only").trip(PLAIN))
    await rank.until(lambda: "record_missing" in rank.market.alarms(CODES[0]))
    await rank.market.pass_time(300, step=STEP_S)
    assert not trip.done(), "a driver waits for 40 minutes"
    trip.cancel()
    await asyncio.gather(trip, return_exceptions=True)
    assert (await rank.books())["refunded_fen"] == 0
    await rank.market.prove_books()


# Outages.


async def test_a_power_cut_in_the_middle_ends_it_with_a_record(rank: Rank) -> None:
    control = rank.crowd.fleet.controls[CODES[0]]
    trip = asyncio.ensure_future(rank.driver("dark").trip(Intent(amount_fen=2_000)))
    await rank.until(lambda: _energy(control) > 2_000)
    control.cut_power()
    await rank.market.pass_time(120, step=STEP_S)
    control.restore_power()
    assert await rank.see(trip) == ["charged"]
    await rank.prove()


async def test_a_lost_line_in_the_middle_changes_nothing(rank: Rank) -> None:
    control = rank.crowd.fleet.controls[CODES[0]]
    trip = asyncio.ensure_future(rank.driver("patient").trip(Intent(amount_fen=500)))
    await rank.until(lambda: _energy(control) > 2_000)
    control.vanish(for_s=300.0)
    assert await rank.see(trip) == ["charged"]
    await rank.prove()


async def test_a_killed_node_loses_no_charge_and_moves_no_fen_twice(rank: Rank) -> None:
    drivers = [rank.driver(f"k{code[-1]}{gun_no}", code, gun_no) for code, gun_no in _guns()]
    intents = [Intent(amount_fen=2_000, stops_after_s=60.0 * number) for number in range(1, 7)]
    trips = [driver.trip(intent) for driver, intent in zip(drivers, intents, strict=True)]
    tasks = [asyncio.ensure_future(trip) for trip in trips]
    for _ in range(3):
        await rank.market.pass_time(60, step=STEP_S)
        await rank.market.crash()
        await rank.market.restart()
    await rank.until(lambda: all(task.done() for task in tasks))
    assert [task.result() for task in tasks] == ["charged"] * 6
    await rank.prove()


async def test_a_killed_simulator_goes_on_with_cars_charges_and_people(
    market: Market, tmp_path: Path
) -> None:
    memories = MemoryFolder(tmp_path / "piles")
    plates = [Nameplate(code, 2) for code in CODES[:2]]

    def street() -> tuple[Fleet, Crowd]:
        fleet = Fleet("127.0.0.1", market.node.ykc_port, clock=market.clock, memories=memories)
        for plate in plates:
            fleet.add([plate])
        market.fleet = fleet
        rank = Rank(market)
        return fleet, rank.crowd

    fleet, crowd = street()
    await market.online(*CODES[:2])
    people = Drivers(crowd, 3, rest_mean_s=5.0, intents=lambda dice: Intent(2_000, stops_after_s=240.0))
    people.start()
    await market.eventually(lambda: fleet.tally.charging >= 2, within_s=600.0)
    await market.pass_time(40, step=STEP_S)
    running = fleet.tally.charging
    await people.stop()
    await crowd.close()
    await fleet.close()
    await market.pass_time(60, step=STEP_S)

    fleet, crowd = street()
    await market.online(*CODES[:2])
    assert fleet.tally.events["charge_resumed"] >= running
    people = Drivers(crowd, 3, rest_mean_s=100_000.0, intents=lambda dice: Intent(2_000, stops_after_s=120.0))
    people.start()
    end = market.clock.monotonic() + 3 * 3600
    while crowd.trips.outcomes.total() < 3:
        assert market.clock.monotonic() < end, crowd.trips.line()
        await market.pass_time(STEP_S, step=STEP_S)
    await people.stop()
    assert set(crowd.trips.outcomes) == {"charged"} and not crowd.trips.wrongs
    await market.prove_books()
    await crowd.close()


@pytest.mark.slow
async def test_a_lively_street(market: Market) -> None:
    for code in CODES:
        market.fleet.add([Nameplate(code, 2)], seed=3, profile=LIVELY)
    await market.online(*CODES)
    rank = Rank(market, seed=3)
    people = Drivers(rank.crowd, 6, rest_mean_s=60.0)
    people.start()
    await market.pass_time(3_000, step=STEP_S)
    await people.stop()
    await rank.crowd.close()
    trips = rank.crowd.trips
    assert trips.outcomes["charged"] >= 3, trips.line()
    assert not trips.wrongs, trips.line()
    await market.prove_books()


def _energy(control: Control) -> int:
    charge = control.charge(1)
    return charge.energy_e4_kwh if charge is not None else 0
