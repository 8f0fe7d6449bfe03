//! Which rows to compute when many prompts begin alike.
//!
//! The prompts' tokens form a tree: what several begin with is a node computed once, and every
//! prompt's own rest is a leaf. The nodes are visited depth first in passes of bounded size; a
//! node's keys and values stay in the cache until the last prompt below it is done. That is exact
//! for the same reason as [`crate::batch`]: a prefix never sees what follows it.

use std::ops::Range;

use kernels::attention::Segment;

use crate::batch::Batch;

/// Tokens that must be shared for a node of their own: below that, the bookkeeping of another
/// segment costs as much as computing them again.
const LEAST_SHARED: usize = 16;

/// Rows and prompts that one pass may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Rows, unless a single node has more.
    pub(crate) rows: usize,
    /// Prompts that end in a pass.
    pub(crate) prompts: usize,
    /// Cache rows kept free behind each prompt.
    pub(crate) room: usize,
}

/// A run of one prompt's tokens, computed in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// The prompt whose tokens these are.
    pub(crate) prompt: usize,
    /// Which of its tokens.
    pub(crate) tokens: Range<usize>,
    /// Cache rows of everything before it.
    pub(crate) context: Vec<Range<usize>>,
    /// First cache row of its own.
    pub(crate) start: usize,
    /// Whether the prompt ends here (else others share these tokens).
    pub(crate) leaf: bool,
}

impl Node {
    /// Returns its own cache rows.
    pub(crate) fn own(&self) -> Range<usize> {
        self.start..self.start + self.tokens.len()
    }

    /// Returns the cache rows of the prompt up to this node's end.
    pub(crate) fn visible(&self) -> Vec<Range<usize>> {
        let mut ranges = self.context.clone();
        ranges.push(self.own());
        ranges
    }
}

/// The passes over a tree of prompts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// Nodes of each pass, parents before children.
    pub(crate) passes: Vec<Vec<Node>>,
    /// Cache rows needed.
    pub(crate) capacity: usize,
}

/// A node of the tree before it has a place in the cache.
struct Planned {
    prompt: usize,
    tokens: Range<usize>,
    parent: Option<usize>,
    leaf: bool,
}

impl Plan {
    /// Plans the passes over `prompts`, none of which is empty.
    pub(crate) fn new(prompts: &[&[u32]], limits: Limits) -> Self {
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by(|a, b| prompts[*a].cmp(prompts[*b]).then(a.cmp(b)));
        let shared: Vec<usize> = order
            .windows(2)
            .map(|pair| common(prompts[pair[0]], prompts[pair[1]]))
            .collect();
        let mut tree = Vec::new();
        grow(prompts, &order, &shared, 0, None, &mut tree);
        place(&tree, limits)
    }

    /// Returns the number of rows computed in all.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> usize {
        self.passes.iter().flatten().map(|n| n.tokens.len()).sum()
    }
}

/// Returns how many tokens both begin with, leaving each at least one of its own.
fn common(a: &[u32], b: &[u32]) -> usize {
    let most = a.len().min(b.len()).saturating_sub(1);
    let pairs = a[..most].iter().zip(&b[..most]);
    pairs.take_while(|(x, y)| x == y).count()
}

/// Appends the nodes of sorted prompts that share their first `depth` tokens, those already
/// planned. `shared[i]` is what the prompts at i and i + 1 have in common.
fn grow(
    prompts: &[&[u32]],
    order: &[usize],
    shared: &[usize],
    depth: usize,
    parent: Option<usize>,
    tree: &mut Vec<Planned>,
) {
    let mut first = 0;
    while first < order.len() {
        let alike = shared[first..]
            .iter()
            .take_while(|tokens| **tokens >= depth + LEAST_SHARED)
            .count();
        let prompt = order[first];
        let inner = first..first + alike;
        let end = shared[inner.clone()].iter().min().copied();
        tree.push(Planned {
            prompt,
            tokens: depth..end.unwrap_or(prompts[prompt].len()),
            parent,
            leaf: end.is_none(),
        });
        if let Some(end) = end {
            let node = tree.len() - 1;
            let members = &order[first..=first + alike];
            grow(prompts, members, &shared[inner], end, Some(node), tree);
        }
        first += alike + 1;
    }
}

/// Cuts the tree, which lists nodes depth first, into passes and gives every node its cache rows.
fn place(tree: &[Planned], limits: Limits) -> Plan {
    let mut plan = Plan::default();
    let mut placed: Vec<Node> = Vec::with_capacity(tree.len());
    let mut first = 0;
    while first < tree.len() {
        let mut rows = 0;
        let mut leaves = 0;
        let count = tree[first..]
            .iter()
            .take_while(|node| {
                rows += node.tokens.len();
                leaves += usize::from(node.leaf);
                rows <= limits.rows && leaves <= limits.prompts
            })
            .count()
            .max(1);
        // Rows of finished subtrees are free again; those of the nodes above are not.
        let above = tree[first].parent;
        let mut free = above.map_or(0, |parent| {
            let path = placed[parent].visible();
            path.iter().map(|range| range.end).max().unwrap_or(0)
        });
        for node in &tree[first..first + count] {
            let context = node.parent.map_or_else(Vec::new, |p| placed[p].visible());
            let node = Node {
                prompt: node.prompt,
                tokens: node.tokens.clone(),
                context,
                start: free,
                leaf: node.leaf,
            };
            free = node.own().end + if node.leaf { limits.room } else { 0 };
            placed.push(node);
        }
        plan.capacity = plan.capacity.max(free);
        plan.passes.push(placed[first..].to_vec());
        first += count;
    }
    plan
}

