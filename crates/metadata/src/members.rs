//! What a wish to add or to remove a member of the group comes to. Pure.

use granary_common::{Error, NodeId, Result};

/// A member as the group knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupMember<'a> {
    pub node: u64,
    pub address: &'a str,
    pub votes: bool,
}

/// The group as its leader knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView<'a> {
    pub members: Vec<GroupMember<'a>>,
    /// Whether the newest change of the members is certain: one that is not may still be undone.
    pub is_certain: bool,
    /// Whether a change stopped half-way, where majorities of the members of before and of those after
    /// it have to agree.
    pub is_between: bool,
}

/// What is to be done with the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberStep {
    /// It is as wished.
    Nothing,
    /// The node receives the state, and votes then.
    Learn,
    /// The node votes, and the change that lets it is brought to its end.
    Vote,
    /// One that votes goes.
    RemoveVoter,
    /// One that does not vote goes.
    RemoveNode,
}

/// How `node` at `address` becomes a member. `was_known` says that the group has had a member of this
/// id.
///
/// Kinds: `AlreadyExists` when it is one at another address, `InvalidInput` when it was removed: it
/// may have voted for what the group does not know, and has forgotten it. `Conflict` while it is not
/// certain whether it is one.
pub fn step_to_add(
    group: &GroupView<'_>,
    node: u64,
    address: &str,
    was_known: bool,
) -> Result<MemberStep> {
    match group.members.iter().find(|member| member.node == node) {
        Some(known) if known.address != address => Err(Error::already_exists(format!(
            "metadata node {node} is a member already, at {}",
            known.address
        ))),
        Some(known) if known.votes && !group.is_certain => Err(under_way()),
        Some(known) if known.votes && group.is_between => Ok(MemberStep::Vote),
        Some(known) if known.votes => Ok(MemberStep::Nothing),
        None if was_known => Err(Error::invalid(format!(
            "metadata node {node} was removed from this group; give the new member an id that was \
             never used"
        ))),
        Some(_) | None => Ok(MemberStep::Learn),
    }
}

/// How `node` leaves. Kinds: `NotFound` when it is no member, `InvalidInput` when nobody would be left
/// to vote, `Conflict` while it is not certain whether it is one.
pub fn step_to_remove(group: &GroupView<'_>, node: u64) -> Result<MemberStep> {
    let Some(member) = group.members.iter().find(|member| member.node == node) else {
        return Err(match group.is_certain {
            true => Error::not_found(format!("metadata node {node} is not a member")),
            false => under_way(),
        });
    };
    let voters = group.members.iter().filter(|member| member.votes).count();
    match member.votes {
        true if voters == 1 => {
            let only = NodeId(node);
            Err(Error::invalid(format!("metadata node {only} is the last one that votes")))
        }
        true => Ok(MemberStep::RemoveVoter),
        false => Ok(MemberStep::RemoveNode),
    }
}

fn under_way() -> Error {
    Error::conflict("a change of the metadata group's members is under way; ask again")
}

#[cfg(test)]
mod tests {
    use granary_common::ErrorKind;

    use super::*;

    fn group(votes: bool) -> GroupView<'static> {
        let members = vec![
            GroupMember { node: 1, address: "a", votes: true },
            GroupMember { node: 2, address: "b", votes },
        ];
        GroupView { members, is_certain: true, is_between: false }
    }

    #[test]
    fn members_are_added_once_and_never_under_an_id_that_was_used() {
        for (node, address, was_known, expected) in [
            (3, "c", false, Ok(MemberStep::Learn)),
            (3, "c", true, Err(ErrorKind::InvalidInput)),
            (2, "b", true, Ok(MemberStep::Learn)),
            (1, "a", true, Ok(MemberStep::Nothing)),
            (1, "c", true, Err(ErrorKind::AlreadyExists)),
        ] {
            let step = step_to_add(&group(false), node, address, was_known);
            assert_eq!(step.map_err(|error| error.kind()), expected, "{node} {address}");
        }
    }

    #[test]
    fn the_last_one_that_votes_stays() {
        for (node, expected) in [
            (1, Err(ErrorKind::InvalidInput)),
            (2, Ok(MemberStep::RemoveNode)),
            (3, Err(ErrorKind::NotFound)),
        ] {
            let step = step_to_remove(&group(false), node);
            assert_eq!(step.map_err(|error| error.kind()), expected, "{node}");
        }
        assert_eq!(step_to_remove(&group(true), 1), Ok(MemberStep::RemoveVoter));
    }

    #[test]
    fn what_may_be_undone_is_not_told_to_be_done() {
        let uncertain = GroupView { is_certain: false, ..group(true) };
        let kind = |step: Result<MemberStep>| step.map_err(|error| error.kind());
        assert_eq!(kind(step_to_add(&uncertain, 2, "b", true)), Err(ErrorKind::Conflict));
        assert_eq!(kind(step_to_remove(&uncertain, 3)), Err(ErrorKind::Conflict));
        let between = GroupView { is_between: true, ..group(true) };
        assert_eq!(kind(step_to_add(&between, 2, "b", true)), Ok(MemberStep::Vote));
        assert_eq!(kind(step_to_remove(&between, 2)), Ok(MemberStep::RemoveVoter));
    }
}
