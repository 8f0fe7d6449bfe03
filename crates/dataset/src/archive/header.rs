//! The 512 bytes before a member, written in one way only, and read only as written.
//!
//! Fields and offsets are those of POSIX `ustar`. Owner, times and device numbers are fixed; the
//! mode follows from the name, so a header holds nothing but a name and a size.

use super::Fault;

/// Length of a header and of the unit that members are padded to.
pub(super) const BLOCK: usize = 512;
/// 2000-01-01T00:00:00Z: a date that no tar program calls implausible.
const TIME: u64 = 946_684_800;
/// The largest size that eleven octal digits hold.
const LARGEST: u64 = (1 << 33) - 1;
const NAME: usize = 100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const PREFIX: std::ops::Range<usize> = 345..500;
/// Names that Windows keeps for devices, whatever follows a dot.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// Returns the header of a regular file.
pub(super) fn header(name: &str, bytes: u64) -> Result<[u8; BLOCK], Fault> {
    check_name(name)?;
    if bytes > LARGEST {
        return Err(Fault::TooLong);
    }
    let (prefix, rest) = split(name)?;
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, rest.as_bytes());
    let mode = if is_script(name) { "755" } else { "644" };
    put(100, format!("0000{mode}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(SIZE.start, format!("{bytes:011o}\0").as_bytes());
    put(136, format!("{TIME:011o}\0").as_bytes());
    put(CHECKSUM.start, b"        ");
    put(KIND, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    put(PREFIX.start, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// Reports whether a member may be executed: its name ends with `.sh`.
pub(super) fn is_script(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, end)| end == "sh")
}

/// A header that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A regular file as [`header`] writes it.
    Member {
        /// Its name.
        name: String,
        /// Its length.
        bytes: u64,
    },
    /// A header of something else, with the name it gives.
    Refused {
        /// The name, escaped.
        name: String,
        /// Why.
        fault: Fault,
    },
    /// No header at all.
    Malformed(String),
}

/// Reads a header.
pub(super) fn parse(block: &[u8; BLOCK]) -> Parsed {
    let mut summed = *block;
    summed[CHECKSUM].fill(b' ');
    let sum: u32 = summed.iter().map(|byte| u32::from(*byte)).sum();
    if octal(&block[CHECKSUM]) != Some(u64::from(sum)) {
        return Parsed::Malformed("has a wrong checksum".to_owned());
    }
    let (name, prefix) = (text(&block[..NAME]), text(&block[PREFIX]));
    let name = [prefix, name].into_iter().filter(|part| !part.is_empty());
    let name = name.collect::<Vec<_>>().join(&b'/');
    let shown = name.escape_ascii().to_string();
    let refused = |fault| Parsed::Refused {
        name: shown.clone(),
        fault,
    };
    if let Some(kind) = other_kind(block[KIND]) {
        return refused(Fault::Kind(kind));
    }
    let Ok(name) = String::from_utf8(name) else {
        return refused(Fault::Name("is not text"));
    };
    if let Err(fault) = check_name(&name) {
        return refused(fault);
    }
    let Some(bytes) = octal(&block[SIZE]) else {
        return Parsed::Malformed(format!("of `{shown}` has no size"));
    };
    if header(&name, bytes).as_ref() != Ok(block) {
        return Parsed::Malformed(format!(
            "of `{shown}` has an owner, mode, time or field that foretune does not write"
        ));
    }
    Parsed::Member { name, bytes }
}

/// Returns the word for a type flag that is no regular file's.
fn other_kind(flag: u8) -> Option<String> {
    let word = match flag {
        b'0' => return None,
        b'1' => "hard link",
        b'2' => "symbolic link",
        b'3' => "character device",
        b'4' => "block device",
        b'5' => "directory",
        b'6' => "named pipe",
        b'L' | b'K' => "GNU long name",
        b'x' | b'g' => "pax header",
        b'S' => "sparse file",
        other => return Some(format!("member of the type 0x{other:02x}")),
    };
    Some(word.to_owned())
}

/// Checks that a name stays below the directory it is unpacked in, on every system.
pub(super) fn check_name(name: &str) -> Result<(), Fault> {
    let fail = |why| Err(Fault::Name(why));
    if name.is_empty() {
        return fail("is empty");
    }
    if name.starts_with('/') {
        return fail("is an absolute path");
    }
    if !name.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return fail("has characters outside printable ASCII");
    }
    if name.contains(['\\', ':', '*', '?', '"', '<', '>', '|']) {
        return fail("has characters that are special on some systems");
    }
    for part in name.split('/') {
        if part.is_empty() {
            return fail("has an empty part");
        }
        if part == "." || part == ".." {
            return fail("leads elsewhere");
        }
        if part.ends_with(['.', ' ']) || part.starts_with(' ') {
            return fail("has a part that begins or ends with a blank or ends with a dot");
        }
        let stem = part.split('.').next().unwrap_or(part).to_ascii_lowercase();
        let numbered = stem.strip_prefix("com").or(stem.strip_prefix("lpt"));
        let is_port = numbered.is_some_and(|n| n.len() == 1 && n.as_bytes()[0].is_ascii_digit());
        if is_port || DEVICES.contains(&stem.as_str()) {
            return fail("is a device on some systems");
        }
    }
    split(name).map(drop)
}

/// Splits a name into the two fields that hold it; the first is empty for a short one.
fn split(name: &str) -> Result<(&str, &str), Fault> {
    if name.len() <= NAME {
        return Ok(("", name));
    }
    let long = Fault::Name("is too long for a tar header");
    let slash = name
        .match_indices('/')
        .map(|(at, _)| at)
        .find(|at| name.len() - at - 1 <= NAME)
        .ok_or_else(|| long.clone())?;
    if slash > PREFIX.len() {
        return Err(long);
    }
    Ok((&name[..slash], &name[slash + 1..]))
}

/// Returns a field up to its first zero byte.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

/// Returns an octal number that ends with a zero byte or a blank.
fn octal(field: &[u8]) -> Option<u64> {
    let digits = field
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let text = std::str::from_utf8(&field[..digits]).ok()?;
    u64::from_str_radix(text, 8).ok()
}
