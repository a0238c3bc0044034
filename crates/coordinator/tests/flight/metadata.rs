//! What tools ask about catalogs, tables, keys, types and the server.

use arrow::array::Array;
use arrow::datatypes::{Int32Type, UInt32Type};
use arrow_flight::sql::metadata::SqlInfoDataBuilder;
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetXdbcTypeInfo, SqlInfo, XdbcDataType, XdbcDatetimeSubcode,
};
use arrow_flight::{FlightInfo, error::FlightError};

use super::*;

/// The rows behind the only endpoint of an answer, which have the schema that it told.
async fn rows_of(client: &mut Client, info: Result<FlightInfo, FlightError>) -> RecordBatch {
    let info = info.unwrap();
    assert_eq!(info.endpoint.len(), 1);
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let told = info.try_decode_schema().unwrap();
    let batches = client.do_get(ticket).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    let sent = batches.first().map(|batch| batch.schema());
    assert!(sent.is_none_or(|sent| sent.fields() == told.fields()), "{told:?}");
    arrow::compute::concat_batches(&Arc::new(told), &batches).unwrap()
}

/// One column of an answer.
fn column(rows: &RecordBatch, name: &str) -> Vec<String> {
    let column = rows.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    (0..column.len()).map(|row| array_value_to_string(column, row).unwrap()).collect()
}

