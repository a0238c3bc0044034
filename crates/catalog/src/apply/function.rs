//! Functions that are written in SQL.

use granary_common::{Error, Result};

use super::Draft;
use crate::command::{ExistingView, FunctionChange, Outcome};
use crate::model::SqlFunction;
use crate::row::{Row, RowKey};

/// Every coordinator keeps them all.
const FUNCTIONS_MAX: usize = 10_000;

pub(super) fn change(draft: &mut Draft, change: &FunctionChange) -> Result<Outcome> {
    match change {
        FunctionChange::Create { name, parameters, body, existing } => {
            let function = SqlFunction {
                name: name.clone(),
                parameters: parameters.clone(),
                body: body.clone(),
                created: draft.version(),
            };
            create(draft, function, *existing)
        }
        FunctionChange::Drop { name, if_exists } => drop(draft, name, *if_exists),
    }
}

fn create(draft: &mut Draft, new: SqlFunction, existing: ExistingView) -> Result<Outcome> {
    draft.cluster()?;
    match (draft.next.functions.contains_key(&new.name), existing) {
        (true, ExistingView::IfNotExists) => return Ok(Outcome::Done),
        (true, ExistingView::Refuse) => {
            let text = format!("function '{}' already exists", new.name);
            return Err(Error::already_exists(text));
        }
        (true, ExistingView::OrReplace) => {}
        (false, _) if draft.next.functions.len() >= FUNCTIONS_MAX => {
            return Err(Error::exhausted(format!(
                "there are {FUNCTIONS_MAX} functions in SQL already; drop those that nobody calls"
            )));
        }
        (false, _) => {}
    }
    draft.put(Row::Function(new));
    Ok(Outcome::Done)
}

fn drop(draft: &mut Draft, name: &str, if_exists: bool) -> Result<Outcome> {
    match (draft.next.functions.contains_key(name), if_exists) {
        (true, _) => draft.delete(RowKey::Function(name.to_owned())),
        (false, true) => {}
        (false, false) => {
            return Err(Error::not_found(format!("function '{name}' does not exist")));
        }
    }
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use granary_common::{CatalogVersion, ClusterId, ErrorKind};

    use super::*;
    use crate::apply::apply;
    use crate::command::{Command, CommandBody};
    use crate::row::Change;
    use crate::snapshot::Snapshot;

    fn run(state: &Snapshot, body: CommandBody) -> Result<Snapshot> {
        let version = CatalogVersion(state.version.0 + 1);
        apply(state, version, &Command { time_ms: 0, body }).map(|transition| transition.next)
    }

    fn created(state: &Snapshot, body: &str, existing: ExistingView) -> Result<Snapshot> {
        let change = FunctionChange::Create {
            name: "f".into(),
            parameters: vec!["x".into()],
            body: body.into(),
            existing,
        };
        run(state, CommandBody::Function(change))
    }

    fn dropped(state: &Snapshot, if_exists: bool) -> Result<Snapshot> {
        let change = FunctionChange::Drop { name: "f".into(), if_exists };
        run(state, CommandBody::Function(change))
    }

    #[test]
    fn functions_come_and_go() {
        let cluster = ClusterId("c".into());
        let empty = run(&Snapshot::default(), CommandBody::InitCluster { cluster });
        let empty = empty.expect("formed");
        let body = |state: &Snapshot| state.functions.get("f").map(|found| found.body.clone());
        let first = created(&empty, "x + 1", ExistingView::Refuse).expect("created");
        assert_eq!(body(&first).as_deref(), Some("x + 1"));
        let again = created(&first, "x + 2", ExistingView::Refuse).expect_err("it is there");
        assert_eq!(again.kind(), ErrorKind::AlreadyExists);
        let kept = created(&first, "x + 2", ExistingView::IfNotExists).expect("kept");
        assert_eq!(body(&kept).as_deref(), Some("x + 1"));
        let replaced = created(&first, "x + 2", ExistingView::OrReplace).expect("replaced");
        assert_eq!(body(&replaced).as_deref(), Some("x + 2"));
        // Rows make the same state again.
        let rows: Vec<Change> = replaced.rows().into_iter().map(Change::Put).collect();
        let loaded = Snapshot::default().with_changes(replaced.version, &rows);
        assert_eq!(body(&loaded).as_deref(), Some("x + 2"));
        let gone = dropped(&replaced, false).expect("dropped");
        assert_eq!(body(&gone), None);
        assert_eq!(dropped(&gone, false).expect_err("gone").kind(), ErrorKind::NotFound);
        assert_eq!(body(&dropped(&gone, true).expect("nothing to do")), None);
    }
}
