"""Reference values for the family `risk` of the formula catalogue.

Versions: see requirements-formula-statistics.txt beside this file. Run from anywhere:

    python -m venv env && env/bin/pip install -r requirements-formula-statistics.txt
    env/bin/python risk_fixtures.py

It rewrites crates/formula/tests/fixtures/risk.json and distributions.json, values of
the operators for distributions from scipy. Each value names where it is
from: `empyrical`, `quantstats` or `scipy` where the library has the measure, and
otherwise `numpy`, code written here from the equation that the catalogue cites.
Returns are synthetic (a fixed seed, fat tails, changing variance, some flat
periods) and rounded to 6 digits. A value that does not exist is null.
"""

import json
import math
import warnings
from pathlib import Path

import empyrical as ep
import numpy as np
import pandas as pd
import quantstats.stats as qs
from scipy import integrate, optimize, stats
from statsmodels.tsa.adfvalues import mackinnonp

warnings.filterwarnings("ignore")
FIXTURES = Path(__file__).parents[2] / "crates/formula/tests/fixtures"
YEAR = 252


def series(seed, n, flat):
    """Returns a return series and its benchmark."""
    rng = np.random.default_rng(seed)
    variance, market = 1e-4, []
    for _ in range(n):
        shock = rng.standard_t(4) / math.sqrt(2)
        market.append(4e-4 + math.sqrt(variance) * shock)
        variance = 4e-6 + 0.1 * variance * shock**2 + 0.86 * variance
    market = np.array(market)
    own = rng.standard_t(5, n) * 0.006
    r = 3e-4 + 0.6 * market + own
    r[1:] += 0.08 * r[:-1]
    r[rng.random(n) < flat] = 0.0
    return np.round(r, 6), np.round(market, 6)


def wealth(r):
    return np.cumprod(1 + r)


def peaks(r):
    return np.maximum.accumulate(np.concatenate([[1.0], wealth(r)]))[1:]


def drawdown(r):
    return wealth(r) / peaks(r) - 1


def episodes(r):
    """Returns the depths of falls and their number of periods."""
    depths, lengths, run = [], [], []
    for d in list(drawdown(r)) + [0.0]:
        if d < 0:
            run.append(-d)
        elif run:
            depths.append(max(run))
            lengths.append(len(run))
            run = []
    return np.array(depths), np.array(lengths)


def streak(flags):
    best = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        best = max(best, run)
    return best


def ols(y, *columns):
    """Returns the coefficients, intercept first, and the residuals."""
    x = np.column_stack([np.ones(len(y)), *columns])
    coefficients = np.linalg.lstsq(x, y, rcond=None)[0]
    return coefficients, y - x @ coefficients


def ewm(x, alpha):
    return pd.Series(x).ewm(alpha=alpha, adjust=False).mean().to_numpy()


def hill(x, share):
    x = np.sort(x)[::-1]
    k = int(math.floor(share * len(x)))
    return 1 / np.mean(np.log(x[:k]) - math.log(x[k]))


def autocorrelation(x, lag):
    d = x - x.mean()
    return np.sum(d[lag:] * d[:-lag]) / np.sum(d * d)


def kelly(r):
    """Returns the growth-optimal leverage by a bounded search and a root."""
    low, high = -1 / r.max(), -1 / r.min()
    edge = 1e-9 * (high - low)
    return optimize.brentq(lambda f: np.sum(r / (1 + f * r)), low + edge, high - edge, xtol=1e-14)


def entropic(r, level):
    def bound(log_z):
        z = math.exp(log_z)
        a = -r / z
        top = a.max()
        return z * (top + math.log(np.mean(np.exp(a - top))) - math.log(level))

    return -min(
        optimize.minimize_scalar(bound, bounds=b, method="bounded", options={"xatol": 1e-10}).fun
        for b in [(-14, -6), (-9, 0)]
    )


def normal_tail_mean(alpha):
    """Mean of a standard normal value below its alpha quantile, by integration."""
    z = stats.norm.ppf(alpha)
    return integrate.quad(lambda x: x * stats.norm.pdf(x), -40, z)[0] / alpha


