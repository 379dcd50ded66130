//! The state of a poller: one epoll descriptor, the table of everything that is open, and who is ready.

use crate::buffers::{Buffers, Span};
use crate::constants::*;
use crate::datagrams::Batch;
use crate::linger::Linger;
use crate::link::port::Port;
use crate::link::{Link, Scratch};
use crate::lookups::Lookups;
use crate::netns::Child;
use crate::slab::Slab;
use crate::sys::{check, check_int, owned, Res};
use napi::sys;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

pub enum Object {
    Link(Box<Link>),
    /// A unix datagram socket; its peers are links.
    Port(Box<Port>),
    Stream(Stream),
    Listener,
    /// A UDP or ping socket; true: IPv6.
    Datagram(bool),
    Child(Box<Child>),
    Lookups(Box<Lookups>),
    Timer,
}

/// What a stream's calls remember.
#[derive(Clone, Copy, PartialEq)]
pub enum Stream {
    /// Made by `connect`, Nagle's algorithm on: nothing was written yet.
    Fresh,
    /// The first write is out; it had nothing to wait for.
    Begun,
    /// TCP_NODELAY is set, or is none of our business.
    Plain,
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
    /// A connect is under way. It is told by an edge (EPOLLET), so that being writable needs no call to be silenced.
    connecting: bool,
    /// Nobody else has the file description, so that closing it takes it out of the epoll set.
    sole: bool,
}

impl Object {
    /// Something to deliver without the kernel's help.
    fn is_hot(&self) -> bool {
        match self {
            Object::Link(link) => link.is_hot(),
            Object::Port(port) => port.is_hot(),
            _ => false,
        }
    }
}

impl Entry {
    /// An entry that stays out of the epoll set until it has something to wait for.
    pub fn silent(fd: OwnedFd, object: Object) -> Entry {
        Entry { fd, object, mask: 0, armed: None, silent: true, connecting: false, sole: false }
    }
}

/// Events looked at per wake-up.
const MAX_EVENTS: usize = 1024;
/// epoll's data for the descriptor that wakes us for hot links.
const WAKE: u64 = 0;

pub struct State {
    env: sys::napi_env,
    pub epoll: OwnedFd,
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
    pub batch: Batch,
    pub linger: Linger,
}

impl State {
    pub fn new(env: sys::napi_env, ready: Span, ready_reference: sys::napi_ref) -> Res<State> {
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
            batch: Batch::default(),
            linger: Linger::default(),
        })
    }

    /// Takes an object in; its handle.
    pub fn insert(&mut self, fd: OwnedFd, object: Object, mask: u32) -> Res<i32> {
        let entry = Entry { fd, object, mask, armed: None, silent: false, connecting: false, sole: false };
        self.insert_entry(entry)
    }

    /// As `insert`, of a TCP connect that has begun: WRITE is reported once, and then only errors until JavaScript asks for more.
    pub fn insert_connecting(&mut self, fd: OwnedFd) -> Res<i32> {
        let object = Object::Stream(Stream::Fresh);
        self.insert_entry(Entry {
            fd,
            object,
            mask: WRITE,
            armed: None,
            silent: false,
            connecting: true,
            sole: true,
        })
    }

    fn insert_entry(&mut self, entry: Entry) -> Res<i32> {
        let handle = self.slab.insert(entry).map_err(|_| libc::EMFILE)?;
        if let Err(errno) = self.arm(handle) {
            self.slab.remove(handle);
            return Err(errno);
        }
        Ok(handle)
    }

    /// Takes an object out. It leaves the epoll set first: a duplicate of the descriptor elsewhere would keep it there.
    pub fn take(&mut self, handle: i32) -> Res<Entry> {
        let mut entry = self.slab.remove(handle).ok_or(libc::EBADF)?;
        entry.sole = false;
        self.leave(entry)
    }

    /// Takes an object out and closes it.
    pub fn close(&mut self, handle: i32) -> Res<()> {
        let entry = self.slab.remove(handle).ok_or(libc::EBADF)?;
        self.leave(entry).map(drop)
    }

    fn leave(&mut self, entry: Entry) -> Res<Entry> {
        if entry.armed.is_some() && !entry.sole {
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
            Object::Stream(_) => Ok(entry.fd.as_raw_fd()),
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
        let peer = matches!(&entry.object, Object::Link(link) if link.is_peer());
        if entry.mask & READ != 0 && !peer {
            events |= libc::EPOLLIN as u32;
        }
        if entry.mask & RDHUP != 0 {
            events |= libc::EPOLLRDHUP as u32;
        }
        let pending = matches!(&entry.object, Object::Link(link) if link.pending() > 0);
        if pending || entry.mask & WRITE != 0 {
            events |= libc::EPOLLOUT as u32;
        }
        if entry.connecting {
            events |= libc::EPOLLET as u32;
        }
        let wanted = if (entry.silent || peer) && events == 0 { None } else { Some(events) };
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
        if !entry.object.is_hot() {
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
        if entry.connecting {
            entry.connecting = false;
            entry.mask = 0;
            let ended = events & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0;
            return WRITE | if ended { ERR } else { 0 };
        }
        // A ring is told once, for it is taken here: as WRITE, which nobody puts off, unlike READ. Set anew since it rang:
        // then there is nothing to tell.
        if matches!(entry.object, Object::Timer) {
            return if crate::timers::take(entry.fd.as_raw_fd()) { WRITE } else { 0 };
        }
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
            Some(entry) => entry.object.is_hot(),
            None => false,
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

    /// Closes everything and forgets the buffers.
    pub fn clear(&mut self) {
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
    if link.pending() == 0 {
        return wanted;
    }
    match link.writable(entry.fd.as_raw_fd()) {
        Ok(()) if link.pending() > 0 => 0,
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
