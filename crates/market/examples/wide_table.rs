//! Writes a made-up wide table and says how long that took: what writing alone costs.
//!
//!     cargo run --release -p foretune-market --example wide_table -- ROWS COLUMNS LEVEL PATH [GROUP]
//!
//! The values are noise times a slow wave, as features of markets are: they compress badly. Making
//! them is not counted. Prints one JSON object.
#![expect(clippy::print_stdout, reason = "an example's output is what it is for")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use market::table::{WideColumn, WideOptions, WideReader, WideValues, WideWriter};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rows, columns, level, path, rest @ ..] = arguments.as_slice() else {
        return Err("expected ROWS COLUMNS LEVEL PATH [GROUP]".into());
    };
    let (rows, columns): (usize, usize) = (rows.parse()?, columns.parse()?);
    let group: usize = rest.first().map_or(Ok(65_536), |group| group.parse())?;
    let options = WideOptions {
        level: level.parse()?,
        ..WideOptions::default()
    };
    let path = Path::new(path);
    let names: Vec<_> = (0..columns)
        .map(|column| (format!("feature_{column}"), WideColumn::F32))
        .collect();
    let mut writer = WideWriter::create(path, "time", &names, &options)?;
    let mut buffers = vec![vec![0_f32; group]; columns];
    let mut writing = Duration::ZERO;
    let mut state = 1_u64;
    for start in (0..rows).step_by(group) {
        let count = group.min(rows - start);
        for (column, buffer) in buffers.iter_mut().enumerate() {
            for (row, value) in buffer[..count].iter_mut().enumerate() {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let noise = (state >> 40) as f32 / 16_777_216.0 - 0.5;
                *value = noise * (1.5 + ((start + row) as f32 * 1e-3 + column as f32).sin());
            }
        }
        let times: Vec<i64> = (start..start + count)
            .map(|row| 1_739_743_200_000 + 900_000 * row as i64)
            .collect();
        let slices: Vec<_> = buffers
            .iter()
            .map(|buffer| WideValues::F32(&buffer[..count]))
            .collect();
        let clock = Instant::now();
        writer.write_group(&times, &slices)?;
        writing += clock.elapsed();
    }
    let clock = Instant::now();
    let written = writer.finish()?;
    writing += clock.elapsed();

    let clock = Instant::now();
    let reader = WideReader::open(path)?;
    let mut sum = 0.0;
    for group in 0..reader.groups() {
        for column in 1..=columns {
            let values = reader.floats(group, column)?;
            sum += f64::from(values[values.len() - 1]);
        }
    }
    let reading = clock.elapsed();
    println!(
        "{{\"rows\":{},\"columns\":{columns},\"level\":{},\"bytes\":{},\"write_seconds\":{:.3},\
         \"read_seconds\":{:.3},\"check\":{sum:.6}}}",
        written.rows,
        options.level,
        written.bytes,
        writing.as_secs_f64(),
        reading.as_secs_f64()
    );
    Ok(())
}
