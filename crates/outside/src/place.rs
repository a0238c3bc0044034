//! Where files are, and the stores that reach them.

use std::fmt;
use std::path::{Path as FolderPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use granary_common::{Error, Result};
use object_store::aws::AmazonS3Builder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use serde::{Deserialize, Serialize};
use url::Url;

/// How long a connection may take to be made.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a request that failed is tried again.
const RETRY_TIME_MAX: Duration = Duration::from_secs(20);
const RETRIES_MAX: usize = 3;

/// What stands in messages where something secret was.
const HIDDEN: &str = "[HIDDEN]";

/// Where files are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A folder of this machine, by its real path.
    Folder(PathBuf),
    /// A bucket that speaks S3.
    Bucket {
        name: String,
        /// The server's URL; `None`: AWS, or what the environment says.
        endpoint: Option<String>,
        region: Option<String>,
        access: Access,
    },
    /// A store of another cloud by the URL of its bucket; credentials come from the environment.
    Cloud { url: String },
    /// A web server, `http://host:port`.
    Web {
        origin: String,
        /// Of every request; may be secret.
        query: Option<String>,
    },
}

/// With what a bucket is asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// What the environment of the process says.
    Environment,
    /// Requests are not signed.
    Nobody,
    Keys {
        id: String,
        secret: String,
        token: Option<String>,
    },
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown(""))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Environment => "environment",
            Access::Nobody => "unsigned",
            Access::Keys { .. } => HIDDEN,
        })
    }
}

