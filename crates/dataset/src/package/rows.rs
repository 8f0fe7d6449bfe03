//! Which rows go into which part.

use std::ops::Range;

use formula::panel::Panel;

use super::PackageSettings;

/// The name of a part's file without its ending, in order of time.
pub(crate) const PARTS: [&str; 3] = ["train", "val", "test"];

/// Returns the panel rows at which the parts begin and end: four ascending bounds.
pub(crate) fn bounds(panel: &Panel, settings: &PackageSettings) -> [usize; 4] {
    let rows = panel.rows();
    let at = |share: f64| ((rows as f64 * share).round() as usize).min(rows);
    let train = at(settings.split.train);
    let validation = at(settings.split.train + settings.split.validation).max(train);
    [0, train, validation, rows]
}

/// Returns which of the bars that instrument `lane` really has belong to part
/// `part`: warm, past the embargo, and with every target inside the part.
pub(crate) fn rows_of(
    panel: &Panel,
    settings: &PackageSettings,
    bounds: [usize; 4],
    warm_up: usize,
    lane: usize,
    part: usize,
) -> Range<usize> {
    let bars = panel.bars_of(lane);
    let begin = match part {
        0 => warm_up,
        _ => (bounds[part] + settings.embargo()).max(warm_up),
    };
    let first = bars.partition_point(|&row| (row as usize) < begin);
    let inside = bars.partition_point(|&row| (row as usize) < bounds[part + 1]);
    // The bar that ends the longest target is the last one inside.
    let end = inside.saturating_sub(settings.longest());
    first..end.max(first)
}

/// Returns the change of the close over `horizon` bars of one instrument.
pub(crate) fn targets(close: &[f64], rows: Range<usize>, horizon: usize) -> Vec<f32> {
    rows.map(|row| (close[row + horizon] / close[row] - 1.0) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use formula::panel::Bar;
    use market::Instrument;

    #[test]
    fn targets_stay_inside_their_part_and_parts_keep_their_distance() {
        let names = [Instrument::new("EUR/USD").unwrap()];
        let mut panel = Panel::new(&names, "15m".parse().unwrap(), 0).unwrap();
        for row in 0..1000_i64 {
            let bar = Bar {
                open: 1.0,
                high: 1.0,
                low: 1.0,
                close: 1.0,
                volume: 1.0,
            };
            // Every tenth bar is missing.
            panel
                .push(row * 900_000, &[(row % 10 != 9).then_some(bar)])
                .unwrap();
        }
        let settings = PackageSettings::default();
        let bounds = bounds(&panel, &settings);
        assert_eq!(bounds, [0, 700, 850, 1000]);
        let bars = panel.bars_of(0);
        for part in 0..3 {
            let rows = rows_of(&panel, &settings, bounds, 60, 0, part);
            assert!(!rows.is_empty());
            let first = bars[rows.start] as usize;
            let last_target = bars[rows.end - 1 + 50] as usize;
            assert!(last_target < bounds[part + 1], "part {part}");
            // The next row's target would reach beyond the part, or there is none.
            let next = bars.get(rows.end + 50);
            assert!(
                next.is_none_or(|&row| row as usize >= bounds[part + 1]),
                "part {part}"
            );
            let earliest = if part == 0 { 60 } else { bounds[part] + 50 };
            assert!(
                first >= earliest && first <= earliest + 1,
                "part {part}: {first}"
            );
        }
        // A part too short for one target is empty, not an error.
        let far = PackageSettings {
            horizons: vec![600],
            ..settings
        };
        assert!(rows_of(&panel, &far, bounds, 0, 0, 1).is_empty());
    }

    #[test]
    fn a_target_is_the_relative_change() {
        assert_eq!(targets(&[1.0, 2.0, 3.0, 6.0], 0..2, 2), [2.0, 2.0]);
    }
}
