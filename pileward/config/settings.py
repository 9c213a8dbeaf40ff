"""Settings: typed values from defaults, then a TOML file, then the environment; the later one wins.

The structs below are the only list of settings: names, ranges, defaults and the page `docs/settings.md` come
from them. A key `http.port` is `port` under `[http]` in the file and `PILEWARD_HTTP_PORT` in the environment.
A wrong key or value stops the start with a message that names it; nothing is guessed.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

PREFIX = "PILEWARD_"
CONFIG_VARIABLE = "PILEWARD_CONFIG"
"""Environment variable that names the TOML file; not a setting itself."""
OTHER_VARIABLES = frozenset({CONFIG_VARIABLE, "PILEWARD_URL"})
"""Variables that are ours but no settings; the second tells terminal commands where the server is."""


class SettingsError(ValueError):
    """A setting that cannot be used; the message names the key, where it came from and what is wrong."""


class Secret:
    """A text that never shows in logs, errors or `repr`; only `reveal()` gives it away."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)"


Port = Annotated[int, Meta(ge=0, le=65535)]


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all sections: immutable, and a key that is not listed is an error."""


class NodeSettings(Section, frozen=True):
    """This process among its peers."""

    number: Annotated[
        int, Meta(ge=0, le=99, description="node number, unique among nodes; part of every serial")
    ] = 1
    state_dir: Annotated[
        str, Meta(min_length=1, description="folder for the SQLite file and other state")
    ] = "state"


class DatabaseSettings(Section, frozen=True):
    """Where the truth is kept."""

    url: Annotated[
        str,
        Meta(
            description="`sqlite:///absolute/path` or `asyncpg://user@host/name`; empty: in `node.state_dir`"
        ),
    ] = ""


class RedisSettings(Section, frozen=True):
    """The live feed and rate limits shared by several nodes."""

    url: Annotated[str, Meta(description="`redis://host:port/0`; empty: kept inside this process")] = ""


class HttpSettings(Section, frozen=True):
    """The web server: API, live page, debug, metrics."""

    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="port to listen on; 0: any free one")] = 8080


class YkcSettings(Section, frozen=True):
    """The listener for YKC (云快充) piles."""

    host: Annotated[str, Meta(description="address to listen on")] = "0.0.0.0"  # noqa: S104 - piles come from outside
    port: Annotated[Port, Meta(description="port to listen on; 0: any free one")] = 8768


class LimitSettings(Section, frozen=True):
    """What one process, one address and one connection may use."""

    max_connections: Annotated[
        int,
        Meta(
            ge=1, le=1_000_000, description="pile connections in all; keep it below the limit of open files"
        ),
    ] = 19_000
    max_connections_per_address: Annotated[
        int,
        Meta(ge=1, le=1_000_000, description="pile connections from one address (carriers share addresses)"),
    ] = 4_000
    frames_per_s: Annotated[
        float, Meta(gt=0, description="frames a second of one connection, averaged; more slows it down")
    ] = 200.0
    frames_burst: Annotated[int, Meta(ge=1, description="frames one connection may send at once")] = 1_000
    bytes_before_login: Annotated[
        int, Meta(ge=64, description="bytes a connection may send before a login is accepted")
    ] = 4_096
    login_within_s: Annotated[
        float, Meta(gt=0, description="seconds until a connection without an accepted login is closed")
    ] = 60.0
    damaged_in_a_row: Annotated[
        int, Meta(ge=1, description="damaged frames in a row that close a connection")
    ] = 10
    backlog: Annotated[int, Meta(ge=1, le=65_535, description="connections that may wait to be accepted")] = (
        4_096
    )


class OperatorSettings(Section, frozen=True):
    """Access for the operator's people before they have accounts."""

    token: Annotated[
        Secret | None,
        Meta(description="operator token for `/api/admin` and `/debug`; unset: made at the first start"),
    ] = None


class DriverSettings(Section, frozen=True):
    """Access for drivers' apps."""

    token_key: Annotated[
        Secret | None,
        Meta(
            description="key that signs drivers' access tokens, 32 characters or more, the same on every "
            "node; unset: made at the first start"
        ),
    ] = None


