"""Frames of a pile: the last ones, live, and decoding on demand."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.actors.engine import AskError
from pileward.actors.frame_tail import TailFrame
from pileward.codecs.ykc import text
from pileward.http import websockets
from pileward.http.admin.common import PilePath, own_actor
from pileward.http.api import Access, Api
from pileward.http.node import NODE, Node
from pileward.http.problems import InvalidFieldError
from pileward.http.schemas.debug import (
    DecodeBody,
    Decoded,
    FrameRow,
    Frames,
    TailFrames,
    TailStarted,
)
from pileward.messages.commands import Outcome, WatchFrames
from pileward.messages.events import FrameSeen
from pileward.ports import Subscription, tail_topic

api = Api("/debug", tag="调试 / debug", access=Access.OPERATOR_BROWSER)

FRAMES_MAX: Final = 1_000
"""Frames in one answer; they are decoded one by one, and sockets of piles wait meanwhile."""
HEX_MAX: Final = 200_000
"""Digits that are decoded in one request."""
WATCH_S: Final = 600
"""A watch is asked for so long, in clock seconds, and asked for again in time while somebody looks."""
GATHER_S: Final = 0.2
TICK_S: Final = 10.0
ASK_S: Final = 3.0
QUEUE: Final = 2_000

_SEPARATORS: Final = re.compile(r"0[xX]|[:,;\-\s]+")
"""What people and tools put between digits."""

_seen = msgspec.json.Decoder(FrameSeen)
_encoder = msgspec.json.Encoder()


class FramesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many frames."""

    limit: Annotated[int, Meta(ge=1, le=FRAMES_MAX, description="帧数 / frames")] = 50


class DecodeQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Frames to decode, in the address."""

    hex: Annotated[str, Meta(max_length=4_000, description="十六进制报文 / frames, hexadecimal")]
    protocol: Annotated[str, Meta(max_length=16)] = "ykc"


@api.get("/piles/{pile_code}/frames", summary="最近报文 / last frames of a pile", problems=(404,))
async def list_frames(request: web.Request, path: PilePath, query: FramesQuery) -> Frames:
    """The last frames in both directions that memory still holds, oldest first, hexadecimal and decoded."""
    await own_actor(request, path.pile_code)
    return Frames(path.pile_code, _last(request.app[NODE], path.pile_code, query.limit))


@api.get(
    "/piles/{pile_code}/tail",
    summary="实时报文（WebSocket）/ live frames (WebSocket)",
    status=101,
    problems=(404, 426),
)
async def tail_frames(request: web.Request, path: PilePath) -> web.WebSocketResponse:
    """Every frame of the pile as it passes. The pile is watched while somebody looks, and no longer."""
    node = request.app[NODE]
    address = await own_actor(request, path.pile_code)
    socket = await websockets.open_socket(request)
    async with node.bus.subscribe(tail_topic(path.pile_code), limit=QUEUE) as events:
        tail = _Tail(node, address, path.pile_code, events, socket)
        await websockets.serve(request, tail.keep_watching(), tail.take_in(), tail.tell(), socket=socket)
    return socket


@api.get("/decode", summary="解析报文 / decode frames")
async def decode_query(request: web.Request, query: DecodeQuery) -> Decoded:
    """Decode what is given in the address; see POST for more of it."""
    return _decode(query.hex, query.protocol, "query")


@api.post("/decode", summary="解析报文 / decode frames")
async def decode_frames(request: web.Request, body: DecodeBody) -> Decoded:
    """Decode one or several frames; garbage between them is shown as such."""
    return _decode(body.hex, body.protocol, "body")


class _Tail:
    """The live tail of one pile for one listener."""

    def __init__(
        self, node: Node, address: Any, pile_code: str, events: Subscription, socket: web.WebSocketResponse
    ) -> None:
        self._node = node
        self._address = address
        self._pile_code = pile_code
        self._events = events
        self._socket = socket
        self._rows: list[FrameRow] = []
        self._lost = 0
        self._some = asyncio.Event()

    async def keep_watching(self) -> None:
        """Ask the pile again in time; a pile that was offline, or comes back on a new link, is watched
        too.
        """
        pause = min(self._node.engine.clock.real_s(WATCH_S) / 2, 5.0)
        while True:
            await asyncio.sleep(pause)
            await self._watch()

    async def take_in(self) -> None:
        """Collect frames until the feed ends."""
        async for _, payload in self._events:
            frame = _seen.decode(payload)
            self._rows.append(row_of(frame.at, frame.direction, bytes.fromhex(frame.hex), frame.damage))
            if len(self._rows) > QUEUE:
                self._lost += len(self._rows)
                self._rows.clear()
            self._some.set()

    async def tell(self) -> None:
        """Say what is known, then what comes."""
        outcome = await self._watch()
        first = TailStarted(self._now(), self._pile_code, outcome, _last(self._node, self._pile_code, 50))
        await websockets.send(self._socket, _encoder.encode(first))
        while True:
            try:
                async with asyncio.timeout(TICK_S):
                    await self._some.wait()
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                pass
            self._some.clear()
            rows, self._rows = self._rows, []
            lost, self._lost = self._lost + self._events.take_lost(), 0
            await websockets.send(self._socket, _encoder.encode(TailFrames(self._now(), rows, lost)))

    async def _watch(self) -> str:
        """Have the pile's frames published; the outcome's word, or what went wrong."""
        try:
            outcome = await self._node.engine.ask_async(self._address, WatchFrames(WATCH_S), ASK_S)
        except AskError as error:
            return type(error).__name__
        return outcome.status.value if isinstance(outcome, Outcome) else type(outcome).__name__

    def _now(self) -> datetime:
        return self._node.engine.clock.utc()


def row_of(at: datetime, direction: str, raw: bytes, damage: str) -> FrameRow:
    """One frame for people; what cannot be decoded says so in `decoded`."""
    return FrameRow(at, direction, raw.hex(), damage, text.describe(raw))


def _last(node: Node, pile_code: str, limit: int) -> list[FrameRow]:
    return [_kept(frame) for frame in node.tail.last(pile_code, limit)]


def _kept(frame: TailFrame) -> FrameRow:
    at = datetime.fromtimestamp(frame.epoch_ms / 1000, UTC)
    return row_of(at, frame.direction, frame.raw, frame.garbage_reason or "")


def _decode(digits: str, protocol: str, where: str) -> Decoded:
    if protocol != "ykc":
        raise InvalidFieldError("protocol", "只支持 ykc", "only ykc is known", where)
    if len(digits) > HEX_MAX:
        raise InvalidFieldError("hex", f"最多 {HEX_MAX} 位", f"at most {HEX_MAX} digits", where)
    try:
        raw = bytes.fromhex(_SEPARATORS.sub(" ", digits))
    except ValueError:
        raise InvalidFieldError("hex", "不是十六进制", "is not hexadecimal", where) from None
    if not raw:
        raise InvalidFieldError("hex", "为空", "is empty", where)
    items = text.describe_all(raw)
    return Decoded(items, text.explain(raw) if len(items) == 1 else [])
