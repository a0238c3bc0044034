//! Processes that cannot start, or that run out of disk: each says why, and nothing else is harmed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use granary::cluster::{ProcessHandle, free_ports};
use granary_testkit::{Mode, TestCluster, TestResult, bulk, paths};

/// Runs `granary server` on `data_dir` until it ends by itself, which it must within 30 s.
fn run_server(data_dir: &Path, grpc: u16) -> TestResult<Output> {
    let [http, internal] = free_ports::<2>()?;
    let mut command = server_command()?;
    command.arg("--data-dir").arg(data_dir);
    for (flag, port) in [("grpc", grpc), ("http", http), ("internal", internal)] {
        command.arg(format!("--{flag}-listen")).arg(format!("127.0.0.1:{port}"));
    }
    Ok(command.output()?)
}

/// `granary server`, killed after 30 s, without the settings that this process may have been given.
fn server_command() -> TestResult<Command> {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "30"]).arg(paths::granary_binary()?).arg("server");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GRANARY_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    Ok(command)
}

/// The process ended by itself, with an error of `words` and without a panic.
fn check_refused(output: &Output, words: &[&str]) {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.code().is_some_and(|code| code != 0), "{}: {text}", output.status);
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_do_not_share_a_data_folder() -> TestResult {
    let cluster = TestCluster::start(Mode::Embedded).await?;
    let data_dir = cluster.cluster.coordinators[0].spec().data_dir.clone();
    let [grpc] = free_ports::<1>()?;
    let second = run_server(&data_dir, grpc)?;
    check_refused(&second, &["another", &data_dir.display().to_string()]);
    assert_eq!(cluster.client(0).await?.value("SELECT 1").await?, "1");
    Ok(())
}

/// Each role's process holds its folder: what another one spills or writes there would be lost.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_of_a_role_do_not_share_a_data_folder() -> TestResult {
    let cluster = TestCluster::start(Mode::Cluster).await?;
    let processes = [&cluster.cluster.coordinators[0], &cluster.cluster.workers[0]];
    for process in processes {
        let spec = process.spec();
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", "30"]).arg(&spec.binary);
        // Its own ports, so that nothing but the folder is in the way.
        let mut is_address = false;
        for argument in &spec.arguments {
            command.arg(if is_address { "127.0.0.1:0" } else { argument });
            is_address = argument.ends_with("-listen");
        }
        let environment = spec.environment.iter().map(|(name, value)| (name, value));
        let output = command.envs(environment).stdin(Stdio::null()).output()?;
        check_refused(&output, &["another", &spec.data_dir.display().to_string()]);
    }
    assert_eq!(cluster.client(0).await?.value("SELECT 1").await?, "1");
    Ok(())
}

