//! The poller: one epoll descriptor, the table of everything that is open, and who is ready.

use crate::buffers::{Buffers, Span};
use crate::constants::*;
use crate::link::{Kind as LinkKind, Link, Scratch};
use crate::netns::Child;
use crate::slab::Slab;
use crate::sys::{check, check_int, flat, owned, Res};
use crate::uv::{self, Watcher};
use napi::bindgen_prelude::*;
use napi::{sys, JsValue};
use napi_derive::napi;
use std::cell::RefCell;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;

pub enum Object {
    Link(Box<Link>),
    Stream,
    Listener,
    /// A UDP or ping socket; true: IPv6.
    Datagram(bool),
    Child(Box<Child>),
}

pub struct Entry {
    pub fd: OwnedFd,
    pub object: Object,
    /// What JavaScript wants to hear of.
    mask: u32,
    /// What epoll was told; `None`: the descriptor is not in the set.
    armed: Option<u32>,
    /// An error or the end was reported while nothing was asked for.
    silent: bool,
}

/// Events looked at per wake-up.
const MAX_EVENTS: usize = 1024;
/// epoll's data for the descriptor that wakes us for hot links.
const WAKE: u64 = 0;

pub struct State {
    env: sys::napi_env,
    epoll: OwnedFd,
    wake: OwnedFd,
    woken: bool,
    pub slab: Slab<Entry>,
    pub buffers: Buffers,
    ready: Span,
    /// Keeps the memory of `ready` alive.
    ready_reference: sys::napi_ref,
    events: Vec<libc::epoll_event>,
    /// Links that have something to deliver without the kernel's help.
    hot: Vec<i32>,
    pub scratch: Scratch,
}

impl State {
    fn new(env: sys::napi_env, ready: Span, ready_reference: sys::napi_ref) -> Res<State> {
        // SAFETY: both calls take numbers only.
        let (epoll, wake) = unsafe {
            (
                owned(libc::epoll_create1(libc::EPOLL_CLOEXEC))?,
                owned(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?,
            )
        };
        control(&epoll, libc::EPOLL_CTL_ADD, wake.as_raw_fd(), libc::EPOLLIN as u32, WAKE)?;
        let capacity = MAX_EVENTS.min((ready.len() / (4 * READY_STRIDE)).max(1));
        Ok(State {
            env,
            epoll,
            wake,
            woken: false,
            slab: Slab::default(),
            buffers: Buffers::default(),
            ready,
            ready_reference,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; capacity],
            hot: Vec::new(),
            scratch: Scratch::default(),
        })
    }

    /// Takes an object in; its handle.
    pub fn insert(&mut self, fd: OwnedFd, object: Object, mask: u32) -> Res<i32> {
        let entry = Entry {
            fd,
            object,
            mask,
            armed: None,
            silent: false,
        };
        let handle = self.slab.insert(entry).map_err(|_| libc::EMFILE)?;
        if let Err(errno) = self.arm(handle) {
            self.slab.remove(handle);
            return Err(errno);
        }
        Ok(handle)
    }

    /// Takes an object out. It leaves the epoll set first: a duplicate of the descriptor elsewhere would keep it there.
    pub fn take(&mut self, handle: i32) -> Res<Entry> {
        let entry = self.slab.remove(handle).ok_or(libc::EBADF)?;
        if entry.armed.is_some() {
            control(&self.epoll, libc::EPOLL_CTL_DEL, entry.fd.as_raw_fd(), 0, 0)?;
        }
        Ok(entry)
    }

    pub fn entry(&mut self, handle: i32) -> Res<&mut Entry> {
        self.slab.get_mut(handle).ok_or(libc::EBADF)
    }

    pub fn fd(&self, handle: i32) -> Res<RawFd> {
        Ok(self.slab.get(handle).ok_or(libc::EBADF)?.fd.as_raw_fd())
    }

    /// The descriptor of a connected stream.
    pub fn stream_fd(&self, handle: i32) -> Res<RawFd> {
        let entry = self.slab.get(handle).ok_or(libc::EBADF)?;
        match entry.object {
            Object::Stream => Ok(entry.fd.as_raw_fd()),
            _ => Err(libc::EINVAL),
        }
    }

