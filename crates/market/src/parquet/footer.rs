//! A Parquet file's footer: which columns there are, and where each one's bytes lie.
//!
//! Read here and not by the `parquet` crate, whose footer reader recurses as deep as the file says
//! and reserves what the file claims (as of version 60): a hostile file of some bytes ends the
//! process. Layout and numbers: `parquet.thrift` of apache/parquet-format.

use super::column::{Column, ColumnType};
use super::thrift::{Malformed, Thrift};
use crate::time::EpochUnit;

/// The most rows that a row group may hold, the default limit of older pyarrow.
pub(super) const LARGEST_GROUP: u64 = 64 << 20;

/// What a footer says.
#[derive(Debug)]
pub(crate) struct Footer {
    /// The leaf columns, in file order.
    pub(crate) columns: Vec<Column>,
    /// The row groups, each with a chunk per column.
    pub(crate) groups: Vec<Group>,
    /// Texts stored beside the data, such as `pandas`.
    pub(crate) notes: Vec<(String, String)>,
}

/// Some rows, column by column.
#[derive(Debug)]
pub(crate) struct Group {
    /// How many rows.
    pub(crate) rows: usize,
    /// The chunk of each column.
    pub(super) chunks: Vec<Chunk>,
}

/// The bytes of one column in one row group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chunk {
    pub(super) codec: i64,
    pub(super) values: u64,
    pub(super) start: u64,
    pub(super) length: u64,
}

/// Physical types by number.
const TYPES: [&str; 8] = [
    "boolean",
    "int32",
    "int64",
    "int96",
    "float",
    "double",
    "binary",
    "fixed binary",
];

