//! Where ticks go and what they say: round numbers and calendar dates (UTC).

use super::scale::Scale;

/// A tick: where and what.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Position in the scale's domain.
    pub value: f64,
    /// What is written beside it.
    pub label: String,
}

/// More ticks than this are never made.
const MOST: usize = 60;

/// Returns about `target` ticks at multiples of 1, 2 or 5 x 10^k, labelled by `label`.
///
/// `label` gets the value and the number of decimals the step needs.
pub fn linear(scale: &Scale, target: usize, label: impl Fn(f64, usize) -> String) -> Vec<Tick> {
    let (step, decimals) = round_step(scale.high() - scale.low(), target);
    let first = (scale.low() / step - 1e-6).ceil();
    let mut ticks = Vec::new();
    for i in 0..MOST {
        let value = (first + i as f64) * step;
        if value > scale.high() + step * 1e-6 || !value.is_finite() {
            break;
        }
        let value = if value.abs() < step * 1e-6 {
            0.0
        } else {
            value
        };
        ticks.push(Tick {
            value,
            label: label(value, decimals),
        });
    }
    ticks
}

/// Returns a round step for about `target` intervals, and the decimals it needs.
fn round_step(width: f64, target: usize) -> (f64, usize) {
    let rough = width / target.max(1) as f64;
    let power = rough.log10().floor();
    let base = 10f64.powf(power);
    let (factor, carries) = match rough / base {
        r if r < 1.5 => (1.0, 0.0),
        r if r < 3.5 => (2.0, 0.0),
        r if r < 7.5 => (5.0, 0.0),
        _ => (1.0, 1.0),
    };
    let step = factor * 10f64.powf(power + carries);
    let decimals = (-(power + carries)).clamp(0.0, 12.0) as usize;
    (step, decimals)
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// The steps a time axis may take, from fine to coarse.
#[derive(Debug, Clone, Copy)]
enum TimeStep {
    Hours(i64),
    Days(i64),
    Months(i64),
}

const TIME_STEPS: [TimeStep; 17] = [
    TimeStep::Hours(1),
    TimeStep::Hours(3),
    TimeStep::Hours(6),
    TimeStep::Hours(12),
    TimeStep::Days(1),
    TimeStep::Days(2),
    TimeStep::Days(7),
    TimeStep::Days(14),
    TimeStep::Months(1),
    TimeStep::Months(2),
    TimeStep::Months(3),
    TimeStep::Months(6),
    TimeStep::Months(12),
    TimeStep::Months(24),
    TimeStep::Months(60),
    TimeStep::Months(120),
    TimeStep::Months(1200),
];

impl TimeStep {
    fn milliseconds(self) -> i64 {
        match self {
            Self::Hours(n) => n * HOUR,
            Self::Days(n) => n * DAY,
            Self::Months(n) => n * 30 * DAY,
        }
    }
}

/// Returns at most about `target` ticks on calendar boundaries for a scale in Unix milliseconds.
pub fn time(scale: &Scale, target: usize) -> Vec<Tick> {
    // Far beyond any candle, and small enough that no sum below overflows.
    const FURTHEST: f64 = 1e14;
    let low = scale.low().clamp(-FURTHEST, FURTHEST).ceil() as i64;
    let high = scale.high().clamp(-FURTHEST, FURTHEST).floor() as i64;
    let enough = (high - low) / (target as i64 + 1);
    let step = TIME_STEPS
        .into_iter()
        .find(|step| step.milliseconds() >= enough)
        .unwrap_or(TimeStep::Months(1200));
    let mut ticks = Vec::new();
    let mut year_shown = None;
    let mut at = first_boundary(low, step);
    while at <= high && ticks.len() < MOST {
        if at >= low {
            let (year, month, day) = date(at);
            let names_year = year_shown != Some(year);
            year_shown = Some(year);
            ticks.push(Tick {
                value: at as f64,
                label: time_label(step, at, (year, month, day), names_year),
            });
        }
        at = next_boundary(at, step);
    }
    ticks
}

fn time_label(
    step: TimeStep,
    at: i64,
    (year, month, day): (i64, u32, u32),
    names_year: bool,
) -> String {
    let month_name = MONTHS[month as usize - 1];
    match step {
        TimeStep::Hours(_) if at.rem_euclid(DAY) != 0 => {
            format!("{:02}:00", at.rem_euclid(DAY) / HOUR)
        }
        TimeStep::Hours(_) | TimeStep::Days(_) if names_year => {
            format!("{day} {month_name} {year}")
        }
        TimeStep::Hours(_) | TimeStep::Days(_) => format!("{day} {month_name}"),
        TimeStep::Months(n) if n >= 12 => year.to_string(),
        TimeStep::Months(_) if names_year => format!("{month_name} {year}"),
        TimeStep::Months(_) => month_name.to_owned(),
    }
}

fn first_boundary(low: i64, step: TimeStep) -> i64 {
    match step {
        TimeStep::Hours(_) => low - low.rem_euclid(step.milliseconds()),
        // Day 4 of the epoch is a Monday: weeks start on Mondays.
        TimeStep::Days(_) => low - (low - 4 * DAY).rem_euclid(step.milliseconds()),
        TimeStep::Months(n) => {
            let (year, month, _) = date(low);
            let index = year * 12 + i64::from(month) - 1;
            month_start(index - index.rem_euclid(n))
        }
    }
}

fn next_boundary(at: i64, step: TimeStep) -> i64 {
    match step {
        TimeStep::Hours(_) | TimeStep::Days(_) => at + step.milliseconds(),
        TimeStep::Months(n) => {
            let (year, month, _) = date(at);
            month_start(year * 12 + i64::from(month) - 1 + n)
        }
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Returns year, month and day (UTC) of a Unix time in milliseconds.
///
/// The Gregorian calendar repeats every 146,097 days; within such an era, with
/// years starting in March, day and month follow from integer division (the
/// method of H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub(crate) fn date(milliseconds: i64) -> (i64, u32, u32) {
    const ERA_DAYS: i64 = 146_097;
    // Days from 1 March of year 0 to 1 January 1970.
    let days = milliseconds.div_euclid(DAY) + 719_468;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

/// Returns the Unix time in milliseconds of the first of a month, counted from year 0.
pub(crate) fn month_start(index: i64) -> i64 {
    let (year, month) = (index.div_euclid(12), index.rem_euclid(12) + 1);
    let year_from_march = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let days = 365 * year_from_march + year_from_march.div_euclid(4)
        - year_from_march.div_euclid(100)
        + year_from_march.div_euclid(400)
        + (153 * month_from_march + 2) / 5;
    (days - 719_468) * DAY
}

/// Writes a value with the given decimals and thousands separated by commas.
pub fn plain(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) && digit.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    let sign = if value < 0.0 && !is_zero {
        "\u{2212}"
    } else {
        ""
    };
    if fraction.is_empty() {
        format!("{sign}{grouped}")
    } else {
        format!("{sign}{grouped}.{fraction}")
    }
}

/// Writes a number with its sign; zero has none.
pub fn signed(value: f64, decimals: usize) -> String {
    let text = plain(value, decimals);
    let is_zero = !text.chars().any(|c| ('1'..='9').contains(&c));
    if value > 0.0 && !is_zero {
        format!("+{text}")
    } else {
        text
    }
}

/// Writes a fraction as a percentage; `decimals` are those of the fraction.
pub fn percent(value: f64, decimals: usize) -> String {
    format!("{} %", plain(value * 100.0, decimals.saturating_sub(2)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn round_numbers() {
        let scale = Scale::new((0.31, 0.58), (0.0, 1.0));
        assert_eq!(
            labels(&linear(&scale, 5, percent)),
            ["35 %", "40 %", "45 %", "50 %", "55 %"]
        );
        let scale = Scale::new((-1.2, 1.2), (0.0, 1.0));
        assert_eq!(
            labels(&linear(&scale, 4, plain)),
            ["\u{2212}1.0", "\u{2212}0.5", "0.0", "0.5", "1.0"]
        );
        let scale = Scale::new((8_900.0, 13_100.0), (0.0, 1.0));
        assert_eq!(
            labels(&linear(&scale, 4, plain)),
            ["9,000", "10,000", "11,000", "12,000", "13,000"]
        );
    }

    #[test]
    fn plain_numbers() {
        assert_eq!(plain(1_234_567.891, 2), "1,234,567.89");
        assert_eq!(plain(-0.004, 2), "0.00");
        assert_eq!(plain(-12.5, 1), "\u{2212}12.5");
        assert_eq!(plain(999.0, 0), "999");
    }

    #[test]
    fn dates_agree_with_known_instants() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(-1), (1969, 12, 31));
        assert_eq!(date(951_782_400_000), (2000, 2, 29));
        assert_eq!(date(1_551_398_400_000), (2019, 3, 1));
        assert_eq!(month_start(1970 * 12), 0);
        assert_eq!(month_start(2019 * 12 + 2), 1_551_398_400_000);
    }

    #[test]
    fn time_ticks_sit_on_the_calendar() {
        // 2019-03-10 to 2019-09-20
        let scale = Scale::new((1_552_176_000_000.0, 1_568_937_600_000.0), (0.0, 1.0));
        assert_eq!(
            labels(&time(&scale, 7)),
            ["Apr 2019", "May", "Jun", "Jul", "Aug", "Sep"]
        );
        assert_eq!(labels(&time(&scale, 3)), ["May 2019", "Jul", "Sep"]);
        // 2019-01-01 to 2019-01-02
        let scale = Scale::new((1_546_300_800_000.0, 1_546_387_200_000.0), (0.0, 1.0));
        assert_eq!(
            labels(&time(&scale, 4)),
            ["1 Jan 2019", "06:00", "12:00", "18:00", "2 Jan"]
        );
    }

    proptest! {
        #[test]
        fn dates_invert_month_starts(index in -24_000i64..60_000) {
            let (year, month, day) = date(month_start(index));
            prop_assert_eq!((year * 12 + i64::from(month) - 1, day), (index, 1));
        }

        #[test]
        fn ticks_are_finite_ascending_inside_and_few(
            low in any::<u64>().prop_map(f64::from_bits),
            high in any::<u64>().prop_map(f64::from_bits),
            target in 0usize..20,
        ) {
            let scale = Scale::new((low, high), (0.0, 1.0));
            for ticks in [linear(&scale, target, plain), time(&scale, target)] {
                prop_assert!(ticks.len() <= MOST);
                let slack = (scale.high() - scale.low()) * 1e-5;
                for tick in &ticks {
                    prop_assert!(tick.value.is_finite());
                    prop_assert!(tick.value >= scale.low() - slack);
                    prop_assert!(tick.value <= scale.high() + slack);
                }
                prop_assert!(ticks.windows(2).all(|pair| pair[0].value < pair[1].value));
            }
        }
    }
}