/// Appends a node's rows to a batch that works on a cache; returns its first row.
pub(crate) fn push_cached(
    batch: &mut Batch,
    tokens: &[u32],
    position: usize,
    context: Vec<Range<usize>>,
    start: usize,
) -> usize {
    let first = batch.len();
    let own = start..start + tokens.len();
    batch.push(tokens, position, Vec::new(), 0);
    batch.key_rows.truncate(first);
    batch.key_rows.extend(own.clone());
    if let Some(segment) = batch.segments.last_mut() {
        *segment = Segment {
            rows: first..first + tokens.len(),
            context,
            own,
        };
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        rows: 64,
        prompts: 4,
        room: 3,
    };

    fn plan(prompts: &[Vec<u32>], limits: Limits) -> Plan {
        let views: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        Plan::new(&views, limits)
    }

    /// Replays a plan: which tokens each cache row holds when a node looks at it.
    fn check(prompts: &[Vec<u32>], limits: Limits) {
        let plan = plan(prompts, limits);
        let mut cache: Vec<Option<u32>> = vec![None; plan.capacity];
        let mut ended = vec![0; prompts.len()];
        for pass in &plan.passes {
            let mut taken = std::collections::BTreeSet::new();
            for node in pass {
                let tokens = &prompts[node.prompt][node.tokens.clone()];
                assert!(!tokens.is_empty());
                for (row, token) in node.own().zip(tokens) {
                    assert!(taken.insert(row), "a row is written twice in a pass");
                    cache[row] = Some(*token);
                }
            }
            for node in pass {
                let seen: Vec<u32> = node
                    .visible()
                    .into_iter()
                    .flatten()
                    .map(|r| cache[r].unwrap())
                    .collect();
                assert_eq!(seen, prompts[node.prompt][..node.tokens.end]);
                if node.leaf {
                    ended[node.prompt] += 1;
                    assert_eq!(node.tokens.end, prompts[node.prompt].len());
                    for row in node.own().end..node.own().end + limits.room {
                        assert!(taken.insert(row), "room behind a prompt is not free");
                    }
                }
            }
            let rows: usize = pass.iter().map(|node| node.tokens.len()).sum();
            assert!(rows <= limits.rows || pass.len() == 1);
            assert!(pass.iter().filter(|node| node.leaf).count() <= limits.prompts);
        }
        assert!(ended.iter().all(|times| *times == 1), "{ended:?}");
    }

    fn prompt(parts: &[(u32, usize)]) -> Vec<u32> {
        parts
            .iter()
            .flat_map(|(token, n)| std::iter::repeat_n(*token, *n))
            .collect()
    }

    #[test]
    fn what_prompts_share_is_computed_once() {
        // Two kinds of prompt below one instruction, five of each.
        let prompts: Vec<Vec<u32>> = (0..10)
            .map(|i| prompt(&[(1, 40), (2 + i % 2, 30), (10 + i, 5)]))
            .collect();
        check(&prompts, LIMITS);
        assert_eq!(plan(&prompts, LIMITS).rows(), 40 + 2 * 30 + 10 * 5);
        // The two shared nodes and one prompt's rest fit into the cache at a time.
        assert!(plan(&prompts, LIMITS).capacity < 40 + 2 * 30 + 10 * 5);
    }

    #[test]
    fn equal_prompts_and_prefixes_of_others_keep_a_row_of_their_own() {
        let long = prompt(&[(1, 50)]);
        let prompts = [long.clone(), long.clone(), long[..20].to_vec(), vec![1]];
        check(&prompts, LIMITS);
        assert_eq!(plan(&prompts, LIMITS).rows(), 19 + 1 + 30 + 1 + 1 + 1);
        assert_eq!(plan(&[], LIMITS).passes.len(), 0);
    }

    #[test]
    fn a_prompt_longer_than_a_pass_has_one_to_itself() {
        check(&[prompt(&[(1, 200)]), prompt(&[(2, 10)])], LIMITS);
    }

    proptest! {
        #[test]
        fn every_node_finds_its_prefix_in_the_cache(
            parts in prop::collection::vec(prop::collection::vec((0_u32..2, 1_usize..30), 1..5), 1..12),
            rows in 1_usize..120, prompts in 1_usize..6, room in 0_usize..4,
        ) {
            let all: Vec<Vec<u32>> = parts.iter().map(|parts| prompt(parts)).collect();
            check(&all, Limits { rows, prompts, room });
        }
    }
}
