//! Socket options by the numbers of `OPTION` in constants.ts.

use crate::constants::*;
use crate::link::Kind;
use crate::state::{Entry, Object};
use crate::sys::{get_option, set_option, Res};
use libc::{IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOL_SOCKET};

pub fn set(entry: &mut Entry, option: i32, value: i32) -> Res<()> {
    if value < 0 {
        return Err(libc::EINVAL);
    }
    if option == OPTION_PENDING_LIMIT {
        return pending_limit(entry, value);
    }
    let fd = &entry.fd;
    let v6 = get_option(fd, SOL_SOCKET, libc::SO_DOMAIN, 0i32)? == libc::AF_INET6;
    let by_family = |v4: i32, v6_name: i32| {
        let (level, name) = if v6 { (IPPROTO_IPV6, v6_name) } else { (IPPROTO_IP, v4) };
        set_option(fd, level, name, &value)
    };
    match option {
        OPTION_TTL => by_family(libc::IP_TTL, libc::IPV6_UNICAST_HOPS),
        OPTION_TOS => by_family(libc::IP_TOS, libc::IPV6_TCLASS),
        OPTION_MTU_DISCOVER => by_family(libc::IP_MTU_DISCOVER, libc::IPV6_MTU_DISCOVER),
        OPTION_NO_DELAY => set_option(fd, IPPROTO_TCP, libc::TCP_NODELAY, &value),
        OPTION_NOT_SENT_LOWAT => set_option(fd, IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, &value),
        OPTION_RECEIVE_BUFFER => set_option(fd, SOL_SOCKET, libc::SO_RCVBUF, &value),
        OPTION_SEND_BUFFER => set_option(fd, SOL_SOCKET, libc::SO_SNDBUF, &value),
        OPTION_KEEP_ALIVE => {
            set_option(fd, SOL_SOCKET, libc::SO_KEEPALIVE, &i32::from(value > 0))?;
            if value > 0 {
                set_option(fd, IPPROTO_TCP, libc::TCP_KEEPIDLE, &value)?;
            }
            Ok(())
        }
        _ => Err(libc::EINVAL),
    }
}

fn pending_limit(entry: &mut Entry, value: i32) -> Res<()> {
    match &mut entry.object {
        Object::Link(link) => match &mut link.kind {
            Kind::Stream(stream) => {
                stream.limit = value as usize;
                Ok(())
            }
            Kind::Packet(packet) => {
                packet.limit = value as usize;
                Ok(())
            }
            Kind::Tap(_) => Err(libc::EINVAL),
        },
        _ => Err(libc::EINVAL),
    }
}
