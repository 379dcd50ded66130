//! Names and addresses by the C library, on threads of our own: getaddrinfo blocks for as long as it likes, and libuv's threads
//! serve files too. A pool has a few threads, begun when they are needed and ended when they are idle, a bounded
//! queue, and an eventfd that says that something is done. Nobody can end a call: whoever waits gives up by himself.

use crate::address::Address;
use crate::constants::READ;
use crate::poller::Poller;
use crate::state::{Object, State};
use crate::sys::{c_string, errno, owned, Errno, Res};
use napi_derive::napi;
use std::collections::VecDeque;
use std::ffi::{c_char, c_int, CStr, CString};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

/// An idle thread ends after this.
const IDLE: Duration = Duration::from_secs(10);
/// NSS modules may want a lot of it; only what is used costs memory.
const STACK: usize = 8 * 1024 * 1024;
const MAX_THREADS: i32 = 64;
const MAX_QUEUE: i32 = 65_536;
/// Longest name that a resolver takes, bytes.
const MAX_NAME: usize = 1024;

enum Question {
    Name(CString),
    Address(Box<Address>),
}

/// What a call said: texts, or EAI_… (negative), or an errno (positive).
type Answer = Result<Vec<String>, c_int>;

#[napi(object)]
pub struct LookupResult {
    pub id: i32,
    pub error: i32,
    pub found: Vec<String>,
}

#[derive(Default)]
struct Work {
    queue: VecDeque<(i32, Question)>,
    done: VecDeque<(i32, Answer)>,
    threads: usize,
    idle: usize,
    last_id: i32,
    closed: bool,
}

struct Shared {
    work: Mutex<Work>,
    wake: Condvar,
    /// Readable while `done` is not empty.
    event: OwnedFd,
    run: fn(&Question) -> Answer,
}

pub struct Lookups {
    shared: Arc<Shared>,
    threads: usize,
    queue: usize,
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        // Nothing panics while it holds the lock, and panics abort.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does until it is idle for long, or the pool is closed.
    fn serve(&self) {
        let mut work = self.work();
        loop {
            while let (false, Some((id, question))) = (work.closed, work.queue.pop_front()) {
                drop(work);
                let answer = (self.run)(&question);
                work = self.work();
                work.done.push_back((id, answer));
                // SAFETY: writes eight bytes from a local.
                unsafe { libc::write(self.event.as_raw_fd(), (&1u64 as *const u64).cast(), 8) };
            }
            if !work.closed {
                work.idle += 1;
                let waited = self.wake.wait_timeout(work, IDLE);
                let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                work = guard;
                work.idle -= 1;
                if !timeout.timed_out() || !work.queue.is_empty() {
                    continue;
                }
            }
            work.threads -= 1;
            return;
        }
    }
}

impl Lookups {
    /// A pool and a descriptor that becomes readable when something is done.
    fn new(threads: usize, queue: usize, run: fn(&Question) -> Answer) -> Res<(Lookups, OwnedFd)> {
        // SAFETY: eventfd takes numbers.
        let event = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        let watched = event.try_clone().map_err(|error| error.raw_os_error().unwrap_or(libc::EMFILE))?;
        let shared = Shared { work: Mutex::default(), wake: Condvar::new(), event, run };
        Ok((Lookups { shared: Arc::new(shared), threads, queue }, watched))
    }

    fn ask(&self, question: Question) -> Res<i32> {
        let mut work = self.shared.work();
        if work.queue.len() >= self.queue {
            return Err(libc::EAGAIN);
        }
        if work.idle <= work.queue.len() && work.threads < self.threads {
            match start(Arc::clone(&self.shared)) {
                Ok(()) => work.threads += 1,
                Err(errno) if work.threads == 0 => return Err(errno),
                // Those that are there will come to it.
                Err(_) => {}
            }
        }
        work.last_id = work.last_id.checked_add(1).unwrap_or(1);
        let id = work.last_id;
        work.queue.push_back((id, question));
        self.shared.wake.notify_one();
        Ok(id)
    }

