//! Templates: HTML in which `{{key}}` stands for a value.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

/// Replaces each `{{key}}` by what `value` appends for `key`. One pass over the template: what is
/// filled in is never read as a key.
pub fn fill(template: &str, mut value: impl FnMut(&str, &mut String)) -> String {
    let mut out = String::with_capacity(template.len() + 4096);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (key, left) = after.split_once("}}").unwrap_or((after, ""));
        value(key, &mut out);
        rest = left;
    }
    out.push_str(rest);
    out
}

/// `text` as HTML's text or the value of an attribute in quotes (HTML standard, section 13.3).
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// How a page may be kept, and what it may load.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// `Cache-Control`
    pub cache: &'static str,
    /// `Content-Security-Policy`
    pub policy: &'static str,
}

/// A page of HTML.
pub fn page(status: StatusCode, html: String, terms: Terms) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, terms.cache),
        (HeaderName::from_static("content-security-policy"), terms.policy),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ];
    (status, headers, html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> String {
        fill(template, |key, out| match key {
            "markup" => out.push_str(&escape("<b title='\"'>&")),
            "key" => out.push_str("{{markup}}"),
            _ => out.push('?'),
        })
    }

    #[test]
    fn a_value_is_text_and_never_a_key() {
        assert_eq!(filled("a {{markup}} b"), "a &lt;b title=&#39;&quot;&#39;&gt;&amp; b");
        assert_eq!(filled("{{key}}{{key}}"), "{{markup}}{{markup}}");
    }

    #[test]
    fn what_is_no_template_stays_as_it_is() {
        assert_eq!(filled(""), "");
        assert_eq!(filled("a } } { { b"), "a } } { { b");
        assert_eq!(filled("ends {{open"), "ends ?");
    }
}
