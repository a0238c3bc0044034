//! Signed, self-contained values: tickets, prepared handles, cookies and bearer tokens.
//!
//! Whoever holds the cluster's key can read what another coordinator wrote, so a client may be
//! served by any of them. A value says what it is for, and one made for one purpose is refused for
//! another. Values are signed, not encrypted: they hold nothing that their client did not send.
//!
//! Layout: format version (1 byte), purpose (1 byte), HMAC-SHA256 over all the rest (32 bytes),
//! then the payload in the encoding of [`granary_catalog::codec`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use granary_common::{ClusterId, Error, Result};
use hmac::{Hmac, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

/// The layout that this build writes and reads.
const LAYOUT_VERSION: u8 = 1;
const MAC_BYTES: usize = 32;
const HEADER_BYTES: usize = 2 + MAC_BYTES;

/// What a sealed value may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The ticket of a statement's result.
    Ticket = 1,
    /// A prepared statement's handle.
    Prepared = 2,
    /// A session, as cookie or bearer token.
    Session = 3,
    /// What one coordinator asks another one to cancel.
    Cancellation = 4,
}

impl Purpose {
    fn noun(self) -> &'static str {
        match self {
            Purpose::Ticket => "ticket",
            Purpose::Prepared => "prepared statement handle",
            Purpose::Session => "session token",
            Purpose::Cancellation => "cancellation",
        }
    }
}

/// Signs values and checks what comes back.
#[derive(Clone)]
pub struct Sealer {
    key: [u8; MAC_BYTES],
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(key withheld)")
    }
}

impl Sealer {
    /// The sealer of a cluster. All its coordinators are given the same `secret`; with an empty
    /// one, whoever knows the cluster's id can forge.
    pub fn new(cluster: &ClusterId, secret: &str) -> Self {
        let mut mac = keyed(secret.as_bytes());
        mac.update(b"granary sealed values v1\0");
        mac.update(cluster.0.as_bytes());
        Self { key: mac.finalize().into_bytes().into() }
    }

    /// Signs `value` for `purpose`.
    pub fn seal<T: Serialize>(&self, purpose: Purpose, value: &T) -> Result<Vec<u8>> {
        let payload = granary_catalog::codec::encode(value)?;
        let mut sealed = Vec::with_capacity(HEADER_BYTES + payload.len());
        sealed.extend_from_slice(&[LAYOUT_VERSION, purpose as u8]);
        sealed.extend_from_slice(&self.mac(purpose, &payload).finalize().into_bytes());
        sealed.extend_from_slice(&payload);
        Ok(sealed)
    }

    /// Checks and reads a sealed value. Kind `InvalidInput` when it was not signed by this cluster
    /// for this purpose.
    pub fn open<T: DeserializeOwned>(&self, purpose: Purpose, sealed: &[u8]) -> Result<T> {
        let refused = |why: &str| Error::invalid(format!("the {} {why}", purpose.noun()));
        if sealed.len() < HEADER_BYTES {
            return Err(refused("is cut short"));
        }
        let (header, payload) = sealed.split_at(HEADER_BYTES);
        if header[0] != LAYOUT_VERSION {
            return Err(refused("was made by a build that this one does not understand"));
        }
        self.mac(purpose, payload)
            .verify_slice(&header[2..])
            .map_err(|_| refused("was not made by this cluster, or was changed on its way"))?;
        granary_catalog::codec::decode(payload)
    }

    /// [`Sealer::seal`] as text that fits into a header.
    pub fn seal_text<T: Serialize>(&self, purpose: Purpose, value: &T) -> Result<String> {
        Ok(URL_SAFE_NO_PAD.encode(self.seal(purpose, value)?))
    }

    /// [`Sealer::open`] of text.
    pub fn open_text<T: DeserializeOwned>(&self, purpose: Purpose, text: &str) -> Result<T> {
        let sealed = URL_SAFE_NO_PAD.decode(text.trim().trim_matches('"')).map_err(|_| {
            Error::invalid(format!("the {} is not one of Granary's", purpose.noun()))
        })?;
        self.open(purpose, &sealed)
    }

    fn mac(&self, purpose: Purpose, payload: &[u8]) -> Hmac<Sha256> {
        let mut mac = keyed(&self.key);
        mac.update(&[LAYOUT_VERSION, purpose as u8]);
        mac.update(payload);
        mac
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC hashes long keys and pads short ones: every length is accepted.
    #[allow(clippy::expect_used)]
    <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use super::*;
    use granary_common::ErrorKind;

    fn sealer(cluster: &str, secret: &str) -> Sealer {
        Sealer::new(&ClusterId(cluster.to_owned()), secret)
    }

    #[test]
    fn another_coordinator_of_the_cluster_reads_it() {
        let sealed = sealer("c1", "s").seal(Purpose::Ticket, &("select 1", 7u64)).unwrap();
        let opened: (String, u64) = sealer("c1", "s").open(Purpose::Ticket, &sealed).unwrap();
        assert_eq!(opened, ("select 1".to_owned(), 7));
    }

    #[test]
    fn what_was_not_signed_here_is_refused() {
        let own = sealer("c1", "s");
        let sealed = own.seal(Purpose::Ticket, &"select 1").unwrap();
        let changed = |at: usize| {
            let mut bytes = sealed.clone();
            bytes[at] ^= 1;
            bytes
        };
        let foreign_cluster = sealer("c2", "s").seal(Purpose::Ticket, &"select 1").unwrap();
        let foreign_secret = sealer("c1", "t").seal(Purpose::Ticket, &"select 1").unwrap();
        let cases: [(&str, Vec<u8>, &str); 8] = [
            ("empty", vec![], "cut short"),
            ("half a header", sealed[..20].to_vec(), "cut short"),
            ("another layout", changed(0), "does not understand"),
            ("a changed signature", changed(10), "was not made by this cluster"),
            ("a changed payload", changed(sealed.len() - 1), "was not made by this cluster"),
            ("a cut payload", sealed[..sealed.len() - 1].to_vec(), "was not made by this cluster"),
            ("another cluster", foreign_cluster, "was not made by this cluster"),
            ("another secret", foreign_secret, "was not made by this cluster"),
        ];
        for (case, bytes, message) in cases {
            let error = own.open::<String>(Purpose::Ticket, &bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{case}");
            assert!(error.message().contains(message), "{case}: {error}");
        }
    }

    #[test]
    fn a_purpose_is_not_another() {
        let own = sealer("c1", "s");
        let sealed = own.seal(Purpose::Prepared, &"select 1").unwrap();
        assert!(own.open::<String>(Purpose::Ticket, &sealed).is_err());
        assert!(own.open::<String>(Purpose::Prepared, &sealed).is_ok());
    }

    #[test]
    fn text_survives_quotes_that_clients_put_around_cookies() {
        let own = sealer("c1", "s");
        let text = own.seal_text(Purpose::Session, &5u8).unwrap();
        assert_eq!(own.open_text::<u8>(Purpose::Session, &format!("\"{text}\"")).unwrap(), 5);
        assert!(own.open_text::<u8>(Purpose::Session, "some other cookie").is_err());
    }
}
