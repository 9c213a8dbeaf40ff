"""Settings: where they come from, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pileward.config.settings import Secret, Settings, SettingsError, keys, load
from pileward.config.table import BEGIN, END, settings_table

ROOT = Path(__file__).parents[2]


def write(folder: Path, text: str) -> Path:
    path = folder / "pileward.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_the_defaults_hold() -> None:
    settings = load(environ={})
    assert settings == Settings()
    assert (settings.http.host, settings.http.port) == ("127.0.0.1", 8080)
    assert settings.limits.max_connections == 19_000
    assert settings.database_url == f"sqlite://{Path('state').resolve()}/pileward.sqlite3"
    assert settings.operator.token is None


def test_the_file_beats_defaults_and_the_environment_beats_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[http]\nport = 9000\nhost = "0.0.0.0"\n[node]\nnumber = 7\n')
    settings = load(path, {"PILEWARD_HTTP_PORT": "9001", "PILEWARD_LIMITS_FRAMES_PER_S": "12.5"})
    assert (settings.http.host, settings.http.port) == ("0.0.0.0", 9001)
    assert settings.node.number == 7
    assert settings.limits.frames_per_s == 12.5


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[tail]\nsize_mib = 3\n")
    assert load(environ={"PILEWARD_CONFIG": str(path)}).tail.size_mib == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[http]\nprot = 1\n", "http.prot: no such setting; did you mean http.port?"),
        ("[htp]\nport = 1\n", "htp: no such setting; did you mean http?"),
        ('[http]\nport = "x"\n', "http.port: expected `int`, got `str`"),
        ("[http]\nport = 70000\n", "http.port: expected `int` <= 65535"),
        ("http = 1\n", "http: expected `object`, got `int`"),
        ('[log]\nlevel = "loud"\n', "log.level: 'loud' is none of debug, info, warning, error"),
        ("[operator]\ntoken = 5\n", "operator.token: expected `str`, got `int`"),
        ('[operator]\ntoken = ""\n', "operator.token: expected a text that is not empty"),
        ("[http\n", "not valid TOML"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PILEWARD_HTTP_PROT", "1", "PILEWARD_HTTP_PROT: no such setting; did you mean PILEWARD_HTTP_PORT?"),
        ("PILEWARD_HTTP_PORT", "x", "http.port: expected `int`, got `str` (in environment)"),
        ("PILEWARD_CLOCK_RATE", "0", "clock.rate: expected `float` > 0.0"),
        ("PILEWARD_WECHAT_ENABLED", "perhaps", "wechat.enabled: expected `bool`, got `str`"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={variable: value})
    assert message in str(caught.value)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("false", False)])
def test_a_variable_may_say_yes_or_no(text: str, value: bool) -> None:
    assert load(environ={"PILEWARD_WECHAT_ENABLED": text}).wechat.enabled is value


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml: cannot read the settings"):
        load(tmp_path / "absent.toml", {})


def test_variables_that_kubernetes_makes_are_not_ours() -> None:
    links = {
        "PILEWARD_PORT": "tcp://10.0.0.1:8080",
        "PILEWARD_SERVICE_HOST": "10.0.0.1",
        "PILEWARD_SERVICE_PORT_HTTP": "8080",
        "PILEWARD_PORT_8080_TCP_ADDR": "10.0.0.1",
        "PILEWARD_HTTP_PORT": "tcp://10.0.0.1:8080",
    }
    assert load(environ=links) == Settings()


def test_where_the_server_is_concerns_terminal_commands_only() -> None:
    assert load(environ={"PILEWARD_URL": "http://10.0.0.1:8080"}) == Settings()


def test_the_token_does_not_show() -> None:
    settings = load(environ={"PILEWARD_OPERATOR_TOKEN": "open sesame"})
    assert settings.operator.token == Secret("open sesame")
    assert settings.operator.token is not None
    assert settings.operator.token.reveal() == "open sesame"
    assert "sesame" not in repr(settings)
    keys_of_wechat = {"PILEWARD_WECHAT_API_V3_KEY": "open", "PILEWARD_WECHAT_APP_SECRET": "open"}
    assert "open" not in repr(load(environ=keys_of_wechat))


def test_every_setting_is_explained_and_has_a_variable_of_its_own() -> None:
    rows = keys()
    assert len({row.variable for row in rows}) == len(rows) > 20
    assert all(row.meaning and row.kind for row in rows)


def test_the_documentation_lists_every_setting() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    table = page.split(BEGIN)[1].split(END)[0].strip()
    assert table == settings_table(), "run: python -m pileward.config.table docs/settings.md"


def test_the_example_file_holds_every_setting_at_its_default(tmp_path: Path) -> None:
    example = ROOT / "config" / "pileward.example.toml"
    assert load(example, {}) == Settings()
    # every commented line is a setting that exists, and every setting has its line
    text = example.read_text(encoding="utf-8")
    named, section = set(), ""
    for line in text.splitlines():
        words = line.removeprefix("#").strip()
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in words and not words.startswith("#"):
            named.add(f"{section}.{words.split('=')[0].strip()}")
    assert named == {row.name for row in keys()}


def test_every_setting_has_an_effect() -> None:
    sources = [path for path in (ROOT / "pileward").rglob("*.py") if path.parent.name != "config"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    # database.url and node.state_dir are read through properties that combine them
    combined = {"database.url": ".database_url", "node.state_dir": ".state_path"}
    for row in keys():
        used = combined.get(row.name, "." + row.name.split(".")[1])
        assert used in code, f"{row.name} is read by nobody"
