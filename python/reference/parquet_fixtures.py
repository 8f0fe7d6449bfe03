"""Parquet files as pandas, pyarrow and polars write them, and what is in them.

    python3 -m venv venv && venv/bin/pip install -r python/reference/requirements-parquet.txt
    venv/bin/python python/reference/parquet_fixtures.py crates/market/tests/fixtures/parquet

writes

    bars/       sound bars in the types and layouts that users have, and `bars.json`: for each file
                the instrument, timeframe, open times (Unix ms) and columns
    refused/    files that must be refused
    values/     one table of every type in many codecs, encodings and page layouts, and `values.json`:
                its columns as numbers, `null` for null
    ticks/      best quotes and trades, and `ticks.json`: what pandas makes of them, bar by bar
    package/    a small `training_package` of two pairs and three splits
    metadata.json  versions and sizes

All prices are made up from a fixed seed; nothing is taken from any market.
"""

import argparse
import datetime
import decimal
import json
import platform
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 20260302
START = 1_739_743_200_000  # 2025-02-16T22:00:00Z, a Sunday's opening of the currency market
# Without what this project does not read, so that the files are small.
LEAN = {"store_schema": False, "write_statistics": False}
MINUTES = {"1m": 1, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}


def bars(rows, timeframe, generator, digits=5):
    """Sound bars with one gap of two bars in the middle."""
    step = MINUTES[timeframe] * 60_000
    times = START - START % step + step * np.arange(rows)
    times[rows // 2:] += 2 * step
    close = np.round(1.1 + np.cumsum(generator.normal(0, 5e-4, rows)), digits)
    opened = np.concatenate([[1.1], close[:-1]])
    high = np.round(np.maximum(opened, close) + generator.uniform(0, 4e-4, rows), digits)
    low = np.round(np.minimum(opened, close) - generator.uniform(0, 4e-4, rows), digits)
    return pd.DataFrame({"date": times, "open": opened, "high": high, "low": low, "close": close,
                         "volume": generator.integers(1, 900, rows).astype(float)})


def stamps(frame, unit, zone="UTC"):
    times = pd.to_datetime(frame["date"], unit="ms", utc=zone is not None).dt.as_unit(unit)
    return times.dt.tz_convert(zone) if zone else times


def write_bars(folder, generator):
    folder.mkdir(parents=True, exist_ok=True)
    known = {}

    def note(name, frame, instrument, timeframe, volume=True, others=()):
        known[name] = {
            "instrument": instrument, "timeframe": timeframe,
            "time": [int(time) for time in frame["date"]],
            **{column: [float(value) for value in frame[column]]
               for column in ("open", "high", "low", "close")},
            "volume": [float(value) for value in frame["volume"]] if volume else None,
            "others": list(others),
        }

    # pandas' default: snappy, dictionaries, microseconds or nanoseconds in UTC.
    frame = bars(60, "15m", generator)
    frame.assign(date=stamps(frame, "us")).to_parquet(folder / "EURUSD_M15.parquet", index=False)
    note("EURUSD_M15.parquet", frame, "EUR/USD", "15m")

    # Integers in milliseconds, floats of 32 bits, ticks as integers, a column more; other order and case.
    frame = bars(50, "15m", generator)
    for column in ("open", "high", "low", "close"):
        frame[column] = frame[column].astype(np.float32)
    table = pd.DataFrame({"Time": frame["date"], "spread": 2, "Close": frame["close"], "High": frame["high"],
                          "Low": frame["low"], "Open": frame["open"],
                          "tick_volume": frame["volume"].astype(np.int64)})
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / "GBP_USD-15m.parquet",
                   compression="zstd", data_page_version="2.0", use_dictionary=False)
    note("GBP_USD-15m.parquet", frame, "GBP/USD", "15m", others=["spread"])

    # A pandas index without a time zone, in nanoseconds; row groups of thirteen; GZIP.
    frame = bars(40, "1h", generator)
    table = frame.assign(date=stamps(frame, "ns", None)).set_index("date")
    table.index.name = None
    table.to_parquet(folder / "USDCHF_H1.parquet", compression="gzip", row_group_size=13, **LEAN)
    note("USDCHF_H1.parquet", frame, "USD/CHF", "1h")

    # Another zone than UTC: the values are UTC all the same. LZ4, no volume.
    frame = bars(30, "4h", generator)
    table = frame.drop(columns="volume").assign(date=stamps(frame, "ms", "America/New_York"))
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / "AUDNZD_H4.parquet",
                   compression="lz4", coerce_timestamps="ms")
    note("AUDNZD_H4.parquet", frame, "AUD/NZD", "4h", volume=False)

    # polars: zstd, its own encodings; a column of the time of arrival beside `timestamp`.
    frame = bars(45, "1m", generator)
    pl.from_pandas(frame.rename(columns={"date": "timestamp"})).with_columns(
        pl.from_epoch("timestamp", time_unit="ms").dt.replace_time_zone("UTC"),
        received=pl.lit(1.5),
    ).write_parquet(folder / "BTCUSDT-1m.parquet")
    note("BTCUSDT-1m.parquet", frame, "BTC/USDT", "1m", others=["received"])

    # Dates, decimals, uncompressed; the timeframe from the folder is not there, so from the rows.
    frame = bars(20, "1d", generator, digits=4)
    frame[["open", "high", "low", "close"]] = frame[["open", "high", "low", "close"]].round(4)
    date = [datetime.datetime.fromtimestamp(time / 1000, datetime.UTC).date() for time in frame["date"]]
    price = lambda column: pa.array([decimal.Decimal(f"{value:.4f}") for value in frame[column]],
                                    pa.decimal128(9, 4))
    table = pa.table({"Date": pa.array(date, pa.date32()), "open": price("open"), "high": price("high"),
                      "low": price("low"), "close": price("close"),
                      "volume": pa.array(frame["volume"].astype(np.int32))})
    pq.write_table(table, folder / "XAUUSD.parquet", compression="none", store_schema=False)
    note("XAUUSD.parquet", frame, "XAU/USD", "1d")

    # Stamps of twelve bytes, as Spark wrote them.
    frame = bars(25, "1h", generator)
    pq.write_table(pa.Table.from_pandas(frame.assign(date=stamps(frame, "ns")), preserve_index=False),
                   folder / "EURJPY_60m.parquet", use_deprecated_int96_timestamps=True)
    note("EURJPY_60m.parquet", frame, "EUR/JPY", "60m")
    (folder / "bars.json").write_text(json.dumps(known) + "\n")


