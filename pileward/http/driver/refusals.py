"""Refusals that a driver may meet: a stable code, words for people, and what to do next.

`detail.next` is for the app: the name of the step that helps. `detail.serial` leads to the order concerned;
an order of somebody else is never named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pileward.http.problems import HttpError
from pileward.messages.commands import Outcome
from pileward.values import ResultStatus


class Advice(NamedTuple):
    """One row: status, words, and the step that helps."""

    status: int
    message: str
    next: str


ADVICE: Final[Mapping[str, Advice]] = {
    # ordering
    "order_open": Advice(
        409,
        "您有进行中的订单，请先前往该订单 / you have an order under way: go there first",
        "open_session",
    ),
    "gun_taken": Advice(
        409, "此枪已被他人下单，请换一把枪 / somebody else has ordered this gun: choose another", "choose_gun"
    ),
    "gun_busy": Advice(409, "充电枪使用中，请换一把枪 / the gun is in use: choose another", "choose_gun"),
    "gun_fault": Advice(409, "充电枪故障，请换一把枪 / the gun is faulty: choose another", "choose_gun"),
    "gun_offline": Advice(409, "充电枪离线，请换一把枪 / the gun is offline: choose another", "choose_gun"),
    "pile_offline": Advice(409, "充电桩离线，请换一台桩 / the pile is offline: choose another", "choose_gun"),
    "in_maintenance": Advice(
        409, "充电桩维护中，请换一台桩 / the pile is in maintenance: choose another", "choose_gun"
    ),
    "tariff_pending": Advice(
        409, "充电桩正在更新电价，请稍后再试 / the pile is getting its prices: try again soon", "retry"
    ),
    "no_tariff": Advice(409, "充电桩未配置电价 / the pile has no prices", "choose_gun"),
    "driver_blocked": Advice(
        403, "账户已停用，请联系客服 / your account is blocked: ask the service desk", "contact_service"
    ),
    "limit_beyond_prepaid": Advice(
        400, "限额不能超过预付金额 / the limit is more than is paid ahead", "change_request"
    ),
    # paying
    "key_reused": Advice(
        409,
        "幂等键已用于另一请求，请换新键 / this Idempotency-Key was used for another request: take a new one",
        "new_key",
    ),
    "already_paid": Advice(
        409, "订单已支付，无需再付，可直接启动 / it is paid already: start charging", "start"
    ),
    "payment_refused": Advice(
        502, "微信支付未接受此订单，请重新下单 / WeChat Pay refused the order: order again", "order_again"
    ),
    "payment_unknown": Advice(
        503,
        "微信支付暂未答复，请用同一幂等键重试 / WeChat Pay does not answer: repeat with the same key",
        "retry_same_key",
    ),
    "login_refused": Advice(
        401, "登录凭证无效或已用过，请重新登录 / the login code is wrong or used: log in again", "login_again"
    ),
    "login_unavailable": Advice(
        503, "登录服务暂不可用，请稍后再试 / the login service does not answer: try again soon", "retry"
    ),
    # charging
    "not_funded": Advice(409, "订单尚未支付，请先付款 / it is not paid yet: pay first", "pay"),
    "already_started": Advice(
        409, "订单已启动，请在充电页查看或停止 / it has been started: look at it, or stop it", "open_session"
    ),
    "order_over": Advice(409, "订单已结束，请重新下单 / the order is over: make a new one", "order_again"),
    "not_charging": Advice(
        409, "当前没有在充电，请查看订单 / nothing is charging: look at the order", "open_session"
    ),
    "store_busy": Advice(503, "系统繁忙，请稍后再试 / too busy, try again soon", "retry"),
    "too_many_commands": Advice(503, "系统繁忙，请稍后再试 / too busy, try again soon", "retry"),
}
"""Everything that this API refuses beside what is wrong with the request itself."""

REFUNDED: Final = "款项已全额退回 / all the money is on its way back"
"""Added where a refused start has ended its order."""

_NOT_FOUND: Final = {"unknown_session": "session_not_found", "not_yours": "session_not_found"}
SESSION_NOT_FOUND: Final = "没有这个充电订单 / there is no such order"
GUN_NOT_FOUND: Final = "没有这把充电枪，请核对编号 / there is no such gun: check its number"


class RefusedError(HttpError):
    """A refusal with its advice; `code` is a key of `ADVICE` unless status and message are given."""

    def __init__(
        self,
        code: str,
        *,
        status: int | None = None,
        message: str = "",
        headers: Mapping[str, str] | None = None,
        **detail: Any,
    ) -> None:
        Exception.__init__(self, code)
        advice = ADVICE.get(code) or Advice(409, code, "open_session")
        self.code = code
        self.status = advice.status if status is None else status
        self.message = message or advice.message
        self.headers = dict(headers or {})
        self.detail = {"next": advice.next, **detail}


def session_not_found() -> RefusedError:
    """No such order, or somebody else's: both look the same."""
    return RefusedError("session_not_found", status=404, message=SESSION_NOT_FOUND, next="list_sessions")


def gun_not_found() -> RefusedError:
    """No such gun at this operator's piles."""
    return RefusedError("gun_not_found", status=404, message=GUN_NOT_FOUND, next="scan_again")


def refusal_of(outcome: Outcome, **detail: Any) -> RefusedError:
    """What an actor has said no to, as an answer."""
    code = outcome.reason
    if outcome.status is ResultStatus.OFFLINE:
        code = "pile_offline"
    elif outcome.status is ResultStatus.TIMED_OUT:
        return RefusedError("no_answer", status=504, message=outcome.detail, next="retry", **detail)
    if code in _NOT_FOUND:
        return session_not_found()
    if code == "unknown_gun":
        return gun_not_found()
    message = "" if code in ADVICE else outcome.detail
    return RefusedError(code or "refused", message=message, **detail)
