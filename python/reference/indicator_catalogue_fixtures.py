"""Writes two fixtures for crates/formula/catalogue/indicators.toml:

- indicators.json: every formula of the file, read and computed by the independent
  evaluator in formula_oracle.py;
- indicator_peers.json: what pandas-ta-classic, finta, ta and talipp compute for the
  indicators that they have. A peer is compared with a formula of the catalogue where
  its definition is the same, else with an expression given here, which says in the
  catalogue's language what the peer does.

    python python/reference/indicator_catalogue_fixtures.py

Versions: requirements-indicator-peers.txt.
"""

import itertools
import json
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import formula_oracle as oracle

ROWS, INSTRUMENTS = 900, 3
SAMPLED = (780, 839, 899)
ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "crates/formula/catalogue/indicators.toml"
FIXTURES = ROOT / "crates/formula/tests/fixtures"
TRUE_RANGE = "max(high, ts_delay(close, 1)) - min(low, ts_delay(close, 1))"


# The operators of src/operators/indicators on bars with holes, a late start and
# windows of 1.
HOLE_ROWS = [*range(0, 9), *range(48, 60), *range(161, 172)]
OPERATORS = [
    "ts_biquad(close, 0.2, 0.1, 0.05, 0.9, -0.25)",
    "ts_biquad(close, 0.5, -0.5, 0, 0.8, 0)",
    "ts_mcginley(close, 1, 1)",
    "ts_mcginley(close, 5, 0.6)",
    "ts_holt_winters(close, 0.2, 0.1, 0.1)",
    "ts_trailing_stop(close, 0.5 * (high - low))",
    "ts_trailing_stop(close, 2 * ts_mean(high - low, 3))",
    "ts_reversal_stop(close, 0.5 * (high - low))",
    "ts_reversal_stop(close, 2 * ts_mean(high - low, 3))",
    "ts_decaying_max(volume, 0.9)",
    "ts_alma(close, 1, 0.85, 6)",
    "ts_alma(close, 7, 0.5, 3)",
    "ts_fibonacci_mean(close, 1)",
    "ts_fibonacci_mean(close, 6)",
    "ts_pascal_mean(close, 1)",
    "ts_pascal_mean(close, 6)",
    "ts_sine_mean(close, 1)",
    "ts_sine_mean(close, 6)",
    "ts_hann_mean(close, 1)",
    "ts_hann_mean(close, 6)",
    "ts_decay_exp_window(close, 1, 0.5)",
    "ts_decay_exp_window(close, 6, 0.9)",
    "ts_regression_residual(close, open, high, volume, 8)",
    "ts_regression_residual(close, open, open, volume, 8)",
]


def with_holes(columns):
    columns = {name: values.copy() for name, values in columns.items()}
    for values in columns.values():
        for lane in range(values.shape[1]):
            for row in range(len(values)):
                if (row + 37 * lane) % 113 in (50, 51) or (lane == 2 and row < 3):
                    values[row, lane] = np.nan
    return columns


def operators():
    evaluator = oracle.Evaluator(with_holes(oracle.market(HOLE_ROWS[-1] + 1, INSTRUMENTS)))
    return {text: [[number(v) for v in evaluator.canonical(text)[row]] for row in HOLE_ROWS] for text in OPERATORS}


def expanded(formula):
    grid = formula.get("for", {})
    for values in itertools.product(*grid.values()):
        id, text = formula["id"], formula["expression"]
        for name, value in zip(grid, values):
            id, text = (part.replace("{" + name + "}", str(value)) for part in (id, text))
        yield id, text


def write(name, fixture):
    target = FIXTURES / name
    target.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
    print(target.name, target.stat().st_size, "bytes")


def number(value):
    return None if value is None or np.isnan(value) else float(f"{float(value):.13g}")