def write_refused(folder, generator):
    folder.mkdir(parents=True, exist_ok=True)
    frame = bars(20, "15m", generator)
    timed = frame.assign(date=stamps(frame, "us"))

    def write(name, frame, compression="snappy"):
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / f"{name}_M15.parquet",
                       compression=compression, **LEAN)

    write("EURUSD", frame.assign(date=stamps(frame, "us").astype(str)))
    write("EURGBP", timed, "brotli")
    write("EURCHF", timed.assign(close=timed["close"].where(timed.index != 7)))
    write("EURAUD", timed.drop(columns="low"))
    write("EURCAD", timed.drop(columns="date"))
    write("EURNZD", timed.assign(close=timed["close"].map(lambda value: [value])))
    write("EURJPY", timed.rename(columns={"volume": "High"}))


def table_of_values(rows, generator):
    """Every type that is read, with and without nulls; some constant, some with few values."""
    mask = lambda share: generator.random(rows) < share
    index = np.arange(rows)
    whole = lambda low, high, kind: generator.integers(low, high, rows, dtype=kind, endpoint=True)
    floats = generator.normal(0, 1, rows)
    floats[3], floats[4], floats[5] = np.inf, -np.inf, -0.0
    limits = np.iinfo
    columns = {
        "time": pa.array(START + 60_000 * index, pa.timestamp("ms", "UTC")),
        "float": pa.array(floats.astype(np.float32)),
        "float_null": pa.array(floats.astype(np.float32), mask=mask(0.2)),
        "double": pa.array(floats * 1e100),
        "double_null": pa.array(floats, mask=mask(0.9)),
        "double_few": pa.array(np.round(floats, 0).clip(-2, 2), mask=mask(0.1)),
        "all_null": pa.array([None] * rows, pa.float32()),
        "nothing": pa.nulls(rows),
        "constant": pa.array(np.full(rows, 0.25)),
        "int8": pa.array(whole(-128, 127, np.int8), mask=mask(0.1)),
        "int16": pa.array(whole(-32768, 32767, np.int16)),
        "int32": pa.array(whole(limits(np.int32).min, limits(np.int32).max, np.int32)),
        "int64": pa.array(whole(limits(np.int64).min, limits(np.int64).max, np.int64)),
        "uint8": pa.array(whole(0, 255, np.uint8)),
        "uint32": pa.array(whole(0, 2**32 - 1, np.uint32), mask=mask(0.3)),
        "uint64": pa.array(whole(0, 2**64 - 1, np.uint64)),
        "count": pa.array(index.astype(np.int64) * 3),
        "bool": pa.array(mask(0.5)),
        "bool_null": pa.array(mask(0.5), mask=mask(0.4)),
        "decimal": pa.array([decimal.Decimal(int(value)) / 1000 for value in whole(-9999, 9999, np.int64)],
                            pa.decimal128(30, 3)),
        "text": pa.array([f"text {value % 5}" for value in index]),
        "list": pa.array([[float(value)] * (value % 3) for value in index]),
    }
    return pa.table(columns)


