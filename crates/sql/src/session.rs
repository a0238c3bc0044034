//! Sessions that are built when somebody asks for them.

use std::sync::OnceLock;

use datafusion::execution::SessionState;
use granary_common::Result;

/// The session in which expressions are bound, for work that mostly comes along without one: knowing
/// more than a thousand functions takes longer than reading a row of literals.
pub trait SessionSource {
    /// The session.
    ///
    /// # Errors
    /// Those of building it.
    fn session(&self) -> Result<&SessionState>;
}

impl SessionSource for SessionState {
    fn session(&self) -> Result<&SessionState> {
        Ok(self)
    }
}

/// A session that is built once it is needed.
#[derive(Debug)]
pub struct LazySession<F> {
    build: F,
    built: OnceLock<SessionState>,
}

impl<F: Fn() -> Result<SessionState>> LazySession<F> {
    /// One that `build` builds.
    pub fn new(build: F) -> LazySession<F> {
        LazySession { build, built: OnceLock::new() }
    }
}

impl<F: Fn() -> Result<SessionState>> SessionSource for LazySession<F> {
    fn session(&self) -> Result<&SessionState> {
        if let Some(built) = self.built.get() {
            return Ok(built);
        }
        let built = (self.build)()?;
        Ok(self.built.get_or_init(|| built))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use datafusion::execution::SessionStateBuilder;

    use super::*;

    #[test]
    fn a_session_is_built_once_and_only_when_it_is_needed() {
        let built = Cell::new(0);
        let lazy = LazySession::new(|| {
            built.set(built.get() + 1);
            Ok(SessionStateBuilder::new().build())
        });
        assert_eq!(built.get(), 0);
        let first = lazy.session().expect("built").session_id().to_owned();
        assert_eq!(lazy.session().expect("built").session_id(), first);
        assert_eq!(built.get(), 1);
    }
}
