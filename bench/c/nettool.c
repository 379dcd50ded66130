// nettool: the servers and load generators of the bench. Every run prints JSON lines, the last one its result.
//
//   nettool server PORT PORTS                TCP echo on PORT and the PORTS-1 ports behind it, until killed
//   nettool rr HOST PORT SECS                1-byte round trips on one connection
//   nettool crr HOST PORT PORTS SECS AT_ONCE COUNT
//                                            connect, one byte each way, close; AT_ONCE at a time, spread over PORTS
//                                            ports; ends after SECS, or after COUNT connections when that is not 0
//   nettool hold HOST PORT PORTS N           opens N connections, one byte each way, keeps them until stdin ends
//   nettool bulk listen|connect send|recv HOST PORT FLOWS SECS WARM MBIT     see bulk.c
//   nettool exact listen|connect send|recv HOST PORT BYTES SECS             see exact.c
//   nettool usink|usend|usource|upull|dns|ask|dhcp …                         see datagrams.c
#include "net.h"
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>

static int server(int argc, char **v) {
  if (argc < 2) return 2;
  int port = atoi(v[0]), ports = atoi(v[1]), ep = epoll_create1(0);
  struct epoll_event event, events[256];
  static char buffer[65536];
  for (int i = 0; i < ports; i++) {
    event = (struct epoll_event){.events = EPOLLIN, .data.u64 = (1ull << 32) | (uint32_t)listen_tcp(port + i)};
    epoll_ctl(ep, EPOLL_CTL_ADD, (int)event.data.u64, &event);
  }
  say("listening");
  for (;;) {
    int n = epoll_wait(ep, events, 256, -1);
    for (int i = 0; i < n; i++) {
      int fd = (int)(events[i].data.u64 & 0xffffffff);
      if (events[i].data.u64 >> 32) {
        int c = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
        if (c < 0) continue;
        set_int(c, IPPROTO_TCP, TCP_NODELAY, 1);
        event = (struct epoll_event){.events = EPOLLIN, .data.u64 = (uint32_t)c};
        epoll_ctl(ep, EPOLL_CTL_ADD, c, &event);
        continue;
      }
      ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got > 0) send(fd, buffer, got, MSG_NOSIGNAL);
      else if (got == 0 || errno != EAGAIN) close(fd);
    }
  }
}

enum { SAMPLES = 1 << 20 };
static float samples[SAMPLES];

static void percentiles(const char *prefix, long n) {
  qsort(samples, n, sizeof *samples, by_value);
  printf("%s\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.0f}\n", prefix, at_fraction(samples, n, 0.5),
         at_fraction(samples, n, 0.9), at_fraction(samples, n, 0.99), n ? samples[n - 1] : 0);
}

static int rr(int argc, char **v) {
  if (argc < 3) return 2;
  int fd = dial(address(v[0], atoi(v[1])));
  if (fd < 0) die("connect");
  double secs = atof(v[2]), start = now(), before = start;
  long n = 0;
  char byte = 'x';
  while (before - start < secs && n < SAMPLES) {
    if (send(fd, &byte, 1, 0) != 1 || recv(fd, &byte, 1, 0) != 1) {
      // One round trip that takes seconds is a result too.
      if (errno != EAGAIN || n == SAMPLES) die("round trip");
      samples[n++] = (now() - before) * 1e6;
      break;
    }
    double after = now();
    samples[n++] = (after - before) * 1e6;
    before = after;
  }
  printf("{\"n\":%ld,\"rate\":%.0f,", n, n / (now() - start));
  percentiles("", n);
  return 0;
}

// -- connect, one byte each way, close --------------------------------------------------------------------------

struct slot {
  int fd, stage;
  double began;
};

static struct slot slots[4096];
static long begun, done, failed, sampled;
static int epoll_fd, spread;
static struct sockaddr_in target;

