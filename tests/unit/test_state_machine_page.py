"""The page about state machines is the printed one, and its words about timers and alarms fit the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from pileward.actors import diagrams
from pileward.actors.gun_machine import RULES as GUN_RULES
from pileward.actors.pile_machine import EVENTS, IGNORED, RULES

ROOT = Path(__file__).parents[2]
ACTORS = ROOT / "pileward" / "actors"
SOURCES = (*sorted(ACTORS.glob("pile*.py")), ACTORS / "fleet.py")


def first_words(*calls: str) -> set[str]:
    """The first argument of every such call in the sources of piles, up to what is filled in later."""
    found = set()
    for source in SOURCES:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        named = dict(_constants(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and _called(node) in calls:
                found.add(_text(node.args[0], named))
    return found - {""}


def _called(call: ast.Call) -> str:
    name = call.func
    return name.attr if isinstance(name, ast.Attribute) else name.id if isinstance(name, ast.Name) else ""


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Texts that a module gives a name."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        for target in targets:
            if (
                isinstance(target, ast.Name)
                and isinstance(value, ast.Constant)
                and isinstance(value.value, str)
            ):
                yield target.id, value.value


def _text(node: ast.expr, named: dict[str, str]) -> str:
    """A text, a named text, or how an f-string begins; "" for what is a variable."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return _text(node.values[0], named)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, named)
    return named.get(node.id, "") if isinstance(node, ast.Name) else ""


def test_the_committed_page_is_the_printed_one() -> None:
    """When this fails: `python -m pileward.actors.diagrams`."""
    assert (ROOT / diagrams.PAGE).read_text(encoding="utf-8") == diagrams.page()


def test_main_writes_the_page(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    diagrams.main(tmp_path)
    assert (tmp_path / diagrams.PAGE).read_text(encoding="utf-8") == diagrams.page()


def test_every_way_between_states_is_drawn() -> None:
    pile, gun = re.findall(r"```mermaid\n(.*?)```", diagrams.page(), re.DOTALL)
    for rule in RULES:
        arrow = f"{rule.state.name.capitalize()} --> {rule.target.name.capitalize()} : "
        assert (rule.state is rule.target) is not (arrow in pile)
        if rule.state is not rule.target:
            (line,) = [line for line in pile.splitlines() if arrow in line]
            assert rule.event.__name__ in line
    for (state, event), target in GUN_RULES.items():
        arrow = f"{state.name.capitalize()} --> {target.name.capitalize()} : "
        assert (state is target) is not (arrow in gun), event


def test_every_event_and_reason_is_named() -> None:
    text = diagrams.page()
    named = {event.__name__ for event in EVENTS if event.__name__ in text}
    assert named == {event.__name__ for event in EVENTS}
    assert all(reason in text for reason in IGNORED.values())


def test_every_rule_says_what_it_does() -> None:
    for rule in RULES:
        assert len(diagrams._purpose(rule.action)) > 15, rule.action
        assert len(diagrams._purpose(rule.guard)) > 15, rule.guard


def test_every_timer_is_explained() -> None:
    armed = {name.partition(":")[0] for name in first_words("Arm", "arm")}
    assert {timer.name.partition(":")[0] for timer in diagrams.TIMERS} == armed


def test_every_alarm_is_explained() -> None:
    raised = {name.partition(":")[0] for name in first_words("Raise")} | {"quarantined"}
    assert {alarm.kind.partition(":")[0] for alarm in diagrams.ALARMS} == raised
