// relay: the floors for whoever moves a guest's traffic in user space.
//
//   relay copy NETNS IF NETNS2 IF2 plain|offload     frames from TAP to TAP, no protocol at all
//   relay socket NETNS IF MTU plain|offload          TCP of the guest to sockets of this namespace
//
// `socket` ends TCP itself, with the least that carries bulk data and short connections over a TAP that loses nothing
// while windows are kept: ARP, the handshake after the host's connect(), windows, FIN, RST, going back to the last
// acknowledged byte after 300 ms. No timestamps, no SACK, no out-of-order data, no congestion control: what a C program
// pays for system calls and copies, and hardly anything else.
#include "tap.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

enum { FRAME = VNET_HEADER + 65536 + 64, RING = 1 << 20, MASK = RING - 1, TURN = 64, SCALE = 8 };
enum { ETH = 14, IP = 20, TCP = 20, HEADERS = ETH + IP + TCP };
enum { ISS = 1000 };
enum { FIN_ = 1, SYN_ = 2, RST_ = 4, PSH_ = 8, ACK_ = 16 };

static uint8_t frame[FRAME];

static void copy(int a, int b) {
  struct pollfd p[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
  fcntl(a, F_SETFL, O_NONBLOCK);
  fcntl(b, F_SETFL, O_NONBLOCK);
  while (poll(p, 2, -1) >= 0)
    for (int i = 0; i < 2; i++)
      for (int k = 0; (p[i].revents & POLLIN) && k < TURN; k++) {
        ssize_t n = read(p[i].fd, frame, sizeof frame);
        if (n <= 0) break;
        if (write(p[!i].fd, frame, n) < 0 && errno != EAGAIN && errno != EIO) quit("tap");
      }
}

struct flow {
  struct flow *next, *next_touched;
  uint32_t guest, remote;  // network order, as the ports
  uint16_t guest_port, remote_port;
  int fd, up, touched, guest_fin, host_eof, fin_sent, listening_for, gso;
  uint32_t rcv_nxt, snd_una, snd_nxt, window, snd_scale;
  uint32_t up_head, up_tail;  // bytes for the socket that it did not take at once
  uint32_t down_tail;         // sequence number behind the last byte read from the socket
  double progress;
  uint8_t *up_ring, *down_ring;
};

static struct flow *buckets[65536], *touched;
static int tap, ep, offload, mtu, header_room, flows;
static uint8_t guest_mac[6];
static const uint8_t gateway_mac[6] = {0x5a, 0, 0, 0, 0, 1};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static uint32_t get32(const uint8_t *p) { return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }
static uint16_t get16(const uint8_t *p) { return p[0] << 8 | p[1]; }
static void put32(uint8_t *p, uint32_t v) { p[0] = v >> 24, p[1] = v >> 16, p[2] = v >> 8, p[3] = v; }
static void put16(uint8_t *p, uint16_t v) { p[0] = v >> 8, p[1] = v; }

static uint32_t sum(const uint8_t *p, size_t n, uint64_t s) {
  for (; n >= 4; p += 4, n -= 4) {
    uint32_t word;
    memcpy(&word, p, 4);
    s += word;
  }
  if (n & 2) s += p[0] | p[1] << 8, p += 2;
  if (n & 1) s += p[0];
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  return s;
}

static void store_sum(uint8_t *p, uint32_t s) { p[0] = s, p[1] = s >> 8; }

static void touch(struct flow *f) {
  if (f->touched) return;
  f->touched = 1, f->next_touched = touched, touched = f;
}

// The windows of all flows together stay below what the TAP's queue of 1,000 frames holds.
static uint32_t room(struct flow *f) {
  uint32_t share = RING / (flows > 0 ? flows : 1), held = f->up_tail - f->up_head;
  if (share < 65536) share = 65536;
  return share > held ? share - held : 0;
}

// One segment (or super-segment) of `length` bytes of the down ring at `seq`.
static void emit(struct flow *f, int flags, uint32_t seq, uint32_t length, const uint8_t *options, int options_length) {
  uint8_t h[VNET_HEADER + HEADERS + 16] = {0}, *e = h + header_room, *ip = e + ETH, *t = ip + IP;
  int tcp_length = TCP + options_length;
  uint32_t at = seq & MASK, first = length < RING - at ? length : RING - at, mss = mtu - 40, window = room(f);
  memcpy(e, guest_mac, 6), memcpy(e + 6, gateway_mac, 6), put16(e + 12, 0x0800);
  ip[0] = 0x45, put16(ip + 2, IP + tcp_length + length), ip[6] = 0x40, ip[8] = 64, ip[9] = 6;
  memcpy(ip + 12, &f->remote, 4), memcpy(ip + 16, &f->guest, 4);
  store_sum(ip + 10, ~sum(ip, IP, 0));
  memcpy(t, &f->remote_port, 2), memcpy(t + 2, &f->guest_port, 2);
  put32(t + 4, seq), put32(t + 8, f->rcv_nxt), t[12] = tcp_length << 2, t[13] = flags;
  put16(t + 14, flags & SYN_ ? 65535 : window >> SCALE > 65535 ? 65535 : window >> SCALE);
  memcpy(t + TCP, options, options_length);
  uint8_t pseudo[12] = {[9] = 6};
  memcpy(pseudo, ip + 12, 8), put16(pseudo + 10, tcp_length + length);
  uint32_t s = sum(pseudo, 12, 0);
  if (offload) {
    store_sum(t + 16, s);
    h[0] = 1;  // the checksum is to be filled in from byte 34 on, at 16
    if (length > mss) h[1] = 1, h[2] = HEADERS, h[4] = mss, h[5] = mss >> 8;
    h[6] = ETH + IP, h[8] = 16;
  } else {
    s = sum(t, tcp_length, s);
    s = sum(f->down_ring + at, first, s);
    uint32_t rest = sum(f->down_ring, length - first, 0);
    if (first & 1) rest = (rest & 0xff) << 8 | rest >> 8;
    store_sum(t + 16, ~sum(NULL, 0, (uint64_t)s + rest));
  }
  struct iovec v[3] = {{h, header_room + ETH + IP + tcp_length}, {f->down_ring + at, first}, {f->down_ring, length - first}};
  if (writev(tap, v, length == 0 ? 1 : length == first ? 2 : 3) < 0 && errno != EAGAIN && errno != EIO) quit("tap");
}

static void listen_for(struct flow *f, int events) {
  if (events == f->listening_for) return;
  struct epoll_event event = {.events = events, .data.ptr = f};
  epoll_ctl(ep, EPOLL_CTL_MOD, f->fd, &event);
  f->listening_for = events;
}

static void end(struct flow *f) {
  struct flow **p = &buckets[f->guest_port];
  while (*p != f) p = &(*p)->next;
  *p = f->next;
  for (struct flow **q = &touched; *q; q = &(*q)->next_touched)
    if (*q == f) {
      *q = f->next_touched;
      break;
    }
  close(f->fd), free(f->up_ring), free(f->down_ring), free(f);
  flows--;
}

static void reset(struct flow *f) {
  emit(f, RST_ | ACK_, f->snd_nxt, 0, NULL, 0);
  end(f);
}

// Sends what the guest's window allows; then FIN where the host has ended.
static void pump(struct flow *f) {
  uint32_t most = offload ? 65536 - 120 : (uint32_t)mtu - 40;
  for (;;) {
    uint32_t left = f->down_tail - f->snd_nxt, used = f->snd_nxt - f->snd_una;
    uint32_t allowed = f->window > used ? f->window - used : 0, n = left < allowed ? left : allowed;
    if ((int32_t)left <= 0 || n == 0) break;
    if (n > most) n = most;
    emit(f, ACK_ | PSH_, f->snd_nxt, n, NULL, 0);
    f->snd_nxt += n;
  }
  if (f->host_eof && f->snd_nxt == f->down_tail && !f->fin_sent) {
    f->fin_sent = 1;
    emit(f, FIN_ | ACK_, f->snd_nxt++, 0, NULL, 0);
  }
}

static void from_socket(struct flow *f) {
  uint32_t space = RING - (f->down_tail - f->snd_una), at = f->down_tail & MASK;
  if (space == 0 || f->host_eof) {
    listen_for(f, f->listening_for & ~EPOLLIN);
    return;
  }
  uint32_t first = space < RING - at ? space : RING - at;
  struct iovec v[2] = {{f->down_ring + at, first}, {f->down_ring, space - first}};
  ssize_t n = readv(f->fd, v, 2);
  if (n > 0) f->down_tail += n;
  else if (n == 0) f->host_eof = 1, listen_for(f, f->listening_for & ~EPOLLIN);
  else if (errno != EAGAIN) {
    reset(f);
    return;
  }
  pump(f);
}

// What waits for the socket; true while the flow stands.
static int drain(struct flow *f) {
  while (f->up_head != f->up_tail) {
    uint32_t at = f->up_head & MASK, n = f->up_tail - f->up_head;
    ssize_t put = send(f->fd, f->up_ring + at, n < RING - at ? n : RING - at, MSG_NOSIGNAL);
    if (put < 0 && errno == EAGAIN) break;
    if (put < 0) {
      reset(f);
      return 0;
    }
    f->up_head += put;
    touch(f);
  }
  int waits = f->up_head != f->up_tail;
  listen_for(f, waits ? f->listening_for | EPOLLOUT : f->listening_for & ~EPOLLOUT);
  if (!waits && f->guest_fin == 1) shutdown(f->fd, SHUT_WR), f->guest_fin = 2;
  return 1;
}

static void to_socket(struct flow *f, const uint8_t *data, uint32_t n) {
  ssize_t put = f->up_head == f->up_tail ? send(f->fd, data, n, MSG_NOSIGNAL) : 0;
  if (put < 0) put = 0;
  uint32_t left = n - put, space = RING - (f->up_tail - f->up_head);
  if (left > space) left = space;
  for (uint32_t done = 0; done < left;) {
    uint32_t at = f->up_tail & MASK, step = left - done < RING - at ? left - done : RING - at;
    memcpy(f->up_ring + at, data + put + done, step);
    done += step, f->up_tail += step;
  }
  f->rcv_nxt += put + left;
}

static void begin(const uint8_t *ip, const uint8_t *t) {
  struct flow *f = calloc(1, sizeof *f);
  memcpy(&f->guest, ip + 12, 4), memcpy(&f->remote, ip + 16, 4);
  memcpy(&f->guest_port, t, 2), memcpy(&f->remote_port, t + 2, 2);
  f->rcv_nxt = get32(t + 4) + 1;
  f->snd_una = f->snd_nxt = f->down_tail = ISS;
  for (const uint8_t *o = t + 20, *last = t + (t[12] >> 4) * 4; o < last && *o != 0; o += *o == 1 ? 1 : o[1] ? o[1] : 40)
    if (*o == 3) f->snd_scale = o[2] < 15 ? o[2] : 14;
  f->up_ring = malloc(RING), f->down_ring = malloc(RING);
  f->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  f->next = buckets[f->guest_port], buckets[f->guest_port] = f, flows++;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = f->remote_port, .sin_addr.s_addr = f->remote};
  struct epoll_event event = {.events = f->listening_for = EPOLLOUT, .data.ptr = f};
  int one = 1;
  setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(f->fd, (void *)&a, sizeof a) && errno != EINPROGRESS) reset(f);
  else epoll_ctl(ep, EPOLL_CTL_ADD, f->fd, &event);
}

