"""Tests of the mixin's rules, its file of signals and its client. Standard library alone:

    cd python/freqtrade && python3 -m unittest -v test_foretune_strategy

The real freqtrade runs in python/interop/freqtrade_backtest.py.
"""

import json
import logging
import math
import tempfile
import threading
import time
import unittest
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import foretune_strategy as foretune
from foretune_strategy import Client, ForetuneMixin, Poller, Settings, Signal, SignalBook, Unanswered

HOUR = 3_600_000
START = datetime(2024, 3, 1, tzinfo=timezone.utc)
OPENAPI = Path(__file__).parents[2] / "crates/serve/src/shadow/openapi.json"


def at(hours, seconds=0):
    return START + timedelta(hours=hours, seconds=seconds)


def stamp(moment):
    return moment.isoformat().replace("+00:00", "Z")


def line(hour, decision="BUY", **more):
    """A line of the file: what was decided when the candle of `hour - 1` to `hour` closed."""
    shares = {name: 0.25 for name in foretune.CLASSES} | {decision: 0.5}
    return {
        "schema": 1, "instrument": "BTC/USDT", "timeframe": "1h", "decision_time": stamp(at(hour)),
        "decided_at": stamp(at(hour)), "available_at": stamp(at(hour)),
        "valid_until": stamp(at(hour + 1, 300)), "late": False, "arm": "a", "role": "champion",
        "decision": decision, "probabilities": shares, "id": f"BTC/USDT@1h@{stamp(at(hour))}",
    } | more


def signal(hour, decision="BUY", **more):
    return Signal.of(line(hour, decision, **more))


def settings(**section):
    return Settings.of({}, section)


def milliseconds(hours, seconds=0):
    return foretune.milliseconds(at(hours, seconds))


class Base:
    """What a strategy of freqtrade has of its own, as far as the mixin calls it."""

    timeframe, dp = "1h", None

    def __init__(self, config):
        self.config, self.polled = config, 0

    def bot_start(self, **kwargs):
        pass

    def bot_loop_start(self, current_time, **kwargs):
        self.polled += 1

    def confirm_trade_entry(self, **kwargs):
        return kwargs["rate"] < 1000

    def custom_stake_amount(self, **kwargs):
        return kwargs["proposed_stake"]


class Strategy(ForetuneMixin, Base):
    foretune_hold = "allow"


class SettingsTest(unittest.TestCase):
    def test_the_configuration_goes_over_attributes(self):
        found = Settings.of({"mode": "enforce", "hold": "allow"}, {"hold": "refuse"})
        self.assertEqual((found.mode, found.hold, found.unavailable), ("enforce", "refuse", "allow"))

    def test_what_cannot_be_meant_is_refused_by_name(self):
        for section, name in [
            ({"mod": "enforce"}, "unknown setting `mod`"), ({"mode": "veto"}, "`mode`"),
            ({"timeout": 0}, "`timeout`"), ({"timeout": "2"}, "`timeout`"), ({"url": "localhost:8787"}, "`url`"),
            ({"confidence": 0.5}, "`confidence`"), ({"max_age": -1}, "`max_age`"), ({"hold": True}, "`hold`"),
            ({"instruments": ["BTC/USD"]}, "`instruments`"), ([], "no object"),
        ]:
            with self.assertRaisesRegex(ValueError, name):
                Settings.of({}, section)

    def test_pairs_have_foretunes_names(self):
        found = settings(instruments={"ETH/USDT": "ETH/USD"})
        names = [found.instrument(pair) for pair in ("BTC/USDT", "BTC/USDT:USDT", "ETH/USDT")]
        self.assertEqual(names, ["BTC/USDT", "BTC/USDT", "ETH/USD"])


class SignalTest(unittest.TestCase):
    def test_odd_fields_are_named(self):
        for more, name in [
            ({"decision": "MAYBE"}, "`decision`"), ({"late": 0}, "`late`"),
            ({"probabilities": {"BUY": 0.9, "SELL": 0.9, "HOLD": 0.1}}, "`probabilities`"),
            ({"probabilities": {"BUY": math.nan, "SELL": 0.5, "HOLD": 0.5}}, "`probabilities`"),
            ({"timeframe": "1y"}, "1y"), ({"valid_until": "2024-03-01T00:00:00"}, "no time zone"),
            ({"probabilities": {"BUY": 1.0}}, "SELL"), ({"probabilities": None}, "not a signal"),
        ]:
            with self.assertRaisesRegex(ValueError, name):
                signal(1, **more)
        with self.assertRaisesRegex(ValueError, "valid_until"):
            Signal.of({key: value for key, value in line(1).items() if key != "valid_until"})

    def test_the_service_describes_every_field_that_is_read(self):
        described = json.loads(OPENAPI.read_text())["components"]["schemas"]["Signal"]["properties"]
        served = {key for key in line(1) if key not in ("schema", "available_at", "role")}
        self.assertLessEqual(served, set(described))


