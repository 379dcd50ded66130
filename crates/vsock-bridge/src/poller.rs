//! The poller as JavaScript sees it; its state is in `state.rs`.

use crate::buffers::Span;
use crate::state::State;
use crate::sys::{flat, Res};
use crate::uv::{self, Watcher};
use napi::bindgen_prelude::*;
use napi::{sys, JsValue};
use napi_derive::napi;
use std::cell::RefCell;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Instant;

/// What the JavaScript object and the watcher share.
pub struct Shared {
    state: RefCell<Option<State>>,
    watcher: RefCell<Option<Watcher>>,
}

impl Shared {
    /// What happened while the thread slept.
    pub fn wake(&self) -> i32 {
        let mut state = self.state.borrow_mut();
        state.as_mut().map_or(0, |state| {
            state.linger.woken();
            state.dispatch() as i32
        })
    }

    pub fn close(&self) {
        // The watcher first: libuv must let go of the epoll descriptor before it is closed.
        if let Some(watcher) = self.watcher.take() {
            watcher.close();
        }
        if let Some(mut state) = self.state.take() {
            state.clear();
        }
    }
}

#[napi]
pub struct Poller {
    shared: Rc<Shared>,
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Poller {
    /// Runs a call on the state; -EBADF after `close`.
    pub fn with(&self, call: impl FnOnce(&mut State) -> Res<i32>) -> i32 {
        let mut state = self.shared.state.borrow_mut();
        flat(state.as_mut().ok_or(libc::EBADF).and_then(call))
    }

    pub fn with_option<T>(&self, call: impl FnOnce(&mut State) -> Option<T>) -> Option<T> {
        self.shared.state.borrow_mut().as_mut().and_then(call)
    }
}

#[napi]
impl Poller {
    #[napi(constructor)]
    pub fn new(env: Env, on_ready: Unknown, ready: Unknown) -> napi::Result<Poller> {
        let raw = env.raw();
        let error = |errno: i32| {
            napi::Error::from_reason(format!("no poller: {}", std::io::Error::from_raw_os_error(errno)))
        };
        if on_ready.get_type()? != ValueType::Function {
            return Err(napi::Error::new(Status::FunctionExpected, "onReady must be a function"));
        }
        let (span, reference) = memory(raw, ready.raw()).map_err(error)?;
        let state = State::new(raw, span, reference).map_err(error)?;
        let fd = state.epoll.as_raw_fd();
        let shared = Rc::new(Shared { state: RefCell::new(Some(state)), watcher: RefCell::new(None) });
        let watcher = uv::start(raw, on_ready.raw(), fd, Rc::clone(&shared));
        match watcher {
            Ok(watcher) => shared.watcher.replace(Some(watcher)),
            Err(error) => {
                shared.close();
                return Err(error);
            }
        };
        Ok(Poller { shared })
    }

    #[napi]
    pub fn interest(&self, handle: i32, mask: i32) -> i32 {
        self.with(|state| state.interest(handle, mask))
    }

    /// The monotonic clock in whole milliseconds since the first poller was made: a small integer for 24 days.
    #[napi]
    pub fn now(&self) -> f64 {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_millis() as f64
    }

    #[napi]
    pub fn poll(&self, linger: i32) -> i32 {
        let mut state = self.shared.state.borrow_mut();
        state.as_mut().map_or(0, |state| state.dispatch_or_linger(linger) as i32)
    }

    #[napi(js_name = "ref")]
    pub fn keep(&self) {
        if let Some(watcher) = self.shared.watcher.borrow().as_ref() {
            watcher.set_ref(true);
        }
    }

    #[napi]
    pub fn unref(&self) {
        if let Some(watcher) = self.shared.watcher.borrow().as_ref() {
            watcher.set_ref(false);
        }
    }

    #[napi]
    pub fn close(&self) {
        self.shared.close();
    }

    #[napi]
    pub fn close_handle(&self, handle: i32) -> i32 {
        self.with(|state| state.close(handle).map(|()| 0))
    }

    #[napi]
    pub fn release(&self, handle: i32) -> i32 {
        self.with(|state| Ok(state.take(handle)?.fd.into_raw_fd()))
    }

    #[napi]
    pub fn handle_count(&self) -> i32 {
        self.with(|state| Ok(state.slab.len() as i32)).max(0)
    }

    #[napi]
    pub fn register(&self, env: Env, memory: Unknown) -> i32 {
        self.with(|state| {
            let (span, reference) = self::memory(env.raw(), memory.raw())?;
            state.buffers.add(span, reference)
        })
    }

    #[napi]
    pub fn unregister(&self, env: Env, buffer: i32) -> i32 {
        self.with(|state| {
            let reference = state.buffers.remove(buffer)?;
            // SAFETY: made in this environment, deleted once.
            unsafe { sys::napi_delete_reference(env.raw(), reference) };
            Ok(0)
        })
    }

    #[napi]
    pub fn checksum(&self, buffer: i32, offset: i32, length: i32) -> i32 {
        self.with(|state| {
            let span = state.buffers.span(buffer, offset, length)?;
            Ok(i32::from(u16::from_be(crate::checksum::sum(span.bytes()))))
        })
    }
}

/// The memory of a typed array, and a reference that keeps it alive.
fn memory(env: sys::napi_env, value: sys::napi_value) -> Res<(Span, sys::napi_ref)> {
    let ok =
        |status: sys::napi_status| if status == sys::Status::napi_ok { Ok(()) } else { Err(libc::EINVAL) };
    let (mut kind, mut length, mut offset) = (0, 0, 0);
    let (mut data, mut array) = (std::ptr::null_mut(), std::ptr::null_mut());
    let (mut is_array_buffer, mut resizable) = (false, false);
    let mut property = std::ptr::null_mut();
    let mut reference = std::ptr::null_mut();
    // SAFETY: `env` and `value` belong to the running call; all out-pointers are locals.
    unsafe {
        ok(sys::napi_get_typedarray_info(
            env,
            value,
            &mut kind,
            &mut length,
            &mut data,
            &mut array,
            &mut offset,
        ))?;
        ok(sys::napi_is_arraybuffer(env, array, &mut is_array_buffer))?;
        let name = c"resizable";
        ok(sys::napi_get_named_property(env, array, name.as_ptr(), &mut property))?;
        // Undefined where the runtime knows no resizable buffers: then the value is no boolean and stays false.
        let _ = sys::napi_get_value_bool(env, property, &mut resizable);
    }
    let width = match kind {
        sys::TypedarrayType::uint8_array => 1,
        sys::TypedarrayType::int32_array => 4,
        _ => return Err(libc::EINVAL),
    };
    if !is_array_buffer || resizable || length == 0 || data.is_null() {
        return Err(libc::EINVAL);
    }
    // SAFETY: as above. The reference keeps the array, and so its memory, alive.
    unsafe { ok(sys::napi_create_reference(env, value, 1, &mut reference))? };
    // SAFETY: napi said that `data` has this size; it stays until the reference goes (transferring it is forbidden).
    Ok((unsafe { Span::from_raw(data.cast(), length * width) }, reference))
}
