"""Refunds: the outbox, and what a person can do about one that is stuck."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from pileward.actors.refunds import ResumedRefunds, ResumeRefunds
from pileward.errors import ConflictError, NotFoundError
from pileward.http.admin.common import PREFIX, change, operator_of
from pileward.http.admin.sessions import outbox_row, wake_refunds
from pileward.http.api import Api
from pileward.http.node import NODE
from pileward.http.paging import Page, PageQuery
from pileward.http.schemas.sessions import OutboxRow
from pileward.messages.charging import RefundRow, RefundStep
from pileward.messages.charging_writes import RetryRefund
from pileward.services import refunds
from pileward.services.audit import note

api = Api(PREFIX, tag="退款 / refunds")

RESUME_S: Final = 5.0


class RefundsQuery(PageQuery, frozen=True, kw_only=True):
    """Which refunds."""

    step: Annotated[RefundStep, Meta(description="退款进度 / how far it has come")] | None = None


class RefundPath(msgspec.Struct, frozen=True):
    """A refund by its number."""

    out_refund_no: Annotated[str, Meta(pattern="^R[0-9]{20}-[0-9]{1,4}$")]


class Resumed(msgspec.Struct, frozen=True):
    """Whether the worker had been stopped."""

    was_stopped: bool


@api.get("/refunds", summary="退款列表 / list refunds")
async def list_refunds(request: web.Request, query: RefundsQuery) -> Page[OutboxRow]:
    """Refunds, newest first, all or those at one step: `manual` and `abnormal` wait for a person."""
    found = await refunds.list_refunds(
        operator_of(request), step=query.step, cursor=query.cursor, limit=query.limit
    )
    return Page([outbox_row(row) for row in found.items], found.next_cursor)


@api.post("/refunds/{out_refund_no}/retry", summary="重新退款 / try a stuck refund again", problems=(409,))
async def retry_refund(request: web.Request, path: RefundPath) -> OutboxRow:
    """Give a refund that has come to nothing the next number; refused while the first may still arrive."""
    row = await _own(request, path.out_refund_no)
    async with change(request) as person:
        connection = request.app[NODE].database.connection
        write = RetryRefund(row.out_refund_no, person.actor, person.at)
        [moved] = await refunds.retry_refunds(connection, [write])
        if moved.successor is None:
            raise ConflictError(
                "refund_not_stuck",
                f"退款处于 {row.step}，不能重新发起",
                f"the refund is {row.step}: only one that is abnormal or manual can be tried again",
            )
        after = outbox_row(moved.successor)
        await note(person, "refund.retry", "refund", row.out_refund_no, outbox_row(row), after)
    wake_refunds(request)
    return after


@api.post("/refunds/resume", summary="恢复退款 / let refunds go on", problems=(503, 504))
async def resume_refunds(request: web.Request) -> Resumed:
    """Let the worker go on that stopped because the provider refused our own settings."""
    node = request.app[NODE]
    answer = await node.engine.ask_async(node.refunds, ResumeRefunds(), RESUME_S)
    assert isinstance(answer, ResumedRefunds), answer
    if answer.was_stopped:
        async with change(request) as person:
            await note(person, "refunds.resume", "refunds", "worker", None, None)
    return Resumed(answer.was_stopped)


async def _own(request: web.Request, out_refund_no: str) -> RefundRow:
    row = await refunds.refund_by_number(request.app[NODE].database.connection, out_refund_no)
    if row.operator_id != operator_of(request):
        zh, en = "没有这笔退款", f"refund {out_refund_no} does not exist"
        raise NotFoundError("refund_not_found", zh, en)
    return row
