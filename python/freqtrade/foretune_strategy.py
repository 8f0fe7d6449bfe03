"""foretune's decisions in a freqtrade strategy: asked for ahead, looked up when a trade is entered.

    from foretune_strategy import ForetuneMixin

    class MyStrategy(ForetuneMixin, IStrategy):
        ...

Put this file beside the strategy (`user_data/strategies`); docs/freqtrade.md is the guide. A live or
dry-run bot polls `foretune shadow` once a loop, in `bot_loop_start`; `confirm_trade_entry` and
`custom_stake_amount` never touch the network. Every other mode (backtesting, hyperopt, plotting, the
look-ahead analysis) reads the file of `foretune export signals`. In shadow mode, the default, nothing
changes but a record of what would have happened. Only the standard library is needed, so that the
rules below can be tested without freqtrade. Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

import bisect
import http.client
import json
import logging
import math
import time
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

logger = logging.getLogger(__name__)

CLASSES = ("BUY", "SELL", "HOLD")
# What freqtrade calls the direction of an entry, and the decision that asks for it.
WANTED = {"long": "BUY", "short": "SELL"}
# Clocks of bot and service may differ so much, as for foretune itself.
CLOCK_TOLERANCE = 5 * 60_000
# The longest answer or line that is read, bytes.
LONGEST = 65_536
# An instrument that the service does not know, or a token it refuses, is tried again after so long.
PATIENCE = 60_000
UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


@dataclass(frozen=True)
class Settings:
    """What the mixin does. A strategy sets `foretune_mode = "enforce"` and so on as class attributes;
    the section `foretune` of freqtrade's configuration goes over them."""

    # "shadow": entries are never touched, what would have happened is recorded. "enforce": vetoes.
    mode: str = "shadow"
    # Where `foretune shadow` listens, and the file with its bearer token.
    url: str = "http://127.0.0.1:8787"
    token_file: str | None = None
    # What `foretune export signals` wrote, for backtests, and whose decisions of it: an arm's name, or
    # None for those of whoever was champion, which is what the service serves.
    signals_file: str | None = None
    arm: str | None = None
    # Seconds after its bar's close for which a signal is used; None: as long as it says itself.
    max_age: float | None = None
    # Seconds a request may take; a round of polling takes at most twice that.
    timeout: float = 2.0
    # What happens to an entry when there is no usable signal: "allow" or "refuse".
    unavailable: str = "allow"
    # What HOLD means for an entry: "refuse" or "allow".
    hold: str = "refuse"
    # Least probability of the decision for an entry it agrees with.
    minimum_probability: float = 0.0
    # Use decisions that were made too late to act on. For experiments only.
    use_late: bool = False
    # "plain": the stake is freqtrade's. "kelly": see `stake_share`.
    stake: str = "plain"
    # Mean gain of a right decision over mean loss of a wrong one, both after costs.
    payoff: float = 1.0
    # Independent outcomes that the calibration rests on; the fewer, the smaller the stake.
    evidence: int = 100
    # One-sided level of the lower bound, and the half-Kelly fraction at which the stake is whole.
    confidence: float = 0.9
    full_at: float = 0.05
    # Names that differ between bot and foretune, such as {"BTC/USDT": "BTC/USD"}.
    instruments: dict | None = None
    # JSON lines of every entry looked at. None: foretune_entries.jsonl in the user directory when live
    # or dry, nothing else.
    record_file: str | None = None

    @classmethod
    def of(cls, attributes, section):
        """Returns the settings of a strategy's attributes with a configuration section over them."""
        known = {field.name: field for field in fields(cls)}
        if not isinstance(section, dict):
            raise ValueError("foretune: the section `foretune` of the configuration is no object")
        unknown = sorted(set(section) - set(known))
        if unknown:
            raise ValueError(f"foretune: unknown setting `{unknown[0]}`, expected one of {', '.join(known)}")
        found = cls(**{**attributes, **section})
        found._check()
        return found

    def _check(self):
        def one_of(name, *allowed):
            if getattr(self, name) not in allowed:
                raise ValueError(f"foretune: `{name}` is {getattr(self, name)!r}, expected one of {allowed}")

        def within(name, low, high, optional=False):
            value = getattr(self, name)
            if optional and value is None:
                return
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and low < value <= high):
                raise ValueError(f"foretune: `{name}` is {value!r}, expected above {low}, at most {high}")

        one_of("mode", "shadow", "enforce")
        one_of("unavailable", "allow", "refuse")
        one_of("hold", "allow", "refuse")
        one_of("stake", "plain", "kelly")
        one_of("use_late", True, False)
        if not isinstance(self.instruments, (dict, type(None))):
            raise ValueError('foretune: `instruments` is no object such as {"BTC/USDT": "BTC/USD"}')
        within("max_age", 0, 1e7, optional=True)
        within("timeout", 0, 60)
        within("minimum_probability", -1e-9, 1)
        within("payoff", 0, 1e3)
        within("evidence", 0, 1e7)
        within("confidence", 0.5, 0.9999)
        within("full_at", 0, 0.5)
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise ValueError(f"foretune: `url` is {self.url!r}, expected such as http://127.0.0.1:8787")

    def instrument(self, pair):
        """Returns foretune's name of a pair: freqtrade's without the settlement currency."""
        named = (self.instruments or {}).get(pair)
        return named or pair.split(":")[0]


