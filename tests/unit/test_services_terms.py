"""What an operator decides about money, and the tolerances of a pile model."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pileward.errors import NotFoundError
from pileward.models.database import Database
from pileward.models.operators import AuditEntry
from pileward.services import audit, operators, pile_configs, pile_models
from pileward.services.operators import MoneyTerms, Overrun, ProvisionalRefund
from pileward.services.pile_models import NewPileModel
from pileward.services.settlement import load_terms
from tests.business import NOW, PILE_CODE
from tests.charges import Till


@pytest.fixture
async def till(database: Database) -> Till:
    return await Till.open(database)


async def test_terms_begin_as_the_documentation_says(till: Till) -> None:
    found = await operators.money_terms(till.business.who.operator_id)
    assert found == MoneyTerms(Overrun.DEBT, 86_400, ProvisionalRefund.MANUAL)


async def test_terms_are_changed_and_noted(till: Till) -> None:
    who = till.business.who
    wanted = MoneyTerms(Overrun.ABSORB, 3_600, ProvisionalRefund.AUTO)
    for _ in range(2):
        assert await operators.change_money_terms(who, wanted) == wanted
    assert await operators.money_terms(who.operator_id) == wanted
    entries = await audit.list_entries(who.operator_id, kind="operator")
    [entry] = entries.items
    assert (entry.action, entry.after["overrun"]) == ("operator.money_terms", "absorb")
    serial = await till.ordered()
    terms = (await load_terms(till.database.connection, [await till.row(serial)]))[serial]
    assert (terms.is_absorbed, terms.is_provisional_refunded) == (True, True)
    config = await pile_configs.load_pile_config(PILE_CODE, NOW)
    assert config is not None
    assert config.provisional_after_s == 3_600


async def test_another_operators_terms_are_not_found(till: Till) -> None:
    who = till.business.who
    with pytest.raises(NotFoundError):
        await operators.money_terms(who.operator_id + 1)
    with pytest.raises(NotFoundError):
        await operators.change_money_terms(replace(who, operator_id=who.operator_id + 1), MoneyTerms())
    assert await AuditEntry.filter(action="operator.money_terms").count() == 0


async def test_tolerances_are_settings_of_the_pile_model(till: Till) -> None:
    who = till.business.who
    [model] = (await pile_models.list_models(who.operator_id)).items
    assert (model.rate_tolerance_fen, model.total_tolerance_fen) == (2, 1)
    await pile_models.change_model(
        who,
        model.id,
        NewPileModel(model.maker, model.name, rate_tolerance_fen=5, total_tolerance_fen=7),
    )
    serial = await till.ordered()
    terms = (await load_terms(till.database.connection, [await till.row(serial)]))[serial]
    assert (terms.tolerance.rate_fen, terms.tolerance.total_fen, terms.rated_power_w) == (5, 7, 120_000)
