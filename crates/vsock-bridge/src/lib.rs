//! The native I/O layer of netproxy. It moves bytes in batches between registered memory and descriptors that it owns;
//! TypeScript decides about each frame. The interface is described in `src/native/addon.ts`.
#![cfg(target_os = "linux")]
// A test build has no module to export to.
#![cfg_attr(test, allow(dead_code))]

mod address;
mod buffers;
mod capabilities;
mod checksum;
mod children;
mod constants;
mod control;
mod datagrams;
mod frame;
mod gso;
mod linger;
mod link;
mod links;
mod lookups;
mod netns;
mod options;
mod packets;
mod poller;
mod rights;
mod slab;
mod state;
mod streams;
mod sys;
mod timers;
mod uv;

use napi_derive::napi;
use std::collections::HashMap;

/// The numbers shared with TypeScript.
#[napi]
pub fn constants() -> HashMap<String, i32> {
    constants::table().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
