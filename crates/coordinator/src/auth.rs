//! Who a client is.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use granary_common::{Error, Result};
use tonic::metadata::MetadataMap;

/// What a client presents at its first call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing.
    Anonymous,
    /// A user name with a password.
    Basic { user: String, password: String },
}

/// A user that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name that `current_user` gives and that sessions carry.
    pub user: String,
}

/// Decides who is let in.
#[async_trait]
pub trait Authenticator: Send + Sync + std::fmt::Debug {
    /// The identity behind `credentials`; kind `Unauthenticated` when they are not good.
    async fn authenticate(&self, credentials: &Credentials) -> Result<Identity>;
}

/// Lets everybody in under the name that they give.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAll;

/// The name of who gives none.
pub const DEFAULT_USER: &str = "default";

#[async_trait]
impl Authenticator for AcceptAll {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Identity> {
        let user = match credentials {
            Credentials::Basic { user, .. } if !user.is_empty() => user.clone(),
            _ => DEFAULT_USER.to_owned(),
        };
        Ok(Identity { user })
    }
}

/// The credentials of a basic authorization header, if there is one.
pub(crate) fn basic(metadata: &MetadataMap) -> Result<Option<Credentials>> {
    let Some(header) = metadata.get("authorization").and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let Some((scheme, encoded)) = header.split_once(' ') else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case("basic") {
        return Ok(None);
    }
    let malformed = || Error::unauthenticated("the basic authorization is malformed");
    // Some clients pad, some do not.
    let unpadded = encoded.trim().trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(unpadded).map_err(|_| malformed())?;
    let text = String::from_utf8(bytes).map_err(|_| malformed())?;
    let (user, password) = text.split_once(':').ok_or_else(malformed)?;
    Ok(Some(Credentials::Basic { user: user.to_owned(), password: password.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_headers_are_read() {
        let read = |value: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", value.parse().unwrap());
            basic(&metadata)
        };
        let ann = Credentials::Basic { user: "ann".into(), password: "a:b".into() };
        for encoded in ["YW5uOmE6Yg==", "YW5uOmE6Yg"] {
            assert_eq!(read(&format!("Basic {encoded}")).unwrap().as_ref(), Some(&ann));
        }
        assert_eq!(read("Bearer x").unwrap(), None);
        assert!(read("Basic !").is_err());
    }
}