/// Ends `process` and has somebody else take each of its ports in turn: it says which one and by which
/// setting it can be another, ends, and serves on its folder once the port is free.
async fn check_ports_in_use(process: &mut ProcessHandle) -> TestResult {
    let listeners = ["grpc", "http", "internal", "raft"];
    let address = |name: &str| process.address(name).map(|at| (name.to_owned(), at.to_owned()));
    let addresses: Vec<_> = listeners.into_iter().filter_map(address).collect();
    assert!(addresses.len() >= 2, "{addresses:?}");
    process.kill()?;
    for (name, address) in addresses {
        let taken = TcpListener::bind(&address)?;
        process.respawn()?;
        let status = process.wait_exit(Duration::from_secs(60)).await?;
        let log = process.log_since_start();
        let code = status.and_then(|status| status.code());
        assert!(
            code.is_some_and(|code| code != 0),
            "{}, {name}: {status:?}: {log}",
            process.name()
        );
        for word in ["UNAVAILABLE", "in use", &address, &format!("({name}_listen)")] {
            assert!(log.contains(word), "no {word:?} in {log}");
        }
        assert!(!log.contains("panicked"), "{log}");
        drop(taken);
    }
    process.respawn()?;
    process.wait_ready().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_and_harms_nothing() -> TestResult {
    for mode in Mode::ALL {
        let mut cluster = TestCluster::start(mode).await?;
        let mut client = cluster.client(1).await?;
        client.update("CREATE TABLE t (id Int64) ENGINE = MergeTree ORDER BY id").await?;
        client.update("INSERT INTO t SELECT number FROM numbers(1000)").await?;
        drop(client);
        let all = &mut cluster.cluster;
        let groups = [&mut all.metadata, &mut all.workers, &mut all.coordinators];
        for process in groups.into_iter().filter_map(|group| group.first_mut()) {
            check_ports_in_use(process).await?;
        }
        for place in 0..2 {
            let mut client = cluster.client(place).await?;
            assert_eq!(client.lines("SELECT count(*), sum(id) FROM t").await?, ["1000\t499500"]);
            client.update("INSERT INTO t VALUES (0)").await?;
            client.update("DELETE FROM t WHERE id = 0").await?;
            client.update("INSERT INTO t VALUES (0)").await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_settings_are_refused() -> TestResult {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("granary.toml");
    std::fs::write(&file, "grpc_listn = \"127.0.0.1:1\"\n")?;
    let output = server_command()?.arg("--config").arg(&file).output()?;
    check_refused(&output, &["grpc_listn"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_of_a_newer_format_is_refused() -> TestResult {
    let mut cluster = TestCluster::start(Mode::Embedded).await?;
    let mut client = cluster.client(0).await?;
    client.update("CREATE TABLE t (id Int64) ENGINE = MergeTree ORDER BY id").await?;
    let server = &mut cluster.cluster.coordinators[0];
    server.kill()?;
    let data_dir = server.spec().data_dir.clone();
    let marked = format_files(&data_dir)?;
    assert!(!marked.is_empty(), "no file of {} says its format", data_dir.display());
    let originals: Vec<(PathBuf, String)> =
        marked.iter().map(|(path, text, _)| (path.clone(), text.clone())).collect();
    for (path, _, newer) in &marked {
        std::fs::write(path, newer)?;
    }
    let [grpc] = free_ports::<1>()?;
    check_refused(&run_server(&data_dir, grpc)?, &["format", "newer"]);
    // The folder was not touched: with its own format it serves again.
    for (path, text) in originals {
        std::fs::write(path, text)?;
    }
    let server = &mut cluster.cluster.coordinators[0];
    server.respawn()?;
    server.wait_ready().await?;
    assert_eq!(cluster.client(0).await?.value("SELECT count(*) FROM t").await?, "0");
    Ok(())
}

/// The files that hold the format of a data folder, each with its text and that of a far newer one.
fn format_files(folder: &Path) -> TestResult<Vec<(PathBuf, String, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(format_files(&path)?);
        } else if path.ends_with("format") {
            let text = std::fs::read_to_string(&path)?;
            found.push((path, text, "999".to_owned()));
        }
    }
    Ok(found)
}

/// A program that runs `granary` with the data folder of a worker on a file system of `size_mib`.
/// The mount is private to the process, and goes with it. `None` where the machine allows none.
fn with_small_disk(folder: &Path, size_mib: u32) -> TestResult<Option<PathBuf>> {
    let binary = paths::granary_binary()?;
    let unshare = ["unshare --mount", "unshare --map-root-user --mount"].into_iter().find(|way| {
        let trial = format!("{way} mount -t tmpfs tmpfs /mnt");
        let trial = Command::new("sh").args(["-c", &trial]).stderr(Stdio::null()).status();
        trial.is_ok_and(|status| status.success())
    });
    let Some(unshare) = unshare else { return Ok(None) };
    // $1 is the role, $3 the value of --data-dir.
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = worker ] || exec '{binary}' \"$@\"\nmkdir -p \"$3\"\n\
         exec {unshare} sh -c 'mount -t tmpfs -o size={size_mib}m tmpfs \"$3\" && \
         exec \"$0\" \"$@\"' '{binary}' \"$@\"\n",
        binary = binary.display()
    );
    let path = folder.join("granary-on-a-small-disk");
    std::fs::write(&path, script)?;
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(Some(path))
}

/// About 4 MiB that do not compress.
fn noise(seed: u64) -> TestResult<RecordBatch> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let rows = 32_768;
    let ids = Int64Array::from_iter_values((0..rows).map(|_| next() as i64));
    let texts: Vec<String> =
        (0..rows).map(|_| (0..7).map(|_| format!("{:016x}", next())).collect::<String>()).collect();
    Ok(RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as ArrayRef),
        ("text", Arc::new(StringArray::from(texts)) as ArrayRef),
    ])?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_harms_nothing() -> TestResult {
    let folder = tempfile::tempdir()?;
    let Some(binary) = with_small_disk(folder.path(), 64)? else {
        println!("skipped: this machine lets nobody mount a small file system");
        return Ok(());
    };
    let mut cluster = TestCluster::start_with(Mode::Cluster, |spec| {
        spec.binary = binary;
        (spec.metadata, spec.coordinators, spec.workers) = (1, 1, 1);
    })
    .await?;
    let (mut client, url) = (cluster.client(0).await?, cluster.url(0)?);
    let table = "(id Int64, text String) ENGINE = MergeTree ORDER BY id";
    client.update(&format!("CREATE TABLE full {table}")).await?;
    client.update(&format!("CREATE TABLE small {table}")).await?;
    client.update("INSERT INTO small VALUES (1, 'one')").await?;

    let mut rows = 0;
    let mut refusal = None;
    for seed in 1..=40 {
        match bulk::insert(&url, bulk::header("full", ""), &[noise(seed)?]).await {
            Ok(receipt) => rows += receipt.rows,
            Err(error) => {
                refusal = Some(error.to_string());
                break;
            }
        }
    }
    let refusal = refusal.ok_or("160 MiB went onto a disk of 64 MiB")?;
    assert!(refusal.to_lowercase().contains("space"), "{refusal}");
    assert!(rows > 0, "nothing fitted at all: {refusal}");

    assert_eq!(client.value("SELECT count(*) FROM full").await?, rows.to_string());
    assert_eq!(client.lines("SELECT id, text FROM small").await?, ["1\tone"]);
    tokio::time::sleep(Duration::from_millis(200)).await;
    for process in cluster.cluster.processes_mut() {
        assert!(process.exit_status()?.is_none(), "{} has ended", process.name());
    }
    Ok(())
}