# Signals


@dataclass(frozen=True)
class Signal:
    """One decision, as the service serves it or the file holds it."""

    instrument: str
    timeframe: int
    decision: str
    probabilities: dict
    decision_time: int
    available_at: int
    valid_until: int
    late: bool
    arm: str
    role: str
    id: str

    @classmethod
    def of(cls, values):
        """Reads an object; raises ValueError naming the field that is missing or odd."""
        try:
            decision_time = milliseconds(values["decision_time"])
            signal = cls(
                instrument=str(values["instrument"]), timeframe=span(values["timeframe"]),
                decision=values["decision"],
                probabilities={name: float(values["probabilities"][name]) for name in CLASSES},
                decision_time=decision_time,
                available_at=milliseconds(values.get("available_at") or values["decided_at"]),
                valid_until=milliseconds(values["valid_until"]), late=values["late"],
                arm=str(values["arm"]), role=str(values.get("role", "champion")), id=str(values["id"]),
            )
        except KeyError as missing:
            raise ValueError(f"no field {missing}") from None
        except (TypeError, AttributeError) as odd:
            raise ValueError(f"not a signal: {odd}") from None
        if signal.decision not in CLASSES:
            raise ValueError(f"`decision` is {signal.decision!r}, expected one of {CLASSES}")
        if signal.late is not True and signal.late is not False:
            raise ValueError(f"`late` is {signal.late!r}, expected true or false")
        shares = signal.probabilities.values()
        if not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-3:
            raise ValueError(f"`probabilities` are {signal.probabilities}, expected to sum to 1")
        return signal


def milliseconds(stamp):
    """Returns a time of RFC 3339, or a datetime with a time zone, in milliseconds since 1970."""
    moment = datetime.fromisoformat(stamp) if isinstance(stamp, str) else stamp
    if moment.tzinfo is None:
        raise ValueError(f"`{stamp}` has no time zone")
    return round(moment.timestamp() * 1000)


def span(timeframe):
    """Returns the length of a timeframe such as `1h`."""
    count, unit = timeframe[:-1], timeframe[-1:]
    if unit not in UNITS or not count.isdigit() or int(count) == 0:
        raise ValueError(f"timeframe `{timeframe}`, expected such as 5m, 1h, 4h, 1d")
    return int(count) * UNITS[unit]


class SignalBook:
    """Signals by instrument, in the order in which they became available."""

    def __init__(self):
        self._available = {}
        self._signals = {}
        self.late = 0

    @classmethod
    def of_file(cls, settings):
        """Reads what `foretune export signals` wrote; raises ValueError with file and line."""
        path, found, others = Path(settings.signals_file), [], set()
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    values = json.loads(line)
                    if not isinstance(values, dict) or values.get("schema") != 1:
                        raise ValueError("schema 1 is expected, as `foretune export signals` writes it")
                    signal = Signal.of(values)
                    if signal.available_at < signal.decision_time:
                        raise ValueError("available before its bar closed")
                except ValueError as error:
                    raise ValueError(f"foretune: `{path}` line {number}: {error}") from None
                wanted = signal.role == "champion" if settings.arm is None else signal.arm == settings.arm
                if wanted:
                    found.append(signal)
                else:
                    others.add(signal.arm)
        if not found:
            raise ValueError(f"foretune: `{path}` holds no signal of {settings.arm or 'a champion'}; "
                             f"arms there: {', '.join(sorted(others)) or 'none'}")
        book = cls()
        for signal in sorted(found, key=lambda signal: (signal.available_at, signal.decision_time)):
            book.add(signal, settings.use_late)
        return book

    def add(self, signal, use_late=False):
        """Takes a signal that became available after all others. One that came too late, or that is
        about an earlier bar than the last one, is not shown to anybody."""
        if signal.late and not use_late:
            self.late += 1
            return
        times = self._available.setdefault(signal.instrument, [])
        signals = self._signals.setdefault(signal.instrument, [])
        if signals and signal.decision_time <= signals[-1].decision_time:
            return
        times.append(max(signal.available_at, times[-1] if times else signal.available_at))
        signals.append(signal)

    def signals(self, instrument):
        """Returns all signals on an instrument."""
        return self._signals.get(instrument, [])

    def as_of(self, instrument, now):
        """Returns the last signal that was available at `now`, or None."""
        place = bisect.bisect_right(self._available.get(instrument, []), now)
        return self._signals[instrument][place - 1] if place else None


