//! The poller's calls on commands in namespaces.

use crate::constants::READ;
use crate::link::tap::Open;
use crate::netns::{self, Failure, Plan, Setup};
use crate::poller::Poller;
use crate::state::{Object, State};
use crate::sys::Res;
use napi_derive::napi;

#[napi(object)]
pub struct SpawnOptions {
    pub argv: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    pub tap_name: String,
    pub mtu: i32,
    pub mac: String,
    pub guest_ip: u32,
    pub prefix: u32,
    pub gateway_ip: u32,
    pub vnet_header: bool,
    pub offloads: bool,
    pub tx_queue_length: i32,
    pub resolv_conf: String,
    pub user_namespace: bool,
    pub inside_uid: u32,
    pub inside_gid: u32,
    pub hide_name_daemons: bool,
}

#[napi(object)]
pub struct SpawnResult {
    pub errno: i32,
    pub step: String,
    pub pid: i32,
    pub tap: i32,
    pub child: i32,
}

fn parse_mac(text: &str) -> Res<Option<[u8; 6]>> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut mac = [0u8; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2).ok_or(libc::EINVAL)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| libc::EINVAL)?;
    }
    if parts.next().is_some() {
        return Err(libc::EINVAL);
    }
    Ok(Some(mac))
}

fn setup(options: SpawnOptions) -> Res<Setup> {
    Ok(Setup {
        mac: parse_mac(&options.mac)?,
        argv: options.argv,
        env: options.env,
        cwd: options.cwd,
        tap_name: options.tap_name,
        mtu: options.mtu,
        guest_ip: options.guest_ip,
        prefix: options.prefix,
        gateway_ip: options.gateway_ip,
        tap: Open { vnet_header: options.vnet_header, offloads: options.offloads && options.vnet_header },
        tx_queue_length: options.tx_queue_length,
        resolv_conf: options.resolv_conf,
        user_namespace: options.user_namespace,
        inside_uid: options.inside_uid,
        inside_gid: options.inside_gid,
        hide_name_daemons: options.hide_name_daemons,
    })
}

impl State {
    fn spawn(&mut self, options: SpawnOptions) -> Result<SpawnResult, Failure> {
        let offloads = options.offloads && options.vnet_header;
        let prepare = |errno| ("prepare", errno);
        let plan = setup(options).and_then(Plan::new).map_err(prepare)?;
        let spawned = netns::spawn(&plan)?;
        let pid = spawned.child.pid;
        let tap = self.add_tap(spawned.tap, offloads, plan.setup.mtu).map_err(prepare)?;
        let child = self.insert(spawned.pidfd, Object::Child(Box::new(spawned.child)), READ);
        let child = child.map_err(|errno| {
            let _ = self.take(tap);
            prepare(errno)
        })?;
        Ok(SpawnResult { errno: 0, step: String::new(), pid, tap, child })
    }

    fn child(&mut self, handle: i32) -> Res<(&mut netns::Child, &std::os::fd::OwnedFd)> {
        let entry = self.entry(handle)?;
        match &mut entry.object {
            Object::Child(child) => Ok((child, &entry.fd)),
            _ => Err(libc::EINVAL),
        }
    }
}

#[napi]
impl Poller {
    #[napi]
    pub fn spawn_in_netns(&self, options: SpawnOptions) -> SpawnResult {
        let mut failure = ("closed", libc::EBADF);
        let result = self.with_option(|state| state.spawn(options).map_err(|why| failure = why).ok());
        let (step, errno) = failure;
        result.unwrap_or_else(|| SpawnResult { errno, step: step.to_owned(), pid: 0, tap: 0, child: 0 })
    }

    #[napi]
    pub fn spawn_go(&self, child: i32) -> i32 {
        self.with(|state| state.child(child)?.0.go().map(|()| 0))
    }

    #[napi]
    pub fn child_status(&self, child: i32) -> i32 {
        self.with(|state| state.child(child)?.0.poll().ok_or(libc::EAGAIN))
    }

    #[napi]
    pub fn kill(&self, child: i32, signal: i32) -> i32 {
        self.with(|state| {
            let (child, pidfd) = state.child(child)?;
            child.kill(pidfd, signal).map(|()| 0)
        })
    }
}
