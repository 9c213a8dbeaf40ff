"""One driver and one trip: choose, plug in, pay, charge, get the rest back, leave.

After the order is made the driver does what the order's state calls for, and looks again: so an app that was
closed, a simulator that was killed, or a platform that was away for a while changes nothing about the script.
The driver trusts nobody: when it is over the refund must be what was paid less the bill, to the fen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pileward.simulator.car import draw_car
from pileward.simulator.control import Control
from pileward.simulator.dice import Dice
from pileward.simulator.driver_api import TOKEN_CODES, Json, Phone, RefusedError, UnreachableError
from pileward.simulator.intent import Intent, Paying, Plug
from pileward.simulator.watch import Watch

if TYPE_CHECKING:
    from pileward.simulator.drivers import Crowd

OVER: Final = ("closed", "cancelled")
HELD: Final = "disputed"
PATIENCE_S: Final[dict[str, float]] = {
    "created": 1_200.0,
    "funded": 600.0,
    "starting": 240.0,
    "charging": 12 * 3600.0,
    "stopping": 600.0,
    "interrupted": 3_600.0,
    "awaiting_record": 2_400.0,
    "start_failed": 1_200.0,
    "refunding": 1_200.0,
    HELD: 0.0,
}
"""Clock seconds in one state of the order after which the driver leaves all the same."""
AT_THE_BUTTON_S: Final = 60.0
"""A stop by the app that has done nothing for so long is followed by the button at the pile."""
START_AGAIN_S: Final = 20.0
"""An order that is still only paid so long after the start was asked for is asked to start again."""
TRIES: Final = 3
"""Guns that are tried on one trip."""
REPEATS: Final = 6
"""How often the app repeats a request that got no answer."""
QR_PREFIX: Final = "https://qr.pileward.example/g/"


class LeaveError(Exception):
    """The trip is over for this driver; the argument is the outcome."""


class Place:
    """A gun of the street, by what stands on it and by hand."""

    def __init__(self, control: Control, gun_no: int) -> None:
        self.control = control
        self.gun_no = gun_no

    @property
    def gun_code(self) -> str:
        """What stands on the gun."""
        return f"{self.control.code}{self.gun_no:02d}"

    @property
    def is_free(self) -> bool:
        """Whether no car is plugged in here."""
        gun = self.control.pile.gun(self.gun_no)
        return gun is not None and not gun.is_plugged


class Driver:
    """One person with one car and one telephone."""

    def __init__(self, crowd: Crowd, name: str, phone: Phone, place: Place | None = None) -> None:
        """`place`: the only gun that this driver ever uses; None: whatever the station's list offers."""
        self.name = name
        self._crowd = crowd
        self._phone = phone
        self._home = place
        self._dice = Dice(crowd.seed, "driver", name)
        self._car = draw_car(Dice(crowd.seed, "car of", name))
        self._place: Place | None = None
        self._is_parked = False
        self._trip_no = 0
        self._marks: dict[str, float] = {}
        self._done: set[str] = set()
        self._charging_since = 0.0

    async def trip(self, intent: Intent) -> str:
        """Make one trip; returns the outcome, which is counted too."""
        self._trip_no += 1
        self._marks.clear()
        self._done.clear()
        trips = self._crowd.trips
        trips.underway += 1
        try:
            outcome = await self._trip(intent)
            await self._crowd.sleep(intent.lingers_s)
        except LeaveError as leave:
            outcome = str(leave)
        except RefusedError as error:
            trips.refusals[error.code] += 1
            outcome = f"refused:{error.code}"
        except UnreachableError:
            outcome = "unreachable"
        except asyncio.CancelledError:
            # The simulation ends, not the trip: the car stays where it is.
            self._place = None
            raise
        finally:
            trips.underway -= 1
            self._drive_off()
        trips.outcomes[outcome] += 1
        return outcome

    # The order.

    async def _trip(self, intent: Intent) -> str:
        if not self._phone.is_logged_in:
            await self._log_in()
        current = (await self._get("/sessions/current"))["session"]
        if current is not None:
            return await self._follow(current["serial"], intent, None)
        for _ in range(TRIES):
            place = self._home or await self._choose(intent)
            if place is None:
                raise LeaveError("no_gun")
            self._take(place)
            if intent.plug is Plug.FIRST:
                self._plug_in()
            await self._think(intent)
            try:
                ordered = await self._order(place, intent)
            except RefusedError as error:
                self._crowd.trips.refusals[error.code] += 1
                if error.code == "order_open":
                    return await self._follow(error.detail["serial"], intent, None)
                if error.detail.get("next") not in ("choose_gun", "retry"):
                    raise LeaveError(f"refused:{error.code}") from error
                self._drive_off()
                await self._crowd.sleep(5.0 if self._home is None else 1.0)
                continue
            return await self._follow(ordered["serial"], intent, ordered["pay_params"])
        raise LeaveError("no_gun")

    async def _choose(self, intent: Intent) -> Place | None:
        """Look at the stations, go to one, find a free gun, scan it or tap it in the list."""
        stations = (await self._get("/stations", limit="50"))["items"]
        open_ones = [
            (row["id"], 1.0 + row["dc"]["free"] + row["ac"]["free"]) for row in stations if row["is_open"]
        ]
        if not open_ones:
            return None
        await self._think(intent)
        shown = await self._get(f"/stations/{self._dice.weighted(open_ones)}")
        places = [
            place
            for row in shown["guns"]
            if row["can_order"] and (place := self._crowd.free_place(row["pile_code"], row["gun_no"]))
        ]
        if not places:
            return None
        place = self._dice.pick(places)
        if intent.scans:
            found = await self._get("/guns/by-code", text=QR_PREFIX + place.gun_code)
            if found["gun"]["gun_code"] != place.gun_code:
                self._crowd.trips.wrongs["scanned_another_gun"] += 1
        return place

    async def _order(self, place: Place, intent: Intent) -> Json:
        body: Json = {"gun_code": place.gun_code, "amount_fen": intent.amount_fen}
        if intent.limit is not None:
            body["limit"] = intent.limit
        key = self._key("prepay")
        self._mark("prepay")
        ordered = await self._tap("/prepays", body, key, intent)
        self._measure("prepay", "prepay")
        if intent.scans_again:
            await self._scan_again(body, ordered["serial"])
        return ordered

    async def _scan_again(self, body: Json, serial: str) -> None:
        """A second order while the first is open must lead to the first."""
        self._crowd.trips.oddities["second_scan"] += 1
        try:
            await self._post("/prepays", body, self._key("again"))
        except RefusedError as error:
            if error.code != "order_open" or error.detail.get("serial") != serial:
                self._crowd.trips.wrongs[f"second_scan_{error.code}"] += 1
        else:
            self._crowd.trips.wrongs["second_order"] += 1

    # Following it.

    async def _follow(self, serial: str, intent: Intent, params: dict[str, str] | None) -> str:
        """Do what the order's state calls for until it is over."""
        crowd = self._crowd
        state, since = "", 0.0
        async with Watch(self, serial, intent.by_socket) as watch:
            while True:
                session = await watch.look()
                if session["state"] != state:
                    state, since = session["state"], crowd.clock.monotonic()
                self._be_there(session)
                self._note(session)
                if state == "closed" or (state == "cancelled" and _is_paid_back(session)):
                    return self._over(session)
                if session["is_held"] or state == HELD:
                    raise LeaveError("held")
                waited_s = crowd.clock.monotonic() - since
                if waited_s > PATIENCE_S.get(state, 600.0):
                    raise LeaveError(f"left_waiting:{state}")
                await self._act(session, intent, waited_s, params)
                params = None

    async def _act(
        self, session: Json, intent: Intent, waited_s: float, params: dict[str, str] | None
    ) -> None:
        serial = session["serial"]
        match session["state"]:
            case "created":
                await self._pay(serial, intent, params)
            case "funded":
                await self._start(session, intent, waited_s)
            case "starting":
                if intent.plug is Plug.LATE and waited_s >= 10.0:
                    self._plug_in()
            case "charging":
                charged_s = self._crowd.clock.monotonic() - self._charging_since
                if intent.stops_after_s is not None and charged_s >= intent.stops_after_s:
                    await self._stop(serial, intent)
            case "stopping":
                if waited_s > AT_THE_BUTTON_S and self._first("button"):
                    self._crowd.trips.oddities["stopped_at_the_pile"] += 1
                    if self._place is not None:
                        self._place.control.press_stop(self._place.gun_no)

    async def _pay(self, serial: str, intent: Intent, params: dict[str, str] | None) -> None:
        if "paid" in self._done:
            return
        crowd = self._crowd
        if params is None:
            params = (await self._post(f"/prepays/{serial}/pay-params"))["pay_params"]
        await self._think(intent)
        if intent.paying is not Paying.PAYS and self._first("window"):
            crowd.trips.oddities["payment_cancelled"] += 1
            await self._wallet(crowd.wallet.cancel(params))
            if intent.paying is Paying.WALKS_AWAY:
                raise LeaveError("walked_away")
            if intent.paying is Paying.GIVES_UP:
                await self._post(f"/sessions/{serial}/cancel")
                raise LeaveError("cancelled")
            await crowd.sleep(20.0)
            return
        self._mark("pay")
        if not await self._wallet(crowd.wallet.pay(params)):
            crowd.trips.oddities["payment_refused"] += 1
            return
        self._done.add("paid")
        self._measure("pay", "pay")
        self._mark("funded")
        if intent.closes_app:
            crowd.trips.oddities["app_closed"] += 1
            await crowd.sleep(30.0 + 60.0 * self._dice.fraction())
        else:
            await self._post(f"/prepays/{serial}/paid-check")

    async def _start(self, session: Json, intent: Intent, waited_s: float) -> None:
        serial = session["serial"]
        if not self._first("start") and waited_s < START_AGAIN_S:
            return  # it was asked for; what was seen is older than that
        if intent.plug is Plug.FIRST:
            self._plug_in()
        await self._think(intent)
        self._mark("start")
        try:
            await self._tap(f"/sessions/{serial}/start", None, f"start-{serial}", intent)
        except RefusedError as error:
            self._crowd.trips.refusals[error.code] += 1
            if error.detail.get("next") == "retry":
                await self._crowd.sleep(5.0)
            elif error.code not in ("already_started", "order_over") and "wait" not in str(
                error.detail.get("next")
            ):
                await self._post(f"/sessions/{serial}/cancel")
            return
        self._measure("start", "start")
        self._mark("charging")

    async def _stop(self, serial: str, intent: Intent) -> None:
        if self._first("stop"):
            self._mark("bill")
            try:
                await self._tap(f"/sessions/{serial}/stop", None, f"stop-{serial}", intent)
            except RefusedError as error:
                # It may have ended by itself a moment ago.
                self._crowd.trips.refusals[error.code] += 1

    def _note(self, session: Json) -> None:
        """Measure what has just come true."""
        state = session["state"]
        if session["paid_fen"] and self._first("funded"):
            self._measure("funded", "funded")
        if state == "charging" and self._first("charging"):
            self._charging_since = self._crowd.clock.monotonic()
            self._measure("charging", "charging")
        if session["ended_at"] is not None:
            self._marks.setdefault("bill", self._crowd.real_s())
        if session["bill"] is not None and self._first("bill"):
            self._measure("bill", "bill")
            self._mark("refund")

    def _over(self, session: Json) -> str:
        trips = self._crowd.trips
        trips.ended(session)
        if session["paid_fen"] == 0:
            return "cancelled"
        if session["bill"] is None:
            return "start_failed"
        if session["bill"]["energy_e4_kwh"] == 0:
            return "empty"
        if session["refunds"]:
            self._measure("refund", "refund")
        return "charged"

    # The street.

    def _take(self, place: Place) -> None:
        self._place = place
        self._crowd.taken.add(place.gun_code)

    def _be_there(self, session: Json) -> None:
        """An order of an earlier life: the car stands where it was left."""
        if self._place is None and session["state"] not in OVER:
            place = self._crowd.place(session["pile_code"], session["gun_no"])
            if place is not None:
                self._take(place)
                self._is_parked = not place.is_free

    def _plug_in(self) -> None:
        place = self._place
        if place is not None and not self._is_parked and place.is_free:
            soc_e1_pct = round(self._dice.between(60.0, 650.0))
            place.control.plug(place.gun_no, msgspec.structs.replace(self._car, soc_e1_pct=soc_e1_pct))
            self._is_parked = True

    def _drive_off(self) -> None:
        """Unplug, whatever the pile still does, and leave the gun to others."""
        place, self._place = self._place, None
        if place is None:
            return
        if self._is_parked:
            place.control.press_stop(place.gun_no)
            place.control.unplug(place.gun_no)
        self._is_parked = False
        self._crowd.taken.discard(place.gun_code)

    async def _think(self, intent: Intent) -> None:
        if intent.think_s > 0:
            await self._crowd.sleep(intent.think_s)

    # The telephone.

    async def _log_in(self) -> None:
        for attempt in range(REPEATS):
            try:
                await self._phone.log_in(await self._crowd.wallet.code(self.name))
                return
            except UnreachableError:
                if attempt == REPEATS - 1:
                    raise
                await self._crowd.pause(attempt)

    async def get(self, path: str, **query: str) -> Json:
        """Read, as often as it takes."""
        return await self._get(path, **query)

    async def _get(self, path: str, **query: str) -> Json:
        return await self._repeat(lambda: self._phone.get(path, **query))

    async def _post(self, path: str, body: Json | None = None, key: str = "") -> Json:
        return await self._repeat(lambda: self._phone.post(path, body, key))

    async def _tap(self, path: str, body: Json | None, key: str, intent: Intent) -> Json:
        """Press a button; the impatient press it twice, and both must hear the same."""
        if not intent.taps_twice:
            return await self._post(path, body, key)
        self._crowd.trips.oddities["double_tap"] += 1
        answers = await asyncio.gather(
            self._post(path, body, key), self._post(path, body, key), return_exceptions=True
        )
        good = [answer for answer in answers if isinstance(answer, dict)]
        if len(good) == 2 and good[0].get("serial") != good[1].get("serial"):
            self._crowd.trips.wrongs["double_tap_two_orders"] += 1
        if good:
            return good[0]
        raise next(answer for answer in answers if isinstance(answer, BaseException))

    async def _repeat(self, request: Any) -> Json:
        """Repeat a request that got no answer; log in again when the token has ended."""
        for attempt in range(REPEATS):
            try:
                told: Json = await request()
                return told
            except UnreachableError:
                self._crowd.trips.oddities["repeated_request"] += 1
                if attempt == REPEATS - 1:
                    raise
                await self._crowd.pause(attempt)
            except RefusedError as error:
                if error.code == "in_progress":
                    await self._crowd.pause(attempt)
                elif error.code in TOKEN_CODES and attempt == 0:
                    await self._log_in()
                else:
                    raise
        raise UnreachableError("in progress for ever")

    async def _wallet(self, doing: Awaitable[Any]) -> Any:
        try:
            return await doing
        except UnreachableError:
            self._crowd.trips.oddities["wallet_unreachable"] += 1
            await self._crowd.pause(1)
            return False

    def open_socket(self, serial: str) -> Any:
        """The WebSocket of an order."""
        return self._phone.watch(serial)

    @property
    def poll_s(self) -> float:
        """Clock seconds between two looks."""
        return self._crowd.poll_s

    async def wait_a_look(self) -> None:
        """Wait until it is time to look again."""
        await self._crowd.sleep(self._crowd.poll_s)

    def _key(self, what: str) -> str:
        return f"{self.name}-{self._crowd.seed}-{self._crowd.run}-{self._trip_no}-{what}-{self._place_code()}"

    def _place_code(self) -> str:
        return self._place.gun_code if self._place is not None else "-"

    def _first(self, what: str) -> bool:
        """Whether this happens for the first time on this trip."""
        if what in self._done:
            return False
        self._done.add(what)
        return True

    def _mark(self, what: str) -> None:
        self._marks[what] = self._crowd.real_s()

    def _measure(self, step: str, mark: str) -> None:
        began = self._marks.pop(mark, None)
        if began is not None:
            self._crowd.trips.latencies[step].add(self._crowd.real_s() - began)


def _is_paid_back(session: Json) -> bool:
    """Whether all that was paid for an order that never charged has come back."""
    back = sum(refund["fen"] for refund in session["refunds"] if refund["stage"] == "arrived")
    return bool(back >= session["paid_fen"])
