"""Frames that manage the device: offline cards, working parameters, ground lock, reboot, upgrade, QR code."""

from __future__ import annotations

from typing import Annotated

from pileward.codecs.ykc import wire
from pileward.codecs.ykc.fields import BinaryGunNo, FourReserved, LogicalCardNo, PhysicalCardNo, PileNo
from pileward.codecs.ykc.table import CountedText, Entries, Frame, frame


class CardPair(Frame, frozen=True, gc=False):
    """An offline card to be stored."""

    logical_card_no: LogicalCardNo
    physical_card_no: PhysicalCardNo


class CardNumber(Frame, frozen=True, gc=False):
    """An offline card by its chip."""

    physical_card_no: PhysicalCardNo


class CardRemoval(Frame, frozen=True, gc=False):
    """What became of a card that was to be removed."""

    physical_card_no: PhysicalCardNo
    result: Annotated[int, wire.U8, "清除标记", "0 not removed, 1 removed"]
    fail_reason: Annotated[
        int, wire.U8, "失败原因", "1 wrong format; 0 and 2 say nothing, look at the result"
    ]


class CardPresence(Frame, frozen=True, gc=False):
    """Whether the pile holds a card."""

    physical_card_no: PhysicalCardNo
    result: Annotated[int, wire.U8, "查询结果", "0 not in the pile, 1 in the pile"]


@frame(0x44, "Offline cards: store", "离线卡数据同步", answered_by=0x43, when="on demand")
class StoreCards(Frame, frozen=True, gc=False):
    """Cards that may charge without the platform; what is there is overwritten."""

    pile_no: PileNo
    cards: Annotated[
        tuple[CardPair, ...],
        Entries(CardPair, ("count", "下发卡个数", "number of cards, 1 to 15"), most=15),
        "卡列表",
        "the cards",
    ]


@frame(0x43, "Offline cards: store answer", "离线卡数据同步应答", when="answer")
class StoreCardsAnswer(Frame, frozen=True, gc=False):
    """One result for the whole list."""

    pile_no: PileNo
    result: Annotated[int, wire.U8, "保存结果", "0 failed, 1 stored"]
    fail_reason: Annotated[int, wire.U8, "失败原因", "0 none, 1 wrong format, 2 no space left"]


@frame(0x46, "Offline cards: remove", "离线卡数据清除", answered_by=0x45, when="on demand")
class RemoveCards(Frame, frozen=True, gc=False):
    """Removes single cards; there is no way to remove all."""

    pile_no: PileNo
    cards: Annotated[
        tuple[CardNumber, ...],
        Entries(CardNumber, ("count", "清除离线卡的个数", "number of cards, 1 to 24"), most=24),
        "卡列表",
        "the cards",
    ]


@frame(0x45, "Offline cards: remove answer", "离线卡数据清除应答", when="answer")
class RemoveCardsAnswer(Frame, frozen=True, gc=False):
    """A result for each card."""

    pile_no: PileNo
    cards: Annotated[
        tuple[CardRemoval, ...], Entries(CardRemoval, None, most=24), "卡列表", "to the end of the body"
    ]


@frame(0x48, "Offline cards: query", "离线卡数据查询", answered_by=0x47, when="on demand")
class QueryCards(Frame, frozen=True, gc=False):
    """Asks which of these cards the pile holds."""

    pile_no: PileNo
    cards: Annotated[
        tuple[CardNumber, ...],
        Entries(CardNumber, ("count", "查询的离线卡个数", "number of cards, 1 to 26"), most=26),
        "卡列表",
        "the cards",
    ]


@frame(0x47, "Offline cards: query answer", "离线卡数据查询应答", when="answer")
class QueryCardsAnswer(Frame, frozen=True, gc=False):
    """A result for each card."""

    pile_no: PileNo
    cards: Annotated[
        tuple[CardPresence, ...], Entries(CardPresence, None, most=27), "卡列表", "to the end of the body"
    ]


@frame(0x52, "Working parameters", "充电桩工作参数设置", answered_by=0x51, when="on demand")
class WorkingParameters(Frame, frozen=True, gc=False):
    """Stops or releases the pile and limits its power."""

    pile_no: PileNo
    work_disabled: Annotated[int, wire.U8, "是否允许工作", "0 the pile may work, 1 it is stopped and locked"]
    max_power_pct: Annotated[int, wire.U8, "最大允许输出功率", "percent of the rated power, 30 to 100"]


@frame(0x51, "Working parameters answer", "充电桩工作参数设置应答", when="answer")
class WorkingParametersAnswer(Frame, frozen=True, gc=False):
    """Whether the pile took them."""

    pile_no: PileNo
    result: Annotated[int, wire.U8, "设置结果", "0 failed, 1 done"]