static void connected(struct flow *f) {
  uint8_t options[8] = {2, 4, (mtu - 40) >> 8, (mtu - 40) & 255, 1, 3, 3, SCALE};
  int why = 0;
  socklen_t length = sizeof why;
  getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &why, &length);
  if (why) {
    reset(f);
    return;
  }
  f->up = 1;
  emit(f, SYN_ | ACK_, f->snd_nxt++, 0, options, 8);
  f->down_tail = f->snd_nxt;
  listen_for(f, EPOLLIN);
}

static void segment(const uint8_t *ip, const uint8_t *t, uint32_t length) {
  uint16_t port, remote;
  memcpy(&port, t, 2), memcpy(&remote, t + 2, 2);
  int flags = t[13];
  struct flow *f = buckets[port];
  while (f && f->remote_port != remote) f = f->next;
  if (flags & SYN_) {
    if (!f) begin(ip, t);
    return;
  }
  if (!f || !f->up) return;
  if (flags & RST_) {
    struct linger now_ = {1, 0};
    setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &now_, sizeof now_);
    end(f);
    return;
  }
  uint32_t ack = get32(t + 8), seq = get32(t + 4), header = (t[12] >> 4) * 4, n = length - header;
  if ((int32_t)(ack - f->snd_una) >= 0 && (int32_t)(ack - f->snd_nxt) <= 0) {
    if (ack != f->snd_una) f->progress = now();
    f->snd_una = ack, f->window = (uint32_t)get16(t + 14) << f->snd_scale;
  }
  uint32_t old = f->rcv_nxt - seq;
  if ((int32_t)old >= 0 && old < n) to_socket(f, t + header + old, n - old);
  if ((flags & FIN_) && seq + n == f->rcv_nxt && !f->guest_fin) f->rcv_nxt++, f->guest_fin = 1;
  if (n > 0 || (flags & FIN_)) touch(f);
  if (!drain(f)) return;
  if (f->fin_sent && f->snd_una == f->snd_nxt && f->guest_fin == 2) {
    emit(f, ACK_, f->snd_nxt, 0, NULL, 0);
    end(f);
    return;
  }
  if (!f->host_eof && RING - (f->down_tail - f->snd_una) >= RING / 4) listen_for(f, f->listening_for | EPOLLIN);
  pump(f);
}

