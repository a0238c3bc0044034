//! Parts of URLs, cut out of the text as it is: nothing is resolved or checked.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListBuilder, StringBuilder, UInt16Array};
use arrow::datatypes::{DataType, Field};
use datafusion::common::Result;

use super::rows::{map_text_pairs, map_texts, texts};
use super::scalar::{Arity, Scalar};

/// The functions of this family.
pub(super) fn all() -> Vec<Scalar> {
    let mut all: Vec<Scalar> = PARTS
        .iter()
        .map(|(name, summary, kernel)| Scalar {
            name,
            summary,
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: *kernel,
        })
        .collect();
    all.extend([
        Scalar {
            name: "port",
            summary: "port(url): the port, else 0. port('http://a:81/') = 81",
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::UInt16),
            kernel: |arguments| {
                let ports: UInt16Array = texts(&arguments[0])?
                    .iter()
                    .map(|url| url.map(|url| Url::of(url).port.parse().unwrap_or(0)))
                    .collect();
                Ok(Arc::new(ports))
            },
        },
        Scalar {
            name: "extractURLParameter",
            summary: "extractURLParameter(url, name): the value of a parameter, else ''. \
                      extractURLParameter('http://a/?b=1', 'b') = '1'",
            arity: Arity::Exactly(2),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| {
                map_text_pairs(arguments, |url, name| {
                    let mut found = parameters(url).filter_map(|pair| pair.split_once('='));
                    let value = found.find(|(known, _)| *known == name).map(|(_, value)| value);
                    Some(value.unwrap_or_default().to_owned())
                })
            },
        },
        Scalar {
            name: "cutURLParameter",
            summary: "cutURLParameter(url, name): the URL without a parameter",
            arity: Arity::Exactly(2),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| map_text_pairs(arguments, |url, name| Some(without(url, name))),
        },
        Scalar {
            name: "extractURLParameters",
            summary: "extractURLParameters(url): the parameters as texts name=value",
            arity: Arity::Exactly(1),
            returns: |_| Ok(list_type()),
            kernel: |arguments| lists(&arguments[0], |pair| pair),
        },
        Scalar {
            name: "extractURLParameterNames",
            summary: "extractURLParameterNames(url): the names of the parameters",
            arity: Arity::Exactly(1),
            returns: |_| Ok(list_type()),
            kernel: |arguments| {
                lists(&arguments[0], |pair| pair.split_once('=').map_or(pair, |(name, _)| name))
            },
        },
    ]);
    all
}

/// Name, what it gives, and how.
type Part = (&'static str, &'static str, fn(&[ArrayRef]) -> Result<ArrayRef>);

const PARTS: &[Part] = &[
    ("protocol", "protocol('https://a/') = 'https'", |arguments| {
        part(arguments, |url| url.protocol.to_owned())
    }),
    ("domain", "domain('http://www.a.org:80/b') = 'www.a.org'", |arguments| {
        part(arguments, |url| url.host.to_owned())
    }),
    ("domainWithoutWWW", "domainWithoutWWW('http://www.a.org/') = 'a.org'", |arguments| {
        part(arguments, |url| url.host.strip_prefix("www.").unwrap_or(url.host).to_owned())
    }),
    ("topLevelDomain", "topLevelDomain('http://a.org/') = 'org'", |arguments| {
        part(arguments, |url| {
            let last = url.host.rsplit_once('.').map_or("", |(_, last)| last);
            let is_address = last.starts_with(|c: char| c.is_ascii_digit());
            if is_address { String::new() } else { last.to_owned() }
        })
    }),
    ("path", "path('http://a/b?c#d') = '/b'", |arguments| {
        part(arguments, |url| url.path.to_owned())
    }),
    ("pathFull", "pathFull('http://a/b?c#d') = '/b?c#d'", |arguments| {
        part(arguments, |url| url.path_full.to_owned())
    }),
    ("queryString", "queryString('http://a/b?c#d') = 'c'", |arguments| {
        part(arguments, |url| url.query.to_owned())
    }),
    ("fragment", "fragment('http://a/b?c#d') = 'd'", |arguments| {
        part(arguments, |url| url.fragment.to_owned())
    }),
    ("queryStringAndFragment", "queryStringAndFragment('http://a/b?c#d') = 'c#d'", |arguments| {
        part(arguments, |url| match url.fragment {
            "" => url.query.to_owned(),
            fragment => format!("{}#{fragment}", url.query),
        })
    }),
    ("cutQueryString", "cutQueryString('http://a/b?c#d') = 'http://a/b#d'", |arguments| {
        map_texts(&arguments[0], |url| {
            let (before, fragment) = split(url, '#');
            let (base, _) = split(before, '?');
            let mark = if fragment.is_empty() { "" } else { "#" };
            Some(format!("{base}{mark}{fragment}"))
        })
    }),
    ("cutFragment", "cutFragment('http://a/b?c#d') = 'http://a/b?c'", |arguments| {
        map_texts(&arguments[0], |url| Some(split(url, '#').0.to_owned()))
    }),
    (
        "cutQueryStringAndFragment",
        "cutQueryStringAndFragment('http://a/b?c#d') = 'http://a/b'",
        |arguments| {
            map_texts(&arguments[0], |url| {
                Some(url.split(['?', '#']).next().unwrap_or_default().to_owned())
            })
        },
    ),
    ("cutWWW", "cutWWW('http://www.a/') = 'http://a/'", |arguments| {
        map_texts(&arguments[0], |url| Some(url.replacen("://www.", "://", 1)))
    }),
];

/// The parts of one URL; those that it has not are empty.
struct Url<'u> {
    protocol: &'u str,
    host: &'u str,
    port: &'u str,
    path: &'u str,
    path_full: &'u str,
    query: &'u str,
    fragment: &'u str,
}

impl<'u> Url<'u> {
    fn of(url: &'u str) -> Url<'u> {
        let (protocol, rest) = url.split_once("://").unwrap_or(("", url));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path_full) = rest.split_at(end);
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => (host, port),
            _ => (place, ""),
        };
        let (before, fragment) = split(path_full, '#');
        let (path, query) = split(before, '?');
        Url { protocol, host, port, path, path_full, query, fragment }
    }
}

/// What stands before and after the first `separator`.
fn split(text: &str, separator: char) -> (&str, &str) {
    text.split_once(separator).unwrap_or((text, ""))
}

fn part(arguments: &[ArrayRef], of: impl Fn(&Url<'_>) -> String) -> Result<ArrayRef> {
    map_texts(&arguments[0], |url| Some(of(&Url::of(url))))
}

/// The texts name=value of a URL.
fn parameters(url: &str) -> impl Iterator<Item = &str> {
    let (before, _) = split(url, '#');
    split(before, '?').1.split('&').filter(|pair| !pair.is_empty())
}

fn without(url: &str, name: &str) -> String {
    let (before, fragment) = split(url, '#');
    let (base, _) = split(before, '?');
    let kept: Vec<&str> = parameters(url)
        .filter(|pair| pair.split_once('=').map_or(*pair, |(known, _)| known) != name)
        .collect();
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    let mark = if fragment.is_empty() { "" } else { "#" };
    format!("{base}{query}{mark}{fragment}")
}

fn list_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
}

fn lists(urls: &ArrayRef, of: impl Fn(&str) -> &str) -> Result<ArrayRef> {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for url in texts(urls)?.iter() {
        for pair in url.into_iter().flat_map(parameters) {
            lists.values().append_value(of(pair));
        }
        lists.append(url.is_some());
    }
    Ok(Arc::new(lists.finish()))
}
