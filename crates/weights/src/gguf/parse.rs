//! The header of a GGUF file: counts, metadata, tensor list.
//!
//! Nothing is trusted: a count is compared with the bytes that are left before it sizes an
//! allocation, and a tensor's place is checked against the file before it is handed out.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{ALIGNMENT, Array, MAGIC, TensorType, Value};

/// How deeply arrays may contain arrays; real files use none.
const MAX_DEPTH: usize = 4;
/// `GGML_MAX_DIMS` of ggml.
const MAX_DIMENSIONS: u32 = 4;

/// A violation of the format: where and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Byte offset of the offending field.
    pub offset: u64,
    /// What was found and what was expected.
    pub message: String,
}

/// A parsed header.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// Alignment of the tensor data in bytes, a power of two.
    pub alignment: usize,
    /// All metadata.
    pub metadata: BTreeMap<String, Value>,
    /// All tensors, in the order of the file.
    pub tensors: Vec<TensorInfo>,
}

/// One tensor's place and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Outermost dimension first: `[out, in]`, the reverse of the file's `ne`.
    pub shape: Vec<usize>,
    /// How the values are stored.
    pub tensor_type: TensorType,
    /// Bytes of the file it occupies; always inside it.
    pub range: Range<usize>,
}

/// Parses the header of `bytes`, a whole file.
///
/// # Errors
/// A [`Fault`] with the offset of the first field that is cut short, unknown, duplicated,
/// or points outside the file or into another tensor.
pub fn parse(bytes: &[u8]) -> Result<Header, Fault> {
    let mut cursor = Cursor { bytes, at: 0 };
    let magic = cursor.take(4, "the magic number")?;
    if magic != MAGIC {
        return Err(fault(
            0,
            format!("it begins with {magic:02x?}, expected `GGUF`"),
        ));
    }
    let version = cursor.u32("the version")?;
    match version {
        2 | 3 => {}
        _ if version.swap_bytes() <= 3 => {
            return Err(fault(4, "it is big-endian, expected little-endian".into()));
        }
        _ => {
            return Err(fault(
                4,
                format!("the version is {version}, expected 2 or 3"),
            ));
        }
    }
    // The smallest tensor entry: empty name, no dimension, type, offset.
    let tensor_count = cursor.count("tensors", 8 + 4 + 4 + 8)?;
    // The smallest entry of the metadata: empty key, type, one byte.
    let value_count = cursor.count("metadata entries", 8 + 4 + 1)?;

    let mut metadata = BTreeMap::new();
    for _ in 0..value_count {
        let offset = cursor.at;
        let key = cursor.string("a metadata key")?;
        let kind = cursor.u32("a metadata type")?;
        let value = cursor.value(kind, &key)?;
        if metadata.contains_key(&key) {
            return Err(fault(
                offset,
                format!("the metadata key `{key}` appears twice"),
            ));
        }
        metadata.insert(key, value);
    }
    let alignment = alignment(&metadata, cursor.at)?;

    let mut entries = Vec::with_capacity(tensor_count);
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..tensor_count {
        let entry = cursor.tensor(alignment)?;
        if !names.insert(entry.name.clone()) {
            let message = format!("the tensor `{}` appears twice", entry.name);
            return Err(fault(entry.at, message));
        }
        entries.push(entry);
    }
    let data = cursor.at.next_multiple_of(alignment);
    let tensors = place(entries, data, bytes.len())?;
    Ok(Header {
        version,
        alignment,
        metadata,
        tensors,
    })
}

fn fault(offset: usize, message: String) -> Fault {
    Fault {
        offset: offset as u64,
        message,
    }
}

fn alignment(metadata: &BTreeMap<String, Value>, at: usize) -> Result<usize, Fault> {
    let Some(value) = metadata.get("general.alignment") else {
        return Ok(ALIGNMENT);
    };
    match value {
        // Far above any page size; below, so that rounding up cannot overflow.
        Value::U32(n) if n.is_power_of_two() && *n <= 1 << 24 => Ok(*n as usize),
        other => Err(fault(
            at,
            format!("`general.alignment` is {other:?}, expected a power of two as uint32"),
        )),
    }
}

