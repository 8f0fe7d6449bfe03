#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::print_stdout)]
use dataset::*;
use market::freqtrade;
use std::ops::ControlFlow;
#[test]
fn p() {
    let w = world::planted(17, world::BLOCKS).unwrap();
    let d = build(&w.settings, &w.bars, None, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    println!("{}", d.datasheet.markdown());
    println!("{}", d.train[0].prompt());
    for e in d.train.iter().take(12) {
        println!("{}", e.answer());
    }
    // persistence vs label in test
    let mut t = [[0; 3]; 3];
    for e in &d.test {
        t[e.persistence.index()][e.label.index()] += 1;
    }
    println!("persist x label {t:?}");
    let mut z: std::collections::BTreeMap<(String, String), usize> = Default::default();
    for e in &d.test {
        for k in ["bollinger", "trend_1h", "ema", "change_24h", "macd"] {
            *z.entry((
                e.facts["rsi"].zone.clone().unwrap(),
                format!("{k} {}", e.facts[k].zone.clone().unwrap()),
            ))
            .or_default() += 1;
        }
    }
    for (k, v) in z {
        println!("{k:?} {v}");
    }
    for w in [
        world::planted_digits(17, world::BLOCKS).unwrap(),
        world::null(17, world::BLOCKS).unwrap(),
    ] {
        let d = build(&w.settings, &w.bars, None, &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        println!(
            "{} {:?} {:?}",
            w.name, d.datasheet.counts, d.datasheet.warnings
        );
        println!("{}\n{}", d.train[5].prompt(), d.train[5].answer());
    }
    // real
    let dir = std::path::Path::new("/work/shared/data/crypto");
    for s in [
        DatasetSettings::default(),
        DatasetSettings {
            label: LabelRule::Volatility {
                k: 1.0,
                window_bars: 72,
            },
            ..Default::default()
        },
    ] {
        let bars: Vec<_> = ["BTC_USDT-1h.feather", "ETH_USDT-1h.feather"]
            .iter()
            .map(|f| freqtrade::read(&dir.join(f)).unwrap())
            .collect();
        let fg = market::sentiment::read_csv(std::path::Path::new(
            "/work/shared/data/sentiment/fear_and_greed.csv",
        ))
        .unwrap();
        let t = std::time::Instant::now();
        let d = build(&s, &bars, Some(&fg), &mut |_| ControlFlow::Continue(())).unwrap();
        println!("build {:?}", t.elapsed());
        let t = std::time::Instant::now();
        d.write(std::path::Path::new("/tmp/ft/ds/out")).unwrap();
        println!("write {:?}", t.elapsed());
        let t = std::time::Instant::now();
        let r = Dataset::read(std::path::Path::new("/tmp/ft/ds/out")).unwrap();
        println!("read {:?} {}", t.elapsed(), r.test.len());
        println!("{}", d.datasheet.markdown());
        for e in d.train.iter().step_by(500) {
            println!("{}\n{}\n", e.prompt(), e.answer());
        }
    }
}
