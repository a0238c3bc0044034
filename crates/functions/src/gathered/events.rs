//! Events in the order of their times: funnels, patterns, retention.

use std::sync::Arc;

use arrow::array::{Array, UInt8Array};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};

use super::{Function, Rows, Wanted, invalid};
use crate::gives;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "windowFunnel",
        arity: (2, 33),
        wanted: &[Wanted::Any, Wanted::Flag],
        returns: |_| Ok(DataType::UInt8),
        finish: window_funnel,
    },
    Function {
        name: "sequenceMatch",
        arity: (2, 33),
        wanted: &[Wanted::Any, Wanted::Flag],
        returns: |_| Ok(DataType::UInt8),
        finish: |rows| Ok(ScalarValue::UInt8(Some(u8::from(sequences(rows, true)? > 0)))),
    },
    Function {
        name: "sequenceCount",
        arity: (2, 33),
        wanted: &[Wanted::Any, Wanted::Flag],
        returns: gives::number,
        finish: |rows| Ok(ScalarValue::UInt64(Some(sequences(rows, false)?))),
    },
    Function {
        name: "retention",
        arity: (1, 32),
        wanted: &[Wanted::Flag],
        returns: |_| Ok(gives::list(DataType::UInt8)),
        finish: |rows| {
            let met = |at: usize| rows.flags(at).iter().flatten().any(|flag| flag);
            let first = met(0);
            let flags = (0..rows.columns.len()).map(|at| u8::from(first && met(at)));
            rows.list(Arc::new(UInt8Array::from_iter_values(flags)))
        },
    },
];

/// Which conditions hold at a time.
struct Event {
    time: i64,
    holds: u32,
}

impl Event {
    fn is(&self, condition: usize) -> bool {
        self.holds >> condition & 1 == 1
    }
}

/// The rows by time; equal times keep their order.
fn events(rows: &Rows<'_>) -> Result<Vec<Event>> {
    let times = rows.integers(0)?;
    let conditions: Vec<_> = (1..rows.columns.len()).map(|at| rows.flags(at)).collect();
    let holds = |row: usize| {
        conditions.iter().enumerate().fold(0, |holds, (at, flags)| {
            holds | u32::from(flags.is_valid(row) && flags.value(row)) << at
        })
    };
    let mut events: Vec<Event> = times
        .into_iter()
        .enumerate()
        .map(|(row, time)| Event { time, holds: holds(row) })
        .collect();
    events.sort_by_key(|event| event.time);
    Ok(events)
}

/// The longest chain of conditions within a window that begins with the first condition. Modes:
/// strict_order, strict_deduplication, strict_increase.
fn window_funnel(rows: &Rows<'_>) -> Result<ScalarValue> {
    let Some(window) = rows.number(0, "windowFunnel")? else {
        return Err(invalid(
            "windowFunnel takes the length of its window: windowFunnel(3600)(...)".to_owned(),
        ));
    };
    let mode = |name: &str| rows.parameters.iter().skip(1).any(|given| given.trim() == name);
    let known =
        ["strict_order", "strict_deduplication", "strict", "strict_increase", "strict_once"];
    if let Some(other) = rows.parameters.iter().skip(1).find(|given| !known.contains(&given.trim()))
    {
        return Err(invalid(format!("windowFunnel does not know the mode '{other}'")));
    }
    let (strict_order, increase) = (mode("strict_order"), mode("strict_increase"));
    let once = mode("strict_deduplication") || mode("strict");
    let window = window as i64;
    let count = rows.columns.len() - 1;
    let events = events(rows)?;
    // For each level: when its chain began and when its last event was.
    let mut levels: Vec<Option<(i64, i64)>> = vec![None; count];
    let mut reached = 0;
    for event in &events {
        if event.holds == 0 && strict_order && levels[0].is_some() {
            break;
        }
        // From the last condition on, so that one event is not two steps.
        for level in (0..count).rev().filter(|level| event.is(*level)) {
            if level == 0 {
                levels[0] = Some((event.time, event.time));
                reached = reached.max(1);
                continue;
            }
            if once && levels[level].is_some() {
                return Ok(ScalarValue::UInt8(Some(level as u8)));
            }
            let before = levels[level - 1];
            match before {
                Some((start, last)) => {
                    let later = !increase || event.time > last;
                    if later && event.time <= start.saturating_add(window) {
                        levels[level] = Some((start, event.time));
                        reached = reached.max(level + 1);
                    }
                }
                // Another step in between breaks the chain.
                None if strict_order && levels[0].is_some() => {
                    return Ok(ScalarValue::UInt8(Some(reached as u8)));
                }
                None => {}
            }
        }
        if reached == count {
            break;
        }
    }
    Ok(ScalarValue::UInt8(Some(reached as u8)))
}

