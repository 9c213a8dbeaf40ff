"""The operator API on a whole node: rows, audit, actors and piles follow each change."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from aiohttp.web import Application

from pileward.codecs.ykc.frames import Reboot
from pileward.http.app import make_app
from pileward.models.operators import Operator
from pileward.services import operators
from pileward.services.audit import Who
from tests.nodes import CODES, TOKEN, Street

Client = TestClient[Any, Application]

PREFIX = "/api/admin/v1"
NEW_CODE = "32010600000099"
TERMS = {
    **{
        rate: {"energy_e5_yuan": price, "service_e5_yuan": 30_000}
        for rate, price in (("sharp", 120_000), ("peak", 100_000), ("flat", 70_000), ("valley", 40_000))
    },
    "slots": "3" * 16 + "1" * 32,
}


class Desk:
    """The operator's hand on the API: sends JSON with the token, checks the status, gives back the body."""

    def __init__(self, client: Client, token: str = TOKEN) -> None:
        self.client = client
        self.token = token

    async def __call__(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = await self.client.request(method, PREFIX + path, json=body, headers=headers)
        text = await answer.text()
        assert answer.status == status, f"{method} {path}: {answer.status} {text}"
        return await answer.json() if text else None


@pytest.fixture
async def desk(street: Street, aiohttp_client: Callable[[Application], Awaitable[Client]]) -> Desk:
    """The API of the street's node."""
    return Desk(await aiohttp_client(make_app(street.node)))


async def test_a_station_is_created_changed_listed_and_audited(desk: Desk) -> None:
    made = await desk("POST", "/stations", {"code": "S2", "name_zh": "二号站"}, 201)
    assert (made["code"], made["name_zh"], made["is_open"]) == ("S2", "二号站", True)
    changed = await desk("PATCH", f"/stations/{made['id']}", {"address": "江边 1 号", "phone": "025-1"})
    assert (changed["address"], changed["name_zh"]) == ("江边 1 号", "二号站")
    assert await desk("GET", f"/stations/{made['id']}") == changed
    assert [row["code"] for row in (await desk("GET", "/stations"))["items"]] == ["S1", "S2"]
    entries = (await desk("GET", f"/audit?kind=station&target={made['id']}"))["items"]
    assert [entry["action"] for entry in entries] == ["station.change", "station.add"]
    assert (entries[0]["before"]["address"], entries[0]["after"]["address"]) == ("", "江边 1 号")
    assert entries[0]["actor"] == "token:settings"
    assert entries[1]["before"] is None


async def test_a_station_is_on_the_page_at_once(desk: Desk, street: Street) -> None:
    await desk("POST", "/stations", {"code": "S2", "name_zh": "二号站"}, 201)
    assert [station.code for station in street.node.snapshot()] == ["S1", "S2"]


STATION = {"code": "S3", "name_zh": "三号站"}
PILE = {"pile_code": "7", "station_id": 1, "rated_power_w": 60_000}
TARIFF = {"name": "夜间", "terms": TERMS}
COMMANDS = f"/piles/{CODES[0]}/commands"
REFUSALS = [
    # method and address, body, status, code, field
    ("POST /stations", {**STATION, "code": "S1"}, 409, "station_exists", "code"),
    ("POST /stations", {**STATION, "code": "a b"}, 400, "invalid_field", "code"),
    ("POST /stations", {"code": "S3"}, 400, "invalid_field", "name_zh"),
    ("POST /stations", {**STATION, "tariff_id": 99}, 404, "tariff_not_found", "tariff_id"),
    ("POST /stations", {**STATION, "latitude_e6": 91.5}, 400, "invalid_field", "latitude_e6"),
    ("PATCH /stations/1", {"name_zh": "x" * 101}, 400, "invalid_field", "name_zh"),
    ("GET /stations/77", None, 404, "station_not_found", "station_id"),
    ("GET /stations/0", None, 400, "invalid_field", "id"),
    ("GET /stations?limit=0", None, 400, "invalid_field", "limit"),
    ("GET /stations?cursor=nonsense", None, 400, "bad_cursor", "cursor"),
    ("POST /piles", {**PILE, "pile_code": CODES[0]}, 409, "pile_exists", "pile_code"),
    ("POST /piles", {**PILE, "pile_code": "x"}, 400, "bad_pile_code", "pile_code"),
    ("POST /piles", {**PILE, "station_id": 9}, 404, "station_not_found", "station_id"),
    ("POST /piles", {**PILE, "rated_power_w": 1}, 400, "invalid_field", "rated_power_w"),
    ("GET /piles/00000000000001", None, 404, "pile_not_found", None),
    (f"PATCH /piles/{CODES[0]}", {"gun_count": 77}, 400, "invalid_field", "gun_count"),
    (f"POST {COMMANDS}/read-gun", {"gun_no": 77}, 400, "invalid_field", "gun_no"),
    ("POST /piles/7/commands/sync-clock", None, 404, "pile_not_found", None),
    ("POST /tariffs", {**TARIFF, "name": "日间"}, 409, "tariff_exists", "name"),
    ("POST /tariffs", {**TARIFF, "terms": {**TERMS, "slots": "4" * 48}}, 400, "invalid_field", "terms.slots"),
    ("POST /tariffs", {**TARIFF, "effective_at": "2026-01-01T00:00"}, 400, "invalid_field", "effective_at"),
    ("POST /tariffs/1/versions", {"terms": TERMS, "x": 1}, 400, "invalid_field", "x"),
    ("POST /discovered-piles/7/adopt", {"station_id": 1}, 404, "discovered_not_found", None),
    ("GET /alarms?only_open=maybe", None, 400, "invalid_field", "only_open"),
]


async def test_refusals_name_what_is_wrong_and_change_nothing(desk: Desk) -> None:
    before = await desk("GET", "/audit")
    for address, body, status, code, field in REFUSALS:
        method, _, path = address.partition(" ")
        problem = await desk(method, path, body, status)
        assert problem["code"] == code, address
        assert problem["detail"].get("field") == field, address
        assert " / " in problem["message"], address
    assert await desk("GET", "/audit") == before


async def test_a_price_below_zero_is_refused(desk: Desk) -> None:
    terms = {**TERMS, "sharp": {"energy_e5_yuan": -1, "service_e5_yuan": 0}}
    problem = await desk("POST", "/tariffs", {"name": "x", "terms": terms}, 400)
    assert (problem["code"], problem["detail"]["field"]) == ("price_out_of_range", "sharp.energy_e5_yuan")


async def test_lists_go_on_by_cursor(desk: Desk) -> None:
    first = await desk("GET", "/piles?limit=2")
    assert [row["pile"]["pile_code"] for row in first["items"]] == list(CODES[:2])
    second = await desk("GET", f"/piles?limit=2&cursor={first['next']}")
    assert [row["pile"]["pile_code"] for row in second["items"]] == [CODES[2]]
    assert second["next"] is None


async def test_a_new_pile_may_connect_at_once(desk: Desk, street: Street) -> None:
    body = {"pile_code": NEW_CODE, "station_id": 1, "rated_power_w": 60_000, "gun_count": 2, "name": "新桩"}
    made = await desk("POST", "/piles", body, 201)
    assert made["live"]["state"] == "unknown"
    street.power_on(NEW_CODE)
    await street.online(NEW_CODE)
    found = await desk("GET", f"/piles/{NEW_CODE}")
    assert (found["live"]["state"], found["live"]["tariff_ok"]) == ("online", True)
    assert [gun["state"] for gun in found["live"]["guns"]] == ["idle", "idle"]
    assert found["pile"]["reported"]["protocol_version"].startswith("1.")


async def test_a_change_reaches_the_actor(desk: Desk, street: Street) -> None:
    street.power_on(CODES[0])
    await street.online(CODES[0])
    await desk("PATCH", f"/piles/{CODES[0]}", {"name": "门口", "gun_names": ["左", "右"]})
    assert street.pile(CODES[0]).config.name == "门口"
    shown = await desk("POST", f"/piles/{CODES[0]}/maintenance", {"is_in_maintenance": True})
    assert shown["live"]["state"] == "maintenance"
    assert {gun["state"] for gun in shown["live"]["guns"]} == {"maintenance"}
    shown = await desk("POST", f"/piles/{CODES[0]}/maintenance", {"is_in_maintenance": False})
    assert shown["live"]["state"] == "online"


async def test_a_retired_pile_is_gone_and_kept(desk: Desk, street: Street) -> None:
    street.power_on(CODES[0])
    await street.online(CODES[0])
    shown = await desk("POST", f"/piles/{CODES[0]}/retire")
    assert (shown["pile"]["is_retired"], shown["live"]) == (True, None)
    assert street.node.fleet.address_of(CODES[0]) is None
    codes = [row["pile"]["pile_code"] for row in (await desk("GET", "/piles"))["items"]]
    assert codes == list(CODES[1:])
    codes = [row["pile"]["pile_code"] for row in (await desk("GET", "/piles?with_retired=true"))["items"]]
    assert codes == list(CODES)


async def test_another_operator_sees_and_commands_nothing_of_it(desk: Desk, street: Street) -> None:
    now = street.clock.utc()
    other = await Operator.create(code="other", name_zh="别家", created_at=now)
    token = await operators.issue_token(Who(other.id, "system", now), "theirs")
    theirs = Desk(desk.client, token)
    for path in ("/stations", "/piles", "/tariffs", "/alarms"):
        assert (await theirs("GET", path))["items"] == [], path
    assert {entry["action"] for entry in (await theirs("GET", "/audit"))["items"]} == {"token.issue"}
    await theirs("GET", "/stations/1", status=404)
    await theirs("GET", f"/piles/{CODES[0]}", status=404)
    await theirs("PATCH", f"/piles/{CODES[0]}", {"name": "mine"}, 404)
    await theirs("POST", f"/piles/{CODES[0]}/commands/sync-clock", None, 404)
    await theirs("POST", f"/piles/{CODES[0]}/commands/release", None, 404)
    await theirs("POST", "/tariffs/1/assign", {"station_ids": [1]}, 404)
    headers = {"Authorization": f"Bearer {token}"}
    answer = await desk.client.get(f"/debug/piles/{CODES[0]}/frames", headers=headers)
    assert answer.status == 404


async def test_an_unknown_pile_is_discovered_and_adopted(desk: Desk, street: Street) -> None:
    street.power_on(NEW_CODE)
    await street.pass_time(3)
    await street.eventually(lambda: street.node.metrics.logins_refused, what="a refusal")
    await street.pass_time(10)
    (found,) = (await desk("GET", "/discovered-piles"))["items"]
    assert (found["pile_code"], found["facts"]["gun_count"]) == (NEW_CODE, 2)
    made = await desk("POST", f"/discovered-piles/{NEW_CODE}/adopt", {"station_id": 1, "name": "捡来的"}, 201)
    assert (made["pile"]["gun_count"], made["pile"]["name"]) == (2, "捡来的")
    assert (await desk("GET", "/discovered-piles"))["items"] == []
    await street.online(NEW_CODE)


async def test_new_prices_reach_every_pile_bound_to_the_tariff(desk: Desk, street: Street) -> None:
    street.power_on(CODES[0])
    await street.online(CODES[0])
    (tariff,) = (await desk("GET", "/tariffs"))["items"]
    old = tariff["current"]["billing_model_no"]
    changed = await desk("POST", f"/tariffs/{tariff['id']}/versions", {"terms": TERMS}, 201)
    new = changed["current"]["billing_model_no"]
    assert new != old
    await street.eventually(
        lambda: street.pile(CODES[0]).held_model_no == new and street.pile(CODES[0]).tariff_ok
    )
    pushes = {row["pile_code"]: row for row in (await desk("GET", f"/tariffs/{tariff['id']}/piles"))["items"]}
    assert pushes[CODES[0]]["is_confirmed"] is True
    assert pushes[CODES[0]]["confirmed_billing_model_no"] == new
    assert pushes[CODES[1]] == {
        "pile_code": CODES[1],
        "state": "unknown",
        "wanted_billing_model_no": new,
        "confirmed_billing_model_no": None,
        "is_confirmed": False,
    }
    versions = (await desk("GET", f"/tariffs/{tariff['id']}/versions"))["items"]
    assert [row["version"] for row in versions] == [2, 1]


async def test_a_tariff_is_assigned_to_all_or_none(desk: Desk) -> None:
    made = await desk("POST", "/tariffs", {"name": "夜间", "terms": TERMS}, 201)
    assert (await desk("GET", f"/tariffs/{made['id']}/piles"))["items"] == []
    wrong = {"pile_codes": [CODES[0], "00000000000404"]}
    await desk("POST", f"/tariffs/{made['id']}/assign", wrong, 404)
    assert (await desk("GET", f"/tariffs/{made['id']}/piles"))["items"] == []
    await desk("POST", f"/tariffs/{made['id']}/assign", {"pile_codes": [CODES[0]]})
    first = await desk("GET", f"/tariffs/{made['id']}/piles?limit=1")
    assert [row["pile_code"] for row in first["items"]] == [CODES[0]]
    await desk("POST", f"/tariffs/{made['id']}/assign", {"station_ids": [1]})
    page = await desk("GET", f"/tariffs/{made['id']}/piles?limit=2")
    rest = await desk("GET", f"/tariffs/{made['id']}/piles?limit=2&cursor={page['next']}")
    assert [row["pile_code"] for row in page["items"] + rest["items"]] == list(CODES)


async def test_commands_have_exactly_one_outcome(desk: Desk, street: Street) -> None:
    path = f"/piles/{CODES[0]}/commands"
    assert await desk("POST", f"{path}/sync-clock") == {
        "outcome": "offline",
        "reason": "pile_offline",
        "message": "充电桩离线 / the pile is offline",
    }
    (control,) = street.power_on(CODES[0])
    await street.online(CODES[0])
    for name, body in (
        ("sync-clock", None),
        ("push-tariff", None),
        ("read-gun", {"gun_no": 2}),
        ("set-service", {"is_in_service": True, "max_power_pct": 80}),
        ("send-qr-prefix", {"prefix": "https://example.com/"}),
    ):
        assert (await desk("POST", f"{path}/{name}", body))["outcome"] == "accepted", name
    assert control.is_online
    entries = (await desk("GET", f"/audit?kind=pile&target={CODES[0]}"))["items"]
    assert entries[0]["action"] == "pile.command.send_qr_prefix"
    assert entries[0]["after"]["outcome"] == "accepted"


async def test_a_pile_that_does_not_answer_is_timed_out(desk: Desk, street: Street) -> None:
    (control,) = street.power_on(CODES[0])
    await street.online(CODES[0])
    control.freeze()
    asked = asyncio.ensure_future(desk("POST", f"/piles/{CODES[0]}/commands/sync-clock"))
    await street.pass_time(40, step=1.0)
    assert (await asked)["outcome"] in ("timed_out", "offline")


async def test_a_reboot_restarts_the_pile(desk: Desk, street: Street) -> None:
    (control,) = street.power_on(CODES[0])
    await street.online(CODES[0])
    answer = await desk("POST", f"/piles/{CODES[0]}/commands/reboot", {"is_when_idle": False})
    assert answer["outcome"] == "accepted"
    frame = await control.expect(Reboot)
    assert frame.pile_no == CODES[0]


async def test_alarms_are_listed_open_and_closed(desk: Desk, street: Street) -> None:
    (control,) = street.power_on(CODES[0])
    await street.online(CODES[0])
    control.fault(1, gun_no=1)
    await street.pass_time(1)
    await street.eventually(lambda: "fault:emergency_stop" in street.alarms(CODES[0]))
    await street.settle()
    (alarm,) = [
        row
        for row in (await desk("GET", f"/alarms?pile_code={CODES[0]}"))["items"]
        if row["kind"] == "fault:emergency_stop"
    ]
    assert (alarm["gun_no"], alarm["severity"], alarm["end_at"]) == (1, "fault", None)
    control.mend(gun_no=1)
    await street.eventually(lambda: "fault:emergency_stop" not in street.alarms(CODES[0]))
    await street.settle()
    assert [row["id"] for row in (await desk("GET", f"/alarms?pile_code={CODES[0]}"))["items"]] == []
    closed = (await desk("GET", f"/alarms?pile_code={CODES[0]}&only_open=false"))["items"]
    assert alarm["id"] in [row["id"] for row in closed]
    assert all(row["end_at"] for row in closed)


async def test_pile_models_are_created_and_changed(desk: Desk, street: Street) -> None:
    made = await desk("POST", "/pile-models", {"maker": "某厂", "name": "A1", "offline_after_s": 45}, 201)
    await desk("PATCH", f"/piles/{CODES[0]}", {"model_id": made["id"]})
    assert street.pile(CODES[0]).config.settings.offline_after_s == 45
    body = {"maker": "某厂", "name": "A1", "offline_after_s": 90}
    assert (await desk("PUT", f"/pile-models/{made['id']}", body))["offline_after_s"] == 90
    await street.settle()
    assert street.pile(CODES[0]).config.settings.offline_after_s == 90
    assert await desk("GET", f"/pile-models/{made['id']}") == (await desk("GET", "/pile-models"))["items"][1]


async def test_two_changes_at_once_are_both_kept(desk: Desk) -> None:
    changes = [desk("PATCH", "/stations/1", {field: "新"}) for field in ("address", "phone", "parking")]
    await asyncio.gather(*changes)
    station = await desk("GET", "/stations/1")
    assert [station[field] for field in ("address", "phone", "parking")] == ["新", "新", "新"]
    assert len((await desk("GET", "/audit?kind=station&target=1"))["items"]) == 4
