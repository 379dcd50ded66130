//! The native I/O layer of netproxy. It moves bytes in batches between registered memory and descriptors that it owns;
//! TypeScript decides about each frame. The interface is described in `src/native/addon.ts`.
#![cfg(target_os = "linux")]

mod buffers;
mod capabilities;
mod children;
mod checksum;
mod constants;
mod frame;
mod gso;
mod link;
mod links;
mod netns;
mod poller;
mod slab;
mod sys;
mod uv;

use napi_derive::napi;
use std::collections::HashMap;

/// The numbers shared with TypeScript.
#[napi]
pub fn constants() -> HashMap<String, i32> {
    constants::table().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