def number(value):
    if value is None:
        return None
    value = float(value)
    return value if np.isfinite(value) else {np.inf: "inf", -np.inf: "-inf"}[value]


def write_values(folder, generator):
    folder.mkdir(parents=True, exist_ok=True)
    table = table_of_values(60, generator)
    names = [name for name in table.column_names if name not in ("time", "text", "list")]
    known = {name: [number(value) for value in table[name].to_pylist()] for name in names}
    known["time"] = [START + 60_000 * index for index in range(table.num_rows)]
    (folder / "values.json").write_text(json.dumps(known) + "\n")
    write = lambda name, **options: pq.write_table(
        table, folder / f"{name}.parquet", **LEAN, **options)
    write("none-plain", compression="none", use_dictionary=False)
    write("snappy-dictionary", compression="snappy")
    write("zstd-v2-groups", compression="zstd", data_page_version="2.0", row_group_size=32)
    write("gzip-pages", compression="gzip", data_page_size=64, write_batch_size=8)
    write("lz4-checksums", compression="lz4", write_page_checksum=True, data_page_version="2.0")
    split = ["float", "float_null", "double", "double_null", "int32", "int64", "decimal"]
    packed = ["int8", "int16", "uint8", "uint32", "uint64", "count"]
    write("zstd-split-deltas", compression="zstd", use_dictionary=False, column_encoding={
        **{name: "BYTE_STREAM_SPLIT" for name in split},
        **{name: "DELTA_BINARY_PACKED" for name in packed}})
    write("none-v2-runs", compression="none", use_dictionary=False, data_page_version="2.0",
          column_encoding={"bool": "RLE", "bool_null": "RLE", "int64": "DELTA_BINARY_PACKED",
                           "int32": "DELTA_BINARY_PACKED"})
    pl.from_arrow(table.drop_columns(["nothing"])).write_parquet(
        folder / "polars.parquet", statistics=False, row_group_size=50)


