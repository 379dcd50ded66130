// Merges TCP segments on their way to the guest, as the receive path of a guest's virtio driver does (GRO): what follows
// in the same read, of the same flow and in order, becomes one super-segment for the TAP.
#ifndef BENCH_GRO_H
#define BENCH_GRO_H
#include "tap.h"
#include <arpa/inet.h>
#include <stdint.h>
#include <sys/uio.h>

enum { PARTS = 48, SUPER = 65535, ETH = 14, IP = 20, F_ACK = 0x10, F_PSH = 0x08 };

struct virtio {
  uint8_t flags, gso_type;
  uint16_t hdr_len, gso_size, csum_start, csum_offset, buffers;
};

static struct virtio head;
static struct iovec parts[PARTS];
// The super-segment so far: its first frame, the length of its headers, of the first payload and of all, the next sequence number.
static uint8_t *first;
static int held, headers, mss, total, closed;
static uint32_t next;

static inline uint32_t word(const uint8_t *p) { return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }
static inline int half(const uint8_t *p) { return p[0] << 8 | p[1]; }
static inline void put(uint8_t *p, int v) { p[0] = v >> 8, p[1] = v; }

static uint32_t sum(const uint8_t *p, int n) {
  uint32_t s = 0;
  for (int i = 0; i + 1 < n; i += 2) s += half(p + i);
  return s;
}
static int fold(uint32_t s) {
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  return s;
}

static void gro_flush(int tap) {
  if (held == 0) return;
  memset(&head, 0, sizeof head);
  if (held > 1) {
    uint8_t *ip = first + ETH, *tcp = ip + IP;
    put(ip + 2, headers - ETH + total);
    put(ip + 10, 0);
    put(ip + 10, ~fold(sum(ip, IP)) & 0xffff);
    put(tcp + 16, fold(sum(ip + 12, 8) + 6 + headers - ETH - IP + total));
    head = (struct virtio){1, 1, headers, mss, ETH + IP, 16, 0};
  }
  parts[0] = (struct iovec){&head, sizeof head};
  // EIO while the interface is down, EINVAL for a frame that is too short: lost, as on a wire.
  if (writev(tap, parts, held + 1) < 0 && errno != EAGAIN && errno != EIO && errno != EINVAL) quit("tap");
  held = 0;
}

// Takes a frame that stays where it is until the next flush.
static void gro_frame(int tap, uint8_t *frame, int length) {
  uint8_t *ip = frame + ETH, *tcp = ip + IP;
  int size = 0, payload = 0, plain = 0;
  if (length >= ETH + IP + 20 && half(frame + 12) == 0x0800 && ip[0] == 0x45 && ip[9] == 6 && !(half(ip + 6) & 0x3fff)) {
    size = ETH + IP + (tcp[12] >> 4) * 4;
    payload = half(ip + 2) + ETH - size;
    plain = size >= ETH + IP + 20 && payload > 0 && size + payload <= length && (tcp[13] & ~F_PSH) == F_ACK;
  }
  if (held > 0) {
    const uint8_t *was = first + ETH + IP;
    int same = plain && !closed && size == headers && payload <= mss && held + 1 < PARTS && total + payload + size <= SUPER &&
               word(tcp + 4) == next && !memcmp(first, frame, ETH) && !memcmp(first + ETH + 12, ip + 12, 8) &&
               ip[1] == first[ETH + 1] && !memcmp(was, tcp, 4) && !memcmp(was + 8, tcp + 8, 4) &&
               !memcmp(was + 14, tcp + 14, 2) && !memcmp(was + 20, tcp + 20, size - ETH - IP - 20);
    if (same) {
      parts[++held] = (struct iovec){frame + size, payload};
      total += payload, next += payload;
      // The last one may be short, or pushed: then the segment is whole.
      first[ETH + IP + 13] |= tcp[13] & F_PSH;
      closed = payload < mss || (tcp[13] & F_PSH);
      return;
    }
    gro_flush(tap);
  }
  held = 1, first = frame, headers = size, mss = total = payload, closed = !plain || (tcp[13] & F_PSH);
  next = plain ? word(tcp + 4) + payload : 0;
  parts[1] = (struct iovec){frame, plain ? size + payload : length};
}
#endif
