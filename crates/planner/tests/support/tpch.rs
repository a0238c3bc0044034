//! TPC-H's tables and queries.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use tpchgen::generators::*;
use tpchgen_arrow::*;

use super::{Cluster, Made};

/// Rows of an inserted block.
const BLOCK_ROWS: usize = 1 << 20;

fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int64 => "Int64",
        DataType::Int32 => "Int32",
        DataType::Decimal128(15, 2) => "Decimal(15, 2)",
        DataType::Utf8View => "String",
        DataType::Date32 => "Date",
        other => panic!("no type for {other}"),
    }
}

async fn fill(
    cluster: &Cluster,
    name: &str,
    order_by: &[&str],
    hashed: &[&str],
    buckets: u32,
    batches: impl Iterator<Item = Result<RecordBatch, arrow::error::ArrowError>>,
) {
    let mut batches = batches.map(Result::unwrap).peekable();
    let schema = batches.peek().expect("every table has rows").schema();
    let columns: Vec<(&str, &str)> = schema
        .fields()
        .iter()
        .map(|field| (field.name().as_str(), type_name(field.data_type())))
        .collect();
    let made = Made { name, columns: &columns, order_by, hashed, buckets };
    let table = cluster.create(&made).await;
    let mut held: Vec<RecordBatch> = Vec::new();
    let mut rows = 0;
    while let Some(batch) = batches.next() {
        rows += batch.num_rows();
        held.push(batch);
        if rows >= BLOCK_ROWS || batches.peek().is_none() {
            let block = arrow::compute::concat_batches(&schema, &held).unwrap();
            let columns: Vec<ArrayRef> = block.columns().to_vec();
            cluster.insert(table, columns).await;
            held.clear();
            rows = 0;
        }
    }
}

/// Makes and fills the eight tables at `scale`.
pub async fn load(cluster: &Cluster, scale: f64) {
    let region = RegionArrow::new(RegionGenerator::new(scale, 1, 1));
    fill(cluster, "region", &["r_regionkey"], &["r_regionkey"], 1, region).await;
    let nation = NationArrow::new(NationGenerator::new(scale, 1, 1));
    fill(cluster, "nation", &["n_nationkey"], &["n_nationkey"], 1, nation).await;
    let supplier = SupplierArrow::new(SupplierGenerator::new(scale, 1, 1));
    fill(cluster, "supplier", &["s_suppkey"], &["s_suppkey"], 4, supplier).await;
    let customer = CustomerArrow::new(CustomerGenerator::new(scale, 1, 1));
    fill(cluster, "customer", &["c_custkey"], &["c_custkey"], 4, customer).await;
    let part = PartArrow::new(PartGenerator::new(scale, 1, 1));
    fill(cluster, "part", &["p_partkey"], &["p_partkey"], 4, part).await;
    let partsupp = PartSuppArrow::new(PartSuppGenerator::new(scale, 1, 1));
    let key = &["ps_partkey", "ps_suppkey"];
    fill(cluster, "partsupp", key, &["ps_partkey"], 4, partsupp).await;
    let orders = OrderArrow::new(OrderGenerator::new(scale, 1, 1));
    fill(cluster, "orders", &["o_orderdate", "o_orderkey"], &["o_orderkey"], 8, orders).await;
    let lineitem = LineItemArrow::new(LineItemGenerator::new(scale, 1, 1));
    let key = &["l_shipdate", "l_orderkey"];
    fill(cluster, "lineitem", key, &["l_orderkey"], 8, lineitem).await;
}

/// The text of a query, 1 to 22.
pub fn query(number: usize) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/tpch/queries");
    let text = std::fs::read_to_string(format!("{folder}/q{number:02}.sql")).unwrap();
    text.trim().trim_end_matches(';').to_owned()
}
