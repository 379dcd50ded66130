//! One uv_poll handle on the event loop of the environment that made a poller. It watches the poller's epoll descriptor
//! and calls `onReady` in a proper callback scope, so that microtasks and ticks run and exceptions surface.
//!
//! libuv's functions are looked up at run time: node exports them, and a test binary can do without.

use crate::poller::Shared;
use napi::sys;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::os::fd::RawFd;
use std::rc::Rc;

const UV_POLL: c_int = 8;
const UV_READABLE: c_int = 1;

type PollCallback = unsafe extern "C" fn(*mut c_void, c_int, c_int);
type CloseCallback = unsafe extern "C" fn(*mut c_void);

#[derive(Clone, Copy)]
struct Uv {
    handle_size: unsafe extern "C" fn(c_int) -> usize,
    poll_init: unsafe extern "C" fn(*mut c_void, *mut c_void, c_int) -> c_int,
    poll_start: unsafe extern "C" fn(*mut c_void, c_int, PollCallback) -> c_int,
    close: unsafe extern "C" fn(*mut c_void, CloseCallback),
    keep: unsafe extern "C" fn(*mut c_void),
    unkeep: unsafe extern "C" fn(*mut c_void),
    event_loop: unsafe extern "C" fn(sys::napi_env, *mut *mut c_void) -> sys::napi_status,
}

impl Uv {
    fn find() -> Option<Uv> {
        fn symbol<T: Copy>(name: &CStr) -> Option<T> {
            // SAFETY: dlsym with a C string; RTLD_DEFAULT needs no handle.
            let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr() as *const c_char) };
            if address.is_null() {
                return None;
            }
            // SAFETY: T is a function pointer of this symbol's documented type, of the same size as an address.
            Some(unsafe { std::mem::transmute_copy(&address) })
        }
        Some(Uv {
            handle_size: symbol(c"uv_handle_size")?,
            poll_init: symbol(c"uv_poll_init")?,
            poll_start: symbol(c"uv_poll_start")?,
            close: symbol(c"uv_close")?,
            keep: symbol(c"uv_ref")?,
            unkeep: symbol(c"uv_unref")?,
            event_loop: symbol(c"napi_get_uv_event_loop")?,
        })
    }
}

/// The watcher; it lives from `start` until libuv has closed its handle.
struct Watch {
    uv: Uv,
    env: sys::napi_env,
    /// The uv_poll_t: its first field is the user's pointer.
    handle: *mut c_void,
    /// Layout that `handle` was allocated with.
    layout: std::alloc::Layout,
    shared: Rc<Shared>,
    on_ready: sys::napi_ref,
    context: sys::napi_async_context,
    hook: sys::napi_async_cleanup_hook_handle,
}

/// What a poller keeps of its watcher. All calls are on the environment's thread.
pub struct Watcher(*mut Watch);

impl Watcher {
    pub fn set_ref(&self, keep: bool) {
        // SAFETY: the watch lives until its close callback, and the poller drops the watcher when it starts closing.
        unsafe {
            let watch = &*self.0;
            if keep {
                (watch.uv.keep)(watch.handle);
            } else {
                (watch.uv.unkeep)(watch.handle);
            }
        }
    }

    /// Starts closing; the watch frees itself in its close callback.
    pub fn close(self) {
        // SAFETY: as above; `self` is consumed, so the handle is closed once.
        unsafe {
            let watch = &*self.0;
            (watch.uv.close)(watch.handle, on_closed);
        }
    }
}

fn status(result: sys::napi_status, what: &str) -> napi::Result<()> {
    if result == sys::Status::napi_ok {
        return Ok(());
    }
    Err(napi::Error::from_reason(format!("{what} failed ({result})")))
}

