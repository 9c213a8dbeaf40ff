"""Actions of the pile machine that bring a pile and its tariff together (YKC 1.6, 8.1 and 8.9)."""

from __future__ import annotations

from msgspec.structs import replace

from pileward.actors import pile_commands as commands
from pileward.actors.effects import NOTHING, Arm, Clear, Disarm, Effects, Note, Raise, ShowPile
from pileward.actors.pile_state import TARIFF_GRACE_S, TARIFF_RETRY_S, Pile, TariffDue
from pileward.messages.commands import Outcome
from pileward.messages.downlinks import SetTariff, TariffCheckAnswer, TariffDelivery
from pileward.messages.uplinks import TariffAnswer, TariffCheck, TariffRequest
from pileward.services.pile_facts import ConfirmTariff
from pileward.values import ResultStatus, Severity

Step = tuple[Pile, Effects]

NO_TARIFF = Raise(
    "no_tariff",
    Severity.FAULT,
    "未配置计费模型，充电桩不能充电",
    "no tariff is configured: the pile must not charge",
)


def check(pile: Pile, event: TariffCheck, now: int) -> Step:
    """Answer which tariff is current; a pile that holds another one asks for it next (0x05, 0x06)."""
    wanted = pile.config.billing_model_no
    pile = replace(pile, held_model_no=event.billing_model_no)
    if wanted is None:
        answer = TariffCheckAnswer(pile.code, event.wire_seq, event.billing_model_no, False)
        pile, shown = _not_ok(pile)
        return pile, (answer, NO_TARIFF, *shown)
    is_current = event.billing_model_no == wanted
    answer = TariffCheckAnswer(pile.code, event.wire_seq, wanted, is_current)
    if not is_current:
        pile, shown = _not_ok(pile)
        return pile, (answer, Arm("tariff", TARIFF_GRACE_S), *shown)
    pile, effects = _confirmed(pile, wanted, now)
    return pile, (answer, *effects)


def deliver(pile: Pile, event: TariffRequest, now: int) -> Step:
    """Give the pile its tariff (0x09, 0x0A); without one, silence and an alarm: it must not charge."""
    tariff = pile.config.tariff
    if tariff is None:
        return pile, (NO_TARIFF,)
    pile, effects = _confirmed(pile, tariff.billing_model_no, now)
    return pile, (TariffDelivery(pile.code, event.wire_seq, tariff), *effects)


def take_answer(pile: Pile, event: TariffAnswer, now: int) -> Step:
    """The pile took or refused the pushed tariff; 0x57 carries no number, the outstanding one is meant."""
    sent = commands.pending(pile, "tariff")
    if sent is None:
        return pile, NOTHING
    pile, answered = commands.answer(pile, "tariff", is_ok=event.is_ok, reason="refused_by_pile")
    if event.is_ok:
        assert isinstance(sent.downlink, SetTariff)
        pile, effects = _confirmed(pile, sent.downlink.tariff.billing_model_no, now)
        return pile, (*answered, *effects)
    zh, en = "充电桩拒绝计费模型", "the pile refused its tariff"
    return pile, (*answered, Raise("tariff_failed", Severity.FAULT, zh, en), Arm("tariff", TARIFF_RETRY_S))


def push_if_needed(pile: Pile, _: TariffDue, now: int) -> Step:
    """No billing check came, or a push is due: send the tariff when the pile is idle."""
    return check_wanted(pile, now)


def check_wanted(pile: Pile, now: int) -> Step:
    """Compare held with wanted and push (0x58) if they differ and no gun is busy; else try again later."""
    tariff = pile.config.tariff
    if tariff is None:
        pile, shown = _not_ok(pile)
        return pile, (NO_TARIFF, *shown)
    # after a login only the pile's own word counts, not what it held before: hence both conditions
    if pile.tariff_ok and holds_wanted(pile):
        if not pile.is_push_wanted:
            return pile, (Clear("no_tariff"),)
        shown = NOTHING
    elif pile.is_busy and holds_wanted(pile):
        # it cannot be asked now, and what it held before the charge it still holds
        return replace(pile, tariff_ok=True), (Arm("tariff", TARIFF_GRACE_S), ShowPile("tariff"))
    else:
        pile, shown = _not_ok(pile)
    if pile.is_busy or commands.pending(pile, "tariff") is not None:
        return pile, (Arm("tariff", TARIFF_GRACE_S), *shown)
    pile, sent = commands.send_tariff(pile, tariff, None)
    return pile, (*sent, Arm("tariff", TARIFF_RETRY_S), *shown)


def command_push(pile: Pile, command_id: int) -> tuple[Pile, Effects, Outcome | None]:
    """Staff want the tariff pushed now: sent, scheduled for when the pile is idle, or refused."""
    tariff = pile.config.tariff
    if tariff is None:
        return (
            pile,
            (),
            Outcome(ResultStatus.REJECTED, "no_tariff", "未配置计费模型 / no tariff is configured"),
        )
    if pile.is_busy:
        detail = "充电结束后下发 / will be sent when the pile is idle"
        outcome = Outcome(ResultStatus.SCHEDULED, "pile_busy", detail)
        return replace(pile, is_push_wanted=True), (Arm("tariff", TARIFF_GRACE_S),), outcome
    pile, sent = commands.send_tariff(pile, tariff, command_id)
    return pile, sent, None


def holds_wanted(pile: Pile) -> bool:
    """Whether the billing model that the pile said it holds is the one it should hold."""
    return pile.config.billing_model_no is not None and pile.held_model_no == pile.config.billing_model_no


def _not_ok(pile: Pile) -> Step:
    """The pile does not hold its tariff; shown when it did until now."""
    return replace(pile, tariff_ok=False), (ShowPile("tariff"),) if pile.tariff_ok else NOTHING


def _confirmed(pile: Pile, number: str, now: int) -> Step:
    from_before = pile.config.confirmed_billing_model_no
    is_current = number == pile.config.billing_model_no
    was_ok = pile.tariff_ok
    pile = replace(
        pile,
        held_model_no=number,
        tariff_ok=is_current,
        is_push_wanted=False,
        config=replace(pile.config, confirmed_billing_model_no=number),
    )
    effects: Effects = (Clear("no_tariff"), Clear("tariff_failed"))
    effects += (Disarm("tariff"),) if is_current else (Arm("tariff", 1.0),)
    if from_before != number:
        effects += (Note(ConfirmTariff(pile.code, number, commands.moment(now))),)
    if is_current != was_ok:
        effects += (ShowPile("tariff"),)
    return pile, effects
