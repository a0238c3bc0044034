//! TPC-H on plain DataFusion over the part files of a Granary data folder: what Granary's own
//! planner, scan and coordinator cost or save against the engine that it is built on.

mod tables;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use serde::Serialize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: granary-bench-datafusion --parts PARTS.json --columns COLUMNS.json \
     --data FOLDER --queries FOLDER [--threads N] [--hot N]";

/// What the command line says.
struct Options {
    /// Rows of `SELECT table, id FROM system.parts`, as JSON lines.
    parts: PathBuf,
    /// Rows of `SELECT table, name, position FROM system.columns`, as JSON lines.
    columns: PathBuf,
    /// The data folder of `granary server`, or of one worker.
    data: PathBuf,
    /// Holds `q01.sql` to `q22.sql`.
    queries: PathBuf,
    threads: usize,
    /// Runs of each query after the first.
    hot: usize,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Outcome<Options> {
        let (mut parts, mut columns, mut data, mut queries) = (None, None, None, None);
        let (mut threads, mut hot) = (2, 4);
        while let Some(word) = words.next() {
            let value = words.next().ok_or(USAGE)?;
            match word.as_str() {
                "--parts" => parts = Some(PathBuf::from(value)),
                "--columns" => columns = Some(PathBuf::from(value)),
                "--data" => data = Some(PathBuf::from(value)),
                "--queries" => queries = Some(PathBuf::from(value)),
                "--threads" => threads = value.parse()?,
                "--hot" => hot = value.parse()?,
                _ => return Err(USAGE.into()),
            }
        }
        Ok(Options {
            parts: parts.ok_or(USAGE)?,
            columns: columns.ok_or(USAGE)?,
            data: data.ok_or(USAGE)?,
            queries: queries.ok_or(USAGE)?,
            threads,
            hot,
        })
    }
}

/// One line of the output.
#[derive(Serialize)]
struct Measured {
    query: String,
    rows: usize,
    first_ms: f64,
    hot_best_ms: f64,
    hot_median_ms: f64,
    /// User and system time of this process during the hot runs, for each run.
    hot_cpu_s: f64,
}

fn main() -> Outcome<()> {
    let options = Options::read(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.threads)
        .enable_all()
        .build()?;
    runtime.block_on(measure(&options))
}

async fn measure(options: &Options) -> Outcome<()> {
    let config = SessionConfig::new().with_target_partitions(options.threads);
    let context = SessionContext::new_with_config(config);
    tables::register(&context, &options.parts, &options.columns, &options.data).await?;
    let mut best = Vec::new();
    for number in 1..=22 {
        let name = format!("q{number:02}");
        let path = options.queries.join(format!("{name}.sql"));
        let measured = one_query(&context, name, &path, options.hot).await?;
        println!("{}", serde_json::to_string(&measured)?);
        best.push(measured.hot_best_ms);
    }
    let mean = (best.iter().map(|ms| ms.ln()).sum::<f64>() / best.len() as f64).exp();
    println!("{}", serde_json::json!({ "geometric_mean_hot_best_ms": mean }));
    Ok(())
}

async fn one_query(
    context: &SessionContext,
    query: String,
    path: &Path,
    hot: usize,
) -> Outcome<Measured> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let text = text.trim().trim_end_matches(';').to_owned();
    let (first_ms, rows) = run(context, &text).await.map_err(|e| format!("{query}: {e}"))?;
    let before_s = cpu_s()?;
    let mut times = Vec::with_capacity(hot);
    for _ in 0..hot {
        times.push(run(context, &text).await?.0);
    }
    let hot_cpu_s = (cpu_s()? - before_s) / hot.max(1) as f64;
    times.sort_by(f64::total_cmp);
    let hot_best_ms = times.first().copied().unwrap_or(first_ms);
    let hot_median_ms = times.get(times.len() / 2).copied().unwrap_or(first_ms);
    Ok(Measured { query, rows, first_ms, hot_best_ms, hot_median_ms, hot_cpu_s })
}

/// Plans and runs a query; all its rows are fetched. Gives milliseconds and rows.
async fn run(context: &SessionContext, text: &str) -> Outcome<(f64, usize)> {
    let started = Instant::now();
    let mut batches = context.sql(text).await?.execute_stream().await?;
    let mut rows = 0;
    while let Some(batch) = batches.try_next().await? {
        rows += batch.num_rows();
    }
    Ok((started.elapsed().as_secs_f64() * 1e3, rows))
}

/// User and system time of this process, in seconds.
fn cpu_s() -> Outcome<f64> {
    /// Of the kernel's interface to processes; the same on every architecture that we run on.
    const TICKS_PER_S: f64 = 100.0;
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in brackets, may hold blanks; user and system time are the 14th
    // and 15th field of the line.
    let fields = text.rsplit_once(')').ok_or("/proc/self/stat is malformed")?.1;
    let ticks: Vec<f64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_S)
}
