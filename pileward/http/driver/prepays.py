"""Ordering and paying: a gun is reserved, then the provider gives the means to pay.

The order is durable before the provider hears of it, and its number never changes: whatever breaks in
between, the same request leads to the same order.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, NamedTuple

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.actors.session_state import PAY_WITHIN_S
from pileward.http.api import Access, Api
from pileward.http.driver.common import (
    PREFIX,
    SerialPath,
    driver_of,
    now_of,
    own_session,
    pile_actor,
)
from pileward.http.driver.refusals import RefusedError, gun_not_found, refusal_of
from pileward.http.driver.stations import find_config, gun_code
from pileward.http.idempotency import Keyed, once
from pileward.http.node import NODE
from pileward.http.problems import HttpError
from pileward.http.schemas.driver import Ordered, PaidCheck
from pileward.logs import logger
from pileward.messages.charging import ChargeLimit, LimitKind, PaymentRow, SessionRow, SessionState
from pileward.messages.charging_writes import OrderOpen
from pileward.messages.commands import Outcome
from pileward.messages.sessions import (
    CancelOrder,
    CheckPayment,
    PaymentChecked,
    Prepay,
    PrepayFailed,
    PrepayReady,
    Reserved,
    ReserveGun,
)
from pileward.services.drivers import get_driver, openid_of
from pileward.services.pile_configs import PileConfig
from pileward.services.serials import trade_no
from pileward.services.sessions import open_serial_of_driver
from pileward.services.wire_numbers import make_wire_number

api = Api(PREFIX, tag="司机：下单支付 / drivers: ordering and paying", access=Access.DRIVER)

ORDERS_PER_S: Final = 0.5
ORDERS_BURST: Final = 20
"""Orders of one driver, real time: each is a row, and a call to the provider."""
PREPAY_MIN_FEN: Final = 100
PREPAY_MAX_FEN: Final = 100_000
"""1 to 1,000 yuan."""
RESERVE_S: Final = 10.0
PROVIDER_S: Final = 25.0
"""Real seconds; the payments actor's own deadlines are shorter."""
CANCEL_S: Final = 5.0
DESCRIPTION_MAX: Final = 127
DEVICE_MAX: Final = 32

_LIMIT_MAX: Final = {LimitKind.ENERGY: 10_000_000, LimitKind.TIME: 86_400, LimitKind.MONEY: PREPAY_MAX_FEN}
"""1,000 kWh, a day, and what can be paid ahead."""

log = logger(__name__)


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ends the charge before the money does; value in 1e-4 kWh, seconds or fen."""

    kind: LimitKind = LimitKind.FULL
    value: Annotated[int, Meta(ge=0, le=10_000_000)] = 0


class PrepayBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order: which gun, how much is paid ahead, and when to stop."""

    gun_code: Annotated[str, Meta(min_length=3, max_length=38, pattern="^[0-9A-Za-z_.-]+$")]
    amount_fen: Annotated[int, Meta(ge=PREPAY_MIN_FEN, le=PREPAY_MAX_FEN, description="预付金额，分 / fen")]
    limit: Limit = Limit()


class _Wanted(NamedTuple):
    """What is ordered: two orders are the same when all of it is."""

    pile_code: str
    gun_no: int
    amount_fen: int
    limit: ChargeLimit


@api.post(
    "/prepays",
    summary="下单预付 / order and pay ahead",
    status=201,
    problems=(403, 404, 409, 429, 502, 503, 504),
)
async def make_prepay(request: web.Request, headers: Keyed, body: PrepayBody) -> Ordered:
    """Reserve a gun and get what `wx.requestPayment` needs. What is not used comes back by itself.

    One order a driver and a gun: a second one is refused with `order_open`, and `detail.serial` leads to the
    first. Repeat with the same Idempotency-Key until there is an answer.
    """

    driver_id = driver_of(request).driver_id
    if not await request.app[NODE].bus.allow(f"order:{driver_id}", ORDERS_PER_S, ORDERS_BURST):
        raise HttpError("too_many_requests", headers={"Retry-After": "2"})

    async def work(is_retry: bool) -> Ordered:
        return await _order(request, body, is_retry)

    ordered: Ordered = await once(request, headers.idempotency_key, body, work)
    return ordered


@api.post(
    "/prepays/{serial}/pay-params", summary="继续支付 / pay an open order", problems=(409, 502, 503, 504)
)
async def pay_order(request: web.Request, path: SerialPath) -> Ordered:
    """Fresh payment parameters of an order that is not paid yet; the amount and the number stay."""
    row = await own_session(request, path.serial)
    if row.state is not SessionState.CREATED:
        raise RefusedError("already_paid" if row.paid_fen else "order_over", serial=row.serial)
    return await _pay_params(request, row)


@api.post(
    "/prepays/{serial}/paid-check", summary="支付完成确认 / tell that paying is over", problems=(503, 504)
)
async def check_prepay(request: web.Request, path: SerialPath) -> PaidCheck:
    """The app says that paying is over; the provider is asked, and only its word counts."""
    node = request.app[NODE]
    row = await own_session(request, path.serial)
    if row.paid_fen or row.state is not SessionState.CREATED:
        return PaidCheck(row.serial, row.paid_fen > 0, row.state.word)
    answer = await node.engine.ask_async(node.payments, CheckPayment(row.out_trade_no), PROVIDER_S)
    assert isinstance(answer, PaymentChecked), answer
    state = answer.session_state if answer.session_state is not None else row.state
    return PaidCheck(row.serial, answer.is_paid, state.word)


