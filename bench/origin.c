/* An HTTP/1.1 origin that costs as little as one can: it counts the empty lines that end request heads (requests have no
 * bodies here) and answers each with the same bytes. Usage: origin PORT BODY_BYTES */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct conn {
    int fd;
    int matched;   /* how much of "\r\n\r\n" the last bytes were */
    size_t owed;   /* answers that are not written yet, the one under way included */
    size_t offset; /* how much of the one under way is written */
    int blocked;   /* waiting for EPOLLOUT */
};

static char *answer;
static size_t answer_len;
static int poller;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(struct conn *c, int fd, int op, unsigned events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, op, fd, &e) < 0) die("epoll_ctl");
}

static void make_answer(size_t body) {
    answer = malloc(body + 256);
    if (!answer) die("malloc");
    int head = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", body);
    memset(answer + head, 'x', body);
    answer_len = (size_t)head + body;
}

static int listen_on(int port) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0) die("bind");
    if (listen(fd, 4096) < 0) die("listen");
    return fd;
}

static void accept_all(int listener) {
    int one = 1, fd;
    while ((fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct conn *c = calloc(1, sizeof *c);
        if (!c) die("calloc");
        c->fd = fd;
        watch(c, fd, EPOLL_CTL_ADD, EPOLLIN | EPOLLRDHUP);
    }
}

/* Returns 0 if the connection is to be closed. */
static int read_requests(struct conn *c) {
    static char buffer[65536];
    ssize_t n = read(c->fd, buffer, sizeof buffer);
    if (n <= 0) return n < 0 && errno == EAGAIN;
    for (ssize_t i = 0; i < n; i++) {
        char wanted = c->matched % 2 ? '\n' : '\r';
        c->matched = buffer[i] == wanted ? c->matched + 1 : buffer[i] == '\r';
        if (c->matched == 4) {
            c->matched = 0;
            c->owed++;
        }
    }
    return 1;
}

static int write_answers(struct conn *c) {
    while (c->owed) {
        ssize_t n = write(c->fd, answer + c->offset, answer_len - c->offset);
        if (n < 0 && errno != EAGAIN) return 0;
        if (n > 0) c->offset += (size_t)n;
        if (c->offset == answer_len) {
            c->offset = 0;
            c->owed--;
        } else if (n < 0) {
            break;
        }
    }
    int blocked = c->owed > 0;
    if (blocked != c->blocked) watch(c, c->fd, EPOLL_CTL_MOD, EPOLLRDHUP | (blocked ? EPOLLOUT : EPOLLIN));
    c->blocked = blocked;
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s PORT BODY_BYTES\n", argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    make_answer((size_t)atol(argv[2]));
    if ((poller = epoll_create1(0)) < 0) die("epoll_create1");
    int listener = listen_on(atoi(argv[1]));
    watch(0, listener, EPOLL_CTL_ADD, EPOLLIN);
    struct epoll_event events[256];
    for (;;) {
        int n = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c) {
                accept_all(listener);
                continue;
            }
            int open = (events[i].events & EPOLLIN) ? read_requests(c) : !(events[i].events & (EPOLLHUP | EPOLLERR));
            if (open && c->owed) open = write_answers(c);
            if (!open) {
                close(c->fd);
                free(c);
            }
        }
    }
}