class AsOfTest(unittest.TestCase):
    def book(self, *signals):
        book = SignalBook()
        for one in signals:
            book.add(one)
        return book

    def test_no_signal_is_seen_before_it_is_available(self):
        delayed = signal(2, "SELL", available_at=stamp(at(2, 1)))
        book = self.book(signal(1), delayed)
        seen = lambda hours, seconds=0: book.as_of("BTC/USDT", milliseconds(hours, seconds))
        self.assertIsNone(seen(0, 3599))
        self.assertEqual(seen(1).decision, "BUY")
        # One second too late for the candle that closes at 2.
        self.assertEqual(seen(2).decision, "BUY")
        self.assertEqual(seen(2, 1).decision, "SELL")
        self.assertIsNone(book.as_of("ETH/USDT", milliseconds(9)))

    def test_late_and_superseded_signals_are_not_shown(self):
        late = signal(3, "SELL", late=True, available_at=stamp(at(9)))
        earlier_bar = signal(1, "HOLD", available_at=stamp(at(2, 5)))
        book = self.book(signal(2), earlier_bar, late)
        self.assertEqual(book.as_of("BTC/USDT", milliseconds(10)).decision, "BUY")
        self.assertEqual(book.late, 1)

    def test_joined_rows_have_what_was_known_when_their_candle_closed(self):
        with tempfile.TemporaryDirectory() as folder:
            def decisions(shift):
                lines = [line(hour, ("BUY", "SELL", "HOLD")[hour % 3]) for hour in range(1, 7)]
                for one in lines:
                    moved = datetime.fromisoformat(one["available_at"]) + timedelta(hours=shift)
                    one["available_at"] = stamp(moved)
                    one["decision_time"] = stamp(datetime.fromisoformat(one["decision_time"]) + timedelta(hours=min(shift, 0)))
                path = Path(folder) / "signals.jsonl"
                path.write_text("".join(json.dumps(one) + "\n" for one in lines))
                strategy = Strategy({"runmode": "backtest", "foretune": {"signals_file": str(path)}})
                frame = {"date": [at(hour) for hour in range(8)]}
                return strategy.foretune_join(frame, "BTC/USDT:USDT")["foretune_decision"]

            # The candle that opens at 0 closes at 1, when the first signal came. The last one counts
            # until it is stale, five minutes after the next bar.
            self.assertEqual(decisions(0), ["SELL", "HOLD", "BUY", "SELL", "HOLD", "BUY", "BUY", "-"])
            # A signal one candle earlier would change every row: a leak does not go unnoticed.
            self.assertEqual(decisions(-1)[:5], ["HOLD", "BUY", "SELL", "HOLD", "BUY"])
            self.assertEqual(decisions(1), ["-", "SELL", "HOLD", "BUY", "SELL", "HOLD", "BUY", "-"])


class FileTest(unittest.TestCase):
    def read(self, lines, **section):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "signals.jsonl"
            path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines))
            return SignalBook.of_file(settings(signals_file=str(path), **section))

    def test_the_champions_signals_are_used_or_a_named_arms(self):
        lines = [line(1), line(1, "SELL", arm="b", role="challenger"), line(2, arm="b"),
                 line(2, "SELL", role="challenger")]
        self.assertEqual([s.arm for s in self.read(lines).signals("BTC/USDT")], ["a", "b"])
        named = self.read(lines, arm="b").signals("BTC/USDT")
        self.assertEqual([s.decision for s in named], ["SELL", "BUY"])
        with self.assertRaisesRegex(ValueError, "no signal of c; arms there: a, b"):
            self.read(lines, arm="c")

    def test_odd_lines_are_placed(self):
        for odd, why in [
            ("nonsense", "line 2"), ("[]", "line 2: schema 1"), (line(2, schema=2), "line 2: schema 1"),
            (line(2, available_at=stamp(at(1, 3599))), "line 2: available before its bar closed"),
            (line(2, decision="?"), "line 2: `decision`"),
        ]:
            with self.assertRaisesRegex(ValueError, why):
                self.read([line(1), odd])

    def test_a_backtest_without_a_file_is_told_so(self):
        with self.assertRaisesRegex(ValueError, "signals_file"):
            Strategy({"runmode": "backtest"}).bot_start()


