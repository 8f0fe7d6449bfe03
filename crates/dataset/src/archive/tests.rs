use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::header::{BLOCK, header};
use super::*;
use crate::{DatasetError, hex};

fn quiet(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn bundle(names: &[(&str, &str)]) -> Bundle {
    let mut bundle = Bundle::new(serde_json::json!({"purpose": "test"}));
    for (name, content) in names {
        bundle.add(name, *content).unwrap();
    }
    bundle
}

const SMALL: [(&str, &str); 3] = [
    ("README.md", "read me\n"),
    ("run.sh", "echo run\n"),
    ("data/set/examples.jsonl", "{}\n{}\n"),
];

fn small(folder: &Path) -> PathBuf {
    let path = folder.join("small.tar.zst");
    bundle(&SMALL).write(&path, &mut quiet).unwrap();
    path
}

fn tar_of(path: &Path) -> Vec<u8> {
    zstd::decode_all(&fs::read(path).unwrap()[..]).unwrap()
}

/// Writes a tar as an archive.
fn archive(folder: &Path, tar: &[u8]) -> PathBuf {
    let path = folder.join("made.tar.zst");
    fs::write(&path, zstd::encode_all(tar, 1).unwrap()).unwrap();
    path
}

/// Headers with what follows them.
type Entries = Vec<([u8; BLOCK], Vec<u8>)>;

fn entry(tar: &mut Vec<u8>, header: &[u8; BLOCK], content: &[u8]) {
    tar.extend(header);
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// Puts a right checksum on a header that was changed.
fn sealed(block: &[u8; BLOCK]) -> [u8; BLOCK] {
    let mut block = *block;
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Builds an archive of `listed` members whose entries `change` may replace.
fn crafted(folder: &Path, listed: &[(&str, &str)], change: impl FnOnce(&mut Entries)) -> PathBuf {
    let members = listed
        .iter()
        .map(|(name, content)| {
            let sheet = MemberSheet {
                bytes: content.len() as u64,
                sha256: hex(&Sha256::digest(content)),
            };
            ((*name).to_owned(), sheet)
        })
        .collect();
    let manifest = BundleManifest {
        kind: KIND.to_owned(),
        schema: SCHEMA,
        version: "0".to_owned(),
        about: serde_json::Value::Null,
        members,
    };
    let text = serde_json::to_vec(&manifest).unwrap();
    let sums = manifest.sums(&hex(&Sha256::digest(&text)));
    let mut entries = vec![
        (header(MANIFEST, text.len() as u64).unwrap(), text),
        (header(SUMS, sums.len() as u64).unwrap(), sums.into_bytes()),
    ];
    for (name, content) in listed {
        // A name that may not be packed is given its header by `change`.
        let block = header(name, content.len() as u64)
            .unwrap_or_else(|_| header("x", content.len() as u64).unwrap());
        entries.push((block, content.as_bytes().to_vec()));
    }
    change(&mut entries);
    let mut tar = Vec::new();
    for (block, content) in entries {
        entry(&mut tar, &block, &content);
    }
    tar.extend([0; 2 * BLOCK]);
    archive(folder, &tar)
}

#[track_caller]
fn refused(path: &Path) -> ArchiveError {
    let error = verify(path, Limits::default(), &mut quiet).unwrap_err();
    let out = path.with_extension("out");
    let unpacked = unpack(path, &out, Limits::default(), &mut quiet).unwrap_err();
    assert_eq!(unpacked.to_string(), error.to_string());
    assert!(!out.exists());
    error
}

#[track_caller]
fn fault(path: &Path) -> Fault {
    match refused(path) {
        ArchiveError::Member { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

#[test]
fn the_same_members_give_the_same_bytes_in_any_order_and_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let first = bundle(&SMALL)
        .write(&folder.path().join("a"), &mut quiet)
        .unwrap();
    let mut reversed = SMALL;
    reversed.reverse();
    bundle(&reversed)
        .write(&folder.path().join("b"), &mut quiet)
        .unwrap();
    let mut files = Bundle::new(serde_json::json!({"purpose": "test"}));
    for (name, content) in SMALL {
        let path = folder.path().join(name.replace('/', "-"));
        fs::write(&path, content).unwrap();
        let digest = hex(&Sha256::digest(content));
        files.add_file(name, &path, Some(&digest)).unwrap();
    }
    // Another thread count, another directory.
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                files
                    .write(&folder.path().join("deep/c"), &mut quiet)
                    .unwrap()
            })
            .join()
            .unwrap();
    });
    let bytes = fs::read(folder.path().join("a")).unwrap();
    assert_eq!(hex(&Sha256::digest(&bytes)), first.sha256);
    assert_eq!(bytes.len() as u64, first.bytes);
    assert_eq!(bytes, fs::read(folder.path().join("b")).unwrap());
    assert_eq!(bytes, fs::read(folder.path().join("deep/c")).unwrap());
}

#[test]
fn the_tar_is_known_byte_by_byte() {
    // Worked out from POSIX 1003.1-1988 by hand: sums of fixed fields, then name and size.
    let block = header("run.sh", 9).unwrap();
    assert_eq!(&block[..7], b"run.sh\0");
    assert_eq!(&block[100..108], b"0000755\0");
    assert_eq!(&block[124..136], b"00000000011\0");
    assert_eq!(&block[136..148], b"07033241600\0");
    assert_eq!(block[156], b'0');
    assert_eq!(block[157..257], [0; 100]);
    assert_eq!(&block[257..265], b"ustar\x0000");
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(90));
    let block = header(&long, 0).unwrap();
    assert_eq!(&block[..90], "f".repeat(90).as_bytes());
    assert_eq!(&block[345..465], "d".repeat(120).as_bytes());
}

