//! The layer around Flight SQL: finds the session of each call, refuses calls while draining, puts
//! what there is to tell into the answer's headers, and serves GetSchema, which the library's
//! dispatch leaves out.

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, PollInfo,
    SchemaResult, Ticket,
};
use tonic::{Request, Response, Status, Streaming};

use super::service::FlightSql;
use super::{schema, status};
use crate::call::Call;
use crate::cancel::{PEER_ACTION, answer_peer};
use crate::core::Coordinator;

/// The Flight service of a coordinator.
#[derive(Clone, Debug)]
pub struct GranaryFlight {
    core: Arc<Coordinator>,
    inner: FlightSql,
}

impl GranaryFlight {
    /// The service of `core`.
    pub fn new(core: Arc<Coordinator>) -> Self {
        Self { inner: FlightSql::new(Arc::clone(&core)), core }
    }

    /// Finds the call's session and leaves it in the request.
    async fn enter<T>(&self, request: &mut Request<T>) -> Result<Call, Status> {
        let call = Call::of(&self.core, request).await.map_err(status)?;
        request.extensions_mut().insert(call.clone());
        Ok(call)
    }

    fn leave<T>(
        &self,
        call: &Call,
        outcome: Result<Response<T>, Status>,
    ) -> Result<Response<T>, Status> {
        match outcome {
            Ok(mut response) => {
                call.answer(&self.core, response.metadata_mut());
                Ok(response)
            }
            Err(mut failed) => {
                tracing::debug!(code = ?failed.code(), message = failed.message(), "a call failed");
                call.answer(&self.core, failed.metadata_mut());
                Err(failed)
            }
        }
    }
}

#[tonic::async_trait]
impl FlightService for GranaryFlight {
    type HandshakeStream = <FlightSql as FlightService>::HandshakeStream;
    type ListFlightsStream = <FlightSql as FlightService>::ListFlightsStream;
    type DoGetStream = <FlightSql as FlightService>::DoGetStream;
    type DoPutStream = <FlightSql as FlightService>::DoPutStream;
    type DoActionStream = <FlightSql as FlightService>::DoActionStream;
    type ListActionsStream = <FlightSql as FlightService>::ListActionsStream;
    type DoExchangeStream = <FlightSql as FlightService>::DoExchangeStream;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        self.inner.handshake(request).await
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        self.inner.list_flights(request).await
    }

    async fn get_flight_info(
        &self,
        mut request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let call = self.enter(&mut request).await?;
        self.core.check_accepting().map_err(status)?;
        let outcome = self.inner.get_flight_info(request).await;
        self.leave(&call, outcome)
    }

    async fn poll_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        self.inner.poll_flight_info(request).await
    }

    async fn get_schema(
        &self,
        mut request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let call = self.enter(&mut request).await?;
        self.core.check_accepting().map_err(status)?;
        let outcome = schema::get_schema(&self.inner, &call, request.into_inner()).await;
        self.leave(&call, outcome.map(Response::new))
    }

    /// Served while draining too: its statement was accepted before.
    async fn do_get(
        &self,
        mut request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let call = self.enter(&mut request).await?;
        let outcome = self.inner.do_get(request).await;
        self.leave(&call, outcome)
    }

    async fn do_put(
        &self,
        mut request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let call = self.enter(&mut request).await?;
        self.core.check_accepting().map_err(status)?;
        let outcome = self.inner.do_put(request).await;
        self.leave(&call, outcome)
    }

    /// Served while draining too: cancelling and closing help to end it.
    async fn do_action(
        &self,
        mut request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        // Coordinators have no sessions; what they ask is signed.
        if request.get_ref().r#type == PEER_ACTION {
            let answer = answer_peer(&self.core, request.get_ref()).map_err(status)?;
            return Ok(Response::new(Box::pin(futures::stream::iter([Ok(answer)]))));
        }
        let call = self.enter(&mut request).await?;
        let outcome = self.inner.do_action(request).await;
        self.leave(&call, outcome)
    }

    async fn list_actions(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        self.inner.list_actions(request).await
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        self.inner.do_exchange(request).await
    }
}
