//! Sessions, queries, metadata, and the end of a node.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn sessions_last_by_token_by_cookie_and_by_connection() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, "CREATE DATABASE sales").await;
    update(client, "CREATE TABLE sales.s (id Int64) ENGINE = MergeTree ORDER BY id").await;
    // By connection.
    update(client, "USE sales").await;
    assert_eq!(lines(client, "SELECT count(*) FROM s").await, ["0"]);
    let other = &mut cluster.connect().await;
    assert_eq!(refused(other, "SELECT count(*) FROM s").await.code(), Code::NotFound);
    // By token; the client keeps the first one.
    other.handshake("ann", "").await.unwrap();
    update(other, "USE sales").await;
    update(other, "SET max_threads = 2").await;
    assert_eq!(lines(other, "SELECT count(*) FROM s").await, ["0"]);
    let changed = "SELECT value FROM system.settings WHERE name = 'max_threads'";
    assert_eq!(lines(other, changed).await, ["2"]);
    // By cookie, through another coordinator.
    let request = Request::new(FlightDescriptor::new_cmd(
        arrow_flight::sql::ProstMessageExt::as_any(&arrow_flight::sql::CommandStatementQuery {
            query: "USE sales".into(),
            transaction_id: None,
        })
        .encode_to_vec(),
    ));
    let third = cluster.connect().await;
    let answer = third.inner().clone().get_flight_info(request).await.unwrap();
    let cookie = answer.metadata().get("set-cookie").unwrap().to_str().unwrap();
    let pair = cookie.split(';').next().unwrap().to_owned();
    let second = cluster.another().await;
    let fourth = &mut connect(&second).await;
    fourth.set_header("cookie", pair);
    assert_eq!(lines(fourth, "SELECT count(*) FROM s").await, ["0"]);
    // Errors name what is wrong.
    assert_eq!(refused(other, "USE nowhere").await.code(), Code::NotFound);
    assert_eq!(refused(other, "SET no_such_setting = 1").await.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_coordinator_redeems_a_ticket_and_a_handle() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    update(client, "INSERT INTO t VALUES (1, 'a'), (2, 'b')").await;
    let second = cluster.another().await;
    let elsewhere = &mut connect(&second).await;
    let info = client.execute("SELECT name FROM t ORDER BY id".into(), None).await.unwrap();
    // Bound before this insert, so it does not see it.
    update(client, "INSERT INTO t VALUES (3, 'c')").await;
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let rows = elsewhere.do_get(ticket.clone()).await.unwrap().try_collect::<Vec<_>>().await;
    assert_eq!(texts(&rows.unwrap()), ["a", "b"]);
    let mut forged = ticket.ticket.to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let error = client.do_get(arrow_flight::Ticket::new(forged)).await.unwrap_err();
    assert_eq!(Status::from(error).code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_prepared_with_typed_parameters() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let mut insert = client.prepare("INSERT INTO t VALUES (?, ?)".into(), None).await.unwrap();
    let types = insert.parameter_schema().unwrap().fields().clone();
    assert_eq!(types[0].data_type(), &DataType::Int64);
    assert_eq!(types[1].data_type(), &DataType::Utf8);
    insert.set_parameters(rows(1..501)).unwrap();
    assert_eq!(insert.execute_update().await.unwrap(), 500);
    let one_insert = "SELECT count(DISTINCT added_version) FROM system.parts WHERE table = 't'";
    assert_eq!(lines(client, one_insert).await, ["1"]);
    let text = "SELECT name FROM t WHERE id = ?";
    let mut select = client.prepare(text.into(), None).await.unwrap();
    assert_eq!(select.parameter_schema().unwrap().field(0).data_type(), &DataType::Int64);
    assert_eq!(select.dataset_schema().unwrap().field(0).name(), "name");
    for (id, name) in [(7, "n7"), (8, "n8")] {
        let ids = Int64Array::from(vec![id]);
        select
            .set_parameters(RecordBatch::try_from_iter([("1", Arc::new(ids) as _)]).unwrap())
            .unwrap();
        let info = select.execute().await.unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let rows = client.do_get(ticket).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(texts(&rows), [name]);
    }
    assert_eq!(refused(client, text).await.code(), Code::InvalidArgument);
    select.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_makes_and_fills_tables() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    let command = |exists: TableExistsOption| CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Create as i32,
            if_exists: exists as i32,
        }),
        table: "made".into(),
        ..Default::default()
    };
    let stream = || futures::stream::iter([Ok(rows(0..10))]);
    assert_eq!(
        client.execute_ingest(command(TableExistsOption::Fail), stream()).await.unwrap(),
        10
    );
    assert_eq!(
        client.execute_ingest(command(TableExistsOption::Append), stream()).await.unwrap(),
        10
    );
    assert_eq!(lines(client, "SELECT count(*), count(name) FROM made").await, ["20 12"]);
    assert_eq!(
        client.execute_ingest(command(TableExistsOption::Replace), stream()).await.unwrap(),
        10
    );
    assert_eq!(lines(client, "SELECT count(*) FROM made").await, ["10"]);
    let error =
        client.execute_ingest(command(TableExistsOption::Fail), stream()).await.unwrap_err();
    assert_eq!(Status::from(error).code(), Code::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_told() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    let command = CommandGetTables {
        table_name_filter_pattern: Some("t".into()),
        include_schema: true,
        ..Default::default()
    };
    let info = client.get_tables(command).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let tables = client.do_get(ticket).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(tables[0].num_rows(), 1);
    assert_eq!(tables[0].column(2).as_string::<i32>().value(0), "t");
    assert!(lines(client, "SHOW TABLES").await.contains(&"t".to_owned()));
    assert!(lines(client, "SHOW DATABASES").await.contains(&"default".to_owned()));
    assert_eq!(lines(client, "DESCRIBE t").await.len(), 2);
    assert!(lines(client, "SHOW CREATE TABLE t").await[0].contains("DISTRIBUTED BY"));
    let columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 't' \
                   ORDER BY ordinal_position";
    assert_eq!(lines(client, columns).await, ["id", "name"]);
    assert_eq!(lines(client, "SELECT count(*) FROM system.buckets WHERE table = 't'").await, ["4"]);
    assert_eq!(lines(client, "SELECT state FROM system.workers").await, ["alive"]);
    assert!(!lines(client, "EXPLAIN SELECT count(*) FROM t").await.is_empty());
    assert!(!lines(client, "EXPLAIN ANALYZE SELECT count(*) FROM t").await.is_empty());
    // System tables join with users' tables.
    let joined = "SELECT count(*) FROM t JOIN system.one ON t.id = dummy";
    assert_eq!(lines(client, joined).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_cancelled_and_streamed() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    cluster.insert("t", "", ipc(&[rows(0..20_000)])).await.unwrap();
    let sql = "SELECT a.id, b.name FROM t a CROSS JOIN t b";
    let info = client.execute(sql.into(), None).await.unwrap();
    let mut stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
    let running =
        "SELECT count(*) FROM system.queries WHERE state = 'running' AND query LIKE 'SELECT a.id%'";
    let other = &mut cluster.connect().await;
    assert_eq!(lines(other, running).await, ["1"]);
    let body = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec();
    let action = Action { r#type: "CancelFlightInfo".into(), body: body.into() };
    let mut inner = client.inner().clone();
    inner.do_action(Request::new(action)).await.unwrap();
    let error = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break Status::from(error),
            None => panic!("the stream ended as if it were whole"),
        }
    };
    assert_eq!(error.code(), Code::Cancelled);
    // A dropped stream ends its query too.
    let info = client.execute(sql.into(), None).await.unwrap();
    let stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    drop(stream);
    let mut left = String::new();
    for _ in 0..50 {
        SystemClock.sleep(Duration::from_millis(100)).await;
        left = lines(other, running).await.remove(0);
        if left == "0" {
            break;
        }
    }
    assert_eq!(left, "0");
}

