"""Settings: the file, the environment, and every refusal."""

import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args

import ccxt.async_support
import pytest
from click.testing import CliRunner
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.runtime.cli import cli
from flows.runtime.commands.settings_file import settings_file
from tasks.base.errors import ConfigError
from tasks.base.keys import slug
from tasks.settings.grids import KINDS, ArithmeticSettings, GeometricSettings, OneGrid
from tasks.settings.load import load
from tasks.settings.model import AllocationStrategy, PaperSettings, Settings
from tasks.settings.places import EACH
from tasks.settings.secret_values import secret_fields

GRID = '[symbols."BTC/USDT"]\nlower = "39000"\nupper = "48000"\ncells = 19\n'


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run in, with no settings of this machine."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "gridflow.toml"


def refused(path: Path, text: str) -> list[str]:
    """Fields refused for this file."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    for problem in caught.value.problems:
        assert problem.rule
        assert problem.remedy
        assert problem.value
    return [problem.field for problem in caught.value.problems]


def test_defaults_run_as_they_are(write: Path) -> None:
    """Nothing need be configured: three symbols, balanced, around the first price."""
    own = load()
    assert list(own.symbols) == ["BTC/USDT", "ETH/USDT", "BNB/USDT"]
    assert own.total_funds == 10_000


def test_the_basic_form_of_the_file(write: Path) -> None:
    """Money may be text or a number; numbers in TOML stay exact."""
    write.write_text(
        'total_funds = "2500.10"\nglobal_max_usage = 0.95\nallocation_strategy = "dynamic"\n'
        f'[exchange]\nid = "binance"\nlive = false\n{GRID}'
        'grid = "arithmetic"\nquote_per_cell = "100"\nstart = "flat"\nmax_usage_pct = 0.5\nweight = 1.0\n',
        encoding="utf-8",
    )
    own = load()
    assert own.total_funds == Decimal("2500.10")
    assert own.global_max_usage == Decimal("0.95")
    assert own.allocation_strategy is AllocationStrategy.DYNAMIC


def test_the_environment_wins(write: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GRIDFLOW_… over the file, nested by __."""
    write.write_text("total_funds = 1000\n[paper]\nseed = 1\n", encoding="utf-8")
    monkeypatch.setenv("GRIDFLOW_TOTAL_FUNDS", "2000")
    monkeypatch.setenv("GRIDFLOW_PAPER__SEED", "9")
    own = load()
    assert own.total_funds == 2000
    assert own.paper.seed == 9


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('[symbols."btcusdt"]\nrange_pct = 0.1\n', 'symbols."btcusdt"'),
        ('[symbols."BTC-USDT"]\nrange_pct = 0.1\n', "symbols.BTC-USDT"),
        ('[symbols."BTC/EUR"]\nrange_pct = 0.1\n', 'symbols."BTC/EUR"'),
        (GRID + '[symbols."btc/usdt"]\nrange_pct = 0.1\n', 'symbols."btc/usdt"'),
        (GRID.replace('"48000"', '"38000"'), 'symbols."BTC/USDT".upper'),
        (GRID.replace("19", "900"), 'symbols."BTC/USDT".cells'),
        (GRID.replace("19", "300"), 'symbols."BTC/USDT".cells'),
        (GRID.replace('lower = "39000"\n', ""), 'symbols."BTC/USDT".lower'),
        (GRID + "range_pct = 0.1\n", 'symbols."BTC/USDT".range_pct'),
        (GRID + 'quote_per_cell = "99999"\n', 'symbols."BTC/USDT".quote_per_cell'),
        (GRID + 'quote_per_cell = "9"\nbase_per_cell = "1"\n', 'symbols."BTC/USDT".base_per_cell'),
        (GRID + 'start = "sideways"\n', 'symbols."BTC/USDT".start'),
        (GRID + "levrage = 3\n", 'symbols."BTC/USDT".levrage'),
        ('total_funds = "90000001"\n', "total_funds"),
        ("total_funds = nan\n", "total_funds"),
        ("total_funds = -5\n", "total_funds"),
        ("global_max_usage = 1.5\n", "global_max_usage"),
        ("totl_funds = 5\n", "totl_funds"),
        ("live = true\n", "live"),
        ('[paper]\nmarket = "replay"\n', "paper.data"),
        ("[trading]\ntick_min_seconds = 9\ntick_max_seconds = 3\n", "trading.tick_max_seconds"),
        ("[trading]\nrequest_valid_seconds = 30\n", "trading.protection_seconds"),
        ("[exchange]\nlive = true\n", "exchange.api_key"),
        ('[exchange]\napi_url = "https://user:pw@host"\n', "exchange.api_url"),
        ("[symbols]\n", "symbols"),
        ("total_funds = \n", "file"),
        (GRID + GRID, "file"),
    ],
)
def test_every_wrong_value_is_named(write: Path, text: str, field: str) -> None:
    """Field, value, rule, remedy."""
    found = refused(write, text)
    assert field in found or field.replace("symbols.BTC-USDT", 'symbols."BTC-USDT"') in found


