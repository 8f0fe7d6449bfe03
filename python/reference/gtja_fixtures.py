"""Writes crates/formula/tests/fixtures/gtja.json: values of Guotai Junan's 191 factors,
computed from a listing of the report's formulas that is independent of the catalogue.

The listing is that of jqdatasdk, which prints each factor's formula in its
documentation. Its misprints (and those of the report) are repaired below, one by one;
everything else is computed as printed, by the evaluator in formula_oracle.py.

    python python/reference/gtja_fixtures.py     # versions: requirements-gtja.txt
"""

import inspect
import json
import re
import warnings
from pathlib import Path

import numpy as np
from jqdatasdk import alpha191

import formula_oracle as oracle

ROWS, INSTRUMENTS = 360, 10
SAMPLED = (290, 331, 359)
TARGET = Path(__file__).parents[2] / "crates/formula/tests/fixtures/gtja.json"

# Repairs: factor, what is printed, what is read.
REPAIRS = [
    (1, "OPEN)),6)", "OPEN)),6))"),
    (2, "-1*delta((((close-low)-(high-close))/((high-low)),1))", "-1*DELTA((((CLOSE-LOW)-(HIGH-CLOSE))/(HIGH-LOW)),1)"),
    (5, "YSRANK", "TSRANK"),
    (8, "4)*-1", "4)*-1)"),
    (9, "DELAY(LOW,1))/*", "DELAY(LOW,1))/2)*"),
    (10, "CLOSE)^2),5))", "CLOSE)^2,5)))"),
    (11, "./(HIGH-LOW).*", "/(HIGH-LOW)*"),
    (22, "SMEAN", "SMA"),
    (23, "STD(CLOSE:20),0)", "STD(CLOSE,20):0)"),
    (31, "LOSE-MEAN(CLOSE,12))", "(CLOSE-MEAN(CLOSE,12))"),
    (36, "RANK(VWAP)),6),2)", "RANK(VWAP),6),2))"),
    (39, "14),12)))*-1", "14),12)))*-1)"),
    (42, "(-1*RANK", "((-1*RANK"),
    (52, ",1)-L)", ",1)-LOW)"),
    (54, "STD(ABS(CLOSE-OPEN))", "STD(ABS(CLOSE-OPEN),5)"),
    (60, "./(HIGH-LOW).*", "/(HIGH-LOW)*"),
    (69, "DTM", "(OPEN<=DELAY(OPEN,1)?0:MAX((HIGH-OPEN),(OPEN-DELAY(OPEN,1))))"),
    (69, "DBM", "(OPEN>=DELAY(OPEN,1)?0:MAX((OPEN-LOW),(OPEN-DELAY(OPEN,1))))"),
    (75, "BANCHMARKINDEXCLOSE<BANCHMARKINDEXOPEN,50)/", "COUNT(CLOSE>OPEN&BANCHMARKINDEXCLOSE<BANCHMARKINDEXOPEN,50)/"),
    (78, "-MA(", "-MEAN("),
    (83, "COVIANCE", "COVARIANCE"),
    (99, "COVIANCE", "COVARIANCE"),
    (111, "VOL*", "VOLUME*"),
    (127, ")^2))^(1/2)", ")^2,12))^(1/2)"),
    (131, "DELAT", "DELTA"),
    (143, "CLOSE>DELAY(CLOSE,1)?(CLOSE-DELAY(CLOSE,1))/DELAY(CLOSE,1)*SELF:SELF",
     "SELFPRODUCT(CLOSE>DELAY(CLOSE,1)?(CLOSE-DELAY(CLOSE,1))/DELAY(CLOSE,1):1)"),
    (146, "^2,60)", "^2,60,1)"),
    (159, "HGIH", "HIGH"),
    (165, "MAX(SUMAC(CLOSE-MEAN(CLOSE,48)))-MIN(SUMAC(CLOSE-MEAN(CLOSE,48)))",
     "(TSMAX(SUMAC(CLOSE-MEAN(CLOSE,48)),48)-TSMIN(SUMAC(CLOSE-MEAN(CLOSE,48)),48))"),
    (166, "1-MEAN(CLOSE/DELAY(CLOSE,1)-1,20),20)/((20-1)*(20-2)(SUM((CLOSE/DELAY(CLOSE,1),20)^2,20))^1.5)",
     "1-MEAN(CLOSE/DELAY(CLOSE,1)-1,20))^3,20)/((20-1)*(20-2)*(SUM((CLOSE/DELAY(CLOSE,1)-1-MEAN(CLOSE/DELAY(CLOSE,1)-1,20))^2,20))^1.5)"),
    (166, "SUM(CLOSE/DELAY(CLOSE,1)-1-MEAN(CLOSE/DELAY(CLOSE,1)-1,20))^3", "SUM((CLOSE/DELAY(CLOSE,1)-1-MEAN(CLOSE/DELAY(CLOSE,1)-1,20))^3"),
    (180, "SIGN(DELTA(CLOSE,7)):(-1*VOLUME)))", "SIGN(DELTA(CLOSE,7))):(-1*VOLUME))"),
    (181, "20))^3)", "20))^3,20)"),
    (183, "MAX(SUMAC(CLOSE-MEAN(CLOSE,24)))-MIN(SUMAC(CLOSE-MEAN(CLOSE,24)))",
     "(TSMAX(SUMAC(CLOSE-MEAN(CLOSE,24)),24)-TSMIN(SUMAC(CLOSE-MEAN(CLOSE,24)),24))"),
    (190, "-(CLOSE/DELAY(CLOSE,19))^(1/20)-1))^2", "-((CLOSE/DELAY(CLOSE,19))^(1/20)-1))^2"),
]
# Read as a whole, since brackets are lost in the listing.
WHOLE = {
    10: "RANK(MAX(((RET<0)?STD(RET,20):CLOSE)^2,5))",
    54: "(-1*RANK((STD(ABS(CLOSE-OPEN),5)+(CLOSE-OPEN))+CORR(CLOSE,OPEN,10)))",
    190: "LOG((COUNT(RET>G,20)-1)*SUMIF((RET-G)^2,20,RET<G)/(COUNT(RET<G,20)*SUMIF((RET-G)^2,20,RET>G)))",
}
NAMES = {
    "RANK": "cs_rank", "DELAY": "ts_delay", "DELTA": "ts_delta", "CORR": "ts_corr", "COVARIANCE": "ts_cov",
    "TSRANK": "ts_rank", "TSMAX": "ts_max", "TSMIN": "ts_min", "SMA": "ts_sma", "STD": "ts_std",
    "SUM": "ts_sum", "MEAN": "ts_mean", "COUNT": "ts_count", "PROD": "ts_product", "SUMAC": "ts_cumsum",
    "DECAYLINEAR": "ts_decay_linear", "ABS": "abs", "SIGN": "sign", "LOG": "log", "SELFPRODUCT": "ts_cumprod",
}


