//! Who a client is.

use async_trait::async_trait;
use granary_common::Result;

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
