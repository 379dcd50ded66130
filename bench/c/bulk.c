// Bulk TCP over many flows.
//
//   nettool bulk listen|connect send|recv HOST PORT FLOWS SECS WARM MBIT
//
// The receiver measures: when all flows have delivered (or three seconds after the first) it waits WARM seconds, says
// {"event":"start"}, counts for SECS seconds and prints its result, so that neither slow start nor what is left in
// buffers at the end counts. The sender goes on until its connections are gone. MBIT paces all flows together (0: not).
#include "net.h"
#include <sys/epoll.h>

enum { CHUNK = 256 * 1024, MAX_FLOWS = 16384 };
static char chunk[CHUNK];
static int flow_fd[MAX_FLOWS];
static double flow_bytes[MAX_FLOWS];

static int watch(int ep, int fd, uint32_t index, uint32_t events) {
  struct epoll_event event = {.events = events, .data.u32 = index};
  return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
}

// A guest of any distribution sends with cubic, whatever this machine's own default is.
static void prepare_sender(int fd, int flows, double mbit) {
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
  if (mbit > 0) {
    uint64_t rate = (uint64_t)(mbit * 1e6 / 8 / flows);
    setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate);
  }
}

static void open_flows(int listening, const char *host, int port, int flows, int sending, double mbit) {
  if (!listening) {
    for (int i = 0; i < flows; i++) {
      flow_fd[i] = dial(address(host, port));
      if (flow_fd[i] < 0) die("connect");
    }
  } else {
    int fd = listen_tcp(port);
    double end = now() + 20;
    say("listening");
    for (int i = 0; i < flows;) {
      flow_fd[i] = accept4(fd, NULL, NULL, 0);
      if (flow_fd[i] >= 0) i++;
      else if (now() > end) die("accept");
      else usleep(500);
    }
    close(fd);
  }
  for (int i = 0; i < flows; i++) {
    set_int(flow_fd[i], IPPROTO_TCP, TCP_NODELAY, 1);
    if (sending) prepare_sender(flow_fd[i], flows, mbit);
  }
}

static int send_all(int ep, int flows, double secs) {
  struct epoll_event events[256];
  double end = now() + secs;
  int open = flows;
  long long sent = 0;
  for (int i = 0; i < flows; i++) watch(ep, flow_fd[i], i, EPOLLOUT);
  while (open > 0 && now() < end) {
    int n = epoll_wait(ep, events, 256, 100);
    for (int k = 0; k < n; k++) {
      int fd = flow_fd[events[k].data.u32];
      ssize_t put = send(fd, chunk, flows > 64 ? 16384 : CHUNK / 2, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (put > 0) sent += put;
      else if (put == 0 || errno != EAGAIN) close(fd), open--;
    }
  }
  printf("{\"sent\":%lld,\"left\":%d}\n", sent, open);
  return 0;
}

static void result(int flows, double secs) {
  double sum = 0, squares = 0, least = 1e300, most = 0;
  for (int i = 0; i < flows; i++) {
    double b = flow_bytes[i];
    sum += b, squares += b * b;
    if (b < least) least = b;
    if (b > most) most = b;
  }
  printf("{\"bytes\":%.0f,\"secs\":%.4f,\"gbps\":%.4f,\"jain\":%.4f,\"least\":%.0f,\"most\":%.0f}\n", sum, secs,
         sum * 8 / secs / 1e9, squares > 0 ? sum * sum / (flows * squares) : 0, least, most);
}

static int receive_all(int ep, int flows, double secs, double warm) {
  struct epoll_event events[256];
  double first = 0, all = 0, began = 0, give_up = now() + 20;
  int delivered = 0, open = flows;
  for (int i = 0; i < flows; i++) watch(ep, flow_fd[i], i, EPOLLIN);
  for (;;) {
    int n = epoll_wait(ep, events, 256, 5);
    double t = now();
    if (began > 0 && t >= began + secs) break;
    if (t > give_up + warm + secs) die("no data");
    if (began == 0 && all > 0 && t >= all + warm) {
      for (int i = 0; i < flows; i++) flow_bytes[i] = 0;
      began = t;
      say("start");
    }
    for (int k = 0; k < n; k++) {
      int i = events[k].data.u32;
      ssize_t got = recv(flow_fd[i], chunk, sizeof chunk, MSG_DONTWAIT);
      if (got > 0) {
        if (first == 0) first = t;
        if (flow_bytes[i] == 0 && began == 0) delivered++;
        flow_bytes[i] += got;
      } else if (got == 0 || errno != EAGAIN) {
        // A flow that ends early is a fault of whoever is measured.
        epoll_ctl(ep, EPOLL_CTL_DEL, flow_fd[i], NULL);
        if (--open == 0) die("all flows ended early");
      }
    }
    if (all == 0 && (delivered >= flows || (first > 0 && t > first + 3))) all = t;
  }
  result(flows, now() - began);
  return 0;
}

int bulk(int argc, char **v) {
  if (argc < 8) return 2;
  int listening = !strcmp(v[0], "listen"), sending = !strcmp(v[1], "send");
  int flows = atoi(v[4]), ep = epoll_create1(0);
  double secs = atof(v[5]), warm = atof(v[6]);
  if (flows < 1 || flows > MAX_FLOWS) return 2;
  open_flows(listening, v[2], atoi(v[3]), flows, sending, atof(v[7]));
  return sending ? send_all(ep, flows, secs + warm + 15) : receive_all(ep, flows, secs, warm);
}
