//! A real S3 server, a process of its own, for tests of what is kept in object stores.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use granary::cluster::ClusterSpec;
use granary_testkit::{TestResult, paths};

/// Times that a server that starts is asked, a tenth of a second apart.
const ASKED_MAX: usize = 900;

/// An S3 server with an empty bucket, which ends with the test.
pub struct Store {
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
    pub fn start() -> TestResult<Store> {
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

    /// How many objects of the bucket `lake` have names that begin with `prefix`.
    pub fn objects(&self, prefix: &str) -> TestResult<usize> {
        let listed = self.ask("GET", &format!("/lake?list-type=2&prefix={prefix}"))?;
        Ok(listed.matches("<Key>").count())
    }

    /// How many of them are files of deletions.
    pub fn deletion_files(&self, prefix: &str) -> TestResult<usize> {
        let listed = self.ask("GET", &format!("/lake?list-type=2&prefix={prefix}"))?;
        Ok(listed.split("<Key>").filter(|key| is_deletion_file(key)).count())
    }

    /// Has a cluster's processes find the server.
    pub fn configure(&self, spec: &mut ClusterSpec) {
        let endpoint = format!("http://{}", self.address);
        for (name, value) in [
            ("AWS_ENDPOINT", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "the-id"),
            ("AWS_SECRET_ACCESS_KEY", "the-secret"),
        ] {
            spec.environment.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// Whether the listing's `key`, with what follows, is the name of a file of deletions.
fn is_deletion_file(key: &str) -> bool {
    let name = key.split("</Key>").next().and_then(|path| path.rsplit('/').next());
    name.is_some_and(|name| name.starts_with("deletions-"))
}
