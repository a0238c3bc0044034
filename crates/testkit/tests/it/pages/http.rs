//! One request over HTTP, and Prometheus' text format.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use granary_testkit::TestResult;

/// What `/readyz` asks may take 2 s.
const LIMIT: Duration = Duration::from_secs(10);

/// What a page answered.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

/// Asks `host:port` for a page.
pub fn get(address: &str, path: &str) -> TestResult<Page> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a body")?;
    let (first, headers) = head.split_once("\r\n").ok_or("an answer without headers")?;
    let status = first.split(' ').nth(1).ok_or("an answer without a status")?.parse()?;
    let (headers, body) = (headers.to_ascii_lowercase(), body.to_owned());
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "));
    assert_eq!(length, Some(body.len().to_string().as_str()), "{headers}");
    Ok(Page { status, headers, body })
}

/// The metrics of a page, by their names: labels and values.
pub type Metrics = BTreeMap<String, Vec<(String, f64)>>;

/// Reads the text format and refuses what breaks its rules.
pub fn parse_metrics(text: &str) -> TestResult<Metrics> {
    let (mut metrics, mut family) = (Metrics::new(), None);
    let mut types = BTreeMap::new();
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name, rest) = (words.next(), words.next(), words.next().unwrap_or_default());
            let name = name.ok_or_else(|| format!("a remark on nothing: {line}"))?;
            match word {
                Some("HELP") if !rest.is_empty() => {}
                Some("TYPE") if ["counter", "gauge", "summary", "histogram"].contains(&rest) => {
                    let again = types.insert(name.to_owned(), rest.to_owned());
                    assert_eq!(again, None, "two families are called {name}");
                    family = Some(name.to_owned());
                }
                _ => return Err(format!("no HELP and no TYPE: {line}").into()),
            }
            continue;
        }
        let (what, value) = line.rsplit_once(' ').ok_or_else(|| format!("no value: {line}"))?;
        let value: f64 = value.parse().map_err(|_| format!("no number: {line}"))?;
        let (name, labels) = match what.split_once('{') {
            Some((name, labels)) => {
                (name, labels.strip_suffix('}').ok_or_else(|| format!("open labels: {line}"))?)
            }
            None => (what, ""),
        };
        let of = family.as_deref().ok_or_else(|| format!("before its TYPE: {line}"))?;
        let suffix = name.strip_prefix(of).ok_or_else(|| format!("among those of {of}: {line}"))?;
        assert!(is_name(name) && ["", "_sum", "_count", "_bucket"].contains(&suffix), "{line}");
        assert!(types[of] != "counter" || value >= 0.0, "{line}");
        metrics.entry(name.to_owned()).or_default().push((labels.to_owned(), value));
    }
    Ok(metrics)
}

/// The sum over the labels that contain `labels`; `None` when there is no such metric.
pub fn sum(metrics: &Metrics, name: &str, labels: &str) -> Option<f64> {
    let values = metrics.get(name)?;
    let values = values.iter().filter(|(of, _)| of.contains(labels)).map(|(_, value)| value);
    Some(values.sum())
}
