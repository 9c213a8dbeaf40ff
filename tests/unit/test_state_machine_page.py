"""The page about state machines is the printed one, and its words about timers and alarms fit the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from pileward.actors import diagrams
from pileward.actors.gun_machine import RULES as GUN_RULES
from pileward.actors.pile_machine import EVENTS, IGNORED, RULES

ROOT = Path(__file__).parents[2]
ACTORS = ROOT / "pileward" / "actors"
SOURCES = (*sorted(ACTORS.glob("pile*.py")), ACTORS / "fleet.py")


def first_words(*calls: str) -> set[str]:
    """The first argument of every such call in the sources of piles: a text, or what comes before a `{`."""
    found = set()
    for source in SOURCES:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and _called(node) in calls:
                found |= _text(node.args[0])
    return found


def _called(call: ast.Call) -> str:
    name = call.func
    return name.attr if isinstance(name, ast.Attribute) else name.id if isinstance(name, ast.Name) else ""


def _text(node: ast.expr) -> set[str]:
    if isinstance(node, ast.Constant):
        return {str(node.value)}
    if isinstance(node, ast.JoinedStr):
        begin = node.values[0]
        # a name in front, as in f"{FAULT_ALARM}{code}", stands for a text that ends so
        return {str(begin.value)} if isinstance(begin, ast.Constant) else {"fault:"}
    return set()


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
