// One transfer of a known stream, compared byte for byte where it arrives.
//
//   nettool exact listen|connect send|recv HOST PORT BYTES SECS
//
// The stream is a block of PERIOD pseudo-random bytes again and again; PERIOD is a prime, so nothing that is lost, doubled
// or out of place looks right. Prints {"event":"open","at":T} when its connection stands and, for the receiver,
// {"bytes","exact","at"} when all has come; both ends have the same clock. SECS bounds it all.
#include "net.h"

enum { PERIOD = 1000003, ROOM = 256 * 1024 };
static unsigned char stream[PERIOD + ROOM], chunk[ROOM];

static void make_stream(void) {
  uint64_t x = 0x9e3779b97f4a7c15ull;
  for (int i = 0; i < PERIOD; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    stream[i] = x >> 56;
  }
  memcpy(stream + PERIOD, stream, ROOM);
}

static int accept_one(int port, double end) {
  int listener = listen_tcp(port), fd;
  say("listening");
  while ((fd = accept(listener, NULL, NULL)) < 0) {
    if (now() > end) die("accept");
    usleep(200);
  }
  close(listener);
  return fd;
}

static int dial_until(const char *host, int port, double end) {
  for (;;) {
    int fd = dial(address(host, port));
    if (fd >= 0) return fd;
    if (now() > end) die("connect");
    usleep(10000);
  }
}

static void patience(int fd, double secs) {
  struct timeval limit = {(time_t)secs + 1, 0};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

static int send_stream(int fd, long long bytes) {
  char end;
  for (long long at = 0; at < bytes;) {
    long long left = bytes - at;
    ssize_t put = send(fd, stream + at % PERIOD, left < ROOM ? left : ROOM, MSG_NOSIGNAL);
    if (put <= 0) die("send");
    at += put;
  }
  // The receiver ends it when it has everything.
  shutdown(fd, SHUT_WR);
  recv(fd, &end, 1, 0);
  printf("{\"sent\":%lld}\n", bytes);
  return 0;
}

static int receive_stream(int fd, long long bytes) {
  long long at = 0;
  int exact = 1;
  while (at < bytes) {
    ssize_t got = recv(fd, chunk, ROOM, 0);
    if (got <= 0) die("recv");
    if (memcmp(chunk, stream + at % PERIOD, got)) exact = 0;
    at += got;
  }
  double t = now();
  if (recv(fd, chunk, 1, 0) != 0) exact = 0;
  printf("{\"bytes\":%lld,\"exact\":%s,\"at\":%.6f}\n", at, exact ? "true" : "false", t);
  return 0;
}

int exact(int argc, char **v) {
  if (argc < 6) return 2;
  int listening = !strcmp(v[0], "listen"), port = atoi(v[3]);
  double secs = atof(v[5]), end = now() + secs;
  make_stream();
  int fd = listening ? accept_one(port, end) : dial_until(v[2], port, end);
  patience(fd, secs);
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
  printf("{\"event\":\"open\",\"at\":%.6f}\n", now());
  fflush(stdout);
  return strcmp(v[1], "send") ? receive_stream(fd, atoll(v[4])) : send_stream(fd, atoll(v[4]));
}
