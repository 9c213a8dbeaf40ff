"""Piles and their guns: registered, adopted, changed, taken out of service, listed.

A change here is written first; then whoever made it tells the pile's actor, which loads its PileConfig anew.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from tortoise.exceptions import IntegrityError

from pileward.errors import ConflictError, InvalidError, NotFoundError
from pileward.models.kinds import CardCodec, CrcOrder, PileKind
from pileward.models.piles import Gun, Pile
from pileward.models.stations import Station
from pileward.services.audit import Who, note
from pileward.services.discovered import forget_discovered, get_discovered
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.pile_configs import (
    PileConfig,
    PileSettings,
    load_pile_config,
    load_pile_configs,
    load_some_configs,
)
from pileward.services.pile_facts import LoginFacts
from pileward.services.pile_models import ensure_default_model, get_model
from pileward.services.sql import utc
from pileward.services.stations import changed_values, must_be_own_tariff
from pileward.values import GUNS_MAX, is_pile_code, is_ykc_pile_code

__all__ = [
    "AdoptedPile",
    "CardCodec",
    "CrcOrder",
    "GunView",
    "NewPile",
    "PileChange",
    "PileConfig",
    "PileKind",
    "PileSettings",
    "PileView",
    "add_pile",
    "adopt_pile",
    "change_pile",
    "get_pile",
    "list_piles",
    "load_pile_config",
    "load_pile_configs",
    "load_some_configs",
    "normal_pile_code",
]

PROTOCOLS = ("ykc",)
YKC_DIGITS = 14

PileCode = Annotated[str, Meta(min_length=1, max_length=36, description="the number entered into the pile")]
Name = Annotated[str, Meta(max_length=60)]
GunCount = Annotated[int, Meta(ge=1, le=GUNS_MAX)]
Power = Annotated[int, Meta(ge=1_000, le=10_000_000, description="rated power of the pile, W")]


class NewPile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pile to register. Without `model_id` the default model, without `tariff_id` the station's tariff."""

    pile_code: PileCode
    station_id: int
    rated_power_w: Power
    name: Name = ""
    kind: PileKind = PileKind.DC
    gun_count: GunCount = 1
    protocol: str = "ykc"
    model_id: int | None = None
    tariff_id: int | None = None
    gun_names: list[Name] = []


class AdoptedPile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to register a discovered pile; what is left out is what the pile said of itself."""

    station_id: int
    name: Name = ""
    rated_power_w: Power | None = None
    kind: PileKind | None = None
    gun_count: GunCount | None = None
    model_id: int | None = None
    tariff_id: int | None = None


class PileChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to change of a pile; what is left out stays. Its code and protocol never change."""

    station_id: int | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    kind: PileKind | UnsetType = UNSET
    gun_count: GunCount | UnsetType = UNSET
    gun_names: list[Name] | UnsetType = UNSET
    rated_power_w: Power | UnsetType = UNSET
    model_id: int | UnsetType = UNSET
    tariff_id: int | UnsetType | None = UNSET
    is_in_maintenance: bool | UnsetType = UNSET
    is_retired: bool | UnsetType = UNSET


class GunView(msgspec.Struct, frozen=True):
    """A gun as shown."""

    gun_no: int
    name: str


class PileView(msgspec.Struct, frozen=True):
    """A registered pile as shown: what was decided, and what it said of itself at its last login."""

    id: int
    pile_code: str
    name: str
    station_id: int
    protocol: str
    kind: PileKind
    gun_count: int
    guns: list[GunView]
    rated_power_w: int
    model_id: int
    tariff_id: int | None
    is_in_maintenance: bool
    is_retired: bool
    created_at: datetime
    updated_at: datetime
    reported: LoginFacts | None
    last_login_at: datetime | None
    last_seen_at: datetime | None
    confirmed_billing_model_no: str | None
    confirmed_at: datetime | None


DEFAULT_POWER_W = {PileKind.DC: 120_000, PileKind.AC: 7_000}
"""Rated power of an adopted pile of which nobody said more."""


