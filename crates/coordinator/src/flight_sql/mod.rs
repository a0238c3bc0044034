//! stub
use std::sync::Arc;
use crate::core::Coordinator;
pub struct GranaryFlight { pub core: Arc<Coordinator> }
impl GranaryFlight { pub fn new(core: Arc<Coordinator>) -> Self { Self { core } } }
