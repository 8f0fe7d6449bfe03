"""A strategy of its own with foretune's word on every entry.

It buys when the close crosses above its 24-hour mean and sells when it crosses below. That is no
advice: it is short, trades often, and so shows what a veto changes. See docs/freqtrade.md.
"""

from foretune_strategy import ForetuneMixin
from freqtrade.strategy import IStrategy
from pandas import DataFrame


class ForetuneExample(ForetuneMixin, IStrategy):
    """Close against its mean, long only."""

    INTERFACE_VERSION = 3
    timeframe = "1h"
    startup_candle_count = 48
    minimal_roi = {"0": 10}
    stoploss = -0.10
    process_only_new_candles = True

    # Until the record says otherwise, entries are only commented on.
    foretune_mode = "shadow"

    def populate_indicators(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        dataframe["mean"] = dataframe["close"].rolling(24).mean()
        return self.foretune_join(dataframe, metadata["pair"])

    def populate_entry_trend(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        above = dataframe["close"] > dataframe["mean"]
        crossed = above & (dataframe["close"].shift() <= dataframe["mean"].shift())
        dataframe.loc[crossed & (dataframe["volume"] > 0), ["enter_long", "enter_tag"]] = (1, "crossed")
        return dataframe

    def populate_exit_trend(self, dataframe: DataFrame, metadata: dict) -> DataFrame:
        below = dataframe["close"] < dataframe["mean"]
        crossed = below & (dataframe["close"].shift() >= dataframe["mean"].shift())
        dataframe.loc[crossed, ["exit_long", "exit_tag"]] = (1, "crossed")
        return dataframe
