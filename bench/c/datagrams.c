// Datagrams: UDP load both ways, a name server that knows one answer, and a DHCP client that only wants an offer.
//
//   nettool usink PORT SECS                    counts what arrives until SECS after its start
//   nettool usend HOST PORT SIZE SECS PPS      sends (PPS 0: as fast as it can)
//   nettool usource PORT SIZE SECS PPS         waits for a hello, then sends to where it came from
//   nettool upull HOST PORT SECS               sends the hello, then counts
//   nettool dns PORT                           answers every query with one A record, until killed
//   nettool ask HOST SECS MILLIS [TAG [PORT]]         asks it for a new name every MILLIS, other ones with another TAG; how long the answers took, ms
//   nettool dhcp IF SECS                       sends DISCOVER every 5 ms once IF exists, ends with the first OFFER
#include "net.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>

enum { BATCH = 32, LARGEST = 65536 };

static int udp_socket(int port) {
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20);
  set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20);
  struct sockaddr_in a = address("0.0.0.0", port);
  if (bind(fd, (void *)&a, sizeof a)) die("bind");
  return fd;
}

// `hello`: an address that gets a datagram every 50 ms until the first answer.
static void count(int fd, double secs, const struct sockaddr_in *hello) {
  static char space[BATCH][2048];
  struct mmsghdr batch[BATCH];
  struct iovec pieces[BATCH];
  struct pollfd p = {.fd = fd, .events = POLLIN};
  long long n = 0, bytes = 0;
  double end = now() + secs, first = 0, last = 0;
  for (int i = 0; i < BATCH; i++) {
    pieces[i] = (struct iovec){space[i], sizeof space[i]};
    batch[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &pieces[i], .msg_iovlen = 1}};
  }
  while (now() < end) {
    if (hello && n == 0) sendto(fd, "hello", 5, 0, (const void *)hello, sizeof *hello);
    if (poll(&p, 1, 50) <= 0) continue;
    for (int got; (got = recvmmsg(fd, batch, BATCH, MSG_DONTWAIT, NULL)) > 0;) {
      last = now();
      if (first == 0) first = last;
      n += got;
      for (int i = 0; i < got; i++) bytes += batch[i].msg_len;
      if (last >= end) break;
    }
  }
  printf("{\"got\":%lld,\"bytes\":%lld,\"span\":%.4f}\n", n, bytes, last - first);
}

static void blast(int fd, struct sockaddr_in to, int size, double secs, double pps) {
  static char data[LARGEST];
  struct mmsghdr batch[BATCH];
  struct iovec piece = {data, size};
  long long sent = 0, refused = 0;
  for (int i = 0; i < BATCH; i++)
    batch[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &piece, .msg_iovlen = 1}};
  double start = now();
  for (double t; (t = now() - start) < secs;) {
    long long due = pps > 0 ? (long long)(t * pps) - sent - refused : BATCH;
    if (due <= 0) {
      usleep(100);
      continue;
    }
    int put = sendmmsg(fd, batch, due < BATCH ? due : BATCH, 0);
    if (put > 0) sent += put;
    else refused++;
  }
  printf("{\"sent\":%lld,\"refused\":%lld,\"send_secs\":%.4f}\n", sent, refused, now() - start);
}

int udp_sink(int argc, char **v) {
  if (argc < 2) return 2;
  int fd = udp_socket(atoi(v[0]));
  say("listening");
  count(fd, atof(v[1]), NULL);
  return 0;
}

int udp_send(int argc, char **v) {
  if (argc < 5 || atoi(v[2]) > LARGEST) return 2;
  blast(udp_socket(0), address(v[0], atoi(v[1])), atoi(v[2]), atof(v[3]), atof(v[4]));
  return 0;
}

int udp_source(int argc, char **v) {
  if (argc < 4 || atoi(v[1]) > LARGEST) return 2;
  int fd = udp_socket(atoi(v[0]));
  struct pollfd p = {.fd = fd, .events = POLLIN};
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  char ignored[64];
  say("listening");
  if (poll(&p, 1, 10000) <= 0) die("no hello");
  recvfrom(fd, ignored, sizeof ignored, 0, (void *)&from, &length);
  blast(fd, from, atoi(v[1]), atof(v[2]), atof(v[3]));
  return 0;
}

int udp_pull(int argc, char **v) {
  if (argc < 3) return 2;
  struct sockaddr_in to = address(v[0], atoi(v[1]));
  count(udp_socket(0), atof(v[2]), &to);
  return 0;
}

// The question comes back with one answer, 10.9.9.9 for a minute; what stands behind the question (EDNS) is cut off.
int dns_server(int argc, char **v) {
  if (argc < 1) return 2;
  static const uint8_t answer[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 9, 9, 9};
  int fd = udp_socket(atoi(v[0]));
  say("listening");
  for (;;) {
    uint8_t m[1500];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(fd, m, 512, 0, (void *)&from, &length);
    ssize_t at = 12;
    while (at < n && m[at] != 0) at += m[at] + 1;
    at += 5;
    if (n < 17 || at > n) continue;
    int is_a = m[at - 4] == 0 && m[at - 3] == 1;
    m[2] = 0x80 | (m[2] & 1), m[3] = 0x80;
    m[6] = 0, m[7] = is_a, memset(m + 8, 0, 4);
    if (is_a) memcpy(m + at, answer, sizeof answer);
    sendto(fd, m, at + (is_a ? (ssize_t)sizeof answer : 0), 0, (void *)&from, length);
  }
}

enum { MOST_ASKED = 65536 };
static double asked[MOST_ASKED];
static float took[MOST_ASKED];