#[test]
fn another_tar_program_unpacks_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{}/{}.txt", "d".repeat(80), "f".repeat(60));
    let mut members = SMALL.to_vec();
    members.push((&long, "long\n"));
    let path = folder.path().join("a.tar.zst");
    bundle(&members).write(&path, &mut quiet).unwrap();
    let tar = folder.path().join("a.tar");
    fs::write(&tar, tar_of(&path)).unwrap();
    let theirs = folder.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    let done = Command::new("tar")
        .args(["--extract", "--file"])
        .arg(&tar)
        .arg("--directory")
        .arg(&theirs)
        .output()
        .unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    let ours = folder.path().join("ours");
    let verified = unpack(&path, &ours, Limits::default(), &mut quiet).unwrap();
    assert_eq!(verified.manifest.members.len(), 4);
    let names = verified.manifest.members.keys().map(String::as_str);
    for name in names.chain([MANIFEST, SUMS]) {
        let content = fs::read(ours.join(name)).unwrap();
        assert_eq!(content, fs::read(theirs.join(name)).unwrap(), "{name}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let is_script = super::header::is_script(name);
            for folder in [&ours, &theirs] {
                let mode = fs::metadata(folder.join(name))
                    .unwrap()
                    .permissions()
                    .mode();
                assert_eq!(mode & 0o111 != 0, is_script, "{name}");
            }
        }
    }
    let sums = Command::new("sha256sum")
        .args(["--check", "--strict", SUMS])
        .current_dir(&ours)
        .output()
        .unwrap();
    assert!(sums.status.success(), "{sums:?}");
}

#[test]
fn verification_reads_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let mut last = (0, 0);
    let verified = verify(&path, Limits::default(), &mut |done, all| {
        last = (done, all);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(verified.bytes, 8 + 9 + 6);
    assert_eq!(verified.manifest.about["purpose"], "test");
    assert_eq!(last.1, 23);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let stopped = verify(&path, Limits::default(), &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(ArchiveError::Interrupted)));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [
        "/etc/passwd",
        "../up",
        "a/../../up",
        "a/./b",
        "a//b",
        "a/",
        "C:evil",
        "a\\b",
        "tab\there",
        "NUL.txt",
        "com1",
        "dot.",
        " blank",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = crafted(folder.path(), &[("x", "content")], |entries| {
            let mut block = entries[2].0;
            block[..100].fill(0);
            block[..name.len()].copy_from_slice(name.as_bytes());
            entries[2].0 = sealed(&block);
        });
        assert!(matches!(fault(&path), Fault::Name(_)), "{name}");
        // The manifest cannot name it either, and nobody can pack it.
        let path = crafted(folder.path(), &[(name, "content")], |_| ());
        assert!(
            matches!(refused(&path), ArchiveError::Manifest { .. }),
            "{name}"
        );
        let packed = Bundle::default().add(name, "");
        assert!(
            matches!(packed, Err(ArchiveError::Unpackable { .. })),
            "{name}"
        );
    }
}

