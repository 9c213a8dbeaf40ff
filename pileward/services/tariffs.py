"""Tariffs (计费模型) and their versions: four rates, 48 half hours, a number that no two versions share.

A version never changes: another price is a new version with a new billing model number, so that every pile's
own check notices it (YKC 1.6, 8.9). In force is the newest version whose time has come: a newer version
therefore also replaces what had been planned before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta
from tortoise.exceptions import IntegrityError
from tortoise.expressions import Q

from pileward.errors import ConflictError, InvalidError, NotFoundError
from pileward.models.piles import Pile
from pileward.models.tariffs import Tariff, TariffVersion
from pileward.services.audit import Who, note
from pileward.services.paging import PAGE_DEFAULT, Page, page
from pileward.services.sql import utc
from pileward.values import PRICE_MAX_E5_YUAN, RATE_NAMES_ZH, SLOTS_A_DAY, Rate, RatePrice, TariffModel

BILLING_MODEL_NO_MAX: Final = 9_999
Slots = Annotated[
    str,
    Meta(
        pattern=f"^[0-3]{{{SLOTS_A_DAY}}}$",
        description="48 half hours from 00:00 China time: 0 sharp 尖, 1 peak 峰, 2 flat 平, 3 valley 谷",
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=60)]


class TariffTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prices and slots of one version; every rate has a price, used or not (a pile may reach any of them)."""

    sharp: RatePrice
    peak: RatePrice
    flat: RatePrice
    valley: RatePrice
    slots: Slots

    @property
    def prices(self) -> tuple[RatePrice, RatePrice, RatePrice, RatePrice]:
        """In the order of Rate."""
        return self.sharp, self.peak, self.flat, self.valley


class VersionView(msgspec.Struct, frozen=True):
    """One version as shown."""

    version: int
    billing_model_no: str
    terms: TariffTerms
    effective_at: datetime
    created_at: datetime


class TariffView(msgspec.Struct, frozen=True):
    """A tariff as shown: the version in force (None before the first), and what is planned to follow."""

    id: int
    name: str
    current: VersionView | None
    planned: VersionView | None


class InForce(NamedTuple):
    """What a tariff means at one moment, and when that changes."""

    model: TariffModel | None
    next_at: datetime | None


async def create_tariff(
    who: Who, name: str, terms: TariffTerms, effective_at: datetime | None = None
) -> TariffView:
    """Make a tariff with its first version, in force at once unless told otherwise."""
    check_terms(terms)
    name = name.strip()
    if not 1 <= len(name) <= 60:
        raise InvalidError("bad_name", "名称需 1 到 60 字", "the name needs 1 to 60 characters", field="name")
    if await Tariff.filter(operator_id=who.operator_id, name=name).exists():
        raise ConflictError(
            "tariff_exists",
            f"计费模型 {name} 已存在",
            f"tariff {name} exists: add a version to it",
            field="name",
        )
    tariff = await Tariff.create(operator_id=who.operator_id, name=name, created_at=utc(who.at))
    await _add(who, tariff.id, 1, terms, effective_at)
    view = await get_tariff(who.operator_id, tariff.id, who.at)
    await note(who, "tariff.create", "tariff", str(tariff.id), None, view)
    return view


async def add_version(
    who: Who, tariff_id: int, terms: TariffTerms, effective_at: datetime | None = None
) -> TariffView:
    """Change the prices of a tariff from a moment on; raises NotFoundError, InvalidError, ConflictError."""
    check_terms(terms)
    before = await get_tariff(who.operator_id, tariff_id, who.at)
    last = await TariffVersion.filter(tariff_id=tariff_id).order_by("-version").first()
    await _add(who, tariff_id, last.version + 1 if last is not None else 1, terms, effective_at)
    after = await get_tariff(who.operator_id, tariff_id, who.at)
    await note(who, "tariff.version", "tariff", str(tariff_id), before, after)
    return after


async def get_tariff(operator_id: int, tariff_id: int, now: datetime) -> TariffView:
    """One tariff; raises NotFoundError."""
    row = await Tariff.get_or_none(id=tariff_id, operator_id=operator_id)
    if row is None:
        raise NotFoundError(
            "tariff_not_found", "没有这个计费模型", f"tariff {tariff_id} does not exist", field="tariff_id"
        )
    return await _view(row, now)