@frame(0x61, "Ground lock data", "地锁数据上送", when="on change, else every 5 min", optional_tail=4)
class GroundLockData(Frame, frozen=True, gc=False):
    """State of the ground lock of a gun's bay."""

    pile_no: PileNo
    gun_no: BinaryGunNo
    lock_status: Annotated[int, wire.U8, "车位锁状态", "0x00 between, 0x55 raised, 0xFF lowered"]
    parking_status: Annotated[int, wire.U8, "车位状态", "0x00 free, 0xFF taken"]
    battery_pct: Annotated[int, wire.U8, "地锁电量状态", "battery of the lock, percent"]
    alarm_status: Annotated[int, wire.U8, "报警状态", "0x00 none, 0x55 movement failed, 0xFF forced"]
    reserved: FourReserved = "00000000"


@frame(
    0x62, "Ground lock control", "遥控地锁升锁与降锁命令", answered_by=0x63, when="on demand", optional_tail=4
)
class GroundLockControl(Frame, frozen=True, gc=False):
    """Raises or lowers a ground lock."""

    pile_no: PileNo
    gun_no: BinaryGunNo
    command: Annotated[int, wire.U8, "升/降地锁", "0x55 raise, 0xFF lower"]
    reserved: FourReserved = "00000000"


@frame(0x63, "Ground lock control answer", "充电桩返回数据（上行）", when="answer", optional_tail=4)
class GroundLockControlAnswer(Frame, frozen=True, gc=False):
    """Whether the command was taken; the movement itself is told by 0x61."""

    pile_no: PileNo
    gun_no: BinaryGunNo
    result: Annotated[int, wire.U8, "地锁控制返回标志", "0 refused, 1 accepted"]
    reserved: FourReserved = "00000000"


@frame(0x92, "Reboot", "远程重启", answered_by=0x91, when="on demand")
class Reboot(Frame, frozen=True, gc=False):
    """Restarts the pile."""

    pile_no: PileNo
    execute: Annotated[int, wire.U8, "执行控制", "1 at once, 2 when idle"]


@frame(0x91, "Reboot answer", "远程重启应答", when="answer")
class RebootAnswer(Frame, frozen=True, gc=False):
    """Followed by the loss of the connection and a new login."""

    pile_no: PileNo
    result: Annotated[int, wire.U8, "设置结果", "0 failed, 1 done"]


@frame(0x94, "Upgrade", "远程更新", answered_by=0x93, when="on demand")
class Upgrade(Frame, frozen=True, gc=False):
    """Lets the pile fetch new firmware by FTP."""

    pile_no: PileNo
    pile_model: Annotated[int, wire.U8, "桩型号", "1 DC, 2 AC (not as in 0x01)"]
    pile_power_kw: Annotated[int, wire.U16, "桩功率", "kW"]
    server_address: Annotated[str, wire.text(16), "升级服务器地址", "FTP server"]
    server_port: Annotated[int, wire.U16, "升级服务器端口", "port of the FTP server"]
    username: Annotated[str, wire.text(16), "用户名", "user of the FTP server"]
    password: Annotated[str, wire.text(16), "密码", "password of the FTP server"]
    file_path: Annotated[str, wire.text(32), "文件路径", "path of the file"]
    execute: Annotated[int, wire.U8, "执行控制", "1 at once, 2 when idle"]
    download_timeout_min: Annotated[int, wire.U8, "下载超时时间", "minutes"]


@frame(0x93, "Upgrade answer", "远程更新应答", when="when the upgrade is over or refused")
class UpgradeAnswer(Frame, frozen=True, gc=False):
    """End of an upgrade; the next login shows the version that runs."""

    pile_no: PileNo
    result: Annotated[
        int,
        wire.U8,
        "升级状态",
        "0 done, 1 wrong number, 2 wrong firmware for this pile, 3 download timed out",
    ]


@frame(
    0xF0,
    "QR code prefix",
    "后台远程下发二维码前缀指令",
    answered_by=0xF1,
    when="after each login",
    since="1.6 of 2023-08-21",
)
class QrCodePrefix(Frame, frozen=True, gc=False):
    """Beginning of the text of the QR codes that the pile shows."""

    pile_no: PileNo
    qr_format: Annotated[
        int, wire.U8, "二维码格式", "0 prefix and pile number, 1 the same and the gun number"
    ]
    prefix: Annotated[
        str,
        CountedText(("prefix_length", "二维码前缀长度", "number of characters, at most 200"), most=200),
        "二维码前缀",
        "not padded",
    ]


@frame(
    0xF1, "QR code prefix answer", "桩应答远程下发二维码前缀指令", when="answer", since="1.6 of 2023-08-21"
)
class QrCodePrefixAnswer(Frame, frozen=True, gc=False):
    """For information only."""

    pile_no: PileNo
    result: Annotated[int, wire.U8, "下发结果", "0 done, 1 failed; sources disagree"]
