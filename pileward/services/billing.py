"""From energy and prices to fen: the bill of a charge, and whether a record can be believed. Pure.

Everything is exact in 1e-9 yuan until the end. The total is the sum of all rounded half up; electricity is
the sum of its part rounded half up; service is the difference, which is never negative. The lines get whole
fen by largest remainder, electricity and service each, so every column and every row adds up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from pileward.messages.charging import Bill, BillLine, EnergyOfRate, RecordFacts, SessionRow
from pileward.messages.uplinks import TransactionRecord
from pileward.values import Rate, TariffModel, fen_half_up

E9_A_FEN: Final = 10_000_000
"""1e-9 yuan in a fen; price (1e-5 yuan/kWh) times energy (1e-4 kWh) is in 1e-9 yuan."""
E9_A_E4: Final = 100_000
"""1e-9 yuan in 1e-4 yuan, the unit of a pile's amounts."""

EXCESS_FREE_FEN: Final = 200
EXCESS_FREE_PCT: Final = 10
"""A bill may exceed what was paid by the larger of the two before a person has to look (decision 0008)."""

CLOCK_SLACK: Final = timedelta(minutes=10)
"""How far a record's times may lie outside of the time between order and receipt."""
ENERGY_SLACK_E4_KWH: Final = 10
"""Tolerance between the sum of the rates and the stated total (YKC 1.6, 10.2)."""
METER_SLACK_E4_KWH: Final = 100
"""Tolerance between meter readings and the stated total (YKC 1.6, 10.2)."""


class Tolerance(msgspec.Struct, frozen=True):
    """How far a pile's own amounts may be from ours, in fen: settings of its model."""

    rate_fen: int = 2
    total_fen: int = 1


DEFAULT_TOLERANCE: Final = Tolerance()


def make_bill(
    tariff: TariffModel,
    energies: Sequence[EnergyOfRate],
    pile_amount_e4_yuan: int | None = None,
    tolerance: Tolerance = DEFAULT_TOLERANCE,
) -> Bill:
    """The bill of some energies, at most one for each rate; rates without energy have no line."""
    assert len({energy.rate for energy in energies}) == len(energies)
    assert all(energy.energy_e4_kwh >= 0 for energy in energies)
    used = sorted((energy for energy in energies if energy.energy_e4_kwh), key=lambda energy: energy.rate)
    prices = [tariff.price_of(energy.rate) for energy in used]
    electricity = [
        energy.energy_e4_kwh * price.energy_e5_yuan for energy, price in zip(used, prices, strict=True)
    ]
    service = [
        energy.energy_e4_kwh * price.service_e5_yuan for energy, price in zip(used, prices, strict=True)
    ]
    total_fen = fen_half_up(sum(electricity) + sum(service))
    electricity_fen = fen_half_up(sum(electricity))
    service_fen = total_fen - electricity_fen
    parts = zip(
        used, prices, shared_out(electricity_fen, electricity), shared_out(service_fen, service), strict=True
    )
    lines = tuple(
        BillLine(
            rate=energy.rate,
            energy_e4_kwh=energy.energy_e4_kwh,
            energy_e5_yuan=price.energy_e5_yuan,
            service_e5_yuan=price.service_e5_yuan,
            electricity_fen=electricity_part,
            service_fen=service_part,
            total_fen=electricity_part + service_part,
            pile_amount_e4_yuan=energy.pile_amount_e4_yuan,
        )
        for energy, price, electricity_part, service_part in parts
    )
    return Bill(
        energy_e4_kwh=sum(energy.energy_e4_kwh for energy in used),
        electricity_fen=electricity_fen,
        service_fen=service_fen,
        total_fen=total_fen,
        lines=lines,
        pile_amount_e4_yuan=pile_amount_e4_yuan,
        differs=_differs(tariff, energies, pile_amount_e4_yuan, tolerance),
    )


