//! Decodes the pages of one column chunk into values.
//!
//! The decoders are our own: they index nothing that has not been compared with a length, so that
//! no bytes make them panic, and they write straight into the column that a reader wants.

use super::bits;
use super::pages::{
    BYTE_STREAM_SPLIT, DELTA_BINARY_PACKED, PLAIN, PLAIN_DICTIONARY, Page, Pages, RLE,
    RLE_DICTIONARY, unsupported_encoding,
};
use super::thrift::Malformed;

/// What is reserved at most before the bytes have shown that the values are there.
const AT_ONCE: usize = 1 << 20;

/// The values of a column, one per row.
pub(crate) struct Decoded<T> {
    /// The values; a null's place holds anything.
    pub(crate) values: Vec<T>,
    /// Which rows are not null, where any is.
    pub(crate) valid: Option<Vec<bool>>,
}

/// How the plain values of a type are laid out and read.
pub(super) trait Plain {
    /// What a value becomes.
    type Value: Copy + Default;

    /// Returns the bytes of a plain value.
    fn width(&self) -> usize;

    /// Reads a plain value from exactly that many bytes.
    fn read(&self, bytes: &[u8]) -> Self::Value;

    /// Returns the value of an integer, for the types that are written as packed deltas.
    fn integer(&self, _value: i64) -> Option<Self::Value> {
        None
    }

    /// What stands in a null's place.
    fn missing(&self) -> Self::Value {
        Self::Value::default()
    }

    /// Appends `count` plain values.
    fn plain(&self, bytes: &[u8], count: usize, out: &mut Vec<Self::Value>) -> Result<(), String> {
        let width = self.width();
        let bytes = bytes.get(..count * width).ok_or_else(|| short(count))?;
        out.extend(bytes.chunks_exact(width).map(|chunk| self.read(chunk)));
        Ok(())
    }

    /// Appends `count` values of a run-length page, which only truth values have.
    fn runs(&self, _: &[u8], _: usize, _: &mut Vec<Self::Value>) -> Result<(), String> {
        Err(unsupported_encoding(RLE))
    }
}

/// Decodes a chunk.
pub(super) fn decode<P: Plain>(
    plain: &P,
    mut pages: Pages<'_>,
) -> Result<Decoded<P::Value>, Malformed> {
    let mut column = Decoded {
        values: Vec::new(),
        valid: None,
    };
    let mut dictionary: Option<Vec<P::Value>> = None;
    while let Some(page) = pages.next()? {
        match page {
            Page::Dictionary { count, values } => {
                let mut entries = Vec::new();
                plain
                    .plain(values, count, &mut entries)
                    .map_err(|reason| Malformed { offset: 0, reason })?;
                dictionary = Some(entries);
            }
            Page::Data {
                count,
                offset,
                encoding,
                levels,
                values,
            } => {
                let data = Data {
                    count,
                    encoding,
                    levels,
                    values,
                };
                data.append(plain, dictionary.as_deref(), &mut column)
                    .map_err(|reason| Malformed { offset, reason })?;
            }
        }
    }
    Ok(column)
}

struct Data<'a> {
    count: usize,
    encoding: i64,
    levels: Option<&'a [u8]>,
    values: &'a [u8],
}