# Rules


@dataclass(frozen=True)
class Verdict:
    """What is to become of an entry, and why."""

    allow: bool
    reason: str
    # The signal that was used; None where none could be.
    signal: Signal | None = None
    # Share of the proposed stake.
    share: float = 1.0


def fault(signal, now, settings):
    """Returns why a signal is not to be used at `now`; None where it is."""
    if signal is None:
        return "there is no signal"
    if signal.available_at > now:
        return "the signal is not available yet"
    if signal.late and not settings.use_late:
        return "the signal was decided too late to act on"
    if now > signal.valid_until:
        return "the signal is stale"
    if settings.max_age is not None and now - signal.decision_time > settings.max_age * 1000:
        return f"the signal is older than {settings.max_age} s"
    return None


def judge(signal, side, now, settings):
    """Returns the verdict on an entry to the `side` "long" or "short" at `now`."""
    missing = fault(signal, now, settings)
    if missing is not None:
        return Verdict(settings.unavailable == "allow", missing)
    wanted = WANTED[side]
    if signal.decision == wanted:
        probability = signal.probabilities[wanted]
        if probability < settings.minimum_probability:
            return Verdict(False, f"{wanted} at {probability:.3f}, below minimum_probability", signal)
        share = stake_share(probability, settings)
        if share <= 0:
            return Verdict(False, f"{wanted} at {probability:.3f} does not pay for certain", signal, 0.0)
        return Verdict(True, f"{wanted} at {probability:.3f}", signal, share)
    if signal.decision == "HOLD":
        return Verdict(settings.hold == "allow", "HOLD", signal)
    return Verdict(False, signal.decision, signal)


def stake_share(probability, settings):
    """Returns the share of the proposed stake, 0 to 1: half of Kelly's fraction at the lower bound of
    the probability, over `full_at`. It only ever makes a stake smaller; leverage is left alone."""
    if settings.stake == "plain":
        return 1.0
    bound = lower_bound(probability, settings.evidence, settings.confidence)
    half_kelly = (bound - (1 - bound) / settings.payoff) / 2
    return min(1.0, max(0.0, half_kelly / settings.full_at))


def lower_bound(probability, count, confidence):
    """Returns Wilson's lower bound of a share seen in `count` independent outcomes."""
    z = normal_quantile(confidence)
    middle = probability + z * z / (2 * count)
    spread = z * math.sqrt(probability * (1 - probability) / count + z * z / (4 * count * count))
    return max(0.0, (middle - spread) / (1 + z * z / count))


def normal_quantile(share):
    """Returns the quantile of the standard normal distribution, by halving an interval."""
    low, high = -10.0, 10.0
    for _ in range(80):
        middle = (low + high) / 2
        if math.erfc(-middle / math.sqrt(2)) / 2 < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


# The service


class Unanswered(Exception):
    """A request without a usable answer; `lasting` where asking again at once is of no use."""

    def __init__(self, reason, lasting=False):
        super().__init__(reason)
        self.lasting = lasting