class JudgeTest(unittest.TestCase):
    def judge(self, one, side="long", now=(1, 5), **section):
        return foretune.judge(one, side, milliseconds(*now), settings(**section))

    def test_the_side_must_be_the_decisions(self):
        for side, decision, allow in [("long", "BUY", True), ("long", "SELL", False), ("short", "SELL", True),
                                      ("short", "BUY", False), ("long", "HOLD", False)]:
            self.assertEqual(self.judge(signal(1, decision), side).allow, allow, (side, decision))
        self.assertTrue(self.judge(signal(1, "HOLD"), hold="allow").allow)
        self.assertFalse(self.judge(signal(1), minimum_probability=0.51).allow)
        self.assertTrue(self.judge(signal(1), minimum_probability=0.5).allow)

    def test_a_signal_that_cannot_be_used_is_none(self):
        for one, now, section, why in [
            (None, (1, 0), {}, "no signal"), (signal(1), (0, 3599), {}, "not available yet"),
            (signal(1, late=True), (1, 5), {}, "too late"), (signal(1), (2, 301), {}, "stale"),
            (signal(1), (1, 601), {"max_age": 600}, "older"),
        ]:
            for unavailable in ("allow", "refuse"):
                verdict = self.judge(one, now=now, unavailable=unavailable, **section)
                self.assertEqual((verdict.allow, verdict.signal), (unavailable == "allow", None), why)
                self.assertIn(why, verdict.reason)
        self.assertEqual(self.judge(signal(1), now=(2, 300)).reason, "BUY at 0.500")

    def test_the_stake_grows_with_what_is_certain(self):
        # statsmodels 0.15.0: proportion_confint(60, 100, alpha=0.2, method="wilson")[0]. Both round
        # doubles, and the quantile is exact to 1e-15.
        bound = 0.5360895561529885
        self.assertAlmostEqual(foretune.lower_bound(0.6, 100, 0.9), bound, delta=1e-12)
        kelly = settings(stake="kelly", full_at=0.05)
        self.assertAlmostEqual(foretune.stake_share(0.6, kelly), (2 * bound - 1) / 2 / 0.05)
        shares = [foretune.stake_share(p / 100, kelly) for p in range(101)]
        self.assertEqual(shares, sorted(shares))
        self.assertEqual((shares[50], shares[100]), (0.0, 1.0))
        more = settings(stake="kelly", evidence=10_000)
        self.assertGreater(foretune.stake_share(0.55, more), foretune.stake_share(0.55, kelly))
        self.assertEqual(foretune.stake_share(0.01, settings()), 1.0)