/// One step of a pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// `(?1)`: an event with this condition, from 0.
    Event(usize),
    /// `.`: any event.
    Any,
    /// `.*`: any number of events.
    Gap,
    /// `(?t>=3)`: the time between the events around, in seconds.
    Time(Comparison, i64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

impl Comparison {
    fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::Equal => left == right,
        }
    }
}

fn pattern(text: &str, conditions: usize) -> Result<Vec<Step>> {
    let wrong =
        || invalid(format!("'{text}' is no pattern of events such as '(?1).*(?t<=60)(?2)'"));
    let mut steps = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(".*") {
            steps.push(Step::Gap);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('.') {
            steps.push(Step::Any);
            rest = after;
        } else {
            let (inside, after) =
                rest.strip_prefix("(?").and_then(|rest| rest.split_once(')')).ok_or_else(wrong)?;
            rest = after;
            steps.push(match inside.strip_prefix('t') {
                None => {
                    let number: usize = inside.parse().map_err(|_| wrong())?;
                    if number == 0 || number > conditions {
                        return Err(invalid(format!("'{text}': there is no condition {number}")));
                    }
                    Step::Event(number - 1)
                }
                Some(time) => {
                    let operators = [
                        ("<=", Comparison::LessOrEqual),
                        (">=", Comparison::GreaterOrEqual),
                        ("==", Comparison::Equal),
                        ("<", Comparison::Less),
                        (">", Comparison::Greater),
                        ("=", Comparison::Equal),
                    ];
                    let found = operators
                        .into_iter()
                        .find_map(|(mark, of)| Some((of, time.strip_prefix(mark)?)));
                    let (comparison, number) = found.ok_or_else(wrong)?;
                    Step::Time(comparison, number.trim().parse().map_err(|_| wrong())?)
                }
            });
        }
    }
    Ok(steps)
}

/// How often the pattern occurs, one after the other; with `first`, at most once.
fn sequences(rows: &Rows<'_>, first: bool) -> Result<u64> {
    let Some(text) = rows.parameters.first() else {
        return Err(invalid("a pattern is expected: sequenceMatch('(?1)(?2)')(...)".to_owned()));
    };
    let steps = pattern(text, rows.columns.len() - 1)?;
    let mut events = events(rows)?;
    events.retain(|event| event.holds != 0);
    // Seconds are what the pattern counts in.
    let per_second = match rows.columns[0].data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1_000_000_000,
        _ => 1,
    };
    for event in &mut events {
        event.time = event.time.div_euclid(per_second);
    }
    let mut found = 0;
    let mut start = 0;
    while start < events.len() {
        match matched(&steps, &events, start) {
            Some(end) => {
                found += 1;
                if first {
                    break;
                }
                start = end.max(start + 1);
            }
            None => start += 1,
        }
    }
    Ok(found)
}

/// Where a match that begins at `start` ends. States that failed are not tried again, so the time is
/// bounded by the number of steps and events.
fn matched(steps: &[Step], events: &[Event], start: usize) -> Option<usize> {
    let width = events.len() + 1;
    let mut failed = vec![false; (steps.len() + 1) * width];
    // Choices that are left: the step, the next event.
    let mut open = vec![(0_usize, start)];
    while let Some((step, at)) = open.pop() {
        if std::mem::replace(&mut failed[step * width + at], true) {
            continue;
        }
        match steps.get(step) {
            None => return Some(at),
            Some(Step::Event(condition)) => {
                if events.get(at).is_some_and(|event| event.is(*condition)) {
                    open.push((step + 1, at + 1));
                }
            }
            Some(Step::Any) if at < events.len() => open.push((step + 1, at + 1)),
            Some(Step::Any) => {}
            Some(Step::Gap) => {
                // As few events as possible first.
                if at < events.len() {
                    open.push((step, at + 1));
                }
                open.push((step + 1, at));
            }
            Some(Step::Time(comparison, seconds)) => {
                let before = at.checked_sub(1).and_then(|before| events.get(before));
                if let Some(event) = events.get(at) {
                    let passed = before.map_or(0, |before| event.time - before.time);
                    if comparison.holds(passed, *seconds) {
                        open.push((step + 1, at));
                    }
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let events: Vec<Event> = [(0, 0b001), (10, 0b100), (20, 0b010), (100, 0b010)]
            .into_iter()
            .map(|(time, holds)| Event { time, holds })
            .collect();
        for (text, expected) in [
            ("(?1)(?2)", None),
            ("(?1).*(?2)", Some(3)),
            ("(?1).(?2)", Some(3)),
            ("(?1)(?3)(?2)(?2)", Some(4)),
            ("(?1)(?t<=5)(?3)", None),
            ("(?1)(?t<=10)(?3)", Some(2)),
            ("(?1).*(?2)(?t>=50)(?2)", Some(4)),
        ] {
            let steps = pattern(text, 3).expect(text);
            assert_eq!(matched(&steps, &events, 0), expected, "{text}");
        }
        assert!(pattern("(?4)", 3).is_err());
        assert!(pattern("(1)", 3).is_err());
    }
}