def test_all_problems_are_told_at_once(write: Path) -> None:
    """A wrong field, an unknown key, levels out of order, a symbol that cannot be and a grid that loses: one report."""
    found = refused(
        write,
        "total_funds = -1\nfoo = 1\n"
        + GRID.replace('"48000"', '"38000"')
        + '[symbols."ethusdt"]\nrange_pct = 0.1\n[symbols."BNB/USDT"]\nrange_pct = 0.01\ncells = 50\n',
    )
    assert {
        "total_funds",
        "foo",
        'symbols."BTC/USDT".upper',
        'symbols."ethusdt"' if 'symbols."ethusdt"' in found else "symbols.ethusdt",
        'symbols."BNB/USDT".cells',
    } <= set(found)


def told(text: str, path: Path) -> dict[str, list[str]]:
    """What is said of each field of this file."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    rules: dict[str, list[str]] = {}
    for problem in caught.value.problems:
        rules.setdefault(problem.field, []).append(problem.rule)
    return rules


def test_every_independent_fault_is_told_once(write: Path) -> None:
    """Whatever else is wrong: each symbol, each section and each field is looked at."""
    found = told(
        "foo = 1\n[paper]\nmarket = 'replay'\n"
        + GRID.replace('"48000"', '"38000"').replace("19", "0")
        + '[symbols."ETH/EUR"]\nrange_pct = 0.1\n[symbols."eth/usdt"]\nrange_pct = 0.01\ncells = 50\n',
        write,
    )
    assert {field: len(rules) for field, rules in found.items()} == {
        "foo": 1,
        'symbols."BTC/USDT".cells': 1,
        'symbols."BTC/USDT".upper': 1,
        'symbols."ETH/EUR"': 1,
        'symbols."eth/usdt"': 1,
        'symbols."eth/usdt".cells': 1,
        "paper.data": 1,
    }


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (GRID.replace('"48000"', '"38000"'), ['symbols."BTC/USDT".upper']),
        ('[symbols."BTC/USDT"]\nrange_pct = nan\n', ['symbols."BTC/USDT".range_pct']),
        ('total_funds = "100000x"\n' + GRID + 'quote_per_cell = "20000"\n', ["total_funds"]),
        (
            'quote = "eur"\n[symbols."BTC/EUR"]\nrange_pct = 0.04\n[symbols."ETH/EUR"]\nrange_pct = 0.04\n',
            ["quote"],
        ),
        ("[exchange]\nmaker_fee = 5\n" + GRID.replace("19", "300"), ["exchange.maker_fee"]),
        ("exchange = 5\n" + GRID.replace("19", "300"), ["exchange"]),
        ("[exchange]\nlive = true\napi_key = 5\nsecret = 's'\n", ["exchange.api_key"]),
        ("[trading]\ntick_min_seconds = 'x'\ntick_max_seconds = 0.1\n", ["trading.tick_min_seconds"]),
        ('[symbols]\n"BTC/USDT" = 5\n', ['symbols."BTC/USDT"']),
        ("symbols = 5\n", ["symbols"]),
        ("[symbols]\n", ["symbols"]),
        ("live = true\n", ["live"]),
        ('[symbols.""]\nrange_pct = 0.1\n[symbols."é"]\nrange_pct = 0.1\n', ['symbols.""', 'symbols."é"']),
    ],
)
def test_nothing_is_said_from_a_value_that_stands_in(write: Path, text: str, fields: list[str]) -> None:
    """A rule is passed over where one of its own inputs is faulty."""
    assert refused(write, text) == fields


@pytest.mark.parametrize("grid", ["'spiral'", "5", "true", "[1]", "{a = 1}"])
def test_an_unknown_kind_of_grid_hides_no_other_fault(write: Path, grid: str) -> None:
    """Its other fields are checked as every kind would; the kind is no part of a field's name."""
    text = GRID.replace("19", "0") + f"grid = {grid}\nfoo = 1\n"
    kinds = " or ".join(", ".join(map(repr, KINDS)).rsplit(", ", 1))
    assert told(text, write) == {
        'symbols."BTC/USDT".grid': [f"must be {kinds}"],
        'symbols."BTC/USDT".cells': ["must be at least 1"],
        'symbols."BTC/USDT".foo': ["no such setting"],
    }


