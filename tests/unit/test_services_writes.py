"""The durable writes of actors: in bulk, in any mixture, and repeated without harm, on both databases."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tortoise.exceptions import IntegrityError

from pileward.errors import NotFoundError
from pileward.models.alarms import Alarm
from pileward.models.database import Database
from pileward.models.piles import DiscoveredPile, Pile
from pileward.models.records import PileRecord
from pileward.services import alarms, discovered, piles, records
from pileward.services.discovered import DISCOVERED_MAX
from pileward.services.records import VARIANTS_MAX
from pileward.services.writes import (
    WRITES,
    CloseAlarm,
    ConfirmTariff,
    LoginFacts,
    OpenAlarm,
    RecordResult,
    RecordState,
    SaveDiscovered,
    SaveLogin,
    SaveSeen,
    StoreRecord,
    write_all,
)
from pileward.values import Severity
from tests.business import NOW, PILE_CODE, Business, add_piles, later, open_business

FACTS = LoginFacts(
    device_kind="dc",
    gun_count=2,
    protocol_version="1.6",
    software_version="V4.1.50",
    network="sim",
    iccid="89860012345678901234",
    carrier="mobile",
    remote_address="10.0.0.7:50123",
)


@pytest.fixture
async def business(database: Database) -> Business:
    return await open_business()


async def write(database: Database, *writes: Any) -> list[Any]:
    async with database.transaction() as connection:
        return await write_all(connection, writes)


def record(
    number: int = 1, body: bytes = b"body", at_s: float = 0, pile_code: str = PILE_CODE
) -> StoreRecord:
    return StoreRecord(
        protocol="ykc",
        pile_code=pile_code,
        gun_no=1,
        wire_number=f"{pile_code}01200106180342{number:04d}",
        body=body,
        decoded={"energy_e4_kwh": 85_630},
        received_at=later(at_s),
    )


def opened(
    kind: str = "gun_fault", gun_no: int | None = 1, at_s: float = 0, pile_code: str = PILE_CODE
) -> OpenAlarm:
    return OpenAlarm(pile_code, gun_no, kind, Severity.FAULT, "急停按下", "emergency stop", later(at_s))


def closed(kind: str = "gun_fault", gun_no: int | None = 1, at_s: float = 0) -> CloseAlarm:
    return CloseAlarm(PILE_CODE, gun_no, kind, later(at_s))


class TestPileFacts:
    async def test_a_login_is_kept_with_all_its_facts(self, database: Database, business: Business) -> None:
        assert await write(database, SaveLogin(PILE_CODE, FACTS, NOW)) == [None]
        pile = await piles.get_pile(business.who.operator_id, PILE_CODE)
        assert (pile.reported, pile.last_login_at, pile.last_seen_at) == (FACTS, NOW, NOW)

    async def test_an_older_login_changes_nothing(self, database: Database, business: Business) -> None:
        old = LoginFacts(software_version="V0")
        await write(database, SaveLogin(PILE_CODE, FACTS, later(10)), SaveLogin(PILE_CODE, old, NOW))
        pile = await piles.get_pile(business.who.operator_id, PILE_CODE)
        assert (pile.reported, pile.last_login_at) == (FACTS, later(10))

    async def test_seen_never_goes_backwards(self, database: Database, business: Business) -> None:
        await write(
            database, SaveSeen(PILE_CODE, later(5)), SaveSeen(PILE_CODE, later(9)), SaveSeen(PILE_CODE, NOW)
        )
        await write(database, SaveLogin(PILE_CODE, FACTS, later(3)), SaveSeen(PILE_CODE, later(8)))
        pile = await piles.get_pile(business.who.operator_id, PILE_CODE)
        assert (pile.last_seen_at, pile.last_login_at) == (later(9), later(3))

    async def test_whole_seconds_and_fractions_compare_rightly(
        self, database: Database, business: Business
    ) -> None:
        whole = NOW.replace(microsecond=0)
        await write(database, SaveSeen(PILE_CODE, whole.replace(microsecond=1)))
        await write(database, SaveSeen(PILE_CODE, whole))
        pile = await piles.get_pile(business.who.operator_id, PILE_CODE)
        assert pile.last_seen_at == whole.replace(microsecond=1)

    async def test_the_last_proof_of_a_tariff_counts(self, database: Database, business: Business) -> None:
        await write(
            database, ConfirmTariff(PILE_CODE, "0002", later(9)), ConfirmTariff(PILE_CODE, "0001", later(3))
        )
        pile = await piles.get_pile(business.who.operator_id, PILE_CODE)
        assert (pile.confirmed_billing_model_no, pile.confirmed_at) == ("0002", later(9))

    async def test_what_a_device_says_always_fits(self, database: Database, business: Business) -> None:
        wild = LoginFacts(
            "x" * 99, 1_634_030_126, "9" * 99, "V\x00\x07" + "1" * 99, "n" * 99, "i" * 99, "c" * 99, "a" * 99
        )
        await write(database, SaveLogin(PILE_CODE, wild, NOW), SaveDiscovered("1", "ykc", wild, NOW))
        pile = await piles.get_pile(business.who.operator_id, PILE_CODE)
        assert pile.reported is not None
        assert pile.reported.gun_count == 255
        assert pile.reported.software_version == "V" + "1" * 31

    async def test_an_unknown_pile_is_passed_over(self, database: Database, business: Business) -> None:
        await write(
            database, SaveLogin("404", FACTS, NOW), SaveSeen("404", NOW), ConfirmTariff("404", "0001", NOW)
        )
        assert await Pile.all().count() == 1


class TestRecords:
    async def test_stored_same_different(self, database: Database, business: Business) -> None:
        [first] = await write(database, record())
        assert first.state is RecordState.STORED
        assert first.record_id == first.first_id
        [same] = await write(database, record(at_s=30))
        assert same == RecordResult(RecordState.SAME, first.record_id, first.record_id)
        [other] = await write(database, record(body=b"other", at_s=60))
        assert other.state is RecordState.DIFFERENT
        assert other.record_id != other.first_id == first.first_id
        [again] = await write(database, record(body=b"other", at_s=90))
        assert again == other
        page = await records.list_records(business.who.operator_id)
        assert [(row.variant, row.repeats, row.last_received_at) for row in page.items] == [
            (1, 1, later(90)),
            (0, 1, later(30)),
        ]
        assert page.items[1].body_hex == b"body".hex()
        assert page.items[1].decoded == {"energy_e4_kwh": 85_630}
        assert page.items[1].received_at == NOW

    async def test_one_batch_may_hold_it_all(self, database: Database, business: Business) -> None:
        results = await write(
            database, record(1), record(1), record(2), record(1, b"x"), record(3), record(2), record(1, b"x")
        )
        assert [result.state.value for result in results] == [
            "stored", "same", "stored", "different", "stored", "same", "different"
        ]  # fmt: skip
        assert results[0].record_id == results[1].record_id == results[3].first_id
        assert results[3].record_id == results[6].record_id
        assert await PileRecord.all().count() == 4

    async def test_the_same_number_of_another_pile_is_another_record(
        self, database: Database, business: Business
    ) -> None:
        [code] = await add_piles(business, 1)
        mine, theirs = record(), record(body=b"theirs")
        theirs = StoreRecord(
            theirs.protocol, code, 1, mine.wire_number, theirs.body, theirs.decoded, theirs.received_at
        )
        assert [result.state for result in await write(database, mine, theirs)] == [RecordState.STORED] * 2

    async def test_contents_under_one_number_are_bounded(
        self, database: Database, business: Business
    ) -> None:
        bodies = [bytes([number]) for number in range(VARIANTS_MAX + 5)]
        results = await write(database, *(record(body=body) for body in bodies))
        results += await write(database, record(body=b"yet another"))
        assert await PileRecord.all().count() == VARIANTS_MAX
        assert {result.state for result in results[1:]} == {RecordState.DIFFERENT}
        assert results[-1].record_id == results[-1].first_id == results[0].record_id

    async def test_an_unregistered_pile_is_refused(self, database: Database, business: Business) -> None:
        with pytest.raises(IntegrityError):
            await write(database, record(pile_code="99999999999999"))
        assert await PileRecord.all().count() == 0

    async def test_any_text_in_a_record_can_be_kept(self, database: Database, business: Business) -> None:
        text = "电\x00\\u0000\\\x00\\\\u0000'\"?$1"
        wild = StoreRecord("ykc", PILE_CODE, 1, "n", b"\x00\xff", {"vin": text}, NOW)
        await write(database, wild)
        row = await PileRecord.get()
        assert row.decoded == {"vin": text.replace("\x00", "")}
        assert row.body == b"\x00\xff"
        assert row.content_hash == hashlib.sha256(b"\x00\xff").hexdigest()

    async def test_another_operator_sees_nothing(self, database: Database, business: Business) -> None:
        [stored] = await write(database, record())
        assert (await records.list_records(business.who.operator_id + 1)).items == []
        with pytest.raises(NotFoundError):
            await records.get_record(business.who.operator_id + 1, stored.record_id)
        assert (await records.get_record(business.who.operator_id, stored.record_id)).wire_number

    async def test_two_nodes_that_store_the_same_record_end_with_one_row(self, pg_url: str) -> None:
        """The loser of the race fails as a batch, and its repetition finds the row."""
        from pileward.models.database import open_database

        database = await open_database(pg_url)
        await open_business()

        async def store(body: bytes) -> RecordState:
            while True:
                try:
                    [result] = await write(database, record(body=body))
                except IntegrityError:
                    continue
                state: RecordState = result.state
                return state

        states = await asyncio.gather(*(store(b"one" if number % 2 else b"two") for number in range(8)))
        assert sorted(states) == ["different"] * 4 + ["same"] * 3 + ["stored"]
        assert await PileRecord.all().count() == 2
        await database.close()


class TestAlarms:
    async def test_opened_counted_closed(self, database: Database, business: Business) -> None:
        await write(database, opened())
        await write(database, opened(at_s=5), opened(at_s=9))
        [alarm] = (await alarms.list_alarms(business.who.operator_id)).items
        assert (alarm.count, alarm.begin_at, alarm.last_at, alarm.end_at) == (3, NOW, later(9), None)
        assert (alarm.severity, alarm.text_zh, alarm.gun_no) == (Severity.FAULT, "急停按下", 1)
        await write(database, closed(at_s=20))
        assert (await alarms.list_alarms(business.who.operator_id)).items == []
        [over] = (await alarms.list_alarms(business.who.operator_id, only_open=False)).items
        assert over.end_at == later(20)

    async def test_a_second_trouble_is_a_second_alarm(self, database: Database, business: Business) -> None:
        await write(database, opened(), opened(gun_no=2), opened(gun_no=None), opened("offline", None))
        await write(database, closed(at_s=1))
        await write(database, opened(at_s=2))
        assert await Alarm.filter(open_key__isnull=False).count() == 4
        assert await Alarm.all().count() == 5
        assert await alarms.open_of_pile(PILE_CODE) == {
            ("gun_fault", 1), ("gun_fault", 2), ("gun_fault", None), ("offline", None)
        }  # fmt: skip
        assert await alarms.open_of_all() == {PILE_CODE: await alarms.open_of_pile(PILE_CODE)}

    async def test_a_repeated_batch_changes_nothing(self, database: Database, business: Business) -> None:
        batch = [
            opened(),
            opened(at_s=3),
            closed(at_s=4),
            opened("offline", None),
            opened("offline", None, 6),
        ]
        await write(database, *batch)
        before = await Alarm.all().order_by("id").values()
        await write(database, *batch)
        assert await Alarm.all().order_by("id").values() == before

    async def test_closing_late_does_not_hide_a_newer_report(
        self, database: Database, business: Business
    ) -> None:
        await write(database, opened(at_s=0), opened(at_s=10))
        await write(database, closed(at_s=5))
        assert await Alarm.filter(open_key__isnull=False).count() == 1

    async def test_an_alarm_that_opens_and_closes_within_a_batch_is_over(
        self, database: Database, business: Business
    ) -> None:
        await write(database, opened(at_s=1), closed(at_s=1))
        assert (await Alarm.get()).end_at == later(1)

    async def test_platform_alarms_have_no_owner(self, database: Database, business: Business) -> None:
        operator_id = business.who.operator_id
        await write(database, opened("store_full", None, pile_code=""), opened())
        kinds = [alarm.kind for alarm in (await alarms.list_alarms(operator_id)).items]
        assert sorted(kinds) == ["gun_fault", "store_full"]
        own = await alarms.list_alarms(operator_id, with_platform=False)
        assert [alarm.kind for alarm in own.items] == ["gun_fault"]
        others = await alarms.list_alarms(operator_id + 1, with_platform=False)
        assert others.items == []

    async def test_the_list_is_paged_newest_first(self, database: Database, business: Business) -> None:
        for number in range(5):
            await write(database, opened(f"kind_{number}", None, pile_code=PILE_CODE if number % 2 else ""))
        first = await alarms.list_alarms(business.who.operator_id, limit=3)
        second = await alarms.list_alarms(business.who.operator_id, limit=3, cursor=first.next_cursor)
        assert [alarm.kind[-1] for alarm in first.items + second.items] == list("43210")
        assert second.next_cursor is None


class TestDiscovered:
    async def test_attempts_add_up(self, database: Database, business: Business) -> None:
        await write(
            database,
            SaveDiscovered("00000000000007", "ykc", LoginFacts(remote_address="1.1.1.1:1"), NOW),
            SaveDiscovered("00000000000007", "ykc", FACTS, later(60), attempts=4),
        )
        await write(database, SaveDiscovered("00000000000007", "ykc", FACTS, later(120)))
        [found] = (await discovered.list_discovered()).items
        assert (found.attempts, found.first_seen_at, found.last_seen_at) == (6, NOW, later(120))
        assert found.facts == FACTS

    async def test_a_registered_pile_is_not_listed(self, database: Database, business: Business) -> None:
        await write(database, SaveDiscovered(PILE_CODE, "ykc", FACTS, NOW))
        assert (await discovered.list_discovered()).items == []

    async def test_lesson_15_junk_never_swells_the_table(
        self, database: Database, business: Business
    ) -> None:
        junk = [
            SaveDiscovered(f"{number:014d}", "ykc", FACTS, later(number))
            for number in range(1, DISCOVERED_MAX + 301)
        ]
        await write(database, *junk[:700])
        await write(database, *junk[700:])
        assert await DiscoveredPile.all().count() == DISCOVERED_MAX
        oldest = await DiscoveredPile.all().order_by("last_seen_at").first()
        assert oldest is not None
        assert oldest.pile_code == junk[300].pile_code


class TestBatches:
    async def test_a_failing_batch_leaves_nothing(self, database: Database, business: Business) -> None:
        with pytest.raises(IntegrityError):
            await write(database, record(1), opened(), record(2, pile_code="99999999999999"))
        assert await PileRecord.all().count() == await Alarm.all().count() == 0

    async def test_results_keep_their_places(self, database: Database, business: Business) -> None:
        results = await write(
            database, opened(), record(1), SaveSeen(PILE_CODE, NOW), record(2), closed(at_s=1), record(1)
        )
        states = [result.state.value if result is not None else None for result in results]
        assert states == [None, "stored", None, "stored", None, "same"]

    async def test_what_is_no_write_is_a_bug(self, database: Database) -> None:
        with pytest.raises(KeyError):
            await write(database, "nonsense")

    async def test_nothing_costs_nothing(self, database: Database) -> None:
        assert await write(database) == []
        async with database.transaction() as connection:
            for bulk in WRITES.values():
                assert list(await bulk(connection, [])) == []


WRITE = st.one_of(
    st.builds(record, st.integers(1, 3), st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 9)),
    st.builds(opened, st.sampled_from(["x", "y"]), st.sampled_from([None, 1]), st.integers(0, 9)),
    st.builds(closed, st.sampled_from(["x", "y"]), st.sampled_from([None, 1]), st.integers(0, 9)),
    st.builds(lambda at_s: SaveSeen(PILE_CODE, later(at_s)), st.integers(0, 9)),
)


class TestAnyOrder:
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(batches=st.lists(st.lists(WRITE, max_size=6), max_size=4))
    async def test_rules_hold_after_any_batches(self, sqlite_url: str, batches: list[list[Any]]) -> None:
        """One open alarm a key, one first content a record, seen is the latest; repeating changes nothing."""
        from pileward.models.database import open_database

        database = await open_database(sqlite_url)
        try:
            if not await Pile.all().exists():
                await open_business()
            for table in (Alarm, PileRecord):
                await table.all().delete()
            await Pile.all().update(last_seen_at=None)
            for batch in batches:
                await write(database, *batch)
            await check(batches)
            kept = [await Alarm.all().order_by("id").values("key", "begin_at", "end_at", "open_key")]
            kept.append(await PileRecord.all().order_by("id").values("id", "variant", "content_hash"))
            if batches:
                await write(database, *batches[-1])
                kept_again = [
                    await Alarm.all().order_by("id").values("key", "begin_at", "end_at", "open_key")
                ]
                kept_again.append(
                    await PileRecord.all().order_by("id").values("id", "variant", "content_hash")
                )
                assert kept_again == kept
        finally:
            await database.close()


async def check(batches: list[list[Any]]) -> None:
    writes = [write for batch in batches for write in batch]
    seen = [write.at for write in writes if isinstance(write, SaveSeen)]
    assert (await Pile.get()).last_seen_at == max(seen, default=None)
    contents = {(write.wire_number, write.body) for write in writes if isinstance(write, StoreRecord)}
    assert await PileRecord.all().count() == len(contents)
    assert await PileRecord.filter(variant=0).count() == len({number for number, _ in contents})
    for alarm in await Alarm.all():
        assert (alarm.open_key is None) == (alarm.end_at is not None)
        assert alarm.end_at is None or alarm.begin_at <= alarm.last_at <= alarm.end_at
