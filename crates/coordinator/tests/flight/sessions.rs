//! Options of sessions, transactions, prepared statements and tickets, as other drivers send them.

use std::collections::HashMap;

use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionEndSavepointRequest, ActionEndTransactionRequest,
    CommandPreparedStatementQuery, CommandStatementUpdate, EndTransaction, ProstMessageExt,
};
use arrow_flight::{FlightData, FlightInfo, Ticket};

use super::*;

/// Flight's session messages as their specification has them, written down again.
mod wire {
    use std::collections::HashMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Texts {
        #[prost(string, repeated, tag = "1")]
        pub values: Vec<String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Value {
        #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5")]
        pub kind: Option<Kind>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Kind {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(bool, tag = "2")]
        Bool(bool),
        #[prost(sfixed64, tag = "3")]
        Int64(i64),
        #[prost(double, tag = "4")]
        Double(f64),
        #[prost(message, tag = "5")]
        Texts(Texts),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Options {
        #[prost(map = "string, message", tag = "1")]
        pub options: HashMap<String, Value>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Refusal {
        #[prost(int32, tag = "1")]
        pub value: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Refusals {
        #[prost(map = "string, message", tag = "1")]
        pub errors: HashMap<String, Refusal>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Closed {
        #[prost(int32, tag = "1")]
        pub status: i32,
    }
}

use wire::Kind;

const INVALID_NAME: i32 = 1;
const INVALID_VALUE: i32 = 2;

async fn act(client: &mut Client, name: &str, body: Vec<u8>) -> Result<Vec<u8>, Status> {
    let action = Action { r#type: name.into(), body: body.into() };
    let mut answers = client.do_action(action).await.map_err(Status::from)?;
    Ok(answers.message().await?.map(|answer| answer.body.to_vec()).unwrap_or_default())
}

/// Sets options; gives those that were refused, with the reason.
async fn set(client: &mut Client, options: &[(&str, Kind)]) -> Vec<(String, i32)> {
    let value = |kind: &Kind| wire::Value { kind: Some(kind.clone()) };
    let options = options.iter().map(|(name, kind)| ((*name).to_owned(), value(kind))).collect();
    let body = wire::Options { options }.encode_to_vec();
    let answer = act(client, "SetSessionOptions", body).await.unwrap();
    let errors = wire::Refusals::decode(&*answer).unwrap().errors;
    let mut refused: Vec<_> = errors.into_iter().map(|(name, why)| (name, why.value)).collect();
    refused.sort();
    refused
}

async fn options(client: &mut Client) -> HashMap<String, String> {
    let answer = act(client, "GetSessionOptions", Vec::new()).await.unwrap();
    let options = wire::Options::decode(&*answer).unwrap().options;
    let text = |value: wire::Value| match value.kind {
        Some(Kind::Text(text)) => text,
        other => panic!("not a text: {other:?}"),
    };
    options.into_iter().map(|(name, value)| (name, text(value))).collect()
}

fn text(value: &str) -> Kind {
    Kind::Text(value.into())
}

const THREADS: &str = "SELECT value FROM system.settings WHERE name = 'max_threads'";

#[tokio::test(flavor = "multi_thread")]
async fn options_of_a_session_count_from_the_next_call_on() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, "CREATE DATABASE sales").await;
    update(client, "CREATE TABLE sales.s (id Int64) ENGINE = MergeTree ORDER BY id").await;
    let usual = lines(client, THREADS).await;
    // By connection, and by token.
    let token = &mut cluster.connect().await;
    token.handshake("ann", "").await.unwrap();
    for client in [client, token] {
        assert_eq!(options(client).await["schema"], "default");
        let wanted = [("schema", text("sales")), ("max_threads", Kind::Int64(3))];
        assert_eq!(set(client, &wanted).await, []);
        assert_eq!(lines(client, "SELECT count(*) FROM s").await, ["0"]);
        assert_eq!(lines(client, "SELECT current_database()").await, ["sales"]);
        assert_eq!(lines(client, THREADS).await, ["3"]);
        let told = options(client).await;
        assert_eq!((&*told["catalog"], &*told["schema"]), ("granary", "sales"));
        assert_eq!(told["max_threads"], "3");
        // SET and USE are the same in other words.
        update(client, "SET max_threads = 4").await;
        update(client, "USE default").await;
        let told = options(client).await;
        assert_eq!((&*told["schema"], &*told["max_threads"]), ("default", "4"));
        // Names count without case, as in SET, and databases are found like it.
        let other_case = [("MAX_THREADS", Kind::Int64(2)), ("schema", text("SALES"))];
        assert_eq!(set(client, &other_case).await, []);
        assert_eq!(lines(client, THREADS).await, ["2"]);
        assert_eq!(lines(client, "SELECT current_database()").await, ["sales"]);
        // An empty value takes an option away.
        let away = [("Max_Threads", text("")), ("schema", text(""))];
        assert_eq!(set(client, &away).await, []);
        assert_eq!(lines(client, THREADS).await, usual);
        assert_eq!(options(client).await["schema"], "default");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_options_are_refused_one_by_one() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    let given = [
        ("catalog", text("other")),
        ("schema", text("missing")),
        ("no_such_option", text("1")),
        ("max_threads", text("many")),
        ("insert_block_rows_max", Kind::Double(0.5)),
        ("insert_block_bytes_max", Kind::Texts(wire::Texts { values: vec!["1".into()] })),
        ("insert_coalesce_ms", Kind::Int64(-1)),
        ("allow_stale_reads", Kind::Bool(true)),
        // One of another system that changes nothing here.
        ("join_use_nulls", Kind::Int64(1)),
    ];
    let wanted = [
        ("catalog", INVALID_VALUE),
        ("insert_block_bytes_max", INVALID_VALUE),
        ("insert_block_rows_max", INVALID_VALUE),
        ("insert_coalesce_ms", INVALID_VALUE),
        ("max_threads", INVALID_VALUE),
        ("no_such_option", INVALID_NAME),
        ("schema", INVALID_VALUE),
    ];
    assert_eq!(set(client, &given).await, wanted.map(|(name, why)| (name.to_owned(), why)));
    let told = options(client).await;
    assert_eq!(told["allow_stale_reads"], "1", "what is right is set");
    assert_eq!(told.len(), 3, "{told:?}");
    let malformed = act(client, "SetSessionOptions", vec![0xff; 9]).await.unwrap_err();
    assert_eq!(malformed.code(), Code::InvalidArgument);
    assert!(malformed.message().contains("SetSessionOptions"), "{malformed}");
    let unknown = act(client, "SetEverything", Vec::new()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    assert!(unknown.message().contains("SetEverything"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_session_is_over() {
    let cluster = Cluster::start().await;
    // By connection: another one begins.
    let client = &mut cluster.connect().await;
    let usual = lines(client, THREADS).await;
    update(client, "SET max_threads = 3").await;
    let answer = act(client, "CloseSession", Vec::new()).await.unwrap();
    assert_eq!(wire::Closed::decode(&*answer).unwrap().status, 1);
    assert_eq!(lines(client, THREADS).await, usual);
    // By token: its owner has to connect again.
    let client = &mut cluster.connect().await;
    client.handshake("ann", "").await.unwrap();
    update(client, "SET max_threads = 3").await;
    act(client, "CloseSession", Vec::new()).await.unwrap();
    let status = refused(client, THREADS).await;
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("connect again"), "{status}");
    client.clear_token();
    client.handshake("ann", "").await.unwrap();
    assert_eq!(lines(client, THREADS).await, usual);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_refused_wherever_they_are_named() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let end =
        |action| ActionEndTransactionRequest { transaction_id: "t".into(), action: action as i32 };
    let begin = ActionBeginSavepointRequest { transaction_id: "t".into(), name: "s".into() };
    let release = ActionEndSavepointRequest { savepoint_id: "s".into(), action: 1 };
    let actions = [
        ("EndTransaction", end(EndTransaction::Commit).as_any()),
        ("EndTransaction", end(EndTransaction::Rollback).as_any()),
        ("BeginSavepoint", begin.as_any()),
        ("EndSavepoint", release.as_any()),
    ];
    let mut refusals = vec![Status::from(client.begin_transaction().await.unwrap_err())];
    for (name, request) in actions {
        refusals.push(act(client, name, request.encode_to_vec()).await.unwrap_err());
    }
    let id = || Some("t".into());
    let insert = "INSERT INTO t VALUES (1, 'a')".to_owned();
    let error = client.execute("SELECT 1".into(), id()).await.unwrap_err();
    refusals.push(error.into());
    refusals.push(client.execute_update(insert.clone(), id()).await.unwrap_err().into());
    refusals.push(client.prepare(insert, id()).await.unwrap_err().into());
    let ingest =
        CommandStatementIngest { table: "t".into(), transaction_id: id(), ..Default::default() };
    let stream = futures::stream::iter([Ok(rows(0..10))]);
    refusals.push(client.execute_ingest(ingest, stream).await.unwrap_err().into());
    for status in refusals {
        assert_eq!(status.code(), Code::Unimplemented, "{status}");
        assert!(status.message().contains("transactions are not supported"), "{status}");
        assert!(status.message().contains("atomic"), "{status}");
    }
    assert_eq!(lines(client, "SELECT count(*) FROM t").await, ["0"]);
}

/// A prepared statement as one call of the protocol after the other, at whichever coordinator.
#[derive(Clone)]
struct Prepared {
    handle: prost::bytes::Bytes,
}

impl Prepared {
    async fn of(client: &mut Client, sql: &str) -> Prepared {
        let request = arrow_flight::sql::ActionCreatePreparedStatementRequest {
            query: sql.into(),
            transaction_id: None,
        };
        let body = request.as_any().encode_to_vec();
        let answer = act(client, "CreatePreparedStatement", body).await.unwrap();
        let any = arrow_flight::sql::Any::decode(&*answer).unwrap();
        let made: arrow_flight::sql::ActionCreatePreparedStatementResult =
            any.unpack().unwrap().unwrap();
        Prepared { handle: made.prepared_statement_handle }
    }

    fn command(&self) -> Vec<u8> {
        let handle = self.handle.clone();
        CommandPreparedStatementQuery { prepared_statement_handle: handle }.as_any().encode_to_vec()
    }

    /// Binds; gives the statement under the handle that the server answers with.
    async fn bind(&self, client: &mut Client, id: i64) -> Prepared {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![id]));
        let values = RecordBatch::try_from_iter([("1", ids)]).unwrap();
        let descriptor = FlightDescriptor::new_cmd(self.command());
        let messages: Vec<FlightData> = arrow_flight::encode::FlightDataEncoderBuilder::new()
            .with_flight_descriptor(Some(descriptor))
            .build(futures::stream::iter([Ok(values)]))
            .try_collect()
            .await
            .unwrap();
        let mut answers = client.do_put(futures::stream::iter(messages)).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        let answer =
            arrow_flight::sql::DoPutPreparedStatementResult::decode(&*answer.app_metadata).unwrap();
        Prepared { handle: answer.prepared_statement_handle.unwrap() }
    }

    async fn run(&self, client: &mut Client) -> Result<Vec<String>, Status> {
        let descriptor = FlightDescriptor::new_cmd(self.command());
        let info = client.inner_mut().get_flight_info(descriptor).await?.into_inner();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let rows = client.do_get(ticket).await.map_err(Status::from)?;
        Ok(texts(&rows.try_collect::<Vec<_>>().await.map_err(Status::from)?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_go_from_coordinator_to_coordinator() {
    let cluster = Cluster::start().await;
    let here = &mut cluster.connect().await;
    let nodes = [cluster.another().await, cluster.another().await];
    let (there, third) = (&mut connect(&nodes[0]).await, &mut connect(&nodes[1]).await);
    update(here, TABLE).await;
    cluster.insert("t", "", ipc(&[rows(0..100)])).await.unwrap();
    let prepared = Prepared::of(here, "SELECT name FROM t WHERE id = ?").await;
    // Made here, bound there, run at a third one; the values are in the handle.
    let bound = prepared.bind(there, 7).await;
    assert_eq!(bound.run(third).await.unwrap(), ["n7"]);
    assert_eq!(bound.run(here).await.unwrap(), ["n7"]);
    let again = bound.bind(third, 8).await;
    assert_eq!(again.run(there).await.unwrap(), ["n8"]);
    assert_eq!(bound.run(there).await.unwrap(), ["n7"], "a handle says what it means for good");
    // A driver does the same by itself.
    let mut insert = there.prepare("INSERT INTO t VALUES (?, ?)".into(), None).await.unwrap();
    insert.set_parameters(rows(200..203)).unwrap();
    assert_eq!(insert.execute_update().await.unwrap(), 3);
    assert_eq!(lines(here, "SELECT count(*) FROM t").await, ["103"]);
    insert.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_its_first_handle_never_runs_with_other_values() {
    let cluster = Cluster::start().await;
    let here = &mut cluster.connect().await;
    let second = cluster.another().await;
    let there = &mut connect(&second).await;
    update(here, TABLE).await;
    cluster.insert("t", "", ipc(&[rows(0..100)])).await.unwrap();
    let prepared = Prepared::of(here, "SELECT name FROM t WHERE id = ?").await;
    // At one coordinator it may keep the handle.
    for (id, name) in [(7, "n7"), (8, "n8")] {
        prepared.bind(here, id).await;
        assert_eq!(prepared.run(here).await.unwrap(), [name]);
    }
    // Bound here and run there: nothing is known, and the error says what to do.
    prepared.bind(here, 10).await;
    let status = prepared.run(there).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    for words in ["1 parameters", "the handle that the binding answers with"] {
        assert!(status.message().contains(words), "{status}");
    }
    // Bound and run here, then bound there: a run here would be with the values of before.
    assert_eq!(prepared.run(here).await.unwrap(), ["n10"]);
    prepared.bind(there, 11).await;
    assert!(prepared.run(here).await.is_err());
    assert_eq!(prepared.run(there).await.unwrap(), ["n11"]);
    // The same for what changes rows.
    let insert = Prepared::of(here, "INSERT INTO t (id) VALUES (?)").await;
    let command = arrow_flight::sql::CommandPreparedStatementUpdate {
        prepared_statement_handle: insert.handle.clone(),
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let message = FlightData { flight_descriptor: Some(descriptor), ..Default::default() };
    let error = here.do_put(futures::stream::iter([message])).await.unwrap_err();
    let status = Status::from(error);
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("bind them"), "{status}");
    let forged = Prepared { handle: "not a handle".into() };
    let status = forged.run(here).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("prepared statement handle"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_name_no_place_so_that_any_coordinator_redeems_them() {
    let cluster = Cluster::start().await;
    let here = &mut cluster.connect().await;
    let second = cluster.another().await;
    let there = &mut connect(&second).await;
    update(here, TABLE).await;
    cluster.insert("t", "", ipc(&[rows(0..100)])).await.unwrap();
    update(here, "CREATE DATABASE sales").await;
    update(here, "CREATE TABLE sales.s (id Int64) ENGINE = MergeTree ORDER BY id").await;
    update(here, "INSERT INTO sales.s VALUES (5)").await;
    let mut select =
        here.prepare("SELECT count(*) FROM t WHERE id < ?".into(), None).await.unwrap();
    let ten: ArrayRef = Arc::new(Int64Array::from(vec![10]));
    select.set_parameters(RecordBatch::try_from_iter([("1", ten)]).unwrap()).unwrap();
    let bound = select.execute().await.unwrap();
    // The ticket carries its session: there, nobody said USE.
    update(here, "USE sales").await;
    let of_session = here.execute("SELECT id FROM s".into(), None).await.unwrap();
    let cases: [(FlightInfo, &[&str]); 3] = [
        (bound, &["10"]),
        (of_session, &["5"]),
        (here.get_catalogs().await.unwrap(), &["granary"]),
    ];
    for (info, wanted) in cases {
        assert_eq!(info.endpoint.len(), 1);
        assert!(info.ordered);
        let endpoint = &info.endpoint[0];
        assert!(endpoint.location.is_empty(), "{:?}", endpoint.location);
        assert!(endpoint.expiration_time.is_none());
        let ticket: Ticket = endpoint.ticket.clone().unwrap();
        let rows = there.do_get(ticket).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(texts(&rows), wanted);
    }
    // What gives no rows is done at once and has nothing to redeem.
    let done = here.execute("INSERT INTO s VALUES (6)".into(), None).await.unwrap();
    assert!(done.endpoint.is_empty());
    assert_eq!(done.total_records, 1);
    let again = CommandStatementUpdate { query: "TRUNCATE TABLE s".into(), transaction_id: None };
    let ticket = Ticket::new(again.as_any().encode_to_vec());
    assert!(there.do_get(ticket).await.is_err(), "a command that changes rows is no ticket");
}
