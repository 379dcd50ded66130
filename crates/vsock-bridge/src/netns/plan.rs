//! Everything the child needs, made before the fork.

use crate::sys::{c_string, errno, owned, Res};
use std::ffi::{CStr, CString};
use std::os::unix::fs::PermissionsExt;

/// Sockets of daemons that answer names without asking resolv.conf.
const NAME_DAEMONS: [&CStr; 4] = [
    c"/run/nscd/socket",
    c"/var/run/nscd/socket",
    c"/run/systemd/resolve/io.systemd.Resolve",
    c"/run/systemd/resolve/io.systemd.Resolve.Monitor",
];

/// What a caller asks for.
pub struct Setup {
    pub argv: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    pub tap_name: String,
    pub mtu: i32,
    pub mac: Option<[u8; 6]>,
    pub guest_ip: u32,
    pub prefix: u32,
    pub gateway_ip: u32,
    pub tap: crate::link::tap::Open,
    pub tx_queue_length: i32,
    pub resolv_conf: String,
    pub user_namespace: bool,
    pub inside_uid: u32,
    pub inside_gid: u32,
    pub hide_name_daemons: bool,
}

/// A NULL-terminated array of C strings, as exec wants it.
pub struct Strings {
    pointers: Vec<*const libc::c_char>,
    _strings: Vec<CString>,
}

impl Strings {
    fn new(texts: &[String]) -> Res<Strings> {
        let strings = texts.iter().map(|text| c_string(text)).collect::<Res<Vec<_>>>()?;
        let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Ok(Strings { pointers, _strings: strings })
    }

    pub fn as_ptr(&self) -> *const *const libc::c_char {
        self.pointers.as_ptr()
    }
}

/// Who the caller is inside a user namespace: the lines for its maps.
pub struct UserMaps {
    pub uid: CString,
    pub gid: CString,
}

pub struct Plan {
    pub user: Option<UserMaps>,
    pub tap_name: Vec<u8>,
    pub setup: Setup,
    pub argv: Strings,
    /// The command for a script without an interpreter line: `/bin/sh file …`; the second entry is set per candidate.
    pub shell_argv: Vec<*const libc::c_char>,
    pub env: Strings,
    /// Where the command may lie, in PATH's order.
    pub candidates: Vec<CString>,
    pub cwd: CString,
    /// Source and target of the bind mount of resolv.conf.
    pub resolv: Option<(CString, CString)>,
    pub hidden: Vec<&'static CStr>,
    /// For ping_group_range: this group may open ping sockets.
    pub ping_groups: CString,
}

impl Plan {
    pub fn new(setup: Setup) -> Res<Plan> {
        let name = setup.argv.first().filter(|name| !name.is_empty()).ok_or(libc::EINVAL)?;
        let argv = Strings::new(&setup.argv)?;
        let mut shell_argv = vec![c"/bin/sh".as_ptr(), std::ptr::null()];
        shell_argv.extend_from_slice(&argv.pointers[1..]);
        let hidden = if setup.hide_name_daemons { &NAME_DAEMONS[..] } else { &[] };
        // SAFETY: both only read the process's ids.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        let (uid_inside, gid_inside) = (setup.inside_uid, setup.inside_gid);
        let user = if setup.user_namespace {
            Some(UserMaps {
                uid: c_string(&format!("{uid_inside} {uid} 1\n"))?,
                gid: c_string(&format!("{gid_inside} {gid} 1\n"))?,
            })
        } else {
            None
        };
        let group = if setup.user_namespace { gid_inside } else { gid };
        Ok(Plan {
            user,
            tap_name: setup.tap_name.clone().into_bytes(),
            candidates: candidates(name, &setup.env)?,
            env: Strings::new(&setup.env)?,
            cwd: c_string(&setup.cwd)?,
            resolv: resolv_file(&setup.resolv_conf)?,
            hidden: hidden.iter().copied().filter(|path| exists(path)).collect(),
            ping_groups: c_string(&format!("{group} {group}\n"))?,
            argv,
            shell_argv,
            setup,
        })
    }

    /// A plan of which only the namespaces are used.
    pub fn probe() -> Plan {
        let empty = || Strings { pointers: vec![std::ptr::null()], _strings: Vec::new() };
        // SAFETY: both only read the process's ids.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        let map = |outside: u32| CString::new(format!("0 {outside} 1\n")).unwrap_or_default();
        Plan {
            user: Some(UserMaps { uid: map(uid), gid: map(gid) }),
            tap_name: Vec::new(),
            setup: Setup {
                argv: Vec::new(),
                env: Vec::new(),
                cwd: String::new(),
                tap_name: String::new(),
                mtu: 0,
                mac: None,
                guest_ip: 0,
                prefix: 0,
                gateway_ip: 0,
                tap: crate::link::tap::Open { vnet_header: false, offloads: false },
                tx_queue_length: 0,
                resolv_conf: String::new(),
                user_namespace: true,
                inside_uid: 0,
                inside_gid: 0,
                hide_name_daemons: false,
            },
            argv: empty(),
            shell_argv: Vec::new(),
            env: empty(),
            candidates: Vec::new(),
            cwd: CString::default(),
            resolv: None,
            hidden: Vec::new(),
            ping_groups: CString::default(),
        }
    }
}

impl Drop for Plan {
    /// The bind mount keeps the file; its name is not needed any more.
    fn drop(&mut self) {
        if let Some((source, _)) = &self.resolv {
            // SAFETY: unlink with a C string of a file that we made.
            unsafe { libc::unlink(source.as_ptr()) };
        }
    }
}

fn exists(path: &CStr) -> bool {
    // SAFETY: access with a C string.
    unsafe { libc::access(path.as_ptr(), libc::F_OK) == 0 }
}

/// The files that a command name may mean.
fn candidates(name: &str, env: &[String]) -> Res<Vec<CString>> {
    if name.contains('/') {
        return Ok(vec![c_string(name)?]);
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH="));
    let folders = path.unwrap_or("/usr/local/bin:/usr/bin:/bin").split(':');
    let file =
        |folder: &str| if folder.is_empty() { format!("./{name}") } else { format!("{folder}/{name}") };
    folders.map(|folder| c_string(&file(folder))).collect()
}

/// A temporary file with the text, and the file that it is to cover.
fn resolv_file(text: &str) -> Res<Option<(CString, CString)>> {
    if text.is_empty() {
        return Ok(None);
    }
    let folder = std::env::temp_dir();
    let template = format!("{}/netproxy-resolv.XXXXXX", folder.to_str().unwrap_or("/tmp"));
    let raw = c_string(&template)?.into_raw();
    // SAFETY: mkostemp writes into the string, whose length stays.
    let (result, failed, source) = unsafe {
        let result = libc::mkostemp(raw, libc::O_CLOEXEC);
        (result, errno(), CString::from_raw(raw))
    };
    if result < 0 {
        return Err(failed);
    }
    let mut file = std::fs::File::from(owned(result)?);
    let written = std::io::Write::write_all(&mut file, text.as_bytes())
        .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(0o644)));
    if let Err(error) = written {
        // SAFETY: unlink with a C string of a file that we made.
        unsafe { libc::unlink(source.as_ptr()) };
        return Err(error.raw_os_error().unwrap_or(libc::EIO));
    }
    // Where it is a symbolic link the mount goes over what it points to; the kernel would resolve it likewise.
    let target = std::fs::canonicalize("/etc/resolv.conf").unwrap_or_else(|_| "/etc/resolv.conf".into());
    Ok(Some((source, c_string(target.to_str().unwrap_or("/etc/resolv.conf"))?)))
}