#[test]
fn only_regular_files_are_unpacked() {
    for (flag, word) in [
        (b'1', "hard link"),
        (b'2', "symbolic link"),
        (b'3', "character device"),
        (b'4', "block device"),
        (b'5', "directory"),
        (b'6', "named pipe"),
        (b'L', "GNU long name"),
        (b'x', "pax header"),
        (b'7', "member of the type 0x37"),
        (0, "member of the type 0x00"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = crafted(folder.path(), &[("x", "content")], |entries| {
            let mut block = entries[2].0;
            block[156] = flag;
            block[157..168].copy_from_slice(b"/etc/passwd");
            entries[2].0 = sealed(&block);
        });
        assert_eq!(fault(&path), Fault::Kind(word.to_owned()));
    }
}

#[test]
fn a_member_is_named_with_its_offset() {
    let folder = tempfile::tempdir().unwrap();
    let path = crafted(folder.path(), &[("x", "content")], |entries| {
        entries[2].1[0] = b'C';
    });
    let ArchiveError::Member {
        member,
        offset,
        fault: Fault::Altered { .. },
        ..
    } = refused(&path)
    else {
        panic!()
    };
    assert_eq!(member, "x");
    // Manifest and sums take a header and one block each.
    assert_eq!(offset, 4 * BLOCK as u64);
}

#[test]
fn lies_about_size_and_number_are_refused() {
    let listed = [("x", "content"), ("y", "more")];
    let of = |change: &dyn Fn(&mut Entries)| {
        let folder = tempfile::tempdir().unwrap();
        let path = crafted(folder.path(), &listed, change);
        refused(&path)
    };
    let member = |error: ArchiveError| match error {
        ArchiveError::Member { member, fault, .. } => (member, fault),
        other => panic!("{other}"),
    };
    assert_eq!(header("x", 8 << 30), Err(Fault::TooLong));
    let (_, fault) = member(of(&|entries| {
        entries[2].0 = header("x", (8 << 30) - 1).unwrap();
    }));
    assert_eq!(
        fault,
        Fault::Size {
            found: (8 << 30) - 1,
            expected: 7
        }
    );
    let twice = of(&|entries| {
        let again = entries[2].clone();
        entries.push(again);
    });
    assert_eq!(
        member(twice),
        ("x".to_owned(), Fault::Duplicate("x".to_owned()))
    );
    let manifest_twice = of(&|entries| {
        let again = entries[0].clone();
        entries.push(again);
    });
    assert!(matches!(member(manifest_twice).1, Fault::Duplicate(_)));
    let unlisted = of(&|entries| entries.push((header("z", 0).unwrap(), Vec::new())));
    assert_eq!(member(unlisted), ("z".to_owned(), Fault::NotListed));
    let missing = of(&|entries| {
        entries.pop();
    });
    assert!(matches!(missing, ArchiveError::Missing { member, .. } if member == "y"));
    let no_sums = of(&|entries| {
        entries.remove(1);
    });
    assert!(matches!(no_sums, ArchiveError::Missing { member, .. } if member == SUMS));
    let other_sums = of(&|entries| entries[1].1[0] ^= 1);
    assert_eq!(member(other_sums).0, SUMS);
    let last = of(&|entries| entries.swap(0, 1));
    assert!(matches!(last, ArchiveError::Manifest { .. }));
    let padded = of(&|entries| entries[2].1.push(b'!'));
    assert_eq!(member(padded), ("x".to_owned(), Fault::Padding));
}

#[test]
fn headers_that_nobody_here_writes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (at, byte) in [(104, b'4'), (110, b'7'), (140, b'1'), (265, b'r'), (500, 1)] {
        let path = crafted(folder.path(), &[("x", "content")], |entries| {
            let mut block = entries[2].0;
            block[at] = byte;
            entries[2].0 = sealed(&block);
        });
        let error = refused(&path).to_string();
        assert!(error.contains("does not write"), "{error}");
        let path = crafted(folder.path(), &[("x", "content")], |entries| {
            entries[2].0[at] ^= 0x40;
        });
        assert!(refused(&path).to_string().contains("wrong checksum"));
    }
    let path = crafted(folder.path(), &[("x", "content")], |entries| {
        entries[2].0 = [0; BLOCK];
    });
    assert!(refused(&path).to_string().contains("zero and not the end"));
}

#[test]
fn a_bomb_is_bounded_before_it_goes_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let narrow = |bytes, members| {
        let limits = Limits { bytes, members };
        verify(&path, limits, &mut quiet).unwrap_err().to_string()
    };
    assert!(narrow(22, 9).contains("states 23 bytes, at most 22"));
    assert!(narrow(23, 2).contains("states 3 members, at most 2"));
    // A manifest without end, a member of zeros nobody listed: neither is decompressed.
    let manifest = crafted(folder.path(), &[("x", "content")], |entries| {
        entries[0].0 = header(MANIFEST, 8 << 20 << 9).unwrap();
    });
    assert!(refused(&manifest).to_string().contains("at most 16777216"));
    let zeros = crafted(folder.path(), &[("x", "content")], |entries| {
        entries.push((header("zeros", 64 << 20).unwrap(), vec![0; 64 << 20]));
    });
    assert_eq!(fault(&zeros), Fault::NotListed);
}