// What is not answered within a second after the last question is lost.
int dns_ask(int argc, char **v) {
  if (argc < 3) return 2;
  int fd = udp_socket(0);
  struct sockaddr_in to = address(v[0], argc > 4 ? atoi(v[4]) : 53);
  struct pollfd p = {.fd = fd, .events = POLLIN};
  double start = now(), secs = atof(v[1]), pause = atof(v[2]) / 1e3;
  int n = 0, answered = 0;
  for (double t; (t = now() - start) < secs + 1;) {
    uint8_t m[512] = {0};
    if (t < secs && t >= n * pause && n < MOST_ASKED) {
      // A question for q<n>TAG.bench.test, type A.
      m[0] = n >> 8, m[1] = n, m[2] = 1, m[5] = 1;
      m[12] = snprintf((char *)m + 13, 40, "q%d%s", n, argc > 3 ? v[3] : "");
      uint8_t *end = m + 13 + m[12];
      memcpy(end, "\5bench\4test\0\0\1\0\1", 16);
      asked[n++] = now();
      sendto(fd, m, end + 16 - m, 0, (const void *)&to, sizeof to);
      continue;
    }
    if (t >= secs && answered >= n) break;
    double left = t < secs && n < MOST_ASKED ? n * pause - t : 0.05;
    struct timespec wait = {0, (long)(left * 1e9)};
    if (ppoll(&p, 1, &wait, NULL) <= 0) continue;
    if (recv(fd, m, sizeof m, MSG_DONTWAIT) < 12) continue;
    int id = m[0] << 8 | m[1];
    if (id >= n || asked[id] == 0) continue;
    took[answered++] = (now() - asked[id]) * 1e3;
    asked[id] = 0;
  }
  qsort(took, answered, sizeof *took, by_value);
  printf("{\"asked\":%d,\"answered\":%d,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}\n", n, answered,
         at_fraction(took, answered, 0.5), at_fraction(took, answered, 0.99), answered ? took[answered - 1] : 0);
  return 0;
}

// -- DHCP -------------------------------------------------------------------------------------------------------

static uint16_t ip_sum(const uint8_t *p, int length) {
  uint32_t sum = 0;
  for (int i = 0; i < length; i += 2) sum += p[i] << 8 | p[i + 1];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum;
}

static void put16(uint8_t *p, int value) { p[0] = value >> 8, p[1] = value; }

static int discover(uint8_t *f, const uint8_t *mac) {
  enum { OPTIONS = 14 + 20 + 8 + 236 };
  static const uint8_t options[] = {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 55, 3, 1, 3, 6, 255};
  int end = OPTIONS + 64;
  memset(f, 0, end);
  memset(f, 0xff, 6), memcpy(f + 6, mac, 6), put16(f + 12, ETH_P_IP);
  uint8_t *ip = f + 14, *udp = ip + 20, *bootp = udp + 8;
  ip[0] = 0x45, put16(ip + 2, end - 14), ip[8] = 64, ip[9] = IPPROTO_UDP, memset(ip + 16, 0xff, 4);
  put16(ip + 10, ip_sum(ip, 20));
  put16(udp, 68), put16(udp + 2, 67), put16(udp + 4, end - 34);  // no UDP checksum: 0 says so
  bootp[0] = 1, bootp[1] = 1, bootp[2] = 6, memcpy(bootp + 4, "bnch", 4), bootp[10] = 0x80;
  memcpy(bootp + 28, mac, 6);
  memcpy(bootp + 236, options, sizeof options);
  return end;
}

// An IPv4 UDP packet to port 68 with our transaction number whose option 53 says OFFER.
static int is_offer(const uint8_t *f, ssize_t n) {
  if (n < 14 + 28 + 240 || f[12] != 8 || f[13] != 0 || f[23] != IPPROTO_UDP) return 0;
  const uint8_t *udp = f + 14 + (f[14] & 15) * 4, *bootp = udp + 8, *end = f + n;
  if (bootp + 240 > end || udp[2] != 0 || udp[3] != 68 || memcmp(bootp + 4, "bnch", 4)) return 0;
  for (const uint8_t *o = bootp + 240; o + 2 < end && *o != 255; o += *o == 0 ? 1 : o[1] + 2)
    if (o[0] == 53) return o[2] == 2;
  return 0;
}

int dhcp_probe(int argc, char **v) {
  if (argc < 2) return 2;
  double end = now() + atof(v[1]);
  struct ifreq r = {0};
  uint8_t frame[2048];
  int fd = -1, index = 0;
  strncpy(r.ifr_name, v[0], IFNAMSIZ - 1);
  int control = socket(AF_INET, SOCK_DGRAM, 0);
  say("waiting");
  for (; now() < end; usleep(1000)) {
    if (index == 0) {
      index = (int)if_nametoindex(v[0]);
      if (index == 0) continue;
      fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_IP));
      struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = index};
      if (bind(fd, (void *)&to, sizeof to)) die("bind to the interface");
    }
    if (ioctl(control, SIOCGIFFLAGS, &r)) die("interface flags");
    if (!(r.ifr_flags & IFF_UP)) {
      r.ifr_flags |= IFF_UP;
      ioctl(control, SIOCSIFFLAGS, &r);
    }
    if (ioctl(control, SIOCGIFHWADDR, &r)) die("interface address");
    int length = discover(frame, (uint8_t *)r.ifr_hwaddr.sa_data);
    if (send(fd, frame, length, 0) < 0 && errno != ENETDOWN && errno != ENOBUFS) die("send");
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (double until = now() + 0.005; now() < until && poll(&p, 1, 4) > 0;)
      for (ssize_t n; (n = recv(fd, frame, sizeof frame, 0)) > 0;)
        if (is_offer(frame, n)) {
          printf("{\"at\":%.6f}\n", now());
          return 0;
        }
  }
  errno = ETIMEDOUT;
  die("no offer");
  return 1;
}
