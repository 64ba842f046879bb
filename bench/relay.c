/* The floor: copies bytes between a client and one origin connection of its own, and understands none of them. No proxy
 * with two sockets a request can cost the kernel less. Usage: relay PORT ORIGIN_PORT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct side {
    int fd;
    struct side *peer;
    struct side *next; /* in the list of the dead, freed after the round */
    int dead;
};

static int poller;
static struct side *dead;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static struct side *add(int fd) {
    int one = 1;
    struct side *s = calloc(1, sizeof *s);
    if (!s) die("calloc");
    s->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) < 0) die("epoll_ctl");
    return s;
}

static void accept_all(int listener, const struct sockaddr_in *origin) {
    int client;
    while ((client = accept4(listener, 0, 0, SOCK_CLOEXEC)) >= 0) {
        int up = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(up, (const struct sockaddr *)origin, sizeof *origin) < 0) die("connect to the origin");
        struct side *a = add(client), *b = add(up);
        a->peer = b;
        b->peer = a;
    }
}

static void drop(struct side *s) {
    if (s->dead) return;
    s->dead = 1;
    close(s->fd);
    s->next = dead;
    dead = s;
}

static void copy(struct side *from) {
    static char buffer[65536];
    ssize_t n = recv(from->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    int open = n > 0;
    for (ssize_t done = 0; open && done < n;) {
        ssize_t w = send(from->peer->fd, buffer + done, (size_t)(n - done), MSG_NOSIGNAL);
        open = w > 0;
        done += w;
    }
    if (!open) {
        drop(from->peer);
        drop(from);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s PORT ORIGIN_PORT\n", argv[0]);
        return 2;
    }
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1]))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct sockaddr_in origin = at;
    origin.sin_port = htons((unsigned short)atoi(argv[2]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0) die("bind");
    if (listen(listener, 4096) < 0) die("listen");
    if ((poller = epoll_create1(0)) < 0) die("epoll_create1");
    struct epoll_event e = {.events = EPOLLIN}, events[256];
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e) < 0) die("epoll_ctl");
    for (;;) {
        int n = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct side *s = events[i].data.ptr;
            if (!s) accept_all(listener, &origin);
            else if (!s->dead) copy(s);
        }
        while (dead) {
            struct side *s = dead;
            dead = s->next;
            free(s);
        }
    }
}
