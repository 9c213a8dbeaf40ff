"""Downlinks of the platform as frames: one function a message, one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pileward.codecs.base import FrameError
from pileward.codecs.ykc import frames
from pileward.codecs.ykc.table import Frame
from pileward.messages import downlinks as down
from pileward.values import Rate, TariffModel

BALANCE_MAX_FEN: Final = 0xFFFF_FFFF
"""The field holds no more; a larger balance is sent as this (42 million yuan)."""
CARDS_A_FRAME: Final = {down.StoreCards: 11, down.RemoveCards: 23, down.QueryCards: 23}
"""Most cards in one frame that keep its length at 200 or below, as the protocol wants."""
POWER_MIN_PCT: Final = 30
POWER_MAX_PCT: Final = 100
_CARD_DIGITS: Final = 16
_UPGRADE_MODELS: Final = {"dc": 1, "ac": 2}
_AT_ONCE, _WHEN_IDLE = 1, 2
_RAISE, _LOWER = 0x55, 0xFF


def frame_of(downlink: down.Downlink) -> Frame | None:
    """Turn a downlink into a frame; None when YKC has none for it.

    Raises FrameError for values that no pile would take.
    """
    write = _WRITERS.get(type(downlink))
    return None if write is None else write(downlink)


def _login_answer(message: down.LoginAnswer) -> Frame:
    return frames.LoginAnswer(message.pile_code, 0 if message.is_accepted else 1)


def _heartbeat_answer(message: down.HeartbeatAnswer) -> Frame:
    return frames.HeartbeatAnswer(message.pile_code, message.gun_no, 0)


def _tariff_check_answer(message: down.TariffCheckAnswer) -> Frame:
    return frames.BillingModelCheckAnswer(
        message.pile_code, message.billing_model_no, 0 if message.is_current else 1
    )


def _tariff_values(pile_code: str, tariff: TariffModel) -> tuple[Any, ...]:
    prices = [
        price
        for rate in (Rate.SHARP, Rate.PEAK, Rate.FLAT, Rate.VALLEY)
        for price in (tariff.price_of(rate).energy_e5_yuan, tariff.price_of(rate).service_e5_yuan)
    ]
    loss_ratio = 0
    return pile_code, tariff.billing_model_no, *prices, loss_ratio, tuple(map(int, tariff.slots))


def _tariff_delivery(message: down.TariffDelivery) -> Frame:
    return frames.BillingModelAnswer(*_tariff_values(message.pile_code, message.tariff))


def _set_tariff(message: down.SetTariff) -> Frame:
    return frames.SetBillingModel(*_tariff_values(message.pile_code, message.tariff))


def _read_telemetry(message: down.ReadTelemetry) -> Frame:
    return frames.ReadRealTimeData(message.pile_code, message.gun_no)


def _local_start_answer(message: down.LocalStartAnswer) -> Frame:
    values = (
        message.wire_number,
        message.pile_code,
        message.gun_no,
        _card(message.logical_card_no),
        _balance(message.balance_fen),
        1 if message.is_accepted else 0,
        0 if message.is_accepted else message.reason,
    )
    if message.parallel_no is None:
        return frames.StartRequestAnswer(*values)
    return frames.ParallelStartRequestAnswer(*values, message.parallel_no)


def _remote_start(message: down.RemoteStart) -> Frame:
    values = (
        message.wire_number,
        message.pile_code,
        message.gun_no,
        _card(message.logical_card_no),
        _card(message.physical_card_no),
        _balance(message.balance_fen),
    )
    if message.parallel_no is None:
        return frames.RemoteStart(*values)
    return frames.RemoteParallelStart(*values, message.parallel_no)


def _remote_stop(message: down.RemoteStop) -> Frame:
    return frames.RemoteStop(message.pile_code, message.gun_no)


def _record_answer(message: down.RecordAnswer) -> Frame:
    return frames.TransactionRecordAnswer(message.wire_number, 0 if message.is_legal else 1)


def _update_balance(message: down.UpdateBalance) -> Frame:
    return frames.BalanceUpdate(
        message.pile_code, message.gun_no, _card(message.card_no), _balance(message.balance_fen)
    )


def _store_cards(message: down.StoreCards) -> Frame:
    _at_most(message, len(message.cards))
    cards = (
        frames.CardPair(_card(card.logical_card_no), _card(card.physical_card_no)) for card in message.cards
    )
    return frames.StoreCards(message.pile_code, tuple(cards))


def _remove_cards(message: down.RemoveCards) -> Frame:
    _at_most(message, len(message.card_nos))
    return frames.RemoveCards(
        message.pile_code, tuple(frames.CardNumber(_card(no)) for no in message.card_nos)
    )


def _query_cards(message: down.QueryCards) -> Frame:
    _at_most(message, len(message.card_nos))
    return frames.QueryCards(
        message.pile_code, tuple(frames.CardNumber(_card(no)) for no in message.card_nos)
    )


def _set_work_settings(message: down.SetWorkSettings) -> Frame:
    if not POWER_MIN_PCT <= message.max_power_pct <= POWER_MAX_PCT:
        raise FrameError(f"max_power_pct {message.max_power_pct} is not {POWER_MIN_PCT} to {POWER_MAX_PCT}")
    return frames.WorkingParameters(
        message.pile_code, 0 if message.is_in_service else 1, message.max_power_pct
    )


def _set_clock(message: down.SetClock) -> Frame:
    return frames.SetTime(message.pile_code, message.time)


def _control_ground_lock(message: down.ControlGroundLock) -> Frame:
    return frames.GroundLockControl(message.pile_code, message.gun_no, _RAISE if message.is_raise else _LOWER)


def _reboot(message: down.Reboot) -> Frame:
    return frames.Reboot(message.pile_code, _WHEN_IDLE if message.is_when_idle else _AT_ONCE)


def _upgrade(message: down.Upgrade) -> Frame:
    if message.device_kind not in _UPGRADE_MODELS:
        raise FrameError(f"device_kind {message.device_kind!r} cannot be upgraded")
    return frames.Upgrade(
        message.pile_code,
        _UPGRADE_MODELS[message.device_kind],
        message.power_kw,
        message.host,
        message.port,
        message.username,
        message.password,
        message.path,
        _WHEN_IDLE if message.is_when_idle else _AT_ONCE,
        message.timeout_min,
    )


def _set_qr_prefix(message: down.SetQrPrefix) -> Frame:
    return frames.QrCodePrefix(message.pile_code, 1 if message.with_gun_no else 0, message.prefix)


def _balance(fen: int) -> int:
    return min(max(fen, 0), BALANCE_MAX_FEN)


def _card(digits: str) -> str:
    return digits.rjust(_CARD_DIGITS, "0")


def _at_most(message: down.Downlink, count: int) -> None:
    most = CARDS_A_FRAME[type(message)]
    if not 1 <= count <= most:
        raise FrameError(f"{type(message).__name__}: {count} cards; one frame carries 1 to {most}")


_WRITERS: Final[dict[type[down.Downlink], Callable[[Any], Frame]]] = {
    down.LoginAnswer: _login_answer,
    down.HeartbeatAnswer: _heartbeat_answer,
    down.TariffCheckAnswer: _tariff_check_answer,
    down.TariffDelivery: _tariff_delivery,
    down.ReadTelemetry: _read_telemetry,
    down.LocalStartAnswer: _local_start_answer,
    down.RemoteStart: _remote_start,
    down.RemoteStop: _remote_stop,
    down.RecordAnswer: _record_answer,
    down.UpdateBalance: _update_balance,
    down.StoreCards: _store_cards,
    down.RemoveCards: _remove_cards,
    down.QueryCards: _query_cards,
    down.SetWorkSettings: _set_work_settings,
    down.SetClock: _set_clock,
    down.SetTariff: _set_tariff,
    down.ControlGroundLock: _control_ground_lock,
    down.Reboot: _reboot,
    down.Upgrade: _upgrade,
    down.SetQrPrefix: _set_qr_prefix,
}

SUPPORTED: Final = frozenset(_WRITERS)
"""The downlinks that YKC can carry."""