#[test]
fn damage_to_the_frame_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let sound = fs::read(&path).unwrap();
    let with = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        refused(&path).to_string()
    };
    assert!(with(&sound[..sound.len() / 2]).contains("is damaged"));
    assert!(with(&[&sound[..], b"tail"].concat()).contains("follow the compressed frame"));
    assert!(with(&[&sound[..], &sound[..]].concat()).contains("follow the compressed frame"));
    assert!(with(b"").contains("is damaged"));
    assert!(with(b"no archive at all").contains("is damaged"));
    let mut more = zstd::decode_all(&sound[..]).unwrap();
    more.extend([0; BLOCK]);
    let longer = archive(folder.path(), &more);
    assert!(
        refused(&longer)
            .to_string()
            .contains("goes on behind its end")
    );
}

#[test]
fn manifests_that_cannot_be_unpacked_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let of = |listed: &[(&str, &str)]| {
        let path = crafted(folder.path(), listed, |_| ());
        refused(&path).to_string()
    };
    assert!(of(&[("a", ""), ("a/b", "")]).contains("lists `a` and `a/b` below it"));
    assert!(of(&[("a", ""), ("A", "")]).contains("case alone"));
    assert!(of(&[("Manifest.json", "")]).contains("not to be listed"));
    let mut bundle = bundle(&[("a", "")]);
    for taken in ["a", "A", "a/b", "manifest.json", "sha256sums"] {
        assert!(bundle.add(taken, "").is_err(), "{taken}");
    }
}

#[test]
fn a_file_that_changes_is_not_packed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "now").unwrap();
    let mut bundle = Bundle::default();
    bundle
        .add_file("file", &file, Some(&hex(&Sha256::digest("then"))))
        .unwrap();
    let out = folder.path().join("out.tar.zst");
    let error = bundle.write(&out, &mut quiet).unwrap_err();
    assert!(matches!(error, ArchiveError::Changed { .. }), "{error}");
    assert!(DatasetError::from(error).hint().is_some());
    assert!(!out.exists());
    fs::remove_file(&file).unwrap();
    let error = bundle.write(&out, &mut quiet).unwrap_err();
    assert!(error.to_string().starts_with("cannot read `"), "{error}");
}

#[test]
fn an_occupied_place_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = small(folder.path());
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    unpack(&path, &out, Limits::default(), &mut quiet).unwrap();
    let again = unpack(&path, &out, Limits::default(), &mut quiet);
    assert!(matches!(again, Err(ArchiveError::Occupied { .. })));
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let onto = unpack(&path, &file, Limits::default(), &mut quiet);
    assert!(matches!(onto, Err(ArchiveError::Occupied { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever byte of the tar is another one, the archive is refused and nothing panics.
    #[test]
    fn no_changed_byte_of_the_tar_goes_unnoticed(at in 0.0..1.0_f64, flip in 1..=255_u8) {
        let folder = tempfile::tempdir().unwrap();
        let mut tar = tar_of(&small(folder.path()));
        let at = (at * tar.len() as f64) as usize;
        tar[at] ^= flip;
        let path = archive(folder.path(), &tar);
        prop_assert!(verify(&path, Limits::default(), &mut quiet).is_err(), "byte {at}");
    }

    /// Damage to the compressed bytes: an error, or the very same content.
    #[test]
    fn damaged_archives_never_panic(
        edits in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 1..6),
        cut in 0.2..1.0_f64,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = small(folder.path());
        let sound = verify(&path, Limits::default(), &mut quiet).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        for (at, value) in edits {
            let at = (at * bytes.len() as f64) as usize;
            bytes[at] = value;
        }
        bytes.truncate((cut * bytes.len() as f64).ceil() as usize);
        fs::write(&path, &bytes).unwrap();
        match verify(&path, Limits::default(), &mut quiet) {
            Ok(found) => prop_assert_eq!(found, sound),
            Err(error) => { let _ = (error.to_string(), error.hint()); }
        }
    }

    /// Blocks in any order, with arbitrary bytes: never a panic.
    #[test]
    fn arbitrary_tars_never_panic(
        picks in prop::collection::vec(0..12_usize, 1..12),
        noise in prop::collection::vec(any::<u8>(), 0..700),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let tar = tar_of(&small(folder.path()));
        let mut made = Vec::new();
        for pick in picks {
            match tar.get(pick * BLOCK..(pick + 1) * BLOCK) {
                Some(block) => made.extend(block),
                None => made.extend(&noise),
            }
        }
        let path = archive(folder.path(), &made);
        if let Err(error) = verify(&path, Limits::default(), &mut quiet) {
            let _ = (error.to_string(), error.hint());
        }
    }
}
