"""What edges ask of a pile: each command begins here and ends with exactly one outcome.

One command of a kind is on its way at a time; a second one is refused with `in_progress`. The outcome is
one of accepted, scheduled, rejected, timed out, offline: never silence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pileward.actors import pile_tariff as tariff
from pileward.actors.effects import NOTHING, Effects, Reply
from pileward.actors.pile_commands import OFFLINE, moment, pending, send
from pileward.actors.pile_state import LIMIT_PCT_MAX, LIMIT_PCT_MIN, CommandAsked, Pile
from pileward.messages import commands as ask
from pileward.messages import downlinks as down
from pileward.messages.commands import Outcome
from pileward.values import ResultStatus

Step = tuple[Pile, Effects]
Begun = tuple[Pile, Effects, Outcome | None]
"""The pile, what to do, and the outcome if it is already decided."""

IN_PROGRESS: Final = Outcome(
    ResultStatus.REJECTED, "in_progress", "同类命令正在执行 / a command of this kind is on its way"
)


def begin(pile: Pile, event: CommandAsked, now: int) -> Step:
    """Start what an edge asked for."""
    pile, effects, outcome = _BEGIN[type(event.command)](pile, event, now)
    if outcome is not None:
        effects = (*effects, Reply(event.command_id, outcome))
    return pile, effects


def refuse_offline(pile: Pile, event: CommandAsked, _: int) -> Step:
    """A pile that is not online gets no commands; the edge is told at once."""
    return pile, (Reply(event.command_id, OFFLINE),)


def _simple(pile: Pile, kind: str, downlink: down.Downlink, command_id: int) -> Begun:
    if pending(pile, kind) is not None:
        return pile, NOTHING, IN_PROGRESS
    pile, effects = send(pile, kind, downlink, command_id)
    return pile, effects, None


def _reboot(pile: Pile, event: CommandAsked, _: int) -> Begun:
    assert isinstance(event.command, ask.RebootPile)
    downlink = down.Reboot(pile.code, None, event.command.is_when_idle)
    return _simple(pile, "reboot", downlink, event.command_id)


def _service(pile: Pile, event: CommandAsked, _: int) -> Begun:
    command = event.command
    assert isinstance(command, ask.SetService)
    if not LIMIT_PCT_MIN <= command.max_power_pct <= LIMIT_PCT_MAX:
        detail = f"max_power_pct must be {LIMIT_PCT_MIN} to {LIMIT_PCT_MAX}"
        return pile, NOTHING, Outcome(ResultStatus.REJECTED, "out_of_range", detail)
    downlink = down.SetWorkSettings(pile.code, None, command.is_in_service, command.max_power_pct)
    return _simple(pile, "service", downlink, event.command_id)


def _clock(pile: Pile, event: CommandAsked, now: int) -> Begun:
    return _simple(pile, "clock", down.SetClock(pile.code, None, moment(now)), event.command_id)


def _tariff(pile: Pile, event: CommandAsked, _: int) -> Begun:
    if pending(pile, "tariff") is not None:
        return pile, NOTHING, IN_PROGRESS
    return tariff.command_push(pile, event.command_id)


def _read(pile: Pile, event: CommandAsked, _: int) -> Begun:
    command = event.command
    assert isinstance(command, ask.ReadGun)
    if not 1 <= command.gun_no <= len(pile.guns):
        detail = f"桩 {pile.code} 没有 {command.gun_no} 号枪 / the pile has no gun {command.gun_no}"
        return pile, NOTHING, Outcome(ResultStatus.REJECTED, "unknown_gun", detail)
    downlink = down.ReadTelemetry(pile.code, None, command.gun_no)
    return _simple(pile, f"read:{command.gun_no}", downlink, event.command_id)


def _qr_prefix(pile: Pile, event: CommandAsked, _: int) -> Begun:
    command = event.command
    assert isinstance(command, ask.SendQrPrefix)
    downlink = down.SetQrPrefix(pile.code, None, command.prefix, command.with_gun_no)
    return _simple(pile, "qr_prefix", downlink, event.command_id)


_BEGIN: Final[dict[type, Callable[[Pile, CommandAsked, int], Begun]]] = {
    ask.RebootPile: _reboot,
    ask.SetService: _service,
    ask.SyncClock: _clock,
    ask.PushTariff: _tariff,
    ask.ReadGun: _read,
    ask.SendQrPrefix: _qr_prefix,
}
"""How each command begins; WatchFrames and DescribePile change nothing and are the shell's."""
