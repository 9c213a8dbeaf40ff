"""Cards held to a pile: asking the platform, charging without it, and what the screen says.

With a line the pile asks by 0x31 and obeys 0x32 (YKC 1.6, 刷卡充电); without one, a card of the offline list
may charge, under a number that the pile makes itself (YKC 1.6, 离线充电, 4.3). The card that began a charge
ends it. A refusal is a message on the screen and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pileward.codecs.ykc.frames_charge import StartRequest, StartRequestAnswer
from pileward.simulator import charging, stops
from pileward.simulator.charge import NO_CARD, StartType
from pileward.simulator.charging import Wish
from pileward.simulator.orders import Phase
from pileward.values import CHINA

if TYPE_CHECKING:
    from pileward.simulator.gun import Gun
    from pileward.simulator.pile import SimPile

BY_CARD: Final = 1
BY_VIN: Final = 3
"""Start modes of 0x31."""
NO_PASSWORD: Final = "0" * 32
OFFLINE_BALANCE_FEN: Final = 20_000
"""What a card may use while nobody can be asked."""
REQUEST: Final = "request:"

MESSAGES: Final[dict[int, str]] = {
    1: "账户不存在",
    2: "账户冻结",
    3: "账户余额不足",
    4: "该卡存在未结账记录",
    5: "桩停用",
    6: "该账户不能在此桩上充电",
    7: "密码错误",
    8: "电站电容不足",
    9: "系统中无此 VIN",
    10: "该桩存在未结账记录",
    11: "该桩不支持刷卡",
}
"""Refusals of 0x32 on the screen (YKC 1.6, 7.3)."""
UNREADABLE: Final = "读卡失败"
PLUG_FIRST: Final = "请先插枪"
ASKING: Final = "正在验证"
STARTING: Final = "正在启动"
NO_ANSWER: Final = "平台无应答，请稍后再试"
NOT_OFFLINE: Final = "网络中断，此卡不能离线充电"
BUSY: Final = "此枪正在充电"
OUT_OF_ORDER: Final = "设备故障"
REFUSED: Final = "启动失败"


def swipe(pile: SimPile, gun_no: int, card_no: str, now: float) -> None:
    """Hold a card to the reader of a gun: begin, end, or read on the screen why not."""
    gun = pile.gun(gun_no)
    if gun is None or pile.phase in (Phase.OFF, Phase.HUNG):
        return
    charge = gun.charge
    if card_no == NO_CARD:
        gun.screen = UNREADABLE
        return
    if charge is not None and charge.card_no == card_no:
        charging.end(pile, gun, stops.BUTTON, now)
        gun.screen = ""
        return
    _ask(pile, gun, BY_CARD, card_no, now)


def show_vin(pile: SimPile, gun_no: int, now: float) -> None:
    """Let the plugged car's VIN ask for the start (plug and charge)."""
    gun = pile.gun(gun_no)
    if gun is not None and pile.phase not in (Phase.OFF, Phase.HUNG):
        _ask(pile, gun, BY_VIN, NO_CARD, now)


def _ask(pile: SimPile, gun: Gun, mode: int, card_no: str, now: float) -> None:
    reason = charging.start_refusal(pile, gun)
    if reason:
        gun.screen = {charging.ALREADY_CHARGING: BUSY, charging.NOT_PLUGGED: PLUG_FIRST}.get(
            reason, OUT_OF_ORDER
        )
    elif pile.phase is Phase.ONLINE:
        gun.screen = ASKING
        gun.requested_with = card_no
        vin = charging.car_at(pile, gun).vin if mode == BY_VIN else ""
        pile.tell(StartRequest(pile.code, gun.no, mode, 0, card_no, NO_PASSWORD, vin))
        pile.timers.arm(f"{REQUEST}{gun.no}", now + pile.habits.request_wait_s)
    elif mode == BY_CARD and card_no in pile.memory.cards:
        _begin(
            pile,
            gun,
            Wish(own_number(pile, gun, now), OFFLINE_BALANCE_FEN, card_no, StartType.OFFLINE_CARD),
            now,
        )
    else:
        gun.screen = NOT_OFFLINE


def answered(pile: SimPile, frame: StartRequestAnswer, sequence: int, now: float) -> None:
    """The platform lets the charge begin, or says why not (YKC 1.6, 0x32)."""
    gun = pile.gun(frame.gun_no)
    if gun is None or not gun.requested_with:
        return
    card_no, gun.requested_with = gun.requested_with, ""
    pile.timers.disarm(f"{REQUEST}{gun.no}")
    if frame.auth_result != 1:
        gun.screen = MESSAGES.get(frame.fail_reason, REFUSED)
        pile.tally.events["card_refused"] += 1
        return
    start_type = StartType.VIN if card_no == NO_CARD else StartType.CARD
    _begin(pile, gun, Wish(frame.trade_no, frame.balance_e2_yuan, card_no, start_type), now)


def on_timer(pile: SimPile, name: str, now: float) -> bool:
    """The platform said nothing to a request; False for other timers."""
    if not name.startswith(REQUEST):
        return False
    gun = pile.gun(int(name.removeprefix(REQUEST)))
    if gun is not None and gun.requested_with:
        gun.requested_with = ""
        gun.screen = NO_ANSWER
    return True


def own_number(pile: SimPile, gun: Gun, now: float) -> str:
    """A transaction number made by the pile itself: pile, gun, time, counter (YKC 1.6, 4.3)."""
    pile.memory.offline_count = (pile.memory.offline_count + 1) % 10_000
    pile.is_dirty = True
    time = pile.clock.read(now).astimezone(CHINA).strftime("%y%m%d%H%M%S")
    return f"{pile.code}{gun.no:02d}{time}{pile.memory.offline_count:04d}"


def _begin(pile: SimPile, gun: Gun, wish: Wish, now: float) -> None:
    def say(result: int, reason: int) -> None:
        gun.screen = STARTING if result else OUT_OF_ORDER

    charging.ask_start(pile, gun.no, wish, say, now)