impl Data<'_> {
    fn append<P: Plain>(
        &self,
        plain: &P,
        dictionary: Option<&[P::Value]>,
        column: &mut Decoded<P::Value>,
    ) -> Result<(), String> {
        let valid = self.valid()?;
        let start = column.values.len();
        let Some(valid) = valid else {
            self.values_into(plain, dictionary, self.count, &mut column.values)?;
            if let Some(all) = &mut column.valid {
                all.resize(start + self.count, true);
            }
            return check_length(column.values.len() - start, self.count);
        };
        let present = valid.iter().filter(|valid| **valid).count();
        let mut dense = Vec::new();
        self.values_into(plain, dictionary, present, &mut dense)?;
        check_length(dense.len(), present)?;
        let mut dense = dense.into_iter();
        column.values.extend(valid.iter().map(|valid| {
            let value = if *valid { dense.next() } else { None };
            value.unwrap_or_else(|| plain.missing())
        }));
        let all = column.valid.get_or_insert_with(Vec::new);
        all.resize(start, true);
        all.extend(valid);
        Ok(())
    }

    /// Returns which values are there, or nothing where all are.
    fn valid(&self) -> Result<Option<Vec<bool>>, String> {
        let Some(levels) = self.levels else {
            return Ok(None);
        };
        let mut valid = Vec::new();
        let mut sound = true;
        bits::hybrid(levels, 1, self.count, |level, run| {
            sound &= level <= 1;
            valid.resize(valid.len() + run, level == 1);
        })?;
        if !sound {
            return Err("a definition level is neither 0 nor 1".to_owned());
        }
        Ok(valid.contains(&false).then_some(valid))
    }

    fn values_into<P: Plain>(
        &self,
        plain: &P,
        dictionary: Option<&[P::Value]>,
        count: usize,
        out: &mut Vec<P::Value>,
    ) -> Result<(), String> {
        if count == 0 {
            return Ok(());
        }
        match self.encoding {
            PLAIN => plain.plain(self.values, count, out),
            RLE => plain.runs(self.values, count, out),
            PLAIN_DICTIONARY | RLE_DICTIONARY => {
                let entries = dictionary.ok_or("a page uses a dictionary that is not there")?;
                look_up(self.values, entries, count, out)
            }
            BYTE_STREAM_SPLIT => unsplit(plain, self.values, count, out),
            DELTA_BINARY_PACKED if plain.integer(0).is_some() => {
                bits::deltas(self.values, count, |value| out.extend(plain.integer(value)))?;
                Ok(())
            }
            other => Err(unsupported_encoding(other)),
        }
    }
}

fn check_length(found: usize, expected: usize) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("a page holds {found} values, expected {expected}"))
}

fn look_up<T: Copy>(
    bytes: &[u8],
    entries: &[T],
    count: usize,
    out: &mut Vec<T>,
) -> Result<(), String> {
    let (width, indices) = bytes.split_first().ok_or_else(|| short(count))?;
    out.reserve(count.min(AT_ONCE));
    let mut missing = None;
    bits::hybrid(
        indices,
        u32::from(*width),
        count,
        |index, run| match entries.get(index as usize) {
            Some(entry) if run == 1 => out.push(*entry),
            Some(entry) => out.extend(std::iter::repeat_n(*entry, run)),
            None => missing = Some(index),
        },
    )?;
    match missing {
        Some(index) => Err(format!(
            "an index is {index} in a dictionary of {} values",
            entries.len()
        )),
        None => Ok(()),
    }
}

/// Puts together the bytes of values that are stored as one stream per byte.
fn unsplit<P: Plain>(
    plain: &P,
    bytes: &[u8],
    count: usize,
    out: &mut Vec<P::Value>,
) -> Result<(), String> {
    let width = plain.width();
    let bytes = bytes.get(..count * width).ok_or_else(|| short(count))?;
    let mut value = [0_u8; 16];
    let value = value
        .get_mut(..width)
        .ok_or_else(|| unsupported_encoding(BYTE_STREAM_SPLIT))?;
    for index in 0..count {
        for (byte, stream) in value.iter_mut().zip(bytes.chunks_exact(count)) {
            *byte = stream[index];
        }
        out.push(plain.read(value));
    }
    Ok(())
}

fn short(count: usize) -> String {
    format!("a page is too short for its {count} values")
}