    pub fn link(&mut self, handle: i32) -> Res<(&mut Link, RawFd)> {
        let entry = self.entry(handle)?;
        let fd = entry.fd.as_raw_fd();
        match &mut entry.object {
            Object::Link(link) => Ok((link, fd)),
            _ => Err(libc::EINVAL),
        }
    }

    /// Tells epoll what is wanted now.
    pub fn arm(&mut self, handle: i32) -> Res<()> {
        let entry = self.slab.get_mut(handle).ok_or(libc::EBADF)?;
        let mut events = 0;
        if entry.mask & READ != 0 {
            events |= libc::EPOLLIN as u32;
        }
        if entry.mask & RDHUP != 0 {
            events |= libc::EPOLLRDHUP as u32;
        }
        let pending = matches!(&entry.object, Object::Link(link) if link.pending() > 0);
        if pending || entry.mask & WRITE != 0 {
            events |= libc::EPOLLOUT as u32;
        }
        let wanted = if entry.silent && events == 0 { None } else { Some(events) };
        if wanted == entry.armed {
            return Ok(());
        }
        let how = match (entry.armed, wanted) {
            (None, _) => libc::EPOLL_CTL_ADD,
            (_, Some(_)) => libc::EPOLL_CTL_MOD,
            (_, None) => libc::EPOLL_CTL_DEL,
        };
        control(&self.epoll, how, entry.fd.as_raw_fd(), events, handle as u64)?;
        entry.armed = wanted;
        Ok(())
    }

    pub fn interest(&mut self, handle: i32, mask: i32) -> Res<i32> {
        let entry = self.entry(handle)?;
        entry.mask = mask as u32 & (READ | WRITE | RDHUP);
        if entry.mask != 0 {
            entry.silent = false;
        }
        self.arm(handle)?;
        if mask as u32 & READ != 0 {
            self.warm(handle);
        }
        Ok(0)
    }

    /// Remembers a link that has something to deliver, and makes sure that somebody looks.
    pub fn warm(&mut self, handle: i32) {
        let Some(entry) = self.slab.get(handle) else { return };
        if !matches!(&entry.object, Object::Link(link) if link.is_hot()) {
            return;
        }
        let wanted = entry.mask & READ != 0;
        if !self.hot.contains(&handle) {
            self.hot.push(handle);
        }
        if wanted && !self.woken {
            // SAFETY: writes eight bytes from a local.
            let result = unsafe { libc::write(self.wake.as_raw_fd(), (&1u64 as *const u64).cast(), 8) };
            self.woken = result == 8;
        }
    }

    /// Fills `ready` with what happened; returns the number of handles.
    pub fn dispatch(&mut self) -> usize {
        let max = self.events.len() as i32;
        // SAFETY: `events` is writable for `max` events.
        let result = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), max, 0) };
        let found = check(result as isize).unwrap_or(0);
        let mut count = 0;
        for i in 0..found {
            let event = self.events[i];
            if event.u64 != WAKE {
                let handle = event.u64 as i32;
                let bits = self.judge(handle, event.events);
                self.report(&mut count, handle, bits);
            }
        }
        if !self.hot.is_empty() || self.woken {
            self.dispatch_hot(&mut count);
        }
        count
    }

    fn report(&mut self, count: &mut usize, handle: i32, bits: u32) {
        if bits == 0 {
            return;
        }
        let at = *count * READY_STRIDE * 4;
        let fits = at + READY_STRIDE * 4 <= self.ready.len();
        if fits && self.ready.write(at, &handle.to_ne_bytes()) {
            self.ready.write(at + 4, &bits.to_ne_bytes());
            *count += 1;
        }
    }

    /// What JavaScript hears of an event.
    fn judge(&mut self, handle: i32, events: u32) -> u32 {
        let Some(entry) = self.slab.get_mut(handle) else { return 0 };
        let has = |flag: i32| events & flag as u32 != 0;
        let mut bits = 0;
        if has(libc::EPOLLIN) {
            bits |= entry.mask & READ;
        }
        if has(libc::EPOLLERR) {
            bits |= ERR;
        }
        if has(libc::EPOLLHUP) {
            bits |= HUP;
        }
        if has(libc::EPOLLRDHUP) {
            bits |= entry.mask & RDHUP;
            entry.mask &= !RDHUP;
        }
        let ended = bits & (ERR | HUP) != 0;
        if has(libc::EPOLLOUT) || ended {
            bits |= writable(entry);
        }
        if ended && entry.mask == 0 {
            entry.silent = true;
        }
        // The set follows the mask; that it cannot be told is no reason to lose the event.
        let _ = self.arm(handle);
        bits
    }

    fn dispatch_hot(&mut self, count: &mut usize) {
        let slab = &self.slab;
        self.hot.retain(|&handle| match slab.get(handle) {
            Some(Entry { object: Object::Link(link), .. }) => link.is_hot(),
            _ => false,
        });
        let wanted = |handle: &i32| slab.get(*handle).is_some_and(|entry| entry.mask & READ != 0);
        let list: Vec<i32> = self.hot.iter().copied().filter(wanted).collect();
        for &handle in &list {
            self.report(count, handle, READ);
        }
        if list.is_empty() && self.woken {
            let mut value = 0u64;
            // SAFETY: reads eight bytes into a local.
            unsafe { libc::read(self.wake.as_raw_fd(), (&mut value as *mut u64).cast(), 8) };
            self.woken = false;
        }
    }

    fn clear(&mut self) {
        self.slab.clear();
        self.hot.clear();
        self.ready = Span::EMPTY;
        let buffers = self.buffers.take_all();
        for reference in buffers.into_iter().chain([self.ready_reference]) {
            // SAFETY: the reference was made in this environment; it is deleted once, for the state is gone after this.
            unsafe { sys::napi_delete_reference(self.env, reference) };
        }
    }
}

