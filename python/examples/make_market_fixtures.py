"""Makes crates/market/tests/fixtures/: feather files with what the crate's own writer cannot make.

    python3 -m pip install -r python/examples/requirements.txt
    python3 python/examples/make_market_fixtures.py

The candles are invented: hour `row` opens at 100 + row, from 2019-03-01T12:00:00Z.
"""

import io
import pathlib

import pyarrow
import pyarrow.feather
import pyarrow.ipc

START = 1_551_441_600_000
HOUR = 3_600_000
ROWS = 6


def candles(unit="ms"):
    scale = {"ms": 1, "ns": 1_000_000}[unit]
    times = [(START + row * HOUR) * scale for row in range(ROWS)]
    price = [100.0 + row for row in range(ROWS)]
    return {
        "date": pyarrow.array(times, pyarrow.timestamp(unit, "UTC")),
        "open": pyarrow.array(price),
        "high": pyarrow.array([value + 2.0 for value in price]),
        "low": pyarrow.array([value - 1.0 for value in price]),
        "close": pyarrow.array([value + 1.0 for value in price]),
        "volume": pyarrow.array([10.0] * ROWS),
    }


def ipc(columns, **options):
    table = pyarrow.table(columns)
    sink = io.BytesIO()
    options = pyarrow.ipc.IpcWriteOptions(**options)
    with pyarrow.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


def feather(columns, **options):
    sink = io.BytesIO()
    pyarrow.feather.write_feather(pyarrow.table(columns), sink, **options)
    return sink.getvalue()


def main():
    words = pyarrow.array(["note"] * ROWS)
    legacy = {"compression": None, "use_legacy_format": True}
    files = {
        "chunks": feather(candles("ns"), compression="lz4", chunksize=4),
        "zstd": ipc(candles(), compression="zstd"),
        "dictionary": ipc({**candles(), "note": words.dictionary_encode()}),
        "nested": ipc({**candles(), "note": pyarrow.array([[1]] * ROWS)}),
        "text": ipc({"note": words, **candles()}, compression="lz4"),
        "legacy": ipc(candles(), **legacy),
    }
    root = pathlib.Path(__file__).resolve().parents[2] / "crates/market/tests/fixtures"
    root.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        folder = root / name
        folder.mkdir(exist_ok=True)
        (folder / "BTC_USDT-1h.feather").write_bytes(data)
        print(f"{name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