/// Watches `fd` on the loop of `env`. `on_ready` is a function value of the current scope.
pub fn start(
    env: sys::napi_env,
    on_ready: sys::napi_value,
    fd: RawFd,
    shared: Rc<Shared>,
) -> napi::Result<Watcher> {
    let uv = Uv::find().ok_or_else(|| napi::Error::from_reason("this runtime does not export libuv"))?;
    let mut event_loop = std::ptr::null_mut();
    let mut reference = std::ptr::null_mut();
    let mut context = std::ptr::null_mut();
    let mut name = std::ptr::null_mut();
    // SAFETY: `env` is the current environment; all out-pointers are locals.
    unsafe {
        status((uv.event_loop)(env, &mut event_loop), "napi_get_uv_event_loop")?;
        let text = c"netproxy.Poller";
        status(
            sys::napi_create_string_utf8(env, text.as_ptr(), text.to_bytes().len() as isize, &mut name),
            "napi_create_string_utf8",
        )?;
        status(sys::napi_create_reference(env, on_ready, 1, &mut reference), "napi_create_reference")?;
        status(sys::napi_async_init(env, std::ptr::null_mut(), name, &mut context), "napi_async_init")?;
    }
    // SAFETY: uv_handle_size takes a number.
    let size = unsafe { (uv.handle_size)(UV_POLL) }.max(64);
    let layout = std::alloc::Layout::from_size_align(size, 16)
        .map_err(|_| napi::Error::from_reason("uv_handle_size"))?;
    // SAFETY: the layout's size is not zero; a null result is handled.
    let handle: *mut c_void = unsafe { std::alloc::alloc_zeroed(layout) }.cast();
    if handle.is_null() {
        return Err(napi::Error::from_reason("out of memory"));
    }
    let watch = Box::into_raw(Box::new(Watch {
        uv,
        env,
        handle,
        layout,
        shared,
        on_ready: reference,
        context,
        hook: std::ptr::null_mut(),
    }));
    // SAFETY: handle is a zeroed uv_poll_t of libuv's size; `data` is its first field; watch lives until on_closed.
    unsafe {
        let failed = (uv.poll_init)(event_loop, handle, fd);
        if failed != 0 {
            release(watch);
            return Err(napi::Error::from_reason(format!("uv_poll_init failed ({failed})")));
        }
        *handle.cast::<*mut c_void>() = watch.cast();
        let failed = (uv.poll_start)(handle, UV_READABLE, on_poll);
        let hooked =
            sys::napi_add_async_cleanup_hook(env, Some(on_cleanup), watch.cast(), &mut (*watch).hook);
        if failed != 0 || hooked != sys::Status::napi_ok {
            (uv.close)(handle, on_closed);
            return Err(napi::Error::from_reason(format!("uv_poll_start failed ({failed})")));
        }
    }
    Ok(Watcher(watch))
}

unsafe extern "C" fn on_poll(handle: *mut c_void, _status: c_int, _events: c_int) {
    // SAFETY: libuv calls only between init and close, when `data` points to the live watch.
    let watch = unsafe { &**handle.cast::<*mut Watch>() };
    let ready = watch.shared.wake();
    if ready > 0 {
        // SAFETY: called on the environment's thread from its loop, outside any scope.
        unsafe { call(watch.env, watch.context, watch.on_ready, ready) };
    }
}

/// Calls the function behind `on_ready` with a number.
///
/// # Safety
/// Must run on the thread of `env`, with all handles alive.
unsafe fn call(env: sys::napi_env, context: sys::napi_async_context, on_ready: sys::napi_ref, count: i32) {
    let mut scope = std::ptr::null_mut();
    if sys::napi_open_handle_scope(env, &mut scope) != sys::Status::napi_ok {
        return;
    }
    let mut function = std::ptr::null_mut();
    let mut global = std::ptr::null_mut();
    let mut argument = std::ptr::null_mut();
    let mut result = std::ptr::null_mut();
    sys::napi_get_reference_value(env, on_ready, &mut function);
    sys::napi_get_global(env, &mut global);
    sys::napi_create_int32(env, count, &mut argument);
    if !function.is_null() {
        let outcome = sys::napi_make_callback(env, context, global, function, 1, &argument, &mut result);
        if outcome == sys::Status::napi_pending_exception {
            let mut error = std::ptr::null_mut();
            if sys::napi_get_and_clear_last_exception(env, &mut error) == sys::Status::napi_ok {
                sys::napi_fatal_exception(env, error);
            }
        }
    }
    sys::napi_close_handle_scope(env, scope);
}

/// The environment (main thread or worker) goes away: close, and let it wait for `on_closed`.
unsafe extern "C" fn on_cleanup(_hook: sys::napi_async_cleanup_hook_handle, watch: *mut c_void) {
    // SAFETY: the hook is removed before the watch is freed.
    let shared = unsafe { Rc::clone(&(*watch.cast::<Watch>()).shared) };
    shared.close();
}

unsafe extern "C" fn on_closed(handle: *mut c_void) {
    // SAFETY: `data` was set to the watch before the handle could be closed; libuv calls this once.
    unsafe { release(*handle.cast::<*mut Watch>()) };
}

/// Frees a watch and what it holds.
///
/// # Safety
/// `watch` came from `Box::into_raw`, is not used again, and libuv has let go of the handle.
unsafe fn release(watch: *mut Watch) {
    let watch = Box::from_raw(watch);
    sys::napi_delete_reference(watch.env, watch.on_ready);
    sys::napi_async_destroy(watch.env, watch.context);
    std::alloc::dealloc(watch.handle.cast(), watch.layout);
    if !watch.hook.is_null() {
        sys::napi_remove_async_cleanup_hook(watch.hook);
    }
}
