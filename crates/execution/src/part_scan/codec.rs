//! Our operators on the wire.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::common::{Result, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::{PhysicalExprNode, PhysicalPlanNode};
use granary_catalog::codec;
use prost::Message;

use super::layout::ScanSpec;
use super::{AwaitedFilter, PartScanExec};
use crate::colocated_aggregate::ColocatedAggregateExec;
use crate::colocated_join::ColocatedJoinExec;
use crate::error::to_datafusion;
use crate::outside_scan::{OutsideScanExec, OutsideSpec};
use crate::runtime_filter::{Announced, RuntimeFilterExec};
use crate::spilling_join::SpillingJoinExec;

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(oneof = "NodeKind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<NodeKind>,
}

#[derive(Clone, PartialEq, Message)]
struct RuntimeFilterNode {
    /// Over the input, which travels beside it.
    #[prost(message, repeated, tag = "1")]
    keys: Vec<PhysicalExprNode>,
    #[prost(fixed64, tag = "2")]
    id: u64,
    /// Whether scans of other tasks want it.
    #[prost(bool, tag = "3")]
    afar: bool,
    /// Whether each partition of each task builds a part of the side.
    #[prost(bool, tag = "4")]
    dealt: bool,
}

#[derive(Clone, PartialEq, Message)]
struct AwaitedNode {
    /// Over the table's schema.
    #[prost(message, repeated, tag = "1")]
    keys: Vec<PhysicalExprNode>,
    #[prost(fixed64, tag = "2")]
    id: u64,
    /// Whether it is worth a moment's wait.
    #[prost(bool, tag = "3")]
    is_near: bool,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum NodeKind {
    #[prost(message, tag = "1")]
    PartScan(PartScanNode),
    #[prost(message, tag = "2")]
    ColocatedJoin(Box<InnerNode>),
    #[prost(message, tag = "3")]
    ColocatedAggregate(Box<InnerNode>),
    #[prost(message, tag = "4")]
    RuntimeFilter(RuntimeFilterNode),
    #[prost(message, tag = "5")]
    OutsideScan(Box<OutsideScanNode>),
    /// Known from protocol 7 on.
    #[prost(message, tag = "6")]
    SpillingJoin(Box<InnerNode>),
}

#[derive(Clone, PartialEq, Message)]
struct OutsideScanNode {
    /// An [`OutsideSpec`] in the encoding of the catalog.
    #[prost(bytes = "vec", tag = "1")]
    spec: Vec<u8>,
    /// Over the columns of the scan.
    #[prost(message, optional, tag = "2")]
    filter: Option<PhysicalExprNode>,
}

#[derive(Clone, PartialEq, Message)]
struct PartScanNode {
    /// A [`ScanSpec`] in the encoding of the catalog.
    #[prost(bytes = "vec", tag = "1")]
    spec: Vec<u8>,
    /// Over the table's schema.
    #[prost(message, repeated, tag = "2")]
    residual: Vec<PhysicalExprNode>,
    #[prost(message, repeated, tag = "3")]
    awaited: Vec<AwaitedNode>,
}

#[derive(Clone, PartialEq, Message)]
struct InnerNode {
    /// The operator over empty inputs; the real ones travel beside it.
    #[prost(message, optional, boxed, tag = "1")]
    inner: Option<Box<PhysicalPlanNode>>,
}

/// Encodes and decodes the operators of this crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct OperatorCodec;

type Converter<'a> = &'a dyn PhysicalProtoConverterExtension;
type Plan = Arc<dyn ExecutionPlan>;
type Expressions = Vec<Arc<dyn PhysicalExpr>>;

impl OperatorCodec {
    fn encode_keys(
        &self,
        keys: &[Arc<dyn PhysicalExpr>],
        converter: Converter<'_>,
    ) -> Result<Vec<PhysicalExprNode>> {
        keys.iter().map(|key| converter.physical_expr_to_proto(key, self)).collect()
    }

    fn encode_scan(&self, scan: &PartScanExec, converter: Converter<'_>) -> Result<NodeKind> {
        let spec = codec::encode(&**scan.spec()).map_err(to_datafusion)?;
        let residual = self.encode_keys(scan.residual(), converter)?;
        let awaited = scan.awaited().iter().map(|filter| {
            let keys = self.encode_keys(&filter.keys, converter)?;
            Ok(AwaitedNode { keys, id: filter.id, is_near: filter.is_near })
        });
        let awaited = awaited.collect::<Result<_>>()?;
        Ok(NodeKind::PartScan(PartScanNode { spec, residual, awaited }))
    }

    fn decode_scan(
        &self,
        node: &PartScanNode,
        context: &PhysicalPlanDecodeContext<'_>,
        converter: Converter<'_>,
    ) -> Result<Plan> {
        let spec: ScanSpec = codec::decode(&node.spec).map_err(to_datafusion)?;
        let schema = spec.schema.arrow_schema();
        let residual = decode_keys(&node.residual, &schema, context, converter)?;
        let awaited = node.awaited.iter().map(|filter| {
            let keys = decode_keys(&filter.keys, &schema, context, converter)?;
            Ok(AwaitedFilter { id: filter.id, keys, is_near: filter.is_near })
        });
        let awaited = awaited.collect::<Result<_>>()?;
        let scan = PartScanExec::with_filters(spec, residual, awaited, Arc::default());
        Ok(Arc::new(scan.map_err(to_datafusion)?))
    }