    fn take(&self) -> Option<(i32, Answer)> {
        let mut work = self.shared.work();
        let found = work.done.pop_front();
        if work.done.is_empty() {
            let mut value = 0u64;
            // SAFETY: reads eight bytes into a local.
            unsafe { libc::read(self.shared.event.as_raw_fd(), (&mut value as *mut u64).cast(), 8) };
        }
        found
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        let mut work = self.shared.work();
        work.closed = true;
        work.queue.clear();
        work.done.clear();
        self.shared.wake.notify_all();
    }
}

fn start(shared: Arc<Shared>) -> Res<()> {
    stay_loaded();
    let thread = std::thread::Builder::new().name("netproxy-lookup".into()).stack_size(STACK);
    // Signals are for the threads that the runtime made: the new thread inherits a mask without any.
    // SAFETY: all-zero is a valid sigset_t; the calls read and write locals.
    let outcome = unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let outcome = thread.spawn(move || shared.serve());
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        outcome
    };
    outcome.map(drop).map_err(|error| error.raw_os_error().unwrap_or(libc::EAGAIN))
}

/// The runtime unloads the addon with the worker that loaded it; a thread may be in a call then.
fn stay_loaded() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: dladdr gets an address of this library and a local; the name it finds is a C string.
        unsafe {
            let mut info: libc::Dl_info = std::mem::zeroed();
            if libc::dladdr(stay_loaded as *const libc::c_void, &mut info) != 0 && !info.dli_fname.is_null() {
                libc::dlopen(info.dli_fname, libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE);
            }
        }
    });
}

/// An error of the resolver: EAI_SYSTEM means errno.
fn failure(code: c_int, errno: Errno) -> c_int {
    if code == libc::EAI_SYSTEM {
        errno.max(1)
    } else {
        code
    }
}

fn ask_system(question: &Question) -> Answer {
    match question {
        Question::Name(name) => addresses(name),
        Question::Address(address) => name_of(address),
    }
}

fn addresses(name: &CStr) -> Answer {
    // SAFETY: all-zero hints are valid: any family, no flags.
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    // One entry per address instead of one per kind of socket.
    hints.ai_socktype = libc::SOCK_STREAM;
    let mut list = std::ptr::null_mut();
    // SAFETY: a C string, hints and an out-pointer of ours.
    let code = unsafe { libc::getaddrinfo(name.as_ptr(), std::ptr::null(), &hints, &mut list) };
    if code != 0 {
        return Err(failure(code, errno()));
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: a valid list until it is freed; ai_addr is of the family that ai_family says.
    unsafe {
        while let Some(entry) = next.as_ref() {
            match entry.ai_family {
                libc::AF_INET => {
                    let address = &*entry.ai_addr.cast::<libc::sockaddr_in>();
                    found.push(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).to_string());
                }
                libc::AF_INET6 => {
                    let address = &*entry.ai_addr.cast::<libc::sockaddr_in6>();
                    found.push(Ipv6Addr::from(address.sin6_addr.s6_addr).to_string());
                }
                _ => {}
            }
            next = entry.ai_next;
        }
        libc::freeaddrinfo(list);
    }
    Ok(found)
}

fn name_of(address: &Address) -> Answer {
    let mut name = [0 as c_char; MAX_NAME + 1];
    let (room, none) = (name.len() as libc::socklen_t, std::ptr::null_mut());
    // SAFETY: the address is valid for its length, the buffer writable for its own.
    let code = unsafe {
        let flags = libc::NI_NAMEREQD;
        libc::getnameinfo(address.as_ptr(), address.length, name.as_mut_ptr(), room, none, 0, flags)
    };
    if code != 0 {
        return Err(failure(code, errno()));
    }
    // SAFETY: getnameinfo ended the name with a NUL inside the buffer.
    Ok(vec![unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned()])
}

