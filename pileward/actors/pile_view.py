"""How a pile is shown to people: pure functions from its state to views, events and plain data."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from pileward.actors.gun_machine import LIVE, Gun, GunState, shown
from pileward.actors.pile_state import Pile, PileStatus
from pileward.messages.events import GunChanged, PileChanged
from pileward.messages.live import GunView, PileView


def pile_state(pile: Pile) -> str:
    """The word for the pile's state."""
    if pile.status is PileStatus.ONLINE and pile.config.is_in_maintenance:
        return "maintenance"
    return pile.status.name.lower()


def gun_state(pile: Pile, gun: Gun) -> GunState:
    """The state a gun is shown in."""
    order = next((state for gun_no, _, state in pile.orders if gun_no == gun.gun_no), None)
    return shown(
        gun.state,
        order,
        is_online=pile.status is PileStatus.ONLINE,
        is_in_maintenance=pile.config.is_in_maintenance,
    )


def gun_view(pile: Pile, gun: Gun) -> GunView:
    """One gun as the page shows it. Live values stay visible while a charge goes on out of sight."""
    state = gun_state(pile, gun)
    telemetry = gun.telemetry
    if telemetry is None:
        return GunView(gun.gun_no, state.name.lower(), since=_time(gun.since_ms))
    is_live = gun.state in LIVE or (state is GunState.OFFLINE and bool(telemetry.wire_number))
    power_w = None
    if telemetry.voltage_mv is not None and telemetry.current_ma is not None:
        power_w = telemetry.voltage_mv * telemetry.current_ma // 1_000_000
    return GunView(
        gun_no=gun.gun_no,
        state=state.name.lower(),
        at=_time(gun.telemetry_ms),
        since=_time(gun.since_ms),
        is_plugged=telemetry.is_plugged,
        soc_pct=telemetry.soc_pct if is_live else None,
        power_w=power_w if is_live else None,
        voltage_mv=telemetry.voltage_mv if is_live else None,
        current_ma=telemetry.current_ma if is_live else None,
        energy_e4_kwh=telemetry.energy_e4_kwh if is_live else None,
        amount_e4_yuan=telemetry.amount_e4_yuan if is_live else None,
        remaining_s=telemetry.remaining_s if is_live else None,
        fault_codes=telemetry.fault_codes,
    )


def pile_view(pile: Pile, quarantined: str | None = None) -> PileView:
    """One pile with its guns as the page shows it; `quarantined` is the error that took its actor away."""
    config = pile.config
    return PileView(
        pile_code=config.pile_code,
        name=config.name,
        kind=config.kind.value,
        rated_power_w=config.rated_power_w,
        state="quarantined" if quarantined is not None else pile_state(pile),
        reason=quarantined if quarantined is not None else pile.reason,
        since=_time(pile.since_ms),
        tariff_ok=pile.tariff_ok,
        guns=tuple(gun_view(pile, gun) for gun in pile.guns),
    )


def gun_event(pile: Pile, gun_no: int, now: int) -> GunChanged:
    """The live feed's word about one gun."""
    view = gun_view(pile, pile.guns[gun_no - 1])
    return GunChanged(
        pile_code=pile.code,
        gun_no=gun_no,
        state=view.state,
        at=_moment(now),
        is_plugged=view.is_plugged,
        soc_pct=view.soc_pct,
        power_w=view.power_w,
        voltage_mv=view.voltage_mv,
        current_ma=view.current_ma,
        energy_e4_kwh=view.energy_e4_kwh,
        amount_e4_yuan=view.amount_e4_yuan,
        remaining_s=view.remaining_s,
        fault_codes=view.fault_codes,
    )


def pile_event(pile: Pile, reason: str, now: int) -> PileChanged:
    """The live feed's word about a pile."""
    return PileChanged(pile.code, pile_state(pile), reason, _moment(now), pile.tariff_ok)


def describe(pile: Pile, now: int) -> dict[str, Any]:
    """All of a pile as plain data, for somebody who looks inside."""
    config, login = pile.config, pile.login
    return {
        "state": pile_state(pile),
        "since": _iso(pile.since_ms),
        "reason": pile.reason,
        "pile_code": pile.code,
        "name": config.name,
        "station": config.station_name,
        "protocol": config.protocol,
        "tariff_ok": pile.tariff_ok,
        "wanted_billing_model_no": config.billing_model_no,
        "held_billing_model_no": pile.held_model_no or None,
        "clock_drift_ms": pile.clock_drift_ms,
        "peer": pile.remote_address if pile.link is not None else "",
        "link": str(pile.link) if pile.link is not None else None,
        "protocol_version": login.protocol_version if login is not None else None,
        "software_version": login.software_version if login is not None else None,
        "settings": msgspec.to_builtins(config.settings),
        "pending": [
            {
                "kind": entry.kind,
                "attempts_left": entry.attempts_left,
                "asked_by_edge": entry.command_id is not None,
            }
            for entry in pile.pending
        ],
        "guns": [_describe_gun(pile, gun, now) for gun in pile.guns],
    }


def _describe_gun(pile: Pile, gun: Gun, now: int) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(gun_view(pile, gun))
    data["reported_state"] = gun.state.name.lower()
    data["telemetry_age_s"] = (now - gun.telemetry_ms) // 1000 if gun.telemetry_ms else None
    if gun.telemetry is not None:
        data["telemetry"] = msgspec.to_builtins(gun.telemetry)
    return data


def _moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def _time(epoch_ms: int) -> datetime | None:
    return _moment(epoch_ms) if epoch_ms else None


def _iso(epoch_ms: int) -> str | None:
    return _moment(epoch_ms).isoformat() if epoch_ms else None
