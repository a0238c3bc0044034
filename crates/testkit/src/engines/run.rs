//! Random operations on a table and on its model.

use std::time::Duration;

use granary_common::Random;
use granary_common::random::SeededRandom;

use super::model::Row;
use super::{EngineUnderTest, Model};
use crate::{SqlClient, TestCluster, TestResult};

/// Keys are few, so that operations meet.
const KEYS: u64 = 40;
/// About 30 s for an election on a busy machine.
const WRITE_ATTEMPTS: u32 = 150;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(200);
/// Rows of an insert at most.
const ROWS_MAX: u64 = 30;

/// How long and how rough a run is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub steps: usize,
    /// One of so many steps kills a process and starts it again; 0: none does.
    pub kill_every: u64,
}

/// Runs `plan` on a table of `engine`, through every coordinator in turn, and compares the table
/// with the model after each step.
///
/// Fails with the seed, the step and both contents.
pub async fn run(cluster: &mut TestCluster, engine: EngineUnderTest, plan: Plan) -> TestResult {
    let random = SeededRandom::new(plan.seed);
    let mut model = Model::new(engine);
    let mut clients = connect(cluster).await?;
    clients[0].update(&engine.create()).await?;
    for step in 0..plan.steps {
        let at = step % clients.len();
        let done = if plan.kill_every > 0 && below(&random, plan.kill_every) == 0 {
            kill_one(cluster, &random).await?;
            clients = connect(cluster).await?;
            "kill".to_owned()
        } else {
            one_step(&mut clients[at], engine, &mut model, &random).await?
        };
        let wanted = model.lines();
        for query in engine.queries() {
            let got = clients[at].lines(&query).await?;
            if got != wanted {
                return Err(format!(
                    "{engine:?}, seed {}, step {step} ({done}), {query}: {} rows instead of {}: {}",
                    plan.seed,
                    got.len(),
                    wanted.len(),
                    first_difference(&got, &wanted)
                )
                .into());
            }
        }
    }
    Ok(())
}

async fn one_step(
    client: &mut SqlClient,
    engine: EngineUnderTest,
    model: &mut Model,
    random: &SeededRandom,
) -> TestResult<String> {
    let table = engine.table();
    let key = below(random, KEYS) as i64;
    let sql = match below(random, 20) {
        0 => format!("OPTIMIZE TABLE {table}"),
        1 => format!("OPTIMIZE TABLE {table} FINAL"),
        2 => {
            model.delete(7, key % 7);
            format!("DELETE FROM {table} WHERE k % 7 = {}", key % 7)
        }
        3 => {
            model.delete(KEYS as i64, key);
            format!("ALTER TABLE {table} DELETE WHERE k = {key}")
        }
        4 | 5 if model.update(key, 1_000 + key) => {
            format!("UPDATE {table} SET v = {} WHERE k = {key}", 1_000 + key)
        }
        _ => insert(engine, model, random),
    };
    client.update(&sql).await.map_err(|error| format!("{sql}: {error}"))?;
    Ok(sql)
}

/// An insert of a few rows; a key at most once, since some engines take the last of a statement.
fn insert(engine: EngineUnderTest, model: &mut Model, random: &SeededRandom) -> String {
    let rows = 1 + below(random, ROWS_MAX);
    let first = below(random, KEYS);
    let mut values: Vec<Row> = Vec::new();
    for row in 0..rows {
        let key = ((first + row) % KEYS) as i64;
        let value = below(random, 12) as i64;
        values.extend(model.insert(key, (value > 1).then_some(value - 6)));
    }
    engine.insert(&values)
}

async fn kill_one(cluster: &mut TestCluster, random: &SeededRandom) -> TestResult {
    let count = cluster.cluster.processes_mut().count() as u64;
    let place = below(random, count) as usize;
    let victim = cluster.cluster.processes_mut().nth(place).ok_or("no process")?;
    victim.kill()?;
    victim.respawn()?;
    victim.wait_ready().await?;
    wait_for_writes(cluster).await
}

/// Waits until the catalog takes changes again: a metadata leader may have been killed.
async fn wait_for_writes(cluster: &TestCluster) -> TestResult {
    let mut last = String::new();
    for _ in 0..WRITE_ATTEMPTS {
        match cluster.client(0).await?.update("CREATE DATABASE IF NOT EXISTS probe").await {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
    Err(format!("no write after a restart: {last}").into())
}

async fn connect(cluster: &TestCluster) -> TestResult<Vec<SqlClient>> {
    let mut clients = Vec::new();
    for place in 0..cluster.cluster.urls().len() {
        clients.push(cluster.client(place).await?);
    }
    Ok(clients)
}

fn below(random: &SeededRandom, limit: u64) -> u64 {
    random.next_u64() % limit
}

fn first_difference(got: &[String], wanted: &[String]) -> String {
    let place = got.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    format!("row {place} is {:?} and not {:?}", got.get(place), wanted.get(place))
}
