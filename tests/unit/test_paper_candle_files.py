"""Candle files: good ones load fast and in order, bad ones are refused with file, line and fault."""

import gzip
import sys
import time
from pathlib import Path

import pytest

from tasks.base.errors import MarketDataError
from tasks.paper.candle_files import files_of, read_file
from tasks.paper.replay import ReplaySeries, faults, scan

HEADER = "timestamp,open,high,low,close,volume"
T0 = 1_704_067_200_000


def row(minute: int, prices: str = "100,101,99,100.5", volume: str = "1.5") -> str:
    """One line of a file."""
    return f"{T0 + minute * 60_000},{prices},{volume}"


def written(folder: Path, *lines: str, name: str = "BTC-USDT-1m-2024-01.csv") -> Path:
    """A file of these lines."""
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("lines", "line", "fault"),
    [
        ([], 1, "missing column"),
        ([HEADER], 2, "empty"),
        (["timestamp,open,high,low,close", row(0)], 1, "missing column volume"),
        ([HEADER, row(0), row(1, "100,abc,99,100")], 3, "high is not a number: 'abc'"),
        ([HEADER, row(0, "nan,101,99,100")], 2, "open nan is not a price"),
        ([HEADER, row(0, "100,99,101,100")], 2, "high 99.0 below low 101.0"),
        ([HEADER, row(0, "100,101,99,102")], 2, "close 102.0 outside low 99.0 to high 101.0"),
        ([HEADER, row(0, "98,101,99,100")], 2, "open 98.0 outside low 99.0 to high 101.0"),
        ([HEADER, row(0, "100,101,0,100")], 2, "low 0.0 is not a price above 0"),
        ([HEADER, row(1), row(1)], 3, "time not increasing"),
        ([HEADER, row(0, volume="-1")], 2, "volume -1.0"),
        ([HEADER, "1704067200,100,101,99,100,1"], 2, "not in milliseconds"),
        ([HEADER, row(0), "1704067260000,100,101"], 3, "6 values expected"),
    ],
)
def test_a_bad_file_names_line_and_fault(tmp_path: Path, lines: list[str], line: int, fault: str) -> None:
    """The message tells where to look and what is wrong there."""
    path = written(tmp_path, *lines)
    with pytest.raises(MarketDataError, match=fault) as caught:
        read_file(path)
    assert (caught.value.file, caught.value.line) == (path, line)


def test_an_empty_file(tmp_path: Path) -> None:
    """Not even a header."""
    (tmp_path / "BTC-USDT.csv").touch()
    with pytest.raises(MarketDataError, match="the file is empty"):
        read_file(tmp_path / "BTC-USDT.csv")


def test_a_truncated_gzip(tmp_path: Path) -> None:
    """Half a download is refused, not read half."""
    whole = gzip.compress("\n".join([HEADER, *(row(minute) for minute in range(2000))]).encode())
    path = tmp_path / "BTC-USDT-1m-2024-01.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MarketDataError, match="truncated") as caught:
        read_file(path)
    assert caught.value.line > 1
    path.write_bytes(b"no gzip at all")
    with pytest.raises(MarketDataError, match="broken gzip"):
        read_file(path)


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    """Columns go by name; more columns do not disturb."""
    path = written(tmp_path, "close,volume,extra,timestamp,open,low,high", f"100.5,2,x,{T0},100,99,101")
    assert read_file(path).slice(0, 1) == [
        (T0, 10_000_000_000, 10_100_000_000, 9_900_000_000, 10_050_000_000, 2.0),
    ]


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    """Same candles, same checks."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"timestamp": [T0], "open": [100.0], "high": [101.0], "low": [99.0], "close": [100.5], "volume": [1.5]}
    path = tmp_path / "BTC-USDT-1m-2024-01.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    assert read_file(path).slice(0, 1) == read_file(written(tmp_path, HEADER, row(0))).slice(0, 1)
    parquet.write_table(pyarrow.table({**columns, "low": [200.0]}), path)
    with pytest.raises(MarketDataError, match=r"high 101\.0 below low 200\.0"):
        read_file(path)


def test_parquet_names_the_row(tmp_path: Path) -> None:
    """Also of a timestamp that is text; a file as a whole has no row."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {name: [100.0, 100.0] for name in ("open", "high", "low", "close", "volume")}
    path = tmp_path / "BTC-USDT-1m-2024-01.parquet"
    for stamps in ([str(T0), "2024-01-01 00:01"], pyarrow.array([str(T0), "x"]).dictionary_encode()):
        parquet.write_table(pyarrow.table({"timestamp": stamps, **columns}), path)
        with pytest.raises(MarketDataError, match=r"parquet, row 2: timestamp is not a number: '"):
            read_file(path)
    parquet.write_table(pyarrow.table({"timestamp": [str(T0), str(T0 + 60_000)], **columns}), path)
    assert len(read_file(path)) == 2
    parquet.write_table(pyarrow.table({"timestamp": [T0]}), path)
    with pytest.raises(MarketDataError, match="parquet: missing column open"):
        read_file(path)


