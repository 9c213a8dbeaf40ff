"""Words for the stable codes of guns, orders and refunds, Chinese and English, for drivers and staff."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pileward.codecs.ykc import enums
from pileward.messages.charging import RefundStep, SessionRow, SessionState

Words = tuple[str, str]

GUN_STATES: Final[Mapping[str, Words]] = {
    "unknown": ("未知", "unknown"),
    "offline": ("离线", "offline"),
    "idle": ("空闲", "idle"),
    "plugged": ("已插枪", "plugged in"),
    "starting": ("启动中", "starting"),
    "charging": ("充电中", "charging"),
    "discharging": ("放电中", "discharging"),
    "suspended": ("已暂停", "suspended"),
    "stopping": ("停止中", "stopping"),
    "finished": ("已结束，请拔枪", "finished, please unplug"),
    "reserved": ("已预约", "reserved"),
    "maintenance": ("维护中", "in maintenance"),
    "fault": ("故障", "fault"),
}

SESSION_STATES: Final[Mapping[SessionState, Words]] = {
    SessionState.CREATED: ("待支付", "waiting for payment"),
    SessionState.FUNDED: ("已支付，待启动", "paid, ready to start"),
    SessionState.STARTING: ("启动中", "starting"),
    SessionState.CHARGING: ("充电中", "charging"),
    SessionState.STOPPING: ("停止中", "stopping"),
    SessionState.AWAITING_RECORD: ("已结束，等待充电桩结算数据", "ended, waiting for the pile's record"),
    SessionState.SETTLING: ("结算中", "settling"),
    SessionState.REFUNDING: ("已结算，退款中", "settled, refund under way"),
    SessionState.CLOSED: ("已完成", "done"),
    SessionState.START_FAILED: ("启动失败，全额退款中", "start failed, full refund under way"),
    SessionState.INTERRUPTED: ("充电桩失联，充电仍在继续", "the pile is out of reach, charging goes on"),
    SessionState.DISPUTED: ("人工核对中", "being checked by staff"),
    SessionState.CANCELLED: ("已取消", "cancelled"),
}

REFUND_STAGES: Final[Mapping[RefundStep, tuple[str, str, str]]] = {
    RefundStep.NEW: ("sent", "退款已发起", "refund sent"),
    RefundStep.SUBMITTED: ("sent", "退款已发起", "refund sent"),
    RefundStep.PROCESSING: (
        "accepted",
        "微信支付已受理，零钱几分钟内、银行卡 1 至 3 个工作日到账",
        "accepted by WeChat Pay: minutes to the balance, 1 to 3 working days to a card",
    ),
    RefundStep.SUCCEEDED: ("arrived", "退款已到账", "refund arrived"),
    RefundStep.CLOSED: ("replaced", "退款未成，已重新发起", "did not go through, sent again"),
    RefundStep.ABNORMAL: ("checked_by_staff", "退款账户异常，人工处理中", "staff look after this refund"),
    RefundStep.MANUAL: ("checked_by_staff", "退款由人工处理中", "staff look after this refund"),
}
"""What a driver sees of a refund: sent, accepted by WeChat Pay, arrived; or how it takes longer."""

START_FAILURES: Final[Mapping[str, Words]] = {
    "unpaid": ("未在规定时间内支付", "not paid in time"),
    "cancelled": ("已由您取消", "cancelled by you"),
    "not_started": ("支付后未启动充电", "paid, but never started"),
    "not_plugged": ("未检测到插枪", "no vehicle was plugged in"),
    "no_start": ("充电桩未开始充电", "the pile did not begin to charge"),
    "no_answer": ("充电桩未应答", "the pile did not answer"),
    "pile_offline": ("充电桩离线", "the pile went offline"),
    "pile_mismatch": ("充电桩编号不符", "the pile did not recognise its number"),
    "already_charging": ("充电枪已在充电", "the gun was charging already"),
    "gun_busy": ("充电枪被占用", "the gun was in use"),
    "gun_fault": ("充电枪故障", "the gun is faulty"),
    "gun_offline": ("充电枪离线", "the gun is offline"),
    "device_fault": ("充电桩故障", "the pile is faulty"),
    "device_offline": ("充电桩离线", "the pile is offline"),
    "in_maintenance": ("充电桩维护中", "the pile is in maintenance"),
    "pay_mismatch": ("支付金额与订单不符", "the payment does not match the order"),
}
STOP_REASONS: Final[Mapping[str, Words]] = {
    "user": ("您已停止充电", "stopped by you"),
    "remote": ("您已停止充电", "stopped by you"),
    "operator": ("由运营商停止", "stopped by the operator"),
    "full": ("已充满", "full"),
    "energy_limit": ("已达设定电量", "energy limit reached"),
    "time_limit": ("已达设定时间", "time limit reached"),
    "cost_limit": ("预付金额即将用完", "the prepaid money is nearly used"),
    "no_record": (
        "未收到充电桩结算数据，按最后数据暂估",
        "no record: billed for now by the last live values",
    ),
    "finished": ("充电完成", "finished"),
    "aborted": ("充电异常中止", "stopped by a fault"),
    "start_failed": ("启动失败", "did not start"),
    "unknown": ("原因未知", "reason unknown"),
}
WAITING: Final[Mapping[str, Words]] = {
    "start_sent": ("启动命令已下发", "the start was sent"),
    "starting": ("充电桩正在启动", "the pile is starting"),
    "waiting_plug": ("请插好充电枪，一分钟内有效", "please plug in within a minute"),
    "cancelling": ("正在取消", "being cancelled"),
    "no_answer": ("正在核实充电桩状态", "asking the pile once more"),
    "pile_lost": ("充电桩失联，正在等待恢复", "the pile is out of reach, waiting for it"),
    "stopping": ("正在停止", "stopping"),
    "awaiting_record": (
        "充电已结束，等待充电桩结算数据",
        "charging has ended, waiting for the pile's record",
    ),
    "provisional": (
        "未收到充电桩结算数据，正在按最后数据暂估",
        "no record came: being billed for now by the last live values",
    ),
    "record_missing": ("充电桩结算数据未到，正在等待", "the record is late, still waiting"),
    "settling": ("正在结算", "settling"),
}
"""What a session's `detail` means while it is waited for."""


_STOPPED_BY_US: Final = 0x40
"""YKC 1.6, 0x3B: stopped from the app; all that a pile knows of a stop command."""


def gun_words(state: str) -> Words:
    """The words for a gun's state; an unknown one is its own word."""
    return GUN_STATES.get(state, (state, state))


def start_failure_words(row: SessionRow) -> Words | None:
    """Why an order never charged; None when it did, or may still."""
    if not row.start_failure:
        return None
    return START_FAILURES.get(row.start_failure, ("启动失败", row.start_failure.replace("_", " ")))


def stop_words(row: SessionRow) -> Words | None:
    """Why a charge ended; None while it has not.

    The pile's own word is the most exact, but for a stop that we asked it for: then we know better why.
    """
    told = enums.stop_reason(row.stop_code) if row.protocol == "ykc" and row.stop_code is not None else None
    if row.stop_reason and (told is None or told.value == _STOPPED_BY_US):
        return STOP_REASONS.get(row.stop_reason, ("已停止", row.stop_reason.replace("_", " ")))
    return (told.zh, told.en) if told is not None else None