impl State {
    fn lookup_open(&mut self, threads: i32, queue: i32) -> Res<i32> {
        if !(1..=MAX_THREADS).contains(&threads) || !(1..=MAX_QUEUE).contains(&queue) {
            return Err(libc::EINVAL);
        }
        let (lookups, fd) = Lookups::new(threads as usize, queue as usize, ask_system)?;
        self.insert(fd, Object::Lookups(Box::new(lookups)), READ)
    }

    fn lookups(&mut self, handle: i32) -> Res<&Lookups> {
        match &self.entry(handle)?.object {
            Object::Lookups(lookups) => Ok(lookups),
            _ => Err(libc::EINVAL),
        }
    }
}

#[napi]
impl Poller {
    #[napi]
    pub fn lookup_open(&self, threads: i32, queue: i32) -> i32 {
        self.with(|state| state.lookup_open(threads, queue))
    }

    #[napi]
    pub fn lookup_name(&self, handle: i32, name: String) -> i32 {
        self.with(|state| {
            if name.is_empty() || name.len() > MAX_NAME {
                return Err(libc::EINVAL);
            }
            state.lookups(handle)?.ask(Question::Name(c_string(&name)?))
        })
    }

    #[napi]
    pub fn lookup_address(&self, handle: i32, address: String) -> i32 {
        self.with(|state| {
            let address = Address::parse(&address, 0)?;
            state.lookups(handle)?.ask(Question::Address(Box::new(address)))
        })
    }

    #[napi]
    pub fn lookup_take(&self, handle: i32) -> Option<LookupResult> {
        self.with_option(|state| {
            let (id, answer) = state.lookups(handle).ok()?.take()?;
            let (error, found) = match answer {
                Ok(found) => (0, found),
                Err(error) => (error, Vec::new()),
            };
            Some(LookupResult { id, error, found })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);

    fn slow(question: &Question) -> Answer {
        MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        RUNNING.fetch_sub(1, Ordering::SeqCst);
        match question {
            Question::Name(name) => Ok(vec![name.to_string_lossy().into_owned()]),
            Question::Address(_) => Err(libc::EAI_NONAME),
        }
    }

    fn until<T>(mut what: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(found) = what() {
                return found;
            }
            assert!(Instant::now() < end, "in time");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn threads_and_queue_are_bounded_and_every_question_is_answered() {
        let (lookups, fd) = Lookups::new(3, 10, slow).unwrap();
        let name = |i: usize| Question::Name(CString::new(format!("n{i}")).unwrap());
        let mut asked = Vec::new();
        let refused = loop {
            match lookups.ask(name(asked.len())) {
                Ok(id) => asked.push(id),
                Err(errno) => break errno,
            }
        };
        assert_eq!(refused, libc::EAGAIN);
        assert!((10..=13).contains(&asked.len()));
        let mut answers = Vec::new();
        while answers.len() < asked.len() {
            answers.push(until(|| lookups.take()));
        }
        answers.sort_by_key(|(id, _)| *id);
        for (i, (id, answer)) in answers.iter().enumerate() {
            assert_eq!((*id, answer), (asked[i], &Ok(vec![format!("n{i}")])));
        }
        assert_eq!(MOST.load(Ordering::SeqCst), 3);
        let mut value = [0u8; 8];
        // SAFETY: eight bytes of a local.
        let left = unsafe { libc::read(fd.as_raw_fd(), value.as_mut_ptr().cast(), 8) };
        assert_eq!(left, -1, "nothing is left to tell");
        let shared = Arc::clone(&lookups.shared);
        drop(lookups);
        until(|| (shared.work().threads == 0).then_some(()));
    }

    #[test]
    fn the_system_knows_localhost() {
        let found = addresses(c"localhost").unwrap();
        assert!(found.iter().any(|address| address == "127.0.0.1" || address == "::1"), "{found:?}");
        assert_eq!(addresses(c"127.0.0.9"), Ok(vec!["127.0.0.9".to_owned()]));
    }
}