static void answer_arp(uint8_t *e, ssize_t n) {
  uint8_t *a = e + ETH, address[4];
  if (n < ETH + 28 || get16(a + 6) != 1) return;
  if (!memcmp(a + 14, a + 24, 4)) return;  // the guest asks whether its own address is free
  memcpy(guest_mac, a + 8, 6), memcpy(address, a + 24, 4);
  memcpy(e, a + 8, 6), memcpy(e + 6, gateway_mac, 6);
  put16(a + 6, 2), memcpy(a + 18, a + 8, 10), memcpy(a + 8, gateway_mac, 6), memcpy(a + 14, address, 4);
  memset(frame, 0, header_room);
  if (write(tap, frame, header_room + ETH + 28) < 0 && errno != EAGAIN) quit("tap");
}

static void from_guest(void) {
  for (int k = 0; k < TURN; k++) {
    ssize_t n = read(tap, frame, sizeof frame);
    if (n <= 0) break;
    uint8_t *e = frame + header_room, *ip = e + ETH;
    n -= header_room;
    if (n >= ETH && get16(e + 12) == 0x0806) answer_arp(e, n);
    if (n < HEADERS || get16(e + 12) != 0x0800 || ip[0] != 0x45 || ip[9] != 6) continue;
    uint32_t length = get16(ip + 2);
    uint8_t *t = ip + IP;
    if (length >= IP + TCP && (ssize_t)length + ETH <= n && IP + (t[12] >> 4) * 4u <= length) segment(ip, t, length - IP);
  }
}

