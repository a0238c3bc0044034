//! `granary load`: files into a table through the BulkInsert call.
//!
//! ```text
//!   globs ──► files ──► Source (Parquet | CSV | NDJSON) ──► BulkInsert, one call per file
//!                 └───► token from name and content: a file that was loaded is not
//!                       loaded again, so an interrupted load is simply run again
//! ```

mod cast;
mod csv;
mod files;
mod ndjson;
mod parquet_file;
pub mod progress;
mod source;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use futures::StreamExt;
use granary_catalog::ColumnType;
use granary_common::{Clock, Error, ErrorKind, Result, SystemClock, TaskOwner};
use granary_proto::v1::{InsertHeader, InsertResponse};
use parking_lot::Mutex;

use crate::client::{Client, ConnectOptions};
use crate::exit;
use progress::{Meter, Progress, Unit};
pub use source::{FileFormat, ReadOptions, Source};

/// Tries of a file whose insert may succeed when it is run again.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Loads files into a table.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadOptions {
    /// Table to load into: name or database.name.
    table: String,
    /// Files or globs, for example 'events/*.parquet'.
    #[arg(required = true)]
    files: Vec<String>,
    #[command(flatten)]
    connect: ConnectOptions,
    #[command(flatten)]
    read: ReadOptions,
    /// Identifies this load instead of the content of the files: a file is skipped when it was
    /// loaded under the same token before.
    #[arg(long)]
    token: Option<String>,
    /// Files that are loaded at the same time, 1 to 64.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    parallel: u64,
}

