/* What the programs in C share: time, sockets, and an upgrade with a fixed key. Linux only. */
#ifndef WIRE_H
#define WIRE_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The key of RFC 6455, section 1.3, and the answer to it: nobody here has to compute one. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ANSWER "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static inline void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* Wall clock in nanoseconds: flushes are due at its whole seconds. */
static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec +
           (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static inline void *grown(void *memory, size_t size) {
    memory = realloc(memory, size);
    if (!memory) die("out of memory");
    return memory;
}

static inline char *whole_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) die("%s: %s", path, strerror(errno));
    fseek(file, 0, SEEK_END);
    *size = ftell(file);
    rewind(file);
    char *content = grown(NULL, *size + 1);
    if (fread(content, 1, *size, file) != *size) die("%s: cut short", path);
    content[*size] = 0;
    fclose(file);
    return content;
}

/* Payloads of rounds x symbols, as `work.py` writes them: two counts, then length and bytes each. */
struct payloads {
    uint32_t rounds, symbols;
    const char **start;
    uint32_t *length;
};

static inline struct payloads read_payloads(const char *path) {
    size_t size;
    char *at = whole_file(path, &size), *end = at + size;
    struct payloads found;
    if (size < 8) die("%s: cut short", path);
    memcpy(&found.rounds, at, 4);
    memcpy(&found.symbols, at + 4, 4);
    at += 8;
    size_t many = (size_t)found.rounds * found.symbols;
    found.start = grown(NULL, (many + 1) * sizeof *found.start);
    found.length = grown(NULL, (many + 1) * sizeof *found.length);
    for (size_t i = 0; i < many; i++) {
        if (end - at < 4) die("%s: cut short", path);
        memcpy(&found.length[i], at, 4);
        found.start[i] = at + 4;
        at += 4 + found.length[i];
        if (at > end) die("%s: cut short", path);
    }
    return found;
}

/* Begin to connect over loopback. Addresses of its own per `number` leave enough ports for all. */
static inline int connecting(int port, unsigned number, int receive_buffer) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) die("socket: %s", strerror(errno));
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (receive_buffer)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(0x7f000002 + number % 64);
    if (bind(fd, (struct sockaddr *)&from, sizeof from)) die("bind: %s", strerror(errno));
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        die("connect: %s", strerror(errno));
    return fd;
}

/* What a browser asks, but for the Origin. Returns its length. */
static inline int upgrade_request(char *into, size_t size, int port, const char *target,
                                  int deflate, const char *subprotocol) {
    return snprintf(into, size,
                    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\n"
                    "User-Agent: Mozilla/5.0\r\nUpgrade: websocket\r\n"
                    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n%s%s%s%s\r\n",
                    target, port,
                    deflate ? "Sec-WebSocket-Extensions: "
                              "permessage-deflate; client_max_window_bits\r\n"
                            : "",
                    *subprotocol ? "Sec-WebSocket-Protocol: " : "", subprotocol,
                    *subprotocol ? "\r\n" : "");
}

#endif
