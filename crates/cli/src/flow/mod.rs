//! The steps that commands share. Each takes settings and returns data; what
//! the person watching needs to know goes through `progress` and `output`.

pub(crate) mod arms;
pub(crate) mod audit;
pub(crate) mod bars;
pub(crate) mod base;
pub(crate) mod bridge;
pub(crate) mod calibration;
pub(crate) mod client;
pub(crate) mod compare;
pub(crate) mod corpus;
pub(crate) mod cost;
pub(crate) mod data;
pub(crate) mod dataset_page;
pub(crate) mod estimate;
pub(crate) mod estimate_text;
pub(crate) mod evaluation;
pub(crate) mod examples;
pub(crate) mod formula_page;
pub(crate) mod gate;
pub(crate) mod guard;
pub(crate) mod judge;
pub(crate) mod llama;
pub(crate) mod ollama;
pub(crate) mod package;
pub(crate) mod preference;
pub(crate) mod question;
pub(crate) mod reasoned;
pub(crate) mod report;
pub(crate) mod select;
pub(crate) mod shadow;
pub(crate) mod sheet;
pub(crate) mod shorten;
pub(crate) mod signals;
pub(crate) mod text;
pub(crate) mod training;
pub(crate) mod training_page;
