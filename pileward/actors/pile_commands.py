"""Commands on their way to a pile: sent with a deadline, repeated a few times, answered once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import replace

from pileward.actors.effects import NOTHING, Arm, Disarm, Effects, Raise, Reply
from pileward.actors.gun_machine import GONE
from pileward.actors.pile_state import (
    ATTEMPTS_MAX,
    REPLY_WITHIN_S,
    TARIFF_RETRY_S,
    Pending,
    Pile,
    ReadDue,
    ReplyDue,
)
from pileward.messages import downlinks as down
from pileward.messages.commands import Outcome
from pileward.messages.uplinks import QrPrefixAnswer, RebootAnswer, WorkSettingsAnswer
from pileward.values import ResultStatus, Severity, TariffModel

Step = tuple[Pile, Effects]

OFFLINE: Final = Outcome(ResultStatus.OFFLINE, "pile_offline", "充电桩离线 / the pile is offline")
TIMED_OUT: Final = Outcome(ResultStatus.TIMED_OUT, "no_answer", "充电桩未应答 / the pile did not answer")
ACCEPTED: Final = Outcome(ResultStatus.ACCEPTED)


def moment(now: int) -> datetime:
    """Epoch milliseconds as an aware UTC datetime."""
    return datetime.fromtimestamp(now / 1000, UTC)


def pending(pile: Pile, kind: str) -> Pending | None:
    """The command of this kind that is on its way."""
    return next((entry for entry in pile.pending if entry.kind == kind), None)


def answer(pile: Pile, kind: str, *, is_ok: bool, reason: str = "", detail: str = "") -> Step:
    """The pile answered a command of this kind; nothing happens when none was on its way."""
    entry = pending(pile, kind)
    if entry is None:
        return pile, NOTHING
    pile = _without(pile, kind)
    effects: Effects = (Disarm(f"reply:{kind}"),)
    if entry.command_id is not None:
        outcome = ACCEPTED if is_ok else Outcome(ResultStatus.REJECTED, reason, detail)
        effects += (Reply(entry.command_id, outcome),)
    return pile, effects


def miss_reply(pile: Pile, event: ReplyDue, now: int) -> Step:
    """No answer in time: send again while attempts are left, then the command has timed out."""
    entry = pending(pile, event.kind)
    if entry is None:
        return pile, NOTHING
    if entry.attempts_left > 0:
        downlink = entry.downlink
        if isinstance(downlink, down.SetClock):
            downlink = replace(downlink, time=moment(now))
        again = replace(entry, attempts_left=entry.attempts_left - 1, downlink=downlink)
        pile = _without(pile, event.kind)
        pile = replace(pile, pending=(*pile.pending, again))
        return pile, (downlink, Arm(f"reply:{event.kind}", REPLY_WITHIN_S))
    pile = _without(pile, event.kind)
    effects: Effects = _GIVEN_UP.get(event.kind, NOTHING)
    if entry.command_id is not None:
        effects += (Reply(entry.command_id, TIMED_OUT),)
    return pile, effects


def drop_all(pile: Pile) -> Step:
    """The connection is gone: every waiting command ends as offline."""
    if not pile.pending:
        return pile, NOTHING
    effects: Effects = NOTHING
    for entry in pile.pending:
        effects += (Disarm(f"reply:{entry.kind}"),)
        if entry.command_id is not None:
            effects += (Reply(entry.command_id, OFFLINE),)
    return replace(pile, pending=()), effects


def set_clock(pile: Pile, time: datetime, command_id: int | None) -> Step:
    """Set the pile's clock (0x56); a setting already on its way is left alone."""
    if pending(pile, "clock") is not None:
        return pile, NOTHING
    return send(pile, "clock", down.SetClock(pile.code, None, time), command_id)


def send_tariff(pile: Pile, model: TariffModel, command_id: int | None) -> Step:
    """Push a tariff (0x58)."""
    pile = replace(pile, is_push_wanted=False)
    return send(pile, "tariff", down.SetTariff(pile.code, None, model), command_id)


def send_qr_prefix(pile: Pile) -> Step:
    """Tell the pile, which forgets it without power, what its QR codes begin with, if that is set (0xF0)."""
    prefix = pile.config.qr_prefix
    if not prefix:
        return pile, NOTHING
    return send(pile, "qr_prefix", down.SetQrPrefix(pile.code, None, prefix, True), None)


def read_all(pile: Pile) -> Step:
    """Ask every gun for telemetry, without waiting for each answer."""
    return pile, tuple(down.ReadTelemetry(pile.code, None, gun.gun_no) for gun in pile.guns)


def read_unheard(pile: Pile, _: ReadDue, __: int) -> Step:
    """Ask the guns that have not reported since the login (YKC 1.6, 0x12)."""
    silent = tuple(gun.gun_no for gun in pile.guns if gun.state in GONE)
    return pile, tuple(down.ReadTelemetry(pile.code, None, gun_no) for gun_no in silent)


def take_reboot(pile: Pile, event: RebootAnswer, _: int) -> Step:
    """The pile takes or refuses a reboot (0x91)."""
    return answer(pile, "reboot", is_ok=event.is_ok, reason="refused_by_pile")


def take_service(pile: Pile, event: WorkSettingsAnswer, _: int) -> Step:
    """The pile takes or refuses its working parameters (0x51)."""
    return answer(pile, "service", is_ok=event.is_ok, reason="refused_by_pile")


def take_qr_prefix(pile: Pile, event: QrPrefixAnswer, _: int) -> Step:
    """An answer to the prefix: sources disagree on the value for success, so any will do (YKC 1.6, 12)."""
    return answer(pile, "qr_prefix", is_ok=True, detail=f"{event.result}")


def _without(pile: Pile, kind: str) -> Pile:
    return replace(pile, pending=tuple(entry for entry in pile.pending if entry.kind != kind))


def send(pile: Pile, kind: str, downlink: down.Downlink, command_id: int | None) -> Step:
    """Send a command and wait for its answer; the caller has seen that none of its kind is on its way."""
    entry = Pending(kind, downlink, ATTEMPTS_MAX - 1, command_id)
    pile = replace(pile, pending=(*pile.pending, entry))
    return pile, (downlink, Arm(f"reply:{kind}", REPLY_WITHIN_S))


_GIVEN_UP: Final[dict[str, tuple[Any, ...]]] = {
    "clock": (
        Raise("clock_unset", Severity.WARNING, "对时无应答", "the pile does not answer to setting its clock"),
    ),
    "tariff": (
        Raise(
            "tariff_failed", Severity.FAULT, "计费模型下发无应答", "the pile does not answer to its tariff"
        ),
        Arm("tariff", TARIFF_RETRY_S),
    ),
}
