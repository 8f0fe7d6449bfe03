//! Parquet's packed integers: the run-length hybrid of levels and dictionary indices, and the
//! binary packed deltas of integers.
//!
//! Layout: `Encodings.md` of apache/parquet-format, "RLE" and "DELTA_BINARY_PACKED".

/// What a decoder says where the bytes end too early.
const SHORT: &str = "its values end too early";

/// Reads `count` unsigned integers of `width` bits (0 to 32) in runs, and gives each run to `take`
/// as a value and how often it comes.
pub(super) fn hybrid(
    mut bytes: &[u8],
    width: u32,
    mut count: usize,
    mut take: impl FnMut(u32, usize),
) -> Result<(), &'static str> {
    if width > 32 {
        return Err("its indices are wider than 32 bits");
    }
    while count > 0 {
        let head = variable(&mut bytes)?;
        let length = usize::try_from(head >> 1).unwrap_or(usize::MAX);
        if head & 1 == 0 {
            if length == 0 {
                return Err("it has a run of no values");
            }
            let size = width.div_ceil(8) as usize;
            let (value, rest) = bytes.split_at_checked(size).ok_or(SHORT)?;
            let value = value
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u32::from(*byte));
            let run = length.min(count);
            take(value, run);
            count -= run;
            bytes = rest;
        } else {
            // Groups of eight; the last may be padded, and some writers leave the padding out.
            let run = length.saturating_mul(8).min(count);
            let size = (run * width as usize).div_ceil(8);
            let (packed, rest) = bytes.split_at_checked(size).ok_or(SHORT)?;
            for index in 0..run {
                take(unpack(packed, index, width) as u32, 1);
            }
            count -= run;
            let whole = length.saturating_mul(width as usize);
            bytes = rest.get(whole - size..).unwrap_or_default();
        }
    }
    Ok(())
}

/// Reads `count` integers written as packed differences.
pub(super) fn deltas(
    mut bytes: &[u8],
    count: usize,
    mut take: impl FnMut(i64),
) -> Result<(), &'static str> {
    let block = variable(&mut bytes)?;
    let parts = variable(&mut bytes)?;
    let total = variable(&mut bytes)?;
    if total != count as u64 {
        return Err("its deltas are not as many as its values");
    }
    let mut value = zigzag(&mut bytes)?;
    // The format asks for multiples of 128 and 32; what is bounded here is what is read.
    let bounded = (1..=1 << 16).contains(&block) && (1..=256).contains(&parts);
    if !bounded || block % (parts * 8) != 0 {
        return Err("its blocks of deltas have an impossible size");
    }
    let (parts, each) = (parts as usize, (block / parts) as usize);
    let mut left = count;
    if left > 0 {
        take(value);
        left -= 1;
    }
    while left > 0 {
        let least = zigzag(&mut bytes)?;
        let (widths, mut rest) = bytes.split_at_checked(parts).ok_or(SHORT)?;
        for &width in widths {
            if left == 0 {
                break;
            }
            if width > 64 {
                return Err("its deltas are wider than 64 bits");
            }
            let run = each.min(left);
            let size = each * width as usize / 8;
            let needed = (run * width as usize).div_ceil(8);
            let packed = rest.get(..size.min(rest.len())).unwrap_or_default();
            if packed.len() < needed {
                return Err(SHORT);
            }
            for index in 0..run {
                let delta = unpack(packed, index, u32::from(width)).cast_signed();
                value = value.wrapping_add(least).wrapping_add(delta);
                take(value);
            }
            left -= run;
            rest = &rest[packed.len()..];
        }
        bytes = rest;
    }
    Ok(())
}