class MixinTest(unittest.TestCase):
    def strategy(self, folder, **section):
        path = Path(folder) / "signals.jsonl"
        path.write_text("".join(json.dumps(line(hour, ("BUY", "SELL")[hour % 2])) + "\n" for hour in range(1, 5)))
        section = {"signals_file": str(path), "record_file": str(Path(folder) / "record.jsonl")} | section
        return Strategy({"runmode": "backtest", "foretune": section})

    def enter(self, strategy, hour, rate=100.0):
        return strategy.confirm_trade_entry("BTC/USDT", "limit", 1.0, rate, "GTC", at(hour), None, "long")

    def stake(self, strategy, hour):
        return strategy.custom_stake_amount("BTC/USDT", at(hour), 100.0, 50.0, 10.0, 1000.0, 3.0, None, "long")

    def records(self, folder):
        return [json.loads(one) for one in (Path(folder) / "record.jsonl").read_text().splitlines()]

    def test_shadow_mode_changes_nothing_and_records_what_it_would_do(self):
        with tempfile.TemporaryDirectory() as folder:
            strategy = self.strategy(folder, stake="kelly")
            strategy.bot_start()
            strategy.bot_loop_start(at(1))
            self.assertEqual([self.enter(strategy, hour) for hour in (1, 2)], [True, True])
            self.assertEqual([self.stake(strategy, hour) for hour in (1, 2)], [50.0, 50.0])
            # The strategy's own word counts as before.
            self.assertFalse(self.enter(strategy, 2, rate=2000.0))
            found = self.records(folder)
            self.assertEqual([(one["allow"], one["vetoed"]) for one in found],
                             [(False, False), (False, False), (False, False)])
            self.assertEqual([one["reason"] for one in found][0], "SELL")
            self.assertEqual(strategy.polled, 1)

    def test_enforce_mode_refuses_and_scales(self):
        with tempfile.TemporaryDirectory() as folder:
            strategy = self.strategy(folder, mode="enforce")
            self.assertEqual([self.enter(strategy, hour) for hour in (1, 2, 3, 4)], [False, True, False, True])
            self.assertFalse(self.enter(strategy, 2, rate=2000.0))
            self.assertEqual(self.stake(strategy, 2), 50.0)
            self.assertEqual([one["vetoed"] for one in self.records(folder)], [True, False, True, False, False])
            # BUY at a half pays only with gains larger than losses.
            kelly = self.strategy(folder, mode="enforce", stake="kelly")
            self.assertEqual(self.stake(kelly, 2), 0.0)
            kelly = self.strategy(folder, mode="enforce", stake="kelly", payoff=1.5, full_at=0.2)
            self.assertTrue(0 < self.stake(kelly, 2) < 50)

    def test_what_cannot_be_judged_follows_the_setting(self):
        with tempfile.TemporaryDirectory() as folder:
            for unavailable, allowed in (("allow", True), ("refuse", False)):
                strategy = self.strategy(folder, mode="enforce", unavailable=unavailable)
                self.assertEqual(self.enter(strategy, 0), allowed)
                self.assertEqual(self.enter(strategy, 9), allowed)
                # A time without a zone is an error, which freqtrade would take for a yes.
                logging.disable(logging.ERROR)
                naive = strategy.confirm_trade_entry("BTC/USDT", "limit", 1.0, 1.0, "GTC", datetime(2024, 3, 1), None, "long")
                logging.disable(logging.NOTSET)
                self.assertEqual(naive, allowed)

    def test_a_record_that_cannot_be_written_stops_no_trade(self):
        with tempfile.TemporaryDirectory() as folder:
            strategy = self.strategy(folder, record_file=folder)
            with self.assertLogs("foretune_strategy", "WARNING"):
                self.assertTrue(self.enter(strategy, 1))