def references(r, b):
    s, m = pd.Series(r), pd.Series(b)
    dates = pd.date_range("2015-01-01", periods=len(r), freq="B")
    s.index = m.index = dates
    n, mean, std = len(r), r.mean(), r.std(ddof=1)
    g, k = stats.skew(r), stats.kurtosis(r)
    sr, sb = mean / std, b.mean() / b.std(ddof=1)
    psr_error = math.sqrt((1 - g * sr + (k + 2) / 4 * sr**2) / (n - 1))
    wins, losses = r[r > 0], r[r < 0]
    p, pay = len(wins) / (len(wins) + len(losses)), wins.mean() / -losses.mean()
    d, w = drawdown(r), wealth(r)
    depths, lengths = episodes(r)
    growth = w[-1] ** (YEAR / n) - 1
    q05 = np.percentile(r, 5)
    tail = r[r <= q05]
    a1 = abs(np.corrcoef(r[:-1], r[1:])[0, 1])
    lags = np.arange(1, n)
    penalty = math.sqrt(1 + 2 * np.sum((n - lags) / n * a1**lags))
    z = stats.norm.ppf(0.05)
    bent = z + (z**2 - 1) * g / 6 + (z**3 - 3 * z) * k / 24 - (2 * z**3 - 5 * z) * g**2 / 36
    (alpha, beta), residual = ols(r, b)
    up, down = b > 0, b < 0
    y, t = np.log(w), np.arange(1, n + 1)
    line = stats.linregress(t, y)
    rolling = s.rolling(63)
    sharpes = (math.sqrt(YEAR) * rolling.mean() / rolling.std()).dropna().to_numpy()
    sd21 = s.rolling(21).std().dropna().to_numpy()
    smooth = ewm(r**2, 0.06)
    worst20 = d[d <= np.percentile(d, 5)]
    recent = r[-756:] if n > 756 else r
    old_quantile = s.rolling(250).quantile(0.05).shift(1).to_numpy()
    known = ~np.isnan(old_quantile)
    breach = (r < old_quantile)[known]
    x, trials = breach.sum(), len(breach)
    rate = x / trials if trials else math.nan
    summed = np.cumsum(r)
    f = kelly(r)
    loss_mean = np.maximum(-r, 0).mean()
    down_root = math.sqrt(np.mean(np.minimum(r, 0) ** 2))
    quarter = [np.prod(1 + r[i : i + 63]) for i in range(n - 62)]
    second, third = np.mean(r**2), np.mean(r**3)
    roots = np.roots([third, -second, mean])
    real = sorted(roots.real[abs(roots.imag) < 1e-12], key=abs)
    e, e0 = np.euler_gamma, 1 / (n - 1)
    threshold = math.sqrt(e0) * (
        (1 - e) * stats.norm.ppf(0.9) + e * stats.norm.ppf(1 - 1 / (10 * math.e))
    )
    lower = stats.beta.ppf(0.05, 1 + len(wins), 1 + len(losses))
    q1 = np.sum(wins) / -np.sum(losses)
    v = 4 + 6 / max(k, 0.01)
    c = np.cov(r, b, ddof=1)
    hm = ols(r, b, np.maximum(b, 0))[0][2]
    tm = ols(r, b, b**2)[0]
    r_l, b_l = r[1:], b[:-1]
    slope = lambda y, x: stats.linregress(x, y).slope
    relative = (1 + r) / (1 + b) - 1
    weight = optimize.minimize_scalar(
        lambda u: np.var(u * r + (1 - u) * b, ddof=1), tol=1e-14
    ).x
    inverse = np.linalg.solve(c, [mean, b.mean()])
    capture = lambda a, mask: stats.gmean(1 + a[mask]) - 1
    E, Q, S, N = "empyrical", "quantstats", "scipy", "numpy"
    return {
        "total_return": (E, ep.cum_returns_final(s)),
        "mean_return": (N, mean),
        "median_return": (N, np.median(r)),
        "geometric_mean": (S, stats.gmean(1 + r) - 1),
        "cagr": (E, ep.cagr(s)),
        "annual_mean": (N, YEAR * mean),
        "log_growth": (N, YEAR * np.log1p(r).mean()),
        "variance_drag": (S, mean - (stats.gmean(1 + r) - 1)),
        "best_period": (Q, qs.best(s)),
        "worst_period": (Q, qs.worst(s)),
        "best_share": (N, r[r >= np.percentile(r, 90)].sum() / r.sum()),
        "win_rate": (Q, qs.win_rate(s)),
        "exposure": (N, np.mean(r != 0)),
        "average_win": (Q, qs.avg_win(s)),
        "average_loss": (Q, qs.avg_loss(s)),
        "payoff_ratio": (Q, qs.payoff_ratio(s)),
        "break_even_rate": (N, 1 / (1 + pay)),
        "win_rate_z": (
            N,
            (p - 1 / (1 + pay)) / math.sqrt(pay / (1 + pay) ** 2 / (len(wins) + len(losses))),
        ),
        "profit_factor": (Q, qs.profit_factor(s)),
        "gain_to_pain": (Q, qs.gain_to_pain_ratio(s)),
        "expectancy": (N, r[r != 0].mean()),
        "expectancy_r": (N, r[r != 0].mean() / -losses.mean()),
        "longest_winning_run": (Q, qs.consecutive_wins(s)),
        "longest_losing_run": (Q, qs.consecutive_losses(s)),
        "sqn": (
            N,
            math.sqrt(min(np.sum(r != 0), 100)) * r[r != 0].mean() / r[r != 0].std(ddof=1),
        ),
        "cpc_index": (Q, qs.cpc_index(s)),
        "outlier_win_ratio": (Q, qs.outlier_win_ratio(s)),
        "outlier_loss_ratio": (Q, qs.outlier_loss_ratio(s)),
        "volatility": (E, ep.annual_volatility(s)),
        "mean_absolute_deviation": (N, np.mean(abs(r - mean))),
        "downside_deviation": (E, ep.downside_risk(s)),
        "upside_deviation": (N, math.sqrt(YEAR * np.mean(np.maximum(r, 0) ** 2))),
        "semideviation": (N, math.sqrt(np.mean(np.minimum(r - mean, 0) ** 2))),
        "volatility_skewness": (N, np.sum(wins**2) / np.sum(losses**2)),
        "coefficient_of_variation": (S, stats.variation(r, ddof=1)),
        "skewness": (S, g),
        "excess_kurtosis": (S, k),
        "volatility_of_volatility": (S, stats.variation(sd21, ddof=1)),
        "ewma_volatility": (N, math.sqrt(YEAR * smooth[-1])),
        "sharpe": (E, ep.sharpe_ratio(s)),
        "return_to_risk": (N, sr),
        "sharpe_ar1": (
            N,
            sr
            * YEAR
            / math.sqrt(
                YEAR
                + 2 * sum((YEAR - j) * autocorrelation(r, 1) ** j for j in range(1, YEAR))
            ),
        ),
        "sharpe_weekly": (
            N,
            sr * 5 / math.sqrt(5 + 2 * sum((5 - j) * autocorrelation(r, j) for j in range(1, 5))),
        ),
        "autocorrelation_penalty": (Q, qs.autocorr_penalty(s)),
        "smart_sharpe": (Q, qs.smart_sharpe(s)),
        "smart_sortino": (Q, qs.smart_sortino(s)),
        "sharpe_error": (N, math.sqrt((1 + sr**2 / 2) / n)),
        "sharpe_error_mertens": (N, psr_error),
        "psr": (S, stats.norm.cdf(sr / psr_error)),
        "psr_benchmark": (S, stats.norm.cdf((sr - sb) / psr_error)),
        "dsr": (S, stats.norm.cdf((sr - threshold) / psr_error)),
        "minimum_track_record": (
            S,
            1 + (1 - g * sr + (k + 2) / 4 * sr**2) * (stats.norm.ppf(0.95) / sr) ** 2,
        ),
        "sharpe_difference_z": (
            N,
            (sr - sb)
            / math.sqrt(
                (
                    2
                    - 2 * np.corrcoef(r, b)[0, 1]
                    + 0.5 * (sr**2 + sb**2 - 2 * sr * sb * np.corrcoef(r, b)[0, 1] ** 2)
                )
                / n
            ),
        ),
        "loss_probability_year": (S, stats.norm.cdf(0, YEAR * mean, math.sqrt(YEAR) * std)),
        "adjusted_sharpe": (N, sr + g / 6 * sr**2 - k / 24 * sr**3),
        "israelsen_sharpe": (N, sr if mean > 0 else mean * std),
        "sortino": (E, ep.sortino_ratio(s)),
        "omega": (E, ep.omega_ratio(s, required_return=1.0001**YEAR - 1)),
        "omega_sharpe": (N, mean / loss_mean),
        "kappa3": (N, mean / np.mean(np.maximum(-r, 0) ** 3) ** (1 / 3)),
        "upside_potential": (N, np.maximum(r, 0).mean() / down_root),
        "farinelli_tibiletti": (N, np.mean(np.sqrt(np.maximum(r, 0))) ** 2 / down_root),
        "mad_ratio": (N, mean / np.mean(abs(r - mean))),
        "gini_ratio": (N, mean / (abs(r[:, None] - r[None, :]).sum() / (n * (n - 1)))),
        "dowd": (N, mean / -q05),
        "modified_sharpe": (N, mean / -(mean + std * bent)),
        "starr": (N, mean / -tail.mean()),
        "rachev": (N, r[r >= np.percentile(r, 95)].mean() / -tail.mean()),
        "tail_ratio": (E, ep.tail_ratio(s)),
        "common_sense": (Q, qs.common_sense_ratio(s)),
        "stability": (E, ep.stability_of_timeseries(s)),
        "k_ratio": (S, line.slope / line.stderr / n * math.sqrt(YEAR)),
        "rolling_sharpe_mean": (N, sharpes.mean()),
        "rolling_sharpe_worst": (N, sharpes.min()),
        "positive_quarters": (N, np.mean(np.array(quarter) > 1)),
        "worst_month": (N, min(np.prod(1 + r[i : i + 21]) for i in range(n - 20)) - 1),
        "max_drawdown": (E, ep.max_drawdown(s)),
        "current_drawdown": (N, d[-1]),
        "average_drawdown": (N, depths.mean()),
        "longest_drawdown": (N, lengths.max()),
        "average_drawdown_length": (N, lengths.mean()),
        "time_under_water": (N, np.mean(d < 0)),
        "pain_index": (N, abs(d).mean()),
        "ulcer_index": (N, math.sqrt(np.mean(d**2))),
        "cdar": (N, -worst20.mean()),
        "lake_ratio": (N, (peaks(r) - w).sum() / w.sum()),
        "calmar": (E, ep.calmar_ratio(s)),
        "calmar_36_months": (E, ep.calmar_ratio(s.iloc[-756:])),
        "sterling": (N, growth / (np.sort(depths)[::-1][:3].mean() + 0.1)),
        "burke": (N, growth / math.sqrt(np.sum(depths**2))),
        "modified_burke": (N, growth / math.sqrt(np.sum(depths**2) / n)),
        "martin": (N, growth / math.sqrt(np.mean(d**2))),
        "pain_ratio": (N, growth / abs(d).mean()),
        "cdar_ratio": (N, growth / -worst20.mean()),
        "recovery_factor": (Q, qs.recovery_factor(s)),
        "serenity": (Q, qs.serenity_index(s)),
        "expected_max_drawdown": (N, math.sqrt(math.pi / 2 * n) * std),
        "drawdown_surprise": (
            N,
            np.max(np.maximum.accumulate(np.maximum(summed, 0)) - summed)
            / (math.sqrt(math.pi / 2 * n) * std),
        ),
        "recovery_time": (N, -math.log(1 + d.min()) / np.log1p(r).mean()),
        "var_historical": (E, ep.value_at_risk(s, 0.05)),
        "var_gaussian": (Q, qs.value_at_risk(s)),
        "var_cornish_fisher": (N, mean + std * bent),
        "var_student": (S, stats.t.ppf(0.01, v, mean, std * math.sqrt((v - 2) / v))),
        "var_riskmetrics": (S, stats.norm.ppf(0.05, 0, math.sqrt(smooth[-1]))),
        "var_filtered": (
            N,
            np.percentile(r[1:] / np.sqrt(smooth[:-1]), 5) * math.sqrt(smooth[-1]),
        ),
        "cvar": (N, tail.mean()),
        "cvar_gaussian": (S, mean + std * normal_tail_mean(0.05)),
        "shortfall_excess": (N, tail.mean() / q05),
        "evar": (S, entropic(r, 0.05)),
        "expectile": (S, stats.expectile(r, 0.01)),
        "gain_loss_expectile_level": (N, 1 / (1 + q1)),
        "hill_loss": (N, hill(-r, 0.05)),
        "hill_gain": (N, hill(-r, 0.05) / hill(r, 0.05)),
        "tail_probability_surplus": (S, np.mean(r < mean - 3 * std) / stats.norm.sf(3)),
        "var_breaches": (N, rate),
        "kupiec": (
            S,
            2
            * (stats.binom.logpmf(x, trials, rate) - stats.binom.logpmf(x, trials, 0.05))
            if trials
            else math.nan,
        ),
        "beta": (E, ep.beta(s, m)),
        "alpha": (E, YEAR * ((1 + ep.alpha(s, m)) ** (1 / YEAR) - 1)),
        "alpha_compounded": (E, ep.alpha(s, m)),
        "alpha_t": (S, (lambda f: f.intercept / f.intercept_stderr)(stats.linregress(b, r))),
        "treynor": (N, YEAR * mean / beta),
        "tracking_error": (N, math.sqrt(YEAR) * np.std(r - b, ddof=1)),
        "active_return": (N, YEAR * (mean - b.mean())),
        "information_ratio": (E, math.sqrt(YEAR) * ep.excess_sharpe(s, m)),
        "appraisal": (N, math.sqrt(YEAR) * alpha / residual.std(ddof=1)),
        "m2": (N, YEAR * sr * b.std(ddof=1)),
        "m2_excess": (N, YEAR * (sr - sb) * b.std(ddof=1)),
        "m2_sortino": (
            E,
            ep.sortino_ratio(s) * ep.downside_risk(m),
        ),
        "fama_selectivity": (N, YEAR * (mean - sb * std)),
        "systematic_risk": (N, math.sqrt(YEAR * (np.var(r, ddof=1) - np.var(residual, ddof=1)))),
        "specific_risk": (N, math.sqrt(YEAR) * residual.std(ddof=1)),
        "r_squared": (S, stats.linregress(b, r).rvalue ** 2),
        "batting_average": (N, np.mean(r > b)),
        "up_capture": (S, capture(r, up) / capture(b, up)),
        "down_capture": (S, capture(r, down) / capture(b, down)),
        "capture_ratio": (
            N,
            (r[up].mean() / b[up].mean()) / (r[down].mean() / b[down].mean()),
        ),
        "up_number": (N, np.mean(r[up] > 0)),
        "down_number": (N, np.mean(r[down] < 0)),
        "up_beta": (S, slope(r[up], b[up])),
        "down_beta": (S, slope(r[down], b[down])),
        "beta_asymmetry": (S, slope(r[up], b[up]) - slope(r[down], b[down])),
        "beta_lower_partial": (N, np.sum(r[down] * b[down]) / np.sum(b[down] ** 2)),
        "coskewness": (
            N,
            np.mean(stats.zscore(r) * stats.zscore(b) ** 2),
        ),
        "cokurtosis": (N, np.mean(stats.zscore(r) * stats.zscore(b) ** 3)),
        "henriksson_merton": (N, hm),
        "treynor_mazuy": (N, tm[2]),
        "timing_alpha": (N, YEAR * tm[0]),
        "scholes_williams": (
            N,
            (slope(r_l, b_l) + beta + slope(r[:-1], b[1:])) / (1 + 2 * autocorrelation(b, 1)),
        ),
        "dimson_beta": (N, ols(r_l, b[1:], b_l)[0][1:].sum()),
        "blume_beta": (N, 1 / 3 + 2 / 3 * beta),
        "ewma_beta": (N, ewm(r * b, 0.06)[-1] / ewm(b**2, 0.06)[-1]),
        "tail_dependence": (
            N,
            np.mean((r <= q05) & (b <= np.percentile(b, 5))) / 0.05,
        ),
        "conditional_stress": (N, r[b <= np.percentile(b, 5)].mean()),
        "relative_drawdown": (E, ep.max_drawdown(pd.Series(relative))),
        "kelly_binary": (Q, qs.kelly_criterion(s)),
        "kelly_continuous": (N, mean / std**2),
        "kelly_second_moment": (N, mean / second),
        "kelly_third_moment": (N, real[0] if len(real) == 2 else math.nan),
        "kelly_exact": (S, f),
        "kelly_half": (N, float(np.clip(0.5 * mean / std**2, 0, 2))),
        "kelly_lower_bound": (S, max(lower - (1 - lower) / pay, 0)),
        "kelly_shrunk": (N, mean / std**2 / (1 + (std / math.sqrt(n) / mean) ** 2)),
        "optimal_f": (S, -r.min() * f),
        "growth_at_kelly": (S, YEAR * np.log1p(f * r).mean()),
        "growth_lost_at_one": (S, YEAR * (np.log1p(f * r).mean() - np.log1p(r).mean())),
        "ruin_gambler": (N, ((1 - p) / p) ** 10),
        "ruin_diffusion": (N, min(math.exp(-0.4 * mean / std**2), 1)),
        "kelly_drawdown_probability": (
            N,
            min(math.exp(math.log(0.8) * (2 * mean / std**2 - 1)), 1),
        ),
        "volatility_target": (E, 0.1 / ep.annual_volatility(s)),
        "volatility_target_ewma": (N, min(0.1 / math.sqrt(YEAR * smooth[-1]), 3)),
        "shortfall_budget": (N, 0.02 / -tail.mean()),
        "drawdown_budget": (E, 0.2 / -ep.max_drawdown(s)),
        "grossman_zhou": (N, mean / std**2 * max(1 - 0.8 * peaks(r)[-1] / w[-1], 0)),
        "cppi_multiplier": (N, -1 / r.min()),
        "cppi_multiplier_tail": (N, 1 / (-q05 * 500 ** (1 / hill(-r, 0.05)))),
        "tipp_exposure": (N, min(4 * max(1 - 0.9 * peaks(r)[-1] / w[-1], 0), 1)),
        "risk_parity_weight": (N, (1 / std) / (1 / std + 1 / b.std(ddof=1))),
        "minimum_variance_weight": (S, weight),
        "tangency_weight": (N, inverse[0] / inverse.sum()),
        "diversification_ratio": (
            N,
            (std + b.std(ddof=1)) / 2 / math.sqrt(np.full(2, 0.5) @ c @ np.full(2, 0.5)),
        ),
        "certainty_equivalent": (N, YEAR * (mean - 1.5 * std**2)),
        "certainty_equivalent_crra": (N, 1 / math.sqrt(np.mean(1 / (1 + r) ** 2)) - 1),
        "mppm": (N, -YEAR / 2 * math.log(np.mean((1 + r) ** -2.0))),
        "entropic_utility": (N, -YEAR / 3 * math.log(np.mean(np.exp(-3 * r)))),
    }


