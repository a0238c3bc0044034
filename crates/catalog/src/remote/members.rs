//! What the members of the metadata group say of themselves.

use std::future::Future;
use std::time::Duration;

use granary_common::{CatalogVersion, Clock, NodeId, Result};
use granary_proto::internal::change_membership_request::Change;
use granary_proto::internal::{ChangeMembershipRequest, Member, StatusResponse};
use tonic::{Response, Status};

use super::wire::within;
use crate::api::{MemberChange, MemberReport, MetadataMember};
use crate::protocol::FIRST_PROTOCOL;

/// A member that takes longer has no report.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The members that `status` names; `ask` asks those that it does not come from.
pub async fn gather<F, Fut>(
    clock: &dyn Clock,
    status: StatusResponse,
    ask: F,
) -> Vec<MetadataMember>
where
    F: Fn(&Member) -> Result<Fut>,
    Fut: Future<Output = Result<Response<StatusResponse>, Status>>,
{
    let asked = status.members.iter().map(|member| {
        let (asking, status) = (ask(member), &status);
        async move {
            let report = match asking {
                _ if member.node_id == status.node_id => Some(report(status)),
                Ok(asking) => match within(clock, ANSWER_LIMIT, asking).await {
                    Some(Ok(answer)) => Some(report(answer.get_ref())),
                    _ => None,
                },
                Err(_) => None,
            };
            MetadataMember {
                node: NodeId(member.node_id),
                address: member.address.clone(),
                is_voter: member.voter,
                is_leader: member.node_id == status.leader_id,
                report,
            }
        }
    });
    futures::future::join_all(asked).await
}

/// A change as it is asked for.
pub fn change_request(change: MemberChange) -> ChangeMembershipRequest {
    let change = match change {
        MemberChange::Add { node, address } => {
            Change::Add(Member { node_id: node.0, address, voter: true })
        }
        MemberChange::Remove { node } => Change::RemoveNodeId(node.0),
    };
    ChangeMembershipRequest { change: Some(change) }
}

fn report(status: &StatusResponse) -> MemberReport {
    MemberReport {
        applied: CatalogVersion(status.applied_index),
        // Builds that do not say it leave it 0.
        protocol: status.protocol_version.max(FIRST_PROTOCOL),
        software_version: status.software_version.clone(),
    }
}