async def list_tariffs(
    operator_id: int, now: datetime, *, cursor: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[TariffView]:
    """Tariffs, oldest first."""
    found, following = await page(Tariff.filter(operator_id=operator_id), "tariff", cursor, limit)
    return Page([await _view(row, now) for row in found], following)


async def list_versions(
    operator_id: int, tariff_id: int, *, cursor: str | None = None, limit: int = PAGE_DEFAULT
) -> Page[VersionView]:
    """All versions of a tariff, newest first; raises NotFoundError."""
    if not await Tariff.filter(id=tariff_id, operator_id=operator_id).exists():
        raise NotFoundError("tariff_not_found", "没有这个计费模型", f"tariff {tariff_id} does not exist")
    rows = TariffVersion.filter(tariff_id=tariff_id)
    found, following = await page(rows, "tariff_version", cursor, limit, newest_first=True)
    return Page([_version_view(row) for row in found], following)


async def in_force(tariff_ids: Iterable[int], now: datetime) -> dict[int, InForce]:
    """What each tariff means `now`."""
    found = {}
    for tariff_id in tariff_ids:
        current, planned = await _current_and_planned(tariff_id, now)
        model = None if current is None else model_of(current)
        found[tariff_id] = InForce(model, None if planned is None else planned.effective_at)
    return found


async def pile_codes_of_tariff(operator_id: int, tariff_id: int) -> list[str]:
    """Piles to tell when a tariff changes: those bound to it, by themselves or through their station."""
    bound = Q(tariff_id=tariff_id) | Q(tariff_id__isnull=True, station__tariff_id=tariff_id)
    rows = Pile.filter(bound, operator_id=operator_id, is_retired=False).order_by("id")
    return [str(code) for code in await rows.values_list("pile_code", flat=True)]


def check_terms(terms: TariffTerms) -> None:
    """Raise InvalidError, naming the field, unless a pile can charge by these terms.

    All four rates need a price (YKC 1.6, 0x0A: what is unused has the same price, never 0), unless charging
    is free of charge altogether.
    """
    is_free = all(price.total_e5_yuan == 0 for price in terms.prices)
    for rate, price in zip(Rate, terms.prices, strict=True):
        field = rate.name.lower()
        for part in ("energy_e5_yuan", "service_e5_yuan"):
            if not 0 <= getattr(price, part) <= PRICE_MAX_E5_YUAN:
                raise InvalidError(
                    "price_out_of_range",
                    f"{RATE_NAMES_ZH[rate]}时段单价超出 0 到 99.99999 元",
                    f"the {field} price is not within 0 to 99.99999 yuan",
                    field=f"{field}.{part}",
                )
        if price.total_e5_yuan == 0 and not is_free:
            raise InvalidError(
                "rate_without_price",
                f"{RATE_NAMES_ZH[rate]}时段没有单价",
                f"the {field} rate has no price: give an unused rate the price of another",
                field=field,
            )
    if not re.fullmatch(f"[0-3]{{{SLOTS_A_DAY}}}", terms.slots):
        raise InvalidError(
            "bad_slots",
            f"时段需为 {SLOTS_A_DAY} 位 0 到 3",
            f"slots are {SLOTS_A_DAY} digits 0 to 3",
            field="slots",
        )


def model_of(row: TariffVersion) -> TariffModel:
    """A version as a pile holds it."""
    prices = _terms(row).prices
    return TariffModel(row.billing_model_no, prices, tuple(Rate(int(digit)) for digit in row.slots))


async def _add(
    who: Who, tariff_id: int, version: int, terms: TariffTerms, effective_at: datetime | None
) -> TariffVersion:
    at = utc(who.at)
    columns: dict[str, Any] = {}
    for rate, price in zip(Rate, terms.prices, strict=True):
        columns[f"{rate.name.lower()}_energy_e5_yuan"] = price.energy_e5_yuan
        columns[f"{rate.name.lower()}_service_e5_yuan"] = price.service_e5_yuan
    try:
        return await TariffVersion.create(
            operator_id=who.operator_id,
            tariff_id=tariff_id,
            version=version,
            billing_model_no=await _free_number(who.operator_id),
            slots=terms.slots,
            effective_at=at if effective_at is None else max(utc(effective_at), at),
            created_at=at,
            **columns,
        )
    except IntegrityError as error:
        raise ConflictError(
            "tariff_changed_meanwhile",
            "计费模型刚被他人修改，请重试",
            "somebody else changed it just now: try again",
        ) from error


async def _free_number(operator_id: int) -> str:
    """The number after the highest given out, or once those are used up the lowest that never was."""
    rows = TariffVersion.filter(operator_id=operator_id)
    last = await rows.order_by("-billing_model_no").first()
    if last is None:
        return "0001"
    if int(last.billing_model_no) < BILLING_MODEL_NO_MAX:
        return f"{int(last.billing_model_no) + 1:04d}"
    used: set[Any] = set(await rows.values_list("billing_model_no", flat=True))
    for number in range(1, BILLING_MODEL_NO_MAX):
        if f"{number:04d}" not in used:
            return f"{number:04d}"
    raise ConflictError(
        "billing_model_numbers_used_up",
        "计费模型编号已用完",
        "all 9,999 billing model numbers have been given out",
    )


async def _current_and_planned(
    tariff_id: int, now: datetime
) -> tuple[TariffVersion | None, TariffVersion | None]:
    rows = TariffVersion.filter(tariff_id=tariff_id)
    current = await rows.filter(effective_at__lte=utc(now)).order_by("-version").first()
    newer = rows.filter(effective_at__gt=utc(now), version__gt=current.version if current is not None else 0)
    return current, await newer.order_by("effective_at", "-version").first()


async def _view(row: Tariff, now: datetime) -> TariffView:
    current, planned = await _current_and_planned(row.id, now)
    return TariffView(
        id=row.id,
        name=row.name,
        current=None if current is None else _version_view(current),
        planned=None if planned is None else _version_view(planned),
    )


def _version_view(row: TariffVersion) -> VersionView:
    return VersionView(row.version, row.billing_model_no, _terms(row), row.effective_at, row.created_at)


def _terms(row: TariffVersion) -> TariffTerms:
    return TariffTerms(
        sharp=RatePrice(row.sharp_energy_e5_yuan, row.sharp_service_e5_yuan),
        peak=RatePrice(row.peak_energy_e5_yuan, row.peak_service_e5_yuan),
        flat=RatePrice(row.flat_energy_e5_yuan, row.flat_service_e5_yuan),
        valley=RatePrice(row.valley_energy_e5_yuan, row.valley_service_e5_yuan),
        slots=row.slots,
    )
