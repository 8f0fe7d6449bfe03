//! The catalogue as one page: every formula with its meaning, source and a drawing
//! of its values on sample bars. No network, no fonts, a few lines of script for
//! the search.

use std::collections::HashMap;
use std::fmt::Write as _;

use formula::catalogue::{Catalogue, Entry};
use formula::engine::{Evaluator, Plan, Request};
use formula::language::Notation;
use formula::panel::Panel;

/// Values drawn of each formula.
const DRAWN: usize = 120;

/// Returns the page; drawings are of the first instrument of `panel`.
///
/// # Errors
/// Where the formulas that fit the panel cannot be planned together.
pub(crate) fn html(catalogue: &Catalogue, panel: &Panel) -> anyhow::Result<String> {
    let drawings = drawings(catalogue, panel)?;
    let counts = catalogue.counts();
    let mut out = String::from(HEAD);
    let _ = write!(
        out,
        "<h1>Formulas</h1>\n<p class=lead>{} distinct formulas, {} distinct structures (constants \
         left out). Drawings: the last {DRAWN} bars of {} ({}).</p>\n",
        counts.expressions,
        counts.structures,
        escape(&panel.instruments()[0]),
        panel.timeframe()
    );
    out += "<div class=bar><label>Search <input id=q type=search autocomplete=off \
            placeholder='rsi, spread, Kakushadze ...'></label> <label>Family <select id=f>\
            <option value=''>all</option>";
    for (family, counts) in catalogue.by_family() {
        let _ = write!(
            out,
            "<option value=\"{}\">{} ({})</option>",
            escape(&family.id),
            escape(&family.title),
            counts.expressions
        );
    }
    out += "</select></label> <output id=n aria-live=polite></output></div>\n<main>\n";
    for entry in catalogue.entries() {
        out += &card(entry, catalogue, drawings.get(entry.id.as_str()));
    }
    out += "</main>\n";
    out += SCRIPT;
    Ok(out)
}

fn card(entry: &Entry, catalogue: &Catalogue, drawing: Option<&String>) -> String {
    let source = catalogue
        .family(&entry.family)
        .map_or("", |family| &family.source);
    let mut out = format!(
        "<details data-f=\"{}\"><summary><code>{}</code> <b>{}</b></summary>",
        escape(&entry.family),
        escape(&entry.id),
        escape(&entry.name)
    );
    if let Some(drawing) = drawing {
        out += drawing;
    }
    let _ = write!(out, "<pre>{}</pre>", escape(&entry.text));
    if entry.notation != Notation::Foretune {
        let _ = write!(
            out,
            "<pre class=same>{}</pre>",
            escape(&entry.expression.to_string())
        );
    }
    let _ = write!(
        out,
        "<p>{}</p><p>{}</p><p class=beware>{}</p>",
        escape(&entry.explanation),
        escape(&entry.interpretation),
        escape(&entry.pitfalls)
    );
    for (label, note) in [("Proxy", &entry.proxy), ("Deviation", &entry.deviation)] {
        if let Some(note) = note {
            let _ = write!(out, "<p><i>{label}:</i> {}</p>", escape(note));
        }
    }
    let fields: Vec<&str> = entry.needs.fields.iter().map(String::as_str).collect();
    let _ = writeln!(
        out,
        "<p class=source>{}. {} Reads {}; conventions {}.{}</p></details>",
        escape(entry.citation.trim_end_matches('.')),
        escape(source),
        escape(&fields.join(", ")),
        entry.profile.name,
        if entry.also.is_empty() {
            String::new()
        } else {
            format!(" Also {}.", escape(&entry.also.join(", ")))
        }
    );
    out
}

/// Returns a drawing of each formula that the panel can feed.
fn drawings<'a>(
    catalogue: &'a Catalogue,
    panel: &Panel,
) -> anyhow::Result<HashMap<&'a str, String>> {
    let requests: Vec<Request<'_>> = catalogue
        .entries()
        .iter()
        .map(|entry| Request {
            name: &entry.id,
            expression: &entry.expression,
            profile: entry.profile,
        })
        .filter(|request| Plan::new(&[*request], panel).is_ok())
        .collect();
    let plan = Plan::new(&requests, panel)?;
    let first = panel.rows().saturating_sub(DRAWN);
    let lanes = panel.lanes();
    let mut values = vec![Vec::with_capacity(DRAWN); requests.len()];
    Evaluator::new(&plan, panel).advance(panel, |formula, start, block| {
        for (row, block) in block.chunks_exact(lanes).enumerate() {
            if start + row >= first {
                values[formula].push(block[0]);
            }
        }
    });
    let ids = catalogue.entries().iter().map(|entry| entry.id.as_str());
    let known: HashMap<&str, &str> = ids.map(|id| (id, id)).collect();
    Ok(requests
        .iter()
        .zip(values)
        .filter_map(|(request, values)| Some((*known.get(request.name)?, drawing(&values)?)))
        .collect())
}

