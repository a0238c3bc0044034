//! Connections to the other members.

use std::collections::HashMap;
use std::sync::Arc;

use granary_catalog::remote::wire;
use granary_common::Result;
use granary_proto::internal::metadata_client::MetadataClient;
use granary_proto::internal::raft_client::RaftClient;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;

use crate::feed::Feed;
use crate::store::acquaintance::{Acquaintance, MEMBER_HEADER};
use crate::versions::Heard;

/// One connection an address, driven by the group's own runtime.
#[derive(Debug)]
pub(crate) struct Peers {
    channels: Mutex<HashMap<String, Channel>>,
    runtime: Handle,
    feed: Arc<Feed>,
    pub members: Arc<Acquaintance>,
    /// What they speak.
    pub heard: Heard,
}

impl Peers {
    pub fn new(
        runtime: Handle,
        feed: Arc<Feed>,
        members: Arc<Acquaintance>,
        heard: Heard,
    ) -> Arc<Self> {
        Arc::new(Self { channels: Mutex::new(HashMap::new()), runtime, feed, members, heard })
    }

    fn channel(&self, address: &str) -> Result<Channel> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let _on_own_threads = self.runtime.enter();
        let channel = wire::channel(address)?;
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    pub fn raft(&self, address: &str) -> Result<RaftClient<Channel>> {
        Ok(RaftClient::new(self.channel(address)?)
            .max_decoding_message_size(wire::MESSAGE_BYTES_MAX))
    }

    pub fn metadata(&self, address: &str) -> Result<MetadataClient<Channel>> {
        Ok(MetadataClient::new(self.channel(address)?)
            .max_decoding_message_size(wire::MESSAGE_BYTES_MAX))
    }

    /// Whether a request may be answered: from this cluster, and if from a member, then with the
    /// folder that it is known by.
    pub async fn admit<T>(&self, request: &Request<T>) -> Result<()> {
        wire::check_cluster(request, &self.feed.cluster_id())?;
        let name = request.metadata().get(MEMBER_HEADER).and_then(|value| value.to_str().ok());
        match name.map(str::to_owned) {
            Some(name) => self.members.meet(&name).await,
            None => Ok(()),
        }
    }

    /// A request that carries the cluster's id and this member's name.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        wire::stamp(&mut request, &self.feed.cluster_id());
        if let Ok(name) = MetadataValue::try_from(self.members.own_name()) {
            request.metadata_mut().insert(MEMBER_HEADER, name);
        }
        request
    }

    /// A request that the receiver must not pass on.
    pub fn forwarded<T>(&self, message: T) -> Request<T> {
        let mut request = self.request(message);
        let mark = MetadataValue::from_static("1");
        request.metadata_mut().insert(wire::FORWARDED_HEADER, mark);
        request
    }
}
