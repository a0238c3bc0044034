//! The table that an ingest fills: found, or made first when the client asks for it.
//!
//! A table that is made has its name only when its rows are there: until then the name is free, or
//! belongs to the table that is replaced. So a bad stream leaves everything as it was. Only where
//! others may append to it at once, the empty table comes first.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow_flight::sql::{TableDefinitionOptions, TableExistsOption, TableNotExistOption};
use granary_catalog::{CommandBody, Snapshot};
use granary_common::{DatabaseId, Error, ErrorKind, QueryId, Result, TableId};
use granary_sql::{TableName, column_type_from_arrow, find_database, resolve_table};

use super::statement;
use crate::call::Call;
use crate::core::Coordinator;
use crate::ddl::{check_unused, take_place};
use crate::insert::Inserted;
use crate::query::Parameters;
use crate::statement::run_to_end;

/// A table that an ingest made for its rows.
pub(super) struct Made {
    core: Arc<Coordinator>,
    /// The name that it has while the rows come.
    pub name: TableName,
    id: TableId,
    place: Place,
    settled: bool,
}

/// Where a table belongs once its rows are there.
#[derive(Clone)]
enum Place {
    /// Under a name that was free.
    Free(DatabaseId, String),
    /// In the place of this one.
    Of(TableId),
}

impl Made {
    /// Gives the table its name when its rows came, else drops it.
    pub async fn settle(mut self, inserted: Result<Inserted>) -> Result<Inserted> {
        self.settled = true;
        let core = Arc::clone(&self.core);
        to_its_end(&core, async move {
            let inserted = match inserted {
                Ok(inserted) => inserted,
                Err(error) => {
                    self.drop_table().await;
                    return Err(error);
                }
            };
            self.take_its_place().await.map(|()| inserted)
        })
        .await
    }

    async fn take_its_place(&self) -> Result<()> {
        let (database, name) = match &self.place {
            Place::Of(old) => return take_place(&self.core, self.id, *old).await,
            Place::Free(database, name) => (*database, name.clone()),
        };
        let rename = CommandBody::RenameTable { table: self.id, database, name };
        let renamed = self.core.with.catalog.execute(rename).await;
        if let Err(error) = &renamed
            // Else nobody knows whether it has its name already.
            && error.kind() != ErrorKind::DeadlineExceeded
        {
            self.drop_table().await;
        }
        renamed.map(drop)
    }

    async fn drop_table(&self) {
        let dropped = self.core.with.catalog.execute(CommandBody::DropTable { table: self.id });
        if let Err(error) = dropped.await {
            tracing::warn!(%error, table = %self.name, "what an ingest made could not be dropped");
        }
    }
}

/// The client went away in the middle.
impl Drop for Made {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let (core, name, place) = (Arc::clone(&self.core), self.name.clone(), self.place.clone());
        let made = Made { core, name, id: self.id, place, settled: true };
        let tasks = self.core.with.tasks.clone();
        tasks.spawn(async move { made.drop_table().await });
    }
}

/// Does what the client asked for about the table's existence. Gives the table that the ingest `id`
/// is to fill instead, when one was made.
pub(super) async fn prepare_table(
    core: &Arc<Coordinator>,
    call: &Call,
    id: &QueryId,
    table: &TableName,
    options: Option<TableDefinitionOptions>,
    schema: &Schema,
) -> Result<Option<Made>> {
    let snapshot = core.with.catalog.read_latest().await?;
    let found = match resolve_table(&snapshot, &call.session.database, table) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let (exists, missing) = match &options {
        Some(options) => (options.if_exists(), options.if_not_exist()),
        None => (TableExistsOption::Append, TableNotExistOption::Fail),
    };
    match (found, exists, missing) {
        (Some(_), TableExistsOption::Fail, _) => {
            Err(Error::already_exists(format!("table '{table}' already exists")))
        }
        (Some(old), TableExistsOption::Replace, _) => {
            check_unused(&snapshot, &old)?;
            let place = Place::Of(old.id);
            make(core, call, &snapshot, (old.database, &old.name, id), place, schema).await
        }
        (Some(_), ..) => Ok(None),
        (None, TableExistsOption::Append, TableNotExistOption::Create) => {
            let create = create_table_text("CREATE TABLE IF NOT EXISTS", table, schema)?;
            execute(core, call, create).await.map(|()| None)
        }
        (None, _, TableNotExistOption::Create) => {
            let database = table.database.as_ref().unwrap_or(&call.session.database);
            let database = find_database(&snapshot, database)?;
            let place = Place::Free(database, table.name.clone());
            make(core, call, &snapshot, (database, &table.name, id), place, schema).await
        }
        (None, ..) => Err(Error::not_found(format!("unknown table '{table}'"))),
    }
}

