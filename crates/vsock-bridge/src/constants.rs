//! Numbers shared with `src/native/constants.ts`; a test there compares them.

/// Raised whenever a call changes or means something else: TypeScript does not use an addon of another number.
pub const INTERFACE: i32 = 1;

pub const READ: u32 = 1;
pub const WRITE: u32 = 2;
pub const ERR: u32 = 4;
pub const HUP: u32 = 8;
pub const RDHUP: u32 = 16;

pub const READY_STRIDE: usize = 2;
pub const RX_STRIDE: usize = 4;
pub const TX_STRIDE: usize = 12;
pub const SLICE_STRIDE: usize = 3;
pub const UDP_TX_STRIDE: usize = 14;
pub const UDP_RX_STRIDE: usize = 14;
pub const UDP_ERROR_STRIDE: usize = 16;
pub const ACCEPT_INTS: usize = 6;

pub const RX_CHECKSUM_OK: i32 = 1;
pub const RX_GSO: i32 = 2;
pub const TX_CHECKSUM: i32 = 1;

pub const UDP_TRUNCATED: i32 = 1;
pub const UDP_IPV6: i32 = 2;

pub const CHILD_SIGNALED: i32 = 256;

pub const MIN_FRAME: usize = 14;
pub const MAX_FRAME: usize = 128 * 1024;
/// Room that one frame of a TAP or packet socket may need.
pub const PACKET_ROOM: usize = 65_568;
/// Default for the bytes that a stream link keeps for its socket.
pub const PENDING_LIMIT: usize = 1024 * 1024;

pub const KIND_TAP: i32 = 0;
pub const KIND_BE32: i32 = 1;
pub const KIND_LE16: i32 = 2;
pub const KIND_SEQPACKET: i32 = 3;
pub const KIND_DGRAM: i32 = 4;

pub const OPTION_TTL: i32 = 1;
pub const OPTION_TOS: i32 = 2;
pub const OPTION_NO_DELAY: i32 = 3;
pub const OPTION_KEEP_ALIVE: i32 = 4;
pub const OPTION_RECEIVE_BUFFER: i32 = 5;
pub const OPTION_SEND_BUFFER: i32 = 6;
pub const OPTION_NOT_SENT_LOWAT: i32 = 7;
pub const OPTION_MTU_DISCOVER: i32 = 8;
pub const OPTION_PENDING_LIMIT: i32 = 9;

/// Every number that TypeScript repeats, by its name there.
pub fn table() -> Vec<(&'static str, i32)> {
    vec![
        ("INTERFACE", INTERFACE),
        ("READ", READ as i32),
        ("WRITE", WRITE as i32),
        ("ERR", ERR as i32),
        ("HUP", HUP as i32),
        ("RDHUP", RDHUP as i32),
        ("READY_STRIDE", READY_STRIDE as i32),
        ("RX_STRIDE", RX_STRIDE as i32),
        ("TX_STRIDE", TX_STRIDE as i32),
        ("SLICE_STRIDE", SLICE_STRIDE as i32),
        ("UDP_TX_STRIDE", UDP_TX_STRIDE as i32),
        ("UDP_RX_STRIDE", UDP_RX_STRIDE as i32),
        ("UDP_ERROR_STRIDE", UDP_ERROR_STRIDE as i32),
        ("ACCEPT_INTS", ACCEPT_INTS as i32),
        ("UDP_TRUNCATED", UDP_TRUNCATED),
        ("UDP_IPV6", UDP_IPV6),
        ("CHILD_SIGNALED", CHILD_SIGNALED),
        ("RX_CHECKSUM_OK", RX_CHECKSUM_OK),
        ("RX_GSO", RX_GSO),
        ("TX_CHECKSUM", TX_CHECKSUM),
        ("MIN_FRAME", MIN_FRAME as i32),
        ("MAX_FRAME", MAX_FRAME as i32),
        ("LINK_KIND.tap", KIND_TAP),
        ("LINK_KIND.be32", KIND_BE32),
        ("LINK_KIND.le16", KIND_LE16),
        ("LINK_KIND.seqpacket", KIND_SEQPACKET),
        ("LINK_KIND.dgram", KIND_DGRAM),
        ("OPTION.ttl", OPTION_TTL),
        ("OPTION.tos", OPTION_TOS),
        ("OPTION.noDelay", OPTION_NO_DELAY),
        ("OPTION.keepAlive", OPTION_KEEP_ALIVE),
        ("OPTION.receiveBuffer", OPTION_RECEIVE_BUFFER),
        ("OPTION.sendBuffer", OPTION_SEND_BUFFER),
        ("OPTION.notSentLowat", OPTION_NOT_SENT_LOWAT),
        ("OPTION.mtuDiscover", OPTION_MTU_DISCOVER),
        ("OPTION.pendingLimit", OPTION_PENDING_LIMIT),
    ]
}
