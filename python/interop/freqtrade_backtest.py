"""Runs the real freqtrade on foretune's signals: backtests, its look-ahead analysis, and a dry-run bot.

    python3 -m venv venv && venv/bin/pip install -r python/interop/requirements-freqtrade.txt
    venv/bin/python python/interop/freqtrade_backtest.py --foretune target/release/foretune \
        --out freqtrade.json

Nothing of freqtrade is replaced. Its exchange is Binance through ccxt, whose address is a local server
(`local_exchange.py`), so no network is needed; its candles are those bundled with foretune, read from
where they lie. The model is a tiny random one unless --model names another: what is tested is the way
of a decision into a trade, not whether it is any good. What is checked is listed in `CHECKS`; the last
line of the output, and --out, are JSON; the exit code is 1 when a check fails.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas
import tiny_llama
from local_exchange import HOUR, Exchange

HERE = Path(__file__).resolve().parent
STRATEGIES = HERE.parent / "freqtrade"
CANDLES = HERE.parents[1] / "examples" / "data" / "BTC_USD-1h.feather"
PAIR = "BTC/USD"
FROM, TO = "2019-09-01", "2019-09-21"
LABEL = ["--set", "dataset.label.buy_above=0.001", "--set", "dataset.label.sell_below=-0.001"]
FEW = ["--set", "evaluate.calibration_decisions=60"]

PLAIN = '''
from ForetuneExample import ForetuneExample
from freqtrade.strategy import IStrategy

class Plain(IStrategy):
    """ForetuneExample without foretune."""
    INTERFACE_VERSION = 3
    timeframe, startup_candle_count, minimal_roi, stoploss = "1h", 48, {"0": 10}, -0.10
    populate_entry_trend = ForetuneExample.populate_entry_trend
    populate_exit_trend = ForetuneExample.populate_exit_trend

    def populate_indicators(self, dataframe, metadata):
        dataframe["mean"] = dataframe["close"].rolling(24).mean()
        return dataframe

class Always(ForetuneExample):
    """Wants to be in the market at every candle."""
    def populate_entry_trend(self, dataframe, metadata):
        dataframe["enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe
'''

CHECKS = {}


def check(name, holds, told=None):
    """Notes whether something holds."""
    CHECKS[name] = {"holds": bool(holds)} | ({} if told is None else {"told": told})
    print(f"{'holds' if holds else 'FAILS'}  {name}" + (f": {told}" if told is not None else ""), flush=True)


class Bench:
    """One folder with model, arms, log, signals and freqtrade's user directory."""

    def __init__(self, arguments, root):
        self.arguments, self.root = arguments, root
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("FORETUNE_")}
        self.environment |= {"FORETUNE_CACHE": str(root / "cache"), "COLUMNS": "160", "NO_COLOR": "1"}
        self.binary = str(Path(arguments.foretune).resolve())
        (root / "candles").mkdir()
        shutil.copy(CANDLES, root / "candles")
        self.candles = pandas.read_feather(CANDLES)

    def foretune(self, *words):
        print("$ foretune", *words, flush=True)
        done = subprocess.run([self.binary, *map(str, words)], cwd=self.root, env=self.environment, text=True,
                              capture_output=True)
        if done.returncode:
            sys.exit(f"foretune {' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def prepare(self):
        """Trains an arm for a few steps and replays history with it."""
        model = self.arguments.model
        if model is None:
            (self.root / "model").mkdir()
            tiny_llama.write(self.root / "model")
            model = "model"
        self.foretune("dataset", "build", "--no-audit", "--data", "candles", "--out", "data", *LABEL,
                      "--set", "dataset.per_class=40")
        self.foretune("train", "sft", "--dataset", "data", "--out", "runs/a", "--model", model, "--steps", 12,
                      "--set", "train.batch_size=8", "--set", "train.learning_rate=0.02", *FEW,
                      "--set", "train.validation_examples=4")
        self.foretune("shadow", "--replay", "--champion", "runs/a", "--challenger", "base", "--data", "candles",
                      "--from", FROM, "--to", TO, "--log", "replay", *FEW)
        self.foretune("export", "signals", "replay", "--out", "signals.jsonl")
        self.foretune("export", "signals", "replay", "--delay", 3600, "--late-after", 4200, "--out", "delayed.jsonl")

    # freqtrade

    def set_up(self, url):
        """Writes freqtrade's user directory and configuration."""
        folder = self.root / "user" / "strategies"
        folder.mkdir(parents=True)
        for name in ("foretune_strategy.py", "ForetuneExample.py"):
            shutil.copy(STRATEGIES / name, folder)
        (folder / "Others.py").write_text(PLAIN)
        self.config = {
            "dry_run": True, "stake_currency": "USD", "stake_amount": 100, "dry_run_wallet": 10_000,
            "max_open_trades": 1, "trading_mode": "spot", "timeframe": "1h", "initial_state": "running",
            "exchange": {"name": "binance", "pair_whitelist": [PAIR], "enable_ws": False, "ccxt_config": {
                "urls": {"api": {"public": f"{url}/api/v3"}}, "options": {"fetchMarkets": {"types": ["spot"]}}}},
            "entry_pricing": {"price_side": "same", "use_order_book": False},
            "exit_pricing": {"price_side": "same", "use_order_book": False},
            "pairlists": [{"method": "StaticPairList"}],
        }

    def write_config(self, name, section):
        path = self.root / f"{name}.json"
        path.write_text(json.dumps(self.config | {"foretune": section}))
        return path

    def freqtrade(self, *words):
        done = subprocess.run([sys.executable, "-m", "freqtrade", *map(str, words)], cwd=self.root,
                              env=self.environment, text=True, capture_output=True)
        return done.returncode, done.stdout + done.stderr

    def backtest(self, name, strategy="ForetuneExample", fails=False, **section):
        """Returns the trades of a backtest and what the mixin recorded."""
        began = time.time()
        record = self.root / f"{name}.record.jsonl"
        if strategy != "Plain":
            section = {"signals_file": str(self.root / "signals.jsonl"), "record_file": str(record)} | section
        config = self.write_config(name, section)
        out = self.root / "results" / name
        out.mkdir(parents=True)
        code, text = self.freqtrade(
            "backtesting", "-c", config, "--userdir", "user", "--datadir", "candles", "--strategy", strategy,
            "--timerange", f"{FROM.replace('-', '')}-{TO.replace('-', '')}", "--cache", "none",
            "--export", "trades", "--backtest-directory", out)
        if fails:
            return code, text
        if code:
            sys.exit(f"{name}\n{text}")
        [archive] = out.glob("*.zip")
        with zipfile.ZipFile(archive) as file:
            found = json.loads(file.read(f"{archive.stem}.json"))
        trades = found["strategy"][strategy]["trades"]
        records = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
        print(f"backtest {name}: {len(trades)} trades, {len(records)} entries looked at, "
              f"{time.time() - began:.0f} s", flush=True)
        return trades, records


def key(trades):
    return [(t["open_date"], t["close_date"], t["open_rate"], t["close_rate"]) for t in trades]


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def rewritten(bench, name, change):
    """Writes the signals with `change` made to each line, or without it where that returns None."""
    path = bench.root / f"{name}.jsonl"
    changed = (change(dict(one)) for one in lines(bench.root / "signals.jsonl"))
    path.write_text("".join(json.dumps(one) + "\n" for one in changed if one is not None))
    return path


def permitted(bench, signals, minimum):
    """Works out by pandas alone at which candle opens a long entry may be made: the last champion's signal
    available when the candle before closed says BUY at `minimum` or more and is not stale."""
    table = pandas.DataFrame(lines(signals))
    table = table[(table["role"] == "champion") & ~table["late"]].copy()
    for column in ("available_at", "valid_until"):
        table[column] = pandas.to_datetime(table[column], utc=True).astype("datetime64[ns, UTC]")
    table["buy"] = [one["BUY"] for one in table["probabilities"]]
    closes = (bench.candles["date"].astype("datetime64[ns, UTC]") + pandas.Timedelta(hours=1)).rename("close")
    joined = pandas.merge_asof(closes.to_frame(), table.sort_values("available_at", kind="stable"),
                               left_on="close", right_on="available_at", direction="backward")
    fresh = joined["close"] <= joined["valid_until"]
    good = fresh & (joined["decision"] == "BUY") & (joined["buy"] >= minimum)
    return set(joined.loc[good, "close"]), set(joined.loc[fresh, "close"])


def opens(trades):
    return [pandas.Timestamp(trade["open_date"]) for trade in trades]


def backtests(bench):
    """File mode: what the signals permit, when, and what a file that knows the future would do."""
    served = [one for one in lines(bench.root / "signals.jsonl") if one["role"] == "champion"]
    counts = {name: sum(one["decision"] == name for one in served) for name in ("BUY", "SELL", "HOLD")}
    minimum = round(statistics.median(one["probabilities"]["BUY"] for one in served), 6)
    print(f"{len(served)} signals served: {counts}; median probability of BUY {minimum}")
    plain, _ = bench.backtest("plain", "Plain")
    shadow, watched = bench.backtest("shadow", minimum_probability=minimum)
    check("shadow mode changes no trade", key(plain) == key(shadow), f"{len(plain)} trades")
    may, fresh = permitted(bench, bench.root / "signals.jsonl", minimum)
    at = lambda one: pandas.Timestamp(one["at"])
    expected = [at(one) in may or at(one) not in fresh for one in watched]
    check("every verdict recorded is what pandas.merge_asof works out",
          [one["allow"] for one in watched] == expected and len(watched) == len(shadow),
          f"{sum(expected)} of {len(expected)} entries pass")
    check("no signal was used before it was available",
          all(milliseconds(at(one)) >= one["signal"]["available_at"] for one in watched if one["signal"]))

    enforce = {"mode": "enforce", "unavailable": "refuse", "minimum_probability": minimum}
    kept, looked = bench.backtest("enforce", **enforce)
    check("enforced: every entry lies where the signals permit one", set(opens(kept)) <= may, f"{len(kept)} trades")
    check("enforced: what passed was entered, what did not was not",
          [at(one) for one in looked if one["allow"]] == opens(kept)
          and all(one["vetoed"] != one["allow"] for one in looked))
    check("enforcing changes trades", 0 < len(kept) and key(kept) != key(plain))

    hour = timedelta(hours=1)
    def earlier(one):
        for name in ("decision_time", "decided_at", "available_at", "valid_until"):
            one[name] = (datetime.fromisoformat(one[name]) - hour).isoformat()
        return one
    leak = rewritten(bench, "leak", earlier)
    leaked, _ = bench.backtest("leak", **enforce, signals_file=str(leak))
    check("signals one candle earlier change the trades", key(leaked) != key(kept), f"{len(leaked)} trades")
    delayed, _ = bench.backtest("delayed", **enforce, signals_file=str(bench.root / "delayed.jsonl"))
    late_may, _ = permitted(bench, bench.root / "delayed.jsonl", minimum)
    check("signals an hour late are used an hour later",
          set(opens(delayed)) <= late_may and key(delayed) != key(kept), f"{len(delayed)} trades")

    until = datetime(2019, 9, 11, tzinfo=timezone.utc)
    def poisoned(one):
        if datetime.fromisoformat(one["available_at"]) > until:
            turned = {"BUY": "SELL", "SELL": "BUY", "HOLD": "BUY"}
            one["decision"] = turned[one["decision"]]
            p = one["probabilities"]
            one["probabilities"] = p | {one["decision"]: max(p.values()), "HOLD": min(p.values())}
            rest = 1 - one["probabilities"][one["decision"]] - one["probabilities"]["HOLD"]
            other = "SELL" if one["decision"] == "BUY" else "BUY"
            one["probabilities"][other] = rest
        return one
    other_future, _ = bench.backtest("poisoned", **enforce, signals_file=str(rewritten(bench, "poison", poisoned)))
    before = lambda trades: [t["open_date"] for t in trades if pandas.Timestamp(t["open_date"]) <= until]
    check("another future leaves the entries before it alone",
          before(other_future) == before(kept) and len(before(kept)) > 0 and key(other_future) != key(kept),
          f"{len(before(kept))} entries before")
    absent = rewritten(bench, "absent", lambda one: None if one["role"] == "champion" and datetime.fromisoformat(
        one["available_at"]) > until else one)
    refused, _ = bench.backtest("absent", **enforce, signals_file=str(absent))
    check("without signals entries are refused where that is asked for",
          opens(refused) == [t for t in opens(refused) if t <= until + 2 * hour] and before(refused) == before(kept))

    payoff = {"payoff": 3.0, "stake": "kelly", "evidence": 60, "full_at": 0.2}
    sized, _ = bench.backtest("kelly", **(enforce | payoff | {"minimum_probability": 0.0}))
    by_time = {pandas.Timestamp(one["available_at"]): one for one in served}
    apart = max(abs(trade["stake_amount"] - 100 * share(by_time[opened], payoff))
                for trade, opened in zip(sized, opens(sized)))
    check("stakes are scaled by half Kelly at the lower bound", sized and apart < 0.5,
          f"{min(t['stake_amount'] for t in sized):.2f} to {max(t['stake_amount'] for t in sized):.2f} USD")
    code, text = bench.backtest("no-file", fails=True, signals_file=None)
    check("a backtest without signals is refused in words", code != 0 and "signals_file" in text)
    code, text = bench.backtest("typo", fails=True, mod="enforce")
    check("a mistyped setting is refused in words", code != 0 and "unknown setting `mod`" in text)
    for name, file in (("signals", bench.root / "signals.jsonl"), ("leak", leak)):
        lookahead(bench, name, file, enforce)


def share(one, settings):
    """The sizing rule again, with the normal quantile of the standard library."""
    p, n, z = one["probabilities"]["BUY"], settings["evidence"], statistics.NormalDist().inv_cdf(0.9)
    low = (p + z * z / 2 / n - z * (p * (1 - p) / n + z * z / 4 / n / n) ** 0.5) / (1 + z * z / n)
    return min(1.0, max(0.0, (low - (1 - low) / settings["payoff"]) / 2 / settings["full_at"]))


def milliseconds(stamp):
    return round(stamp.timestamp() * 1000)


def lookahead(bench, name, file, section):
    """freqtrade's own analysis. It finds no bias in a file from the future either: it cuts candles."""
    config = bench.write_config(f"lookahead-{name}", section | {"signals_file": str(file)})
    out = bench.root / f"lookahead-{name}.csv"
    code, text = bench.freqtrade(
        "lookahead-analysis", "-c", config, "--userdir", "user", "--datadir", "candles", "--strategy", "ForetuneExample",
        "--timerange", f"{FROM.replace('-', '')}-{TO.replace('-', '')}", "--minimum-trade-amount", 5,
        "--targeted-trade-amount", 10, "--lookahead-analysis-exportfilename", out)
    row = pandas.read_csv(out).to_dict("records")[0] if out.exists() else {"told": text[-2000:]}
    row.pop("filename", None)
    clean = code == 0 and row.get("has_bias") in (False, "False", "No") and row.get("total_signals", 0) >= 5
    check(f"freqtrade's look-ahead analysis runs on {name}" + (
        " and finds no bias" if name == "signals" else ", which know the future, and does not see it"), clean, row)


# The running bot


def shifted(candles):
    """Returns the candles so that one is open at present, with a day to go."""
    now = int(time.time() * 1000)
    rows = candles.tail(1200)
    shift = now // HOUR * HOUR - milliseconds(rows["date"].iloc[-25])
    return [(milliseconds(row.date) + shift, row.open, row.high, row.low, row.close, row.volume)
            for row in rows.itertuples()]


class Service:
    """`foretune shadow` at work on the local exchange."""

    def __init__(self, bench, url):
        (bench.root / "token").write_text("a token of enough letters\n")
        (bench.root / "wrong").write_text("another one of enough letters\n")
        self.process = subprocess.Popen(
            [bench.binary, "shadow", "--champion", "runs/a", "--challenger", "base", "--binance", url,
             "--instrument", PAIR, "--log", "live", "--late-after", "3600", "--listen", "127.0.0.1:0",
             "--token-file", "token", "--warm-up-bars", "1000", *FEW],
            cwd=bench.root, env=bench.environment, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        self.said = []
        for line in self.process.stderr:
            self.said.append(line.rstrip())
            if "listening on" in line:
                self.url = line.split()[-1]
            if "instants decided" in line:
                break
        if not hasattr(self, "url"):
            sys.exit("\n".join(self.said))

    def signal(self, number):
        os.kill(self.process.pid, number)


def bot(bench, name, rounds=1, **section):
    """Runs freqtrade's bot dry, in memory, and returns its open trades, records and times."""
    from freqtrade.configuration import Configuration
    from freqtrade.enums import RunMode
    from freqtrade.freqtradebot import FreqtradeBot
    from freqtrade.persistence import Trade

    record = bench.root / f"bot-{name}.jsonl"
    path = bench.write_config(f"bot-{name}", section | {"record_file": str(record)})
    config = Configuration({"config": [str(path)], "user_data_dir": str(bench.root / "user"), "strategy": "Always",
                            "db_url": "sqlite://"}, RunMode.DRY_RUN).get_config()
    running = FreqtradeBot(config)
    strategy = running.strategy
    took = {"bot_loop_start": [], "custom_stake_amount": [], "confirm_trade_entry": []}
    for name, times in took.items():
        setattr(strategy, name, watched(getattr(strategy, name), times))
    running.startup()
    for _ in range(rounds):
        running.process()
    trades = len(Trade.get_open_trades())
    trouble = strategy.foretune().poller.trouble
    running.cleanup()
    entering = took["custom_stake_amount"] + took["confirm_trade_entry"]
    return {"trades": trades, "records": lines(record) if record.exists() else [], "trouble": trouble,
            "poll_seconds": max(seconds for seconds, _ in took["bot_loop_start"]),
            "entry_seconds": max(seconds for seconds, _ in entering),
            "entry_connections": sum(connections for _, connections in entering)}


CONNECTIONS = []
sys.addaudithook(lambda event, _: CONNECTIONS.append(event) if event == "socket.connect" else None)


def watched(function, calls):
    """Returns the function, noting of each call the seconds and the connections opened within."""
    def run(*arguments, **named):
        began, before = time.perf_counter(), len(CONNECTIONS)
        try:
            return function(*arguments, **named)
        finally:
            calls.append((time.perf_counter() - began, len(CONNECTIONS) - before))
    return run


def live(bench, exchange):
    """The dry-run bot beside the service: both modes, wrong token, old signals, service hung and down."""
    service = Service(bench, exchange.url)
    common = {"url": service.url, "token_file": str(bench.root / "token"), "timeout": 2.0}
    found = bot(bench, "shadow", **common)
    record = found["records"][0]
    decision = record["signal"]["decision"]
    check("dry, shadow: the entry is made, the verdict recorded", found["trades"] == 1 and not record["vetoed"],
          f"the service says {record['reason']}")
    for hold in ("refuse", "allow"):
        found = bot(bench, f"enforce-{hold}", mode="enforce", unavailable="refuse", hold=hold, **common)
        wanted = decision == "BUY" or (decision == "HOLD" and hold == "allow")
        check(f"dry, enforce, hold = {hold}: the served {decision} decides", found["trades"] == int(wanted))
    found = bot(bench, "threshold", mode="enforce", unavailable="allow", hold="allow", minimum_probability=0.999, **common)
    check("dry, enforce: a probability too small is refused",
          found["trades"] == int(decision == "HOLD"), found["records"][0]["reason"])

    def unusable(name, why, **section):
        for unavailable, trades in (("allow", 1), ("refuse", 0)):
            found = bot(bench, f"{name}-{unavailable}", mode="enforce", **(common | section), unavailable=unavailable)
            reason = found["records"][0]["reason"]
            told = found["trouble"] or reason
            check(f"dry, enforce, {name}: entries are {'allowed' if trades else 'refused'} as set",
                  found["trades"] == trades and why in told and found["records"][0]["signal"] is None,
                  {"told": told, "poll_seconds": round(found["poll_seconds"], 3),
                   "entry_seconds": round(found["entry_seconds"], 4)})
            check(f"dry, {name}, {unavailable}: entering asks nobody, polling ends in time",
                  found["entry_connections"] == 0 and found["poll_seconds"] < 2.5 * common["timeout"])

    unusable("wrong token", "401", token_file=str(bench.root / "wrong"))
    unusable("old signal", "older than", max_age=0.001)
    unusable("unknown pair", "there is no signal", instruments={PAIR: "ETH/USD"})
    service.signal(signal.SIGSTOP)
    try:
        unusable("service hung", "timed out")
    finally:
        service.signal(signal.SIGCONT)
    service.signal(signal.SIGINT)
    service.process.wait(timeout=120)
    unusable("service down", "refused")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--foretune", required=True, help="the binary")
    parser.add_argument("--model", help="a base model instead of the tiny random one")
    parser.add_argument("--only", choices=("backtest", "live"))
    parser.add_argument("--work", type=Path, help="keep the working folder here; what it holds is used again")
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    arguments = parser.parse_args()
    scratch = tempfile.TemporaryDirectory() if arguments.work is None else None
    root = Path(arguments.work or scratch.name).resolve()
    root.mkdir(parents=True, exist_ok=True)
    for name in ("candles", "user", "results", "live"):
        shutil.rmtree(root / name, ignore_errors=True)
    for old in [*root.glob("*.record.jsonl"), *root.glob("bot-*"), *root.glob("lookahead-*")]:
        old.unlink()
    bench = Bench(arguments, root)
    if not (root / "delayed.jsonl").exists():
        bench.prepare()
    exchange = Exchange(shifted(bench.candles))
    bench.set_up(exchange.url)
    if arguments.only != "live":
        backtests(bench)
    if arguments.only != "backtest":
        live(bench, exchange)
    document = {
        "versions": {name: importlib.metadata.version(name) for name in ("freqtrade", "ccxt", "pandas")},
        "python": platform.python_version(), "host": f"{platform.machine()}, {os.cpu_count()} cores",
        "model": arguments.model or "random Llama, 2 layers, 32 wide", "checks": CHECKS,
        "all_hold": all(one["holds"] for one in CHECKS.values()),
    }
    text = json.dumps(document)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    print(text)
    sys.exit(not document["all_hold"])


if __name__ == "__main__":
    main()