/// A tensor entry before its place in the file is known to be sound.
struct Entry {
    at: usize,
    name: String,
    shape: Vec<usize>,
    tensor_type: TensorType,
    bytes: usize,
    offset: u64,
}

/// Turns offsets relative to the data section into ranges of the file, checked to lie inside
/// it and not to overlap.
fn place(entries: Vec<Entry>, data: usize, file: usize) -> Result<Vec<TensorInfo>, Fault> {
    let mut tensors = Vec::with_capacity(entries.len());
    let mut order = Vec::with_capacity(entries.len());
    for entry in entries {
        let range = usize::try_from(entry.offset)
            .ok()
            .and_then(|offset| data.checked_add(offset))
            .and_then(|start| Some(start..start.checked_add(entry.bytes)?))
            .filter(|range| range.end <= file);
        let Some(range) = range else {
            let message = format!(
                "the tensor `{}` takes {} bytes from offset {} of the data section at byte \
                 {data}, past the end of the file at byte {file}",
                entry.name, entry.bytes, entry.offset
            );
            return Err(fault(entry.at, message));
        };
        order.push((range.start, range.end, entry.at, tensors.len()));
        tensors.push(TensorInfo {
            name: entry.name,
            shape: entry.shape,
            tensor_type: entry.tensor_type,
            range,
        });
    }
    order.sort_unstable();
    for pair in order.windows(2) {
        let ((_, end, _, first), (start, _, at, second)) = (pair[0], pair[1]);
        if start < end {
            let message = format!(
                "the tensors `{}` and `{}` overlap",
                tensors[first].name, tensors[second].name
            );
            return Err(fault(at, message));
        }
    }
    Ok(tensors)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], Fault> {
        if count > self.left() {
            return Err(fault(
                self.at,
                format!("{what} needs {count} bytes, {} are left", self.left()),
            ));
        }
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Fault> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    fn u32(&mut self, what: &str) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Reads a count of things that take at least `smallest` bytes each.
    fn count(&mut self, things: &str, smallest: usize) -> Result<usize, Fault> {
        let at = self.at;
        let count = self.u64(things)?;
        let most = self.left() / smallest;
        match usize::try_from(count) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(fault(
                at,
                format!(
                    "it declares {count} {things}, the {} bytes left hold at most {most}",
                    self.left()
                ),
            )),
        }
    }

    fn string(&mut self, what: &str) -> Result<String, Fault> {
        let at = self.at;
        let length = self.count("bytes of text", 1)?;
        let bytes = self.take(length, what)?;
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|error| fault(at + 8, format!("{what} is not UTF-8: {error}")))
    }

    fn value(&mut self, kind: u32, key: &str) -> Result<Value, Fault> {
        Ok(match kind {
            0 => Value::U8(u8::from_le_bytes(self.array(key)?)),
            1 => Value::I8(i8::from_le_bytes(self.array(key)?)),
            2 => Value::U16(u16::from_le_bytes(self.array(key)?)),
            3 => Value::I16(i16::from_le_bytes(self.array(key)?)),
            4 => Value::U32(self.u32(key)?),
            5 => Value::I32(i32::from_le_bytes(self.array(key)?)),
            6 => Value::F32(f32::from_le_bytes(self.array(key)?)),
            7 => Value::Bool(self.boolean(key)?),
            8 => Value::String(self.string(key)?),
            9 => Value::Array(self.values(key, 0)?),
            10 => Value::U64(self.u64(key)?),
            11 => Value::I64(i64::from_le_bytes(self.array(key)?)),
            12 => Value::F64(f64::from_le_bytes(self.array(key)?)),
            _ => return Err(self.unknown_type(kind, key)),
        })
    }

    fn values(&mut self, key: &str, depth: usize) -> Result<Array, Fault> {
        let at = self.at;
        let kind = self.u32(key)?;
        Ok(match kind {
            0 => Array::U8(self.numbers(key, u8::from_le_bytes)?),
            1 => Array::I8(self.numbers(key, i8::from_le_bytes)?),
            2 => Array::U16(self.numbers(key, u16::from_le_bytes)?),
            3 => Array::I16(self.numbers(key, i16::from_le_bytes)?),
            4 => Array::U32(self.numbers(key, u32::from_le_bytes)?),
            5 => Array::I32(self.numbers(key, i32::from_le_bytes)?),
            6 => Array::F32(self.numbers(key, f32::from_le_bytes)?),
            7 => Array::Bool(self.items(1, |cursor| cursor.boolean(key))?),
            8 => Array::String(self.items(8, |cursor| cursor.string(key))?),
            9 if depth + 1 < MAX_DEPTH => {
                Array::Array(self.items(12, |cursor| cursor.values(key, depth + 1))?)
            }
            9 => {
                let message = format!("`{key}` nests arrays more than {MAX_DEPTH} deep");
                return Err(fault(at, message));
            }
            10 => Array::U64(self.numbers(key, u64::from_le_bytes)?),
            11 => Array::I64(self.numbers(key, i64::from_le_bytes)?),
            12 => Array::F64(self.numbers(key, f64::from_le_bytes)?),
            _ => return Err(self.unknown_type(kind, key)),
        })
    }

    fn numbers<const N: usize, T>(
        &mut self,
        key: &str,
        decode: fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Fault> {
        let count = self.count("array elements", N)?;
        // `count` has checked that this product fits what is left.
        let bytes = self.take(count * N, key)?;
        let (chunks, _) = bytes.as_chunks::<N>();
        Ok(chunks.iter().map(|chunk| decode(*chunk)).collect())
    }

    fn items<T>(
        &mut self,
        smallest: usize,
        read: impl Fn(&mut Self) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        let count = self.count("array elements", smallest)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    fn boolean(&mut self, key: &str) -> Result<bool, Fault> {
        let at = self.at;
        match self.array(key)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(fault(
                at,
                format!("`{key}` is the truth value {other}, expected 0 or 1"),
            )),
        }
    }

    fn unknown_type(&self, kind: u32, key: &str) -> Fault {
        fault(
            self.at - 4,
            format!("`{key}` has the value type {kind}, expected 0 to 12"),
        )
    }

    fn tensor(&mut self, alignment: usize) -> Result<Entry, Fault> {
        let at = self.at;
        let name = self.string("a tensor name")?;
        let dimensions = self.u32("a tensor's dimensions")?;
        if dimensions > MAX_DIMENSIONS {
            let message = format!(
                "the tensor `{name}` has {dimensions} dimensions, expected at most {MAX_DIMENSIONS}"
            );
            return Err(fault(at, message));
        }
        let mut shape = Vec::with_capacity(dimensions as usize);
        for _ in 0..dimensions {
            let extent = self.u64("a tensor's dimension")?;
            match usize::try_from(extent) {
                Ok(extent) if extent > 0 => shape.insert(0, extent),
                _ => {
                    let message = format!("the tensor `{name}` has a dimension of {extent}");
                    return Err(fault(at, message));
                }
            }
        }
        let code = self.u32("a tensor's type")?;
        let Some(tensor_type) = TensorType::from_code(code) else {
            let message = format!("the tensor `{name}` has the unknown type {code}");
            return Err(fault(at, message));
        };
        let Some(bytes) = tensor_type.bytes_of(&shape) else {
            let message = format!(
                "the tensor `{name}` of type {tensor_type} has the impossible shape {shape:?}"
            );
            return Err(fault(at, message));
        };
        let offset = self.u64("a tensor's offset")?;
        if offset % alignment as u64 != 0 {
            let message = format!(
                "the tensor `{name}` has the offset {offset}, expected a multiple of {alignment}"
            );
            return Err(fault(at, message));
        }
        Ok(Entry {
            at,
            name,
            shape,
            tensor_type,
            bytes,
            offset,
        })
    }
}