/// Draws values as a line that breaks where they are unknown.
fn drawing(values: &[f64]) -> Option<String> {
    const WIDTH: f64 = 360.0;
    const HEIGHT: f64 = 64.0;
    let known = || values.iter().copied().filter(|value| !value.is_nan());
    let low = known().fold(f64::INFINITY, f64::min);
    let high = known().fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return None;
    }
    let mut path = String::new();
    let mut pen = 'M';
    for (index, value) in values.iter().enumerate() {
        if value.is_nan() {
            pen = 'M';
            continue;
        }
        let x = index as f64 / (values.len().max(2) - 1) as f64 * WIDTH;
        let share = if high > low {
            (value - low) / (high - low)
        } else {
            0.5
        };
        let y = 4.0 + (1.0 - share) * (HEIGHT - 8.0);
        let _ = write!(path, "{pen}{x:.0} {y:.1}");
        pen = 'L';
    }
    Some(format!(
        "<figure><svg viewBox='0 0 {WIDTH} {HEIGHT}' role=img aria-label='values from {low:.6} to \
         {high:.6}'><path d='{path}'/></svg><figcaption>{} to {}</figcaption></figure>",
        short(low),
        short(high)
    ))
}

fn short(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e7).contains(&value.abs()) {
        format!("{value:.3e}")
    } else {
        let text = format!("{value:.6}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

fn escape(text: &str) -> String {
    serve::chart::svg::escape(text)
}

const HEAD: &str = "<!doctype html>
<html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>
<title>Formulas</title><style>
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d8dee6;--paper:#fff;--mark:#1f6feb;--warn:#9a6700}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa5b4;--line:#30363f;--paper:#14181e;--mark:#6ea8fe;--warn:#d4a72c}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;margin:0 auto;padding:1rem}
.lead,.source,figcaption{color:var(--soft)}.source,figcaption{font-size:.85rem}
.bar{position:sticky;top:0;background:var(--paper);padding:.6rem 0;border-bottom:1px solid var(--line);display:flex;gap:1rem;flex-wrap:wrap;align-items:center}
input,select{font:inherit;padding:.25rem .5rem;border:1px solid var(--line);border-radius:.3rem;background:var(--paper);color:var(--ink);max-width:100%}
details{border-bottom:1px solid var(--line);padding:.35rem 0;content-visibility:auto;contain-intrinsic-size:auto 2.2rem}
summary{cursor:pointer}summary:focus-visible,input:focus-visible,select:focus-visible{outline:2px solid var(--mark)}
pre{white-space:pre-wrap;overflow-wrap:anywhere;border-left:3px solid var(--mark);padding:.3rem .8rem;margin:.5rem 0}
pre.same{border-color:var(--line);color:var(--soft)}
.beware::before{content:'Beware: ';color:var(--warn)}
figure{margin:.5rem 0}svg{width:100%;max-width:30rem;height:auto}path{fill:none;stroke:var(--mark);stroke-width:1.2;vector-effect:non-scaling-stroke}
</style></head><body>
";

const SCRIPT: &str = "<script>
const q=document.getElementById('q'),f=document.getElementById('f'),n=document.getElementById('n');
const all=[...document.querySelectorAll('details')].map(d=>[d,d.textContent.toLowerCase()]);
function show(){const words=q.value.toLowerCase().split(/\\s+/).filter(Boolean);let count=0;
for(const[d,text]of all){const fits=(!f.value||d.dataset.f===f.value)&&words.every(w=>text.includes(w));d.hidden=!fits;count+=fits}
n.textContent=count+' formulas'}
q.addEventListener('input',show);f.addEventListener('change',show);show();
if(location.hash){q.value=decodeURIComponent(location.hash.slice(1));show()}
</script></body></html>
";
