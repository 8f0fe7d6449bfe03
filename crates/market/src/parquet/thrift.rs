//! Reads Thrift's compact protocol, in which Parquet writes its footer and page headers.
//!
//! Every length is compared with the bytes that are left before anything is reserved, nesting is
//! bounded, and fields that are not asked for are passed over. Layout: "Thrift compact protocol
//! encoding" in Thrift's `doc/specs/thrift-compact-protocol.md`.

/// Kinds of values as they stand on the wire.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

/// How deep values that are passed over may be nested.
const DEEPEST: usize = 32;

/// What is wrong, and at which byte of the slice given to [`Thrift::new`].
#[derive(Debug)]
pub(super) struct Malformed {
    /// The byte.
    pub(super) offset: usize,
    /// What was found there.
    pub(super) reason: String,
}

type Outcome<T> = Result<T, Malformed>;

/// A place in a slice of Thrift values.
#[derive(Clone)]
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the next byte to be read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// An error at this place.
    pub(super) fn malformed<T>(&self, reason: impl Into<String>) -> Outcome<T> {
        Err(Malformed {
            offset: self.at,
            reason: reason.into(),
        })
    }

    fn byte(&mut self) -> Outcome<u8> {
        let Some(byte) = self.bytes.get(self.at) else {
            return self.malformed("it ends in the middle of a value");
        };
        self.at += 1;
        Ok(*byte)
    }

    fn take(&mut self, length: usize) -> Outcome<&'a [u8]> {
        let end = self.at.checked_add(length);
        let Some(slice) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return self.malformed(format!("it ends within a value of {length} bytes"));
        };
        self.at += length;
        Ok(slice)
    }

    fn variable(&mut self) -> Outcome<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        self.malformed("a number has more than 64 bits")
    }

    fn zigzag(&mut self) -> Outcome<i64> {
        let value = self.variable()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Reads the fields of a struct: `take` reads the value of a field by its number and kind and
    /// returns true, or returns false without reading, and the value is passed over.
    pub(super) fn fields(
        &mut self,
        mut take: impl FnMut(&mut Self, i16, u8) -> Outcome<bool>,
    ) -> Outcome<()> {
        let mut last = 0_i16;
        loop {
            let head = self.byte()?;
            let kind = head & 0x0f;
            if kind == 0 {
                return Ok(());
            }
            let step = i16::from(head >> 4);
            let number = if step == 0 {
                i16::try_from(self.zigzag()?).ok()
            } else {
                last.checked_add(step)
            };
            let Some(number) = number else {
                return self.malformed("a field's number is out of range");
            };
            last = number;
            if !take(self, number, kind)? {
                self.skip(kind, DEEPEST)?;
            }
        }
    }

    /// Reads an integer field of any width.
    pub(super) fn integer(&mut self, kind: u8) -> Outcome<i64> {
        match kind {
            BYTE => Ok(i64::from(self.byte()?.cast_signed())),
            I16..=I64 => self.zigzag(),
            _ => self.malformed(format!("expected an integer, found kind {kind}")),
        }
    }

    /// Reads a count or size.
    pub(super) fn count(&mut self, kind: u8) -> Outcome<u64> {
        let value = self.integer(kind)?;
        match u64::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) => self.malformed(format!("expected zero or more, found {value}")),
        }
    }

    /// Reads a boolean field, whose value is its kind.
    pub(super) fn boolean(&self, kind: u8) -> Outcome<bool> {
        match kind {
            TRUE => Ok(true),
            FALSE => Ok(false),
            _ => self.malformed(format!("expected a boolean, found kind {kind}")),
        }
    }

    /// Reads a field of bytes.
    pub(super) fn binary(&mut self, kind: u8) -> Outcome<&'a [u8]> {
        if kind != BINARY {
            return self.malformed(format!("expected bytes, found kind {kind}"));
        }
        let length = self.variable()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Reads a field of text.
    pub(super) fn text(&mut self, kind: u8) -> Outcome<String> {
        let bytes = self.binary(kind)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => self.malformed("a text is not UTF-8"),
        }
    }

    /// Enters a struct field.
    pub(super) fn structure(&self, kind: u8) -> Outcome<()> {
        if kind == STRUCT {
            return Ok(());
        }
        self.malformed(format!("expected a struct, found kind {kind}"))
    }

    /// Enters a list of structs and returns its length, which is at most the bytes that are left.
    pub(super) fn structures(&mut self, kind: u8) -> Outcome<usize> {
        if kind != LIST {
            return self.malformed(format!("expected a list, found kind {kind}"));
        }
        let (element, length) = self.list()?;
        if length > 0 && element != STRUCT {
            return self.malformed(format!("expected structs in a list, found kind {element}"));
        }
        Ok(length)
    }

    fn list(&mut self) -> Outcome<(u8, usize)> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => self.variable()?,
            short => u64::from(short),
        };
        let left = self.bytes.len() - self.at;
        match usize::try_from(length) {
            Ok(length) if length <= left => Ok((head & 0x0f, length)),
            _ => self.malformed(format!("a list claims {length} values in {left} bytes")),
        }
    }

    /// Passes over a value.
    fn skip(&mut self, kind: u8, depth: usize) -> Outcome<()> {
        let Some(depth) = depth.checked_sub(1) else {
            return self.malformed("values are nested too deeply");
        };
        match kind {
            TRUE | FALSE => {}
            BYTE => {
                self.byte()?;
            }
            I16..=I64 => {
                self.variable()?;
            }
            DOUBLE => {
                self.take(8)?;
            }
            BINARY => {
                self.binary(kind)?;
            }
            LIST | SET => {
                let (element, length) = self.list()?;
                for _ in 0..length {
                    self.skip_element(element, depth)?;
                }
            }
            MAP => {
                let length = self.variable()?;
                let kinds = if length == 0 { 0 } else { self.byte()? };
                for _ in 0..length {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 0x0f, depth)?;
                }
            }
            STRUCT => {
                let mut last = 0;
                while let Some(kind) = self.next_kind(&mut last)? {
                    self.skip(kind, depth)?;
                }
            }
            UUID => {
                self.take(16)?;
            }
            _ => return self.malformed(format!("{kind} is not a kind of value")),
        }
        Ok(())
    }

    /// In a collection a boolean is a byte of its own.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Outcome<()> {
        match kind {
            TRUE | FALSE => self.byte().map(|_| ()),
            _ => self.skip(kind, depth),
        }
    }

    /// Reads the head of a field that is passed over.
    fn next_kind(&mut self, last: &mut i16) -> Outcome<Option<u8>> {
        let head = self.byte()?;
        let kind = head & 0x0f;
        if kind == 0 {
            return Ok(None);
        }
        if head >> 4 == 0 {
            *last = self.zigzag()? as i16;
        }
        Ok(Some(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct: field 1 i32 = -3, field 3 "ab", field 4 true, field 20 list of two structs with
    /// field 1, and a map and a double that are passed over.
    const SAMPLE: &[u8] = &[
        0x15, 0x05, 0x28, 2, b'a', b'b', 0x11, 0x09, 0x28, 0x2c, 0x15, 0x02, 0, 0x15, 0x04, 0,
        0x1b, 1, 0x55, 2, 4, 0x17, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0,
    ];

    fn read(bytes: &[u8]) -> Outcome<(i64, String, bool, Vec<i64>)> {
        let (mut number, mut text, mut flag, mut list) = (0, String::new(), false, Vec::new());
        Thrift::new(bytes).fields(|thrift, field, kind| {
            match field {
                1 => number = thrift.integer(kind)?,
                3 => text = thrift.text(kind)?,
                4 => flag = thrift.boolean(kind)?,
                20 => {
                    for _ in 0..thrift.structures(kind)? {
                        thrift.fields(|thrift, _, kind| {
                            list.push(thrift.integer(kind)?);
                            Ok(true)
                        })?;
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok((number, text, flag, list))
    }

    #[test]
    fn fields_are_read_and_others_passed_over() {
        let expected = (-3, "ab".to_owned(), true, vec![1, 2]);
        assert_eq!(read(SAMPLE).unwrap(), expected);
    }

    #[test]
    fn a_cut_or_lying_value_is_an_error() {
        for end in 0..SAMPLE.len() {
            assert!(read(&SAMPLE[..end]).is_err(), "cut at {end}");
        }
        // A list of 2^28 structs, a text of 2^28 bytes, a varint without end, a kind that is none.
        assert!(read(&[0x09, 0x28, 0xfc, 0xff, 0xff, 0xff, 0x7f, 0]).is_err());
        assert!(read(&[0x38, 0xff, 0xff, 0xff, 0x7f, 0]).is_err());
        assert!(
            read(&[
                0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1
            ])
            .is_err()
        );
        assert!(read(&[0x1e, 0]).is_err());
        // Structs within structs without end.
        assert!(read(&[0x5c; 100]).is_err());
    }
}