async def _order(request: web.Request, body: PrepayBody, is_retry: bool) -> Ordered:
    """Reserve the gun, unless this very request has done so before, and ask the provider."""
    node, caller = request.app[NODE], driver_of(request)
    limit = _limit(body)
    driver = await get_driver(caller.driver_id, operator_id=caller.operator_id)
    if driver.is_blocked:
        raise RefusedError("driver_blocked")
    config, gun_no = find_config(node, caller.operator_id, body.gun_code)
    wanted = _Wanted(config.pile_code, gun_no, body.amount_fen, limit)
    open_serial = await open_serial_of_driver(node.database.connection, driver.id)
    if open_serial is not None:
        return await _go_on(request, wanted, open_serial, is_retry)
    address = pile_actor(request, config.pile_code)
    if address is None:
        raise gun_not_found()
    row, payment = await _rows(request, config, wanted)
    answer = await node.engine.ask_async(address, ReserveGun(row, payment), RESERVE_S)
    if isinstance(answer, OrderOpen):
        if answer.is_own:
            return await _go_on(request, wanted, answer.serial, is_retry)
        raise RefusedError("gun_taken")
    if isinstance(answer, Outcome):
        raise refusal_of(answer)
    assert isinstance(answer, Reserved), answer
    return await _pay_params(request, row)


async def _go_on(request: web.Request, wanted: _Wanted, serial: str, is_retry: bool) -> Ordered:
    """There is an open order: the one that this request made, or one that the driver is led to."""
    row = await own_session(request, serial)
    is_same = wanted == _Wanted(row.pile_code, row.gun_no, row.prepaid_fen, row.limit)
    if is_retry and is_same and row.state is SessionState.CREATED:
        return await _pay_params(request, row)
    raise RefusedError("order_open", serial=row.serial, state=row.state.word)


async def _pay_params(request: web.Request, row: SessionRow) -> Ordered:
    """Ask the provider for the means to pay a stored order."""
    node = request.app[NODE]
    answer = await node.engine.ask_async(node.payments, Prepay(row.out_trade_no), PROVIDER_S)
    if isinstance(answer, PrepayReady):
        expires_at = row.requested_at + timedelta(seconds=PAY_WITHIN_S)
        return Ordered(row.serial, row.out_trade_no, row.prepaid_fen, expires_at, answer.params)
    assert isinstance(answer, PrepayFailed), answer
    log.warning("prepay_failed", session=row.serial, pile=row.pile_code, reason=answer.reason)
    raise await _unpayable(request, row, answer.reason)


async def _unpayable(request: web.Request, row: SessionRow, reason: str) -> HttpError:
    """Why an order cannot be paid now; one that never can be is given up, so that its gun is free again."""
    kind, _, code = reason.partition(":")
    if kind == "not_configured":
        return HttpError("payments_off")
    if reason == "already_paid" or code == "ORDER_PAID":
        return RefusedError("already_paid", serial=row.serial)
    if kind in ("closed", "expired") or code == "ORDER_CLOSED":
        return RefusedError("order_over", serial=row.serial)
    if kind != "refused":
        return RefusedError("payment_unknown", headers={"Retry-After": "2"}, serial=row.serial)
    address = pile_actor(request, row.pile_code)
    if address is not None:
        cancel = CancelOrder(row.serial, row.driver_id)
        await request.app[NODE].engine.ask_async(address, cancel, CANCEL_S)
    return RefusedError("payment_refused", serial=row.serial, provider_code=code)


def _limit(body: PrepayBody) -> ChargeLimit:
    """The limit asked for; raises where it cannot be one."""
    limit = body.limit
    most = _LIMIT_MAX.get(limit.kind)
    if most is None:
        return ChargeLimit()
    if not 1 <= limit.value <= most:
        raise RefusedError(
            "invalid_field",
            status=400,
            message=f"字段 limit.value：须为 1 到 {most} / field limit.value: 1 to {most}",
            next="change_request",
            field="limit.value",
            where="body",
        )
    if limit.kind is LimitKind.MONEY and limit.value > body.amount_fen:
        raise RefusedError("limit_beyond_prepaid", field="limit.value")
    return ChargeLimit(limit.kind, limit.value)


async def _rows(request: web.Request, config: PileConfig, wanted: _Wanted) -> tuple[SessionRow, PaymentRow]:
    """An order and its payment as they will be stored; the prices are those of this moment."""
    node, caller, now = request.app[NODE], driver_of(request), now_of(request)
    if config.tariff is None:
        raise RefusedError("no_tariff")
    merchant = node.merchant
    openid = await openid_of(caller.driver_id, merchant.channel, merchant.appid)
    serial = node.serials.next(now)
    gun_no = wanted.gun_no
    code = gun_code(config.pile_code, gun_no)
    row = SessionRow(
        serial=serial,
        operator_id=caller.operator_id,
        driver_id=caller.driver_id,
        station_id=config.station_id,
        pile_code=config.pile_code,
        gun_no=gun_no,
        protocol=config.protocol,
        wire_number=make_wire_number(config.protocol, config.pile_code, gun_no, serial),
        tariff=config.tariff,
        prepaid_fen=wanted.amount_fen,
        out_trade_no=trade_no(serial, 1),
        requested_at=now,
        limit=wanted.limit,
    )
    payment = PaymentRow(
        out_trade_no=row.out_trade_no,
        serial=serial,
        operator_id=row.operator_id,
        driver_id=caller.driver_id,
        channel=merchant.channel,
        merchant=merchant.mchid,
        openid=openid,
        fen=wanted.amount_fen,
        description=f"充电预付 {config.station_name} {config.name} {gun_no}号枪"[:DESCRIPTION_MAX],
        attach=f"{code}:{serial}",
        device_id=code[:DEVICE_MAX],
        expires_at=now + timedelta(seconds=PAY_WITHIN_S),
        created_at=now,
    )
    return row, payment