static void begin(int i) {
  struct slot *s = &slots[i];
  struct sockaddr_in a = target;
  a.sin_port = htons(ntohs(target.sin_port) + begun++ % spread);
  *s = (struct slot){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .began = now()};
  if (s->fd < 0) die("socket");
  set_int(s->fd, IPPROTO_TCP, TCP_NODELAY, 1);
  struct epoll_event event = {.events = EPOLLOUT, .data.u32 = i};
  if (connect(s->fd, (void *)&a, sizeof a) && errno != EINPROGRESS) {
    failed++;
    event.events = 0;  // the sweep ends it
  }
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &event);
}

// Moves a connection on; true when it is over.
static int advance(int i) {
  struct slot *s = &slots[i];
  char byte = 'x';
  if (s->stage == 0) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    if (send(s->fd, &byte, 1, MSG_NOSIGNAL) != 1) {
      failed++;
      return 1;
    }
    s->stage = 1;
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s->fd, &event);
    return 0;
  }
  ssize_t got = recv(s->fd, &byte, 1, 0);
  if (got < 0 && errno == EAGAIN) return 0;
  if (got != 1) failed++;
  else {
    done++;
    if (sampled < SAMPLES) samples[sampled++] = (now() - s->began) * 1e6;
  }
  return 1;
}

static int crr(int argc, char **v) {
  if (argc < 6) return 2;
  double secs = atof(v[3]), start = now(), end = start + secs, sweep = start;
  int at_once = atoi(v[4]);
  long count = atol(v[5]);
  struct epoll_event events[256];
  target = address(v[0], atoi(v[1]));
  spread = atoi(v[2]);
  if (at_once < 1 || at_once > 4096 || spread < 1) return 2;
  epoll_fd = epoll_create1(0);
  for (int i = 0; i < at_once; i++) begin(i);
  double t;
  int more = 1;
  for (int open = at_once; open > 0 && (t = now()) < end + 3; ) {
    more = t < end && (count == 0 || begun < count);
    int n = epoll_wait(epoll_fd, events, 256, 100);
    for (int k = 0; k < n; k++) {
      int i = events[k].data.u32;
      if (!advance(i)) continue;
      close(slots[i].fd);
      if (more && (count == 0 || begun < count)) begin(i);
      else slots[i].fd = -1, open--;
    }
    if (t - sweep < 0.2) continue;
    sweep = t;
    for (int i = 0; i < at_once; i++) {
      if (slots[i].fd < 0 || t - slots[i].began < 2) continue;
      failed++;
      close(slots[i].fd);
      if (more) begin(i);
      else slots[i].fd = -1, open--;
    }
  }
  printf("{\"done\":%ld,\"failed\":%ld,\"rate\":%.0f,", done, failed, done / (now() - start));
  percentiles("", sampled);
  return 0;
}

static int hold(int argc, char **v) {
  if (argc < 4) return 2;
  int port = atoi(v[1]), ports = atoi(v[2]), n = atoi(v[3]), open = 0;
  double start = now();
  for (int i = 0; i < n && now() - start < 60; i++) {
    char byte = 'x';
    int fd = dial(address(v[0], port + i % ports));
    if (fd >= 0 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && recv(fd, &byte, 1, 0) == 1) open++;
  }
  printf("{\"event\":\"open\",\"asked\":%d,\"open\":%d,\"secs\":%.2f}\n", n, open, now() - start);
  fflush(stdout);
  char ignored[64];
  while (read(0, ignored, sizeof ignored) > 0) continue;
  return 0;
}

int main(int argc, char **v) {
  static const struct {
    const char *name;
    int (*run)(int, char **);
  } commands[] = {{"server", server}, {"rr", rr},           {"crr", crr},          {"hold", hold},       {"bulk", bulk},    {"exact", exact},      {"usink", udp_sink},
                  {"usend", udp_send}, {"usource", udp_source}, {"upull", udp_pull}, {"dns", dns_server}, {"ask", dns_ask}, {"dhcp", dhcp_probe}};
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
    if (!strcmp(v[1], commands[i].name)) {
      int code = commands[i].run(argc - 2, v + 2);
      if (code != 2) return code;
    }
  fprintf(stderr, "nettool: see the head of nettool.c\n");
  return 2;
}
