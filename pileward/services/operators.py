"""Operators and their tokens: the first operator is made at first start; of a token only the hash is kept."""

from __future__ import annotations

import enum
import hashlib
import secrets
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pileward.errors import ConflictError, InvalidError, NotFoundError
from pileward.models.operators import Operator, OperatorToken
from pileward.services.audit import Who, note
from pileward.services.pile_models import ensure_default_model
from pileward.services.sql import utc

FIRST_OPERATOR: Final = "main"
SETTINGS_TOKEN: Final = "settings"  # noqa: S105 - the name of the token that the settings name, not a token
TOKEN_MIN_CHARS: Final = 16


class OperatorView(msgspec.Struct, frozen=True):
    """An operator as shown."""

    id: int
    code: str
    name_zh: str
    name_en: str
    qr_prefix: str


class TokenView(msgspec.Struct, frozen=True):
    """A token as shown: never the token itself."""

    id: int
    operator_id: int
    name: str
    created_at: datetime
    revoked_at: datetime | None


class Overrun(enum.StrEnum):
    """Who bears what a charge used beyond what was paid."""

    DEBT = "debt"
    """The driver owes it."""
    ABSORB = "absorb"
    """The operator, as a visible loss."""


class ProvisionalRefund(enum.StrEnum):
    """Who pays back the rest of a charge that was billed without its record."""

    MANUAL = "manual"
    """Staff, when they have looked at it."""
    AUTO = "auto"
    """Nobody is asked."""


ProvisionalAfter = Annotated[
    int,
    Meta(ge=600, le=2_592_000, description="seconds without a record until a charge is billed provisionally"),
]


class MoneyTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator decides about money; in force from the next settlement on."""

    overrun: Overrun = Overrun.DEBT
    provisional_after_s: ProvisionalAfter = 86_400
    provisional_refund: ProvisionalRefund = ProvisionalRefund.MANUAL


async def money_terms(operator_id: int) -> MoneyTerms:
    """An operator's terms; raises NotFoundError."""
    return _terms(await _row(operator_id))


async def change_money_terms(who: Who, terms: MoneyTerms) -> MoneyTerms:
    """Give an operator new terms, all of them; raises NotFoundError."""
    row = await _row(who.operator_id)
    before = _terms(row)
    if before != terms:
        row.overrun, row.provisional_refund = str(terms.overrun), str(terms.provisional_refund)
        row.provisional_after_s = terms.provisional_after_s
        await row.save(update_fields=["overrun", "provisional_after_s", "provisional_refund"])
        await note(who, "operator.money_terms", "operator", str(row.id), before, terms)
    return terms


def _terms(row: Operator) -> MoneyTerms:
    return MoneyTerms(
        Overrun(row.overrun), row.provisional_after_s, ProvisionalRefund(row.provisional_refund)
    )


async def ensure_operator(now: datetime) -> OperatorView:
    """The first operator, with a default pile model; made when there is none yet."""
    row = await Operator.all().order_by("id").first()
    if row is None:
        row = await Operator.create(
            code=FIRST_OPERATOR, name_zh="我的充电运营", name_en="My charging business", created_at=utc(now)
        )
    await ensure_default_model(row.id)
    return _view(row)


async def get_operator(operator_id: int) -> OperatorView:
    """One operator; raises NotFoundError."""
    return _view(await _row(operator_id))


async def _row(operator_id: int) -> Operator:
    row = await Operator.get_or_none(id=operator_id)
    if row is None:
        raise NotFoundError("operator_not_found", "没有这个运营商", f"operator {operator_id} does not exist")
    return row


async def issue_token(who: Who, name: str) -> str:
    """Make a token and return it: the only time it is seen. Raises InvalidError, ConflictError."""
    if not name.strip() or len(name) > 60:
        raise InvalidError("bad_name", "名称需 1 到 60 字", "the name needs 1 to 60 characters", field="name")
    if await OperatorToken.filter(operator_id=who.operator_id, name=name, revoked_at=None).exists():
        raise ConflictError(
            "token_exists", f"已有名为 {name} 的令牌", f"a token called {name} exists: revoke it first"
        )
    token = "pw_" + secrets.token_urlsafe(32)
    row = await _keep(who, name, token)
    await note(who, "token.issue", "token", str(row.id), None, _token_view(row))
    return token


async def ensure_token(who: Who, chosen: str | None) -> str | None:
    """Make sure that there is a way in.

    With a `chosen` token (from the settings) that one is valid from now on and an earlier chosen one no more;
    returns None. Without, a first token is made and returned, unless there is any already.
    """
    if chosen is None:
        if await OperatorToken.filter(operator_id=who.operator_id, revoked_at=None).exists():
            return None
        return await issue_token(who, "first")
    if len(chosen) < TOKEN_MIN_CHARS:
        raise InvalidError(
            "weak_token",
            f"令牌至少 {TOKEN_MIN_CHARS} 个字符",
            f"a token needs {TOKEN_MIN_CHARS} characters",
            field="token",
        )
    live = OperatorToken.filter(operator_id=who.operator_id, name=SETTINGS_TOKEN, revoked_at=None)
    await live.exclude(token_hash=_hash(chosen)).update(revoked_at=utc(who.at))
    known = await OperatorToken.get_or_none(token_hash=_hash(chosen))
    if known is None:
        await _keep(who, SETTINGS_TOKEN, chosen)
    elif known.revoked_at is not None:
        await OperatorToken.filter(id=known.id).update(revoked_at=None, name=SETTINGS_TOKEN)
    return None


async def verify_token(token: str) -> TokenView | None:
    """Whose token it is; None for a wrong or revoked one. Looked up by hash, so timing tells nothing."""
    row = await OperatorToken.get_or_none(token_hash=_hash(token), revoked_at=None)
    return None if row is None else _token_view(row)


async def revoke_token(who: Who, token_id: int) -> TokenView:
    """End a token; ending it twice is the same as once. Raises NotFoundError."""
    row = await OperatorToken.get_or_none(id=token_id, operator_id=who.operator_id)
    if row is None:
        raise NotFoundError("token_not_found", "没有这个令牌", f"token {token_id} does not exist")
    if row.revoked_at is None:
        before = _token_view(row)
        row.revoked_at = utc(who.at)
        await row.save(update_fields=["revoked_at"])
        await note(who, "token.revoke", "token", str(row.id), before, _token_view(row))
    return _token_view(row)


async def list_tokens(operator_id: int) -> list[TokenView]:
    """All tokens of an operator, oldest first."""
    return [_token_view(row) for row in await OperatorToken.filter(operator_id=operator_id).order_by("id")]


async def _keep(who: Who, name: str, token: str) -> OperatorToken:
    return await OperatorToken.create(
        operator_id=who.operator_id, name=name, token_hash=_hash(token), created_at=utc(who.at)
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _view(row: Operator) -> OperatorView:
    return OperatorView(row.id, row.code, row.name_zh, row.name_en, row.qr_prefix)


def _token_view(row: OperatorToken) -> TokenView:
    return TokenView(row.id, row.operator_id, row.name, row.created_at, row.revoked_at)