def catalogue():
    columns = oracle.market(ROWS, INSTRUMENTS)
    evaluators = {name: oracle.Evaluator(columns, name) for name in ("paper", "talib")}
    outputs = {}
    for formula in tomllib.loads(CATALOGUE.read_text())["formula"]:
        evaluator = evaluators[formula.get("profile", "paper")]
        for id, text in expanded(formula):
            value = evaluator.canonical(text)
            outputs[id] = [[number(v) for v in value[row]] for row in SAMPLED]
    unknown = [k for k, v in outputs.items() if all(x is None for row in v for x in row)]
    print(len(outputs), "formulas; wholly unknown:", unknown)
    write("indicators.json", {
        "rows": ROWS, "instruments": INSTRUMENTS, "sampled": SAMPLED, "outputs": outputs,
        "hole_rows": HOLE_ROWS, "operators": operators(),
    })


def peers():
    """Peer, what it computes, our formula (an id of the catalogue or an expression),
    our conventions, the peer's series."""
    import pandas_ta_classic as pta
    import talipp.indicators as talipp
    from finta import TA as finta
    from talipp.ohlcv import OHLCV
    from ta import momentum, trend, volatility, volume as ta_volume

    columns = oracle.market(ROWS, INSTRUMENTS)
    frame = pd.DataFrame({name: values[:, 0] for name, values in columns.items()})
    frame.index = pd.date_range("2020-01-01", periods=ROWS)
    o, h, l, c, v = (frame[name] for name in ("open", "high", "low", "close", "volume"))
    candles = [OHLCV(*values) for values in zip(o, h, l, c, v)]
    typical = "(high + low + close) / 3"

    yield "pandas-ta-classic", "alma, peak mirrored", "indicators.alma", "paper", pta.alma(c, 9, 6, 0.15)
    yield "talipp", "ALMA", "indicators.alma", "paper", talipp.ALMA(9, 0.85, 6, list(c))
    yield "pandas-ta-classic", "fwma", "indicators.fwma", "paper", pta.fwma(c, 10)
    yield "pandas-ta-classic", "pwma", "indicators.pwma", "paper", pta.pwma(c, 10)
    yield "pandas-ta-classic", "sinwma", "indicators.sinwma", "paper", pta.sinwma(c, 14)
    yield "pandas-ta-classic", "swma 4", "indicators.swma", "paper", pta.swma(c, 4)
    pole = "exp(-sqrt(2) * 3.141592653589793 / 10)"
    yield (
        "pandas-ta-classic", "ssf without averaging",
        f"ts_biquad(close, 1 - b + a ^ 2, 0, 0, b, -(a ^ 2)) where a = {pole}, "
        f"b = 2 * a * cos(sqrt(2) * 3.141592653589793 / 10)",
        "paper", pta.ssf(c, 10),
    )
    yield "pandas-ta-classic", "mcgd, 0.6", "indicators.mcginley", "paper", pta.mcgd(c, 10, c=0.6)
    yield "talipp", "McGinleyDynamic", "ts_mcginley(close, 14, 1)", "paper", talipp.McGinleyDynamic(14, list(c))
    yield "pandas-ta-classic", "hwma", "indicators.hwma", "paper", pta.hwma(c)
    yield "pandas-ta-classic", "vidya", "indicators.vidya", "paper", pta.vidya(c, 14)
    yield "pandas-ta-classic", "zlma of hma", "indicators.zlma_hull", "paper", pta.zlma(c, 10, "hma")
    yield "finta", "SMM", "indicators.median_average", "paper", finta.SMM(frame, 9)
    rainbow = pta.rainbow(c, 2)
    yield "pandas-ta-classic", "rainbow, mean of ten", "indicators.rainbow_average", "paper", rainbow.iloc[:, :10].mean(axis=1)
    yield (
        "finta", "FRAMA on the close",
        "ts_adaptive(close, max(0.01, min(1, exp(-4.6 * (d - 1))))) where n1 = (ts_max(close, 8) - ts_min(close, 8)) / 8, "
        "n3 = (ts_max(close, 16) - ts_min(close, 16)) / 16, d = log((n1 + ts_delay(n1, 8)) / n3) / log(2)",
        "paper", finta.FRAMA(frame.copy(), 16, 8),
    )
    yield (
        "pandas-ta-classic", "hilo 3, standing still between crossings",
        "ts_when(close > u || close < d, close > u ? ts_mean(low, 3) : ts_mean(high, 3)) "
        "where u = ts_delay(ts_mean(high, 3), 1), d = ts_delay(ts_mean(low, 3), 1)",
        "paper", pta.hilo(h, l, c, 3, 3).iloc[:, 0],
    )
    yield "pandas-ta-classic", "bias", "indicators.bias", "paper", pta.bias(c)
    yield "finta", "KST", "indicators.kst", "paper", finta.KST(frame)["KST"]
    yield "ta", "KST less signal", "indicators.kst_signal", "paper", (
        lambda k: k.kst() - k.kst_sig())(trend.KSTIndicator(c))
    yield "pandas-ta-classic", "rvgi", "indicators.rvgi", "paper", pta.rvgi(o, h, l, c).iloc[:, 1]
    # pandas-ta-classic's stc rounds its stages to 8 decimals, which makes stretches flat
    # that are not: ta has the indicator without that.
    yield "pandas-ta-classic", "cti", "indicators.correlation_trend", "paper", pta.cti(c, 20)
    yield (
        "pandas-ta-classic", "cg on the close", "55 * ts_decay_linear(close, 10) / ts_sum(close, 10) - 11",
        "paper", pta.cg(c, 10),
    )
    yield "pandas-ta-classic", "lrsi", "indicators.laguerre_rsi", "paper", pta.lrsi(c, gamma=0.5) / 100
    setups = pta.td_seq(c, show_all=True).fillna(0)
    yield "pandas-ta-classic", "td_seq up, at most 13", "min(u, 13) where u = close > ts_delay(close, 4) ? ts_since(close <= ts_delay(close, 4)) : 0", "paper", setups.iloc[:, 0]
    yield "pandas-ta-classic", "td_seq down, at most 13", "min(u, 13) where u = close < ts_delay(close, 4) ? ts_since(close >= ts_delay(close, 4)) : 0", "paper", setups.iloc[:, 1]
    bands = pta.aberration(h, l, c)
    yield "pandas-ta-classic", "aberration", "indicators.aberration", "paper", (c - bands.iloc[:, 0]) / bands.iloc[:, 3]
    yield "pandas-ta-classic", "pdist", "indicators.price_distance", "paper", pta.pdist(o, h, l, c)
    yield "pandas-ta-classic", "ui", "indicators.ulcer_index", "paper", pta.ui(c, 14)
    yield (
        "pandas-ta-classic", "chop, range of highs and lows",
        f"100 * log10(ts_sum(tr, 14) / (ts_max(high, 14) - ts_min(low, 14))) / log10(14) where tr = {TRUE_RANGE}",
        "paper", pta.chop(h, l, c, 14),
    )
    yield (
        "talipp", "CHOP, range of highs and lows",
        f"100 * log10(ts_sum(tr, 14) / (ts_max(high, 14) - ts_min(low, 14))) / log10(14) where tr = {TRUE_RANGE}",
        "paper", talipp.CHOP(14, candles),
    )
    stops = pta.cksp(h, l, c, 10, 1, 9)
    yield "pandas-ta-classic", "cksp of highs", "indicators.chande_kroll_short", "paper", stops.iloc[:, 0]
    yield "pandas-ta-classic", "cksp of lows", "indicators.chande_kroll_long", "paper", stops.iloc[:, 1]
    kroll = list(talipp.ChandeKrollStop(10, 1, 9, candles))
    yield "talipp", "ChandeKrollStop of highs", "indicators.chande_kroll_short", "paper", [x and x.short_stop for x in kroll]
    yield "talipp", "ChandeKrollStop of lows", "indicators.chande_kroll_long", "paper", [x and x.long_stop for x in kroll]
    yield "pandas-ta-classic", "ttm_trend", "2 * (close > ts_mean((high + low) / 2, 6)) - 1", "paper", pta.ttm_trend(h, l, c, 6).iloc[:, 0]
    yield "pandas-ta-classic", "kvo", "indicators.klinger_simple", "paper", pta.kvo(h, l, c, v).iloc[:, 0]
    yield (
        "talipp", "KVO, unchanged prices falling",
        "ts_ema(f, 34) - ts_ema(f, 55) where change = ts_delta(high + low + close, 1), t = change > 0 ? 1 : -1, "
        "dm = high - low, total = ts_cumsum(dm), cm = total - ts_when(t != ts_delay(t, 1), ts_delay(total, 2)), "
        "f = 100 * volume * t * abs(2 * (dm / cm - 1))",
        "paper", talipp.KVO(34, 55, candles),
    )
    yield (
        "pandas-ta-classic", "pvr with labels 3 and 4 exchanged",
        "ts_delta(close, 1) >= 0 ? (ts_delta(volume, 1) >= 0 ? 1 : 2) : (ts_delta(volume, 1) >= 0 ? 3 : 4)",
        "paper", pta.pvr(c, v),
    )
    exits = pta.ce(h, l, c, 22, 3.0)
    yield "pandas-ta-classic", "ce, long", "indicators.chandelier_long", "paper", exits.iloc[:, 0]
    yield "pandas-ta-classic", "ce, short", "indicators.chandelier_short", "paper", exits.iloc[:, 1]
    yield (
        "finta", "CHANDELIER with plain range", f"ts_max(high, 22) - 3 * ts_mean(tr, 22) where tr = {TRUE_RANGE}",
        "paper", finta.CHANDELIER(frame)["Long."],
    )
    yield "pandas-ta-classic", "entropy", "indicators.entropy", "paper", pta.entropy(c, 10)
    yield "pandas-ta-classic", "zscore", "indicators.zscore_price", "paper", pta.zscore(c, 30)
    yield "pandas-ta-classic", "eom", "100000000 * ts_mean(ts_delta((high + low) / 2, 1) * (high - low) / volume, 14)", "paper", pta.eom(h, l, c, v)
    yield "finta", "EMV", "1000000 * ts_mean(ts_delta((high + low) / 2, 1) * (high - low) / volume, 14)", "paper", finta.EMV(frame)
    yield "finta", "VW_MACD", "indicators.vw_macd", "paper", finta.VW_MACD(frame)["MACD"]
    yield "finta", "WTO", "indicators.wave_trend", "paper", finta.WTO(frame)["WT1."]
    yield "finta", "VZO", "indicators.volume_zone", "paper", finta.VZO(frame)
    yield "finta", "PZO", "indicators.price_zone", "paper", finta.PZO(frame)
    yield "finta", "WOBV", "indicators.weighted_obv", "paper", finta.WOBV(frame)
    pivots = finta.PIVOT(frame)
    for line, id in (("pivot", "pivot_1"), ("r1", "pivot_resistance_1_1"), ("r2", "pivot_resistance_2_1"),
                     ("r3", "pivot_resistance_3_1"), ("s1", "pivot_support_1_1"), ("s2", "pivot_support_2_1"),
                     ("s3", "pivot_support_3_1")):
        yield "finta", f"PIVOT {line}", f"indicators.{id}", "paper", pivots[line]
    pivots = finta.PIVOT_FIB(frame)
    for line, id in (("r1", "above_382"), ("r2", "above_618"), ("r3", "above_1000"),
                     ("s1", "below_382"), ("s2", "below_618"), ("s3", "below_1000")):
        yield "finta", f"PIVOT_FIB {line}", f"indicators.pivot_fibonacci_{id}", "paper", pivots[line]
    yield "finta", "BBWIDTH, sample deviation", "indicators.bollinger_bandwidth", "talib", finta.BBWIDTH(frame) * np.sqrt(19 / 20)
    bollinger = volatility.BollingerBands(c)
    yield "ta", "Bollinger width", "indicators.bollinger_bandwidth", "talib", bollinger.bollinger_wband() / 100
    yield "ta", "Bollinger %b", "indicators.bollinger_percent_b", "talib", bollinger.bollinger_pband()
    ichimoku = trend.IchimokuIndicator(h, l)
    yield (
        "ta", "Ichimoku lines", "indicators.ichimoku_conversion_base", "paper",
        (ichimoku.ichimoku_conversion_line() - ichimoku.ichimoku_base_line()) / c,
    )
    shifted = trend.IchimokuIndicator(h, l, visual=False)
    yield "ta", "Ichimoku span A", "indicators.ichimoku_span_a", "paper", shifted.ichimoku_a().shift(26)
    yield "ta", "Ichimoku span B", "indicators.ichimoku_span_b", "paper", shifted.ichimoku_b().shift(26)
    yield "ta", "Schaff trend cycle", "indicators.schaff_trend_cycle", "paper", trend.STCIndicator(c).stc()
    yield "ta", "ulcer index", "indicators.ulcer_index", "paper", volatility.UlcerIndex(c).ulcer_index()
    yield "ta", "ease of movement", "100000000 * ts_mean(ts_delta((high + low) / 2, 1) * (high - low) / volume, 14)", "paper", ta_volume.EaseOfMovementIndicator(h, l, v).sma_ease_of_movement()
    yield (
        "ta", "Keltner's original", "indicators.keltner_original_upper", "paper",
        volatility.KeltnerChannel(h, l, c, 10, 10, original_version=True).keltner_channel_mband() + (h - l).rolling(10).mean(),
    )
    yield "ta", "Donchian width", "(ts_max(high, 20) - ts_min(low, 20)) / ts_mean(close, 20)", "paper", volatility.DonchianChannel(h, l, c).donchian_channel_wband() / 100
    yield "talipp", "IBS", "indicators.internal_bar_strength", "paper", talipp.IBS(candles)
    yield "talipp", "TTM histogram", "indicators.squeeze_momentum", "paper", [x and x.histogram for x in talipp.TTM(20, input_values=candles)]
    yield "pandas-ta-classic", "psl", "100 * ts_count(close > ts_delay(close, 1), 12) / 12", "paper", pta.psl(c)
    yield "pandas-ta-classic", "rsi", "100 * ts_wilder(max(x, 0), 14) / ts_wilder(abs(x), 14) where x = ts_delta(close, 1)", "paper", pta.rsi(c, 14)
    yield "finta", "typical price", typical, "paper", finta.TP(frame)
    yield "ta", "stochastic RSI of RSI", "ts_position(s, 14) where x = ts_delta(close, 1), s = ts_wilder(max(x, 0), 14) / ts_wilder(abs(x), 14)", "paper", momentum.StochRSIIndicator(c).stochrsi()


def main():
    warnings.filterwarnings("ignore")
    np.seterr(all="ignore")
    catalogue()
    evaluators = {name: oracle.Evaluator(oracle.market(ROWS, INSTRUMENTS), name) for name in ("paper", "talib")}
    texts = dict(pair for formula in tomllib.loads(CATALOGUE.read_text())["formula"] for pair in expanded(formula))
    cases = []
    for peer, what, formula, profile, series in peers():
        values = [np.nan if x is None else float(x) for x in list(series)]
        cases.append({
            "peer": peer, "what": what, "formula": formula, "profile": profile,
            "values": [number(values[row]) for row in SAMPLED],
        })
        ours = evaluators[profile].canonical(texts.get(formula, formula))[list(SAMPLED), 0]
        theirs = np.array(values)[list(SAMPLED)]
        gap = np.max(np.abs(ours - theirs) / np.maximum(1e-12, np.abs(theirs)))
        if not gap < 1e-9:
            print("differs:", peer, what, gap, ours, theirs)
    print(len(cases), "peer outputs")
    write("indicator_peers.json", {"rows": ROWS, "instruments": INSTRUMENTS, "sampled": SAMPLED, "cases": cases})


if __name__ == "__main__":
    main()
