//! Texts out of HTML, and the last part of a path.

use crate::gives;
use crate::rows::map_texts;
use crate::scalar::{ONE, Scalar, scalar};

pub(super) fn all() -> Vec<Scalar> {
    vec![
        scalar("extractTextFromHTML", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| Some(extracted(text)))
        }),
        scalar("decodeHTMLComponent", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| Some(decoded(text)))
        }),
        scalar("basename", ONE, gives::text, |arguments| {
            map_texts(&arguments[0], |text| text.rsplit(['/', '\\']).next().map(str::to_owned))
        }),
    ]
}

/// The text outside of tags, comments, scripts and styles; CDATA stays as it is. Blanks between words
/// become one, and tags part words.
fn extracted(html: &str) -> String {
    let mut words = Words(String::with_capacity(html.len()));
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        words.add(&rest[..open]);
        rest = &rest[open..];
        rest = if let Some(data) = rest.strip_prefix("<![CDATA[") {
            let (inside, after) = data.split_once("]]>").unwrap_or((data, ""));
            words.0.push_str(inside);
            after
        } else if rest.starts_with("<!--") {
            rest.split_once("-->").map_or("", |(_, after)| after)
        } else if let Some(name) = ["script", "style"].into_iter().find(|name| opens(rest, name)) {
            words.part();
            after_closing(rest, name)
        } else {
            words.part();
            rest.split_once('>').map_or("", |(_, after)| after)
        };
    }
    words.add(rest);
    words.0.trim_end().to_owned()
}

struct Words(String);

impl Words {
    fn part(&mut self) {
        if !self.0.is_empty() && !self.0.ends_with(' ') {
            self.0.push(' ');
        }
    }

    fn add(&mut self, text: &str) {
        if text.starts_with(char::is_whitespace) {
            self.part();
        }
        let mut words = text.split_whitespace();
        if let Some(first) = words.next() {
            self.0.push_str(first);
        }
        for word in words {
            self.part();
            self.0.push_str(word);
        }
        if text.ends_with(char::is_whitespace) {
            self.part();
        }
    }
}

/// Whether the tag at the beginning opens an element of this name.
fn opens(text: &str, name: &str) -> bool {
    let Some(tag) = text.get(1..=name.len()) else { return false };
    let ends = text[1 + name.len()..].chars().next();
    tag.eq_ignore_ascii_case(name) && ends.is_none_or(|c| !c.is_ascii_alphanumeric())
}

/// What comes behind the tag that closes the element.
fn after_closing<'t>(text: &'t str, name: &str) -> &'t str {
    let mut rest = text;
    while let Some(at) = rest.find("</") {
        rest = &rest[at + 1..];
        if opens(rest, name) {
            return rest.split_once('>').map_or("", |(_, after)| after);
        }
    }
    ""
}

/// The characters that names and numbers between `&` and `;` stand for.
fn decoded(text: &str) -> String {
    const NAMES: [(&str, char); 14] = [
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("apos", '\''),
        ("nbsp", '\u{a0}'),
        ("copy", '\u{a9}'),
        ("reg", '\u{ae}'),
        ("euro", '\u{20ac}'),
        ("hellip", '\u{2026}'),
        ("ndash", '\u{2013}'),
        ("mdash", '\u{2014}'),
        ("laquo", '\u{ab}'),
        ("raquo", '\u{bb}'),
    ];
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        decoded.push_str(&rest[..at]);
        rest = &rest[at..];
        let named = rest[1..].split_once(';').and_then(|(name, after)| {
            let number =
                name.strip_prefix('#').and_then(|digits| match digits.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok(),
                    None => digits.parse().ok(),
                });
            let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, c)| *c);
            Some((number.and_then(char::from_u32).or(known)?, after))
        });
        match named {
            Some((c, after)) => {
                decoded.push(c);
                rest = after;
            }
            None => {
                decoded.push('&');
                rest = &rest[1..];
            }
        }
    }
    decoded.push_str(rest);
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_taken_out() {
        for (html, text) in [
            ("<p>A text <i>with</i><b>tags</b>. <!-- comments --></p>", "A text with tags ."),
            ("<![CDATA[The <b>content</b>]]> x", "The <b>content</b> x"),
            ("a<script>var b = '</p>';</script >c<style/>d", "a c"),
            ("<STYLE>x</STYLE>  a \n b", "a b"),
            ("a < b", "a"),
        ] {
            assert_eq!(extracted(html), text, "{html}");
        }
    }

    #[test]
    fn characters_have_names() {
        for (html, text) in
            [("&lt;a&gt; &amp;&#65;&#x42;", "<a> &AB"), ("a & b &nope; &", "a & b &nope; &")]
        {
            assert_eq!(decoded(html), text);
        }
    }
}
