//! ALTER TABLE ... MODIFY BUCKETS n.

use granary_common::Error;
use sqlparser::parser::Parser;

use super::alter_table::AlterAction;
use super::parse::Parsed;
use crate::create_table::checked_buckets;

/// The number; the only action of its statement.
pub(super) fn modify_buckets(parser: &mut Parser<'_>) -> Parsed<AlterAction> {
    let buckets = checked_buckets(parser.parse_literal_uint()?)?;
    Ok(AlterAction::ModifyBuckets(buckets))
}

/// The actions of a statement. Refuses others beside MODIFY BUCKETS, which is a change of the catalog by
/// itself.
pub(super) fn check_alone(actions: Vec<AlterAction>) -> Parsed<Vec<AlterAction>> {
    let changes_buckets = |action: &AlterAction| matches!(action, AlterAction::ModifyBuckets(_));
    match actions.len() > 1 && actions.iter().any(changes_buckets) {
        true => Err(Error::unsupported(
            "MODIFY BUCKETS stands alone in its ALTER TABLE; write a statement for the other actions",
        )
        .into()),
        false => Ok(actions),
    }
}
