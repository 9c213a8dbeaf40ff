"""Pile models: the settings in which makers differ."""

from __future__ import annotations

from aiohttp import web

from pileward.http.admin.common import PREFIX, IdPath, change, operator_of, tell
from pileward.http.api import Api
from pileward.http.paging import Page, PageQuery, page_of
from pileward.services import pile_models
from pileward.services.pile_models import NewPileModel, PileModelView

api = Api(PREFIX, tag="桩型号 / pile models")


@api.post("/pile-models", summary="新建桩型号 / create a pile model", status=201, problems=(409,))
async def create_pile_model(request: web.Request, body: NewPileModel) -> PileModelView:
    """Create a pile model."""
    async with change(request) as who:
        return await pile_models.add_model(who, body)


@api.get("/pile-models", summary="桩型号列表 / list pile models")
async def list_pile_models(request: web.Request, query: PageQuery) -> Page[PileModelView]:
    """Pile models, oldest first; the first is for piles of which nothing else is known."""
    found = await pile_models.list_models(operator_of(request), cursor=query.cursor, limit=query.limit)
    return page_of(found)


@api.get("/pile-models/{id}", summary="一个桩型号 / one pile model")
async def get_pile_model(request: web.Request, path: IdPath) -> PileModelView:
    """One pile model."""
    return await pile_models.get_model(operator_of(request), path.id)


@api.put("/pile-models/{id}", summary="修改桩型号 / change a pile model", problems=(409,))
async def change_pile_model(request: web.Request, path: IdPath, body: NewPileModel) -> PileModelView:
    """Give a pile model new values, all of them; its piles follow at once."""
    async with change(request) as who:
        model = await pile_models.change_model(who, path.id, body)
    await tell(request, "pile_model", [str(model.id)])
    return model