async def add_pile(who: Who, new: NewPile) -> PileView:
    """Register a pile; raises InvalidError, NotFoundError (station, model, tariff), ConflictError."""
    pile_code = normal_pile_code(new.protocol, new.pile_code)
    model_id = await _check_owners(who.operator_id, new.station_id, new.model_id, new.tariff_id)
    _check_gun_names(new.gun_names, new.gun_count)
    if await Pile.filter(pile_code=pile_code).exists():
        raise _pile_exists(pile_code)
    at = utc(who.at)
    try:
        row = await Pile.create(
            operator_id=who.operator_id,
            station_id=new.station_id,
            model_id=model_id,
            tariff_id=new.tariff_id,
            pile_code=pile_code,
            name=new.name.strip() or pile_code,
            protocol=new.protocol,
            kind=new.kind,
            gun_count=new.gun_count,
            rated_power_w=new.rated_power_w,
            created_at=at,
            updated_at=at,
        )
    except IntegrityError as error:
        raise _pile_exists(pile_code) from error
    await _set_guns(row.id, new.gun_count, new.gun_names)
    await forget_discovered(pile_code)
    view = await get_pile(who.operator_id, pile_code)
    await note(who, "pile.add", "pile", pile_code, None, view)
    return view


async def adopt_pile(who: Who, pile_code: str, adopted: AdoptedPile) -> PileView:
    """Register a discovered pile; raises NotFoundError for one not discovered, and what add_pile raises."""
    found = await get_discovered(pile_code)
    kind = adopted.kind or (PileKind.AC if found.facts.device_kind == PileKind.AC else PileKind.DC)
    new = NewPile(
        pile_code=found.pile_code,
        station_id=adopted.station_id,
        rated_power_w=adopted.rated_power_w or DEFAULT_POWER_W[kind],
        name=adopted.name,
        kind=kind,
        gun_count=adopted.gun_count or min(max(found.facts.gun_count, 1), GUNS_MAX),
        protocol=found.protocol,
        model_id=adopted.model_id,
        tariff_id=adopted.tariff_id,
    )
    return await add_pile(who, new)


async def change_pile(who: Who, pile_code: str, change: PileChange) -> PileView:
    """Change a pile; raises NotFoundError, InvalidError, ConflictError."""
    before = await get_pile(who.operator_id, pile_code)
    values = changed_values(change)
    gun_names: Any = values.pop("gun_names", None)
    gun_count: Any = values.get("gun_count", before.gun_count)
    if gun_names is not None:
        _check_gun_names(gun_names, gun_count)
    await _check_owners(
        who.operator_id,
        values.get("station_id", before.station_id),
        values.get("model_id", before.model_id),
        values.get("tariff_id", before.tariff_id),
    )
    if not values and gun_names is None:
        return before
    await Pile.filter(id=before.id).update(**values, updated_at=utc(who.at))
    if gun_names is not None or gun_count != before.gun_count:
        names = [gun.name for gun in before.guns] if gun_names is None else gun_names
        await _set_guns(before.id, gun_count, names[:gun_count])
    after = await get_pile(who.operator_id, pile_code)
    await note(who, "pile.change", "pile", pile_code, before, after)
    return after


async def get_pile(operator_id: int, pile_code: str) -> PileView:
    """One registered pile, retired or not; raises NotFoundError."""
    row = await Pile.get_or_none(pile_code=pile_code, operator_id=operator_id)
    if row is None:
        raise NotFoundError("pile_not_found", f"没有桩 {pile_code}", f"pile {pile_code} is not registered")
    return (await _views([row]))[0]


async def list_piles(
    operator_id: int,
    *,
    station_id: int | None = None,
    with_retired: bool = False,
    cursor: str | None = None,
    limit: int = PAGE_DEFAULT,
) -> Page[PileView]:
    """Registered piles, oldest first, of all stations or of one."""
    rows = Pile.filter(operator_id=operator_id)
    if station_id is not None:
        rows = rows.filter(station_id=station_id)
    if not with_retired:
        rows = rows.filter(is_retired=False)
    found, following = await page(rows, "pile", cursor, limit)
    return Page(await _views(found), following)