def printed():
    formulas = {}
    for number in range(1, 192):
        text = inspect.getdoc(getattr(alpha191, f"alpha_{number:03d}"))
        text = re.search(r"公式[:：]?(.*?)Inputs", text, re.S)[1]
        for wide, narrow in zip("，？：–（）", ",?:-()"):
            text = text.replace(wide, narrow)
        formulas[number] = re.sub(r"\s+", "", text).rstrip(";")
    return formulas


class Report(oracle.Evaluator):
    """The functions of page 31 of the report."""

    def __init__(self, columns):
        super().__init__(columns)
        for name in ("open", "high", "low", "close", "volume", "vwap", "amount"):
            self.columns[name.upper()] = self.columns[name]
        self.columns["RET"] = self.columns["returns"]
        index = self.canonical("ts_cumprod(1 + market)")
        self.columns["BANCHMARKINDEXCLOSE"] = index
        self.columns["BANCHMARKINDEXOPEN"] = index / self.canonical("cs_mean(close / open)")
        self.columns["HD"] = self.canonical("high - ts_delay(high, 1)")
        self.columns["LD"] = self.canonical("ts_delay(low, 1) - low")
        self.columns["TR"] = self.canonical(
            "max(max(high - low, abs(high - ts_delay(close, 1))), abs(low - ts_delay(close, 1)))"
        )
        self.columns["G"] = self.canonical("(close / ts_delay(close, 19)) ^ (1 / 20) - 1")

    def compute(self, tree):
        if tree[0] == "call":
            _, name, parts = tree
            if name in ("MAX", "MIN"):
                rolling = parts[1][0] == "number" and parts[1][1] >= 1
                name = ("ts_" if rolling else "") + name.lower()
            elif name == "SUMIF":
                name, parts = "ts_sum", (("call", "if_else", (parts[2], parts[0], ("number", 0.0))), parts[1])
            elif name == "WMA":
                name, parts = "ts_decay_exp_window", (*parts, ("number", 0.9))
            elif name == "REGBETA":
                length = parts[1][2][0] if parts[1][0] == "call" else parts[2]
                name, parts = "ts_slope", (parts[0], length)
            elif name in ("HIGHDAY", "LOWDAY"):
                place = ("call", {"HIGHDAY": "ts_argmax", "LOWDAY": "ts_argmin"}[name], parts)
                name, parts = "subtract", (parts[1], place)
            tree = ("call", NAMES.get(name, name), parts)
        return super().compute(tree)

    def down_beta(self, bars):
        """Alpha149: least squares over those of the last bars on which the index fell."""
        x = np.broadcast_to(self.columns["market"], self.shape)
        y = self.columns["returns"]
        result = np.full(self.shape, np.nan)
        for row in range(bars, len(y)):
            rows = [t for t in range(row - bars + 1, row + 1) if x[t, 0] < 0]
            for lane in range(self.shape[1]):
                result[row, lane] = np.polyfit(x[rows, lane], y[rows, lane], 1)[0]
        return result

    def specific_risk(self):
        """Alpha30 with factors of the panel in place of Fama and French's."""
        returns = self.columns["returns"]
        size = oracle.cross_rank(self.canonical("ts_mean(amount, 20)"))
        cheap = oracle.cross_rank(self.canonical("ts_mean(close, 240) / close"))

        def spread(group, known):
            with np.errstate(all="ignore"):
                members = np.nanmean(np.where(group & known, returns, np.nan), axis=1)
                others = np.nanmean(np.where(~group & known, returns, np.nan), axis=1)
            return np.broadcast_to((members - others)[:, None], returns.shape).copy()

        smb = spread(size <= 0.5, ~np.isnan(size))
        hml = spread(cheap > 0.5, ~np.isnan(cheap))
        market = np.broadcast_to(self.columns["market"], self.shape)
        left = oracle.residual(returns, market, smb, hml, 60)
        return self.along["ts_decay_exp_window"](left**2, 20, 0.9)


def main():
    warnings.filterwarnings("ignore", "Mean of empty slice")
    np.seterr(all="ignore")
    report = Report(oracle.market(ROWS, INSTRUMENTS))
    outputs = {}
    for number, text in printed().items():
        for factor, wrong, right in REPAIRS:
            if factor == number and number not in WHOLE:
                assert wrong in text, (number, wrong, text)
                text = text.replace(wrong, right)
        text = WHOLE.get(number, text)
        if number == 30:
            value = report.specific_risk()
        elif number == 149:
            value = report.down_beta(252)
        else:
            if text.count(")") != text.count("("):
                raise ValueError((number, text))
            value = report.whole(report.value(oracle.Parser(text, True).formula()))
        outputs[f"{number:03d}"] = [
            [None if np.isnan(v) else float(f"{v:.13g}") for v in value[row]] for row in SAMPLED
        ]
    fixture = {"rows": ROWS, "instruments": INSTRUMENTS, "sampled": SAMPLED, "outputs": outputs}
    TARGET.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
    unknown = [k for k, v in outputs.items() if all(x is None for row in v for x in row)]
    print(len(outputs), "factors,", TARGET.stat().st_size, "bytes; wholly unknown:", unknown)


if __name__ == "__main__":
    main()