def test_a_table_without_grid_is_arithmetic(write: Path) -> None:
    """In the file, in the environment and in code."""
    write.write_text(GRID, encoding="utf-8")
    assert type(load().symbols["BTC/USDT"]) is ArithmeticSettings
    own = Settings(symbols={"BTC/USDT": GeometricSettings(range_pct=Decimal("0.04"))})
    assert type(own.symbols["BTC/USDT"]) is GeometricSettings
    assert Settings.model_validate(own.model_dump()) == own


def test_a_kind_of_grid_must_say_where_its_levels_are() -> None:
    """A kind that leaves a method out cannot be made: it never trades by another kind's levels."""

    class Unfinished(OneGrid):
        grid: Literal["unfinished"] = "unfinished"

    with pytest.raises(TypeError, match="abstract"):
        Unfinished()  # type: ignore[abstract]


def test_a_fault_in_the_environment_hides_none_in_the_file(write: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value, broken JSON and an unknown name, beside levels out of order."""
    monkeypatch.setenv("GRIDFLOW_TOTAL_FUNDS", "-3")
    monkeypatch.setenv("GRIDFLOW_EXCHANGE", '{"id": "okx", "secret": "pw-554433"')
    monkeypatch.setenv("GRIDFLOW_FOO", "1")
    found = told(GRID.replace('"48000"', '"38000"'), write)
    assert sorted(found) == ["GRIDFLOW_FOO", "exchange", 'symbols."BTC/USDT".upper', "total_funds"]
    with pytest.raises(ConfigError) as caught:
        load(write)
    assert "554433" not in str(caught.value)


def test_the_environment_takes_tables_as_json(write: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A section's own variable, and one of its fields over it."""
    monkeypatch.setenv("GRIDFLOW_PAPER", '{"seed": 3, "speed": 0.1}')
    monkeypatch.setenv("GRIDFLOW_PAPER__SEED", "4")
    monkeypatch.setenv("GRIDFLOW_SYMBOLS", '{"BTC/USDT": {"range_pct": "0.04"}}')
    own = load()
    assert (own.paper.seed, own.paper.speed, list(own.symbols)) == (4, Decimal("0.1"), ["BTC/USDT"])


def test_a_missing_file_hides_no_fault_of_the_environment(write: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But what the file might have held is not made up."""
    monkeypatch.setenv("GRIDFLOW_FOO", "1")
    monkeypatch.setenv("GRIDFLOW_TOTAL_FUNDS", "-3")
    monkeypatch.setenv("GRIDFLOW_PAPER__MARKET", "replay")
    with pytest.raises(ConfigError) as caught:
        load(write)
    assert [problem.field for problem in caught.value.problems] == ["GRIDFLOW_FOO", "file", "total_funds"]


@pytest.mark.parametrize(
    "text",
    [
        "[exchange]\napiKey = 'S3CRET'\n",
        "[exchange]\nid = 'S3CRET@x'\n",
        "api_secret = 'S3CRET'\n",
        "[symbols.'BTC/USDT']\nrange_pct = 0.04\npassphrase = 'S3CRET'\n",
        "[exchange.keys]\napi = 'S3CRET'\n",
        "exchange = 'S3CRET'\n",
        "[symbols]\n'BTC/USDT' = 'S3CRET'\n",
        "[exchange]\napi_url = 'https://user:S3CRET@host'\n",
        "redis_url = 'S3CRET'\n",
        "redis_url = 'redis://:S3CRET@host:port'\n",
    ],
)
def test_a_secret_under_a_wrong_name_is_not_shown(write: Path, text: str) -> None:
    """Nothing is told of the value of an unknown key, nor of what stands where a table should."""
    write.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(write)
    assert "S3CRET" not in str(caught.value)
    assert "(hidden)" in str(caught.value)


def test_a_secret_in_a_variable_with_a_wrong_name_is_not_shown(write: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The field is named, its value is not."""
    monkeypatch.setenv("GRIDFLOW_EXCHANGE__API_SECRET", "S3CRET")
    with pytest.raises(ConfigError, match=r"exchange\.api_secret = \(hidden\): no such setting"):
        load()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("total_funds = 'x'\n", "must be a number"),
        ("total_funds = nan\n", "must be a number"),
        ("total_funds = true\n", "must be a number"),
        ("total_funds = 0\n", "must be above 0"),
        ("total_funds = 90000001\n", "must be at most 90000000"),
        ("allocation_strategy = 'fair'\n", "must be 'equal', 'weighted' or 'dynamic'"),
        ("quote = 'eur'\n", "must be 1 to 10 of A-Z and 0-9"),
        ("quote = 5\n", "must be text"),
        ("account = ''\n", "must be 1 to 16 of a-z, 0-9 and -, not - first"),
        ("exchange = 5\n", "must be a table"),
        ("symbols = 5\n", "must be a table"),
        ("[symbols]\n", "must hold 1 to 500 symbols"),
        ("[exchange]\nid = 'Binance'\n", "must be 2 to 30 of a-z and 0-9"),
        ("[exchange]\nsandbox = 'maybe'\n", "must be true or false"),
        ("[exchange]\nmaker_fee = 0.1\n", "must be below 0.1"),
        ("[exchange]\napi_url = 'host'\n", "must be http:// or https:// and a host, without user or password"),
        ("[paper]\nmarket = 'x'\n", "must be 'auto', 'live', 'replay' or 'synthetic'"),
        ("[paper]\ndata = 5\n", "must be text"),
        ("[paper]\nseed = 1.5\n", "must be a whole number"),
        ("[trading]\nwindow_seconds = 9\n", "must be at least 10"),
    ],
)
def test_rules_are_in_plain_words(write: Path, text: str, rule: str) -> None:
    """The library's own words never reach a user."""
    assert list(told(text, write).values()) == [[rule]]


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("redis://localhost", True),
        ("rediss://user:pw@host:6380/2", True),
        ("unix:///run/redis.sock?db=1", True),
        ("nonsense", False),
        ("", False),
        ("http://host", False),
        ("redis://", False),
        ("redis://host:port", False),
        ("redis://host/books", False),
        ("redis://[::1", False),
        ("unix://", False),
    ],
)
def test_a_redis_url_has_one_of_three_forms(url: str, taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else is refused with the settings, not when a command opens it."""
    monkeypatch.setenv("GRIDFLOW_REDIS_URL", url)
    if taken:
        assert load().redis_url is not None
    else:
        with pytest.raises(ConfigError, match=r"redis_url = \(hidden\): must be redis://"):
            load()


def test_files_that_cannot_be_read(write: Path, tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8."""
    for path, content in ((tmp_path / "none.toml", None), (tmp_path / "latin.toml", b"quote = '\xe9'")):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=path.name):
            load(path)
    with pytest.raises(ConfigError, match="unreadable"):
        load(tmp_path)


