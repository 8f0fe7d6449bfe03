"""A stand-in for an exchange's klines, on this machine alone.

Used by `dashboard.py`. Its candles are made up: hourly, several instruments with a common part,
calm and wild stretches. The last of them can be held back and let go, so that bars come when the
caller wants them to. It can also be told to answer as exchanges do on bad days.
"""

import http.server
import json
import math
import random
import threading
import time
import urllib.parse

HOUR = 3_600_000
MOST = 1000


def walk(symbols, hours, end, seed):
    """Returns hourly klines up to `end` by symbol: time, open, high, low, close, volume."""
    chance = random.Random(seed)
    price = {symbol: 30_000.0 / (1 + 9 * place) for place, symbol in enumerate(symbols)}
    klines = {symbol: [] for symbol in symbols}
    wild, drift = 0.004, 0.0
    for hour in range(hours):
        if chance.random() < 0.02:
            wild, drift = chance.choice([0.002, 0.004, 0.011]), chance.choice([-0.001, 0.0, 0.001])
        common = chance.gauss(drift, wild)
        for symbol in symbols:
            first = price[symbol]
            last = first * math.exp(common + chance.gauss(0.0, wild / 3))
            high = max(first, last) * (1 + abs(chance.gauss(0.0, wild / 3)))
            low = min(first, last) * (1 - abs(chance.gauss(0.0, wild / 3)))
            time_ = end - (hours - hour) * HOUR
            volume = chance.uniform(50, 500)
            klines[symbol].append((time_, first, high, low, last, volume))
            price[symbol] = last
    return klines


class Exchange:
    """Answers `/api/v3/time` and `/api/v3/klines` on a port of the loopback."""

    def __init__(self, symbols, hours=2600, seed=7):
        now = int(time.time() * 1000)
        self.end = now // HOUR * HOUR
        self.held = 0
        self.bad = None
        self.klines = walk(symbols, hours, self.end, seed)
        exchange = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                exchange.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, request):
        if self.bad:
            status, text = self.bad
            return send(request, status, text)
        asked = urllib.parse.urlparse(request.path)
        if asked.path == "/api/v3/time":
            return send(request, 200, json.dumps({"serverTime": int(time.time() * 1000)}))
        values = dict(urllib.parse.parse_qsl(asked.query))
        found = self.klines.get(values.get("symbol"))
        if asked.path != "/api/v3/klines" or found is None:
            return send(request, 400, '{"code":-1121,"msg":"Invalid symbol."}')
        start, last = int(values["startTime"]), self.end - self.held * HOUR
        rows = [
            [time_, *(f"{x:.4f}" for x in numbers), time_ + HOUR - 1, "0", 1, "0", "0", "0"]
            for time_, *numbers in found
            if start <= time_ < last
        ]
        send(request, 200, json.dumps(rows[:MOST]))

    def close(self):
        self.server.shutdown()


def send(request, status, text):
    """Answers with a status and a text."""
    body = text.encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
