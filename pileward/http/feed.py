"""The live feed for everybody: `GET /api/public/v1/overview`, and `/ws` with a snapshot and then changes.

Events are gathered for a moment and sent together, of each gun only the newest, so that a listener costs the
same however much the piles talk. What waits for one listener is bounded; one that lags is told how many
events it lost and gets a new snapshot.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

import msgspec
from aiohttp import web

from pileward.http import websockets
from pileward.http.api import Access, Api
from pileward.http.node import NODE, Node
from pileward.http.problems import HttpError
from pileward.http.schemas.live import Changes, Counts, Lagged, Snapshot
from pileward.messages import faults
from pileward.messages.live import StationView
from pileward.ports import ALARM_TOPIC, GUN_TOPIC, PILE_TOPIC, Subscription

api = Api("", tag="实时 / live", access=Access.PUBLIC)

GATHER_S: Final = 0.25
"""Changes are sent together this often, real seconds."""
TICK_S: Final = 10.0
"""Something is sent at least this often, so that a listener notices a connection that is gone."""
QUEUE: Final = 20_000
"""Events that may wait in the bus for one listener; they are taken out as they come."""
GATHERED_MAX: Final = 20_000
"""Events gathered for one listener while it takes nothing; beyond, it lags."""
SHOWN_GUNS: Final = 4_000
"""Guns in a snapshot; beyond, the rest is only counted."""


LOOKS_PER_S: Final = 2.0
LOOKS_BURST: Final = 30
"""Snapshots that one address may ask for; many people may share one."""


class _About(msgspec.Struct, frozen=True):
    """What an event is about: enough to keep only the newest of one gun."""

    type: str
    pile_code: str
    gun_no: int | None = None


_about = msgspec.json.Decoder(_About)
_encoder = msgspec.json.Encoder()


@api.get(
    "/api/public/v1/overview",
    summary="全部站、桩、枪的当前状态 / every station, pile and gun now",
    problems=(429,),
)
async def get_overview(request: web.Request) -> Snapshot:
    """The same snapshot that `/ws` begins with."""
    await _admit(request)
    return take_snapshot(request.app[NODE])


@api.get("/ws", summary="实时推送（WebSocket）/ live feed (WebSocket)", status=101, problems=(426, 429))
async def watch_feed(request: web.Request) -> web.WebSocketResponse:
    """A snapshot, then changes, as JSON text messages; nothing is expected from the client."""
    await _admit(request)
    node = request.app[NODE]
    socket = await websockets.open_socket(request)
    async with node.bus.subscribe(GUN_TOPIC, PILE_TOPIC, ALARM_TOPIC, limit=QUEUE) as events:
        gathered = _Gathered(events)
        await websockets.serve(request, gathered.take_in(), _tell(socket, node, gathered), socket=socket)
    return socket


async def _admit(request: web.Request) -> None:
    """Anybody may look, yet a snapshot costs something: so many a second for each address."""
    if not await request.app[NODE].bus.allow(f"overview:{request.remote}", LOOKS_PER_S, LOOKS_BURST):
        raise HttpError("too_many_requests", headers={"Retry-After": "2"})


def take_snapshot(node: Node) -> Snapshot:
    """Everything as it is now; does not wait, so nothing can change in between."""
    stations = node.snapshot()
    shown = _first_guns(stations)
    is_partial = shown is not stations
    pile_counts, gun_counts = _counts(node) if is_partial else _count(stations)
    clock = node.engine.clock
    return Snapshot(
        at=clock.utc(),
        rate=clock.rate,
        stations=shown,
        events=list(node.recent_events()),
        pile_counts=pile_counts,
        gun_counts=gun_counts,
        is_partial=is_partial,
        fault_texts={code: (fault.text_zh, fault.text_en) for code, fault in faults.FAULTS.items()},
    )


class _Gathered:
    """Events for one listener since it was last told, of each gun only the newest."""

    def __init__(self, events: Subscription) -> None:
        self._events = events
        self._newest: dict[Any, bytes] = {}
        self._overflow = 0
        self._numbers = itertools.count()
        self.some = asyncio.Event()

    async def take_in(self) -> None:
        """Gather until the feed ends."""
        async for topic, payload in self._events:
            try:
                about = _about.decode(payload)
            except msgspec.DecodeError:
                continue  # from a node of another version; nothing that this one could show
            if topic == GUN_TOPIC:
                key: Any = (about.pile_code, about.gun_no)
                # Put back at the end, so that all goes out in the order of the last change.
                self._newest.pop(key, None)
            else:
                key = next(self._numbers)
            self._newest[key] = payload
            if len(self._newest) > GATHERED_MAX:
                self._overflow += len(self._newest)
                self._newest.clear()
            self.some.set()

    def take(self) -> tuple[list[bytes], int]:
        """What was gathered, and how many events were lost before it."""
        events, self._newest = list(self._newest.values()), {}
        lost, self._overflow = self._overflow + self._events.take_lost(), 0
        self.some.clear()
        return events, lost


async def _tell(socket: web.WebSocketResponse, node: Node, gathered: _Gathered) -> None:
    """Send a snapshot, then what is gathered, and a sign of life when nothing is."""
    snapshot = take_snapshot(node)
    shown = _codes(snapshot)
    await websockets.send(socket, _encoder.encode(snapshot))
    while True:
        try:
            async with asyncio.timeout(TICK_S):
                await gathered.some.wait()
            await asyncio.sleep(GATHER_S)
        except TimeoutError:
            pass
        events, lost = gathered.take()
        now = node.engine.clock.utc()
        if lost:
            await websockets.send(socket, _encoder.encode(Lagged(now, lost)))
            snapshot = take_snapshot(node)
            shown = _codes(snapshot)
            await websockets.send(socket, _encoder.encode(snapshot))
            continue
        if shown is not None:
            events = [event for event in events if _about.decode(event).pile_code in shown]
        await websockets.send(socket, _encoder.encode(Changes(now, [msgspec.Raw(event) for event in events])))
        if shown is not None:
            await websockets.send(socket, _encoder.encode(Counts(now, *_counts(node))))


def _codes(snapshot: Snapshot) -> set[str] | None:
    """Piles of a partial snapshot, whose changes alone are sent; None: all are shown."""
    if not snapshot.is_partial:
        return None
    return {pile.pile_code for station in snapshot.stations for pile in station.piles}


def _count(stations: Sequence[StationView]) -> tuple[dict[str, int], dict[str, int]]:
    """Piles and guns by state."""
    piles = [pile for station in stations for pile in station.piles]
    return (
        dict(Counter(pile.state for pile in piles)),
        dict(Counter(gun.state for pile in piles for gun in pile.guns)),
    )


def _counts(node: Node) -> tuple[dict[str, int], dict[str, int]]:
    """All piles and guns by state, as the actors count them: costs the same however many there are."""
    return _by_word(node.metrics.piles), _by_word(node.metrics.guns)


def _by_word(counts: Mapping[Any, int]) -> dict[str, int]:
    return {(key.name if isinstance(key, Enum) else str(key)).lower(): n for key, n in counts.items() if n}


def _first_guns(stations: Sequence[StationView]) -> Sequence[StationView]:
    """As many piles, in order, as have `SHOWN_GUNS` guns; the same object when those are all."""
    room = SHOWN_GUNS
    shown: list[StationView] = []
    is_partial = False
    for station in stations:
        piles = []
        for pile in station.piles:
            room -= len(pile.guns)
            if room < 0:
                is_partial = True
                break
            piles.append(pile)
        if piles or not station.piles:
            shown.append(msgspec.structs.replace(station, piles=tuple(piles)))
        if is_partial:
            break
    return shown if is_partial else stations