static void go_back(void) {
  double t = now();
  for (int i = 0; i < 65536; i++)
    for (struct flow *f = buckets[i]; f; f = f->next) {
      // A SYN-ACK is not sent again: the guest's SYN would have to come again first.
      if (!f->up || f->snd_una == ISS || f->snd_una == f->snd_nxt || t - f->progress < 0.3) continue;
      f->snd_nxt = f->snd_una, f->fin_sent = 0, f->progress = t;
      pump(f);
    }
}

static void serve(void) {
  struct epoll_event event = {.events = EPOLLIN}, events[TURN];
  double swept = now();
  ep = epoll_create1(0);
  fcntl(tap, F_SETFL, O_NONBLOCK);
  epoll_ctl(ep, EPOLL_CTL_ADD, tap, &event);
  for (;;) {
    int n = epoll_wait(ep, events, TURN, 200), guest = 0;
    for (int i = 0; i < n; i++) {
      struct flow *f = events[i].data.ptr;
      if (!f) guest = 1;
      else if (!f->up) connected(f);
      else if (!(events[i].events & EPOLLOUT) || drain(f)) from_socket(f);
    }
    // Behind the sockets: a flow that a frame ends is in no list of events any more.
    if (guest) from_guest();
    for (struct flow *f; (f = touched);) {
      touched = f->next_touched, f->touched = 0;
      emit(f, ACK_, f->snd_nxt, 0, NULL, 0);
    }
    if (now() - swept > 0.1) go_back(), swept = now();
  }
}

int main(int argc, char **v) {
  signal(SIGPIPE, SIG_IGN);
  if (argc == 7 && !strcmp(v[1], "copy")) {
    int on = !strcmp(v[6], "offload");
    copy(open_tap(v[2], v[3], on ? OFFLOADS : PLAIN), open_tap(v[4], v[5], on ? OFFLOADS : PLAIN));
  } else if (argc == 6 && !strcmp(v[1], "socket")) {
    offload = !strcmp(v[5], "offload"), header_room = offload ? VNET_HEADER : 0, mtu = atoi(v[4]);
    tap = open_tap(v[2], v[3], offload ? OFFLOADS : PLAIN);
    serve();
  }
  fprintf(stderr, "relay: see the head of relay.c\n");
  return 2;
}
