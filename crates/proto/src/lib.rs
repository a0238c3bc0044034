//! Generated gRPC types, and the one mapping of error kinds to gRPC status.

pub mod status;

/// The public protocol.
pub mod v1 {
    #![allow(missing_docs, clippy::all, clippy::disallowed_methods)]
    tonic::include_proto!("granary.v1");
}

/// The protocol between roles.
pub mod internal {
    #![allow(missing_docs, clippy::all, clippy::disallowed_methods)]
    tonic::include_proto!("granary.internal.v1");
}

/// Descriptors of what the public port answers, for gRPC reflection.
pub const PUBLIC_DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("public_descriptor");
