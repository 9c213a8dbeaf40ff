"""The actor of one connection: bytes to messages for its piles, their downlinks to bytes.

It knows which piles have logged in here and nothing of what they do. One dict lookup leads a frame to its
pile. Damage is counted and never reaches a pile; limits decide when the connection has to go. When its own
handler fails it closes the socket: a pile that reconnects is the cleanest state there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec
from thespian.actors import ActorExitRequest

from pileward.actors.connection_messages import Closed, PileUnlinked, Socket, Watch
from pileward.actors.pile_commands import moment
from pileward.actors.pile_state import LinkLost, LoginAsked
from pileward.actors.store_messages import Save
from pileward.actors.supervised import Quarantined, Supervised, TimerFired
from pileward.actors.surroundings import Surroundings
from pileward.codecs.base import Dialect, FrameError, Garbage, NotSupported, OnFrame
from pileward.logs import logger
from pileward.messages import downlinks as down
from pileward.messages import uplinks as up
from pileward.messages.events import FrameSeen
from pileward.messages.uplinks import Login, Malformed
from pileward.ports import tail_topic
from pileward.services.discovered import SaveDiscovered
from pileward.services.pile_facts import LoginFacts
from pileward.values import is_code_of

log = logger(__name__)

INBOX_PAUSE: Final = 64
"""A pile with more messages than this waiting has its socket paused."""
PAUSE_CHECK_S: Final = 0.1
CHUNK: Final = 4_096
"""Bytes decoded at once; sockets deliver up to 256 KiB."""
HEARTBEATS_A_SAMPLE: Final = 8
"""One heartbeat in so many is timed for the histogram."""
PILES_MAX: Final = 2_000
"""Piles behind one connection (a concentrator); more logins are refused."""
WATCH_MAX_S: Final = 3_600
REFUSED_STAYS_S: Final = 5.0
"""A connection without any pile left after a refused login is closed this much later."""
PILES_NAMED: Final = 10
"""Piles of one connection that a log line names."""


class Limits(msgspec.Struct, frozen=True):
    """What one connection may do; named in the settings under `limits`."""

    bytes_before_login: int = 4_096
    login_within_s: float = 60.0
    damaged_in_a_row: int = 10
    frames_per_s: float = 200.0
    frames_burst: int = 1_000


class ConnectionStart(msgspec.Struct, frozen=True):
    """Start argument of a connection actor."""

    socket: Any
    protocol: str
    make_dialect: Callable[[OnFrame], Dialect]
    around: Any
    limits: Limits
    routes: dict[str, Any] = msgspec.field(default_factory=dict)
    """Pile code to the address of its actor, filled by logins; outlives a failed instance of the actor."""


class ConnectionActor(Supervised):
    """One socket, and the piles that speak through it."""

    mailbox_limit = 16_384

    def __init__(self, requirements: ConnectionStart) -> None:
        self.socket: Socket = requirements.socket
        self.around: Surroundings = requirements.around
        self.turn = requirements.around.turn
        self.limits = requirements.limits
        self.protocol = requirements.protocol
        self.dialect: Dialect = requirements.make_dialect(self._frame_seen)
        self.routes = requirements.routes
        self.admitted = 0
        self.damaged = 0
        self.early_bytes = 0
        self.frames = 0
        self.quota = float(requirements.limits.frames_burst)
        self.quota_at = 0.0
        self.is_partial = False
        self.is_paused = False
        self.resume_at = 0.0
        self.watched: dict[str, float] | None = None
        self.told: Counter[tuple[str, str]] | None = None
        metrics = requirements.around.metrics
        self.counts_up = metrics.frame_counts(self.protocol, "up")
        self.counts_down = metrics.frame_counts(self.protocol, "down")

    def started(self, restarted: bool) -> None:
        """Begin to wait for a login; after a failure, close."""
        self._clock = self.clock
        if restarted:
            self.socket.close("failed")
            return
        self.quota_at = self._clock.monotonic()
        self.arm("login", self.limits.login_within_s)

    def receiveMessage(self, message: Any, sender: Any) -> None:
        """Handle one message."""
        kind = type(message)
        if kind is bytes:
            self._received(message)
        elif kind in _DOWNLINKS:
            self._send_down(message)
        elif kind is TimerFired:
            self._timer(message.name)
        elif kind is Closed:
            self._closed(message.reason)
        elif kind is PileUnlinked:
            self._unlink(message.pile_code, message.reason)
        elif kind is Watch:
            self._watch(message)
        elif kind is Quarantined:
            self._turn_away(sender)

    # --- up ---------------------------------------------------------------------------------------------

    def _received(self, data: bytes) -> None:
        if not self.admitted and not self._may_speak(len(data)):
            return
        if len(data) <= CHUNK:
            self._take(data)
        else:
            # a flood of garbage is cut short by the limit on damage, not decoded to its end
            for start in range(0, len(data), CHUNK):
                if self.damaged < self.limits.damaged_in_a_row:
                    self._take(data[start : start + CHUNK])
        if self.frames > self.quota:
            self._spend(self.turn.s)
        if self.dialect.is_waiting and not self.is_partial:
            self._await_rest()

    def _take(self, data: bytes) -> None:
        """Hand each message to its pile: one lookup a frame."""
        items = self.dialect.receive(data, self.turn.s)
        self.frames += len(items)
        for item in items:
            if isinstance(item, Garbage):
                self._damaged(item)
                continue
            kind = type(item)
            self.damaged = 0
            self.counts_up[kind] += 1
            address = self.routes.get(item.pile_code)
            if kind is Login:
                self._login(item)  # type: ignore[arg-type]  # its exact type was just looked at
            elif address is None:
                self._misplaced(item)
            else:
                self._myRef.actor_send(address, item)
                if address.room < INBOX_ROOM:
                    self._hold_back()
                if kind in _DOUBTED and (kind is Malformed or item.problems):  # type: ignore[attr-defined]
                    self._implausible(item)

    def _await_rest(self) -> None:
        """Wait for the rest of a partial frame, but not for ever."""
        deadline = self.dialect.partial_deadline()
        if deadline is not None:
            self.is_partial = True
            self.arm("partial", max(deadline - self.turn.s, 0.0))

    def _frame_seen(self, raw: bytes, pile_code: str) -> None:
        self.around.tail.append(pile_code, "up", raw, self.turn.ms)
        if self.watched:
            self._publish_frame(pile_code, "up", raw, "")

    def _login(self, login: Login) -> None:
        code = login.pile_code
        around = self.around
        if code in around.quarantined:
            self._refuse(login, "quarantined")
            return
        address = around.piles.get(code)
        if address is None:
            if is_code_of(self.protocol, code):
                self._discover(login)
            self._refuse(login, "unknown_pile")
        elif code not in self.routes and len(self.routes) >= PILES_MAX:
            self._refuse(login, "too_many_piles")
        else:
            # a login that is repeated while it waits has its turn already
            wait_s = 0.0 if code in self.routes else around.admission.wait_s(self.turn.s)
            self.routes[code] = address
            pile = around.seen.get(code)
            if pile is not None:
                self.dialect.adapt(code, pile.config.settings.crc_order)
            self.send(address, LoginAsked(login, self.myAddress, self.socket.remote_address, wait_s))

    def _refuse(self, login: Login, reason: str) -> None:
        self.around.metrics.logins_refused[reason] += 1
        log.info("login_refused", pile=login.pile_code, reason=reason, peer=self.socket.remote_address)
        self._send_down(down.LoginAnswer(login.pile_code, login.wire_seq, False))

    def _discover(self, login: Login) -> None:
        facts = LoginFacts(
            device_kind=login.device_kind,
            gun_count=login.gun_count,
            protocol_version=login.protocol_version,
            software_version=login.software_version,
            network=login.network,
            iccid=login.iccid,
            carrier=login.carrier,
            remote_address=self.socket.remote_address,
        )
        seen = SaveDiscovered(login.pile_code, self.protocol, facts, moment(self.clock.epoch_ms()))
        self.send(self.around.store, Save(0, seen))

    def _damaged(self, garbage: Garbage) -> None:
        self.around.metrics.garbage[garbage.reason] += 1
        self.damaged += 1
        code = next(iter(self.routes), "")
        self.around.tail.append(code, "up", garbage.raw, self.clock.epoch_ms(), garbage.reason)
        if self.watched:
            self._publish_frame(code, "up", garbage.raw, garbage.reason)
        if self.damaged in (1, self.limits.damaged_in_a_row):
            log.warning(
                "damaged_frame",
                pile=code,
                reason=garbage.reason,
                in_a_row=self.damaged,
                bytes=len(garbage.raw),
                peer=self.socket.remote_address,
            )
        if self.damaged >= self.limits.damaged_in_a_row:
            self.socket.close("damaged_frames")

    def _misplaced(self, item: Any) -> None:
        """A good frame of a pile that has not logged in here: counted, not answered (YKC 1.6, 1)."""
        reason = "other_pile" if self.admitted else "before_login"
        self.around.metrics.misplaced[reason] += 1
        self._tell("misplaced_frame", item.pile_code, reason=reason, message=type(item).__name__)

    def _implausible(self, item: Any) -> None:
        """Impossible values were left out by the dialect; a frame that is useless without them is dropped."""
        problems = (item.reason,) if type(item) is Malformed else item.problems
        for problem in problems:
            self.around.metrics.implausible[problem.partition("=")[0]] += 1
        gun_no = getattr(item, "gun_no", None)
        self._tell("implausible_values", item.pile_code, gun=gun_no, problems=list(problems))

    def _tell(self, event: str, pile_code: str, **words: Any) -> None:
        """Log what a peer does wrong: the first time, the tenth, the hundredth, so that no log is flooded."""
        if self.told is None:
            self.told = Counter()
        key = (event, pile_code if pile_code in self.routes else "")
        self.told[key] += 1
        times = self.told[key]
        if str(times).strip("0") == "1":
            log.warning(event, pile=pile_code, times=times, peer=self.socket.remote_address, **words)

    # --- limits -----------------------------------------------------------------------------------------

    def _spend(self, now: float) -> None:
        """More frames than the allowance: refill it by the time that has passed, and wait for the rest."""
        rate = self.limits.frames_per_s
        self.quota = min(self.quota + (now - self.quota_at) * rate, self.frames + self.limits.frames_burst)
        self.quota_at = now
        excess = self.frames - self.quota
        if excess > 0:
            self.around.metrics.misplaced["too_many_frames"] += 1
            self._tell("too_many_frames", next(iter(self.routes), ""), reason="rate", pause_s=excess / rate)
            self._pause(excess / rate)

    def _may_speak(self, size: int) -> bool:
        """Before a login only so many bytes are looked at."""
        self.early_bytes += size
        if self.early_bytes <= self.limits.bytes_before_login:
            return True
        self.socket.close("too_much_before_login")
        return False

    def _hold_back(self) -> None:
        self._pause(PAUSE_CHECK_S)

    def _pause(self, for_s: float) -> None:
        """Stop reading; a pause for another reason may make it longer, never shorter."""
        until = self.turn.s + for_s
        if not self.is_paused or until > self.resume_at:
            self.resume_at = until
            self.arm("resume", for_s)
        self.is_paused = True
        self.socket.pause()

    def _resume(self) -> None:
        """Read on, unless a pile of this connection still lags."""
        if any(address.room < INBOX_ROOM for address in self.routes.values()):
            self.resume_at = self.turn.s + PAUSE_CHECK_S
            self.arm("resume", PAUSE_CHECK_S)
            return
        self.is_paused = False
        self.dialect.excuse(self.turn.s)
        self.socket.resume()
        if self.dialect.is_waiting:
            self._await_rest()

    def _timer(self, name: str) -> None:
        if name == "login":
            if not self.admitted:
                self.socket.close("no_login")
        elif name == "refused":
            if not self.routes:
                self.socket.close("login_refused")
        elif name == "resume":
            self._resume()
        elif name == "partial":
            self.is_partial = False
            if not self.is_paused:  # else its rest is perhaps there, and not read
                self._received(b"")

    # --- down -------------------------------------------------------------------------------------------

    def _send_down(self, downlink: down.Downlink) -> None:
        kind = type(downlink)
        try:
            data = self.dialect.send(downlink)
        except (NotSupported, FrameError) as error:
            self.around.metrics.misplaced[f"unsendable:{kind.__name__}"] += 1
            log.error("downlink_not_sent", pile=downlink.pile_code, message=kind.__name__, error=str(error))
            return
        self.socket.write(data)
        self.counts_down[kind] += 1
        if kind is down.HeartbeatAnswer:
            # answered within the run that took the heartbeat: its own moment is near enough, and cheap
            self.around.tail.append(downlink.pile_code, "down", data, self.turn.ms)
            if not self.frames % HEARTBEATS_A_SAMPLE:
                self.around.metrics.heartbeat_s.observe(self._clock.monotonic() - self.turn.s)
            if self.watched:
                self._publish_frame(downlink.pile_code, "down", data, "")
            return
        self.around.tail.append(downlink.pile_code, "down", data, self.clock.epoch_ms())
        if kind is down.LoginAnswer:
            self._login_answered(downlink)  # type: ignore[arg-type]
        if self.watched:
            self._publish_frame(downlink.pile_code, "down", data, "")

    def _login_answered(self, answer: down.LoginAnswer) -> None:
        if answer.is_accepted:
            self.admitted += 1
            self.around.metrics.logins_accepted += 1
            if self.admitted == 1:
                self.disarm("login")
            return
        self.routes.pop(answer.pile_code, None)
        if not self.routes:
            # others may be about to log in on this line, behind the one that may not
            self.arm("refused", REFUSED_STAYS_S)

    # --- piles come and go ------------------------------------------------------------------------------

    def _unlink(self, pile_code: str, reason: str) -> None:
        if self.routes.pop(pile_code, None) is not None and not self.routes:
            self.socket.close(reason)

    def _turn_away(self, address: Any) -> None:
        """A pile whose actor is in quarantine: its frames would only be thrown away."""
        for code in [code for code, route in self.routes.items() if route is address]:
            self._send_down(down.LoginAnswer(code, 0, False))

    def _closed(self, reason: str) -> None:
        log.info(
            "connection_closed",
            piles=list(self.routes)[:PILES_NAMED],
            reason=reason,
            peer=self.socket.remote_address,
        )
        lost = LinkLost(self.myAddress, reason)
        for address in set(self.routes.values()):
            self.send(address, lost)
        self.send(self.myAddress, ActorExitRequest())

    # --- looking inside ---------------------------------------------------------------------------------

    def _watch(self, message: Watch) -> None:
        if self.watched is None:
            self.watched = {}
        for_s = min(message.for_s, WATCH_MAX_S)
        self.watched[message.pile_code] = self.clock.monotonic() + for_s
        now_ms = self.clock.epoch_ms()
        self.around.tail.watch(message.pile_code, now_ms + for_s * 1_000, now_ms)

    def _publish_frame(self, pile_code: str, direction: str, raw: bytes, damage: str) -> None:
        assert self.watched is not None
        until = self.watched.get(pile_code)
        if until is None:
            return
        if self.clock.monotonic() > until:
            del self.watched[pile_code]
            return
        topic = tail_topic(pile_code)
        if self.around.bus.has_subscribers(topic):
            seen = FrameSeen(pile_code, direction, raw.hex().upper(), moment(self.clock.epoch_ms()), damage)
            self.around.bus.publish(topic, msgspec.json.encode(seen))

    def inspect(self) -> dict[str, Any]:
        """What the connection carries, for people."""
        return {
            "state": "serving" if self.admitted else "waiting_for_login",
            "peer": self.socket.remote_address,
            "protocol": self.protocol,
            "piles": list(self.routes)[:100],
            "piles_count": len(self.routes),
            "frames": self.frames,
            "damaged_in_a_row": self.damaged,
            "watched": list(self.watched) if self.watched else [],
        }


INBOX_ROOM: Final = 4_096 - INBOX_PAUSE
"""Free places in a pile's mailbox below which its socket is paused (`PileActor.mailbox_limit`)."""

_DOUBTED: Final = frozenset(
    kind
    for kind in vars(up).values()
    if isinstance(kind, type)
    and issubclass(kind, up.Uplink)
    and (kind is Malformed or "problems" in kind.__struct_fields__)
)
"""Uplinks that may carry impossible values."""

_DOWNLINKS: Final = frozenset(
    kind for kind in vars(down).values() if isinstance(kind, type) and issubclass(kind, down.Downlink)
)