def test_unknown_environment_names_are_refused(write: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing mistake in the environment is not passed over."""
    monkeypatch.setenv("GRIDFLOW_TOTL_FUNDS", "5")
    with pytest.raises(ConfigError, match="GRIDFLOW_TOTL_FUNDS"):
        load()


def test_secrets_are_never_shown(write: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a repr, not in an error."""
    monkeypatch.setenv("GRIDFLOW_EXCHANGE__API_KEY", "k-1234567")
    monkeypatch.setenv("GRIDFLOW_EXCHANGE__SECRET", "s-7654321")
    monkeypatch.setenv("GRIDFLOW_REDIS_URL", "redis://:pw-998877@127.0.0.1:1/0")
    own = load()
    shown = repr(own) + str(own.model_dump())
    monkeypatch.setenv("GRIDFLOW_TOTAL_FUNDS", "-1")
    with pytest.raises(ConfigError) as caught:
        load()
    shown += str(caught.value)
    assert not any(secret in shown for secret in ("1234567", "7654321", "998877"))


def test_init_writes_a_file_that_loads_as_the_defaults(write: Path) -> None:
    """Every known key stands in it, commented with unit, bounds and meaning. Its symbols are the demo's."""
    runner = CliRunner()
    assert runner.invoke(cli, ["init"]).exit_code == 0
    own, demo = load(), Settings()
    assert own == demo.model_copy(update={"symbols": own.symbols})
    assert list(own.symbols) == list(demo.symbols)
    text = write.read_text(encoding="utf-8")
    assert all(f"# {name} =" in text for name in ("total_funds", "window_seconds", "speed", "maker_fee"))
    again = runner.invoke(cli, ["init"])
    assert again.exit_code != 0
    assert settings_file() == text


def test_init_sets_nothing_but_what_has_no_default(write: Path) -> None:
    """A table without one of its lines is refused for it: no line says what would be in force without it."""
    text = settings_file()
    set_lines = [line for line in text.splitlines() if re.match(r"[a-z_]+ = ", line)]
    assert set_lines
    for line in set(set_lines):
        fields = refused(write, text.replace(f"\n{line}\n", "\n", 1))
        assert all(field.startswith('symbols."BTC/USDT".') for field in fields), line


def test_what_init_writes_as_a_default_is_the_default_in_force(write: Path) -> None:
    """Setting every default line of the file changes nothing. Fields of other kinds of grids are left as they are."""
    text = settings_file()
    write.write_text(text, encoding="utf-8")
    before = load()
    lines = text.splitlines()
    others = {number + 1 for number, line in enumerate(lines) if line.startswith("# with grid = ")}
    in_force = [
        re.sub(r"^# (?=[a-z_]+ = )", "", line) if "# an example" not in line and number not in others else line
        for number, line in enumerate(lines)
    ]
    write.write_text("\n".join(in_force), encoding="utf-8")
    assert load() == before
    assert sum(one != other for one, other in zip(lines, in_force, strict=True)) > 50


def test_init_says_how_the_demo_differs(write: Path) -> None:
    """With the lines that it names, the file trades what `up` trades without a file."""
    text = settings_file()
    said = re.search(r"with ((?:[a-z_]+ = \S+(?: and )?)+): orders", text)
    assert said
    lines = said[1].replace(" and ", "\n")
    write.write_text(text.replace('range_pct = "0.04"', f'range_pct = "0.04"\n{lines}'), encoding="utf-8")
    assert load() == Settings()


def fields_of(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """All fields, those of sections too."""
    for name, info in model.model_fields.items():
        yield name, info
        if isinstance(info.default, BaseModel):
            yield from fields_of(type(info.default))


def bounds_of(part: Any) -> Iterator[Decimal | int]:
    """Every bound of a field, however deep in its type it stands."""
    yield from (bound for kind in ("gt", "ge", "lt", "le") if (bound := getattr(part, kind, None)) is not None)
    within = (*getattr(part, "metadata", ()), *getattr(part, "__metadata__", ()))
    for inner in (*within, *get_args(getattr(part, "annotation", None))):
        yield from bounds_of(inner)


SYMBOL_FIELDS = {name: info for kind in KINDS.values() for name, info in kind.model_fields.items()}
FIELDS = [*fields_of(Settings), *SYMBOL_FIELDS.items()]


def test_the_file_of_init_stays_toml_when_its_lines_are_uncommented() -> None:
    """Every line that sets something, each in its own table; what it sets has the form of the field."""
    text = re.sub(r"(?m)^# (?=[a-z_]+ = )", "", settings_file())
    found = tomllib.loads(text)
    assert set(found["symbols"]["BTC/USDT"]) == {
        name for name in SYMBOL_FIELDS if ("symbols", EACH, name) not in secret_fields()
    }
    assert set(found["paper"]) == set(PaperSettings.model_fields)
    others = {"range_pct", "base_per_cell"}  # these stand for lower, upper and quote_per_cell
    own_fields = set(ArithmeticSettings.model_fields) - others
    table = {name: value for name, value in found["symbols"]["BTC/USDT"].items() if name in own_fields}
    assert ArithmeticSettings(**table).lower == 39_000
    assert Settings(**(found | {"symbols": {"BTC/USDT": table}}))


@pytest.mark.parametrize(("name", "info"), FIELDS, ids=[name for name, _ in FIELDS])
def test_init_states_every_field_with_its_bounds(name: str, info: FieldInfo) -> None:
    """By name, with its description and every bound; secrets are named, not set."""
    text = settings_file()
    assert re.search(rf"(?m)^(# +)?(\[([a-z_]+\.)*{name}\]|{name}\b)", text)
    if info.description is None:
        return  # a section; its fields are told
    assert info.description in text
    for bound in bounds_of(info):
        assert re.search(rf"\b{bound}\b", info.description)


def test_init_where_no_file_can_be_written(tmp_path: Path) -> None:
    """The path and what to do, not a traceback."""
    found = CliRunner().invoke(cli, ["init", "--config", str(tmp_path / "none" / "x.toml")]).exception
    assert isinstance(found, ConfigError)
    assert "--config" in str(found)
    assert "cannot be written (No such file or directory)" in str(found)


def test_check_prints_what_would_run(write: Path) -> None:
    """Valid settings: a table; wrong ones: exit code 2 from the command."""
    runner = CliRunner()
    good = runner.invoke(cli, ["check"])
    assert good.exit_code == 0
    assert "BTC/USDT" in good.output
    assert "valid" in good.output


LIVE = """
[exchange]
id = "{id}"
live = true
api_key = "k"
secret = "s"
sandbox = {sandbox}
"""


@pytest.mark.parametrize(
    ("exchange", "sandbox", "said"),
    [
        ("nosuch", "false", "ccxt knows no such exchange"),
        ("kraken", "false", "not shown to refuse a stale order request"),
        ("okx", "false", "exchange.password"),
        ("binance", "true", None),
        ("binance", "false", None),
    ],
)
def test_check_says_what_stands_against_real_orders(write: Path, exchange: str, sandbox: str, said: str | None) -> None:
    """Before anything starts, and without asking the exchange."""
    write.write_text(LIVE.format(id=exchange, sandbox=sandbox), encoding="utf-8")
    found = CliRunner().invoke(cli, ["check"])
    if said is None:
        assert found.exit_code == 0
    else:
        assert isinstance(found.exception, ConfigError) or found.exit_code == 2
        assert said in f"{found.exception} {found.output}"


def test_check_names_the_features_an_exchange_lacks(write: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In ccxt's words."""
    write.write_text(LIVE.format(id="kraken", sandbox="false"), encoding="utf-8")
    plain_describe = ccxt.async_support.kraken.describe

    def without(self: Any) -> Any:
        return self.deep_extend(plain_describe(self), {"has": {"fetchMyTrades": False, "fetchOpenOrders": None}})

    monkeypatch.setattr(ccxt.async_support.kraken, "describe", without)
    found = CliRunner().invoke(cli, ["check"])
    assert "kraken lacks fetchOpenOrders, fetchMyTrades" in f"{found.exception} {found.output}"


def test_check_tells_what_stands_against_the_start_too(write: Path, tmp_path: Path) -> None:
    """A wrong field, missing keys, the exchange and the candle files in one report; nothing from a faulty field."""
    write.write_text(
        'total_funds = 0\n[exchange]\nid = "kucoin"\nlive = true\nsandbox = true\n'
        f'[paper]\nmarket = "replay"\ndata = "{tmp_path / "none"}"\n',
        encoding="utf-8",
    )
    found = CliRunner().invoke(cli, ["check"]).exception
    assert isinstance(found, ConfigError)
    assert [problem.field for problem in found.problems] == [
        "total_funds",
        "exchange.api_key",
        "exchange.secret",
        "exchange.id",
        "exchange.password",
        "exchange.sandbox",
        "paper.data",
    ]
    write.write_text('[exchange]\nid = "KuCoin"\nlive = true\napi_key = "k"\nsecret = "s"\n', encoding="utf-8")
    found = CliRunner().invoke(cli, ["check"]).exception
    assert isinstance(found, ConfigError)
    assert [problem.field for problem in found.problems] == ["exchange.id"]


def test_slugs() -> None:
    """Symbol names in keys and deployments."""
    assert slug("BTC/USDT") == "btc-usdt"
