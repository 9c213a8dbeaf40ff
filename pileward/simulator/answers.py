"""What a pile does with each frame of the platform: one function a frame, one table.

A function reads the frame, changes the pile and writes the answer with the question's sequence. What a charge
does with it stands in `charging`, what a card does in `cards`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pileward.codecs.ykc.frames_charge import (
    BalanceUpdate,
    BalanceUpdateAnswer,
    ReadRealTimeData,
    RemoteParallelStart,
    RemoteParallelStartAnswer,
    RemoteStart,
    RemoteStartAnswer,
    RemoteStop,
    RemoteStopAnswer,
    StartRequestAnswer,
    TransactionRecordAnswer,
)
from pileward.codecs.ykc.frames_device import (
    CardPresence,
    CardRemoval,
    GroundLockControl,
    GroundLockControlAnswer,
    QrCodePrefix,
    QrCodePrefixAnswer,
    QueryCards,
    QueryCardsAnswer,
    Reboot,
    RebootAnswer,
    RemoveCards,
    RemoveCardsAnswer,
    StoreCards,
    StoreCardsAnswer,
    Upgrade,
    UpgradeAnswer,
    WorkingParameters,
    WorkingParametersAnswer,
)
from pileward.codecs.ykc.frames_link import (
    BillingModelAnswer,
    BillingModelCheckAnswer,
    HeartbeatAnswer,
    LoginAnswer,
    SetBillingModel,
    SetBillingModelAnswer,
    SetTime,
    SetTimeAnswer,
)
from pileward.codecs.ykc.table import Frame
from pileward.simulator import cards, charging, delivery, hands, stops
from pileward.simulator.charge import NO_CARD
from pileward.simulator.charging import Wish
from pileward.simulator.habits import AC, CARDS_MAX
from pileward.simulator.tariff import HeldTariff

if TYPE_CHECKING:
    from pileward.simulator.pile import SimPile

WRONG_DEVICE: Final = 1
WRONG_CARD: Final = 2
"""Results of 0x41."""
AT_ONCE: Final = 1
"""Execution of 0x92 and 0x94; the other one waits for an idle pile."""
WRONG_FORMAT: Final = 1
NO_SPACE: Final = 2
"""Reasons of 0x43 and 0x45."""
UPGRADE_UNFIT: Final = 2
UPGRADE_DC, UPGRADE_AC = 1, 2
"""Pile models of 0x94, which counts otherwise than 0x01."""
LEAST_POWER_PCT, MOST_POWER_PCT = 30, 100


def _login(pile: SimPile, frame: LoginAnswer, sequence: int, now: float) -> None:
    if frame.result == 0:
        pile.logged_in(now)
    else:
        pile.refused(now)


def _heartbeat(pile: SimPile, frame: HeartbeatAnswer, sequence: int, now: float) -> None:
    pile.heartbeat_answered(frame.gun_no, now)


def _check(pile: SimPile, frame: BillingModelCheckAnswer, sequence: int, now: float) -> None:
    pile.model_checked(frame.result == 0 and pile.memory.tariff is not None, now)


def _store_tariff(pile: SimPile, frame: BillingModelAnswer) -> None:
    pile.memory.tariff = HeldTariff(
        billing_model_no=frame.billing_model_no,
        prices_e5_yuan=(
            (frame.sharp_electricity_fee_e5_yuan, frame.sharp_service_fee_e5_yuan),
            (frame.peak_electricity_fee_e5_yuan, frame.peak_service_fee_e5_yuan),
            (frame.flat_electricity_fee_e5_yuan, frame.flat_service_fee_e5_yuan),
            (frame.valley_electricity_fee_e5_yuan, frame.valley_service_fee_e5_yuan),
        ),
        loss_ratio=frame.loss_ratio,
        slots=bytes(frame.slots),
    )
    pile.model_stored()


def _model(pile: SimPile, frame: BillingModelAnswer, sequence: int, now: float) -> None:
    _store_tariff(pile, frame)


def _set_model(pile: SimPile, frame: SetBillingModel, sequence: int, now: float) -> None:
    """A tariff is put into an idle pile only (YKC 1.6, 0x58)."""
    if pile.is_idle:
        _store_tariff(pile, frame)
    pile.answer(SetBillingModelAnswer(pile.code, 1 if pile.is_idle else 0), sequence)


def _set_time(pile: SimPile, frame: SetTime, sequence: int, now: float) -> None:
    if frame.time is not None:
        charging.advance(pile, now)
        pile.clock.set(frame.time, now)
    pile.answer(SetTimeAnswer(pile.code, pile.clock.read(now)), sequence)


def _read(pile: SimPile, frame: ReadRealTimeData, sequence: int, now: float) -> None:
    gun = pile.gun(frame.gun_no)
    if gun is not None:
        pile.report(gun, now, sequence)


def _start(pile: SimPile, frame: RemoteStart, sequence: int, now: float) -> None:
    def say(result: int, reason: int) -> None:
        pile.reply(RemoteStartAnswer(frame.trade_no, pile.code, frame.gun_no, result, reason), sequence)

    charging.ask_start(pile, frame.gun_no, _wish(frame), say, now)


def _parallel_start(pile: SimPile, frame: RemoteParallelStart, sequence: int, now: float) -> None:
    """As 0x34 for each gun; the first gun is the main one."""
    role = 0 if frame.gun_no == 1 else 1

    def say(result: int, reason: int) -> None:
        answer = RemoteParallelStartAnswer(
            frame.trade_no, pile.code, frame.gun_no, result, reason, role, frame.parallel_no
        )
        pile.reply(answer, sequence)

    charging.ask_start(pile, frame.gun_no, _wish(frame), say, now)


def _wish(frame: RemoteStart) -> Wish:
    return Wish(frame.trade_no, frame.balance_e2_yuan, frame.physical_card_no)


def _stop(pile: SimPile, frame: RemoteStop, sequence: int, now: float) -> None:
    def say(result: int, reason: int) -> None:
        pile.reply(RemoteStopAnswer(pile.code, frame.gun_no, result, reason), sequence)

    charging.ask_stop(pile, frame.gun_no, say, now)


def _balance(pile: SimPile, frame: BalanceUpdate, sequence: int, now: float) -> None:
    """A card that is named must be the one of the charge (YKC 1.6, 0x42)."""
    gun = pile.gun(frame.gun_no)
    charge = gun.charge if gun is not None else None
    result = 0
    if gun is None:
        result = WRONG_DEVICE
    elif charge is None or frame.physical_card_no not in (NO_CARD, charge.card_no):
        result = WRONG_CARD
    else:
        charging.advance(pile, now)
        charge.balance_fen = frame.balance_e2_yuan
        charging.limits_changed(pile, now)
    pile.answer(BalanceUpdateAnswer(pile.code, frame.physical_card_no, result), sequence)


def _record(pile: SimPile, frame: TransactionRecordAnswer, sequence: int, now: float) -> None:
    delivery.answered(pile, frame.trade_no, frame.result == 0)


def _store_cards(pile: SimPile, frame: StoreCards, sequence: int, now: float) -> None:
    held = pile.memory.cards
    new = {card.physical_card_no: card.logical_card_no for card in frame.cards}
    reason = 0
    if NO_CARD in new:
        reason = WRONG_FORMAT
    elif len(held.keys() | new.keys()) > CARDS_MAX:
        reason = NO_SPACE
    else:
        held.update(new)
        pile.is_dirty = True
    pile.answer(StoreCardsAnswer(pile.code, 0 if reason else 1, reason), sequence)


def _remove_cards(pile: SimPile, frame: RemoveCards, sequence: int, now: float) -> None:
    results = []
    for card in frame.cards:
        is_format_wrong = card.physical_card_no == NO_CARD
        pile.memory.cards.pop(card.physical_card_no, None)
        results.append(CardRemoval(card.physical_card_no, 0 if is_format_wrong else 1, int(is_format_wrong)))
    pile.is_dirty = True
    pile.answer(RemoveCardsAnswer(pile.code, tuple(results)), sequence)


def _query_cards(pile: SimPile, frame: QueryCards, sequence: int, now: float) -> None:
    held = pile.memory.cards
    cards = tuple(
        CardPresence(card.physical_card_no, int(card.physical_card_no in held)) for card in frame.cards
    )
    pile.answer(QueryCardsAnswer(pile.code, cards), sequence)


def _work(pile: SimPile, frame: WorkingParameters, sequence: int, now: float) -> None:
    charging.advance(pile, now)
    pile.memory.is_locked = frame.work_disabled != 0
    pile.memory.max_power_pct = min(MOST_POWER_PCT, max(LEAST_POWER_PCT, frame.max_power_pct))
    pile.is_dirty = True
    pile.answer(WorkingParametersAnswer(pile.code, 1), sequence)
    charging.limits_changed(pile, now)
    if pile.memory.is_locked:
        for gun in pile.guns:
            hands.stop_charge(pile, gun.no, stops.LOCKED, now)


def _ground_lock(pile: SimPile, frame: GroundLockControl, sequence: int, now: float) -> None:
    pile.answer(GroundLockControlAnswer(pile.code, frame.gun_no, 0), sequence)


def _reboot(pile: SimPile, frame: Reboot, sequence: int, now: float) -> None:
    pile.answer(RebootAnswer(pile.code, 1), sequence)
    pile.reboot(now, when_idle=frame.execute != AT_ONCE)


def _upgrade(pile: SimPile, frame: Upgrade, sequence: int, now: float) -> None:
    if frame.pile_model != (UPGRADE_AC if pile.plate.pile_type == AC else UPGRADE_DC):
        pile.answer(UpgradeAnswer(pile.code, UPGRADE_UNFIT), sequence)
    else:
        pile.upgrade(frame.file_path, now, when_idle=frame.execute != AT_ONCE)


def report_upgrade(pile: SimPile) -> None:
    """Say that the new program is in place (YKC 1.6, 0x93)."""
    pile.ask(UpgradeAnswer(pile.code, 0))


def _qr_prefix(pile: SimPile, frame: QrCodePrefix, sequence: int, now: float) -> None:
    pile.qr_prefix = frame.prefix
    pile.answer(QrCodePrefixAnswer(pile.code, 0), sequence)


ANSWERS: Final[dict[type[Frame], Callable[[SimPile, Any, int, float], None]]] = {
    LoginAnswer: _login,
    HeartbeatAnswer: _heartbeat,
    BillingModelCheckAnswer: _check,
    BillingModelAnswer: _model,
    SetBillingModel: _set_model,
    SetTime: _set_time,
    ReadRealTimeData: _read,
    RemoteStart: _start,
    RemoteParallelStart: _parallel_start,
    RemoteStop: _stop,
    StartRequestAnswer: cards.answered,
    BalanceUpdate: _balance,
    TransactionRecordAnswer: _record,
    StoreCards: _store_cards,
    RemoveCards: _remove_cards,
    QueryCards: _query_cards,
    WorkingParameters: _work,
    GroundLockControl: _ground_lock,
    Reboot: _reboot,
    Upgrade: _upgrade,
    QrCodePrefix: _qr_prefix,
}
