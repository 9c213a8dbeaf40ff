"""`pileward inspect`: what `/debug` shows, in a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import click
from rich.console import Console
from rich.json import JSON
from rich.table import Table
from rich.tree import Tree

from pileward.cli.http_client import Server, open_server, with_server
from pileward.cli.inspect_session import show_session

CHILDREN_SHOWN = 20


@click.command("inspect")
@click.argument("what", required=False)
@click.argument("serial", required=False)
@click.option("--frames", default=0, type=click.IntRange(0, 500), help="末几帧报文 / last frames of the pile")
@click.option("--follow", is_flag=True, help="跟随报文 / follow the pile's frames as they pass; Ctrl-C ends")
@click.option("--json", "as_json", is_flag=True, help="原样 JSON / plain JSON")
@with_server
def command(
    what: str | None,
    serial: str | None,
    frames: int,
    follow: bool,
    as_json: bool,
    url: str,
    token: str | None,
    state: Path,
) -> None:
    """查看运行中的执行者或一个订单 / Look at running actors, or at one charge.

    WHAT is a pile code, an actor's path such as /FleetActor~2, or nothing for the tree. `session SERIAL`
    shows one charge with its money, whether it still runs or not.
    """
    if (what == "session") is not (serial is not None):
        raise click.UsageError("用法 / usage: pileward inspect [pile code | path | session SERIAL]")
    server = open_server(url, token, state)
    console = Console()
    if serial is not None:
        show_session(server, console, serial, as_json)
    elif what is None:
        _show_tree(server, console)
    elif what.startswith("/"):
        console.print(JSON.from_data(server.call("GET", f"/debug/actor?path={quote(what)}")))
    elif follow:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_follow(server, console, what, as_json))
    else:
        _show_pile(server, console, what, frames, as_json)


async def _follow(server: Server, console: Console, code: str, as_json: bool) -> None:
    """Print each frame of a pile as it passes, until the server or the reader has enough."""
    path = f"/debug/piles/{quote(code, safe='')}/tail"
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(server.url + path, headers=server.headers, heartbeat=30) as socket:
                async for message in socket:
                    _print_passing(console, json.loads(message.data), as_json)
        except aiohttp.WSServerHandshakeError as error:
            raise click.ClickException(f"HTTP {error.status} {error.message}: {path}") from None
        except aiohttp.ClientConnectionError as error:
            raise click.ClickException(f"{server.url} 无法连接 / cannot be reached: {error}") from None


def _print_passing(console: Console, told: dict[str, Any], as_json: bool) -> None:
    for frame in told["items"]:
        if as_json:
            console.print_json(data=frame)
            continue
        decoded = frame["decoded"]
        arrow = "↑" if frame["direction"] == "up" else "↓"
        said = frame["damage"] or decoded.get("error") or decoded.get("fields") or ""
        name = f"{decoded.get('frame_type', '')} {decoded.get('name', '')}"
        console.print(f"{frame['at']} {arrow} [bold]{name}[/bold] {said}\n[dim]{frame['hex']}[/dim]")


def _show_tree(server: Server, console: Console) -> None:
    tree = Tree("[bold]执行者 / actors[/bold]")
    _grow(server, tree, "", 0)
    console.print(tree)


def _grow(server: Server, tree: Tree, path: str, depth: int) -> None:
    level = server.call(
        "GET", f"/debug/actors?limit={CHILDREN_SHOWN}" + (f"&path={quote(path)}" if path else "")
    )
    for actor in level["children"]["items"]:
        colour = "red" if actor["failures"] else "green"
        label = (
            f"[{colour}]{actor['path'].rsplit('/', 1)[-1]}[/{colour}] {actor['label']} {actor['state']} "
            f"[dim]mailbox {actor['mailbox_depth']} · handled {actor['handled']} · "
            f"failures {actor['failures']} · children {actor['children']}[/dim]"
        )
        branch = tree.add(label)
        if actor["children"] and depth < 1:
            _grow(server, branch, actor["path"], depth + 1)
    if level["children"]["next"]:
        tree.add("[dim]…[/dim]")


def _show_pile(server: Server, console: Console, code: str, frames: int, as_json: bool) -> None:
    actor = server.call("GET", f"/debug/piles/{quote(code, safe='')}")
    if as_json:
        console.print_json(data=actor)
    else:
        _print_pile(console, actor)
    if frames:
        tail = server.call("GET", f"/debug/piles/{quote(code, safe='')}/frames?limit={frames}")
        if as_json:
            console.print_json(data=tail)
        else:
            _print_frames(console, tail)


def _print_pile(console: Console, shown: dict[str, Any]) -> None:
    actor = shown["info"]
    detail = dict(actor.get("detail") or {})
    transitions = detail.pop("transitions", [])
    guns = detail.pop("guns", [])
    facts = Table(show_header=False, title=f"{detail.get('pile_code', '')} {detail.get('name', '')}")
    for name in ("path", "mailbox_depth", "handled", "failures", "restarts", "last_error", "age_s"):
        facts.add_row(name, str(actor.get(name, "")))
    for name, value in detail.items():
        facts.add_row(name, str(value))
    console.print(facts)
    table = Table(
        "枪 gun", "显示 shown", "上报 reported", "自 since", "SOC", "W", "故障 faults", title="枪 guns"
    )
    for gun in guns:
        cells = ("gun_no", "state", "reported_state", "since", "soc_pct", "power_w", "fault_codes")
        table.add_row(*(_text(gun.get(name)) for name in cells))
    console.print(table)
    log = Table("时间 at", "机 machine", "事件 event", "自 from", "至 to", title="转换 transitions")
    for row in transitions:
        log.add_row(row["at"], row["machine"], row["event"], row["from"], row["to"])
    console.print(log)


def _print_frames(console: Console, tail: Any) -> None:
    table = Table("时间 at", "", "报文 frame", "内容 content", title="报文 frames")
    for frame in tail["items"]:
        decoded = frame["decoded"]
        arrow = "↑" if frame["direction"] == "up" else "↓"
        told = frame["damage"] or decoded.get("error") or decoded.get("fields") or ""
        name = f"{decoded.get('frame_type', '')} {decoded.get('name', '')}\n[dim]{frame['hex']}[/dim]"
        table.add_row(frame["at"], arrow, name, str(told))
    console.print(table)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(value) if isinstance(value, list) else str(value)
