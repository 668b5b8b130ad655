/* Strangers that connect, are upgraded, and leave, as fast as they are served.

   handshakes PORT AT_ONCE FIRST SECONDS     from the second FIRST of the wall clock on

   It prints one JSON line: how many were upgraded in that time, and how many were not answered
   with 101. Each leaves with a proper close frame and without waiting for the answer. */
#include "wire.h"

enum { BUFFER = 16384, EVENTS = 256 };

struct stranger {
    int fd, asked;
};

int main(int count, char **arguments) {
    if (count != 5) die("handshakes: expected 4 arguments");
    int port = atoi(arguments[1]), at_once = atoi(arguments[2]);
    int64_t first_ns = atol(arguments[3]) * 1000000000ll;
    double seconds = atof(arguments[4]);
    struct timespec due = {.tv_sec = first_ns / 1000000000};
    while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &due, NULL)) {}

    static const unsigned char farewell[] = {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8};
    char request[1024], *buffer = grown(NULL, BUFFER);
    int length = upgrade_request(request, sizeof request, port, "/", 1, "");
    struct stranger *strangers = calloc(at_once, sizeof *strangers);
    int epoll_fd = epoll_create1(0);
    struct epoll_event events[EVENTS];
    unsigned number = 0;
    unsigned long upgraded = 0, failed = 0;
    int64_t ends_ns = first_ns + (int64_t)(seconds * 1e9), now = first_ns;
    for (int i = 0; i < at_once; i++) strangers[i].fd = -1;
    while (now < ends_ns) {
        for (int i = 0; i < at_once; i++) {
            struct stranger *one = &strangers[i];
            if (one->fd >= 0) continue;
            one->fd = connecting(port, number++, 0);
            one->asked = 0;
            struct epoll_event event = {.events = EPOLLOUT, .data.ptr = one};
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, one->fd, &event);
        }
        int many = epoll_wait(epoll_fd, events, EVENTS, 20);
        now = now_ns();
        for (int i = 0; i < many; i++) {
            struct stranger *one = events[i].data.ptr;
            if (!one->asked) {
                one->asked = 1;
                struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
                epoll_ctl(epoll_fd, EPOLL_CTL_MOD, one->fd, &event);
                if (send(one->fd, request, length, MSG_NOSIGNAL) == length) continue;
            } else {
                ssize_t got = recv(one->fd, buffer, BUFFER, 0);
                if (got < 0 && errno == EAGAIN) continue;
                if (got > 12 && !memcmp(buffer, "HTTP/1.1 101", 12)) {
                    upgraded += now < ends_ns;
                    send(one->fd, farewell, sizeof farewell, MSG_NOSIGNAL);
                    close(one->fd);
                    one->fd = -1;
                    continue;
                }
            }
            failed++;
            close(one->fd);
            one->fd = -1;
        }
    }
    printf("{\"upgraded\":%lu,\"failed\":%lu,\"seconds\":%.3f,\"cpu_s\":%.6f}\n", upgraded, failed,
           seconds, cpu_s());
    return 0;
}
