//! What clients carry between their calls: everything that another coordinator needs to go on.

use granary_common::{CatalogVersion, QueryId, Result};
use serde::{Deserialize, Serialize};

use crate::query::{Parameters, StatementRequest};
use crate::seal::{Purpose, Sealer};
use crate::session::Session;

/// A bound query, to be run by whoever it is brought to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    pub id: String,
    pub sql: String,
    pub session: Session,
    /// The version that it was bound at.
    pub version: u64,
    /// Values of placeholders, as [`Parameters::to_bytes`] gives them.
    pub parameters: Vec<u8>,
}

impl Ticket {
    /// The ticket of a request that was bound at `version`.
    pub fn of(request: &StatementRequest, version: CatalogVersion) -> Result<Self> {
        Ok(Self {
            id: request.id.0.clone(),
            sql: request.sql.clone(),
            session: request.session.clone(),
            version: version.0,
            parameters: request.parameters.to_bytes()?,
        })
    }

    /// Signs it.
    pub fn seal(&self, sealer: &Sealer) -> Result<Vec<u8>> {
        sealer.seal(Purpose::Ticket, self)
    }

    /// Checks and reads one.
    pub fn open(sealer: &Sealer, sealed: &[u8]) -> Result<Self> {
        sealer.open(Purpose::Ticket, sealed)
    }

    /// The id of its query.
    pub fn query_id(&self) -> QueryId {
        QueryId(self.id.clone())
    }

    /// The request that it stands for.
    pub fn into_request(self) -> Result<StatementRequest> {
        Ok(StatementRequest {
            id: QueryId(self.id),
            sql: self.sql,
            session: self.session,
            parameters: Parameters::from_bytes(&self.parameters)?,
            version: Some(CatalogVersion(self.version)),
        })
    }
}

/// A prepared statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedHandle {
    /// Drawn when it was prepared, so that two of the same text are two.
    pub id: String,
    pub sql: String,
    pub session: Session,
    /// Values that were bound, as [`Parameters::to_bytes`] gives them.
    pub parameters: Vec<u8>,
    /// How many values it needs; older builds do not say.
    #[serde(default)]
    pub parameters_total: usize,
}

impl PreparedHandle {
    /// Signs it.
    pub fn seal(&self, sealer: &Sealer) -> Result<Vec<u8>> {
        sealer.seal(Purpose::Prepared, self)
    }

    /// Checks and reads one.
    pub fn open(sealer: &Sealer, sealed: &[u8]) -> Result<Self> {
        sealer.open(Purpose::Prepared, sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use granary_common::ClusterId;

    #[test]
    fn a_ticket_says_everything() {
        let sealer = Sealer::new(&ClusterId("c".into()), "secret");
        let request = StatementRequest {
            id: QueryId("q1".into()),
            sql: "SELECT 1".into(),
            session: Session::new("s".into(), "ann".into(), 5),
            parameters: Parameters::default(),
            version: None,
        };
        let sealed = Ticket::of(&request, CatalogVersion(7)).unwrap().seal(&sealer).unwrap();
        let opened = Ticket::open(&sealer, &sealed).unwrap().into_request().unwrap();
        assert_eq!(opened.version, Some(CatalogVersion(7)));
        assert_eq!((opened.id, opened.sql), (request.id, request.sql));
        assert_eq!(opened.session, request.session);
        assert!(PreparedHandle::open(&sealer, &sealed).is_err());
    }
}
