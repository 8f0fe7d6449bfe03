//! Normal forms: trees that give the same number by the laws of arithmetic become
//! one, so that a formula written in another order is not counted twice.
//!
//! Sums and products are flattened, their constants gathered and their operands
//! sorted; a difference is a sum, a quotient a product, `x * x` a power. No law is
//! used that holds for some values only, except that a part which cancels out is
//! taken to be known. Every form knows two numbers: one for the form itself and
//! one for its structure, in which all constants look alike.

use std::collections::BTreeMap;
use std::rc::Rc;

/// A part of a formula in normal form.
pub(super) type Part = Rc<Normal>;

/// A normal form.
#[derive(Debug)]
pub(super) struct Normal {
    /// Tells apart forms that give different numbers.
    pub(super) hash: u128,
    /// Tells apart forms that differ in more than constants.
    pub(super) structure: u128,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Number(f64),
    /// A constant plus terms times coefficients, by the terms' hashes.
    Sum(f64, Terms),
    /// A coefficient times factors to whole powers, by the factors' hashes.
    Product(f64, Terms),
    Other,
}

type Terms = BTreeMap<u128, (Part, f64)>;

/// Returns the constant `value`.
pub(super) fn number(value: f64) -> Part {
    Rc::new(Normal {
        hash: Fnv::new("number").number(value).0,
        structure: Fnv::new("number").0,
        form: Form::Number(value),
    })
}

/// Returns a column.
pub(super) fn field(name: &str) -> Part {
    let hash = Fnv::new("field").text(name).0;
    Rc::new(Normal {
        hash,
        structure: hash,
        form: Form::Other,
    })
}

/// Returns an operator of parts in their order.
pub(super) fn call(name: &str, convention: u32, parts: &[Part]) -> Part {
    let start = || Fnv::new("call").text(name);
    let hash = parts
        .iter()
        .fold(start(), |hash, part| hash.wide(part.hash));
    let structure = parts
        .iter()
        .fold(start(), |hash, part| hash.wide(part.structure));
    Rc::new(Normal {
        hash: hash.number(f64::from(convention)).0,
        structure: structure.0,
        form: Form::Other,
    })
}

/// Returns an operator whose parts may stand in any order.
pub(super) fn unordered(name: &str, convention: u32, mut parts: Vec<Part>) -> Part {
    parts.sort_by_key(|part| part.hash);
    let mut sorted = call(name, convention, &parts);
    parts.sort_by_key(|part| part.structure);
    let structure = call(name, convention, &parts).structure;
    if let Some(normal) = Rc::get_mut(&mut sorted) {
        normal.structure = structure;
    }
    sorted
}

/// Returns the number that `part` is, if it is one.
pub(super) fn value(part: &Part) -> Option<f64> {
    match part.form {
        Form::Number(value) => Some(value),
        _ => None,
    }
}

/// Returns the sum of `terms`, each times its coefficient.
pub(super) fn sum(terms: &[(f64, Part)]) -> Part {
    let (mut constant, mut gathered) = (0.0, Terms::new());
    for (coefficient, part) in terms {
        gather(*coefficient, part, &mut constant, &mut gathered);
    }
    gathered.retain(|_, (_, coefficient)| *coefficient != 0.0);
    if gathered.is_empty() {
        return number(constant);
    }
    if constant == 0.0
        && gathered.len() == 1
        && let Some((part, coefficient)) = gathered.values().next()
    {
        return product(*coefficient, &[(part.clone(), 1)]);
    }
    of_terms("sum", constant, gathered)
}

fn gather(coefficient: f64, part: &Part, constant: &mut f64, gathered: &mut Terms) {
    match &part.form {
        Form::Number(value) => *constant += coefficient * value,
        Form::Sum(own, terms) => {
            *constant += coefficient * own;
            for (term, times) in terms.values() {
                gather(coefficient * times, term, constant, gathered);
            }
        }
        Form::Product(own, factors) if *own != 1.0 => {
            let bare = product_of(1.0, factors.clone());
            gather(coefficient * own, &bare, constant, gathered);
        }
        Form::Product(..) | Form::Other => {
            let place = gathered
                .entry(part.hash)
                .or_insert_with(|| (part.clone(), 0.0));
            place.1 += coefficient;
        }
    }
}

/// Returns `coefficient` times `factors`, each to its whole power.
pub(super) fn product(coefficient: f64, factors: &[(Part, i32)]) -> Part {
    let (mut coefficient, mut gathered) = (coefficient, Terms::new());
    for (part, power) in factors {
        multiply(part, *power, &mut coefficient, &mut gathered);
    }
    gathered.retain(|_, (_, power)| *power != 0.0);
    if coefficient == 0.0 {
        return number(0.0);
    }
    product_of(coefficient, gathered)
}

