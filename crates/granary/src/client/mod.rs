//! A connection to a coordinator, as the shell, the loader and the demo use it.

mod bulk;
mod session;
mod statement;

use std::time::Duration;

use arrow_flight::Action;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::client::FlightSqlServiceClient;
use granary_catalog::remote::wire::{lost, within};
use granary_common::{Error, ErrorKind, Result, SystemClock};
use granary_proto::status::{KIND_HEADER, from_status};
use granary_proto::v1::bulk_insert_client::BulkInsertClient;
use tonic::transport::Endpoint;
use tonic::{Code, Status};

pub use bulk::{Batches, Progress};
pub use session::SessionChannel;
pub use statement::{Answer, stream_error};

/// A batch of a result must fit; coordinators cut theirs far smaller.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A coordinator that is not there any more is not waited for.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// A coordinator that is silent for so long is asked whether it is there, and has as long again.
const SILENCE: Duration = Duration::from_secs(10);

/// Whom to connect to, and as whom.
#[derive(Clone, Debug, clap::Args)]
pub struct ConnectOptions {
    /// Coordinators to connect to, for example http://host:7420 or http://c1:7420,c2:7420: the first
    /// that answers, and another one when that is lost. --host and --port go before it.
    #[arg(long, env = "GRANARY_URL")]
    pub url: Option<String>,
    /// Host of a coordinator. Default: 127.0.0.1.
    #[arg(long)]
    pub host: Option<String>,
    /// Its gRPC port. Default: 7420.
    #[arg(long)]
    pub port: Option<u16>,
    /// User name.
    #[arg(long, env = "GRANARY_USER", default_value = "default")]
    pub user: String,
    /// Password of the user.
    #[arg(long, env = "GRANARY_PASSWORD", default_value = "", hide_env_values = true)]
    pub password: String,
    /// Database to begin in.
    #[arg(long, short = 'd')]
    pub database: Option<String>,
}

impl ConnectOptions {
    /// The default user at `url`.
    pub fn to_url(url: impl Into<String>) -> Self {
        Self {
            url: Some(url.into()),
            host: None,
            port: None,
            user: "default".to_owned(),
            password: String::new(),
            database: None,
        }
    }

    /// The addresses in the form that the transport takes; at least one.
    pub fn endpoint_urls(&self) -> Vec<String> {
        match (&self.url, &self.host, self.port) {
            (Some(urls), None, None) => urls.split(',').map(endpoint_url).collect(),
            (_, host, port) => {
                let host = host.as_deref().unwrap_or("127.0.0.1");
                vec![format!("http://{host}:{}", port.unwrap_or(7420))]
            }
        }
    }
}

fn endpoint_url(url: &str) -> String {
    let url = url.trim();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    format!("http://{}", rest.trim_end_matches('/'))
}

/// A session with a coordinator: what `USE` and `SET` change lasts as long as it.
#[derive(Clone, Debug)]
pub struct Client {
    flight: FlightSqlServiceClient<SessionChannel>,
    bulk: BulkInsertClient<SessionChannel>,
    channel: SessionChannel,
    url: String,
}

impl Client {
    /// Connects to the first coordinator that answers, says who the user is, and enters the
    /// database if one is named.
    ///
    /// Kind `Unavailable` when nobody answers, `Unauthenticated` when the user is refused.
    pub async fn connect(options: &ConnectOptions) -> Result<Client> {
        Self::connect_first(options, options.endpoint_urls()).await
    }

    /// Connects to another coordinator, or to the same one again, when this one has gone silent.
    /// True when that begins a new session, without what `USE` and `SET` said.
    ///
    /// Errors as [`Client::connect`]; then this client is as it was.
    pub async fn replace_if_lost(&mut self, options: &ConnectOptions) -> Result<bool> {
        let answer = within(&SystemClock, CONNECT_LIMIT, self.run("SELECT 1")).await;
        if answer.is_some_and(|answer| answer.is_ok()) {
            return Ok(false);
        }
        let mut urls = options.endpoint_urls();
        if let Some(place) = urls.iter().position(|url| *url == self.url) {
            urls.rotate_left(place + 1);
        }
        *self = Self::connect_first(options, urls).await?;
        Ok(true)
    }