/// Reads a footer. `data` is the range of the file in which chunks may lie.
pub(super) fn read(bytes: &[u8], data: std::ops::Range<u64>) -> Result<Footer, Malformed> {
    let mut thrift = Thrift::new(bytes);
    let (mut columns, mut groups, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let mut stated = None;
    thrift.fields(|thrift, field, kind| {
        match field {
            2 => columns = read_schema(thrift, kind)?,
            3 => stated = Some(thrift.count(kind)?),
            4 => {
                for _ in 0..thrift.structures(kind)? {
                    groups.push(read_group(thrift, columns.len(), &data)?);
                }
            }
            5 => {
                for _ in 0..thrift.structures(kind)? {
                    notes.extend(read_note(thrift)?);
                }
            }
            8 => return thrift.malformed("it is encrypted"),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if columns.is_empty() {
        return thrift.malformed("it names no columns");
    }
    let rows: u64 = groups.iter().map(|group: &Group| group.rows as u64).sum();
    if stated.is_some_and(|stated| stated != rows) {
        return thrift.malformed(format!(
            "it states {} rows and its row groups hold {rows}",
            stated.unwrap_or_default()
        ));
    }
    Ok(Footer {
        columns,
        groups,
        notes,
    })
}

/// One element of the schema, which is a tree written in depth-first order.
#[derive(Default)]
struct Element {
    name: Option<String>,
    physical: Option<i64>,
    width: i64,
    repetition: i64,
    children: u64,
    converted: Option<i64>,
    scale: i64,
    logical: Option<Logical>,
}

enum Logical {
    Decimal(i64),
    Timestamp(EpochUnit, bool),
    Integer(bool),
    Date,
    Text,
    Other,
}

fn read_schema(thrift: &mut Thrift<'_>, kind: u8) -> Result<Vec<Column>, Malformed> {
    let count = thrift.structures(kind)?;
    let mut columns = Vec::new();
    // How many children are still to come at each level below the root.
    let mut open: Vec<u64> = Vec::new();
    let mut top = String::new();
    for index in 0..count {
        let element = read_element(thrift)?;
        if index == 0 {
            open.push(element.children);
            continue;
        }
        while open.last() == Some(&0) && open.len() > 1 {
            open.pop();
        }
        let nested = open.len() > 1;
        match open.last_mut() {
            Some(left) if *left > 0 => *left -= 1,
            _ => return thrift.malformed("its schema has more columns than it states"),
        }
        if !nested {
            top = element.name.clone().unwrap_or_default();
        }
        if element.children > 0 {
            open.push(element.children);
        } else {
            columns.push(leaf(thrift, &element, nested.then_some(&top))?);
        }
    }
    if open.iter().any(|left| *left > 0) {
        return thrift.malformed("its schema has fewer columns than it states");
    }
    Ok(columns)
}

fn read_element(thrift: &mut Thrift<'_>) -> Result<Element, Malformed> {
    let mut element = Element::default();
    thrift.fields(|thrift, field, kind| {
        match field {
            1 => element.physical = Some(thrift.integer(kind)?),
            2 => element.width = thrift.integer(kind)?,
            3 => element.repetition = thrift.integer(kind)?,
            4 => element.name = Some(thrift.text(kind)?),
            5 => element.children = thrift.count(kind)?,
            6 => element.converted = Some(thrift.integer(kind)?),
            7 => element.scale = thrift.integer(kind)?,
            10 => {
                thrift.structure(kind)?;
                element.logical = read_logical(thrift)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(element)
}

/// Reads the union of logical types.
fn read_logical(thrift: &mut Thrift<'_>) -> Result<Option<Logical>, Malformed> {
    let mut logical = None;
    thrift.fields(|thrift, field, kind| {
        thrift.structure(kind)?;
        let (mut first, mut unit, mut flag) = (0, None, false);
        thrift.fields(|thrift, inner, kind| {
            match (field, inner) {
                (5, 1) => first = thrift.integer(kind)?,
                (8, 1) | (10, 2) => flag = thrift.boolean(kind)?,
                (8, 2) => {
                    thrift.structure(kind)?;
                    thrift.fields(|_, member, _| {
                        unit = Some(member);
                        Ok(false)
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        // A column of nothing but nulls has the logical type `UNKNOWN` on some physical type.
        if field == 11 {
            return Ok(true);
        }
        logical = Some(match (field, unit) {
            (1, _) => Logical::Text,
            (5, _) => Logical::Decimal(first),
            (6, _) => Logical::Date,
            (8, Some(1)) => Logical::Timestamp(EpochUnit::Milliseconds, flag),
            (8, Some(2)) => Logical::Timestamp(EpochUnit::Microseconds, flag),
            (8, Some(3)) => Logical::Timestamp(EpochUnit::Nanoseconds, flag),
            (10, _) => Logical::Integer(flag),
            _ => Logical::Other,
        });
        Ok(true)
    })?;
    Ok(logical)
}

/// Makes a column of a schema's leaf, which may lie within a column of lists or structs.
fn leaf(
    thrift: &Thrift<'_>,
    element: &Element,
    within: Option<&String>,
) -> Result<Column, Malformed> {
    let Some(name) = element.name.clone() else {
        return thrift.malformed("a column has no name");
    };
    let Some(physical) = element.physical else {
        return thrift.malformed(format!("column `{name}` has no type"));
    };
    let optional = element.repetition == 1;
    if within.is_some() || element.repetition == 2 {
        let name = within.map_or(name.clone(), |within| format!("{within}.{name}"));
        let column_type = ColumnType::Nested;
        return Ok(Column {
            name,
            column_type,
            optional,
        });
    }
    // Files of before 2018 say the same by a converted type alone.
    let logical = element.logical.as_ref();
    let old = |number| logical.is_none() && element.converted == Some(number);
    let other = |text: &str| {
        let physical = usize::try_from(physical).ok();
        let physical = physical.and_then(|number| TYPES.get(number));
        ColumnType::Other(format!("{text}{}", physical.unwrap_or(&"unknown")))
    };
    let scale = |scale: i64| i32::try_from(scale).unwrap_or_default();
    let bits = if physical == 1 { 32 } else { 64 };
    let column_type = match (physical, logical) {
        (1 | 2, Some(Logical::Decimal(places))) => ColumnType::Decimal(scale(*places), bits),
        (1 | 2, _) if old(5) => ColumnType::Decimal(scale(element.scale), bits),
        (7, Some(Logical::Decimal(places))) if (1..=16).contains(&element.width) => {
            ColumnType::FixedDecimal(scale(*places), element.width as usize)
        }
        (7, _) if old(5) && (1..=16).contains(&element.width) => {
            ColumnType::FixedDecimal(scale(element.scale), element.width as usize)
        }
        (2, Some(Logical::Timestamp(unit, utc))) => ColumnType::Timestamp(*unit, *utc),
        (2, _) if old(9) => ColumnType::Timestamp(EpochUnit::Milliseconds, true),
        (2, _) if old(10) => ColumnType::Timestamp(EpochUnit::Microseconds, true),
        (1, Some(Logical::Date)) => ColumnType::Date,
        (1, _) if old(6) => ColumnType::Date,
        (0, _) => ColumnType::Boolean,
        (1, Some(Logical::Integer(false))) => ColumnType::Unsigned32,
        (1, _) if (11..=13).any(old) => ColumnType::Unsigned32,
        (2, Some(Logical::Integer(false))) => ColumnType::Unsigned64,
        (2, _) if old(14) => ColumnType::Unsigned64,
        (1 | 2, Some(Logical::Other)) => other("time in "),
        (1 | 2, _) if old(7) || old(8) => other("time in "),
        (1, _) => ColumnType::Int32,
        (2, _) => ColumnType::Int64,
        (3, _) => ColumnType::Timestamp96,
        (4, _) => ColumnType::Float,
        (5, _) => ColumnType::Double,
        (6, Some(Logical::Text)) => ColumnType::Text,
        (6, _) if old(0) => ColumnType::Text,
        _ => other(""),
    };
    Ok(Column {
        name,
        column_type,
        optional,
    })
}

fn read_group(
    thrift: &mut Thrift<'_>,
    columns: usize,
    data: &std::ops::Range<u64>,
) -> Result<Group, Malformed> {
    let (mut chunks, mut rows) = (Vec::new(), None);
    thrift.fields(|thrift, field, kind| {
        match field {
            1 => {
                let count = thrift.structures(kind)?;
                if count != columns {
                    return thrift.malformed(format!(
                        "a row group has {count} columns, the schema {columns}"
                    ));
                }
                chunks.reserve_exact(count);
                for _ in 0..count {
                    chunks.push(read_chunk(thrift, data)?);
                }
            }
            3 => rows = Some(thrift.count(kind)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    match rows {
        Some(rows) if rows > LARGEST_GROUP => thrift.malformed(format!(
            "a row group claims {rows} rows, more than the {LARGEST_GROUP} that are read"
        )),
        Some(rows) if chunks.len() == columns => {
            if chunks.iter().any(|chunk| chunk.values < rows) {
                return thrift.malformed("a column has fewer values than its row group has rows");
            }
            Ok(Group {
                rows: rows as usize,
                chunks,
            })
        }
        _ => thrift.malformed("a row group lacks its rows or columns"),
    }
}

fn read_chunk(thrift: &mut Thrift<'_>, data: &std::ops::Range<u64>) -> Result<Chunk, Malformed> {
    let mut found = None;
    thrift.fields(|thrift, field, kind| {
        match field {
            1 => return thrift.malformed("a column lies in another file"),
            3 => {
                thrift.structure(kind)?;
                found = Some(read_chunk_metadata(thrift)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let Some(chunk) = found else {
        return thrift.malformed("a column has no metadata, or is encrypted");
    };
    let end = chunk.start.checked_add(chunk.length);
    match end {
        Some(end) if chunk.start >= data.start && end <= data.end => Ok(chunk),
        _ if chunk.values == 0 => Ok(Chunk::default()),
        _ => thrift.malformed(format!(
            "a column's {} bytes from byte {} lie outside the file's data",
            chunk.length, chunk.start
        )),
    }
}

fn read_chunk_metadata(thrift: &mut Thrift<'_>) -> Result<Chunk, Malformed> {
    let mut chunk = Chunk::default();
    let mut dictionary = None;
    thrift.fields(|thrift, field, kind| {
        match field {
            4 => chunk.codec = thrift.integer(kind)?,
            5 => chunk.values = thrift.count(kind)?,
            7 => chunk.length = thrift.count(kind)?,
            9 => chunk.start = thrift.count(kind)?,
            11 => dictionary = Some(thrift.count(kind)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    // Some writers state a dictionary at 0 where there is none.
    if let Some(dictionary) = dictionary.filter(|offset| (1..chunk.start).contains(offset)) {
        chunk.start = dictionary;
    }
    Ok(chunk)
}

fn read_note(thrift: &mut Thrift<'_>) -> Result<Option<(String, String)>, Malformed> {
    let (mut key, mut value) = (None, None);
    thrift.fields(|thrift, field, kind| {
        match field {
            1 => key = Some(String::from_utf8_lossy(thrift.binary(kind)?).into_owned()),
            2 => value = Some(String::from_utf8_lossy(thrift.binary(kind)?).into_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(key.zip(value))
}