def normal_pile_code(protocol: str, text: str) -> str:
    """A pile code as its protocol writes it: YKC pads with zeros to 14 digits (YKC 1.6, 4.1).

    Raises InvalidError.
    """
    if protocol not in PROTOCOLS:
        raise InvalidError(
            "unknown_protocol",
            f"不支持协议 {protocol}",
            f"protocol {protocol} is not known",
            field="protocol",
        )
    code = text.strip()
    if protocol == "ykc":
        code = code.zfill(YKC_DIGITS)
        if not is_ykc_pile_code(code):
            raise InvalidError(
                "bad_pile_code",
                "云快充桩编号为 1 到 14 位数字，不能全为零",
                "a YKC pile number has 1 to 14 digits, not all zero",
                field="pile_code",
            )
    elif not is_pile_code(code):
        raise InvalidError("bad_pile_code", "桩编号无效", "this cannot be a pile code", field="pile_code")
    return code


async def _check_owners(operator_id: int, station_id: Any, model_id: Any, tariff_id: Any) -> int:
    """Station, model and tariff must be the operator's; returns the model, the default one for None."""
    if not await Station.filter(id=station_id, operator_id=operator_id).exists():
        raise NotFoundError(
            "station_not_found", "没有这个场站", f"station {station_id} does not exist", field="station_id"
        )
    await must_be_own_tariff(operator_id, tariff_id)
    if model_id is None:
        return (await ensure_default_model(operator_id)).id
    return (await get_model(operator_id, model_id)).id


def _check_gun_names(names: list[str], gun_count: int) -> None:
    if len(names) > gun_count:
        raise InvalidError(
            "too_many_gun_names",
            "枪名多于枪数",
            f"{len(names)} names for {gun_count} guns",
            field="gun_names",
        )


def _pile_exists(pile_code: str) -> ConflictError:
    return ConflictError(
        "pile_exists", f"桩 {pile_code} 已登记", f"pile {pile_code} is registered already", field="pile_code"
    )


async def _set_guns(pile_id: int, gun_count: int, names: list[str]) -> None:
    """Make the guns 1 to `gun_count` the pile's guns; those without a name are named by their number."""
    try:
        await Gun.filter(pile_id=pile_id, gun_no__gt=gun_count).delete()
    except IntegrityError as error:
        raise ConflictError(
            "gun_in_use",
            "多余的枪已有充电记录，不能删除",
            "a gun to be removed has records",
            field="gun_count",
        ) from error
    for gun_no in range(1, gun_count + 1):
        name = names[gun_no - 1].strip() if gun_no <= len(names) else ""
        await Gun.update_or_create(pile_id=pile_id, gun_no=gun_no, defaults={"name": name or f"{gun_no}号枪"})


async def _views(rows: list[Pile]) -> list[PileView]:
    guns: dict[int, list[GunView]] = {row.id: [] for row in rows}
    for gun in await Gun.filter(pile_id__in=list(guns)).order_by("pile_id", "gun_no") if guns else []:
        guns[gun.pile_id].append(GunView(gun.gun_no, gun.name))
    return [_view(row, guns[row.id]) for row in rows]


def _view(row: Pile, guns: list[GunView]) -> PileView:
    return PileView(
        id=row.id,
        pile_code=row.pile_code,
        name=row.name,
        station_id=row.station_id,
        protocol=row.protocol,
        kind=row.kind,
        gun_count=row.gun_count,
        guns=guns,
        rated_power_w=row.rated_power_w,
        model_id=row.model_id,
        tariff_id=row.tariff_id,
        is_in_maintenance=row.is_in_maintenance,
        is_retired=row.is_retired,
        created_at=row.created_at,
        updated_at=row.updated_at,
        reported=None if row.last_login_at is None else _reported(row),
        last_login_at=row.last_login_at,
        last_seen_at=row.last_seen_at,
        confirmed_billing_model_no=row.confirmed_billing_model_no,
        confirmed_at=row.confirmed_at,
    )


def _reported(row: Pile) -> LoginFacts:
    return LoginFacts(
        device_kind=row.reported_kind,
        gun_count=row.reported_gun_count or 0,
        protocol_version=row.protocol_version,
        software_version=row.software_version,
        network=row.network,
        iccid=row.iccid,
        carrier=row.carrier,
        remote_address=row.remote_address,
    )
