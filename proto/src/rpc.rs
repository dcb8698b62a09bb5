//! The wire types that other programs see, generated from `weir/v1/*.proto`.

#![allow(missing_docs, clippy::all, clippy::unwrap_used)] // generated code

tonic::include_proto!("weir.v1");

/// The description of the services, for reflection: an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("weir.v1");
