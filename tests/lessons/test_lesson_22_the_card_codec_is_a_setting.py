"""Lesson 22: how a maker puts a card's number on the wire is a setting of the pile model.

Elsewhere one maker's decimal digits were read as another one's binary, and cards were unknown. Cards are
matched with charging; here: the setting reaches the pile's actor, and numbers are kept as they came.
"""

from __future__ import annotations

import pytest

from pileward.codecs.ykc import frames
from pileward.models.kinds import CardCodec
from pileward.services import pile_models, piles
from tests import books
from tests.hand import online_by_hand, record
from tests.nodes import CODES, Street

CODE, OTHER = CODES[:2]


@pytest.mark.parametrize("codec", list(CardCodec))
async def test_each_pile_knows_how_its_cards_are_written(street: Street, codec: CardCodec) -> None:
    model = await pile_models.add_model(
        street.who_now(), pile_models.NewPileModel("Maker", "M", card_codec=codec)
    )
    await piles.change_pile(street.who_now(), CODE, piles.PileChange(model_id=model.id))
    await street.node.fleet_changed("pile", CODE)
    assert street.pile(CODE).config.settings.card_codec is codec
    assert street.pile(OTHER).config.settings.card_codec is CardCodec.HEX


@pytest.mark.parametrize("number", ["00000000D14B0A54", "0000001000000573", "540A4BD100000000"])
async def test_the_number_of_a_card_is_kept_as_it_came(street: Street, number: str) -> None:
    pile = await online_by_hand(street, CODE)
    pile.peer.say(record(CODE, physical_card_no=number))
    await pile.peer.hear(frames.TransactionRecordAnswer)
    ((decoded,),) = books.read(street, "SELECT decoded FROM pile_record")
    assert f'"card_no":"{number}"' in decoded
