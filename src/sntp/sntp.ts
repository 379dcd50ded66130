/**
 * Answers of a simple network time server (RFC 4330; the format is NTP's, RFC 5905 section 7.3).
 *
 * The gateway tells the host's own clock, whose quality it does not know: stratum 3, a root dispersion of a second,
 * a reference time equal to the time of the answer. Supported: client requests of versions 1 to 4. Not supported:
 * authentication (the extension and the MAC behind the header are ignored, the answer has none), broadcast, symmetric,
 * control and private modes, which are dropped.
 */

/** Length of an NTP header without extensions, in bytes. */
export const SNTP_LENGTH = 48;
export const SNTP_PORT = 123;

const MODE_CLIENT = 3;
const MODE_SERVER = 4;
const STRATUM = 3;
/** 2^-10 s: the clock is read in milliseconds. */
const PRECISION = -10;
/** One second as 16.16 fixed point. */
const ROOT_DISPERSION = 0x00010000;
/** RFC 5905 section 7.3: stratum 2 and up carry an IPv4 address here; 127.127.1.0 is the local clock of ntpd. */
const REFERENCE_ID = 0x7f7f0100;
/** Seconds from 1900 to 1970. */
const ERA = 2_208_988_800;

/**
 * Answers a request, the UDP payload at `offset`; undefined for everything that is no client request.
 * @param wallMs milliseconds since 1970 at the receipt, which serve as time of the answer too
 */
export function answerSntp(
  request: Uint8Array,
  offset: number,
  length: number,
  wallMs: number,
): Uint8Array | undefined {
  if (length < SNTP_LENGTH || offset < 0 || offset + length > request.length) return undefined;
  const head = request[offset]!;
  const version = (head >>> 3) & 7;
  if ((head & 7) !== MODE_CLIENT || version < 1 || version > 4) return undefined;
  const answer = new Uint8Array(SNTP_LENGTH);
  const view = new DataView(answer.buffer);
  // RFC 4330 section 5: version and poll are copied, the leap indicator says that there is nothing to warn of.
  view.setUint8(0, (version << 3) | MODE_SERVER);
  view.setUint8(1, STRATUM);
  view.setUint8(2, request[offset + 2]!);
  view.setInt8(3, PRECISION);
  view.setUint32(8, ROOT_DISPERSION);
  view.setUint32(12, REFERENCE_ID);
  writeTimestamp(view, 16, wallMs);
  // The client's transmit timestamp comes back as originate timestamp, bit for bit.
  answer.set(request.subarray(offset + 40, offset + 48), 24);
  writeTimestamp(view, 32, wallMs);
  writeTimestamp(view, 40, wallMs);
  return answer;
}

/** Seconds since 1900 modulo 2^32 (the era is for the client to guess, RFC 4330 section 3) and their fraction. */
function writeTimestamp(view: DataView, at: number, wallMs: number): void {
  const seconds = Math.floor(wallMs / 1000);
  view.setUint32(at, (seconds + ERA) % 0x100000000);
  view.setUint32(at + 4, Math.floor(((wallMs - seconds * 1000) / 1000) * 0x100000000));
}