def test_every_bad_file_of_a_symbol_is_told(tmp_path: Path) -> None:
    """One fault a file, and where the good ones overlap; where there is no line, none is named."""
    assert [str(fault) for fault in faults(tmp_path / "no", "BTC/USDT")] == [f"{tmp_path / 'no'}: no such folder"]
    for name in ("x" * 300, "x\0"):
        assert "unreadable" in str(faults(tmp_path / name, "BTC/USDT"))
    written(tmp_path, HEADER, row(0), row(1), name="BTC-USDT-a.csv")
    written(tmp_path, HEADER, row(1), name="BTC-USDT-b.csv")
    assert faults(tmp_path, "ETH/USDT")[0].line == 0
    for name in ("BTC-USDT-c.csv", "BTC-USDT-d.csv"):
        written(tmp_path, HEADER, row(2, "x"), name=name)
    assert [(fault.file.name, fault.line) for fault in faults(tmp_path, "BTC/USDT")] == [
        ("BTC-USDT-c.csv", 2),
        ("BTC-USDT-d.csv", 2),
        ("BTC-USDT-b.csv", 0),
    ]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is in the message."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MarketDataError, match=r"gridflow\[parquet\]"):
        read_file(tmp_path / "BTC-USDT.parquet")


def test_files_are_found_by_symbol(tmp_path: Path) -> None:
    """The first two parts of the name are the symbol; other bar lengths and other files are left alone."""
    for name in ("BTC-USDT-1m-2024-02.csv", "BTC-USDT.csv", "BTC-USDT-5m-2024.csv", "ETH-USDT.csv", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in files_of(tmp_path, "BTC/USDT")] == ["BTC-USDT-1m-2024-02.csv", "BTC-USDT.csv"]
    with pytest.raises(MarketDataError, match="no candle file for BNB/USDT"):
        files_of(tmp_path, "BNB/USDT")
    with pytest.raises(MarketDataError, match="no such folder"):
        files_of(tmp_path / "nowhere", "BTC/USDT")


async def test_months_follow_each_other(tmp_path: Path) -> None:
    """Files join in order of time, whatever their names; gaps within are counted."""
    written(tmp_path, HEADER, row(0), row(1), row(4), name="BTC-USDT-b.csv")
    written(tmp_path, HEADER, row(5), row(6), name="BTC-USDT-a.csv")
    spans = scan(tmp_path, "BTC/USDT")
    assert [(span.rows, span.gaps) for span in spans] == [(3, 2), (2, 0)]
    series = ReplaySeries(spans)
    assert await series.length() == 5
    assert [(bar.at - T0) // 60_000 for bar in await series.bars(1, 5)] == [1, 4, 5, 6]
    assert await series.find(T0 + 3 * 60_000) == 2
    written(tmp_path, HEADER, row(6), name="BTC-USDT-c.csv")
    with pytest.raises(MarketDataError, match="time not increasing"):
        scan(tmp_path, "BTC/USDT")


async def test_a_file_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    """A replay never goes on in other data than it began with."""
    path = written(tmp_path, HEADER, row(0), row(1))
    series = ReplaySeries(scan(tmp_path, "BTC/USDT"))
    written(tmp_path, HEADER, row(0), name=path.name)
    with pytest.raises(MarketDataError, match="changed"):
        await series.bars(0, 1)


def test_a_month_loads_quickly(tmp_path: Path) -> None:
    """A month of minutes takes well under half a second."""
    path = written(tmp_path, HEADER, *(row(minute) for minute in range(44_641)))
    began = time.process_time()
    assert len(read_file(path)) == 44_641
    assert time.process_time() - began < 0.5
