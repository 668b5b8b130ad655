/* The limit: a loop in C that sends prepared frames and does nothing else.

   bare FOLDER together|apart      one send() per client and round, or one per message

   It prints its port, sends rounds of FOLDER/frames.bin as it is told by lines of its input
     go FIRST COUNT ROUND          (see loadgen.c)
   and ends with its input. Upgrades are answered without looking at more than their end. */
#include "wire.h"

static const char ANSWERED[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: " ANSWER "\r\nSec-WebSocket-Extensions: permessage-deflate; "
    "server_no_context_takeover; client_no_context_takeover\r\n\r\n";

enum { BUFFER = 16384, EVENTS = 256 };

static struct payloads frames;
static int *open_fds;
static uint32_t open_count;

static void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t many = send(fd, data, size, MSG_NOSIGNAL);
        if (many < 0) {
            if (errno == EINTR) continue;
            if (errno == EPIPE || errno == ECONNRESET) return;
            die("send: %s", strerror(errno));
        }
        data += many;
        size -= many;
    }
}

static void send_round(uint32_t round, int together) {
    const char **start = frames.start + (size_t)round * frames.symbols;
    const uint32_t *length = frames.length + (size_t)round * frames.symbols;
    if (!together) {
        for (uint32_t i = 0; i < frames.symbols; i++)
            for (uint32_t j = 0; j < open_count; j++) send_all(open_fds[j], start[i], length[i]);
        return;
    }
    size_t size = 0;
    for (uint32_t i = 0; i < frames.symbols; i++) size += length[i];
    char *joined = grown(NULL, size), *at = joined;
    for (uint32_t i = 0; i < frames.symbols; i++) {
        memcpy(at, start[i], length[i]);
        at += length[i];
    }
    for (uint32_t j = 0; j < open_count; j++) send_all(open_fds[j], joined, size);
    free(joined);
}

static void obey(int together) {
    char line[256];
    long first;
    unsigned count, round;
    if (!fgets(line, sizeof line, stdin)) exit(0);
    if (sscanf(line, "go %ld %u %u", &first, &count, &round) != 3) die("unknown command: %s", line);
    for (unsigned i = 0; i < count; i++) {
        struct timespec due = {.tv_sec = first + i};
        while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &due, NULL)) {}
        send_round(round + i, together);
    }
}

int main(int count, char **arguments) {
    if (count != 3) die("bare: expected 2 arguments");
    char path[4096];
    snprintf(path, sizeof path, "%s/frames.bin", arguments[1]);
    frames = read_payloads(path);
    int together = !strcmp(arguments[2], "together");
    setvbuf(stdin, NULL, _IONBF, 0);

    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        die("listen: %s", strerror(errno));
    printf("{\"port\":%d,\"pid\":%d}\n", ntohs(address.sin_port), (int)getpid());
    fflush(stdout);

    int epoll_fd = epoll_create1(0);
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN};
    event.data.fd = listener;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = 0;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &event);
    char *buffer = grown(NULL, BUFFER);
    for (;;) {
        int many = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < many; i++) {
            int fd = events[i].data.fd;
            if (fd == 0) {
                obey(together);
            } else if (fd == listener) {
                int accepted = accept4(listener, NULL, NULL, 0);
                if (accepted < 0) continue;
                setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event.data.fd = accepted;
                epoll_ctl(epoll_fd, EPOLL_CTL_ADD, accepted, &event);
            } else {
                /* The request comes in one piece over loopback; after it nothing is read. */
                ssize_t got = recv(fd, buffer, BUFFER, 0);
                epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
                if (got < 4 || memcmp(buffer + got - 4, "\r\n\r\n", 4)) die("half a request came");
                send_all(fd, ANSWERED, sizeof ANSWERED - 1);
                open_fds = grown(open_fds, (open_count + 1) * sizeof *open_fds);
                open_fds[open_count++] = fd;
            }
        }
    }
}
