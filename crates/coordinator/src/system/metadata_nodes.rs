//! The members of the metadata group, asked when a query names the table.

use granary_catalog::{MemberReport, MetadataMember};
use granary_common::Result;

use super::View;
use super::columns::Columns;

pub(super) async fn metadata_nodes(view: &View) -> Result<Columns> {
    Ok(rows(&view.core.with.catalog.metadata_members().await?))
}

/// A member that does not answer says nothing of itself.
fn rows(members: &[MetadataMember]) -> Columns {
    let said = |of: fn(&MemberReport) -> u64| {
        members.iter().map(move |member| member.report.as_ref().map(of))
    };
    let version = |member: &MetadataMember| {
        let report = member.report.as_ref()?;
        // Builds of before do not say it.
        (!report.software_version.is_empty()).then(|| report.software_version.clone())
    };
    Columns::new()
        .numbers("id", members.iter().map(|member| member.node.0))
        .texts("address", members.iter().map(|member| &member.address))
        .flags("is_voter", members.iter().map(|member| member.is_voter))
        .flags("is_leader", members.iter().map(|member| member.is_leader))
        .flags("answers", members.iter().map(|member| member.report.is_some()))
        .optional_numbers("applied_version", said(|report| report.applied.0))
        .optional_texts("version", members.iter().map(version))
        .optional_numbers("protocol", said(|report| u64::from(report.protocol)))
}