/// Declares a type of fixed width.
macro_rules! plain {
    ($name:ident, $value:ty, $width:literal, |$bytes:ident| $read:expr $(, |$whole:ident| $integer:expr)?) => {
        pub(super) struct $name;

        impl Plain for $name {
            type Value = $value;

            #[inline(always)]
            fn width(&self) -> usize {
                $width
            }

            #[inline(always)]
            fn read(&self, bytes: &[u8]) -> $value {
                let $bytes: [u8; $width] = bytes.try_into().unwrap_or_default();
                $read
            }

            $(
                #[inline(always)]
                fn integer(&self, $whole: i64) -> Option<$value> {
                    Some($integer)
                }
            )?
        }
    };
}

plain!(
    Int32,
    i32,
    4,
    |bytes| i32::from_le_bytes(bytes),
    |value| value as i32
);
plain!(Int64, i64, 8, |bytes| i64::from_le_bytes(bytes), |value| {
    value
});
plain!(Float, f32, 4, |bytes| f32::from_le_bytes(bytes));
plain!(Double, f64, 8, |bytes| f64::from_le_bytes(bytes));
plain!(Stamp96, i64, 12, |bytes| stamp96(bytes));

/// Returns the Unix milliseconds of a stamp of twelve bytes: the nanoseconds within a day and the
/// Julian day, on whose noon the astronomers' day starts and on whose midnight this one does.
fn stamp96(bytes: [u8; 12]) -> i64 {
    /// 1970-01-01.
    const EPOCH: i64 = 2_440_588;
    const DAY: i64 = 86_400_000;
    let [a, b, c, d, e, f, g, h, day @ ..] = bytes;
    let nanoseconds = i64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let days = i64::from(u32::from_le_bytes(day)) - EPOCH;
    (days * DAY).saturating_add(nanoseconds.div_euclid(1_000_000))
}

/// A whole number of so many bytes, big-endian, as decimals are stored; read as a float.
pub(super) struct FixedDecimal(pub(super) usize);

impl Plain for FixedDecimal {
    type Value = f64;

    fn width(&self) -> usize {
        self.0
    }

    fn read(&self, bytes: &[u8]) -> f64 {
        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        let start = if negative { -1_i128 } else { 0 };
        bytes
            .iter()
            .fold(start, |value, byte| value << 8 | i128::from(*byte)) as f64
    }
}

/// Texts behind their lengths, each turned into a number. No more of them is kept.
pub(super) struct Words<F>(pub(super) F);

impl<F: Fn(&[u8]) -> f64> Plain for Words<F> {
    type Value = f64;

    /// The least that a text takes.
    fn width(&self) -> usize {
        4
    }

    fn read(&self, bytes: &[u8]) -> f64 {
        (self.0)(bytes)
    }

    fn missing(&self) -> f64 {
        f64::NAN
    }

    fn plain(&self, mut bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), String> {
        for _ in 0..count {
            let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| short(count))?;
            let length = u32::from_le_bytes(*length) as usize;
            let (text, rest) = rest.split_at_checked(length).ok_or_else(|| short(count))?;
            out.push(self.read(text));
            bytes = rest;
        }
        Ok(())
    }
}

/// One bit each, lowest first.
pub(super) struct Boolean;

impl Plain for Boolean {
    type Value = bool;

    fn width(&self) -> usize {
        1
    }

    fn read(&self, bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|byte| *byte != 0)
    }

    fn plain(&self, bytes: &[u8], count: usize, out: &mut Vec<bool>) -> Result<(), String> {
        if bytes.len() < count.div_ceil(8) {
            return Err(short(count));
        }
        out.extend((0..count).map(|index| bytes[index / 8] >> (index % 8) & 1 == 1));
        Ok(())
    }

    fn runs(&self, bytes: &[u8], count: usize, out: &mut Vec<bool>) -> Result<(), String> {
        let bytes = bytes.get(4..).ok_or_else(|| short(count))?;
        bits::hybrid(bytes, 1, count, |value, run| {
            out.resize(out.len() + run, value != 0);
        })?;
        Ok(())
    }
}