def write_package(folder, generator):
    """Two pairs in the layout of a user's package: pandas, floats, an index of times."""
    features = ["ret_1", "rsi_14", "alpha001"]
    for pair, rows in {"EURUSD": 60, "GBPUSD": 48}.items():
        (folder / pair).mkdir(parents=True, exist_ok=True)
        times = pd.to_datetime(START + 900_000 * np.arange(rows), unit="ms", utc=True)
        frame = pd.DataFrame({name: generator.normal(0, 1, rows).astype(np.float32) for name in features})
        frame["ml_confidence"] = generator.uniform(0, 1, rows)
        frame.loc[:2, "rsi_14"] = np.nan
        for k in (1, 5):
            frame[f"target_return_{k}"] = generator.normal(0, 1e-3, rows)
            frame[f"target_direction_{k}"] = np.sign(frame[f"target_return_{k}"]).astype(np.int8)
        frame.index = times
        ends = {"train": (0, rows // 2), "val": (rows // 2, 3 * rows // 4), "test": (3 * rows // 4, rows)}
        for split, (first, last) in ends.items():
            frame.iloc[first:last].to_parquet(folder / pair / f"{split}.parquet", **LEAN)
    (folder / "metadata.json").write_text(json.dumps({"pairs": 2, "features": features}) + "\n")


def write_ticks(folder, generator):
    """Quotes and trades of 100 seconds, with stamps that repeat, on bar boundaries too."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, tick = 400, 0.1
    time = START * 1_000_000 + 7_300_000_000 + np.sort(generator.integers(0, 90_000, rows)) * 1_000_000
    time[50:53] = time[50]
    time[200] = time[201] = START * 1_000_000 + 60_000_000_000
    time = np.sort(time)
    bid = np.round(61_800 + tick * np.cumsum(generator.integers(-1, 2, rows)), 1)
    quotes = pd.DataFrame({
        "local_ns": time + 1_200_000_000, "exchange_ns": time, "bid": bid,
        "bid_size": np.round(generator.uniform(0.001, 5, rows), 3),
        "ask": np.round(bid + tick * generator.integers(1, 4, rows), 1),
        "ask_size": np.round(generator.uniform(0.001, 5, rows), 3)})
    count = 120
    when = np.sort(generator.integers(0, 88_000, count)) * 1_000_000 + START * 1_000_000 + 8_000_000_000
    # A bar of ten seconds without trades.
    when = when[(when // 10_000_000_000 != when[60] // 10_000_000_000)]
    count = len(when)
    trades = pd.DataFrame({
        "exchange_ns": when, "price": np.round(generator.choice(bid, count), 1),
        "quantity": np.round(generator.uniform(0.001, 2, count), 3),
        "buyer_is_maker": generator.random(count) < 0.5})
    lean = lambda frame, name: pq.write_table(
        pa.Table.from_pandas(frame, preserve_index=False), folder / name, compression="zstd", **LEAN)
    lean(quotes, "quotes.parquet")
    lean(trades, "trades.parquet")
    # The same trades as other exchanges write them: stamps, and the aggressor as text.
    lean(pd.DataFrame({"timestamp": pd.to_datetime(when, unit="ns", utc=True), "price": trades["price"],
                       "amount": trades["quantity"],
                       "side": np.where(trades["buyer_is_maker"], "sell", "buy")}), "sides.parquet")
    (folder / "ticks.json").write_text(json.dumps(gathered(quotes, trades, 10_000_000_000)) + "\n")


def gathered(quotes, trades, step):
    """Bars by pandas' grouping; order flow imbalance by its definition in differences and masks."""
    first = min(quotes["exchange_ns"].min(), trades["exchange_ns"].min()) // step
    last = max(quotes["exchange_ns"].max(), trades["exchange_ns"].max()) // step
    grid = np.arange(first, last + 1)
    signed = trades["quantity"].where(~trades["buyer_is_maker"], -trades["quantity"])
    paid = trades["price"] * trades["quantity"]
    bar = trades["exchange_ns"] // step
    of = lambda column: column.groupby(bar)
    volume = of(trades["quantity"]).sum()
    columns = {
        "open": of(trades["price"]).first(), "high": of(trades["price"]).max(),
        "low": of(trades["price"]).min(), "close": of(trades["price"]).last(),
        "volume": volume.reindex(grid, fill_value=0.0), "vwap": of(paid).sum() / volume,
        "trades": of(trades["price"]).count().reindex(grid, fill_value=0),
        "signed_volume": of(signed).sum().reindex(grid, fill_value=0.0),
        "buy_volume": of(signed.clip(lower=0)).sum().reindex(grid, fill_value=0.0),
        "sell_volume": of((-signed).clip(lower=0)).sum().reindex(grid, fill_value=0.0)}
    q = quotes.shift(1)
    flow = ((quotes["bid"] >= q["bid"]) * quotes["bid_size"] - (quotes["bid"] <= q["bid"]) * q["bid_size"].fillna(0)
            - (quotes["ask"] <= q["ask"]) * quotes["ask_size"] + (quotes["ask"] >= q["ask"]) * q["ask_size"].fillna(0))
    bar = quotes["exchange_ns"] // step
    columns["ofi"] = flow.groupby(bar).sum().reindex(grid, fill_value=0.0)
    for name in ("bid", "ask", "bid_size", "ask_size"):
        columns[name] = quotes[name].groupby(bar).last().reindex(grid).ffill()
    columns["microprice"] = ((columns["ask"] * columns["bid_size"] + columns["bid"] * columns["ask_size"])
                             / (columns["bid_size"] + columns["ask_size"]))
    # The spread over time, on a grid of milliseconds, in which all stamps lie.
    wide = (quotes["ask"] - quotes["bid"]).groupby(quotes["exchange_ns"] // 1_000_000).last()
    every = wide.reindex(np.arange(grid[0] * step // 1_000_000, (grid[-1] + 1) * step // 1_000_000)).ffill()
    columns["spread"] = every.groupby(every.index * 1_000_000 // step).mean()
    return {"open_time": [int(value) * step // 1_000_000 for value in grid],
            **{name: [None if np.isnan(value) else float(value) for value in column.reindex(grid)]
               for name, column in columns.items()}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    generator = np.random.default_rng(SEED)
    write_bars(out / "bars", generator)
    write_refused(out / "refused", generator)
    write_values(out / "values", generator)
    write_package(out / "package", generator)
    write_ticks(out / "ticks", generator)
    files = sorted(path for path in out.rglob("*") if path.is_file() and path != out / "metadata.json")
    metadata = {
        "script": "python/reference/parquet_fixtures.py", "seed": SEED, "python": platform.python_version(),
        "numpy": np.__version__, "pandas": pd.__version__, "pyarrow": pa.__version__,
        "polars": pl.__version__,
        "files": {str(path.relative_to(out)): path.stat().st_size for path in files},
    }
    (out / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n")


if __name__ == "__main__":
    main()
