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
        .map(|(name, kernel)| Scalar {
            name,
            arity: Arity::Exactly(1),
            returns: |_| Ok(DataType::Utf8),
            kernel: *kernel,
        })
        .collect();
    all.extend([
        Scalar {
            name: "port",
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
            arity: Arity::Exactly(2),
            returns: |_| Ok(DataType::Utf8),
            kernel: |arguments| map_text_pairs(arguments, |url, name| Some(without(url, name))),
        },
        Scalar {
            name: "extractURLParameters",
            arity: Arity::Exactly(1),
            returns: |_| Ok(list_type()),
            kernel: |arguments| lists(&arguments[0], |pair| pair),
        },
        Scalar {
            name: "extractURLParameterNames",
            arity: Arity::Exactly(1),
            returns: |_| Ok(list_type()),
            kernel: |arguments| {
                lists(&arguments[0], |pair| pair.split_once('=').map_or(pair, |(name, _)| name))
            },
        },
        Scalar {
            name: "URLHierarchy",
            arity: Arity::Exactly(1),
            returns: |_| Ok(list_type()),
            kernel: |arguments| levels(&arguments[0], false),
        },
        Scalar {
            name: "URLPathHierarchy",
            arity: Arity::Exactly(1),
            returns: |_| Ok(list_type()),
            kernel: |arguments| levels(&arguments[0], true),
        },
    ]);
    all
}

fn levels(urls: &ArrayRef, from_path: bool) -> Result<ArrayRef> {
    let mut all = ListBuilder::new(StringBuilder::new());
    for url in texts(urls)?.iter() {
        if let Some(url) = url {
            hierarchy(url, from_path)
                .into_iter()
                .for_each(|level| all.values().append_value(level));
        }
        all.append(url.is_some());
    }
    Ok(Arc::new(all.finish()))
}

/// Name, and what it cuts out.
type Part = (&'static str, fn(&[ArrayRef]) -> Result<ArrayRef>);

const PARTS: &[Part] = &[
    ("protocol", |arguments| part(arguments, |url| url.protocol.to_owned())),
    ("domain", |arguments| part(arguments, |url| url.host.to_owned())),
    ("domainWithoutWWW", |arguments| {
        part(arguments, |url| url.host.strip_prefix("www.").unwrap_or(url.host).to_owned())
    }),
    ("topLevelDomain", |arguments| {
        part(arguments, |url| {
            let last = url.host.rsplit_once('.').map_or("", |(_, last)| last);
            let is_address = last.starts_with(|c: char| c.is_ascii_digit());
            if is_address { String::new() } else { last.to_owned() }
        })
    }),
    ("path", |arguments| part(arguments, |url| url.path.to_owned())),
    ("pathFull", |arguments| part(arguments, |url| url.path_full.to_owned())),
    ("queryString", |arguments| part(arguments, |url| url.query.to_owned())),
    ("fragment", |arguments| part(arguments, |url| url.fragment.to_owned())),
    ("queryStringAndFragment", |arguments| {
        part(arguments, |url| match url.fragment {
            "" => url.query.to_owned(),
            fragment => format!("{}#{fragment}", url.query),
        })
    }),
    ("cutQueryString", |arguments| {
        map_texts(&arguments[0], |url| {
            let (before, fragment) = split(url, '#');
            let (base, _) = split(before, '?');
            let mark = if fragment.is_empty() { "" } else { "#" };
            Some(format!("{base}{mark}{fragment}"))
        })
    }),
    ("cutFragment", |arguments| map_texts(&arguments[0], |url| Some(split(url, '#').0.to_owned()))),
    ("cutQueryStringAndFragment", |arguments| {
        map_texts(&arguments[0], |url| {
            Some(url.split(['?', '#']).next().unwrap_or_default().to_owned())
        })
    }),
    ("netloc", |arguments| {
        map_texts(&arguments[0], |url| {
            let rest = url.split_once("//").map_or(url, |(_, rest)| rest);
            Some(rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned())
        })
    }),
    ("firstSignificantSubdomain", |arguments| {
        part(arguments, |url| significant(url.host).0.to_owned())
    }),
    ("cutToFirstSignificantSubdomain", |arguments| {
        part(arguments, |url| significant(url.host).1.to_owned())
    }),
    ("cutToFirstSignificantSubdomainWithWWW", |arguments| {
        part(arguments, |url| significant(url.host).1.to_owned())
    }),
    ("cutWWW", |arguments| map_texts(&arguments[0], |url| Some(url.replacen("://www.", "://", 1)))),
];

/// The label of a host that its owner chose, and the host from it on. `com`, `net`, `org` and `co`
/// below a country belong to the end.
fn significant(host: &str) -> (&str, &str) {
    let dots: Vec<usize> = host.match_indices('.').map(|(at, _)| at).collect();
    let Some(last) = dots.len().checked_sub(1) else { return ("", "") };
    let label_before = |dot: usize| match dot.checked_sub(1) {
        Some(before) => dots[before] + 1,
        None => 0,
    };
    let second = label_before(last);
    let is_shared = ["com", "net", "org", "co"].contains(&&host[second..dots[last]]);
    if is_shared && last > 0 {
        let first = label_before(last - 1);
        return (&host[first..dots[last - 1]], &host[first..]);
    }
    (&host[second..dots[last]], &host[second..])
}

/// The URL itself and those above it, the shortest first; `from_path` leaves the host out.
fn hierarchy(url: &str, from_path: bool) -> Vec<String> {
    let start = url.find("://").map_or(0, |at| at + 3);
    let Some(path) = url[start..].find(['/', '?', '#']).map(|at| start + at) else {
        return if from_path || url.is_empty() { Vec::new() } else { vec![url.to_owned()] };
    };
    let first = if from_path { path } else { 0 };
    let ends = url[path..].match_indices(['/', '?', '#']).map(|(at, _)| path + at + 1);
    let mut levels: Vec<String> = ends
        .filter(|end| !from_path || *end > path + 1)
        .map(|end| url[first..end].to_owned())
        .collect();
    if levels.last().is_none_or(|last| last.len() < url.len() - first) {
        levels.push(url[first..].to_owned());
    }
    levels
}

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
