"""`pileward pile add | adopt | list`: put a real pile on the line in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich.console import Console
from rich.table import Column, Table

from pileward.cli.http_client import Server, open_server, with_server

API = "/api/admin/v1"
STATION_CODE = "default"
TARIFF_NAME = "默认电价"
FLAT_PRICE = {"energy_e5_yuan": 80_000, "service_e5_yuan": 40_000}
"""0.80 + 0.40 yuan/kWh around the clock: only for the station that is made for a first pile."""

_station = click.option(
    "--station", help="场站编码或编号；缺省用第一个 / station code or id; default: the first"
)
_guns = click.option("--guns", type=click.IntRange(1, 32), help="枪数 / guns")
_kind = click.option(
    "--kind", type=click.Choice(["dc", "ac"]), help="直流或交流 / direct or alternating current"
)
_power = click.option("--power-kw", type=click.IntRange(1, 1_000), help="额定功率（kW）/ rated power")
_name = click.option("--name", default="", help="名称 / name")


@click.group("pile")
def command() -> None:
    """登记、接纳、查看充电桩 / Register, adopt and list piles."""


@command.command("add")
@click.argument("pile_code")
@_station
@_guns
@_kind
@_power
@_name
@with_server
def add(
    pile_code: str,
    station: str | None,
    guns: int | None,
    kind: str | None,
    power_kw: int | None,
    name: str,
    url: str,
    token: str | None,
    state: Path,
) -> None:
    """登记一台桩 / Register a pile by its number; it may connect at once."""
    server = open_server(url, token, state)
    kind = kind or "dc"
    body = {
        "pile_code": pile_code,
        "station_id": _station_id(server, station),
        "rated_power_w": (power_kw or (120 if kind == "dc" else 7)) * 1_000,
        "kind": kind,
        "gun_count": guns or 1,
        "name": name,
    }
    server.call("POST", f"{API}/piles", body)
    click.echo(f"已登记 / registered: {pile_code}")


@command.command("adopt")
@click.argument("pile_code")
@_station
@_guns
@_kind
@_power
@_name
@with_server
def adopt(
    pile_code: str,
    station: str | None,
    guns: int | None,
    kind: str | None,
    power_kw: int | None,
    name: str,
    url: str,
    token: str | None,
    state: Path,
) -> None:
    """接纳一台已发现的桩 / Register a pile that tried to log in, as it described itself."""
    server = open_server(url, token, state)
    body: dict[str, Any] = {"station_id": _station_id(server, station), "name": name}
    if guns is not None:
        body["gun_count"] = guns
    if kind is not None:
        body["kind"] = kind
    if power_kw is not None:
        body["rated_power_w"] = power_kw * 1_000
    server.call("POST", f"{API}/discovered-piles/{quote(pile_code, safe='')}/adopt", body)
    click.echo(f"已接纳 / adopted: {pile_code}")


@command.command("list")
@click.option(
    "--discovered", is_flag=True, help="只列未登记而来连接的桩 / only those that are not registered"
)
@with_server
def list_piles(discovered: bool, url: str, token: str | None, state: Path) -> None:
    """列出桩与状态 / List piles and their states."""
    server = open_server(url, token, state)
    console = Console()
    if not discovered:
        table = Table(
            Column("桩号 pile", no_wrap=True),
            "名称 name",
            "类型 kind",
            "枪 guns",
            "状态 state",
            "电价 tariff",
        )
        for shown in _all(server, f"{API}/piles"):
            live = shown["live"] or {}
            pile = shown["pile"]
            guns = ", ".join(f"{gun['gun_no']}:{gun['state']}" for gun in live.get("guns", ()))
            held = "✓" if live.get("tariff_ok") else "✗"
            table.add_row(pile["pile_code"], pile["name"], pile["kind"], guns, live.get("state", "-"), held)
        console.print(table)
    found = list(_all(server, f"{API}/discovered-piles"))
    if found or discovered:
        code = Column("未登记 discovered", no_wrap=True)
        table = Table(code, "地址 address", "次数 attempts", "最近 last seen", "程序 software")
        for pile in found:
            table.add_row(
                pile["pile_code"],
                pile["facts"]["remote_address"],
                str(pile["attempts"]),
                pile["last_seen_at"],
                pile["facts"]["software_version"],
            )
        console.print(table)
        if found:
            console.print(f"pileward pile adopt {found[0]['pile_code']}", style="dim")


def _station_id(server: Server, wanted: str | None) -> int:
    """The station asked for, or the first, or one made now so that a newcomer's first pile has a home."""
    stations = list(_all(server, f"{API}/stations"))
    if wanted is not None:
        for station in stations:
            if wanted in (station["code"], str(station["id"])):
                return int(station["id"])
        raise click.ClickException(f"没有场站 {wanted} / there is no station {wanted}")
    if stations:
        return int(stations[0]["id"])
    terms = dict.fromkeys(("sharp", "peak", "flat", "valley"), FLAT_PRICE)
    tariffs = list(_all(server, f"{API}/tariffs"))
    tariff = (
        tariffs[0]
        if tariffs
        else server.call(
            "POST", f"{API}/tariffs", {"name": TARIFF_NAME, "terms": {**terms, "slots": "2" * 48}}
        )
    )
    station = server.call(
        "POST",
        f"{API}/stations",
        {
            "code": STATION_CODE,
            "name_zh": "默认场站",
            "name_en": "Default station",
            "tariff_id": tariff["id"],
        },
    )
    click.echo("已新建默认场站与电价 / made a default station and tariff: 0.80 + 0.40 元/kWh")
    return int(station["id"])


def _all(server: Server, path: str) -> Any:
    cursor = ""
    while True:
        answer = server.call("GET", f"{path}?limit=100" + (f"&cursor={cursor}" if cursor else ""))
        yield from answer["items"]
        cursor = answer["next"]
        if not cursor:
            return