def shared_out(fen: int, exact_e9: Sequence[int]) -> list[int]:
    """Whole fen for exact parts that add up to `fen`: by largest remainder, the earlier part first.

    `fen` lies between the sum of the parts cut to fen and the sum of the parts rounded up; a part that is
    exact in fen, such as 0, stays as it is.
    """
    shares = [part // E9_A_FEN for part in exact_e9]
    missing = fen - sum(shares)
    order = sorted(range(len(shares)), key=lambda index: (-(exact_e9[index] % E9_A_FEN), index))
    assert 0 <= missing <= sum(1 for part in exact_e9 if part % E9_A_FEN)
    for index in order[:missing]:
        shares[index] += 1
    return shares


def _differs(
    tariff: TariffModel, energies: Iterable[EnergyOfRate], pile_amount_e4_yuan: int | None, allowed: Tolerance
) -> bool:
    ours = 0
    for energy in energies:
        exact = energy.energy_e4_kwh * tariff.price_of(energy.rate).total_e5_yuan
        ours += exact
        if energy.pile_amount_e4_yuan is not None and _apart(
            energy.pile_amount_e4_yuan, exact, allowed.rate_fen
        ):
            return True
    return pile_amount_e4_yuan is not None and _apart(pile_amount_e4_yuan, ours, allowed.total_fen)


def _apart(pile_e4_yuan: int, ours_e9_yuan: int, allowed_fen: int) -> bool:
    return abs(pile_e4_yuan * E9_A_E4 - ours_e9_yuan) > allowed_fen * E9_A_FEN


def running_e4_yuan(tariff: TariffModel, rate_energy_e4_kwh: Sequence[int]) -> int:
    """What a charge has cost so far, 1e-4 yuan, rounded up: for watching the money, never for a bill."""
    exact = sum(
        energy * tariff.price_of(rate).total_e5_yuan
        for rate, energy in zip(Rate, rate_energy_e4_kwh, strict=True)
    )
    return -(-exact // E9_A_E4)


def add_energy(
    tariff: TariffModel,
    rates: tuple[int, int, int, int],
    energy_e4_kwh: int,
    since: datetime,
    until: datetime,
) -> tuple[int, int, int, int]:
    """Live energy by rate after the total has risen to `energy_e4_kwh` at `until`.

    The rise is spread evenly over the time since the last values, cut at the half hours of the tariff; what
    cannot be told apart goes to the rate of the end. A total that falls changes nothing.
    """
    rise = energy_e4_kwh - sum(rates)
    if rise <= 0:
        return rates
    parts = list(rates)
    spent = 0
    whole = (until - since) // timedelta(milliseconds=1)
    moment = since
    while whole > 0 and moment < until:
        following = min(until, _next_slot(moment))
        upto = rise * ((following - since) // timedelta(milliseconds=1)) // whole
        parts[tariff.rate_at(moment)] += upto - spent
        spent, moment = upto, following
    parts[tariff.rate_at(until)] += rise - spent
    return parts[0], parts[1], parts[2], parts[3]


def _next_slot(moment: datetime) -> datetime:
    """The next half hour; China time is whole hours from UTC, so the half hours are the same."""
    start = moment.replace(minute=moment.minute // 30 * 30, second=0, microsecond=0)
    return start + timedelta(minutes=30)


def excess_bound_fen(paid_fen: int) -> int:
    """The largest excess over what was paid that is settled without a person."""
    return max(EXCESS_FREE_FEN, paid_fen * EXCESS_FREE_PCT // 100)


def energies_of(
    periods: Iterable[tuple[Rate | None, int, int]],
) -> tuple[tuple[EnergyOfRate, ...], tuple[str, ...]]:
    """Energies by rate, and notes, of a record's (rate, energy, amount) blocks; loss energy is never billed.

    A vendor's deep valley (rate None) is billed as valley and noted.
    """
    sums: dict[Rate, tuple[int, int]] = {}
    notes: tuple[str, ...] = ()
    for rate, energy, amount in periods:
        if rate is None:
            if not energy:
                continue
            rate, notes = Rate.VALLEY, ("deep_valley",)  # noqa: PLW2901 - the block's rate, once known
        earlier = sums.get(rate, (0, 0))
        sums[rate] = (earlier[0] + energy, earlier[1] + amount)
    return tuple(EnergyOfRate(rate, *sums[rate]) for rate in sorted(sums)), notes


def facts_of(record: TransactionRecord, stop_reason: str = "") -> RecordFacts:
    """What settlement needs of a record as it came."""
    energies, notes = energies_of(
        (period.rate, period.energy_e4_kwh, period.amount_e4_yuan) for period in record.periods
    )
    return RecordFacts(
        energies=energies,
        energy_e4_kwh=record.energy_e4_kwh,
        pile_amount_e4_yuan=record.amount_e4_yuan,
        started_at=record.started_at,
        ended_at=record.ended_at,
        stop_reason=stop_reason,
        stop_code=record.stop_reason,
        meter_start_e4_kwh=record.meter_start_e4_kwh,
        meter_end_e4_kwh=record.meter_end_e4_kwh,
        notes=notes,
    )


def provisional_facts(session: SessionRow) -> RecordFacts:
    """The last live values of a charge in place of its record."""
    energies = tuple(
        EnergyOfRate(rate, energy)
        for rate, energy in zip(Rate, session.rate_energy_e4_kwh, strict=True)
        if energy
    )
    return RecordFacts(
        energies=energies,
        energy_e4_kwh=sum(session.rate_energy_e4_kwh),
        pile_amount_e4_yuan=None,
        started_at=session.started_at,
        ended_at=session.ended_at or session.live_at,
        stop_reason=session.stop_reason or "no_record",
    )


def implausible(facts: RecordFacts, rated_power_w: int, earliest: datetime, latest: datetime) -> str | None:
    """Name the first thing for which nobody should be billed unseen; None: the facts can be believed.

    `earliest` is when the charge was ordered, `latest` when the record came in: the pile's clock has to fit
    between them. Codes: `negative_energy`, `no_time`, `end_before_start`, `clock_shifted`,
    `rates_missing`, `energy_beyond_power`.
    """
    if facts.energy_e4_kwh < 0 or any(energy.energy_e4_kwh < 0 for energy in facts.energies):
        return "negative_energy"
    billed = sum(energy.energy_e4_kwh for energy in facts.energies)
    if facts.started_at is not None and facts.ended_at is not None and facts.ended_at < facts.started_at:
        return "end_before_start"
    if not billed and facts.energy_e4_kwh <= ENERGY_SLACK_E4_KWH:
        return None  # nothing was delivered: whatever the clock says, everything goes back
    if facts.started_at is None or facts.ended_at is None:
        return "no_time"
    if facts.started_at < earliest - CLOCK_SLACK or facts.ended_at > latest + CLOCK_SLACK:
        return "clock_shifted"
    if not billed:
        return "rates_missing"
    took_ms = (facts.ended_at - facts.started_at) // timedelta(milliseconds=1)
    # energy · 0.1 Wh ≤ 1.1 · power · time; a pile's clock counts whole seconds, hence one more
    if max(billed, facts.energy_e4_kwh) * 3_600_000 > 11 * rated_power_w * (took_ms + 1_000):
        return "energy_beyond_power"
    return None


def oddities(facts: RecordFacts, tariff: TariffModel) -> tuple[str, ...]:
    """What is odd about a record without keeping anybody from billing it: codes, each worth an alarm."""
    found = list(facts.notes)
    billed = sum(energy.energy_e4_kwh for energy in facts.energies)
    if abs(billed - facts.energy_e4_kwh) > ENERGY_SLACK_E4_KWH:
        found.append("rates_do_not_add_up")
    if facts.meter_start_e4_kwh is not None and facts.meter_end_e4_kwh is not None:
        metered = facts.meter_end_e4_kwh - facts.meter_start_e4_kwh
        if metered < 0:
            found.append("meter_runs_backwards")
        elif abs(metered - facts.energy_e4_kwh) > METER_SLACK_E4_KWH:
            found.append("meter_differs")
    if facts.started_at is not None and facts.ended_at is not None:
        reached = _rates_between(tariff, facts.started_at, facts.ended_at)
        if any(energy.energy_e4_kwh and energy.rate not in reached for energy in facts.energies):
            found.append("rate_out_of_time")
    return tuple(found)


def _rates_between(tariff: TariffModel, start: datetime, end: datetime) -> set[Rate]:
    """Rates of the slots that a span touches, with some slack for the pile's clock; a day has them all."""
    moment, last = start - CLOCK_SLACK, end + CLOCK_SLACK
    reached = {tariff.rate_at(last)}
    for _ in range(49):
        if moment > last:
            break
        reached.add(tariff.rate_at(moment))
        moment = _next_slot(moment)
    return reached
