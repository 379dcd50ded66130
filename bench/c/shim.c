// shim: what stands for a virtual machine where a peer wants one.
//
//   shim stream NETNS IF SOCKET      TAP <-> unix stream with a 4-byte big-endian length before each frame, as QEMU's
//                                    -netdev stream speaks it; towards the guest segments are merged, see gro.h
//   shim exec NETNS IF FD CMD ...    opens the TAP as descriptor FD, then becomes CMD
#include "gro.h"
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { FRAME = 65536 + 64, OUT = 256 * 1024, IN = 1024 * 1024 };
static int tap, sock;
static uint8_t out[OUT], in[IN];

// Waits where the stream is full; the TAP's queue drops by itself what does not fit meanwhile.
static void send_all(const uint8_t *p, size_t n) {
  while (n > 0) {
    ssize_t put = send(sock, p, n, MSG_NOSIGNAL);
    if (put <= 0) exit(0);
    p += put, n -= put;
  }
}

// One frame of the guest; its virtio header says nothing without offloads.
static ssize_t read_frame(uint8_t *to) {
  uint8_t header[VNET_HEADER];
  struct iovec p[] = {{header, VNET_HEADER}, {to, FRAME}};
  return readv(tap, p, 2) - VNET_HEADER;
}

// Frames of the guest, as many in one call as there are.
static void *from_guest(void *unused) {
  for (;;) {
    struct pollfd p = {.fd = tap, .events = POLLIN};
    size_t have = 0;
    ssize_t n;
    if (poll(&p, 1, -1) < 0 && errno != EINTR) quit("poll");
    while (have + 4 + FRAME <= OUT && (n = read_frame(out + have + 4)) > 0) {
      out[have] = n >> 24, out[have + 1] = n >> 16, out[have + 2] = n >> 8, out[have + 3] = n;
      have += 4 + n;
    }
    send_all(out, have);
  }
  return unused;
}

static void to_guest(void) {
  size_t have = 0;
  for (ssize_t n; (n = recv(sock, in + have, IN - have, 0)) > 0;) {
    size_t at = 0;
    have += n;
    while (have - at >= 4) {
      uint32_t length = (uint32_t)in[at] << 24 | in[at + 1] << 16 | in[at + 2] << 8 | in[at + 3];
      if (length > IN - 4) exit(1);
      if (have - at - 4 < length) break;
      gro_frame(tap, in + at + 4, length);
      at += 4 + length;
    }
    gro_flush(tap);
    memmove(in, in + at, have -= at);
  }
}

static int connect_unix(const char *path) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  strncpy(a.sun_path, path, sizeof a.sun_path - 1);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0), room = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
  for (int tries = 0; connect(fd, (void *)&a, sizeof a); tries++) {
    if (tries == 2000) quit(path);
    usleep(5000);
  }
  return fd;
}

int main(int argc, char **v) {
  signal(SIGPIPE, SIG_IGN);
  if (argc == 5 && !strcmp(v[1], "stream")) {
    pthread_t thread;
    tap = open_tap(v[2], v[3], WITH_HEADER);
    fcntl(tap, F_SETFL, O_NONBLOCK);
    sock = connect_unix(v[4]);
    pthread_create(&thread, NULL, from_guest, NULL);
    to_guest();
    return 0;
  }
  if (argc > 5 && !strcmp(v[1], "exec")) {
    int fd = open_tap(v[2], v[3], PLAIN), wanted = atoi(v[4]);
    if (fd != wanted && (dup2(fd, wanted) < 0 || close(fd))) quit("dup2");
    execvp(v[5], v + 5);
    quit(v[5]);
  }
  fprintf(stderr, "shim: see the head of shim.c\n");
  return 2;
}
