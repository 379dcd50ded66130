// A TAP interface, opened inside another network namespace. TAPs need no tricks: /dev/net/tun and two setns.
#ifndef BENCH_TAP_H
#define BENCH_TAP_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

// sizeof(struct virtio_net_hdr_mrg_rxbuf)
enum { VNET_HEADER = 12 };

static inline void quit(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

// `how`: plain frames; a virtio header before each (towards the guest there may be super-segments); with offloads, TCP
// super-segments and unfilled checksums both ways.
enum { PLAIN, WITH_HEADER, OFFLOADS };
static inline int open_tap(const char *netns, const char *name, int how) {
  int ours = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), theirs = open(netns, O_RDONLY | O_CLOEXEC);
  if (ours < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET)) quit(netns);
  int fd = open("/dev/net/tun", O_RDWR), header = VNET_HEADER;
  struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI | (how == PLAIN ? 0 : IFF_VNET_HDR)};
  strncpy(r.ifr_name, name, IFNAMSIZ - 1);
  if (fd < 0 || ioctl(fd, TUNSETIFF, &r)) quit(name);
  if (how != PLAIN && ioctl(fd, TUNSETVNETHDRSZ, &header)) quit("header");
  if (how == OFFLOADS && ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)) quit("offloads");
  if (setns(ours, CLONE_NEWNET)) quit("setns");
  close(ours);
  close(theirs);
  return fd;
}
#endif