fn multiply(part: &Part, power: i32, coefficient: &mut f64, gathered: &mut Terms) {
    let mut insert = |part: Part| {
        let place = gathered.entry(part.hash).or_insert((part, 0.0));
        place.1 += f64::from(power);
    };
    match &part.form {
        Form::Number(value) => *coefficient *= value.powi(power),
        Form::Product(own, factors) if small(factors, power) => {
            *coefficient *= own.powi(power);
            for (factor, times) in factors.values() {
                multiply(factor, power * *times as i32, coefficient, gathered);
            }
        }
        Form::Sum(..) => {
            let (scale, unit) = unit_sum(part);
            *coefficient *= scale.powi(power);
            insert(unit);
        }
        Form::Product(..) | Form::Other => insert(part.clone()),
    }
}

/// Whether powers of powers stay small enough to be counted.
fn small(factors: &Terms, power: i32) -> bool {
    const MOST: f64 = 1e6;
    factors
        .values()
        .all(|(_, times)| (times * f64::from(power)).abs() <= MOST)
}

/// Returns a sum as a number times a sum whose first coefficient is 1.
fn unit_sum(part: &Part) -> (f64, Part) {
    let Form::Sum(constant, terms) = &part.form else {
        return (1.0, part.clone());
    };
    let scale = terms.values().next().map_or(1.0, |(_, first)| *first);
    let terms = terms
        .iter()
        .map(|(hash, (term, coefficient))| (*hash, (term.clone(), coefficient / scale)))
        .collect();
    (scale, of_terms("sum", constant / scale, terms))
}

fn product_of(coefficient: f64, factors: Terms) -> Part {
    let single = match factors.len() {
        0 => return number(coefficient),
        1 => factors.values().next().filter(|(_, power)| *power == 1.0),
        _ => None,
    };
    if let Some((part, _)) = single {
        if let Form::Sum(constant, terms) = &part.form {
            let terms = terms
                .iter()
                .map(|(hash, (term, times))| (*hash, (term.clone(), coefficient * times)))
                .collect();
            return of_terms("sum", coefficient * constant, terms);
        }
        if coefficient == 1.0 {
            return part.clone();
        }
    }
    of_terms("product", coefficient, factors)
}

fn of_terms(kind: &str, constant: f64, terms: Terms) -> Part {
    let mut hash = Fnv::new(kind).number(constant);
    let mut structures = Vec::with_capacity(terms.len());
    for (term, (part, times)) in &terms {
        hash = hash.wide(*term).number(*times);
        structures.push((part.structure, abstracted(*times, 1.0)));
    }
    structures.sort_unstable();
    let neutral = if kind == "sum" { 0.0 } else { 1.0 };
    let start = Fnv::new(kind).text(abstracted(constant, neutral));
    let structure = structures
        .into_iter()
        .fold(start, |hash, (part, times)| hash.wide(part).text(times));
    Rc::new(Normal {
        hash: hash.0,
        structure: structure.0,
        form: if kind == "sum" {
            Form::Sum(constant, terms)
        } else {
            Form::Product(constant, terms)
        },
    })
}

/// What of a constant belongs to the structure: that it is there, and that it is
/// a mere change of sign.
fn abstracted(value: f64, neutral: f64) -> &'static str {
    if value == neutral {
        "none"
    } else if value == -1.0 {
        "minus"
    } else {
        "constant"
    }
}

/// The absolute value, which no change of sign changes.
pub(super) fn absolute(part: &Part) -> Part {
    let (scale, unit) = match &part.form {
        Form::Sum(..) => unit_sum(part),
        Form::Product(own, factors) => (*own, product_of(1.0, factors.clone())),
        Form::Number(_) | Form::Other => (1.0, part.clone()),
    };
    let bare = call("abs", 0, &[unit]);
    product(scale.abs(), &[(bare, 1)])
}

/// FNV-1a with 128 bits (Fowler, Noll, Vo; RFC 9923): the same on every machine
/// and in every release.
#[derive(Debug, Clone, Copy)]
struct Fnv(u128);

impl Fnv {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

    fn new(kind: &str) -> Self {
        Self(Self::OFFSET).text(kind)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(Self::PRIME);
        }
        self
    }

    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes()).bytes(&[0])
    }

    /// To 12 significant digits: gathering constants in another order rounds
    /// differently.
    fn number(self, value: f64) -> Self {
        let value = if value == 0.0 { 0.0 } else { value };
        self.text(&format!("{value:.11e}"))
    }

    fn wide(self, value: u128) -> Self {
        self.bytes(&value.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_1a_of_128_bits() {
        // RFC 9923, appendix C: FNV-1a of "a" and of "foobar".
        let hash = |text: &str| Fnv(Fnv::OFFSET).bytes(text.as_bytes()).0;
        assert_eq!(hash("a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(hash("foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }
}