/// Flushes a link that can write, and says whether JavaScript hears of it.
fn writable(entry: &mut Entry) -> u32 {
    let wanted = entry.mask & WRITE;
    let Object::Link(link) = &mut entry.object else { return wanted };
    let LinkKind::Stream(stream) = &mut link.kind else { return wanted };
    if stream.pending.len() == 0 {
        return wanted;
    }
    match stream.flush(entry.fd.as_raw_fd()) {
        Ok(()) if stream.pending.len() > 0 => 0,
        Ok(()) => WRITE,
        Err(_) => ERR,
    }
}

fn control(epoll: &OwnedFd, how: i32, fd: RawFd, events: u32, data: u64) -> Res<()> {
    let mut event = libc::epoll_event { events, u64: data };
    // SAFETY: the kernel reads one event from a local.
    check_int(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), how, fd, &mut event) })?;
    Ok(())
}

/// What the JavaScript object and the watcher share.
pub struct Shared {
    state: RefCell<Option<State>>,
    watcher: RefCell<Option<Watcher>>,
}

impl Shared {
    pub fn dispatch(&self) -> i32 {
        let mut state = self.state.borrow_mut();
        state.as_mut().map_or(0, |state| state.dispatch() as i32)
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
        let error = |errno: i32| napi::Error::from_reason(format!("no poller: {}", std::io::Error::from_raw_os_error(errno)));
        if on_ready.get_type()? != ValueType::Function {
            return Err(napi::Error::new(Status::FunctionExpected, "onReady must be a function"));
        }
        let (span, reference) = memory(raw, ready.raw()).map_err(error)?;
        let state = State::new(raw, span, reference).map_err(error)?;
        let fd = state.epoll.as_raw_fd();
        let shared = Rc::new(Shared {
            state: RefCell::new(Some(state)),
            watcher: RefCell::new(None),
        });
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

    #[napi]
    pub fn poll(&self) -> i32 {
        self.shared.dispatch()
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
        self.with(|state| state.take(handle).map(|_| 0))
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
    let ok = |status: sys::napi_status| if status == sys::Status::napi_ok { Ok(()) } else { Err(libc::EINVAL) };
    let (mut kind, mut length, mut offset) = (0, 0, 0);
    let (mut data, mut array) = (std::ptr::null_mut(), std::ptr::null_mut());
    let (mut is_array_buffer, mut resizable) = (false, false);
    let mut property = std::ptr::null_mut();
    let mut reference = std::ptr::null_mut();
    // SAFETY: `env` and `value` belong to the running call; all out-pointers are locals.
    unsafe {
        ok(sys::napi_get_typedarray_info(env, value, &mut kind, &mut length, &mut data, &mut array, &mut offset))?;
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