def distributions():
    """Returns expressions of constants with their values."""
    found = {}
    for x in [-37.0, -8.5, -3.0, -1.0, -0.1, 0.0, 0.3, 1.7, 4.0]:
        found[f"normal_cdf({x})"] = stats.norm.cdf(x)
        found[f"normal_pdf({x})"] = stats.norm.pdf(x)
        for k in [1.0, 4.5, 200.0]:
            found[f"t_tail({x}, {k})"] = stats.t.sf(x, k)
    for p in [1e-12, 1e-4, 0.01, 0.05, 0.3, 0.5, 0.7, 0.975, 0.9999]:
        found[f"normal_quantile({p})"] = stats.norm.ppf(p)
        for k in [1.0, 4.5, 200.0]:
            found[f"t_quantile({p}, {k})"] = stats.t.ppf(p, k)
        for a, b in [(1.0, 1.0), (2.5, 7.0), (500.0, 480.0), (1.0, 60.0)]:
            found[f"beta_quantile({p}, {a}, {b})"] = stats.beta.ppf(p, a, b)
            found[f"beta_cdf({p}, {a}, {b})"] = stats.beta.cdf(p, a, b)
    for x in [0.0, 0.2, 0.5, 1.0, 2.4, 9.0, 40.0]:
        found[f"bridge_tail({x})"] = stats.kstwobign.sf(x)
        for k in [1.0, 2.0, 10.0, 99.0]:
            found[f"chi2_tail({x}, {k})"] = stats.chi2.sf(x, k)
            found[f"f_tail({x}, {k}, 30.0)"] = stats.f.sf(x, k, 30)
    for t in [-20.0, -6.0, -3.1, -1.61, -1.2, 0.4, 2.7, 3.0]:
        found[f"dickey_fuller_p({t})"] = mackinnonp(t, "c", 1)
    return {text: number(value) for text, value in found.items()}


def number(value):
    value = float(value)
    return value if math.isfinite(value) else None


def main():
    cases = []
    for name, seed, n, flat in [("long", 7, 900, 0.02), ("short", 11, 160, 0.1)]:
        r, b = series(seed, n, flat)
        found = references(r, b)
        cases.append(
            {
                "name": name,
                "r": r.tolist(),
                "benchmark": b.tolist(),
                "sources": {f"risk.{key}": source for key, (source, _) in found.items()},
                "values": {f"risk.{key}": number(value) for key, (_, value) in found.items()},
            }
        )
    for name, content in [("risk", cases), ("distributions", distributions())]:
        path = FIXTURES / f"{name}.json"
        path.write_text(json.dumps(content, separators=(",", ":")) + "\n")
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
