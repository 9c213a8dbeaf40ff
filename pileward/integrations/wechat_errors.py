"""What a reply of WeChat Pay other than success means: one table from status and code to a failure.

Branches on HTTP status and `code`, never on the text. Older pages spell codes without underscores, so those
are compared without them. Error replies carry no signature; the worst a forged one can do is to make us ask
again, because nothing here is taken as proof that money moved.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pileward.messages.payments import Config, Failure, NotFound, RateLimited, Refused, Unknown

_SPELLINGS: Final = (
    "ACCOUNT_ERROR",
    "APPID_MCHID_NOT_MATCH",
    "BANK_ERROR",
    "FREQUENCY_LIMITED",
    "INVALID_REQUEST",
    "MCH_NOT_EXISTS",
    "NO_AUTH",
    "NO_STATEMENT_EXIST",
    "NOT_ENOUGH",
    "ORDER_CLOSED",
    "ORDER_NOT_EXIST",
    "ORDER_PAID",
    "OUT_TRADE_NO_USED",
    "PARAM_ERROR",
    "RATELIMIT_EXCEEDED",
    "RESOURCE_NOT_EXISTS",
    "RULE_LIMIT",
    "SIGN_ERROR",
    "STATEMENT_CREATING",
    "SYSTEM_ERROR",
    "TRADE_ERROR",
    "TRADE_OVERDUE",
    "USER_ACCOUNT_ABNORMAL",
)
_CANONICAL: Final = {code.replace("_", ""): code for code in _SPELLINGS}

_BY_CODE: Final[dict[str, type[Config | NotFound | RateLimited | Unknown]]] = {
    # ours to mend: key, clock, parameter, contract
    "APPID_MCHID_NOT_MATCH": Config,
    "MCH_NOT_EXISTS": Config,
    "PARAM_ERROR": Config,
    "SIGN_ERROR": Config,
    # whatever status they come with
    "ORDER_NOT_EXIST": NotFound,
    "RESOURCE_NOT_EXISTS": NotFound,
    "FREQUENCY_LIMITED": RateLimited,
    "RATELIMIT_EXCEEDED": RateLimited,
    "BANK_ERROR": Unknown,
    "SYSTEM_ERROR": Unknown,
}


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


_decoder = msgspec.json.Decoder(_Error)


def canonical(code: str) -> str:
    """Spell a code with the underscores of the current pages."""
    return _CANONICAL.get(code.replace("_", ""), code)


def classify(status: int, body: str | bytes, request_id: str = "") -> Failure:
    """Turn a reply that is no success into a failure. Source: WeChat Pay API v3, error replies."""
    try:
        error = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        error = _Error()
    code, message = canonical(error.code), error.message
    if not code:
        # not a word of WeChat Pay's: a proxy, a wrong address, a half-dead server
        kind = Config if status in {401, 404, 405} else RateLimited if status == 429 else Unknown
        return kind(f"HTTP_{status}", "reply without a code", request_id)
    if status >= 500 or status < 400:
        return Unknown(code, message, request_id)
    if status == 429:
        return RateLimited(code, message, request_id)
    if status == 401:
        return Config(code, message, request_id)
    return _BY_CODE.get(code, NotFound if status == 404 else Refused)(code, message, request_id)
