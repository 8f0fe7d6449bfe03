//! Which examples of a batch share a forward pass.
//!
//! A pass holds the beginning that all its examples have in common once, and then the rest of
//! each. The fewer passes and the fewer rows, the less work; what is computed is the same
//! whichever way examples are put together, because a batch's loss is one sum.

/// An example as the packing sees it.
#[derive(Clone, Copy)]
pub(crate) struct Item<'a> {
    /// The leading tokens that it may share with others.
    pub(crate) shareable: &'a [u32],
    /// Rows it takes alone, those of `shareable` among them.
    pub(crate) rows: usize,
}

/// A pass being filled.
struct Pass<'a> {
    members: Vec<usize>,
    /// What all members have in common and may share.
    common: &'a [u32],
    /// Rows of all members, each taken alone.
    apart: usize,
}

impl<'a> Pass<'a> {
    fn rows(&self) -> usize {
        self.apart - (self.members.len() - 1) * self.common.len()
    }

    /// Returns how many leading tokens would be shared with one more member, and the rows then.
    fn with(&self, item: &Item<'_>) -> (usize, usize) {
        let same = |(a, b): &(&u32, &u32)| a == b;
        let common = self.common.iter().zip(item.shareable);
        let common = common.take_while(same).count();
        let rows = self.apart + item.rows - self.members.len() * common;
        (common, rows)
    }

    fn add(&mut self, index: usize, item: &Item<'a>, common: usize) {
        self.members.push(index);
        self.common = &self.common[..common];
        self.apart += item.rows;
    }
}

/// Distributes items over passes of at most `budget` rows, or one item where it alone exceeds it;
/// returns each pass's items in ascending order, the passes by their first item.
///
/// Longest first; each goes where it adds the fewest rows, which is where it shares most, and
/// among equals into the fullest pass (best-fit decreasing).
pub(crate) fn pack(items: &[Item<'_>], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(items[*index].rows));
    let mut passes: Vec<Pass<'_>> = Vec::new();
    for index in order {
        let item = &items[index];
        let best = passes
            .iter()
            .enumerate()
            .map(|(number, pass)| (number, pass.rows(), pass.with(item)))
            .filter(|(_, _, (_, rows))| *rows <= budget)
            .min_by_key(|(_, before, (_, rows))| (rows - before, std::cmp::Reverse(*rows)));
        if let Some((number, _, (common, _))) = best {
            passes[number].add(index, item, common);
        } else {
            passes.push(Pass {
                members: vec![index],
                common: item.shareable,
                apart: item.rows,
            });
        }
    }
    let mut found: Vec<Vec<usize>> = passes.into_iter().map(|pass| pass.members).collect();
    for members in &mut found {
        members.sort_unstable();
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone(rows: &[usize]) -> Vec<Item<'static>> {
        let item = |rows: &usize| Item {
            shareable: &[],
            rows: *rows,
        };
        rows.iter().map(item).collect()
    }

    #[test]
    fn fills_passes_better_than_in_order() {
        // In order these need four passes of 10, packed they fill three to the brim.
        let passes = pack(&alone(&[6, 7, 4, 3, 5, 5]), 10);
        assert_eq!(passes, [vec![0, 2], vec![1, 3], vec![4, 5]]);
    }

    #[test]
    fn an_item_beyond_the_budget_is_alone() {
        assert_eq!(pack(&alone(&[3, 12, 3]), 10), [vec![0, 2], vec![1]]);
        assert!(pack(&[], 10).is_empty());
    }

    #[test]
    fn examples_that_begin_alike_meet() {
        let (first, second) = ([1; 8], [2; 8]);
        let item = |shareable: &'static [u32]| Item {
            shareable,
            rows: 10,
        };
        let (a, b): (&'static [u32], &'static [u32]) =
            (Box::leak(Box::new(first)), Box::leak(Box::new(second)));
        let items = [item(a), item(b), item(a), item(b), item(a)];
        // 8 + 3 * 2 rows, and 8 + 2 * 2.
        assert_eq!(pack(&items, 14), [vec![0, 2, 4], vec![1, 3]]);
    }

    #[test]
    fn every_item_is_in_one_pass_within_the_budget() {
        let texts: Vec<Vec<u32>> = (0..40u32)
            .map(|i| (0..5 + i * 7 % 23).map(|t| t.min(3 + i % 5)).collect())
            .collect();
        let items: Vec<Item<'_>> = texts
            .iter()
            .map(|text| Item {
                shareable: &text[..text.len() - 1],
                rows: text.len(),
            })
            .collect();
        for budget in [1, 20, 40, 1000] {
            let passes = pack(&items, budget);
            let mut seen: Vec<usize> = passes.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..40).collect::<Vec<_>>());
            for pass in &passes {
                let common = if pass.len() == 1 {
                    0
                } else {
                    let first = items[pass[0]].shareable;
                    pass.iter()
                        .map(|i| {
                            let both = items[*i].shareable.iter().zip(first);
                            both.take_while(|(a, b)| a == b).count()
                        })
                        .min()
                        .unwrap()
                };
                let apart: usize = pass.iter().map(|i| items[*i].rows).sum();
                let rows = apart - (pass.len() - 1) * common;
                assert!(rows <= budget || pass.len() == 1, "{budget}: {rows}");
            }
        }
    }
}
