"""Commands to one pile. Each gets exactly one outcome, and the answer is 200 whatever it is.

The HTTP status tells whether the platform understood and did its part; `outcome` tells what the pile made of
it: accepted, scheduled (as soon as no charge runs), rejected, unsupported_by_protocol, timed_out, offline,
failed. The pile's actor decides it, always; the time-out here only guards against a bug.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.http.admin.common import PREFIX, PilePath, change, own_actor
from pileward.http.api import Api
from pileward.http.node import NODE
from pileward.messages.commands import (
    Command,
    Outcome,
    PushTariff,
    ReadGun,
    RebootPile,
    SendQrPrefix,
    SetService,
    SyncClock,
)
from pileward.services.audit import note
from pileward.values import GUNS_MAX, ResultStatus

api = Api(f"{PREFIX}/piles/{{pile_code}}/commands", tag="桩命令 / pile commands")

ATTEMPTS_S: Final = 30.0
"""Three attempts of ten seconds, on the piles' clock."""
LONGEST_S: Final = 300.0
"""Real seconds that a request may take, however slowly the clock runs."""
SLACK_S: Final = 4.0
"""Real seconds beyond the actor's own deadline, so that its timer always decides first."""

_PROBLEMS: Final = (404, 503, 504)


class Reboot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to reboot."""

    is_when_idle: Annotated[bool, Meta(description="充电结束后再重启 / not before the charge has ended")] = (
        True
    )


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the pile may charge, and how strongly."""

    is_in_service: bool
    max_power_pct: Annotated[int, Meta(ge=30, le=100, description="额定功率百分比 / % of rated power")] = 100


class Gun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which gun."""

    gun_no: Annotated[int, Meta(ge=1, le=GUNS_MAX, description="枪号，从 1 起 / gun, from 1")]


class QrPrefix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the QR code on the pile's screen begins with."""

    prefix: Annotated[str, Meta(min_length=1, max_length=200, pattern="^[!-~]+$")]
    with_gun_no: bool = True


class CommandResult(msgspec.Struct, frozen=True):
    """What became of a command."""

    outcome: ResultStatus
    reason: str
    """Stable code, empty when accepted."""
    message: str
    """For people: Chinese / English."""


class Released(msgspec.Struct, frozen=True):
    """Whether there was a quarantine to end."""

    was_quarantined: bool


@api.post("/reboot", summary="重启桩 / reboot", problems=_PROBLEMS)
async def reboot_pile(request: web.Request, path: PilePath, body: Reboot) -> CommandResult:
    """Restart the pile at once, or when no charge runs."""
    return await _command(request, path.pile_code, RebootPile(body.is_when_idle))


@api.post("/set-service", summary="启用、停用、限功率 / set service", problems=_PROBLEMS)
async def set_service(request: web.Request, path: PilePath, body: Service) -> CommandResult:
    """Take the pile in or out of service on the device itself, and limit its power."""
    return await _command(request, path.pile_code, SetService(body.is_in_service, body.max_power_pct))


@api.post("/sync-clock", summary="对时 / set the clock", problems=_PROBLEMS)
async def sync_clock(request: web.Request, path: PilePath) -> CommandResult:
    """Set the pile's clock to the platform's."""
    return await _command(request, path.pile_code, SyncClock())


@api.post("/push-tariff", summary="下发计费模型 / push the tariff", problems=_PROBLEMS)
async def push_tariff(request: web.Request, path: PilePath) -> CommandResult:
    """Send the wanted tariff now; while a gun is busy it is scheduled for later."""
    return await _command(request, path.pile_code, PushTariff())


@api.post("/read-gun", summary="读取枪数据 / read a gun", problems=_PROBLEMS)
async def read_gun(request: web.Request, path: PilePath, body: Gun) -> CommandResult:
    """Ask for fresh telemetry of one gun; it shows on the pile and on the live feed."""
    return await _command(request, path.pile_code, ReadGun(body.gun_no))


@api.post("/send-qr-prefix", summary="下发二维码前缀 / send the QR prefix", problems=_PROBLEMS)
async def send_qr_prefix(request: web.Request, path: PilePath, body: QrPrefix) -> CommandResult:
    """Set what the QR codes on the pile's screen begin with."""
    return await _command(request, path.pile_code, SendQrPrefix(body.prefix, body.with_gun_no))


@api.post("/release", summary="解除隔离 / end a quarantine", problems=(404,))
async def release_pile(request: web.Request, path: PilePath) -> Released:
    """Let a pile work again whose actor failed too often; nothing happens when it is not quarantined."""
    node = request.app[NODE]
    await own_actor(request, path.pile_code)
    was_quarantined = await node.revive(path.pile_code)
    if was_quarantined:
        async with change(request) as who:
            await note(who, "pile.release", "pile", path.pile_code, None, None)
    return Released(was_quarantined)


async def _command(request: web.Request, pile_code: str, command: Command) -> CommandResult:
    """Ask the pile's actor, and note who asked for what and what came of it."""
    node = request.app[NODE]
    address = await own_actor(request, pile_code)
    timeout = min(node.engine.clock.real_s(ATTEMPTS_S) + SLACK_S, LONGEST_S)
    outcome = await node.engine.ask_async(address, command, timeout)
    assert isinstance(outcome, Outcome), outcome
    result = CommandResult(outcome.status, outcome.reason, outcome.detail)
    async with change(request) as who:
        await note(who, f"pile.command.{_ACTIONS[type(command)]}", "pile", pile_code, command, result)
    return result


_ACTIONS: Final = {
    RebootPile: "reboot",
    SetService: "set_service",
    SyncClock: "sync_clock",
    PushTariff: "push_tariff",
    ReadGun: "read_gun",
    SendQrPrefix: "send_qr_prefix",
}
"""What the audit calls each command."""
