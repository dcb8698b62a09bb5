//! The wire types that other programs see, generated from `weir/v1/weir.proto`.

#![allow(missing_docs, clippy::all, clippy::unwrap_used)] // generated code

tonic::include_proto!("weir.v1");