impl Place {
    /// The folder at `folder`, and the pattern below it that `path` is: relative to it, or absolute
    /// within it.
    ///
    /// # Errors
    /// Unavailable when there is no such folder; PermissionDenied for paths that lead out of it.
    pub fn folder(folder: &FolderPath, path: &str) -> Result<(Place, String)> {
        let real = folder.canonicalize().map_err(|error| {
            Error::unavailable(format!("the folder {} cannot be read: {error}", folder.display()))
        })?;
        let below = match path.strip_prefix('/') {
            None => path,
            Some(_) => [folder, real.as_path()]
                .iter()
                .find_map(|root| path.strip_prefix(root.to_str()?)?.strip_prefix('/'))
                .ok_or_else(|| outside_of_folder(path))?,
        };
        let parts: Vec<&str> =
            below.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(outside_of_folder(path));
        }
        Ok((Place::Folder(real), parts.join("/")))
    }

    /// The bucket of `location` and the pattern of keys in it. `location` is `s3://bucket/key`,
    /// `http(s)://server/bucket/key`, `https://bucket.s3.region.amazonaws.com/key`, or `gs://`,
    /// `az://` and their kin.
    ///
    /// # Errors
    /// InvalidInput when it is none of these.
    pub fn bucket(location: &str, access: Access) -> Result<(Place, String)> {
        let (scheme, host, path) = split(location)?;
        let (name, endpoint, region, key) = match scheme.as_str() {
            "s3" | "s3a" => (host.to_owned(), None, None, path),
            "http" | "https" => match aws_host(host) {
                Some((Some(bucket), region)) => (bucket, None, region, path),
                Some((None, region)) => {
                    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                    (bucket.to_owned(), None, region, key)
                }
                None => {
                    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                    (bucket.to_owned(), Some(format!("{scheme}://{host}")), None, key)
                }
            },
            "gs" | "az" | "azure" | "abfs" | "abfss" | "adl" => {
                if access != Access::Environment {
                    return Err(Error::unsupported(format!(
                        "{scheme}:// takes its credentials from the environment of the servers only"
                    )));
                }
                return Ok((Place::Cloud { url: format!("{scheme}://{host}") }, path.to_owned()));
            }
            _ => {
                return Err(Error::invalid(format!(
                    "'{scheme}://' is no object store; there are s3://, http(s)://, gs:// and az://"
                )));
            }
        };
        if name.is_empty() || key.is_empty() {
            return Err(Error::invalid(format!(
                "'{scheme}://{host}/..' names no bucket with a key; write s3://bucket/key or \
                 http://server/bucket/key"
            )));
        }
        Ok((Place::Bucket { name, endpoint, region, access }, key.to_owned()))
    }

    /// The server of `location` and the path on it.
    ///
    /// # Errors
    /// InvalidInput when it is no URL of a web server.
    pub fn web(location: &str) -> Result<(Place, String)> {
        let (scheme, host, path) = split(location)?;
        if scheme != "http" && scheme != "https" {
            return Err(Error::invalid(format!(
                "url() takes http:// and https://, not {scheme}://"
            )));
        }
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (path, None),
        };
        let path = path.split('#').next().unwrap_or_default();
        if path.is_empty() {
            return Err(Error::invalid("the URL names no file"));
        }
        Ok((Place::Web { origin: format!("{scheme}://{host}"), query }, path.to_owned()))
    }

    /// Whether every node of a cluster reaches it.
    pub fn is_shared(&self) -> bool {
        !matches!(self, Place::Folder(_))
    }

    /// Whether it can list its files.
    pub(crate) fn lists(&self) -> bool {
        !matches!(self, Place::Web { .. })
    }

    /// The file at `path` for people, without what is secret.
    pub fn shown(&self, path: &str) -> String {
        match self {
            Place::Folder(_) => path.to_owned(),
            Place::Bucket { name, endpoint: None, .. } => format!("s3://{name}/{path}"),
            Place::Bucket { name, endpoint: Some(endpoint), .. } => {
                format!("{}/{name}/{path}", without_user(endpoint))
            }
            Place::Cloud { url } => format!("{}/{path}", without_user(url)),
            Place::Web { origin, query: None } => format!("{}/{path}", without_user(origin)),
            Place::Web { origin, .. } => format!("{}/{path}?{HIDDEN}", without_user(origin)),
        }
    }

    /// `text` without anything secret of this place that may stand in it.
    pub(crate) fn without_secrets(&self, text: &str) -> String {
        let mut secrets: Vec<&str> = Vec::new();
        match self {
            Place::Bucket { access: Access::Keys { id, secret, token }, .. } => {
                secrets.extend([secret.as_str(), id.as_str()]);
                secrets.extend(token.as_deref());
            }
            Place::Web { origin, query } => {
                secrets.extend(query.as_deref());
                secrets.extend(user_of(origin));
            }
            _ => {}
        }
        secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }

    /// How the store calls the file at `path`.
    pub(crate) fn path(&self, path: &str) -> Result<Path> {
        let parsed = match self {
            Place::Web { .. } => Path::from_url_path(path),
            _ => Path::parse(path),
        };
        parsed.map_err(|_| Error::invalid(format!("'{}' is no path of a file", self.shown(path))))
    }

    /// The store that reaches it.
    ///
    /// # Errors
    /// InvalidInput when the place cannot be one.
    pub(crate) fn open(&self) -> Result<Arc<dyn ObjectStore>> {
        let wrong = |error: object_store::Error| {
            Error::invalid(format!(
                "{} cannot be opened: {}",
                self.shown(""),
                self.without_secrets(&error.to_string())
            ))
        };
        Ok(match self {
            Place::Folder(folder) => {
                Arc::new(LocalFileSystem::new_with_prefix(folder).map_err(wrong)?)
            }
            Place::Bucket { name, endpoint, region, access } => {
                let mut builder = match access {
                    Access::Environment => AmazonS3Builder::from_env(),
                    Access::Nobody => AmazonS3Builder::new().with_skip_signature(true),
                    Access::Keys { id, secret, token } => {
                        let keys = AmazonS3Builder::new()
                            .with_access_key_id(id)
                            .with_secret_access_key(secret);
                        match token {
                            Some(token) => keys.with_token(token),
                            None => keys,
                        }
                    }
                };
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                if let Some(region) = region {
                    builder = builder.with_region(region);
                }
                let builder = builder
                    .with_bucket_name(name)
                    .with_client_options(client_options())
                    .with_retry(retries());
                Arc::new(builder.build().map_err(wrong)?)
            }
            Place::Cloud { url } => {
                let url = Url::parse(url)
                    .map_err(|error| Error::invalid(format!("'{url}' is no URL: {error}")))?;
                let options = std::env::vars_os().filter_map(|(key, value)| {
                    Some((key.into_string().ok()?.to_lowercase(), value.into_string().ok()?))
                });
                let (store, _) = object_store::parse_url_opts(&url, options).map_err(wrong)?;
                Arc::from(store)
            }
            Place::Web { origin, query } => {
                let url = match query {
                    Some(query) => format!("{origin}/?{query}"),
                    None => origin.clone(),
                };
                let builder = HttpBuilder::new()
                    .with_url(url)
                    .with_client_options(client_options())
                    .with_retry(retries());
                Arc::new(builder.build().map_err(wrong)?)
            }
        })
    }
}

