//! A catalog under test: a state, commands, and one `check` that every case goes through.
#![allow(dead_code)] // Each test binary uses its part.

use std::collections::BTreeMap;

use granary_catalog::*;
use granary_common::{
    BucketIndex, CatalogVersion, ClusterId, ColumnId, DatabaseId, Epoch, ErrorKind, PartId, Result,
    TableId, WorkerId,
};

pub const DEFAULT_DATABASE: DatabaseId = DatabaseId(1);

/// Applies commands to a state of its own; every version is one command, refused ones included.
pub struct Bench {
    pub state: Snapshot,
    pub time_ms: u64,
}

impl Bench {
    /// A cluster with `workers` workers, each with part ids `1000 * worker..1000 * worker + 1000`
    /// as near as leases give them.
    pub fn with_workers(workers: u64) -> Self {
        let mut bench = Self { state: Snapshot::default(), time_ms: 1_000_000 };
        bench.done(CommandBody::InitCluster { cluster: ClusterId("c".into()) });
        for worker in 1..=workers {
            bench.done(register(&format!("w{worker}")));
            bench.done(lease(worker, 1, 1000));
        }
        bench
    }

    pub fn run(&mut self, body: CommandBody) -> Result<Outcome> {
        let version = CatalogVersion(self.state.version.0 + 1);
        let command = Command { time_ms: self.time_ms, body };
        let result = apply(&self.state, version, &command);
        self.state.version = version;
        let transition = result?;
        self.state = transition.next;
        Ok(transition.outcome)
    }

    #[track_caller]
    pub fn done(&mut self, body: CommandBody) -> Outcome {
        self.run(body).expect("accepted")
    }

    /// The command is refused with `kind` and changes nothing.
    #[track_caller]
    pub fn refused(&mut self, body: CommandBody, kind: ErrorKind) {
        let before = dump(&self.state);
        let error = self.run(body.clone()).expect_err("refused");
        assert_eq!(error.kind(), kind, "{error} for {body:?}");
        assert_eq!(dump(&self.state), before, "a refused command changed the state");
    }

    #[track_caller]
    pub fn table(&mut self, name: &str, buckets: u32) -> TableId {
        let settings = [("history_retention_seconds".to_owned(), "0".to_owned())].into();
        let table = NewTable { buckets: Some(buckets), settings, ..new_table(name) };
        match self.done(CommandBody::CreateTable { table, if_not_exists: false }) {
            Outcome::TableCreated(id) => id,
            other => panic!("not a table: {other:?}"),
        }
    }

    #[track_caller]
    pub fn inserted(&mut self, commit: CommitWrite) -> InsertReceipt {
        match self.done(CommandBody::CommitWrite(commit)) {
            Outcome::Inserted(receipt) => receipt,
            other => panic!("not a receipt: {other:?}"),
        }
    }

    /// Nobody reads below `horizon`. What is refused from then on goes with the second command.
    #[track_caller]
    pub fn forget(&mut self, horizon: CatalogVersion) {
        for _ in 0..2 {
            self.done(CommandBody::AdvanceHorizon { horizon });
        }
    }

    pub fn visible(&self, table: TableId) -> Vec<u64> {
        let state = &self.state.tables[&table];
        state.visible_parts(self.state.version).map(|part| part.id.0).collect()
    }

    /// A write to bucket 0 as a writer would prepare it now.
    pub fn write(&self, table: TableId, parts: &[u64]) -> TableWrite {
        let state = &self.state.tables[&table];
        let bucket = &state.buckets[&BucketIndex(0)];
        // A leader that is not in sync yet writes as well.
        let mut copies = vec![bucket.leader];
        copies.extend(bucket.in_sync.iter().filter(|worker| **worker != bucket.leader));
        let location = PartLocation::Local { copies: copies.clone(), disk: None };
        let part =
            |id: &u64| NewPart { location: location.clone(), ..new_part(*id, bucket.leader) };
        let parts = parts.iter().map(part).collect();
        TableWrite {
            table,
            schema_version: state.table.schema_version,
            view_set_version: state.table.view_set_version,
            data_version: state.table.data_version,
            buckets: vec![BucketWrite {
                bucket: BucketIndex(0),
                epoch: bucket.epoch,
                in_sync_version: bucket.in_sync_version,
                synced: copies,
                parts,
                deletions: Vec::new(),
                removed: Vec::new(),
                upsert_version: None,
            }],
            overwrite: None,
        }
    }

    pub fn commit(&self, table: TableId, token: &str, parts: &[u64]) -> CommitWrite {
        CommitWrite {
            tables: vec![self.write(table, parts)],
            staged: None,
            token: token.to_owned(),
            digest: format!("digest of {token}"),
            rows: 10 * parts.len() as u64,
            others: Vec::new(),
            origin: WriteOrigin::Insert,
        }
    }
}

/// The rows of a state, which say everything about it but its version.
pub fn dump(state: &Snapshot) -> Vec<String> {
    state.rows().iter().map(|row| format!("{row:?}")).collect()
}

pub fn register(identity: &str) -> CommandBody {
    CommandBody::RegisterWorker {
        identity: identity.to_owned(),
        address: format!("{identity}:7422"),
        zone: String::new(),
        software_version: "0.1.0".to_owned(),
    }
}

pub fn lease(worker: u64, incarnation: u64, count: u64) -> CommandBody {
    CommandBody::LeasePartIds { worker: WorkerId(worker), incarnation, count }
}

pub fn new_part(id: u64, worker: WorkerId) -> NewPart {
    NewPart {
        id: PartId(id),
        partition: PartitionValue::default(),
        rows: 10,
        bytes: 100,
        key_range: None,
        location: PartLocation::Local { copies: vec![worker], disk: None },
        projections: Vec::new(),
    }
}

pub fn new_table(name: &str) -> NewTable {
    let column = Column::new(ColumnId(0), "id", ColumnType::Int64);
    NewTable {
        database: DEFAULT_DATABASE,
        name: name.to_owned(),
        engine: TableEngine { kind: EngineKind::MergeTree, arguments: Vec::new() },
        columns: vec![column],
        order_by: vec![KeyExpression { text: "id".to_owned(), column: ColumnId(0) }],
        primary_key_len: 1,
        partition_by: Vec::new(),
        distribution: Distribution::Hash(vec![ColumnId(0)]),
        buckets: None,
        colocation_group: None,
        settings: BTreeMap::new(),
        comment: None,
        unique_key: Vec::new(),
        options: Default::default(),
    }
}

pub fn epoch(epoch: u64) -> Epoch {
    Epoch(epoch)
}