    fn encode_outside(&self, scan: &OutsideScanExec, converter: Converter<'_>) -> Result<NodeKind> {
        let spec = codec::encode(&**scan.spec()).map_err(to_datafusion)?;
        let filter = scan.filter().map(|filter| converter.physical_expr_to_proto(filter, self));
        let node = OutsideScanNode { spec, filter: filter.transpose()? };
        Ok(NodeKind::OutsideScan(Box::new(node)))
    }

    fn encode_inner(&self, inner: &Plan, converter: Converter<'_>) -> Result<Box<InnerNode>> {
        let inner = converter.execution_plan_to_proto(inner, self)?;
        Ok(Box::new(InnerNode { inner: Some(Box::new(inner)) }))
    }

    fn encode_filter(
        &self,
        filter: &RuntimeFilterExec,
        converter: Converter<'_>,
    ) -> Result<NodeKind> {
        let keys = self.encode_keys(filter.keys(), converter)?;
        let Announced { id, afar, dealt } = filter.announced();
        Ok(NodeKind::RuntimeFilter(RuntimeFilterNode { keys, id, afar, dealt }))
    }
}

fn decode_outside(
    node: &OutsideScanNode,
    context: &PhysicalPlanDecodeContext<'_>,
    converter: Converter<'_>,
) -> Result<Plan> {
    let spec: OutsideSpec = codec::decode(&node.spec).map_err(to_datafusion)?;
    let schema = Arc::clone(&spec.scan.schema);
    let filter = node.filter.as_ref();
    let filter = filter.map(|filter| converter.proto_to_physical_expr(filter, &schema, context));
    Ok(Arc::new(OutsideScanExec::new(spec, filter.transpose()?)?))
}

fn decode_keys(
    keys: &[PhysicalExprNode],
    schema: &Schema,
    context: &PhysicalPlanDecodeContext<'_>,
    converter: Converter<'_>,
) -> Result<Expressions> {
    keys.iter().map(|key| converter.proto_to_physical_expr(key, schema, context)).collect()
}

fn decode_inner(
    node: &InnerNode,
    context: &PhysicalPlanDecodeContext<'_>,
    converter: Converter<'_>,
) -> Result<Plan> {
    match &node.inner {
        Some(inner) => converter.proto_to_execution_plan(inner, context),
        None => internal_err!("an operator around another is empty"),
    }
}

fn only(inputs: &[Plan]) -> Result<&Plan> {
    match inputs {
        [only] => Ok(only),
        _ => internal_err!("an operator has one input, not {}", inputs.len()),
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
            Some(NodeKind::ColocatedJoin(node)) => {
                let join = decode_inner(&node, &context, proto_converter)?;
                ColocatedJoinExec::with_inputs(&join, inputs.to_vec())
            }
            Some(NodeKind::ColocatedAggregate(node)) => {
                let aggregate = decode_inner(&node, &context, proto_converter)?;
                ColocatedAggregateExec::with_input(&aggregate, Arc::clone(only(inputs)?))
            }
            Some(NodeKind::RuntimeFilter(filter)) => {
                let input = only(inputs)?;
                let keys = decode_keys(&filter.keys, &input.schema(), &context, proto_converter)?;
                let RuntimeFilterNode { id, afar, dealt, .. } = filter;
                let announced = Announced { id, afar, dealt };
                Ok(Arc::new(RuntimeFilterExec::new(Arc::clone(input), keys, announced)))
            }
            Some(NodeKind::SpillingJoin(node)) => {
                let join = decode_inner(&node, &context, proto_converter)?;
                SpillingJoinExec::with_inputs(&join, inputs.to_vec())
            }
            Some(NodeKind::OutsideScan(scan)) => decode_outside(&scan, &context, proto_converter),
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
            NodeKind::ColocatedJoin(self.encode_inner(&join.over_empty_inputs()?, proto_converter)?)
        } else if let Some(join) = node.downcast_ref::<SpillingJoinExec>() {
            NodeKind::SpillingJoin(self.encode_inner(&join.over_empty_inputs()?, proto_converter)?)
        } else if let Some(aggregate) = node.downcast_ref::<ColocatedAggregateExec>() {
            let inner = aggregate.over_empty_input()?;
            NodeKind::ColocatedAggregate(self.encode_inner(&inner, proto_converter)?)
        } else if let Some(filter) = node.downcast_ref::<RuntimeFilterExec>() {
            self.encode_filter(filter, proto_converter)?
        } else if let Some(scan) = node.downcast_ref::<OutsideScanExec>() {
            self.encode_outside(scan, proto_converter)?
        } else {
            return internal_err!("{} cannot be sent to a worker", node.name());
        };
        Node { kind: Some(kind) }
            .encode(buf)
            .map_err(|error| DataFusionError::Internal(format!("cannot encode a plan: {error}")))
    }
}