class Client:
    """Asks a service for signals over one connection. Proxies are not used: it is beside the bot."""

    def __init__(self, settings):
        self._address = urlsplit(settings.url)
        self._timeout = settings.timeout
        self._headers = {"Accept": "application/json"}
        if settings.token_file is not None:
            token = Path(settings.token_file).read_text(encoding="utf-8").strip()
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection = None

    def signal(self, instrument):
        """Returns the service's signal; None where it has none on this instrument.

        Raises Unanswered."""
        path = f"{self._address.path.rstrip('/')}/v1/signal/{quote(instrument, safe='')}"
        try:
            status, body = self._get(path)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unanswered(f"{self._address.geturl()}: {error or type(error).__name__}") from None
        if status == 404:
            return None
        if status != 200:
            text = body[:200].decode("utf-8", "replace").strip()
            raise Unanswered(f"{self._address.geturl()}: status {status}: {text}", status in (401, 403))
        try:
            return Signal.of(json.loads(body))
        except ValueError as error:
            raise Unanswered(f"{self._address.geturl()}: {error}") from None

    def _get(self, path):
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(self._address.hostname, self._address.port, timeout=self._timeout)
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read(LONGEST + 1)
        if len(body) > LONGEST:
            raise http.client.HTTPException(f"an answer of more than {LONGEST} bytes")
        if answer.will_close:
            self.close()
        return answer.status, body

    def close(self):
        """Ends the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Poller:
    """Keeps a book of the service's signals fresh without ever holding up the bot for long."""

    def __init__(self, settings):
        self.book = SignalBook()
        # Why the last round ended early; None when all was well.
        self.trouble = None
        self._settings = settings
        self._client = Client(settings)
        self._newest = {}
        self._asked = {}
        self._rest_until = {}

    def poll(self, instruments, now):
        """Asks about the instruments whose newest bar may have been decided since; ends at the first
        failure, or after twice the timeout. Who has waited longest is asked first."""
        trouble, began = None, time.monotonic()
        for instrument in sorted(set(instruments), key=lambda name: (self._asked.get(name, 0), name)):
            if not self._is_due(instrument, now):
                continue
            if time.monotonic() - began > 2 * self._settings.timeout:
                break
            self._asked[instrument] = now
            try:
                self._take(instrument, self._client.signal(instrument), now)
            except Unanswered as error:
                trouble = str(error)
                if error.lasting:
                    self._rest_until[None] = now + PATIENCE
                break
        # One connection a round: between two loops it might go stale unnoticed.
        self._client.close()
        self._tell(trouble, now)

    def _is_due(self, instrument, now):
        if now < max(self._rest_until.get(None, 0), self._rest_until.get(instrument, 0)):
            return False
        newest = self._newest.get(instrument)
        return newest is None or now >= newest.decision_time + newest.timeframe

    def _take(self, instrument, signal, now):
        if signal is None:
            self._rest_until[instrument] = now + PATIENCE
            logger.info("foretune: the service has no signal on %s", instrument)
            return
        if signal.available_at > now + CLOCK_TOLERANCE:
            raise Unanswered(f"the signal on {instrument} is from the future: do the clocks agree?")
        newest = self._newest.get(instrument)
        if newest is not None and signal.decision_time <= newest.decision_time:
            return
        # Whatever the service's clock says, here it is known from now on and not before.
        signal = Signal(**{**vars(signal), "instrument": instrument, "available_at": now})
        self._newest[instrument] = signal
        self.book.add(signal, self._settings.use_late)

    def _tell(self, trouble, now):
        resting = now < self._rest_until.get(None, 0)
        if trouble is None and resting:
            return
        if trouble is not None and trouble != self.trouble:
            what = "entries are " + ("allowed" if self._settings.unavailable == "allow" else "refused")
            logger.warning("foretune: no fresh signals (%s); without them %s", trouble, what)
        elif trouble is None and self.trouble is not None:
            logger.info("foretune: signals come again")
        self.trouble = trouble


# freqtrade