/// Makes the table that the ingest fills, under a name that says what it is for should the process
/// die.
async fn make(
    core: &Arc<Coordinator>,
    call: &Call,
    snapshot: &Snapshot,
    (database, name, id): (DatabaseId, &str, &QueryId),
    place: Place,
    schema: &Schema,
) -> Result<Option<Made>> {
    let database = snapshot.databases.get(&database).map(|database| database.name.clone());
    let name = TableName { database, name: format!("{name}.ingesting.{id}") };
    let create = create_table_text("CREATE TABLE", &name, schema)?;
    let (of_task, call) = (Arc::clone(core), call.clone());
    let making = async move {
        execute(&of_task, &call, create).await?;
        let snapshot = of_task.with.catalog.read_latest().await?;
        let id = resolve_table(&snapshot, &call.session.database, &name)?.id;
        Ok(Made { core: of_task, name, id, place, settled: false })
    };
    to_its_end(core, making).await.map(Some)
}

/// Does `work` also when its client goes away meanwhile: half of it would leave a table behind.
async fn to_its_end<T: Send + 'static>(
    core: &Arc<Coordinator>,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match core.with.tasks.spawn(work).await {
        Ok(Some(done)) => done,
        Ok(None) => Err(Error::unavailable("the coordinator is shutting down; send it again")),
        Err(error) => Err(Error::internal(format!("making a table failed: {error}"))),
    }
}

/// Runs a statement of our own making.
async fn execute(core: &Arc<Coordinator>, call: &Call, sql: String) -> Result<()> {
    let request = statement::request(core, &call.session, sql, Parameters::default());
    call.notify(run_to_end(core, request).await?.notices);
    Ok(())
}

/// The table that fits a schema. Its rows have no order, since nothing says which one is useful.
fn create_table_text(verb: &str, table: &TableName, schema: &Schema) -> Result<String> {
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        let column_type = column_type_from_arrow(field.data_type(), field.is_nullable())
            .map_err(|error| error.context(format!("column '{}'", field.name())))?;
        Ok(format!("{} {column_type}", quoted(field.name())))
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<String>>>()?;
    Ok(format!(
        "{verb} {} ({}) ENGINE = MergeTree ORDER BY tuple()",
        quoted_table(table),
        columns.join(", ")
    ))
}

fn quoted_table(table: &TableName) -> String {
    match &table.database {
        Some(database) => format!("{}.{}", quoted(database), quoted(&table.name)),
        None => quoted(&table.name),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field, TimeUnit};

    #[test]
    fn a_table_fits_its_stream() {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("odd \"name\"", DataType::Utf8, true),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Field::new_list("tags", Field::new_list_field(DataType::Utf8, false), false),
        ]);
        let table = TableName { database: Some("db".into()), name: "t".into() };
        assert_eq!(
            create_table_text("CREATE TABLE", &table, &schema).unwrap(),
            "CREATE TABLE \"db\".\"t\" (\"id\" Int64, \"odd \"\"name\"\"\" Nullable(String), \
             \"at\" Nullable(DateTime64(6)), \"tags\" Array(String)) \
             ENGINE = MergeTree ORDER BY tuple()"
        );
        let bad = Schema::new(vec![Field::new("d", DataType::Duration(TimeUnit::Second), true)]);
        assert!(
            create_table_text("CREATE TABLE", &table, &bad).unwrap_err().message().contains("'d'")
        );
    }
}
