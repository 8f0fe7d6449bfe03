//! The files of the dashboard, part of the program: nothing is fetched from anywhere else.

use crate::http::Response;

/// What the page may do: its own files and answers, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Returns the file at a path, if there is one.
pub(crate) fn file(path: &str) -> Option<Response> {
    let (kind, text) = match path {
        "/" | "/index.html" => (
            "text/html; charset=utf-8",
            include_str!("dashboard/index.html"),
        ),
        "/dashboard.css" => (
            "text/css; charset=utf-8",
            include_str!("dashboard/dashboard.css"),
        ),
        "/dashboard.js" => (
            "text/javascript; charset=utf-8",
            include_str!("dashboard/dashboard.js"),
        ),
        "/charts.js" => (
            "text/javascript; charset=utf-8",
            include_str!("dashboard/charts.js"),
        ),
        _ => return None,
    };
    Some(Response::new(200, kind, text).header("Content-Security-Policy", POLICY))
}