class ForetuneMixin:
    """Goes before IStrategy among a strategy's bases. A strategy that has one of these methods itself
    calls `super()` in it."""

    _foretune = None

    def foretune(self):
        """Returns the state, made on first use: settings, and a book or a poller."""
        if self._foretune is None:
            prefix = "foretune_"
            names = [field.name for field in fields(Settings)]
            attributes = {n: getattr(self, prefix + n) for n in names if hasattr(type(self), prefix + n)}
            self._foretune = _State(Settings.of(attributes, self.config.get("foretune", {})), self.config)
        return self._foretune

    def bot_start(self, **kwargs):
        """Reads settings and signals, so that what is wrong with them is told at the start."""
        self.foretune()
        super().bot_start(**kwargs)

    def bot_loop_start(self, current_time, **kwargs):
        """Polls the service; does nothing in a backtest."""
        state = self.foretune()
        if state.poller is not None:
            pairs = self.dp.current_whitelist() if self.dp else []
            state.poller.poll([state.settings.instrument(pair) for pair in pairs], milliseconds(current_time))
        super().bot_loop_start(current_time=current_time, **kwargs)

    def confirm_trade_entry(self, pair, order_type, amount, rate, time_in_force, current_time, entry_tag,
                            side, **kwargs):
        """Refuses an entry in enforce mode when the verdict does; records it in every mode."""
        state = self.foretune()
        verdict = state.verdict(pair, side, current_time)
        acts = state.settings.mode == "enforce" and not verdict.allow
        state.record(pair, side, rate, current_time, verdict, acts)
        return not acts and super().confirm_trade_entry(
            pair=pair, order_type=order_type, amount=amount, rate=rate, time_in_force=time_in_force,
            current_time=current_time, entry_tag=entry_tag, side=side, **kwargs)

    def custom_stake_amount(self, pair, current_time, current_rate, proposed_stake, min_stake, max_stake,
                            leverage, entry_tag, side, **kwargs):
        """Scales the stake in enforce mode; 0 keeps freqtrade from entering."""
        stake = super().custom_stake_amount(
            pair=pair, current_time=current_time, current_rate=current_rate, proposed_stake=proposed_stake,
            min_stake=min_stake, max_stake=max_stake, leverage=leverage, entry_tag=entry_tag, side=side,
            **kwargs)
        state = self.foretune()
        if state.settings.mode != "enforce" or state.settings.stake == "plain":
            return stake
        verdict = state.verdict(pair, side, current_time)
        if verdict.share <= 0:
            state.record(pair, side, current_rate, current_time, verdict, True)
        return stake * verdict.share

    def foretune_join(self, dataframe, pair):
        """Adds the columns foretune_decision, foretune_probability (of that decision) and
        foretune_available_at. A row has the last signal that was available, and usable, when its
        candle closed; that of an earlier bar until it is stale."""
        state = self.foretune()
        length = timedelta(milliseconds=span(self.timeframe))
        rows = [state.at_close(pair, milliseconds(opened + length)) for opened in dataframe["date"]]
        dataframe["foretune_decision"] = [row.decision if row else "-" for row in rows]
        dataframe["foretune_probability"] = [row.probabilities[row.decision] if row else math.nan for row in rows]
        dataframe["foretune_available_at"] = [row.available_at if row else 0 for row in rows]
        return dataframe


class _State:
    """What a running strategy holds."""

    def __init__(self, settings, config):
        self.settings, self.poller = settings, None
        self.record_file = settings.record_file
        runmode = getattr(config.get("runmode"), "value", config.get("runmode"))
        if runmode in ("live", "dry_run"):
            self.poller = Poller(settings)
            self.book = self.poller.book
            if self.record_file is None:
                self.record_file = Path(config["user_data_dir"]) / "foretune_entries.jsonl"
        elif settings.signals_file is None:
            raise ValueError("foretune: `signals_file` is needed outside live and dry-run: write one with "
                             "`foretune export signals LOG`")
        else:
            self.book = SignalBook.of_file(settings)

    def verdict(self, pair, side, current_time):
        """Returns the verdict on an entry now."""
        try:
            now = milliseconds(current_time)
            signal = self.book.as_of(self.settings.instrument(pair), now)
            return judge(signal, side, now, self.settings)
        except Exception as error:  # freqtrade would take any error for a yes
            logger.exception("foretune: no verdict on %s", pair)
            return Verdict(self.settings.unavailable == "allow", f"error: {error!r}")

    def at_close(self, pair, close):
        """Returns the signal that was usable when a candle closed, or None."""
        signal = self.book.as_of(self.settings.instrument(pair), close)
        return signal if fault(signal, close, self.settings) is None else None

    def record(self, pair, side, rate, current_time, verdict, acts):
        """Writes a line; that it cannot be written stops no trade."""
        logger.info("foretune: %s %s %s: %s", pair, side, "passes" if verdict.allow else "does not pass",
                    verdict.reason)
        if self.record_file is None:
            return
        line = {
            "schema": 1, "at": current_time.isoformat(), "pair": pair, "side": side, "rate": rate,
            "mode": self.settings.mode, "allow": verdict.allow, "vetoed": acts, "reason": verdict.reason,
            "share": verdict.share, "signal": asdict(verdict.signal) if verdict.signal else None,
        }
        try:
            with open(self.record_file, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            logger.warning("foretune: cannot write `%s`: %s", self.record_file, error)