/// Runs an action for its result.
async fn act<T: prost::Message + Default>(
    client: &mut Client,
    name: &str,
    body: Vec<u8>,
) -> Result<T, Status> {
    let action = Action { r#type: name.into(), body: body.into() };
    let mut results = client.inner().clone().do_action(Request::new(action)).await?.into_inner();
    Ok(T::decode(&*results.message().await?.unwrap().body).unwrap())
}

/// Waits until a count is 0: what is cancelled ends at its next step.
async fn until_gone(client: &mut Client, count: &str) {
    for _ in 0..1_000 {
        if lines(client, count).await == ["0"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{count}: not 0 after ten seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_coordinator_cancels() {
    let cluster = Cluster::start().await;
    let second = cluster.another().await;
    let (client, elsewhere) = (&mut cluster.connect().await, &mut connect(&second).await);
    update(client, TABLE).await;
    cluster.insert("t", "", ipc(&[rows(0..20_000)])).await.unwrap();
    let sql = "SELECT a.id, b.name FROM t a CROSS JOIN t b";
    let left = "SELECT count(*) FROM system.processes WHERE query LIKE 'SELECT a.id%'";
    for way in ["CancelFlightInfo", "CancelQuery", "KILL QUERY"] {
        let info = client.execute(sql.into(), None).await.unwrap();
        // Its client reads one batch and then nothing, so that only the server can end it.
        let mut stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
        assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
        let id = "SELECT query_id FROM system.processes WHERE query LIKE 'SELECT a.id%'";
        let id = lines(client, id).await.pop().unwrap();
        assert_eq!(lines(elsewhere, left).await, ["0"], "the other one runs it");
        match way {
            "CancelFlightInfo" => {
                let body = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec();
                let done = act::<CancelFlightInfoResult>(elsewhere, way, body.clone()).await;
                assert_eq!(done.unwrap().status(), CancelStatus::Cancelled);
                until_gone(client, left).await;
                let again = act::<CancelFlightInfoResult>(elsewhere, way, body).await;
                assert_eq!(again.unwrap().status(), CancelStatus::NotCancellable);
            }
            "CancelQuery" => {
                let request = ActionCancelQueryRequest { info: info.encode_to_vec().into() };
                let body = arrow_flight::sql::ProstMessageExt::as_any(&request).encode_to_vec();
                let done = act::<arrow_flight::sql::Any>(elsewhere, way, body).await.unwrap();
                let done = done.unpack::<ActionCancelQueryResult>().unwrap().unwrap();
                assert_eq!(done.result, CancelStatus::Cancelled as i32);
            }
            _ => {
                update(elsewhere, &format!("KILL QUERY '{id}'")).await;
                until_gone(client, left).await;
                let error = elsewhere.execute_update(format!("KILL QUERY '{id}'"), None).await;
                assert_eq!(Status::from(error.unwrap_err()).code(), Code::NotFound);
            }
        }
        until_gone(client, left).await;
        let error = loop {
            match stream.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break Status::from(error),
                None => panic!("the stream ended as if it were whole"),
            }
        };
        assert_eq!(error.code(), Code::Cancelled, "{way}");
    }
    // What coordinators ask each other is signed.
    let forged = act::<CancelFlightInfoResult>(client, "granary.internal.Cancel", vec![7; 80]);
    assert_eq!(forged.await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_says_who_did_not_answer() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    // A listener that takes connections and says nothing.
    let silent = std::net::TcpListener::bind(loopback()).unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let holder = LeaseHolder::Coordinator { identity: "silent".into() };
    let heartbeat = Heartbeat {
        holder,
        address: address.clone(),
        lowest_pinned: None,
        protocol: PROTOCOL_VERSION,
        loads: Vec::new(),
        is_full: false,
    };
    cluster.catalog.heartbeat(heartbeat).await.unwrap();
    let began_ms = SystemClock.monotonic_ms();
    // Once it has heard of the other one.
    let status = loop {
        let error = client.execute_update("KILL QUERY 'none'".into(), None).await.unwrap_err();
        let status = Status::from(error);
        if status.code() != Code::NotFound {
            break status;
        }
        SystemClock.sleep(Duration::from_millis(50)).await;
        assert!(SystemClock.monotonic_ms() - began_ms < 20_000, "{status}");
    };
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains(&address), "{status}");
    assert!(SystemClock.monotonic_ms() - began_ms < 30_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_statements_are_clear_errors() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    update(client, TABLE).await;
    for (sql, code, words) in [
        ("SELEC 1", Code::InvalidArgument, "SELEC"),
        ("", Code::InvalidArgument, "empty"),
        ("SELECT 1; SELECT 2", Code::InvalidArgument, "one by one"),
        ("SELECT nme FROM t", Code::InvalidArgument, "nme"),
        ("SELECT * FROM tt", Code::NotFound, "tt"),
        ("CREATE DATABASE default", Code::AlreadyExists, "default"),
        ("INSERT INTO t VALUES (NULL, 'a')", Code::InvalidArgument, "id"),
    ] {
        let status = refused(client, sql).await;
        assert_eq!(status.code(), code, "{sql}: {status}");
        assert!(status.message().contains(words), "{sql}: {status}");
        assert!(status.metadata().contains_key("granary-error-kind"), "{sql}");
    }
    let error = client.begin_transaction().await.unwrap_err();
    assert!(error.to_string().contains("autocommit"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_refuses_new_statements_and_ends() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    assert_eq!(lines(client, "SELECT 1").await, ["1"]);
    assert!(cluster.node.drain(Duration::from_secs(5)).await);
    assert!(query(client, "SELECT 1").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_what_the_port_answers() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let cluster = Cluster::start().await;
    let mut client = ServerReflectionClient::new(channel(&cluster.node).await);
    let mut ask = async |message_request: MessageRequest| {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
        let requests = futures::stream::iter([request]);
        let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(services) =
        ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("not a list of services");
    };
    let mut names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "arrow.flight.protocol.FlightService",
            "granary.v1.BulkInsert",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
        ]
    );
    // A client that knows nothing else can build the calls from it.
    let symbol = "arrow.flight.protocol.FlightService.DoGet".to_owned();
    let MessageResponse::FileDescriptorResponse(files) =
        ask(MessageRequest::FileContainingSymbol(symbol)).await
    else {
        panic!("no descriptor");
    };
    let files = files.file_descriptor_proto.iter();
    let files: Vec<_> =
        files.map(|file| prost_types::FileDescriptorProto::decode(&**file).unwrap()).collect();
    assert!(files.iter().any(|file| file.package() == "arrow.flight.protocol"), "{files:?}");
}
