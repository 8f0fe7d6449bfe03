//! Gradient-boosted trees: grown by `forust-ml`, kept and read by us.
//!
//! `forust-ml` is a small crate (Apache-2.0, Rust alone, six common dependencies) whose trees do
//! not depend on the number of threads. Its booster is not kept: a file of ours holds the trees as
//! flat lists, which are checked when they are read, so that no byte of a file can send a
//! prediction round in circles or out of bounds.
//!
//! A leaf needs `min_leaf_rows` rows: the crate counts the second derivative of the loss, which is
//! at most a quarter for each row of weight 1, hence [`CURVATURE`].

use forust_ml::gradientbooster::GradientBooster;
use forust_ml::objective::ObjectiveType;
use forust_ml::sampler::SampleMethod;
use serde::{Deserialize, Serialize};

use super::EnsembleSettings;

/// The largest second derivative of the log loss for a row of weight 1.
const CURVATURE: f64 = 0.25;
/// The bins into which a feature's values are sorted.
const BINS: u16 = 256;

/// Trees whose values add up to the log-odds of BUY.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trees {
    /// The log-odds before the first tree.
    pub base: f64,
    pub trees: Vec<Tree>,
}

/// A tree as lists with an entry a node; the root is node 0, children come after their parent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tree {
    /// The feature asked about.
    pub feature: Vec<u32>,
    /// Values below it go left.
    pub threshold: Vec<f64>,
    /// The child on the left; 0 in a leaf.
    pub left: Vec<u32>,
    /// The child on the right; 0 in a leaf.
    pub right: Vec<u32>,
    /// Where a missing value goes; 0 in a leaf.
    pub missing: Vec<u32>,
    /// The value of a leaf; 0 elsewhere.
    pub value: Vec<f64>,
}

impl Trees {
    /// Grows trees from columns of N values, side by side in `columns`; 1 in `buy` is BUY.
    pub(super) fn fit(
        columns: &[f64],
        features: usize,
        buy: &[f64],
        weights: &[f64],
        settings: &EnsembleSettings,
    ) -> Result<Self, String> {
        let total: f64 = weights.iter().sum();
        let rate = buy.iter().zip(weights).map(|(y, w)| y * w).sum::<f64>() / total;
        let base = (rate / (1.0 - rate)).ln();
        if !base.is_finite() {
            return Err(format!("the share of BUY is {rate}, expected both sides"));
        }
        let mut booster = GradientBooster::default()
            .set_objective_type(ObjectiveType::LogLoss)
            .set_iterations(settings.trees)
            .set_learning_rate(settings.learning_rate as f32)
            .set_max_depth(settings.depth)
            .set_l2(settings.tree_l2 as f32)
            .set_min_leaf_weight((CURVATURE * settings.min_leaf_rows) as f32)
            .set_base_score(base)
            .set_initialize_base_score(false)
            .set_nbins(BINS)
            .set_parallel(true)
            .set_allow_missing_splits(true)
            .set_create_missing_branch(false)
            .set_sample_method(SampleMethod::None)
            .set_seed(settings.seed);
        let matrix = forust_ml::Matrix::new(columns, buy.len(), features);
        booster
            .fit(&matrix, buy, weights, None)
            .map_err(|error| error.to_string())?;
        let trees = booster.trees.iter().map(flatten).collect();
        Ok(Self { base, trees })
    }

    /// Returns the log-odds of BUY for one row of features; NaN is a missing value.
    pub(super) fn logit(&self, row: &[f32]) -> f64 {
        let values = self.trees.iter().map(|tree| tree.value_of(row));
        self.base + values.sum::<f64>()
    }

    /// Returns what is wrong with trees from a file, if anything is.
    pub(super) fn fault(&self, features: usize) -> Option<String> {
        if !self.base.is_finite() {
            return Some("the base of the trees is not a number".to_owned());
        }
        let mut trees = self.trees.iter().enumerate();
        trees.find_map(|(place, tree)| {
            let fault = tree.fault(features)?;
            Some(format!("tree {place}: {fault}"))
        })
    }
}

impl Tree {
    fn value_of(&self, row: &[f32]) -> f64 {
        let mut node = 0;
        while self.left[node] != 0 {
            let value = f64::from(row[self.feature[node] as usize]);
            let next = if value.is_nan() {
                self.missing[node]
            } else if value < self.threshold[node] {
                self.left[node]
            } else {
                self.right[node]
            };
            node = next as usize;
        }
        self.value[node]
    }

    fn fault(&self, features: usize) -> Option<String> {
        let n = self.left.len();
        let lengths = [
            self.feature.len(),
            self.threshold.len(),
            self.right.len(),
            self.missing.len(),
            self.value.len(),
        ];
        if n == 0 || lengths.iter().any(|length| *length != n) {
            return Some(format!(
                "its lists have {n} and {lengths:?} entries, expected one length"
            ));
        }
        for node in 0..n {
            let children = [self.left[node], self.right[node], self.missing[node]];
            let leaf = children == [0, 0, 0];
            // Children after their parent: every way down ends.
            let down = |child: &u32| (*child as usize) > node && (*child as usize) < n;
            if !leaf && !children.iter().all(down) {
                return Some(format!(
                    "node {node} has children {children:?} of {n} nodes"
                ));
            }
            if !leaf && self.feature[node] as usize >= features {
                let found = self.feature[node];
                return Some(format!("node {node} asks feature {found} of {features}"));
            }
            if !self.threshold[node].is_finite() || !self.value[node].is_finite() {
                return Some(format!("node {node} holds what is not a number"));
            }
        }
        None
    }
}

/// Renumbers a grown tree from its root downwards, leaving out what a later pass cut off.
fn flatten(grown: &forust_ml::tree::Tree) -> Tree {
    let mut tree = Tree::default();
    let mut places = vec![0_usize];
    let mut next = 0;
    while next < places.len() {
        let node = &grown.nodes[places[next]];
        let mut child = |place: usize| {
            places.push(place);
            places.len() as u32 - 1
        };
        let (left, right) = if node.is_leaf {
            (0, 0)
        } else {
            (child(node.left_child), child(node.right_child))
        };
        tree.left.push(left);
        tree.right.push(right);
        let goes_left = node.missing_node == node.left_child;
        tree.missing.push(if goes_left { left } else { right });
        tree.feature.push(if node.is_leaf {
            0
        } else {
            node.split_feature as u32
        });
        tree.threshold
            .push(if node.is_leaf { 0.0 } else { node.split_value });
        tree.value.push(if node.is_leaf {
            f64::from(node.weight_value)
        } else {
            0.0
        });
        next += 1;
    }
    tree
}