class WechatSettings(Section, frozen=True):
    """The merchant account of WeChat Pay, and the mini-program it belongs to."""

    enabled: Annotated[bool, Meta(description="take payments by WeChat Pay; needs the account below")] = False
    mchid: Annotated[str, Meta(description="merchant number (商户号)")] = ""
    appid: Annotated[str, Meta(description="appid of the mini-program, bound to the merchant")] = ""
    app_secret: Annotated[
        Secret | None, Meta(description="AppSecret of the mini-program, for drivers' logins")
    ] = None
    api_v3_key: Annotated[
        Secret | None, Meta(description="APIv3 key (APIv3 密钥) of the merchant, 32 characters")
    ] = None
    merchant_key_path: Annotated[
        str, Meta(description="file of the merchant's private key, `apiclient_key.pem`")
    ] = ""
    cert_serial: Annotated[str, Meta(description="serial of the merchant's API certificate, hex")] = ""
    public_key_path: Annotated[str, Meta(description="file of the WeChat Pay public key (微信支付公钥)")] = ""
    public_key_id: Annotated[str, Meta(description="its id, `PUB_KEY_ID_…`")] = ""
    platform_certificate_path: Annotated[
        str,
        Meta(
            description="file of the platform certificate (平台证书): older merchants while they change over"
        ),
    ] = ""
    notify_base_url: Annotated[
        str, Meta(description="public https address of this server, to which WeChat Pay sends notifications")
    ] = ""
    gateway_url: Annotated[
        str, Meta(description="another host than WeChat Pay's, such as the emulator's; empty: the real one")
    ] = ""
    api_url: Annotated[str, Meta(description="the same for the mini-program server; empty: the real one")] = (
        ""
    )


class LogSettings(Section, frozen=True):
    """What is logged, and how."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least level that is written")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "console"],
        Meta(description="one JSON line an event, or coloured text; auto: text on a terminal"),
    ] = "auto"


class ClockSettings(Section, frozen=True):
    """The clock of actors and records; real time unless a demo says otherwise."""

    rate: Annotated[
        float, Meta(gt=0, le=3_600, description="clock seconds per real second; above 1 only in demos")
    ] = 1.0


class TailSettings(Section, frozen=True):
    """The last frames of all piles, kept in memory for `/debug`."""

    size_mib: Annotated[int, Meta(ge=1, le=2_048, description="memory for the frame tail, MiB")] = 64


class Settings(Section, frozen=True):
    """All settings of one process."""

    node: NodeSettings = NodeSettings()
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    http: HttpSettings = HttpSettings()
    ykc: YkcSettings = YkcSettings()
    limits: LimitSettings = LimitSettings()
    operator: OperatorSettings = OperatorSettings()
    driver: DriverSettings = DriverSettings()
    wechat: WechatSettings = WechatSettings()
    log: LogSettings = LogSettings()
    clock: ClockSettings = ClockSettings()
    tail: TailSettings = TailSettings()

    @property
    def state_path(self) -> Path:
        """The state folder, absolute; not created here."""
        return Path(self.node.state_dir).expanduser().resolve()

    @property
    def database_url(self) -> str:
        """The database in force: the one set, or the SQLite file in the state folder."""
        return self.database.url or f"sqlite://{self.state_path / 'pileward.sqlite3'}"


class Key(Struct, frozen=True):
    """One setting as documented: dotted name, environment variable, type in words, default and meaning."""

    name: str
    variable: str
    kind: str
    default: str
    meaning: str


def load(path: Path | str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read settings from defaults, the TOML file at `path` (or `PILEWARD_CONFIG`) and the environment.

    Raises SettingsError, naming the key, for an unknown key, a wrong type or a value out of range.
    """
    environ = os.environ if environ is None else environ
    chosen = path or environ.get(CONFIG_VARIABLE) or None
    tree = _from_file(Path(chosen)) if chosen is not None else {}
    settings = _convert(tree, origin=str(chosen))
    overrides = _from_environment(environ)
    for section, values in overrides.items():
        merged = {**tree.get(section, {}), **values}
        _convert({section: merged}, origin="environment")
        tree[section] = merged
    return _convert(tree, origin="environment") if overrides else settings


def keys() -> list[Key]:
    """List every setting in the order of the documentation."""
    return [_key(section, name, hint, field) for section, name, hint, field in _walk()]