async fn cluster_with_tables() -> (Cluster, Client) {
    let cluster = Cluster::start().await;
    let mut client = cluster.connect().await;
    for sql in [
        "CREATE DATABASE sales",
        "CREATE DATABASE stock",
        "CREATE TABLE sales.orders (day Date, id Int64, shop String, note String) \
         ENGINE = MergeTree ORDER BY (shop, day, id, lower(note)) PRIMARY KEY (shop, day)",
        "CREATE TABLE sales.shop_hours (id Int64) ENGINE = MergeTree ORDER BY tuple()",
        "CREATE TABLE sales.Visits (at DateTime, id Int64) ENGINE = MergeTree ORDER BY (id, at)",
        "CREATE TABLE visits (id Int64) ENGINE = MergeTree ORDER BY id",
        "CREATE VIEW sales.of_shop AS SELECT id FROM sales.orders",
    ] {
        update(&mut client, sql).await;
    }
    (cluster, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_tables_are_told_in_their_order() {
    let (_cluster, client) = &mut cluster_with_tables().await;
    let keys = |catalog: Option<&str>, database: Option<&str>, table: &str| CommandGetPrimaryKeys {
        catalog: catalog.map(str::to_owned),
        db_schema: database.map(str::to_owned),
        table: table.into(),
    };
    let cases: [(CommandGetPrimaryKeys, &[&str]); 10] = [
        (keys(None, Some("sales"), "orders"), &["shop", "day"]),
        (keys(Some("granary"), Some("sales"), "orders"), &["shop", "day"]),
        (keys(None, Some("sales"), "Visits"), &["id", "at"]),
        // Without a database it is the session's.
        (keys(None, None, "visits"), &["id"]),
        (keys(None, Some(""), "visits"), &["id"]),
        (keys(None, Some("sales"), "shop_hours"), &[]),
        (keys(None, Some("sales"), "of_shop"), &[]),
        (keys(None, Some("sales"), "missing"), &[]),
        (keys(None, Some("stock"), "orders"), &[]),
        (keys(Some("other"), Some("sales"), "orders"), &[]),
    ];
    for (command, wanted) in cases {
        let info = client.get_primary_keys(command.clone()).await;
        let rows = rows_of(client, info).await;
        assert_eq!(column(&rows, "column_name"), wanted, "{command:?}");
        let sequence: Vec<i32> = (1..=wanted.len() as i32).collect();
        let told = rows.column_by_name("key_sequence").unwrap().as_primitive::<Int32Type>();
        assert_eq!(told.values().to_vec(), sequence, "{command:?}");
    }
    let info = client.get_primary_keys(keys(None, Some("sales"), "orders")).await;
    let rows = rows_of(client, info).await;
    assert_eq!(column(&rows, "catalog_name"), ["granary", "granary"]);
    assert_eq!(column(&rows, "db_schema_name"), ["sales", "sales"]);
    assert_eq!(column(&rows, "table_name"), ["orders", "orders"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_foreign_keys() {
    let (_cluster, client) = &mut cluster_with_tables().await;
    let (database, table) = (Some("sales".to_owned()), "orders".to_owned());
    let exported =
        CommandGetExportedKeys { catalog: None, db_schema: database.clone(), table: table.clone() };
    let imported =
        CommandGetImportedKeys { catalog: None, db_schema: database.clone(), table: table.clone() };
    let crossed = CommandGetCrossReference {
        pk_catalog: None,
        pk_db_schema: database.clone(),
        pk_table: table.clone(),
        fk_catalog: None,
        fk_db_schema: database,
        fk_table: table,
    };
    let infos = [
        client.get_exported_keys(exported).await,
        client.get_imported_keys(imported).await,
        client.get_cross_reference(crossed).await,
    ];
    for info in infos {
        let rows = rows_of(client, info).await;
        assert_eq!(rows.num_rows(), 0);
        assert_eq!(rows.num_columns(), 13);
        assert_eq!(rows.schema().field(3).name(), "pk_column_name");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_are_told_in_the_words_of_drivers() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    let asked = |data_type: Option<XdbcDataType>| CommandGetXdbcTypeInfo {
        data_type: data_type.map(|data_type| data_type as i32),
    };
    let info = client.get_xdbc_type_info(asked(None)).await;
    let all = rows_of(client, info).await;
    let names = column(&all, "type_name");
    let row = |name: &str| names.iter().position(|found| found == name).expect(name);
    let cell = |name: &str, of: &str| column(&all, of)[row(name)].clone();
    // Each one is a type that a column can have.
    for name in &names {
        let parameters = match name.as_str() {
            "Decimal" => "(10, 2)",
            "FixedString" => "(4)",
            "DateTime64" => "(3)",
            "Interval" => continue,
            _ => "",
        };
        let table = format!("CREATE TABLE of_{name} (k Int64, v Nullable({name}{parameters})) ");
        update(client, &(table + "ENGINE = MergeTree ORDER BY k")).await;
    }
    assert_eq!(cell("Int64", "data_type"), (XdbcDataType::XdbcBigint as i32).to_string());
    assert_eq!(cell("Int64", "column_size"), "19");
    assert_eq!(cell("Int64", "unsigned_attribute"), "false");
    assert_eq!(cell("UInt64", "unsigned_attribute"), "true");
    assert_eq!(cell("String", "literal_prefix"), "'");
    assert_eq!(cell("String", "case_sensitive"), "true");
    assert_eq!(cell("Decimal", "create_params"), "[precision, scale]");
    assert_eq!(cell("Decimal", "maximum_scale"), "76");
    let stamp = XdbcDatetimeSubcode::XdbcSubcodeTimestamp as i32;
    assert_eq!(cell("DateTime", "datetime_subcode"), stamp.to_string());
    // Ordered by the type's number, as the protocol says.
    let numbers = all.column_by_name("data_type").unwrap().as_primitive::<Int32Type>();
    assert!(numbers.values().is_sorted(), "{numbers:?}");
    for (data_type, wanted) in [
        (XdbcDataType::XdbcBigint, vec!["Int64", "UInt64"]),
        (XdbcDataType::XdbcVarchar, vec!["String"]),
        (XdbcDataType::XdbcDecimal, vec!["Decimal"]),
        (XdbcDataType::XdbcNumeric, vec![]),
    ] {
        let info = client.get_xdbc_type_info(asked(Some(data_type))).await;
        let rows = rows_of(client, info).await;
        assert_eq!(column(&rows, "type_name"), wanted, "{data_type:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogs_databases_and_kinds_of_tables_are_told() {
    let (_cluster, client) = &mut cluster_with_tables().await;
    let info = client.get_catalogs().await;
    assert_eq!(column(&rows_of(client, info).await, "catalog_name"), ["granary"]);
    let info = client.get_table_types().await;
    let rows = rows_of(client, info).await;
    assert_eq!(column(&rows, "table_type"), ["SYSTEM TABLE", "TABLE", "VIEW"]);
    let asked = |catalog: Option<&str>, pattern: Option<&str>| CommandGetDbSchemas {
        catalog: catalog.map(str::to_owned),
        db_schema_filter_pattern: pattern.map(str::to_owned),
    };
    let cases: [(CommandGetDbSchemas, &[&str]); 7] = [
        (asked(None, None), &["default", "information_schema", "sales", "stock", "system"]),
        (asked(Some("granary"), Some("s%")), &["sales", "stock", "system"]),
        (asked(None, Some("s___k")), &["stock"]),
        (asked(None, Some("sales")), &["sales"]),
        (asked(None, Some("sale")), &[]),
        (asked(None, Some("%e%s")), &["sales"]),
        (asked(Some("other"), None), &[]),
    ];
    for (command, wanted) in cases {
        let info = client.get_db_schemas(command.clone()).await;
        let rows = rows_of(client, info).await;
        assert_eq!(column(&rows, "db_schema_name"), wanted, "{command:?}");
        assert!(column(&rows, "catalog_name").iter().all(|name| name == "granary"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_filtered() {
    let (_cluster, client) = &mut cluster_with_tables().await;
    let asked = |database: Option<&str>, table: Option<&str>, kinds: &[&str]| CommandGetTables {
        db_schema_filter_pattern: database.map(str::to_owned),
        table_name_filter_pattern: table.map(str::to_owned),
        table_types: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        ..Default::default()
    };
    let none = CommandGetTables { catalog: Some("other".into()), ..Default::default() };
    let cases: [(CommandGetTables, &[&str]); 7] = [
        (asked(Some("sales"), None, &[]), &["Visits", "of_shop", "orders", "shop_hours"]),
        (asked(Some("sales"), None, &["TABLE"]), &["Visits", "orders", "shop_hours"]),
        (asked(Some("%"), None, &["VIEW"]), &["of_shop"]),
        (asked(None, Some("%isits"), &["TABLE", "VIEW"]), &["visits", "Visits"]),
        (asked(None, Some("o%"), &["TABLE", "VIEW"]), &["of_shop", "orders"]),
        (asked(Some("system"), Some("one"), &[]), &["one"]),
        (none, &[]),
    ];
    for (command, wanted) in cases {
        let info = client.get_tables(command.clone()).await;
        let rows = rows_of(client, info).await;
        let mut names = column(&rows, "table_name");
        let mut wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        names.sort();
        wanted.sort();
        assert_eq!(names, wanted, "{command:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_tells_about_itself() {
    let cluster = Cluster::start().await;
    let client = &mut cluster.connect().await;
    let info = client.get_sql_info(vec![]).await;
    let all = rows_of(client, info).await;
    assert_eq!(all.schema().fields(), SqlInfoDataBuilder::schema().fields());
    let ids = all.column_by_name("info_name").unwrap().as_primitive::<UInt32Type>();
    let values = column(&all, "value");
    let told = |id: SqlInfo| {
        let row = ids.values().iter().position(|found| *found == id as u32);
        values[row.unwrap_or_else(|| panic!("{id:?} is not told"))].clone()
    };
    for (id, wanted) in [
        (SqlInfo::FlightSqlServerName, "{string_value=Granary}"),
        (SqlInfo::FlightSqlServerReadOnly, "{bool_value=false}"),
        (SqlInfo::FlightSqlServerSql, "{bool_value=true}"),
        (SqlInfo::FlightSqlServerSubstrait, "{bool_value=false}"),
        (SqlInfo::FlightSqlServerTransaction, "{int32_bitmask=0}"),
        (SqlInfo::FlightSqlServerCancel, "{bool_value=true}"),
        (SqlInfo::FlightSqlServerBulkIngestion, "{bool_value=true}"),
        (SqlInfo::FlightSqlServerIngestTransactionsSupported, "{bool_value=false}"),
        (SqlInfo::SqlIdentifierQuoteChar, "{string_value=\"}"),
        (SqlInfo::SqlDdlTable, "{bool_value=true}"),
    ] {
        let value = told(id);
        // The union's display names the kind, with the name that the library gives it.
        let (wanted, value) = (wanted.split_once('=').unwrap(), value.split_once('=').unwrap());
        assert_eq!(value.1, wanted.1, "{id:?}");
    }
    let one = client.get_sql_info(vec![SqlInfo::FlightSqlServerVersion]).await;
    let one = rows_of(client, one).await;
    assert_eq!(one.num_rows(), 1);
    assert!(column(&one, "value")[0].contains(env!("CARGO_PKG_VERSION")));
    let two = vec![SqlInfo::SqlSchemaTerm, SqlInfo::SqlNullOrdering];
    let two = client.get_sql_info(two).await;
    let rows = rows_of(client, two).await;
    assert_eq!(rows.num_rows(), 2);
    assert!(column(&rows, "value").iter().any(|value| value.contains("database")), "{rows:?}");
}