/// Long files take their time; what stands still is noticed by whoever reads.
fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(true)
        .with_connect_timeout(CONNECT_TIME_MAX)
        .with_timeout_disabled()
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIME_MAX,
    }
}

fn outside_of_folder(path: &str) -> Error {
    Error::denied(format!("'{path}' leads out of the folder of user_files_path"))
}

/// Scheme, server and path of a URL, whose path may be a pattern and is taken as it is written.
fn split(location: &str) -> Result<(String, &str, &str)> {
    let Some((scheme, rest)) = location.split_once("://") else {
        return Err(Error::invalid("this is no URL; write scheme://server/path"));
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    // The pattern is left out, since it may be none of the characters of a URL.
    let checked = format!("{scheme}://{host}/");
    if host.is_empty() || Url::parse(&checked).is_err() {
        return Err(Error::invalid(format!(
            "'{scheme}://' is not followed by the name of a server"
        )));
    }
    Ok((scheme.to_ascii_lowercase(), host, path))
}

/// Bucket and region of a host of AWS.
fn aws_host(host: &str) -> Option<(Option<String>, Option<String>)> {
    let front = host.to_ascii_lowercase();
    let front = front.strip_suffix(".amazonaws.com")?;
    let region = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    if let Some(rest) = front.strip_prefix("s3").filter(|rest| !rest.contains(".s3")) {
        return Some((None, region(rest.trim_start_matches(['.', '-']))));
    }
    let at = front.rfind(".s3")?;
    let bucket = host[..at].to_owned();
    Some((Some(bucket), region(front[at + 3..].trim_start_matches(['.', '-']))))
}

/// `user:password` of a URL's server.
fn user_of(origin: &str) -> Option<&str> {
    let (_, server) = origin.split_once("://")?;
    server.rsplit_once('@').map(|(user, _)| user)
}

fn without_user(origin: &str) -> String {
    match user_of(origin) {
        Some(user) => origin.replacen(user, HIDDEN, 1),
        None => origin.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_name_buckets_and_keys() {
        for (location, shown, key) in [
            ("s3://b/k/*.parquet", "s3://b/", "k/*.parquet"),
            ("https://b.s3.amazonaws.com/k", "s3://b/", "k"),
            ("https://b.c.s3.eu-west-1.amazonaws.com/k", "s3://b.c/", "k"),
            ("https://s3.eu-west-1.amazonaws.com/b/k/l", "s3://b/", "k/l"),
            ("http://127.0.0.1:9000/b/k?.csv", "http://127.0.0.1:9000/b/", "k?.csv"),
            ("gs://b/k", "gs://b/", "k"),
        ] {
            let (place, found) = Place::bucket(location, Access::Environment).unwrap();
            assert_eq!((place.shown("").as_str(), found.as_str()), (shown, key), "{location}");
        }
        for wrong in ["b/k", "s3://b", "ftp://b/k", "http:///b/k", "http://h/b"] {
            assert!(Place::bucket(wrong, Access::Environment).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let (place, path) = Place::web("http://me:pass@h:80/a%20b.csv?token=abc").unwrap();
        assert_eq!(place.shown(&path), "http://[HIDDEN]@h:80/a%20b.csv?[HIDDEN]");
        let hidden = place.without_secrets("GET /?token=abc by me:pass");
        assert_eq!(hidden, "GET /?[HIDDEN] by [HIDDEN]");
        let token = Some("the token".to_owned());
        let access = Access::Keys { id: "the id".into(), secret: "the secret".into(), token };
        let (place, _) = Place::bucket("s3://b/k", access).unwrap();
        assert!(!format!("{place:?}").contains("the "));
        assert!(!place.without_secrets("the secret, the id, the token").contains("the "));
    }

    #[test]
    fn paths_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        let absolute = format!("{}/x/a.csv", real.display());
        for (path, expected) in
            [("a.csv", "a.csv"), ("./x//a.csv", "x/a.csv"), (absolute.as_str(), "x/a.csv")]
        {
            assert_eq!(Place::folder(folder.path(), path).unwrap().1, expected, "{path}");
        }
        let sibling = format!("{}-other/a.csv", real.display());
        for path in ["../a.csv", "x/../../a.csv", "/etc/passwd", sibling.as_str()] {
            let error = Place::folder(folder.path(), path).unwrap_err();
            assert!(error.message().contains("leads out"), "{path}: {error}");
        }
    }
}
