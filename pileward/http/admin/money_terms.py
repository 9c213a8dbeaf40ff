"""What an operator decides about money: who bears an overrun, what happens without a record."""

from __future__ import annotations

from aiohttp import web

from pileward.http.admin.common import PREFIX, change, operator_of, tell
from pileward.http.api import Api
from pileward.services import operators
from pileward.services.operators import MoneyTerms

api = Api(PREFIX, tag="资金规则 / money terms")


@api.get("/money-terms", summary="资金规则 / money terms")
async def get_money_terms(request: web.Request) -> MoneyTerms:
    """Who bears what was not prepaid, and what happens to a charge without a record."""
    return await operators.money_terms(operator_of(request))


@api.put("/money-terms", summary="修改资金规则 / change the money terms")
async def change_money_terms(request: web.Request, body: MoneyTerms) -> MoneyTerms:
    """Give new terms, all of them; in force from the next settlement on."""
    async with change(request) as who:
        terms = await operators.change_money_terms(who, body)
    await tell(request, "operator", [str(operator_of(request))])
    return terms
