"""A symbol with several grids in the settings: what is accepted, and how each mistake is told."""

from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.runtime.cli import cli
from tasks.base.errors import ConfigError
from tasks.grid.levels import grid_id
from tasks.settings.grids import SeveralSettings
from tasks.settings.load import from_values, load, public_values
from tasks.settings.model import Settings
from tasks.settings.toml_text import symbol_table
from tests.support.desk import BTC

HEAD = f'[symbols."{BTC}"]\n'
NEAR = f'[symbols."{BTC}".grids.near]\nlower = "41000"\nupper = "43000"\ncells = 4\n'
WIDE = f'[symbols."{BTC}".grids.wide]\ngrid = "geometric"\nrange_pct = 0.1\ncells = 10\nweight = 3\n'
PLACE = f'symbols."{BTC}".grids.near'


def loaded(tmp_path: Path, text: str) -> Settings:
    """The settings of a file with this text."""
    path = tmp_path / "gridflow.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_each_table_is_a_grid_and_the_symbol_keeps_the_rest(tmp_path: Path) -> None:
    """Kinds, cells and sizes by grid; stops and the share of the pot by symbol; the allocation by weight."""
    own = loaded(tmp_path, HEAD + 'weight = 2\nstop_loss_price = "30000"\n' + NEAR + WIDE).symbols[BTC]
    assert isinstance(own, SeveralSettings)
    assert [(name, grid.grid, grid.cells) for name, grid in own.each_grid.items()] == [
        ("near", "arithmetic", 4),
        ("wide", "geometric", 10),
    ]
    assert (own.part_of("near"), own.part_of("wide")) == (Decimal("0.25"), Decimal("0.75"))
    assert (own.weight, own.stop_loss_price) == (Decimal(2), Decimal(30_000))


def test_the_settings_read_back(tmp_path: Path) -> None:
    """From what Redis stores, and from the table that a backtest prints."""
    own = loaded(tmp_path, HEAD + "weight = 2\n" + NEAR + WIDE)
    assert from_values(public_values(own)) == own
    printed = symbol_table(BTC, own.symbols[BTC])
    assert loaded(tmp_path, printed) == own


def test_the_name_is_part_of_the_id(tmp_path: Path) -> None:
    """The same levels under two names, and without a name, are three grids."""
    own = loaded(tmp_path, NEAR).symbols[BTC].each_grid["near"]
    assert len({grid_id(BTC, own), grid_id(BTC, own, name="near"), grid_id(BTC, own, name="wide")}) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NEAR.replace("near", "Near"), ("grids.Near = Near: must be 1 to 16 of a-z",)),
        (NEAR + 'stop_loss_price = "3"\n', (f"{PLACE}.stop_loss_price", f'move it to [symbols."{BTC}"]')),
        (HEAD + "cells = 5\n" + NEAR, (f'symbols."{BTC}".cells', f'Move it to [symbols."{BTC}".grids.NAME]')),
        (HEAD + 'grid = "arithmetic"\n' + NEAR, (f'symbols."{BTC}".grids', "Remove `grid` from the symbol's own")),
        (NEAR + 'grid = "arithmetc"\n', (f"{PLACE}.grid = arithmetc", 'Did you mean "arithmetic"?')),
        (NEAR + 'grid = "x"\nstart = "up"\n', (f"{PLACE}.grid = x", f"{PLACE}.start = up")),
        (NEAR.replace("cells", "cels"), (f"{PLACE}.cels", "Did you mean cells?")),
        (NEAR.replace("43000", "40000"), (f"{PLACE}.upper = 40000", "levels out of order")),
        (NEAR.replace("4\n", "400\n"), (f"{PLACE}.cells = 400", "after fees")),
        (NEAR + 'quote_per_cell = "99999"\n', (f"{PLACE}.quote_per_cell", "above what the symbol may use")),
        (NEAR + "weight = 0\n", (f'symbols."{BTC}".grids = (1 grids)', "a weight above 0")),
        (HEAD + "grids = {}\n", (f'symbols."{BTC}".grids', "must hold 1 to 20 grids")),
        (HEAD + "grids = 3\n", (f'symbols."{BTC}".grids', "must be a table")),
        (HEAD + 'grid = "several"\n', (f'symbols."{BTC}".grids', "must hold 1 to 20 grids")),
        (HEAD + 'grid = "other"\n', ("must be 'arithmetic', 'geometric', 'adaptive' or 'infinity'",)),
    ],
)
def test_a_mistake_names_its_table_and_the_remedy(tmp_path: Path, text: str, said: tuple[str, ...]) -> None:
    """As in every other section."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    for part in said:
        assert part in str(caught.value)


def test_check_shows_each_grid_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own figures and its part of the allocation."""
    monkeypatch.chdir(tmp_path)
    Path("gridflow.toml").write_text('[paper]\nmarket = "synthetic"\n' + NEAR + WIDE, encoding="utf-8")
    answer = CliRunner().invoke(cli, ["check"])
    assert answer.exit_code == 0, answer.output
    assert f"{BTC} near: 4 cells, 5 levels" in answer.output
    assert f"{BTC} wide: 10 cells, 11 levels" in answer.output
    assert "the allocator would give 2,375.00 USDT" in answer.output
    assert "the allocator would give 7,125.00 USDT" in answer.output