/// Runs the sub-command.
pub fn run(options: &LoadOptions, runtime: &tokio::runtime::Runtime) -> ExitCode {
    let done = runtime.block_on(async {
        tokio::select! {
            done = load(options) => done,
            _ = tokio::signal::ctrl_c() => {
                Err(Error::cancelled("interrupted; run it again to go on where it stopped"))
            }
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failed(&error),
    }
}

/// The database and the table of a name as written: `database.table` or `table`.
fn split_name(name: &str) -> (String, String) {
    let bare = |part: &str| part.trim_matches(['"', '`']).to_owned();
    match name.split_once('.') {
        Some((database, table)) => (bare(database), bare(table)),
        None => (String::new(), bare(name)),
    }
}

struct Job {
    path: PathBuf,
    token: String,
    meter: Arc<Meter>,
}

async fn load(options: &LoadOptions) -> Result<()> {
    let paths = files::expand(&options.files)?;
    let mut client = Client::connect(&options.connect).await?;
    let (mut database, table) = split_name(&options.table);
    if database.is_empty() {
        database = options.connect.database.clone().unwrap_or_default();
    }
    let table_schema = table_schema(&mut client, &database, &table).await?;
    let tasks = TaskOwner::current();
    let bytes_total = files::bytes(&paths)?;
    let progress = Progress::start(&tasks, &options.table, Unit::Bytes, bytes_total);
    let single = paths.len() == 1;
    let client = Mutex::new(client);
    let loader = Loader { client, tasks, database, table, table_schema, options };
    let loads = paths.into_iter().map(|path| {
        let meter = progress.meter();
        let loader = &loader;
        async move {
            let token = loader.token(&path, single).await?;
            loader.load_file(&Job { path, token, meter }).await
        }
    });
    let mut loads = futures::stream::iter(loads).buffer_unordered(options.parallel as usize);
    let mut summary = Summary::default();
    while let Some(done) = loads.next().await {
        match done {
            Ok(response) => summary.add(&response),
            Err(error) => {
                progress.stop();
                return Err(error);
            }
        }
    }
    progress.finish();
    println!("{}", summary.text());
    Ok(())
}

/// The columns of the table, in order, as text is read into them.
async fn table_schema(client: &mut Client, database: &str, table: &str) -> Result<SchemaRef> {
    use crate::client::quote_identifier as quote;
    let name = match database {
        "" => quote(table),
        database => format!("{}.{}", quote(database), quote(table)),
    };
    // The answer to a query does not tell NOT NULL columns from others; the description does.
    let (_, batches) = client.query(&format!("DESCRIBE TABLE {name}")).await?;
    let mut fields = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            fields.push(text_field(&text(batch, "name", row)?, &text(batch, "type", row)?)?);
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn text(batch: &RecordBatch, column: &str, row: usize) -> Result<String> {
    let missing = || Error::internal(format!("the description of a table has no {column}"));
    let column = batch.column_by_name(column).ok_or_else(missing)?;
    array_value_to_string(column, row).map_err(|error| Error::internal(error.to_string()))
}

/// The field of a column whose values come as text. An address is sent as text: the server knows
/// how to read it.
fn text_field(name: &str, column_type: &str) -> Result<Field> {
    let column_type: ColumnType = column_type.parse()?;
    Ok(match column_type.base() {
        ColumnType::Ipv4 => Field::new(name, DataType::Utf8View, column_type.is_nullable()),
        _ => column_type.arrow_field(name),
    })
}

struct Loader<'a> {
    /// Of the coordinator that answered last.
    client: Mutex<Client>,
    tasks: TaskOwner,
    database: String,
    table: String,
    table_schema: SchemaRef,
    options: &'a LoadOptions,
}

impl Loader<'_> {
    async fn token(&self, path: &std::path::Path, single: bool) -> Result<String> {
        match &self.options.token {
            Some(token) if single => Ok(token.clone()),
            Some(token) => Ok(format!("{token}/{}", path.display())),
            None => {
                let reading = format!("{:?}", self.options.read);
                let path = path.to_owned();
                let made = self.tasks.spawn_blocking(move || token::of_file(&reading, &path)).await;
                made.map_err(|error| Error::internal(format!("reading a file: {error}")))?
            }
        }
    }

    /// Loads a file, again and again while that can help. The token makes sure that a try whose
    /// outcome is unknown is not done twice.
    async fn load_file(&self, job: &Job) -> Result<InsertResponse> {
        let mut pause = FIRST_PAUSE;
        let mut client = self.client.lock().clone();
        for turn in 1.. {
            let error = match self.try_file(&client, job).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let may_help =
                error.kind().is_retryable() || matches!(error.kind(), ErrorKind::DeadlineExceeded);
            if !may_help || turn == TRIES {
                return Err(error.context(job.path.display()));
            }
            job.meter.reset();
            SystemClock.sleep(pause).await;
            pause *= 2;
            // Another coordinator does as well; when none answers yet, the next try will tell.
            if let Ok(true) = client.replace_if_lost(&self.options.connect).await {
                *self.client.lock() = client.clone();
            }
        }
        Err(Error::internal("a load without a try"))
    }

    async fn try_file(&self, client: &Client, job: &Job) -> Result<InsertResponse> {
        let (path, read) = (job.path.clone(), self.options.read.clone());
        let (schema, meter) = (Arc::clone(&self.table_schema), Arc::clone(&job.meter));
        let opened = self.tasks.spawn_blocking(move || Source::open(&path, &read, &schema, meter));
        let source = opened
            .await
            .map_err(|error| Error::internal(format!("opening the file: {error}")))??;
        let header = InsertHeader {
            database: self.database.clone(),
            table: self.table.clone(),
            token: job.token.clone(),
            ..InsertHeader::default()
        };
        let meter = Arc::clone(&job.meter);
        let sent = Box::new(move |rows, _bytes| meter.add_rows(rows));
        client.insert(&self.tasks, header, source.schema, source.batches, sent).await
    }
}

#[derive(Default)]
struct Summary {
    rows: u64,
    parts: u64,
    files: u64,
    skipped: u64,
}

impl Summary {
    fn add(&mut self, response: &InsertResponse) {
        if response.duplicate {
            self.skipped += 1;
        } else {
            self.files += 1;
            self.rows += response.rows;
            self.parts += response.parts;
        }
    }

    fn text(&self) -> String {
        let plural = |n: u64, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
        let mut text = format!(
            "loaded {} from {} into {}",
            plural(self.rows, "row"),
            plural(self.files, "file"),
            plural(self.parts, "part")
        );
        if self.skipped > 0 {
            text += &format!("; {} had been loaded before", plural(self.skipped, "file"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, database, table) in
            [("t", "", "t"), ("db.t", "db", "t"), ("`db`.\"t\"", "db", "t")]
        {
            assert_eq!(split_name(name), (database.to_owned(), table.to_owned()));
        }
    }

    #[test]
    fn columns_are_read_as_the_table_declares_them() {
        for (column_type, expected, nullable) in [
            ("Int64", DataType::Int64, false),
            ("Nullable(String)", DataType::Utf8View, true),
            ("IPv4", DataType::Utf8View, false),
        ] {
            let field = text_field("c", column_type).expect("a type");
            assert_eq!((field.data_type(), field.is_nullable()), (&expected, nullable));
        }
    }
}
