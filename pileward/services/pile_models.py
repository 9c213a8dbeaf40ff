"""Pile models (桩型号): the settings in which makers differ, shared by all piles of a type."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pileward.errors import ConflictError, NotFoundError
from pileward.models.kinds import CardCodec, CrcOrder
from pileward.models.piles import Pile, PileModel
from pileward.services.audit import Who, note
from pileward.services.paging import PAGE_DEFAULT, Page, page

DEFAULT_MAKER: Final = "通用 generic"
DEFAULT_NAME: Final = "YKC"

Name = Annotated[str, Meta(min_length=1, max_length=60)]
OfflineAfter = Annotated[int, Meta(ge=5, le=3_600, description="seconds of silence until a pile is offline")]
HeartbeatEvery = Annotated[int, Meta(ge=1, le=600, description="seconds between heartbeats of a gun")]
SyncEvery = Annotated[
    int, Meta(ge=600, le=604_800, description="seconds between settings of the pile's clock")
]

RateTolerance = Annotated[
    int, Meta(ge=0, le=1_000, description="fen that the pile's own amount of one rate may be from ours")
]
TotalTolerance = Annotated[
    int, Meta(ge=0, le=1_000, description="fen that the pile's own amount in all may be from ours")
]


class NewPileModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pile model to add."""

    maker: Name
    name: Name
    offline_after_s: OfflineAfter = 30
    heartbeat_s: HeartbeatEvery = 10
    time_sync_s: SyncEvery = 86_400
    crc_order: CrcOrder = CrcOrder.MIRROR
    card_codec: CardCodec = CardCodec.HEX
    rate_tolerance_fen: RateTolerance = 2
    total_tolerance_fen: TotalTolerance = 1


class PileModelView(msgspec.Struct, frozen=True):
    """A pile model as shown."""

    id: int
    maker: str
    name: str
    offline_after_s: int
    heartbeat_s: int
    time_sync_s: int
    crc_order: CrcOrder
    card_codec: CardCodec
    rate_tolerance_fen: int
    total_tolerance_fen: int


async def ensure_default_model(operator_id: int) -> PileModelView:
    """The model for piles of which nothing else is known."""
    row, _ = await PileModel.get_or_create(operator_id=operator_id, maker=DEFAULT_MAKER, name=DEFAULT_NAME)
    return _view(row)


async def add_model(who: Who, new: NewPileModel) -> PileModelView:
    """Add a pile model; raises ConflictError."""
    await _must_be_free(who.operator_id, new, except_id=None)
    row = await PileModel.create(operator_id=who.operator_id, **msgspec.structs.asdict(new))
    await note(who, "pile_model.add", "pile_model", str(row.id), None, _view(row))
    return _view(row)


async def change_model(who: Who, model_id: int, new: NewPileModel) -> PileModelView:
    """Give a pile model new values, all of them; raises NotFoundError, ConflictError."""
    before = await get_model(who.operator_id, model_id)
    await _must_be_free(who.operator_id, new, except_id=model_id)
    await PileModel.filter(id=model_id, operator_id=who.operator_id).update(**msgspec.structs.asdict(new))
    after = await get_model(who.operator_id, model_id)
    await note(who, "pile_model.change", "pile_model", str(model_id), before, after)
    return after


async def get_model(operator_id: int, model_id: int) -> PileModelView:
    """One pile model; raises NotFoundError."""
    row = await PileModel.get_or_none(id=model_id, operator_id=operator_id)
    if row is None:
        raise NotFoundError(
            "pile_model_not_found",
            "没有这个桩型号",
            f"pile model {model_id} does not exist",
            field="model_id",
        )
    return _view(row)


async def list_models(
    operator_id: int, *, cursor: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[PileModelView]:
    """Pile models, oldest first."""
    found, following = await page(PileModel.filter(operator_id=operator_id), "pile_model", cursor, limit)
    return Page([_view(row) for row in found], following)


async def pile_codes_of_model(operator_id: int, model_id: int) -> list[str]:
    """Piles to tell of a change."""
    rows = Pile.filter(operator_id=operator_id, model_id=model_id, is_retired=False).order_by("id")
    return [str(code) for code in await rows.values_list("pile_code", flat=True)]


async def _must_be_free(operator_id: int, new: NewPileModel, except_id: int | None) -> None:
    same = PileModel.filter(operator_id=operator_id, maker=new.maker, name=new.name)
    if await same.exclude(id=except_id or 0).exists():
        raise ConflictError(
            "pile_model_exists",
            f"型号 {new.maker} {new.name} 已存在",
            f"pile model {new.maker} {new.name} exists already",
            field="name",
        )


def _view(row: PileModel) -> PileModelView:
    return PileModelView(
        id=row.id,
        maker=row.maker,
        name=row.name,
        offline_after_s=row.offline_after_s,
        heartbeat_s=row.heartbeat_s,
        time_sync_s=row.time_sync_s,
        crc_order=row.crc_order,
        card_codec=row.card_codec,
        rate_tolerance_fen=row.rate_tolerance_fen,
        total_tolerance_fen=row.total_tolerance_fen,
    )
