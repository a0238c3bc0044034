//! A leader that is started again and leads on, in the same term.
//!
//! The consensus library asks the others whether it still leads, and takes for committed what it knows
//! to be: after a restart that is what the state machine holds, which a power failure may have set back
//! behind what was acknowledged. Its log was synced; so everything that it had in its log when it
//! started counts as acknowledged, until it leads in another term.

/// What a node had when it started, if it had led until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The term in which it led.
    pub term: u64,
    /// The last entry of its log.
    pub last: u64,
}

impl Resumed {
    /// Of a node with a vote for `voted` in `term`, which was elected if `is_elected`, and with `last`
    /// as its last entry.
    pub fn of(
        node: u64,
        (term, voted, is_elected): (u64, u64, bool),
        last: Option<u64>,
    ) -> Option<Resumed> {
        let last = last.filter(|_| voted == node && is_elected)?;
        Some(Resumed { term, last })
    }

    /// The entry that a linearizable read has to wait for, where the library says `position` and the
    /// node leads in `term`.
    pub fn read_position(resumed: Option<Resumed>, position: u64, term: Option<u64>) -> u64 {
        match resumed.filter(|resumed| term == Some(resumed.term)) {
            Some(resumed) => position.max(resumed.last),
            None => position,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads_on_is_who_was_elected() {
        let resumed = Some(Resumed { term: 7, last: 40 });
        for (vote, last, expected) in [
            ((7, 1, true), Some(40), resumed),
            ((7, 1, false), Some(40), None),
            ((7, 2, true), Some(40), None),
            ((7, 1, true), None, None),
        ] {
            assert_eq!(Resumed::of(1, vote, last), expected, "{vote:?} {last:?}");
        }
    }

    #[test]
    fn reads_wait_for_what_was_in_the_log_of_who_leads_on() {
        let resumed = Some(Resumed { term: 7, last: 40 });
        for (resumed, position, term, expected) in [
            (resumed, 30, Some(7), 40),
            (resumed, 50, Some(7), 50),
            // Others may have cut off the end of its log since.
            (resumed, 35, Some(8), 35),
            (resumed, 35, None, 35),
            (None, 30, Some(7), 30),
        ] {
            let found = Resumed::read_position(resumed, position, term);
            assert_eq!(found, expected, "{resumed:?} {position} {term:?}");
        }
    }
}
