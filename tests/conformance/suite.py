"""What Thespian's own suite must show on our engine, and why the rest of it does not apply.

Version 4.0.1 has 360 tests for a base that runs within one process: on Thespian's `simpleSystemBase` 264 of
them pass and 96 are skipped. On ours those 264 pass and, of the 96, the 28 of `ALSO_APPLY`. A run in which
one fails, is skipped without a reason here, or is missing, fails as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Tests that `simpleSystemBase` passes.
PASSED_BY_SIMPLE_BASE: Final = 264

#: Tests that the suite skips on `simpleSystemBase` and that hold for our engine.
ALSO_APPLY: Final = frozenset(
    {
        # An actor may leave with SystemExit without taking the process along.
        "test_actorFailures.py::TestFuncActorFailures::test08_DeepActorInvoluntaryTermination",
        "test_actorFailures.py::TestFuncActorFailures::test_abrupt_child_exit",
        # Private ends work while no other thread lends a hand, as there is a loop of their own.
        "test_threadedExternal.py::TestFuncThreadedExternal::test_one_thread_private_context",
        "test_threadedExternal.py::TestFuncThreadedExternal::test_multiple_threads_private_context",
        # Loaded sources may import built-in modules.
        "test_sourceLoading.py::TestFuncLoadSource::test02_verifyBuiltinImport",
        # Capabilities are checked, and refusals are raised, with one system just as with several.
        "test_multipleActorSystems.py::TestFuncSolitaryActorSystem::test01_SimpleActorCommunication",
        "test_multipleActorSystems.py::TestFuncSolitaryActorSystem::test02_CapabilityActorCommunication",
        "test_multipleActorSystems.py::TestFuncSolitaryActorSystem::test03_NoCommunicationToIntransigentActor",
        "test_multipleActorSystems.py::TestFuncSolitaryActorSystem::test04_NoCommunicationToInvalidConstraintActor",
        "test_updateSystemCapabilities.py::TestFuncCapabilityUpdates::test00_systemsRunnable",
        "test_updateSystemCapabilities.py::TestFuncCapabilityUpdates::test01_defaultSystemsDoNotSupportColorActors",
        "test_updateSystemCapabilities.py::TestFuncCapabilityUpdates::test04_addMultipleColorCapabilitiesToLeader"
        "ActorSystemAllowsColorActors",
        "test_updateSystemCapabilities.py::TestFuncCapabilityUpdates::"
        "test04_1_actorAddCapabilitiesEnablesOtherActors",
        "test_sourceLoading.py::TestFuncMultipleSystemsLoadSource::"
        "test09_properErrorIfActorCapabilitiesNotSatisfied",
        # Of the tests with several systems, those in which each does its own work, side by side.
        "test_HAConvention.py::TestFuncHAConvention::test01_systems_can_start",
        "test_manyActorSystems.py::TestFuncManyActorSystem::test01_checkAllSystemStart",
        "test_multipleActorSystems.py::TestFuncMultiProcessSystem::test00_nothing",
        "test_multipleActorSystems.py::TestFuncMultiProcessSystem::test01_SimpleActor",
        "test_multipleActorSystems.py::TestFuncMultiProcessSystem::test02_SimpleActorMatchPrimaryCapabilities",
        "test_multipleActorSystems.py::TestFuncMultiProcessSystem::test05_LocalActorSend",
        "test_multipleActorSystems.py::TestFuncMultiProcessSystem::test09_LocalActorAsk",
        "test_multipleActorSystems.py::TestFuncMultiProcessSystem::test12_CreateLocalChildActor",
        "test_preRegistration.py::TestFuncRegistration::testBadRegistrationAddress",
        "test_sourceLoading.py::TestFuncMultipleSystemsLoadSource::"
        "test10_multiSystemStartSubActorByClassReferenceLocally",
    }
)
#: `test_multiple_threads_private_context` counts five times, once for each number of threads.
_PARAMETERS: Final = 4

_CONVENTION: Final = (
    "needs a convention of systems in several processes, in which an actor is made wherever its capabilities "
    "are found; one Pileward process is one system, and nodes speak to each other by other means"
)

#: Why what is still skipped does not apply: start of the test's name, number of tests, reason.
SKIPPED: Final = (
    ("test_HAConvention.py::", 3, _CONVENTION),
    ("test_manyActorSystems.py::", 12, _CONVENTION),
    ("test_multipleActorSystems.py::TestFuncMultiProcessSystem::", 20, _CONVENTION),
    ("test_preRegistration.py::", 5, _CONVENTION),
    ("test_sourceLoading.py::TestFuncMultipleSystemsLoadSource::", 10, _CONVENTION),
    (
        "test_updateSystemCapabilities.py::TestFuncCapabilityUpdates::",
        14,
        _CONVENTION + "; that actors exit when a capability goes is tested in tests/unit/test_engine_tree.py",
    ),
    (
        "test_runcommand.py::TestRunCommand::testCommandAbort",
        1,
        "needs Thespian's Watch of file descriptors by a process of the actor's own; here what needs I/O is "
        "done by port actors",
    ),
    (
        "test_actorSignals.py::",
        2,
        "sends operating system signals to the process of one actor; all actors share one process",
    ),
    (
        "test_sourceLoading.py::TestFuncLoadSource::test02_verifyAllOLDSTYLERelativeImportPossibilities",
        1,
        "imports in the way of Python 2",
    ),
)


def expected_to_pass() -> int:
    """How many tests must pass."""
    return PASSED_BY_SIMPLE_BASE + len(ALSO_APPLY) + _PARAMETERS


def without_parameters(name: str) -> str:
    """`test_x.py::Class::test` of a node id with folders before it and parameters behind it."""
    return name.rpartition("/")[2].partition("[")[0]


def complaints(outcomes: Mapping[str, str]) -> list[str]:
    """What is wrong with a complete run; `outcomes` maps names to passed, failed or skipped."""
    found = [f"{name} {outcome}" for name, outcome in sorted(outcomes.items()) if outcome == "failed"]
    passed = sum(outcome == "passed" for outcome in outcomes.values())
    if passed != expected_to_pass():
        found.append(f"{passed} tests passed, not {expected_to_pass()}")
    skipped = [without_parameters(name) for name, outcome in outcomes.items() if outcome == "skipped"]
    for start, count, _ in SKIPPED:
        seen = sum(name.startswith(start) for name in skipped)
        if seen != count:
            found.append(f"{seen} tests skipped that begin with {start}, not {count}")
    starts = tuple(start for start, _, _ in SKIPPED)
    found += [
        f"{name} was skipped, for no reason given here" for name in skipped if not name.startswith(starts)
    ]
    return found
