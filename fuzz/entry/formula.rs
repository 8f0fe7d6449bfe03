//! Offers bytes to the reader of formulas, in every notation, and to that of catalogue files.

use formula::catalogue::Catalogue;
use formula::language::{self, Notation};
use formula::profile::Profile;

/// Formulas with more parts are not explained here: that takes long, not differently.
const PARTS: usize = 300;

/// Text of a formula: whatever can be read is written back the same, compared, explained and
/// translated.
pub(crate) fn formula(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for notation in Notation::ALL {
        let tree = match language::parse(text, notation) {
            Ok(tree) => tree,
            Err(error) => {
                let _ = (error.to_string(), error.hint(), error.caret().to_string());
                assert!(error.offset <= text.len());
                continue;
            }
        };
        let written = tree.to_string();
        match language::parse(&written, Notation::Foretune) {
            Ok(again) => assert_eq!(again, tree, "{written}"),
            // Names that stood for long parts are gone.
            Err(error) => assert!(
                matches!(*error.problem, language::Problem::TooLong { .. }),
                "{error}\n{written}"
            ),
        }
        let _ = tree.kind();
        for profile in &Profile::ALL {
            let _ = language::canonical_hash(&tree, profile);
        }
        let _ = language::structure_hash(&tree);
        if tree.nodes().len() <= PARTS {
            assert!(!language::explain(&tree).is_empty());
            let _ = language::tree(&tree);
            for other in Notation::ALL {
                let _ = language::print(&tree, other);
            }
        }
    }
}

/// A file of formulas.
pub(crate) fn catalogue(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Catalogue::parse("own.toml", text) {
        Ok(catalogue) => {
            let counts = catalogue.counts();
            assert!(counts.structures <= counts.expressions);
            assert_eq!(counts.expressions, catalogue.entries().len());
        }
        Err(faults) => assert!(!faults.to_string().is_empty()),
    }
}
