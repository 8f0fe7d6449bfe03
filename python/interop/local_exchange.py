"""A local exchange that answers as Binance's public interface does, from given candles.

One spot market, BTC/USD. Enough for freqtrade (through ccxt) to backtest and to trade dry, and for
`foretune shadow --binance`, without a network: exchange information, time, klines, book and ticker.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HOUR = 3_600_000
MARKET = {
    "symbol": "BTCUSD", "status": "TRADING", "baseAsset": "BTC", "baseAssetPrecision": 8, "quoteAsset": "USD",
    "quotePrecision": 8, "quoteAssetPrecision": 8, "orderTypes": ["LIMIT", "MARKET"],
    "isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissions": ["SPOT"],
    "permissionSets": [["SPOT"]],
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00", "tickSize": "0.01"},
        {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000.0", "stepSize": "0.00001"},
        {"filterType": "NOTIONAL", "minNotional": "5.0", "applyMinToMarket": True, "maxNotional": "9000000.0",
         "applyMaxToMarket": False, "avgPriceMins": 5},
    ],
}


class Exchange(ThreadingHTTPServer):
    """Serves `candles`, rows of (open time in ms, open, high, low, close, volume), up to the present."""

    daemon_threads = True

    def __init__(self, candles):
        super().__init__(("127.0.0.1", 0), Answers)
        self.candles = candles
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path, query):
        """Returns status and value."""
        now = int(time.time() * 1000)
        known = [row for row in self.candles if row[0] <= now]
        last = known[-1][4] if known else 1.0
        name = path.removeprefix("/api/v3/")
        if name == "exchangeInfo":
            return 200, {"timezone": "UTC", "serverTime": now, "rateLimits": [], "exchangeFilters": [],
                         "symbols": [MARKET]}
        if name == "time":
            return 200, {"serverTime": now}
        if name == "klines":
            return 200, klines(known, query)
        if name == "depth":
            side = lambda step: [[f"{last + step * 0.01 * level:.2f}", "5.0"] for level in range(1, 21)]
            return 200, {"lastUpdateId": now, "bids": side(-1), "asks": side(1)}
        if name in ("ticker/bookTicker", "ticker/24hr"):
            ticker = {"symbol": "BTCUSD", "bidPrice": f"{last - 0.01:.2f}", "bidQty": "5", "lastPrice": f"{last:.2f}",
                      "askPrice": f"{last + 0.01:.2f}", "askQty": "5", "closeTime": now}
            return 200, ticker if "symbol" in query else [ticker]
        return 404, {"code": -1, "msg": f"{path} is not answered here"}


def klines(known, query):
    number = lambda name, default: int(query.get(name, [default])[0])
    first, last = number("startTime", 0), number("endTime", 1 << 62)
    limit = number("limit", 500)
    rows = [row for row in known if first <= row[0] <= last]
    rows = rows[:limit] if "startTime" in query else rows[-limit:]
    return [[row[0], *(f"{value:.8f}" for value in row[1:]), row[0] + HOUR - 1, "0", 1, "0", "0", "0"] for row in rows]


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = urlsplit(self.path)
        status, value = self.server.answer(parts.path, parse_qs(parts.query))
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass
