//! TensorBoard event files: the scalars of a run, as `tensorboard --logdir RUN` shows them.
//!
//! A file is a sequence of records, each a length, its check sum, the bytes and their check sum;
//! the bytes are a protocol buffer of the message `Event` (`tensorflow/core/util/event.proto`, and
//! `summary.proto`; the framing is that of `tensorflow/core/lib/io/record_writer.h`). Scalars need
//! five fields of these, written by hand here: `wall_time` 1, `step` 2, `file_version` 3 and
//! `summary` 5 of an event, the values' `tag` 1 and `simple_value` 2.
//!
//! A resumed run goes on in the file of the first process, cut before the first step that is done
//! again, so that no step is there twice.

use crate::TrainError;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// What every event file's name contains.
const NAME_PART: &str = "events.out.tfevents.";
/// How ours end.
const NAME_END: &str = ".foretune";
/// What the first event says about the file.
const VERSION: &[u8] = b"brain.Event:2";
/// Bytes around a record's own: length, its check sum, and the check sum after it.
const FRAME: usize = 8 + 4 + 4;

/// One event with scalars.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Seconds since 1970.
    pub wall_time: f64,
    /// The step.
    pub step: u64,
    /// Names and values.
    pub scalars: Vec<(String, f32)>,
}

/// An event file open for appending.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Opens the event file of a run directory, without the events of steps after `step`; `now`
    /// (seconds since 1970) is when the file begins, if there is none. With `step` 0 whatever an
    /// earlier run left is dropped.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn open(directory: &Path, step: u64, now: f64) -> Result<Self, TrainError> {
        for path in find(directory)? {
            if step > 0
                && let Some(file) = Self::go_on(&path, step)?
            {
                return Ok(file);
            }
            std::fs::remove_file(&path).map_err(error("remove", &path))?;
        }
        let path = directory.join(format!("{NAME_PART}{:010}{NAME_END}", now as u64));
        let mut file = File::create(&path).map_err(error("create", &path))?;
        file.write_all(&record(&first_event(now)))
            .map_err(error("write", &path))?;
        Ok(Self { path, file })
    }

    /// Opens a file that is there, if it is one of ours, cut after the last event up to `step`.
    fn go_on(path: &Path, step: u64) -> Result<Option<Self>, TrainError> {
        let bytes = std::fs::read(path).map_err(error("read", path))?;
        let mut end = 0;
        while let Some((body, next)) = read_record(&bytes, end) {
            match event_step(body) {
                Some(of_event) if of_event <= step => end = next,
                _ => break,
            }
        }
        if end == 0 {
            return Ok(None);
        }
        let mut file = OpenOptions::new()
            .write(true)
            .open(path)
            .map_err(error("open", path))?;
        file.set_len(end as u64).map_err(error("cut", path))?;
        file.seek(SeekFrom::End(0)).map_err(error("cut", path))?;
        Ok(Some(Self {
            path: path.to_path_buf(),
            file,
        }))
    }

    /// Appends an event.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append(&mut self, event: &Event) -> Result<(), TrainError> {
        self.file
            .write_all(&record(&encode(event)))
            .map_err(error("write", &self.path))
    }
}

fn error(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> TrainError {
    let path = path.to_path_buf();
    move |source| TrainError::File {
        action,
        path: path.clone(),
        source,
    }
}

/// Returns our event files in a directory, the newest first.
fn find(directory: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(error("list", directory))? {
        let name = entry.map_err(error("list", directory))?.file_name();
        let text = name.to_string_lossy();
        if text.starts_with(NAME_PART) && text.ends_with(NAME_END) {
            found.push(directory.join(&name));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Returns an event as a protocol buffer.
pub fn encode(event: &Event) -> Vec<u8> {
    let mut bytes = vec![0x09]; // field 1, 64 bits
    bytes.extend(event.wall_time.to_le_bytes());
    bytes.push(0x10); // field 2, varint
    varint(&mut bytes, event.step);
    let mut summary = Vec::new();
    for (tag, value) in &event.scalars {
        let mut one = Vec::new();
        field(&mut one, 1, tag.as_bytes());
        one.push(0x15); // field 2, 32 bits
        one.extend(value.to_le_bytes());
        field(&mut summary, 1, &one);
    }
    field(&mut bytes, 5, &summary);
    bytes
}

fn first_event(now: f64) -> Vec<u8> {
    let mut bytes = vec![0x09];
    bytes.extend(now.to_le_bytes());
    field(&mut bytes, 3, VERSION);
    bytes
}

/// Appends a field of bytes.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Returns bytes framed as a record.
pub fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(bytes.len() + FRAME);
    out.extend(length);
    out.extend(masked_check_sum(&length).to_le_bytes());
    out.extend(bytes);
    out.extend(masked_check_sum(bytes).to_le_bytes());
    out
}

/// Returns the record that begins at `start` and where the next one does; nothing at the end of
/// the bytes and where a record is torn or altered.
pub fn read_record(bytes: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(start..)?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != masked_check_sum(length) {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let body = rest.get(..length)?;
    let sum = rest.get(length..)?.first_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != masked_check_sum(body) {
        return None;
    }
    Some((body, start + FRAME + length))
}

/// Returns an event's step, 0 where it has none; nothing if the bytes are no event.
fn event_step(bytes: &[u8]) -> Option<u64> {
    let mut rest = bytes;
    let mut step = 0;
    while let Some((key, after)) = rest.split_first() {
        rest = match key & 7 {
            0 => {
                let (value, after) = read_varint(after)?;
                if key >> 3 == 2 {
                    step = value;
                }
                after
            }
            1 => after.get(8..)?,
            2 => {
                let (length, after) = read_varint(after)?;
                after.get(usize::try_from(length).ok()?..)?
            }
            5 => after.get(4..)?,
            _ => return None,
        };
    }
    Some(step)
}

fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// Returns CRC-32C (Castagnoli), rotated and shifted so that a check sum over bytes that hold check
/// sums is not weak.
fn masked_check_sum(bytes: &[u8]) -> u32 {
    /// The polynomial 0x1EDC6F41, its bits reversed.
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    static TABLE: LazyLock<[u32; 256]> = LazyLock::new(|| {
        std::array::from_fn(|index| {
            (0..8).fold(index as u32, |sum, _| {
                (sum >> 1) ^ (if sum & 1 == 1 { POLYNOMIAL } else { 0 })
            })
        })
    });
    let sum = !bytes.iter().fold(u32::MAX, |sum, byte| {
        (sum >> 8) ^ TABLE[usize::from(sum as u8 ^ byte)]
    });
    sum.rotate_right(15).wrapping_add(0xA282_EAD8)
}
