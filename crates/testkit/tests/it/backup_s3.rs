//! BACKUP to a real S3 server, a process of its own, and RESTORE from it into an empty cluster.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use granary_testkit::{Mode, TestCluster, TestResult, paths};

use super::backup::{TABLES, seen};

/// Times that a server that starts is asked, a tenth of a second apart.
const ASKED_MAX: usize = 900;

/// An S3 server with an empty bucket, which ends with the test.
struct Store {
    process: Child,
    address: String,
}

impl Drop for Store {
    fn drop(&mut self) {
        // It keeps nothing that has to be saved.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Store {
    fn start() -> TestResult<Store> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = Command::new(paths::in_repository("scripts/stores"))
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut store = Store { process, address: format!("127.0.0.1:{port}") };
        for _ in 0..ASKED_MAX {
            if store.ask("PUT", "/lake").is_ok() {
                return Ok(store);
            }
            if let Some(status) = store.process.try_wait()? {
                return Err(format!("the S3 server has ended: {status}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("the S3 server does not answer".into())
    }

    /// The body of the answer. The server takes requests that nobody signed, too.
    fn ask(&self, method: &str, path: &str) -> TestResult<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let host = &self.address;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        match answer.starts_with("HTTP/1.1 200") {
            true => Ok(answer),
            false => Err(format!("{method} {path}: {answer}").into()),
        }
    }

    fn objects(&self, prefix: &str) -> TestResult<usize> {
        let listed = self.ask("GET", &format!("/lake?list-type=2&prefix={prefix}"))?;
        Ok(listed.matches("<Key>").count())
    }

    async fn cluster(&self, mode: Mode) -> TestResult<TestCluster> {
        let endpoint = format!("http://{}", self.address);
        TestCluster::start_with(mode, |spec| {
            for (name, value) in [
                ("AWS_ENDPOINT", endpoint.as_str()),
                ("AWS_ALLOW_HTTP", "true"),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "the-id"),
                ("AWS_SECRET_ACCESS_KEY", "the-secret"),
            ] {
                spec.environment.push((name.to_owned(), value.to_owned()));
            }
        })
        .await
    }
}

async fn check(mode: Mode) -> TestResult {
    let store = Store::start()?;
    let cluster = store.cluster(mode).await?;
    let mut client = cluster.client(0).await?;
    for sql in TABLES {
        client.update(sql).await.map_err(|error| format!("{sql}: {error}"))?;
    }
    client.update("SYSTEM STOP MERGES").await?;
    client.update("BACKUP ALL TO S3('s3://lake/full')").await?;
    let full = store.objects("full/")?;
    assert!(full > 4, "{full}");
    client.update("INSERT INTO shop.latest VALUES (1, 'newer'), (9999, 'new')").await?;
    client
        .update("BACKUP ALL TO 's3://lake/next' SETTINGS base_backup = S3('s3://lake/full')")
        .await?;
    let next = store.objects("next/")?;
    assert!(next < full, "{next} objects of {full} are what is new");
    let before = seen(&mut client).await?;
    drop(client);
    drop(cluster);

    // Nothing of the first cluster is left but what the server has.
    let other = store.cluster(mode).await?;
    let mut client = other.client(0).await?;
    client.update("RESTORE ALL FROM S3('s3://lake/next')").await?;
    assert!(seen(&mut client).await? == before);
    assert_eq!(client.value("SELECT v FROM shop.latest WHERE k = 1").await?, "newer");
    client.update("DROP DATABASE shop").await?;
    client.update("RESTORE TABLE shop.latest AS default.earlier FROM 's3://lake/full'").await?;
    let earlier = client.value("SELECT count(*) FROM earlier WHERE v NOT LIKE 'new%'").await?;
    assert_eq!(earlier, "400");
    let error = client.update("RESTORE ALL FROM 's3://lake/nothing'").await.err();
    assert!(error.is_some(), "there is no backup");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_s3_embedded() -> TestResult {
    check(Mode::Embedded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_s3_cluster() -> TestResult {
    check(Mode::Cluster).await
}