def variable_of(section: str, name: str) -> str:
    """Name the environment variable of a setting: `http.port` is `PILEWARD_HTTP_PORT`."""
    return f"{PREFIX}{section}_{name}".upper()


def _walk() -> Iterator[tuple[str, str, Any, msgspec.structs.FieldInfo]]:
    for section in msgspec.structs.fields(Settings):
        hints = get_type_hints(section.type, include_extras=True)
        for field in msgspec.structs.fields(section.type):
            yield section.name, field.name, hints[field.name], field


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"{path}: cannot read the settings: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    known = {variable_of(section, name): (section, name, hint) for section, name, hint, _ in _walk()}
    tree: dict[str, dict[str, Any]] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or _is_service_link(variable, text):
            continue
        if variable not in known:
            raise SettingsError(f"{variable}: no such setting{_did_you_mean(variable, known)}")
        section, name, hint = known[variable]
        tree.setdefault(section, {})[name] = _from_text(text, hint)
    return tree


def _is_service_link(variable: str, text: str) -> bool:
    """Kubernetes puts PILEWARD_PORT=tcp://… and the like into each pod beside a service called pileward."""
    return bool(re.search(r"_SERVICE_(HOST|PORT)|_PORT_\d+_(TCP|UDP)", variable)) or text.startswith(
        ("tcp://", "udp://")
    )


def _from_text(text: str, hint: Any) -> Any:
    """Turn an environment value into the number or yes/no its type wants; what does not parse is left for
    the type check.
    """
    plain = _plain(hint)
    if plain is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return plain(text) if plain in (int, float) else text
    except ValueError:
        return text


def _plain(hint: Any) -> Any:
    """The type below any number of Annotated."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint


def _convert(tree: Mapping[str, Any], origin: str) -> Settings:
    try:
        return msgspec.convert(tree, Settings, dec_hook=_hook)
    except msgspec.ValidationError as error:
        raise SettingsError(_explain(str(error), origin)) from None


def _hook(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        if not value:
            raise ValueError("Expected a text that is not empty")
        return Secret(value)
    raise TypeError(f"Expected `str`, got `{type(value).__name__}`")


def _explain(message: str, origin: str) -> str:
    """Turn msgspec's words into ours: dotted key first, then the complaint, then where it was read."""
    complaint, _, where = message.partition(" - at `$")
    key = where.removesuffix("`").removeprefix(".")
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", complaint):
        key = f"{key}.{unknown[1]}" if key else unknown[1]
        names = [known.name for known in keys()] + list(Settings.__struct_fields__)
        return f"{key}: no such setting{_did_you_mean(key, names)} (in {origin})"
    if complaint.startswith("Invalid enum value"):
        choices = next((known.kind for known in keys() if known.name == key), "")
        return f"{key}: {complaint.removeprefix('Invalid enum value ')} is none of {choices} (in {origin})"
    return f"{key}: {complaint[:1].lower()}{complaint[1:]} (in {origin})"


def _did_you_mean(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _key(section: str, name: str, hint: Any, field: msgspec.structs.FieldInfo) -> Key:
    metas = _metas(hint)
    meaning = next(meta.description for meta in reversed(metas) if meta.description)
    value = field.default
    return Key(
        name=f"{section}.{name}",
        variable=variable_of(section, name),
        kind=_kind(_plain(hint), metas),
        default=_shown(value),
        meaning=str(meaning),
    )


def _shown(value: Any) -> str:
    """A default as it is written in a file; nothing for what has none."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _metas(hint: Any) -> list[Meta]:
    found: list[Meta] = []
    while get_origin(hint) is Annotated:
        found = [part for part in get_args(hint)[1:] if isinstance(part, Meta)] + found
        hint = get_args(hint)[0]
    return found


def _kind(plain: Any, metas: list[Meta]) -> str:
    if get_origin(plain) is Literal:
        return ", ".join(get_args(plain))
    words = {bool: "true or false", int: "integer", float: "number", str: "text"}.get(plain, "secret text")
    low = next((f"from {meta.ge}" for meta in metas if meta.ge is not None), "")
    low = low or next((f"above {meta.gt}" for meta in metas if meta.gt is not None), "")
    high = next((f"to {meta.le}" for meta in metas if meta.le is not None), "")
    return " ".join(part for part in (words, low, high) if part)
