"""Stations, piles, tariffs, operators and audit: what may be changed, by whom, and what is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from pileward.errors import ConflictError, DomainError, InvalidError, NotFoundError
from pileward.models.database import Database
from pileward.models.kinds import CardCodec, CrcOrder, PileKind
from pileward.models.operators import OperatorToken
from pileward.models.tariffs import TariffVersion
from pileward.services import audit, operators, pile_models, piles, stations, tariffs
from pileward.services.audit import Who
from pileward.services.discovered import SaveDiscovered, list_discovered
from pileward.services.pile_facts import LoginFacts, confirm_tariffs
from pileward.services.pile_models import NewPileModel
from pileward.services.piles import AdoptedPile, NewPile, PileChange
from pileward.services.stations import NewStation, StationChange
from pileward.services.tariffs import BILLING_MODEL_NO_MAX, TariffTerms
from pileward.services.writes import ConfirmTariff, SaveLogin, SaveSeen, write_all
from pileward.values import CHINA, PRICE_MAX_E5_YUAN, Rate, RatePrice
from tests.business import NOW, PILE_CODE, SLOTS, Business, add_piles, later, open_business, terms


@pytest.fixture
async def business(database: Database) -> Business:
    return await open_business()


@pytest.fixture
async def stranger(business: Business) -> Who:
    """Somebody of another operator."""
    from pileward.models.operators import Operator

    other = await Operator.create(code="other", name_zh="别家", created_at=NOW)
    await pile_models.ensure_default_model(other.id)
    return Who(other.id, "token:other", NOW)


async def refused(
    call: Awaitable[Any], kind: type[DomainError], code: str, field: str | None = None
) -> DomainError:
    """The refusal, which must have words in both languages."""
    with pytest.raises(kind) as caught:
        await call
    assert caught.value.code == code
    assert caught.value.field == field
    assert any("\u4e00" <= character <= "\u9fff" for character in caught.value.zh)
    assert caught.value.en.split()[0].isascii()
    return caught.value


class TestOperators:
    async def test_the_first_operator_is_made_once(self, database: Database) -> None:
        first = await operators.ensure_operator(NOW)
        assert await operators.ensure_operator(later(9)) == first == await operators.get_operator(first.id)
        assert len((await pile_models.list_models(first.id)).items) == 1

    async def test_a_token_opens_until_it_is_revoked(self, business: Business) -> None:
        token = await operators.issue_token(business.who, "console")
        found = await operators.verify_token(token)
        assert found is not None
        assert (found.operator_id, found.name) == (business.who.operator_id, "console")
        await operators.revoke_token(business.who, found.id)
        await operators.revoke_token(business.who, found.id)
        assert await operators.verify_token(token) is None

    async def test_only_the_hash_is_kept(self, business: Business) -> None:
        token = await operators.issue_token(business.who, "console")
        rows = await OperatorToken.all().values()
        entries = await audit.list_entries(business.who.operator_id)
        assert token not in str(rows)
        assert token.removeprefix("pw_") not in str(rows) + str(entries)

    @pytest.mark.parametrize("wrong", ["", "pw_", "x" * 5_000, "\x00", "\ud800", "' OR 1=1 --"])
    async def test_a_wrong_token_opens_nothing(self, business: Business, wrong: str) -> None:
        await operators.issue_token(business.who, "console")
        assert await operators.verify_token(wrong) is None

    async def test_the_first_token_is_shown_once(self, business: Business) -> None:
        token = await operators.ensure_token(business.who, None)
        assert token is not None
        assert await operators.verify_token(token) is not None
        assert await operators.ensure_token(business.who, None) is None

    async def test_a_token_of_the_settings_replaces_the_one_before(self, business: Business) -> None:
        for chosen in ("first-chosen-token", "second-chosen-token", "first-chosen-token"):
            assert await operators.ensure_token(business.who, chosen) is None
            assert await operators.verify_token(chosen) is not None
        assert await operators.verify_token("second-chosen-token") is None
        await refused(operators.ensure_token(business.who, "short"), InvalidError, "weak_token", "token")

    async def test_refusals(self, business: Business, stranger: Who) -> None:
        token = await operators.issue_token(business.who, "console")
        found = await operators.verify_token(token)
        assert found is not None
        await refused(operators.issue_token(business.who, "console"), ConflictError, "token_exists")
        await refused(operators.issue_token(business.who, " "), InvalidError, "bad_name", "name")
        await refused(operators.revoke_token(stranger, found.id), NotFoundError, "token_not_found")
        await refused(operators.get_operator(404), NotFoundError, "operator_not_found")
        assert [view.name for view in await operators.list_tokens(business.who.operator_id)] == ["console"]


class TestStations:
    async def test_change_only_what_is_given(self, business: Business) -> None:
        who, station = business.who, business.station
        moved = StationChange(latitude_e6=31_230_416, longitude_e6=121_473_701, is_open=False)
        changed = await stations.change_station(Who(who.operator_id, who.actor, later(60)), station.id, moved)
        expected = msgspec.structs.replace(
            station, latitude_e6=31_230_416, longitude_e6=121_473_701, is_open=False, updated_at=later(60)
        )
        assert changed == expected == await stations.get_station(who.operator_id, station.id)
        assert await stations.change_station(who, station.id, StationChange()) == expected
        without = await stations.change_station(
            who, station.id, StationChange(tariff_id=None, latitude_e6=None)
        )
        assert (without.tariff_id, without.latitude_e6) == (None, None)

    async def test_refusals(self, business: Business, stranger: Who) -> None:
        who, station = business.who, business.station
        await refused(
            stations.add_station(who, NewStation(code="S1", name_zh="又一站")),
            ConflictError,
            "station_exists",
            "code",
        )
        await refused(
            stations.add_station(who, NewStation(code="S2", name_zh="站", tariff_id=404)),
            NotFoundError, "tariff_not_found", "tariff_id",
        )  # fmt: skip
        await refused(
            stations.add_station(stranger, NewStation(code="S1", name_zh="站", tariff_id=business.tariff.id)),
            NotFoundError, "tariff_not_found", "tariff_id",
        )  # fmt: skip
        await refused(
            stations.change_station(stranger, station.id, StationChange(name_zh="偷")),
            NotFoundError, "station_not_found", "station_id",
        )  # fmt: skip
        second = await stations.add_station(who, NewStation(code="S2", name_zh="二站"))
        await refused(
            stations.change_station(who, second.id, StationChange(code="S1")),
            ConflictError,
            "station_exists",
            "code",
        )
        assert (await stations.change_station(who, second.id, StationChange(code="S2"))).code == "S2"

    async def test_each_operator_sees_its_own(self, business: Business, stranger: Who) -> None:
        await stations.add_station(stranger, NewStation(code="S1", name_zh="别站"))
        mine = await stations.list_stations(business.who.operator_id)
        assert [station.name_zh for station in mine.items] == ["人民广场站"]
        assert (await stations.find_station(stranger.operator_id, "S1")) is not None
        assert await stations.find_station(business.who.operator_id, "S9") is None
        assert len(await stations.load_stations()) == 2

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("code", "a b"),
            ("code", ""),
            ("name_zh", ""),
            ("latitude_e6", 90_000_001),
            ("phone", "1" * 41),
            ("x", 1),
        ],
    )
    def test_input_out_of_range_is_refused_by_its_type(self, field: str, value: object) -> None:
        body = {"code": "S1", "name_zh": "站", field: value}
        with pytest.raises(msgspec.ValidationError, match=field):
            msgspec.convert(body, NewStation)


class TestPiles:
    async def test_a_pile_is_registered_with_its_guns(self, business: Business) -> None:
        pile = business.pile
        assert (pile.pile_code, pile.kind, pile.gun_count, pile.name) == (PILE_CODE, PileKind.DC, 2, "1号桩")
        assert [(gun.gun_no, gun.name) for gun in pile.guns] == [(1, "1号枪"), (2, "2号枪")]
        assert pile.reported is None

    async def test_a_short_ykc_number_is_padded(self, business: Business) -> None:
        new = NewPile(pile_code=" 123 ", station_id=business.station.id, rated_power_w=7_000)
        assert (await piles.add_pile(business.who, new)).pile_code == "00000000000123"

    @pytest.mark.parametrize("code", ["0", "00000000000000", "123456789012345", "12a", "٣", "1 2", "-1"])
    async def test_what_is_no_ykc_number_is_refused(self, business: Business, code: str) -> None:
        new = NewPile(pile_code=code, station_id=business.station.id, rated_power_w=7_000)
        await refused(piles.add_pile(business.who, new), InvalidError, "bad_pile_code", "pile_code")

    async def test_refusals(self, business: Business, stranger: Who) -> None:
        who = business.who

        def new(**values: Any) -> NewPile:
            given = {"pile_code": "7", "station_id": business.station.id, "rated_power_w": 7_000, **values}
            return NewPile(**given)

        cases: list[tuple[Who, NewPile, type[DomainError], str, str]] = [
            (who, new(pile_code=PILE_CODE), ConflictError, "pile_exists", "pile_code"),
            (stranger, new(), NotFoundError, "station_not_found", "station_id"),
            (who, new(station_id=404), NotFoundError, "station_not_found", "station_id"),
            (who, new(model_id=404), NotFoundError, "pile_model_not_found", "model_id"),
            (who, new(tariff_id=404), NotFoundError, "tariff_not_found", "tariff_id"),
            (who, new(protocol="smoke"), InvalidError, "unknown_protocol", "protocol"),
            (who, new(gun_names=["a", "b"]), InvalidError, "too_many_gun_names", "gun_names"),
        ]
        for actor, pile, kind, code, field in cases:
            await refused(piles.add_pile(actor, pile), kind, code, field)
        await refused(piles.get_pile(stranger.operator_id, PILE_CODE), NotFoundError, "pile_not_found")
        await refused(
            piles.change_pile(stranger, PILE_CODE, PileChange(name="x")), NotFoundError, "pile_not_found"
        )
        await refused(
            piles.change_pile(who, PILE_CODE, PileChange(gun_count=1, gun_names=["a", "b"])),
            InvalidError, "too_many_gun_names", "gun_names",
        )  # fmt: skip
        assert (await piles.list_piles(stranger.operator_id)).items == []

    async def test_change_only_what_is_given(self, business: Business) -> None:
        who = Who(business.who.operator_id, "token:test", later(60))
        changed = await piles.change_pile(who, PILE_CODE, PileChange(name="一号", is_in_maintenance=True))
        assert changed == msgspec.structs.replace(
            business.pile, name="一号", is_in_maintenance=True, updated_at=later(60)
        )
        assert await piles.change_pile(who, PILE_CODE, PileChange()) == changed

    async def test_guns_follow_their_count_and_keep_their_names(self, business: Business) -> None:
        async def guns(change: PileChange) -> list[str]:
            return [gun.name for gun in (await piles.change_pile(business.who, PILE_CODE, change)).guns]

        assert await guns(PileChange(gun_names=["左", "右"])) == ["左", "右"]
        assert await guns(PileChange(gun_count=3)) == ["左", "右", "3号枪"]
        assert await guns(PileChange(gun_count=1)) == ["左"]
        assert await guns(PileChange(gun_count=2, gun_names=["A"])) == ["A", "2号枪"]

    async def test_a_change_keeps_what_the_pile_proved_meanwhile(
        self, database: Database, business: Business
    ) -> None:
        async with database.transaction() as connection:
            await write_all(
                connection, [SaveLogin(PILE_CODE, LoginFacts(gun_count=4), NOW), SaveSeen(PILE_CODE, NOW)]
            )
        changed = await piles.change_pile(business.who, PILE_CODE, PileChange(name="一号"))
        assert (changed.last_seen_at, changed.last_login_at) == (NOW, NOW)
        assert changed.reported is not None
        assert changed.reported.gun_count == 4

    async def test_a_discovered_pile_is_adopted_as_it_described_itself(
        self, database: Database, business: Business
    ) -> None:
        facts = LoginFacts(device_kind="ac", gun_count=2, software_version="V1")
        async with database.transaction() as connection:
            await write_all(connection, [SaveDiscovered("00000000000042", "ykc", facts, NOW)])
        adopted = await piles.adopt_pile(
            business.who, "00000000000042", AdoptedPile(station_id=business.station.id)
        )
        assert (adopted.kind, adopted.gun_count, adopted.rated_power_w) == (PileKind.AC, 2, 7_000)
        assert adopted.name == "00000000000042"
        assert (await list_discovered()).items == []
        again = piles.adopt_pile(business.who, "00000000000042", AdoptedPile(station_id=business.station.id))
        await refused(again, NotFoundError, "discovered_not_found")

    async def test_the_list_pages_and_hides_the_retired(self, business: Business) -> None:
        codes = [PILE_CODE, *await add_piles(business, 4)]
        await piles.change_pile(business.who, codes[2], PileChange(is_retired=True))
        shown, cursor = [], None
        while True:
            page = await piles.list_piles(business.who.operator_id, limit=2, cursor=cursor)
            shown += [pile.pile_code for pile in page.items]
            if (cursor := page.next_cursor) is None:
                break
        assert shown == codes[:2] + codes[3:]
        everything = await piles.list_piles(business.who.operator_id, with_retired=True)
        assert [pile.pile_code for pile in everything.items] == codes
        assert (await piles.list_piles(business.who.operator_id, station_id=404)).items == []

    async def test_a_page_stays_in_place_while_rows_come_and_go(self, business: Business) -> None:
        codes = [PILE_CODE, *await add_piles(business, 3)]
        first = await piles.list_piles(business.who.operator_id, limit=2)
        await piles.change_pile(business.who, codes[0], PileChange(is_retired=True))
        second = await piles.list_piles(business.who.operator_id, limit=2, cursor=first.next_cursor)
        assert [pile.pile_code for pile in second.items] == codes[2:]

    @pytest.mark.parametrize(
        "cursor", ["", "x", "!!!", "c3RhdGlvbjox", "cGlsZTotMQ", "cGlsZTo5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"]
    )
    async def test_a_foreign_cursor_is_refused(self, business: Business, cursor: str) -> None:
        await refused(
            piles.list_piles(business.who.operator_id, cursor=cursor), InvalidError, "bad_cursor", "cursor"
        )

    @pytest.mark.parametrize("limit", [0, -1, 501])
    async def test_a_page_has_bounds(self, business: Business, limit: int) -> None:
        await refused(
            piles.list_piles(business.who.operator_id, limit=limit), InvalidError, "bad_limit", "limit"
        )


class TestPileModels:
    async def test_added_changed_listed(self, business: Business, stranger: Who) -> None:
        who = business.who
        new = NewPileModel(maker="甲", name="D120", offline_after_s=90, crc_order=CrcOrder.HIGH_FIRST)
        added = await pile_models.add_model(who, new)
        assert added.offline_after_s == 90
        changed = await pile_models.change_model(
            who, added.id, NewPileModel("甲", "D120", card_codec=CardCodec.BCD)
        )
        assert (changed.offline_after_s, changed.card_codec) == (30, CardCodec.BCD)
        await refused(pile_models.add_model(who, new), ConflictError, "pile_model_exists", "name")
        await refused(
            pile_models.change_model(stranger, added.id, new),
            NotFoundError,
            "pile_model_not_found",
            "model_id",
        )
        await piles.change_pile(who, PILE_CODE, PileChange(model_id=added.id))
        assert await pile_models.pile_codes_of_model(who.operator_id, added.id) == [PILE_CODE]
        assert len((await pile_models.list_models(who.operator_id)).items) == 2


class TestTariffs:
    async def test_a_change_is_a_new_version_with_a_new_number(self, business: Business) -> None:
        who, tariff = business.who, business.tariff
        assert tariff.current is not None
        assert (tariff.current.version, tariff.current.billing_model_no) == (1, "0001")
        assert tariff.current.terms == terms()
        changed = await tariffs.add_version(Who(who.operator_id, "x", later(60)), tariff.id, terms(70_000))
        assert changed.current is not None
        assert (changed.current.version, changed.current.billing_model_no) == (2, "0002")
        versions = (await tariffs.list_versions(who.operator_id, tariff.id)).items
        assert [version.billing_model_no for version in versions] == ["0002", "0001"]
        assert versions[1] == tariff.current, "the old version is as it was"

    async def test_the_model_is_what_a_pile_holds(self, business: Business) -> None:
        model = (await tariffs.in_force([business.tariff.id], NOW))[business.tariff.id].model
        assert model is not None
        assert model.billing_model_no == "0001"
        assert model.price_of(Rate.SHARP) == RatePrice(90_000, 40_000)
        assert model.price_of(Rate.VALLEY) == RatePrice(60_000, 40_000)
        assert "".join(str(int(rate)) for rate in model.slots) == SLOTS
        assert model.rate_at(NOW.astimezone(CHINA).replace(hour=0)) is Rate.VALLEY

    async def test_a_planned_version_comes_into_force_in_its_time(self, business: Business) -> None:
        who, tariff_id = business.who, business.tariff.id
        view = await tariffs.add_version(who, tariff_id, terms(70_000), later(3_600))
        assert view.current is not None
        assert view.planned is not None
        assert (view.current.billing_model_no, view.planned.billing_model_no) == ("0001", "0002")
        for moment, number, next_at in [
            (NOW, "0001", later(3_600)),
            (later(3_599.999), "0001", later(3_600)),
            (later(3_600), "0002", None),
        ]:
            found = (await tariffs.in_force([tariff_id], moment))[tariff_id]
            assert found.model is not None
            assert (found.model.billing_model_no, found.next_at) == (number, next_at)

    async def test_a_newer_version_replaces_what_was_planned(self, business: Business) -> None:
        who, tariff_id = business.who, business.tariff.id
        await tariffs.add_version(who, tariff_id, terms(70_000), later(3_600))
        view = await tariffs.add_version(who, tariff_id, terms(80_000), later(60))
        assert view.planned is not None
        assert view.planned.billing_model_no == "0003"
        after = (await tariffs.in_force([tariff_id], later(9_999)))[tariff_id]
        assert after.model is not None
        assert (after.model.billing_model_no, after.next_at) == ("0003", None)

    async def test_before_its_first_version_a_tariff_means_nothing(self, business: Business) -> None:
        view = await tariffs.create_tariff(business.who, "未来", terms(), later(60))
        assert view.current is None
        assert view.planned is not None
        assert (await tariffs.in_force([view.id], NOW))[view.id] == (None, later(60))

    async def test_a_version_never_begins_in_the_past(self, business: Business) -> None:
        view = await tariffs.create_tariff(business.who, "过去", terms(), later(-999))
        assert view.current is not None
        assert view.current.effective_at == NOW

    async def test_numbers_are_given_out_once_and_end(self, business: Business) -> None:
        who, tariff_id = business.who, business.tariff.id
        await TariffVersion.all().update(billing_model_no=f"{BILLING_MODEL_NO_MAX}")
        view = await tariffs.add_version(who, tariff_id, terms())
        assert view.current is not None
        assert view.current.billing_model_no == "0001", "the lowest never given out"
        template = (await TariffVersion.filter(version=2).values())[0]
        del template["id"]
        rows = [
            TariffVersion(**{**template, "version": number + 1, "billing_model_no": f"{number:04d}"})
            for number in range(2, BILLING_MODEL_NO_MAX)
        ]
        await TariffVersion.bulk_create(rows)
        await refused(
            tariffs.add_version(who, tariff_id, terms()), ConflictError, "billing_model_numbers_used_up"
        )

    @pytest.mark.parametrize(
        ("change", "code", "field"),
        [
            ({"flat": RatePrice(0, 0)}, "rate_without_price", "flat"),
            ({"sharp": RatePrice(-1, 5)}, "price_out_of_range", "sharp.energy_e5_yuan"),
            ({"peak": RatePrice(5, PRICE_MAX_E5_YUAN + 1)}, "price_out_of_range", "peak.service_e5_yuan"),
            ({"slots": "0" * 47}, "bad_slots", "slots"),
            ({"slots": "0" * 47 + "4"}, "bad_slots", "slots"),
            ({"slots": "0" * 48 + "\n"}, "bad_slots", "slots"),
        ],
    )
    async def test_terms_that_no_pile_could_charge_by(
        self, business: Business, change: dict[str, Any], code: str, field: str
    ) -> None:
        wrong = msgspec.structs.replace(terms(), **change)
        await refused(tariffs.create_tariff(business.who, "错", wrong), InvalidError, code, field)
        await refused(tariffs.add_version(business.who, business.tariff.id, wrong), InvalidError, code, field)

    async def test_free_charging_is_free_in_every_rate(self, business: Business) -> None:
        free = RatePrice(0, 0)
        view = await tariffs.create_tariff(
            business.who, "免费", TariffTerms(free, free, free, free, "2" * 48)
        )
        assert view.current is not None

    async def test_refusals(self, business: Business, stranger: Who) -> None:
        tariff_id = business.tariff.id
        again = tariffs.create_tariff(business.who, "标准", terms())
        await refused(again, ConflictError, "tariff_exists", "name")
        await refused(tariffs.create_tariff(business.who, " ", terms()), InvalidError, "bad_name", "name")
        foreign: list[Callable[[], Awaitable[Any]]] = [
            lambda: tariffs.add_version(stranger, tariff_id, terms()),
            lambda: tariffs.get_tariff(stranger.operator_id, tariff_id, NOW),
        ]
        for call in foreign:
            await refused(call(), NotFoundError, "tariff_not_found", "tariff_id")
        await refused(
            tariffs.list_versions(stranger.operator_id, tariff_id), NotFoundError, "tariff_not_found"
        )
        assert (await tariffs.list_tariffs(stranger.operator_id, NOW)).items == []
        assert (await tariffs.list_tariffs(business.who.operator_id, NOW)).items == [business.tariff]
        assert (await tariffs.create_tariff(stranger, "标准", terms())).name == "标准"

    async def test_piles_to_tell_of_a_change(self, business: Business) -> None:
        who = business.who
        [own, retired] = await add_piles(business, 2)
        other = await tariffs.create_tariff(who, "特价", terms())
        await piles.change_pile(who, own, PileChange(tariff_id=other.id))
        await piles.change_pile(who, retired, PileChange(is_retired=True))
        assert await tariffs.pile_codes_of_tariff(who.operator_id, business.tariff.id) == [PILE_CODE]
        assert await tariffs.pile_codes_of_tariff(who.operator_id, other.id) == [own]
        assert await stations.pile_codes_of_station(who.operator_id, business.station.id) == [PILE_CODE, own]


class TestPileConfigs:
    async def test_all_that_an_actor_needs(self, database: Database, business: Business) -> None:
        async with database.transaction() as connection:
            await write_all(connection, [SaveLogin(PILE_CODE, LoginFacts(), NOW)])
            await confirm_tariffs(connection, [ConfirmTariff(PILE_CODE, "0001", later(1))])
        config = await piles.load_pile_config(PILE_CODE, NOW)
        assert config is not None
        assert (config.pile_code, config.name, config.station_name) == (PILE_CODE, "1号桩", "人民广场站")
        assert (config.protocol, config.kind, config.gun_count) == ("ykc", PileKind.DC, 2)
        assert config.rated_power_w == 120_000
        assert config.settings == piles.PileSettings()
        assert config.tariff is not None
        assert config.billing_model_no == config.tariff.billing_model_no == "0001"
        assert (config.confirmed_billing_model_no, config.confirmed_at) == ("0001", later(1))
        assert (config.last_login_at, config.last_seen_at) == (NOW, NOW)
        assert (config.is_in_maintenance, config.next_tariff_at, config.qr_prefix) == (False, None, "")

    async def test_its_own_tariff_comes_before_that_of_the_station(self, business: Business) -> None:
        own = await tariffs.create_tariff(business.who, "自用", terms(10_000))
        await piles.change_pile(business.who, PILE_CODE, PileChange(tariff_id=own.id))
        config = await piles.load_pile_config(PILE_CODE, NOW)
        assert config is not None
        assert config.billing_model_no == "0002"
        await piles.change_pile(business.who, PILE_CODE, PileChange(tariff_id=None))
        await stations.change_station(business.who, business.station.id, StationChange(tariff_id=None))
        config = await piles.load_pile_config(PILE_CODE, NOW)
        assert config is not None
        assert config.tariff is None
        assert config.billing_model_no is None

    async def test_settings_are_those_of_its_model(self, business: Business) -> None:
        model = await pile_models.add_model(
            business.who,
            NewPileModel(
                maker="甲", name="D", offline_after_s=90, heartbeat_s=20, crc_order=CrcOrder.LOW_FIRST
            ),
        )
        await piles.change_pile(
            business.who, PILE_CODE, PileChange(model_id=model.id, is_in_maintenance=True)
        )
        config = await piles.load_pile_config(PILE_CODE, NOW)
        assert config is not None
        assert config.settings == piles.PileSettings(
            offline_after_s=90, heartbeat_s=20, crc_order=CrcOrder.LOW_FIRST
        )
        assert config.is_in_maintenance

    async def test_unknown_and_retired_piles_have_none(self, business: Business) -> None:
        assert await piles.load_pile_config("404", NOW) is None
        await piles.change_pile(business.who, PILE_CODE, PileChange(is_retired=True))
        assert await piles.load_pile_config(PILE_CODE, NOW) is None
        assert await piles.load_pile_configs(NOW) == []

    async def test_many_share_what_they_have_in_common(self, business: Business) -> None:
        codes = await add_piles(business, 20)
        configs = {config.pile_code: config for config in await piles.load_pile_configs(NOW)}
        assert set(configs) == {PILE_CODE, *codes}
        first, second = configs[codes[0]], configs[codes[1]]
        assert first.tariff is second.tariff
        assert first.settings is second.settings
        assert first.station_name is second.station_name
        some = await piles.load_some_configs(codes[:3], NOW)
        assert sorted(config.pile_code for config in some) == codes[:3]


class TestAudit:
    async def test_every_change_leaves_who_what_before_and_after(
        self, business: Business, stranger: Who
    ) -> None:
        who = Who(business.who.operator_id, "token:amy", later(5))
        await piles.change_pile(who, PILE_CODE, PileChange(name="新名"))
        entries = (await audit.list_entries(who.operator_id)).items
        assert [entry.action for entry in entries] == [
            "pile.change", "pile.add", "station.add", "tariff.create"
        ]  # fmt: skip
        newest = entries[0]
        assert (newest.actor, newest.at, newest.target_kind) == ("token:amy", later(5), "pile")
        assert newest.target_id == PILE_CODE
        assert (newest.before["name"], newest.after["name"]) == ("1号桩", "新名")
        assert newest.after["guns"] == [{"gun_no": 1, "name": "1号枪"}, {"gun_no": 2, "name": "2号枪"}]
        assert entries[1].before is None
        assert (await audit.list_entries(stranger.operator_id)).items == []
        of_pile = await audit.list_entries(who.operator_id, kind="pile", target=PILE_CODE, limit=1)
        assert [entry.action for entry in of_pile.items] == ["pile.change"]
        assert of_pile.next_cursor is not None

    async def test_no_entry_without_its_change(self, database: Database, business: Business) -> None:
        before = len((await audit.list_entries(business.who.operator_id)).items)
        with pytest.raises(RuntimeError):
            async with database.transaction():
                await piles.change_pile(business.who, PILE_CODE, PileChange(name="新名"))
                raise RuntimeError("the unit of work fails afterwards")
        assert len((await audit.list_entries(business.who.operator_id)).items) == before
        assert (await piles.get_pile(business.who.operator_id, PILE_CODE)).name == "1号桩"