class Answers(BaseHTTPRequestHandler):
    """Answers as the test's server says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        status, body, pause = self.server.answer(self.path)
        time.sleep(pause)
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, *arguments):
        pass


class ServiceTest(unittest.TestCase):
    def setUp(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.server.daemon_threads = True
        self.server.asked = []
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        logging.disable(logging.WARNING)
        self.addCleanup(logging.disable, logging.NOTSET)

    def answering(self, status, body, pause=0.0):
        self.server.answer = lambda path: (status, body, pause)

    def settings(self, **section):
        return settings(url=f"http://127.0.0.1:{self.server.server_port}", **section)

    def test_a_signal_is_asked_for_by_name_and_with_the_token(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("secret\n")
            file.flush()
            self.answering(200, line(1))
            client = Client(self.settings(token_file=file.name))
            self.addCleanup(client.close)
            found = client.signal("BTC/USDT")
        self.assertEqual((found.decision, found.id), ("BUY", signal(1).id))
        self.assertEqual(self.server.asked, [("/v1/signal/BTC%2FUSDT", "Bearer secret")])

    def test_what_is_no_answer_is_told(self):
        client = Client(self.settings(timeout=1.0))
        self.addCleanup(client.close)
        self.answering(404, {"error": "no such instrument"})
        self.assertIsNone(client.signal("BTC/USDT"))
        for status, body, pause, why, lasting in [
            (401, {"error": "the token is wrong"}, 0, "status 401: .*token is wrong", True),
            (429, {"error": "slowly"}, 0, "status 429", False), (200, b"<html>", 0, "Expecting value", False),
            (200, {"decision": "BUY"}, 0, "no field", False), (200, b"[]", 0, "not a signal", False),
            (200, b" " * 70_000, 0, "more than 65536 bytes", False), (200, line(1), 1.5, "timed out", False),
        ]:
            self.answering(status, body, pause)
            with self.assertRaisesRegex(Unanswered, why) as caught:
                client.signal("BTC/USDT")
            self.assertEqual(caught.exception.lasting, lasting)
        self.answering(200, line(1))
        self.assertEqual(client.signal("BTC/USDT").decision, "BUY")
        self.server.shutdown()
        self.server.server_close()
        with self.assertRaises(Unanswered):
            Client(self.settings(timeout=0.2)).signal("BTC/USDT")

    def test_a_bar_is_asked_about_until_it_is_decided(self):
        poller, both = Poller(self.settings()), ["BTC/USDT", "ETH/USDT"]
        self.server.answer = lambda path: (200, line(1), 0) if "BTC" in path else (404, {}, 0)
        poller.poll(both, milliseconds(1, 2))
        self.assertEqual(len(self.server.asked), 2)
        # Known from when it was received, not from when it was decided.
        self.assertIsNone(poller.book.as_of("BTC/USDT", milliseconds(1, 1)))
        self.assertEqual(poller.book.as_of("BTC/USDT", milliseconds(1, 2)).decision, "BUY")
        # The bar has its decision and the other instrument is not known: nothing to ask for a minute.
        poller.poll(both, milliseconds(1, 30))
        self.assertEqual(len(self.server.asked), 2)
        poller.poll(both, milliseconds(1, 70))
        self.assertEqual(len(self.server.asked), 3)
        # The next bar has closed and is not decided yet: asked each time.
        for second in (1, 6, 11):
            poller.poll(["BTC/USDT"], milliseconds(2, second))
        self.assertEqual(len(self.server.asked), 6)
        self.server.answer = lambda path: (200, line(2, "SELL"), 0)
        poller.poll(["BTC/USDT"], milliseconds(2, 16))
        poller.poll(["BTC/USDT"], milliseconds(2, 21))
        self.assertEqual(len(self.server.asked), 7)
        self.assertEqual(poller.book.as_of("BTC/USDT", milliseconds(2, 16)).decision, "SELL")
        self.assertEqual(poller.book.as_of("BTC/USDT", milliseconds(2, 15)).decision, "BUY")

    def test_failures_end_a_round_and_a_wrong_token_rests(self):
        pairs = [f"P{number}/USDT" for number in range(20)]
        poller = Poller(self.settings(timeout=0.5))
        self.answering(200, line(1), 2.0)
        began = time.monotonic()
        poller.poll(pairs, milliseconds(1))
        # All twenty would take ten seconds.
        self.assertLess(time.monotonic() - began, 5.0)
        self.assertIn("timed out", poller.trouble)
        # Slow but answering: a round ends after twice the timeout and goes on with those left.
        self.answering(200, line(1), 0.15)
        rounds = 0
        while any(poller.book.as_of(pair, milliseconds(1, 60)) is None for pair in pairs):
            poller.poll(pairs, milliseconds(1, rounds := rounds + 1))
            self.assertLess(rounds, 20)
        self.assertGreater(rounds, 1)
        self.assertIsNone(poller.trouble)
        self.answering(401, {"error": "wrong token"})
        poller.poll(pairs, milliseconds(2))
        asked = len(self.server.asked)
        self.assertIn("wrong token", poller.trouble)
        poller.poll(pairs, milliseconds(2, 59))
        self.assertEqual(len(self.server.asked), asked)
        self.assertIn("wrong token", poller.trouble)
        self.answering(200, line(2))
        poller.poll(pairs, milliseconds(2, 61))
        self.assertIsNone(poller.trouble)

    def test_a_signal_from_the_future_is_not_taken(self):
        poller = Poller(self.settings())
        self.answering(200, line(3))
        poller.poll(["BTC/USDT"], milliseconds(1))
        self.assertIn("from the future", poller.trouble)
        self.assertIsNone(poller.book.as_of("BTC/USDT", milliseconds(9)))

    def test_a_running_bot_polls_its_whitelist_and_never_asks_at_an_entry(self):
        with tempfile.TemporaryDirectory() as folder:
            section = {"url": self.settings().url, "mode": "enforce", "unavailable": "refuse"}
            strategy = Strategy({"runmode": "dry_run", "user_data_dir": folder, "foretune": section})
            strategy.dp = type("Provider", (), {"current_whitelist": lambda self: ["BTC/USDT:USDT"]})()
            self.answering(200, line(1))
            enter = lambda: strategy.confirm_trade_entry(
                "BTC/USDT:USDT", "limit", 1.0, 100.0, "GTC", at(1, 10), None, "long")
            self.assertFalse(enter())
            self.assertEqual(self.server.asked, [])
            strategy.bot_loop_start(at(1, 5))
            self.assertTrue(enter())
            self.assertEqual(len(self.server.asked), 1)
            records = (Path(folder) / "foretune_entries.jsonl").read_text().splitlines()
            self.assertEqual([json.loads(one)["allow"] for one in records], [False, True])


if __name__ == "__main__":
    unittest.main()
