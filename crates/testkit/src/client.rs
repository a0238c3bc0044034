//! A Flight SQL client as a driver would be: `arrow-flight`'s own, nothing of Granary in it.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow_flight::FlightInfo;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::{TestResult, format};

/// What a statement may take: more is a failure of its test, not a wait without end.
const STATEMENT_LIMIT: Duration = Duration::from_secs(120);
/// Times that a statement is run until no other one has come first.
const ATTEMPTS_MAX: usize = 100;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Why a statement failed, as its client sees it.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The server's answer.
    #[error("{}", .0.message())]
    Refused(Box<tonic::Status>),
    /// Nothing that a server said.
    #[error("{0}")]
    Transport(String),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Late(Duration),
}

impl SqlError {
    /// The gRPC code of a refusal.
    pub fn code(&self) -> Option<tonic::Code> {
        match self {
            SqlError::Refused(status) => Some(status.code()),
            _ => None,
        }
    }
}

impl From<FlightError> for SqlError {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Tonic(status) => SqlError::Refused(status),
            other => SqlError::Transport(other.to_string()),
        }
    }
}

/// One session with one coordinator.
pub struct SqlClient {
    /// The driver, for what the methods here do not offer.
    pub flight: FlightSqlServiceClient<Channel>,
}

impl SqlClient {
    /// Connects to `http://host:port` and opens a session by a handshake.
    pub async fn connect(url: &str) -> Result<SqlClient, SqlError> {
        let transport = |error: tonic::transport::Error| SqlError::Transport(error.to_string());
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(transport)?;
        let endpoint = endpoint.connect_timeout(CONNECT_LIMIT).tcp_nodelay(true);
        let channel = endpoint.connect().await.map_err(transport)?;
        let inner = arrow_flight::flight_service_client::FlightServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let mut flight = FlightSqlServiceClient::new_from_inner(inner);
        flight.handshake("tester", "").await?;
        Ok(SqlClient { flight })
    }

    /// Runs any statement and returns its rows; none for statements that have none.
    pub async fn run(&mut self, sql: &str) -> Result<Vec<RecordBatch>, SqlError> {
        match has_rows(sql) {
            true => self.query(sql).await,
            false => self.update(sql).await.map(|_| Vec::new()),
        }
    }

    /// Runs a statement that returns rows.
    pub async fn query(&mut self, sql: &str) -> Result<Vec<RecordBatch>, SqlError> {
        let rows = async {
            let info = self.flight.execute(sql.to_owned(), None).await?;
            self.fetch(info).await
        };
        tokio::time::timeout(STATEMENT_LIMIT, rows)
            .await
            .unwrap_or(Err(SqlError::Late(STATEMENT_LIMIT)))
    }

    /// Runs a statement that changes something and returns the rows that it changed.
    pub async fn update(&mut self, sql: &str) -> Result<i64, SqlError> {
        let done = self.flight.execute_update(sql.to_owned(), None);
        match tokio::time::timeout(STATEMENT_LIMIT, done).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(SqlError::Late(STATEMENT_LIMIT)),
        }
    }

    /// Runs a statement that changes something until no other one has come first.
    pub async fn persist(&mut self, sql: &str) -> TestResult {
        let mut last = String::new();
        for _ in 0..ATTEMPTS_MAX {
            match self.update(sql).await {
                Ok(_) => return Ok(()),
                Err(error) if error.code() == Some(Code::Aborted) => last = error.to_string(),
                Err(error) => return Err(format!("{sql}: {error}").into()),
            }
        }
        Err(format!("{sql}: {last}").into())
    }

    /// The rows behind every endpoint of `info`, in order.
    pub async fn fetch(&mut self, info: FlightInfo) -> Result<Vec<RecordBatch>, SqlError> {
        let mut batches = Vec::new();
        for endpoint in info.endpoint {
            let ticket = endpoint.ticket.ok_or_else(no_ticket)?;
            let stream = self.flight.do_get(ticket).await?;
            batches.extend(stream.try_collect::<Vec<_>>().await?);
        }
        Ok(batches)
    }

    /// The stream behind the first endpoint of a query, for clients that read slowly or leave.
    pub async fn stream(&mut self, sql: &str) -> Result<FlightRecordBatchStream, SqlError> {
        let info = self.flight.execute(sql.to_owned(), None).await?;
        let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket);
        Ok(self.flight.do_get(ticket.ok_or_else(no_ticket)?).await?)
    }

    /// Runs a query and returns its rows as the `.slt` files print them, cells separated by tabs.
    pub async fn lines(&mut self, sql: &str) -> Result<Vec<String>, SqlError> {
        let batches = self.run(sql).await?;
        let rows =
            format::rows(&batches).map_err(|error| SqlError::Transport(error.to_string()))?;
        Ok(rows.into_iter().map(|row| row.join("\t")).collect())
    }

    /// The only cell of a query's only row.
    pub async fn value(&mut self, sql: &str) -> Result<String, SqlError> {
        let mut lines = self.lines(sql).await?;
        match (lines.pop(), lines.is_empty()) {
            (Some(line), true) => Ok(line),
            (last, _) => Err(SqlError::Transport(format!(
                "{sql}: expected one row, got {}",
                lines.len() + usize::from(last.is_some())
            ))),
        }
    }
}

fn no_ticket() -> SqlError {
    SqlError::Transport("an endpoint without a ticket".to_owned())
}

/// Whether a driver would ask for rows: it decides by the first word, as people's tools do.
pub fn has_rows(sql: &str) -> bool {
    let text = sql
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("--"))
        .unwrap_or_default();
    let word: String = text.chars().take_while(char::is_ascii_alphabetic).collect();
    let with_rows = [
        "select", "with", "show", "describe", "desc", "explain", "check", "values", "exists",
        "table",
    ];
    text.starts_with('(') || with_rows.contains(&word.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::has_rows;

    #[test]
    fn the_first_word_tells_whether_there_are_rows() {
        for (sql, expected) in [
            ("SELECT 1", true),
            ("  -- why\n\nwith a AS (SELECT 1) SELECT * FROM a", true),
            ("(SELECT 1) UNION ALL (SELECT 2)", true),
            ("INSERT INTO t SELECT 1", false),
            ("SELECTED", false),
            ("", false),
        ] {
            assert_eq!(has_rows(sql), expected, "{sql}");
        }
    }
}
