//! Which task reads each part when several hold it: pure.

use std::cmp::Reverse;
use std::collections::VecDeque;

/// The busiest task may read so much more than the mean, as a fraction of it, before parts are dealt
/// anew.
const UNEVEN_FROM: f64 = 0.02;
/// How often parts are dealt anew at most. Only few parts are ever dealt unevenly: many are small
/// beside what a task reads.
const ROUNDS_MAX: usize = 64;

/// A part that is to be dealt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub rows: u64,
    /// The tasks that may read it, in the order of preference; none: any may.
    pub holders: Vec<usize>,
}

/// The task of `tasks` that reads each of `shares`. First each goes to the holder that has the least to
/// read so far; then, while another dealing takes rows from the busiest task, parts move along chains
/// of holders to a task with less to do.
pub(super) fn deal(shares: &[Share], tasks: usize) -> Vec<usize> {
    let mut dealt = Dealt { shares, rows: vec![0; tasks], task_of: vec![0; shares.len()] };
    let mut order: Vec<usize> = (0..shares.len()).collect();
    // Those that nobody holds even out what the others leave uneven.
    order.sort_by_key(|part| (shares[*part].holders.is_empty(), Reverse(shares[*part].rows)));
    for part in order {
        let lightest = dealt.holders(part).into_iter().min_by_key(|task| dealt.rows[*task]);
        dealt.give(part, lightest.unwrap_or(0));
    }
    let mean = dealt.rows.iter().sum::<u64>() as f64 / tasks.max(1) as f64;
    for _ in 0..ROUNDS_MAX {
        let Some((busiest, rows)) = dealt.busiest() else { break };
        if rows as f64 <= mean * (1.0 + UNEVEN_FROM) {
            break;
        }
        let Some(chain) = dealt.relief(busiest) else { break };
        for (part, task) in chain {
            dealt.rows[dealt.task_of[part]] -= shares[part].rows;
            dealt.give(part, task);
        }
    }
    dealt.task_of
}

struct Dealt<'a> {
    shares: &'a [Share],
    /// What each task reads.
    rows: Vec<u64>,
    task_of: Vec<usize>,
}

impl Dealt<'_> {
    fn holders(&self, part: usize) -> Vec<usize> {
        match &self.shares[part].holders {
            none if none.is_empty() => (0..self.rows.len()).collect(),
            holders => holders.clone(),
        }
    }

    fn give(&mut self, part: usize, task: usize) {
        self.task_of[part] = task;
        if let Some(rows) = self.rows.get_mut(task) {
            *rows += self.shares[part].rows;
        }
    }

    fn busiest(&self) -> Option<(usize, u64)> {
        let rows = self.rows.iter().copied().enumerate();
        rows.max_by_key(|(task, rows)| (*rows, Reverse(*task)))
    }

    /// Moves, each of a part to another holder, that take rows from `busiest` and leave every task
    /// they touch with fewer rows than it has now: the fewest that do.
    fn relief(&self, busiest: usize) -> Option<Vec<(usize, usize)>> {
        let limit = self.rows[busiest];
        // By task, the part that came to it and where that came from.
        let mut came: Vec<Option<usize>> = vec![None; self.rows.len()];
        let mut next = VecDeque::from([busiest]);
        while let Some(task) = next.pop_front() {
            let gained = came[task].map_or(0, |part| self.shares[part].rows);
            for part in (0..self.shares.len()).filter(|part| self.task_of[*part] == task) {
                let rows = self.shares[part].rows;
                if self.rows[task] + gained >= limit + rows {
                    continue;
                }
                for holder in self.holders(part) {
                    if holder == busiest || came[holder].is_some() {
                        continue;
                    }
                    came[holder] = Some(part);
                    if self.rows[holder] + rows < limit {
                        return Some(self.chain(&came, busiest, holder));
                    }
                    next.push_back(holder);
                }
            }
        }
        None
    }

    /// The moves that end at `last`.
    fn chain(&self, came: &[Option<usize>], busiest: usize, last: usize) -> Vec<(usize, usize)> {
        let mut moves = Vec::new();
        let mut task = last;
        while task != busiest {
            let Some(part) = came[task] else { break };
            moves.push((part, task));
            task = self.task_of[part];
        }
        moves
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(rows: u64, holders: &[usize]) -> Share {
        Share { rows, holders: holders.to_vec() }
    }

    fn rows(shares: &[Share], tasks: usize) -> Vec<u64> {
        let mut rows = vec![0; tasks];
        for (share, task) in shares.iter().zip(deal(shares, tasks)) {
            rows[task] += share.rows;
        }
        rows
    }

    #[test]
    fn cases() {
        let ring = |sizes: &[u64]| -> Vec<Share> {
            let place = |at: usize| [at % 3, (at + 1) % 3];
            sizes.iter().enumerate().map(|(at, rows)| share(*rows, &place(at))).collect()
        };
        let cases: [(&str, Vec<Share>, usize, Vec<u64>); 7] = [
            ("nothing", vec![], 3, vec![0, 0, 0]),
            ("one holder each", vec![share(5, &[1]), share(7, &[1])], 2, vec![0, 12]),
            ("held by nobody", vec![share(5, &[]), share(5, &[])], 2, vec![5, 5]),
            ("equal on a ring", ring(&[10; 6]), 3, vec![20, 20, 20]),
            ("unlike on a ring", ring(&[11, 10, 13, 12, 11, 9]), 3, vec![21, 22, 23]),
            (
                "a chain of two moves",
                // The first dealing gives 10, 20 and 30: the last part goes to the second task, whose
                // first one goes to the first task.
                vec![
                    share(10, &[1, 0]),
                    share(10, &[2]),
                    share(10, &[2]),
                    share(10, &[0]),
                    share(10, &[1]),
                    share(10, &[2, 1]),
                ],
                3,
                vec![20, 20, 20],
            ),
            ("the last resort", vec![share(9, &[2]), share(3, &[])], 3, vec![3, 0, 9]),
        ];
        for (name, shares, tasks, want) in cases {
            assert_eq!(rows(&shares, tasks), want, "{name}");
        }
    }

    proptest! {
        /// Every part is read by one that may.
        #[test]
        fn parts_go_to_holders(
            shares in proptest::collection::vec(
                (1_u64..1_000, proptest::collection::vec(0_usize..5, 0..4)), 0..40)
        ) {
            let shares: Vec<Share> =
                shares.into_iter().map(|(rows, holders)| Share { rows, holders }).collect();
            for (share, task) in shares.iter().zip(deal(&shares, 5)) {
                prop_assert!(task < 5);
                prop_assert!(share.holders.is_empty() || share.holders.contains(&task));
            }
        }

        /// Of equal parts on a ring of holders, as buckets are placed, none reads more than its share.
        #[test]
        fn rings_are_even(order in Just((0..24_usize).collect::<Vec<_>>()).prop_shuffle(),
                          workers in 2_usize..9) {
            let shares: Vec<Share> = order
                .iter()
                .map(|at| share(100, &[at % workers, (at + 1) % workers]))
                .collect();
            let rows = rows(&shares, workers);
            prop_assert!(rows.iter().max() <= Some(&(24_u64.div_ceil(workers as u64) * 100)),
                         "{rows:?}");
        }
    }
}
