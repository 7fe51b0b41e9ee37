"""Every Lua script has a header that tells the truth."""

import ast
import re
from pathlib import Path

import pytest

from tasks.base.events import EventKind
from tasks.funds.models import FundCode
from tasks.funds.store import POT_FIELDS, SHARE_FIELDS
from tasks.paper.ccxt_shapes import OrderRecord, TradeRecord
from tasks.paper.scripts import Answer, OpenedSymbol, PlaceArgs

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "tasks").rglob("*.lua"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_script_states_its_purpose_keys_and_answer(path: Path) -> None:
    """The header comes first; shared parts say who includes them."""
    text = path.read_text(encoding="utf-8")
    header = "\n".join(line for line in text.splitlines() if line.startswith("--"))
    assert text.startswith("--")
    if path.stem in {"_writes", "_holds", "_server", "_outbox", "_leader", "engine"}:
        return
    assert "Purpose" in header
    assert "KEYS" in header
    assert re.search(r"Returns|Answer|Result", header)


@pytest.mark.parametrize("name", ["reserve", "adopt", "record", "release", "set_limits", "move_capital"])
def test_result_codes_stand_once(name: str) -> None:
    """Each code a header lists is the IntEnum's, by number and name."""
    text = (ROOT / "tasks" / "funds" / f"{name}.lua").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^--\s+(\d) ([A-Z_]{2,})\b", text, re.MULTILINE))
    assert listed
    for number, code in listed.items():
        assert FundCode[code] == int(number)
    returned = set(re.findall(r"(?:all\(|return |code = |return \{)(\d)\b", text.split("local ", 1)[1]))
    assert returned <= set(listed)


def test_reserve_lists_every_code_it_can_return() -> None:
    """All but CONFLICT."""
    text = (ROOT / "tasks" / "funds" / "reserve.lua").read_text(encoding="utf-8")
    listed = {int(number) for number in re.findall(r"^--\s+(\d) [A-Z_]{2,}\b", text, re.MULTILINE)}
    assert listed == set(FundCode) - {FundCode.CONFLICT}


def _lua(path: str) -> str:
    return (ROOT / "tasks" / path).read_text(encoding="utf-8")


def _without_unit(name: str) -> str:
    return name.removesuffix("_units").removesuffix("_ms")


def test_status_fields_are_those_that_the_script_reads() -> None:
    """status.lua answers in the order of its two HMGET calls; the store names the numbers in that order."""
    calls = re.findall(r"HMGET', KEYS\[\w\], ([^)]*)\)", _lua("funds/status.lua"))
    pot, share = (re.findall(r"'(\w+)'", call) for call in calls)
    assert pot == [_without_unit(name) for name in POT_FIELDS]
    assert ["registered", *share] == [_without_unit(name) for name in SHARE_FIELDS]


def test_paper_records_have_the_fields_of_the_script_header() -> None:
    """Order and trade records, and the engine's answer: the names in engine.lua are those of the Python records."""
    header = _lua("paper/engine.lua").split("local OK", 1)[0]
    order, trade = header.split("Record of an order", 1)[1].split("Record of a trade", 1)
    trade, answer = trade.split("Answer:", 1)
    assert tuple(re.findall(r"\b\d+ (\w+)", order.split("py)", 1)[1])) == OrderRecord._fields
    assert tuple(re.findall(r"\b\d+ (\w+)", trade)) == TradeRecord._fields
    assert tuple(re.findall(r"\w+", answer.split("}", 1)[0])) == Answer._fields


def test_paper_arguments_and_answers_have_the_names_of_the_scripts() -> None:
    """place.lua unpacks an order by name; open_symbol.lua answers with named fields of the symbol's state."""
    unpacked = _lua("paper/place.lua").split("local function order_at(i)", 1)[1].split("}", 1)[0]
    assert tuple(re.findall(r"(\w+) = ARGV", unpacked)) == PlaceArgs._fields
    assert tuple(re.findall(r"units\('(\w+)'\)", _lua("paper/open_symbol.lua"))) == OpenedSymbol._fields


def test_scripts_touch_only_keys_they_were_given() -> None:
    """No key name is built inside a script: every redis.call takes a KEYS slot or a local that came from one."""
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"redis\.call\('\w+', *['\"]", text), path
        assert "gridflow" not in re.sub(r"--.*", "", text), path


def test_only_the_pot_makes_grants() -> None:
    """A request cannot be built without a grant, and in the whole program only the reserve call builds one."""
    root = Path(__file__).parents[2]
    makers = {
        str(path.relative_to(root))
        for folder in ("tasks", "flows", "dashboard")
        for path in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Grant"
    }
    assert makers == {"tasks/funds/store.py"}


def test_every_kind_of_event_is_published_and_every_published_kind_is_known() -> None:
    """Scripts name kinds as text, Python as members of the enum; together they name exactly the enum."""
    in_lua: set[str] = set()
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        for call in re.findall(r"redis\.call\('XADD'.*", text):
            if "'kind'" in call or "unpack(entry[2])" in call:  # a record of the outbox, and its copy
                continue
            value = re.search(r"'type', (\w+|'\w+')", call)
            assert value, f"{path}: an event without a type"
            name = value[1]
            named = [name] if name.startswith("'") else re.findall(rf"\b{name} = (.*)", text)
            in_lua |= set(re.findall(r"'(\w+)'", " ".join(named)))
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tasks").rglob("*.py")]
    in_python = {EventKind[name].value for text in sources for name in re.findall(r"\bEventKind\.([A-Z_]+)\b", text)}
    assert in_lua <= set(EventKind)
    assert in_lua | in_python == set(EventKind)
