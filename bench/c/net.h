// What the programs of the bench share: time, errors, sockets. IPv4 only, as the bench's networks are.
#ifndef BENCH_NET_H
#define BENCH_NET_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

// Every program prints JSON lines; an error is one of them.
static inline void die(const char *what) {
  printf("{\"error\":\"%s: %s\"}\n", what, errno ? strerror(errno) : "failed");
  fflush(stdout);
  exit(1);
}

static inline void say(const char *event) {
  printf("{\"event\":\"%s\"}\n", event);
  fflush(stdout);
}

static inline struct sockaddr_in address(const char *host, int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, host, &a.sin_addr) != 1) die(host);
  return a;
}

static inline void set_int(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); }

static inline int listen_tcp(int port) {
  struct sockaddr_in a = address("0.0.0.0", port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (bind(fd, (void *)&a, sizeof a) || listen(fd, 4096)) die("listen");
  return fd;
}

// A blocking connection that gives up after five seconds in every call: no run of the bench hangs.
static inline int dial(struct sockaddr_in a) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct timeval limit = {5, 0};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect(fd, (void *)&a, sizeof a)) {
    int why = errno;
    close(fd);
    errno = why;
    return -1;
  }
  set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  return fd;
}

// Of `n` sorted values, the one at this fraction.
static inline float at_fraction(const float *sorted, long n, double fraction) {
  long i = (long)(n * fraction);
  return n == 0 ? 0 : sorted[i < n ? i : n - 1];
}

static inline int by_value(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

int bulk(int argc, char **v);
int exact(int argc, char **v);
int udp_sink(int argc, char **v);
int udp_send(int argc, char **v);
int udp_source(int argc, char **v);
int udp_pull(int argc, char **v);
int dns_server(int argc, char **v);
int dns_ask(int argc, char **v);
int dhcp_probe(int argc, char **v);
#endif
