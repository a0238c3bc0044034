//! Our operators on the wire.

use std::sync::Arc;

use datafusion::common::{Result, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::{PhysicalExprNode, PhysicalPlanNode};
use granary_catalog::codec;
use prost::Message;

use super::PartScanExec;
use super::layout::ScanSpec;
use crate::colocated_join::ColocatedJoinExec;
use crate::error::to_datafusion;

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(oneof = "NodeKind", tags = "1, 2")]
    kind: Option<NodeKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum NodeKind {
    #[prost(message, tag = "1")]
    PartScan(PartScanNode),
    #[prost(message, tag = "2")]
    ColocatedJoin(Box<ColocatedJoinNode>),
}

#[derive(Clone, PartialEq, Message)]
struct PartScanNode {
    /// A [`ScanSpec`] in the encoding of the catalog.
    #[prost(bytes = "vec", tag = "1")]
    spec: Vec<u8>,
    /// Over the table's schema.
    #[prost(message, repeated, tag = "2")]
    residual: Vec<PhysicalExprNode>,
}

#[derive(Clone, PartialEq, Message)]
struct ColocatedJoinNode {
    /// The join over empty inputs; the real ones travel beside it.
    #[prost(message, optional, boxed, tag = "1")]
    join: Option<Box<PhysicalPlanNode>>,
}

/// Encodes and decodes [`PartScanExec`] and [`ColocatedJoinExec`].
#[derive(Clone, Copy, Debug, Default)]
pub struct OperatorCodec;

impl OperatorCodec {
    fn encode_scan(
        &self,
        scan: &PartScanExec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<NodeKind> {
        let spec = codec::encode(&**scan.spec()).map_err(to_datafusion)?;
        let residual = scan.residual().iter();
        let residual = residual.map(|term| converter.physical_expr_to_proto(term, self));
        Ok(NodeKind::PartScan(PartScanNode { spec, residual: residual.collect::<Result<_>>()? }))
    }

    fn decode_scan(
        &self,
        node: &PartScanNode,
        context: &PhysicalPlanDecodeContext<'_>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let spec: ScanSpec = codec::decode(&node.spec).map_err(to_datafusion)?;
        let schema = spec.schema.arrow_schema();
        let residual = node.residual.iter();
        let residual =
            residual.map(|term| converter.proto_to_physical_expr(term, &schema, context));
        let scan =
            PartScanExec::with_residual(spec, residual.collect::<Result<_>>()?, Arc::default());
        Ok(Arc::new(scan.map_err(to_datafusion)?))
    }

    fn encode_join(
        &self,
        join: &ColocatedJoinExec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<NodeKind> {
        let join = converter.execution_plan_to_proto(&join.over_empty_inputs()?, self)?;
        Ok(NodeKind::ColocatedJoin(Box::new(ColocatedJoinNode { join: Some(Box::new(join)) })))
    }

    fn decode_join(
        &self,
        node: &ColocatedJoinNode,
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &PhysicalPlanDecodeContext<'_>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(join) = &node.join else { return internal_err!("a colocated join is empty") };
        let join = converter.proto_to_execution_plan(join, context)?;
        ColocatedJoinExec::with_inputs(&join, inputs.to_vec())
    }
}

impl PhysicalExtensionCodec for OperatorCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let node = Node::decode(buf)
            .map_err(|error| DataFusionError::Internal(format!("a plan is damaged: {error}")))?;
        let context = PhysicalPlanDecodeContext::new(ctx, self);
        match node.kind {
            Some(NodeKind::PartScan(scan)) => self.decode_scan(&scan, &context, proto_converter),
            Some(NodeKind::ColocatedJoin(join)) => {
                self.decode_join(&join, inputs, &context, proto_converter)
            }
            None => internal_err!("a plan names an operator that this build does not know"),
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        proto_converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let kind = if let Some(scan) = node.downcast_ref::<PartScanExec>() {
            self.encode_scan(scan, proto_converter)?
        } else if let Some(join) = node.downcast_ref::<ColocatedJoinExec>() {
            self.encode_join(join, proto_converter)?
        } else {
            return internal_err!("{} cannot be sent to a worker", node.name());
        };
        Node { kind: Some(kind) }
            .encode(buf)
            .map_err(|error| DataFusionError::Internal(format!("cannot encode a plan: {error}")))
    }
}