    async fn connect_first(options: &ConnectOptions, urls: Vec<String>) -> Result<Client> {
        let mut failures = Vec::new();
        for url in urls {
            match Self::connect_to(url, options).await {
                Ok(client) => return Ok(client),
                Err(error) if error.kind() == ErrorKind::Unavailable => failures.push(error),
                Err(error) => return Err(error),
            }
        }
        let failures: Vec<&str> = failures.iter().map(Error::message).collect();
        Err(Error::unavailable(failures.join("; ")))
    }

    async fn connect_to(url: String, options: &ConnectOptions) -> Result<Client> {
        let endpoint = Endpoint::from_shared(url.clone())
            .map_err(|error| Error::invalid(format!("{url} is not an address: {error}")))?
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(SILENCE)
            .keep_alive_timeout(SILENCE)
            .http2_adaptive_window(true)
            .tcp_nodelay(true);
        let channel = endpoint.connect().await.map_err(|error| {
            Error::unavailable(format!("cannot connect to {url}: {}", root_cause(&error)))
        })?;
        let channel = SessionChannel::new(channel);
        let log_in = channel.log_in(&options.user, &options.password);
        let silent = || Error::unavailable(format!("{url} accepts connections and is silent"));
        within(&SystemClock, CONNECT_LIMIT, log_in).await.unwrap_or_else(|| Err(silent()))?;
        let flight = FlightServiceClient::new(channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let mut client = Client {
            flight: FlightSqlServiceClient::new_from_inner(flight),
            bulk: BulkInsertClient::new(channel.clone()),
            channel,
            url,
        };
        if let Some(database) = &options.database {
            client.run(&format!("USE {}", quote_identifier(database))).await?;
        }
        Ok(client)
    }

    /// Ends the session and what is temporary in it. Where nobody answers it ends by itself, later.
    pub async fn close(&mut self) {
        let action = Action { r#type: "CloseSession".to_owned(), body: Default::default() };
        let _ = within(&SystemClock, CLOSE_LIMIT, self.flight.do_action(action)).await;
    }

    /// Notices of the statements since this was last asked: what was accepted without effect.
    pub fn take_notices(&self) -> Vec<String> {
        self.channel.take_notices()
    }

    /// The address that it is connected to.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// `name` as an identifier of SQL, whatever it contains.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The error that Flight's client reports, with its kind where it came over the wire.
pub(crate) fn flight_error(error: FlightError) -> Error {
    match error {
        FlightError::Tonic(status) => call_error(&status),
        FlightError::ExternalError(error) => match error.downcast::<tonic::Status>() {
            Ok(status) => call_error(&status),
            Err(error) => Error::internal(error.to_string()),
        },
        other => Error::internal(other.to_string()),
    }
}

/// The error of a call. Of one that nobody answered, only the transport speaks.
fn call_error(status: &Status) -> Error {
    let is_answer = status.metadata().contains_key(KIND_HEADER);
    match status.code() {
        Code::Unknown | Code::Unavailable if !is_answer => lost(status, "the coordinator"),
        _ => from_status(status),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_in_any_spelling() {
        for (url, expected) in [
            ("db:7420", "http://db:7420"),
            ("grpc://db:7420", "http://db:7420"),
            ("http://db:7420/", "http://db:7420"),
        ] {
            assert_eq!(ConnectOptions::to_url(url).endpoint_urls(), [expected]);
        }
        let several = ConnectOptions::to_url("grpc://a:1, b:2/");
        assert_eq!(several.endpoint_urls(), ["http://a:1", "http://b:2"]);
        let named = ConnectOptions { port: Some(1), ..ConnectOptions::to_url("db:7420") };
        assert_eq!(named.endpoint_urls(), ["http://127.0.0.1:1"]);
    }

    #[test]
    fn identifiers_are_quoted() {
        assert_eq!(quote_identifier("a\"b"), "\"a\"\"b\"");
    }
}