/// Returns the integer of `width` bits (0 to 64) at an index, lowest bits first. The bytes must
/// reach as far as it does.
fn unpack(packed: &[u8], index: usize, width: u32) -> u64 {
    if width == 0 {
        return 0;
    }
    let first = index * width as usize;
    let (byte, shift) = (first / 8, first % 8);
    let mask = u64::MAX >> (64 - width);
    let tail = packed.get(byte..).unwrap_or_default();
    if let Some(word) = tail.first_chunk::<8>() {
        let low = u64::from_le_bytes(*word) >> shift;
        if shift as u32 + width <= 64 {
            return low & mask;
        }
        let high = tail.get(8).copied().map_or(0, u64::from);
        return (low | high << (64 - shift)) & mask;
    }
    let word = tail
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u64::from(*byte));
    word >> shift & mask
}

fn variable(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(SHORT)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number has more than 64 bits")
}

fn zigzag(bytes: &mut &[u8]) -> Result<i64, &'static str> {
    let value = variable(bytes)?;
    Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8], width: u32, count: usize) -> Result<Vec<u32>, &'static str> {
        let mut values = Vec::new();
        hybrid(bytes, width, count, |value, run| {
            values.extend(std::iter::repeat_n(value, run));
        })?;
        Ok(values)
    }

    #[test]
    fn runs_and_packed_groups() {
        // The packed group is the example of the format's text: 0 to 7 in three bits.
        let bytes = [
            0b0000_0110,
            4,
            0b0000_0011,
            0b1000_1000,
            0b1100_0110,
            0b1111_1010,
        ];
        let expected = [4, 4, 4, 0, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(all(&bytes, 3, 11).unwrap(), expected);
        // Padding of a group may be left out, and no bits mean zeros.
        assert_eq!(all(&[0b11, 0b01], 1, 3).unwrap(), [1, 0, 0]);
        assert_eq!(all(&[10], 0, 5).unwrap(), [0; 5]);
        // A value that straddles nine bytes.
        let mut wide = vec![0b11];
        wide.extend((0..8_u32).flat_map(|value| (u32::MAX - value).to_le_bytes()));
        let expected: Vec<u32> = (0..8).map(|value| u32::MAX - value).collect();
        assert_eq!(all(&wide, 32, 8).unwrap(), expected);
    }

    #[test]
    fn lying_runs_are_errors() {
        assert!(all(&[], 1, 1).is_err());
        assert!(all(&[0], 1, 1).is_err());
        assert!(all(&[0b11], 3, 8).is_err());
        assert!(all(&[0b10], 33, 1).is_err());
        assert!(all(&[0xff; 12], 1, 1).is_err());
        // Runs longer than what is asked for are cut.
        assert_eq!(
            all(&[0xfe, 0xff, 0xff, 0xff, 0x0f, 7], 3, 2).unwrap(),
            [7, 7]
        );
        assert_eq!(
            all(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 7], 3, 2).unwrap(),
            [7, 0]
        );
    }

    fn differences(bytes: &[u8], count: usize) -> Result<Vec<i64>, &'static str> {
        let mut values = Vec::new();
        deltas(bytes, count, |value| values.push(value))?;
        Ok(values)
    }

    #[test]
    fn deltas_are_summed() {
        // The format's own example 7, 5, 3, 1, 2, 3, 4, 5: minimum -2, deltas in two bits.
        let mut bytes = vec![0x80, 0x01, 4, 8, 14, 3, 2, 0, 0, 0];
        bytes.extend([0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0]);
        assert_eq!(differences(&bytes, 8).unwrap(), [7, 5, 3, 1, 2, 3, 4, 5]);
        assert_eq!(differences(&[0x80, 0x01, 4, 1, 14], 1).unwrap(), [7]);
    }

    #[test]
    fn lying_deltas_are_errors() {
        for bytes in [
            &[][..],
            &[0x80, 0x01, 4, 9, 14, 3],
            &[0, 4, 8, 14, 3, 2, 0, 0, 0],
            &[0x80, 0x01, 0, 8, 14, 3, 2, 0, 0, 0],
            &[0x80, 0x01, 4, 8, 14, 3, 65, 0, 0, 0],
            &[0x80, 0x01, 4, 8, 14, 3, 64, 0, 0, 0, 1, 2, 3],
        ] {
            assert!(differences(bytes, 8).is_err(), "{bytes:?}");
        }
    }
}
