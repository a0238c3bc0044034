#![allow(clippy::all, clippy::disallowed_methods)]
use std::sync::Arc;
use std::time::Instant;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::TryStreamExt;
use granary_catalog::{ColumnType, Scalar};
use granary_common::*;
use granary_storage::*;
use std::sync::atomic::*;
use tpchgen_arrow::LineItemArrow;

struct Ids(AtomicU64);
#[async_trait]
impl PartIds for Ids { async fn next(&self) -> Result<PartId> { Ok(PartId(self.0.fetch_add(1, Ordering::SeqCst))) } }

#[tokio::main(worker_threads = 2)]
async fn main() {
    let types = ["Int64","Int64","Int64","Int32","Decimal(15,2)","Decimal(15,2)","Decimal(15,2)","Decimal(15,2)","String","String","Date","Date","Date","String","String","String"];
    let key: Vec<u32> = std::env::args().nth(1).unwrap_or("0,3".into()).split(',').map(|x| x.parse().unwrap()).collect();
    let schema = PartSchema { table: TableId(1), schema_version: 1,
        columns: types.iter().enumerate().map(|(i,t)| PartColumn { id: ColumnId(i as u32), name: format!("c{i}x"), column_type: t.parse::<ColumnType>().unwrap() }).collect(),
        sort_key: key.iter().map(|x| ColumnId(*x)).collect(), primary_key_len: key.len(), partition: vec![], granularity: 8192 };
    let dir = std::env::temp_dir().join("granary-perf"); let _ = std::fs::remove_dir_all(&dir);
    let volume = Arc::new(Volume::open("v", VolumeKind::Local { worker: WorkerId(1) }, dir.to_str().unwrap()).unwrap());
    let ids = Ids(AtomicU64::new(1));
    let t = Instant::now();
    let mut blocks = vec![]; let mut acc = vec![]; let mut n = 0;
    for b in LineItemArrow::new(tpchgen::generators::LineItemGenerator::new(1.0, 1, 1)) { let b = b.unwrap(); n += b.num_rows(); acc.push(b);
        if n >= 1_000_000 { blocks.push(arrow::compute::concat_batches(&acc[0].schema(), &acc).unwrap()); acc.clear(); n = 0; } }
    if n > 0 { blocks.push(arrow::compute::concat_batches(&acc[0].schema(), &acc).unwrap()); }
    println!("generated {:?} blocks {}", t.elapsed(), blocks.len());
    let blocks: Vec<_> = blocks.into_iter().map(|b| RecordBatch::try_new(schema.arrow_schema(), b.columns().to_vec()).unwrap()).collect();
    let t = Instant::now();
    let mut parts = vec![];
    for b in blocks { parts.extend(write_block(&volume, volume.part_location(), &schema, &ids, b, &WriteOptions::default()).await.unwrap()); }
    println!("written {:?} bytes {} MB", t.elapsed(), parts.iter().map(|p| p.bytes).sum::<u64>() / 1000000);
    let store = PartStore::new(Volumes::new([volume.clone()]), PartStoreOptions::default());
    let refs: Vec<_> = parts.iter().map(|p| PartRef { id: p.id, table: schema.table, location: p.location.clone(), rows: p.rows, bytes: p.bytes, schema_version: 1 }).collect();
    let t = Instant::now();
    let mut open = vec![]; for r in &refs { open.push(store.open(r).await.unwrap()); }
    println!("open {:?}", t.elapsed());
    let schema = Arc::new(schema);
    let all: Vec<u32> = (0..16).collect();
    let f = |c: u32, op, v| Filter::Compare { column: ColumnId(c), op, value: v };
    let q6 = Filter::And(vec![f(10, CompareOp::GtEq, Scalar::Int(8766)), f(10, CompareOp::Lt, Scalar::Int(9131)), f(6, CompareOp::GtEq, Scalar::Wide(5)), f(6, CompareOp::LtEq, Scalar::Wide(7)), f(4, CompareOp::Lt, Scalar::Wide(2400))]);
    let cases: Vec<(&str, Vec<u32>, Option<Filter>)> = vec![("all", all, None), ("q1", vec![4,5,6,7,8,9,10], Some(f(10, CompareOp::LtEq, Scalar::Int(10471)))), ("q1nofilter", vec![4,5,6,7,8,9], None), ("q6", vec![5,6], Some(q6)), ("comment", vec![15], None), ("orderkey", vec![0], None), ("price", vec![5], None), ("like", vec![0], Some(Filter::Like{column: ColumnId(15), pattern: "%special%requests%".into(), negated: false, case_insensitive: false}))];
    for (name, cols, filter) in cases {
        for _ in 0..3 {
            let t = Instant::now();
            let next = Arc::new(AtomicUsize::new(0));
            let mut hs = vec![];
            for _ in 0..2 {
                let (next, open, schema, cols, filter) = (next.clone(), open.clone(), schema.clone(), cols.clone(), filter.clone());
                hs.push(tokio::spawn(async move {
                    let mut rows = 0; let mut batches = 0;
                    loop { let i = next.fetch_add(1, Ordering::SeqCst); if i >= open.len() { break; }
                        let pruned = filter.as_ref().map(|f| open[i].prune(f));
                        let mut s = open[i].scan(schema.clone(), PartScan { columns: cols.iter().map(|c| ColumnId(*c)).collect(), filter: filter.clone(), ordered: false, rows: pruned.map(|p| p.ranges), batch_rows: 8192, limit: None });
                        while let Some(b) = s.try_next().await.unwrap() { rows += b.num_rows(); batches += 1; } }
                    (rows, batches) }));
            }
            let mut r = (0,0); for h in hs { let x = h.await.unwrap(); r.0 += x.0; r.1 += x.1; }
            println!("{name}: {:?} rows {} batches {}", t.elapsed(), r.0, r.1);
        }
    }
    let t = Instant::now();
    let mut s = open[0].scan(schema.clone(), PartScan { columns: vec![ColumnId(0), ColumnId(15)], filter: None, ordered: true, rows: None, batch_rows: 8192, limit: Some(10) });
    while let Some(b) = s.try_next().await.unwrap() { let _ = b; }
    println!("limit 10 {:?}", t.elapsed());
    let t = Instant::now();
    let p = open[0].prune(&f(0, CompareOp::Eq, Scalar::Int(1000)));
    let mut s = open[0].scan(schema.clone(), PartScan { columns: (0..16).map(ColumnId).collect(), filter: Some(f(0, CompareOp::Eq, Scalar::Int(1000))), ordered: true, rows: Some(p.ranges), batch_rows: 8192, limit: None });
    while let Some(b) = s.try_next().await.unwrap() { let _ = b; }
    println!("point {:?}", t.elapsed());
}
