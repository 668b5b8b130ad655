/* Many clients that receive candles, count them, time them, and look closely at some.

   loadgen PORT CLIENTS ws|redis|nats FOLDER EVERY each|batch|opaque DEFLATE SUBPROTOCOL STALLED

   FOLDER holds texts.bin (what is expected, by round and symbol) and plan.txt: the symbols'
   names on its first line, then one line per kind of client, taken in turn: the URL's target, a
   tab, and the numbers of the symbols it wants, ascending. Every EVERYth client compares each
   message, inflated, with the text that has to come next. `batch` expects {"batch":[…]} and looks
   at all; `opaque` counts messages, times nothing, and writes what the first client got since the
   last `go` to FOLDER/dump.bin.
   STALLED more clients, in between the others, read nothing after their upgrade; they take what
   comes uncompressed, through a small buffer. SUBPROTOCOL `-` offers none.

   It prints one JSON line when all are connected, then obeys lines of its input:
     go FIRST COUNT ROUND LIMIT   COUNT rounds will come, the first is due at the second FIRST of
                                  the wall clock and is round ROUND of texts.bin; prints a JSON line
                                  when all is received, or LIMIT seconds after the last was due
     resume N                     every Nth of those that stalled reads on
     stalled                      prints what became of them
   and ends with its input. */
#include "wire.h"

#include <zlib.h>

enum { CONNECTING, UPGRADING, SUBSCRIBING, OPEN, GONE };
enum { WS, REDIS, NATS };
enum { EACH, BATCH, OPAQUE };
enum { AT_ONCE = 64, BUCKET_US = 10, BUCKETS = 6000000, BUFFER = 1 << 20, EVENTS = 1024 };

struct plan {
    char *target;
    uint32_t *wanted;
    uint32_t many;
};

struct client {
    int fd;
    uint8_t state, looks, deflate, takeover, stalled;
    struct plan *plan;
    uint32_t received; /* candles of this phase */
    uint16_t code;     /* of the close frame that came */
    /* the present WebSocket frame */
    uint8_t head[14], head_length, in_frame;
    uint64_t left;
    /* the present line of Redis or NATS, and what follows it */
    char line[48];
    uint8_t line_length, element, is_message, in_bulk;
    uint64_t bulk_left;
    uint32_t unconfirmed;
    char *kept; /* payload, or the answer to an upgrade, as far as it has come */
    uint32_t kept_length, kept_size;
    z_stream *inflater;
};

static int port, kind, shape, offer_deflate, epoll_fd, every;
static const char *subprotocol, *folder;
static struct payloads texts;
static char **names;
static struct plan *plans;
static uint32_t plan_count;
static struct client *clients;
static uint32_t client_count, started, in_flight, opened, deflating, healthy, resumed;
static char *buffer;
static z_stream shared_inflater;
static char *inflated;
static size_t inflated_size = 1 << 24;
static FILE *dump;

/* the present phase */
static int running;
static int64_t first_ns, deadline_ns, stamp_ns;
static uint32_t rounds, round_base;
static uint64_t received, expected, bad, lost, surplus, bytes, looked_at, messages;
static uint32_t *histogram;
static uint64_t timed;
static int64_t worst_us;
static double cpu_before;
static int64_t *round_last_ns;

static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

static void read_plan(void) {
    char path[4096];
    snprintf(path, sizeof path, "%s/plan.txt", folder);
    size_t size;
    char *at = whole_file(path, &size);
    char *line = strsep(&at, "\n"), *one;
    names = grown(NULL, texts.symbols * sizeof *names);
    for (uint32_t i = 0; i < texts.symbols; i++)
        if (!(names[i] = strsep(&line, ","))) die("plan.txt: too few names");
    while ((line = strsep(&at, "\n")) && *line) {
        plans = grown(plans, (plan_count + 1) * sizeof *plans);
        struct plan *plan = &plans[plan_count++];
        plan->target = strsep(&line, "\t");
        plan->wanted = NULL;
        plan->many = 0;
        while ((one = strsep(&line, ","))) {
            plan->wanted = grown(plan->wanted, (plan->many + 1) * sizeof *plan->wanted);
            plan->wanted[plan->many++] = atoi(one);
        }
    }
    if (!plan_count) die("plan.txt: no clients");
}

static void watch(struct client *client, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(epoll_fd, how, client->fd, &event)) die("epoll: %s", strerror(errno));
}

static void keep(struct client *client, const char *from, size_t many) {
    if (client->kept_length + many > client->kept_size) {
        client->kept_size = client->kept_length + many + 512;
        client->kept = grown(client->kept, client->kept_size);
    }
    memcpy(client->kept + client->kept_length, from, many);
    client->kept_length += many;
}

/* What clients write is so little that it always fits the socket's buffer. */
static void write_all(struct client *client, const void *data, size_t size) {
    if (send(client->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size && errno != EPIPE &&
        errno != ECONNRESET)
        die("send: %s", strerror(errno));
}

/* A client's frame, masked with zeros. */
static void write_frame(struct client *client, int opcode, const void *payload, size_t size) {
    unsigned char frame[8 + 65536];
    size_t head = 2;
    if (size > 65535) die("a frame of %zu bytes", size);
    frame[0] = 0x80 | opcode;
    if (size < 126) {
        frame[1] = 0x80 | size;
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = size >> 8;
        frame[3] = size;
        head = 4;
    }
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, payload, size);
    write_all(client, frame, head + 4 + size);
}

static void is_open(struct client *client) {
    client->state = OPEN;
    in_flight--;
    opened++;
    deflating += client->deflate && !client->stalled;
    if (client->stalled) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, client->fd, NULL);
}

static void is_gone(struct client *client) {
    if (client->state != OPEN) die("a connection ended before it was open: %s", strerror(errno));
    client->state = GONE;
    close(client->fd);
    if (!client->stalled) {
        lost++;
        healthy--;
    }
}

/* So many candles have come in one piece: count them and time them. */
static void delivered(struct client *client, uint32_t many) {
    if (client->stalled) return;
    if (!running) {
        surplus += many;
        return;
    }
    if (shape == OPAQUE) {
        messages += many;
            return;
    }
    for (uint32_t i = 0; i < many; i++) {
        uint32_t round = client->received / client->plan->many;
        if (round >= rounds) {
            surplus++;
            continue;
        }
        client->received++;
        received++;
        round_last_ns[round] = stamp_ns;
        int64_t late_us = (stamp_ns - first_ns - round * 1000000000ll) / 1000;
        if (late_us < 0) late_us = 0;
        if (late_us > worst_us) worst_us = late_us;
        int64_t bucket = late_us / BUCKET_US;
        histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
        timed++;
    }
}

/* How long candles were on their way at all: from when each round was due to its last receipt, or
   to when the next one was due. */
static double receiving_s(void) {
    double total = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        double took = (round_last_ns[i] - first_ns) / 1e9 - i;
        if (took > 0) total += i + 1 < rounds && took > 1 ? 1 : took;
    }
    return total;
}

/* Return the number of the text that this client has to get as its `ahead`th next. */
static size_t next_text(struct client *client, uint32_t ahead) {
    uint32_t at = client->received + ahead, many = client->plan->many;
    return (size_t)(round_base + at / many) * texts.symbols + client->plan->wanted[at % many];
}

static void is_bad(struct client *client, const char *what, const char *found, size_t size) {
    if (!bad++)
        fprintf(stderr, "client %ld, candle %u: %s: %.*s\n", (long)(client - clients),
                client->received, what, (int)(size < 600 ? size : 600), found);
}

/* Compare one text with what has to come. */
static void look(struct client *client, const char *text, size_t size) {
    if (!running) {
        surplus++;
        return;
    }
    looked_at++;
    size_t number = next_text(client, 0);
    if (number >= (size_t)texts.rounds * texts.symbols || size != texts.length[number] ||
        memcmp(text, texts.start[number], size))
        is_bad(client, "not the text that had to come", text, size);
    delivered(client, 1);
}

static void look_at_batch(struct client *client, const char *text, size_t size) {
    static const char opening[] = "{\"batch\":[";
    const char *at = text + sizeof opening - 1, *end = text + size;
    if (!running || size < sizeof opening + 2 || memcmp(text, opening, sizeof opening - 1)) {
        is_bad(client, "not a batch that had to come", text, size);
        return;
    }
    uint32_t many = 0;
    while (at < end) {
        size_t number = next_text(client, many);
        uint32_t length =
            number < (size_t)texts.rounds * texts.symbols ? texts.length[number] : UINT32_MAX;
        if ((size_t)(end - at) < (size_t)length + 1 || memcmp(at, texts.start[number], length))
            break;
        at += length;
        many++;
        if (*at++ != ',') break;
    }
    if (!(end - at == 1 && at[-1] == ']' && at[0] == '}'))
        is_bad(client, "a batch is wrong", text, size);
    looked_at += many;
    delivered(client, many);
}

static const char *inflate_kept(struct client *client, size_t *size) {
    static unsigned char tail[4] = {0, 0, 0xff, 0xff};
    z_stream *stream = client->takeover ? client->inflater : &shared_inflater;
    if (!client->takeover) inflateReset(stream);
    stream->next_out = (unsigned char *)inflated;
    stream->avail_out = inflated_size;
    stream->next_in = (unsigned char *)client->kept;
    stream->avail_in = client->kept_length;
    int first = inflate(stream, Z_SYNC_FLUSH);
    stream->next_in = tail;
    stream->avail_in = sizeof tail;
    int second = inflate(stream, Z_SYNC_FLUSH);
    if ((first != Z_OK && first != Z_BUF_ERROR) || (second != Z_OK && second != Z_BUF_ERROR)) {
        is_bad(client, "cannot be inflated", stream->msg ? stream->msg : "?", 20);
        *size = 0;
    } else {
        *size = inflated_size - stream->avail_out;
    }
    return inflated;
}

/* A frame of the server is complete; its payload is kept if anybody looks at it. */
static void frame_received(struct client *client) {
    int opcode = client->head[0] & 0x0f, last = client->head[0] & 0x80;
    if (opcode == 9) {
        write_frame(client, 10, client->kept, client->kept_length);
    } else if (opcode == 8) {
        if (client->kept_length >= 2)
            client->code = (uint8_t)client->kept[0] << 8 | (uint8_t)client->kept[1];
        write_frame(client, 8, client->kept, client->kept_length < 2 ? 0 : 2);
    } else if (opcode == 1 || opcode == 2) {
        if (!last) is_bad(client, "a fragment", "", 0);
        if (client->stalled || kind == NATS) return;
        if (!client->looks) {
            delivered(client, 1);
            return;
        }
        const char *text = client->kept;
        size_t size = client->kept_length;
        if (client->head[0] & 0x40) text = inflate_kept(client, &size);
        if (shape == OPAQUE) {
            uint32_t length = size;
            if (client == clients && running) {
                fwrite(&length, 4, 1, dump);
                fwrite(text, 1, size, dump);
                fflush(dump);
            }
            delivered(client, 1);
        } else if (shape == BATCH) {
            look_at_batch(client, text, size);
        } else {
            look(client, text, size);
        }
    } else if (opcode != 10) {
        is_bad(client, "an unexpected frame", "", 0);
    }
}

/* Redis and NATS: lines, some of which announce so many bytes, which end with a line break too. */
static void line_received(struct client *client) {
    char *line = client->line;
    line[client->line_length] = 0;
    client->line_length = 0;
    if (kind == REDIS) {
        if (*line == '*') {
            client->element = 0;
        } else if (*line == '$') {
            client->in_bulk = 1;
            client->bulk_left = strtoul(line + 1, NULL, 10) + 2;
            if (client->element == 0) client->is_message = client->bulk_left == 9;
        } else if (*line == ':' && !client->is_message && client->unconfirmed) {
            if (!--client->unconfirmed) is_open(client);
        } else if (*line == '-') {
            die("redis: %s", line);
        }
        return;
    }
    if (!strncmp(line, "MSG ", 4)) {
        char *length = strrchr(line, ' ');
        client->in_bulk = client->is_message = 1;
        client->element = 2;
        client->bulk_left = strtoul(length + 1, NULL, 10) + 2;
    } else if (!strncmp(line, "PING", 4)) {
        write_frame(client, 2, "PONG\r\n", 6);
    } else if (!strncmp(line, "PONG", 4)) {
        if (client->state == SUBSCRIBING) is_open(client);
    } else if (!strncmp(line, "-ERR", 4)) {
        die("nats: %s", line);
    }
}

static void bulk_received(struct client *client) {
    client->in_bulk = 0;
    if (client->element == 2 && client->is_message) {
        if (client->looks)
            look(client, client->kept, client->kept_length - 2);
        else
            delivered(client, 1);
    }
    client->element++;
    client->kept_length = 0;
}

static void lines_fed(struct client *client, const char *at, size_t many) {
    while (many) {
        if (client->in_bulk) {
            size_t some = many < client->bulk_left ? many : client->bulk_left;
            if (client->looks && client->element == 2) keep(client, at, some);
            at += some;
            many -= some;
            client->bulk_left -= some;
            if (!client->bulk_left) bulk_received(client);
        } else {
            char one = *at++;
            many--;
            if (one == '\n')
                line_received(client);
            else if (client->line_length < sizeof client->line - 1)
                client->line[client->line_length++] = one;
        }
    }
}

static int head_needed(const struct client *client) {
    if (client->head_length < 2) return 2;
    int length = client->head[1] & 0x7f;
    return length == 126 ? 4 : length == 127 ? 10 : 2;
}

static void frames_fed(struct client *client, const char *at, size_t many) {
    while (many || (client->in_frame && !client->left)) {
        if (!client->in_frame) {
            client->head[client->head_length++] = *at++;
            many--;
            if (client->head_length < head_needed(client)) continue;
            const uint8_t *head = client->head;
            uint64_t length = head[1] & 0x7f;
            if (length == 126) {
                length = head[2] << 8 | head[3];
            } else if (length == 127) {
                length = 0;
                for (int i = 2; i < 10; i++) length = length << 8 | head[i];
            }
            client->in_frame = 1;
            client->left = length;
            if (kind != NATS || (head[0] & 8)) client->kept_length = 0;
        } else {
            size_t some = many < client->left ? many : client->left;
            if (kind == NATS && !(client->head[0] & 8))
                lines_fed(client, at, some);
            else if (client->looks || client->head[0] & 8)
                keep(client, at, some);
            at += some;
            many -= some;
            client->left -= some;
            if (!client->left) {
                client->in_frame = client->head_length = 0;
                frame_received(client);
            }
        }
    }
}

static void subscribe(struct client *client) {
    static char text[65536];
    int size = 0;
    struct plan *plan = client->plan;
    client->state = SUBSCRIBING;
    if (kind == REDIS) {
        client->unconfirmed = plan->many;
        size = sprintf(text, "*%u\r\n$9\r\nSUBSCRIBE\r\n", plan->many + 1);
        for (uint32_t i = 0; i < plan->many; i++) {
            const char *name = names[plan->wanted[i]];
            size += sprintf(text + size, "$%zu\r\n%s\r\n", strlen(name), name);
        }
        write_all(client, text, size);
        return;
    }
    size = sprintf(text, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
    for (uint32_t i = 0; i < plan->many; i++)
        size += sprintf(text + size, "SUB %s %u\r\n", names[plan->wanted[i]], i + 1);
    size += sprintf(text + size, "PING\r\n");
    write_frame(client, 2, text, size);
}

/* Read the answer to the upgrade; what follows it are frames already. */
static void answer_fed(struct client *client, const char *at, size_t many) {
    keep(client, at, many);
    keep(client, "", 1);
    client->kept_length--;
    char *end = strstr(client->kept, "\r\n\r\n");
    if (!end) return;
    size_t rest = client->kept_length - (end + 4 - client->kept);
    char *copy = rest ? memcpy(grown(NULL, rest), end + 4, rest) : NULL;
    *end = 0;
    if (strncmp(client->kept, "HTTP/1.1 101", 12))
        die("the upgrade was answered: %.200s %.300s", client->kept, copy ? copy : "");
    if (!strstr(client->kept, ANSWER)) die("the upgrade was answered wrongly: %s", client->kept);
    client->deflate = strstr(client->kept, "permessage-deflate") != NULL;
    client->takeover =
        client->deflate && strstr(client->kept, "server_no_context_takeover") == NULL;
    if (client->looks && client->takeover) {
        client->inflater = calloc(1, sizeof *client->inflater);
        if (!client->inflater || inflateInit2(client->inflater, -15) != Z_OK) die("zlib");
    }
    free(client->kept);
    client->kept = NULL;
    client->kept_length = client->kept_size = 0;
    if (kind == NATS)
        subscribe(client);
    else
        is_open(client);
    if (rest) frames_fed(client, copy, rest);
    free(copy);
}

static void readable(struct client *client) {
    ssize_t many = recv(client->fd, buffer, BUFFER, 0);
    if (many < 0 && (errno == EAGAIN || errno == EINTR)) return;
    stamp_ns = now_ns();
    if (many <= 0) {
        is_gone(client);
        return;
    }
    if (client->state == UPGRADING) {
        answer_fed(client, buffer, many);
        return;
    }
    if (!client->stalled) bytes += many;
    if (kind == REDIS)
        lines_fed(client, buffer, many);
    else
        frames_fed(client, buffer, many);
}

static void connected(struct client *client) {
    int error;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) die("connect: %s", strerror(error));
    watch(client, EPOLLIN, EPOLL_CTL_MOD);
    if (kind == REDIS) {
        subscribe(client);
        return;
    }
    char request[16384];
    int length = upgrade_request(request, sizeof request, port, client->plan->target,
                                 offer_deflate && !client->stalled, subprotocol);
    if (length >= (int)sizeof request) die("the request is too long");
    client->state = UPGRADING;
    write_all(client, request, length);
}

static void connect_more(void) {
    while (started < client_count && in_flight < AT_ONCE) {
        struct client *client = &clients[started];
        client->fd = connecting(port, started, client->stalled ? 8192 : 0);
        started++;
        in_flight++;
        watch(client, EPOLLOUT, EPOLL_CTL_ADD);
    }
}

static double quantile_ms(double share) {
    uint64_t wanted = (uint64_t)(share * timed + 0.999999), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += histogram[i]) >= wanted && seen) return (i + 0.5) * BUCKET_US / 1000.0;
    return 0;
}

static void report(void) {
    running = 0;
    say("{\"received\":%llu,\"expected\":%llu,\"bad\":%llu,\"lost\":%llu,\"surplus\":%llu,"
        "\"bytes\":%llu,\"looked_at\":%llu,\"messages\":%llu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
        "\"worst_ms\":%.3f,\"receiving_s\":%.6f,\"cpu_s\":%.6f}",
        (unsigned long long)received, (unsigned long long)expected, (unsigned long long)bad,
        (unsigned long long)lost, (unsigned long long)surplus, (unsigned long long)bytes,
        (unsigned long long)looked_at, (unsigned long long)messages, quantile_ms(0.5),
        quantile_ms(0.99), worst_us / 1000.0, receiving_s(), cpu_s() - cpu_before);
}

static void begin(long first, unsigned count, unsigned round, double limit) {
    first_ns = first * 1000000000ll;
    rounds = count;
    round_base = round;
    deadline_ns = first_ns + (count - 1) * 1000000000ll + (int64_t)(limit * 1e9);
    expected = received = bytes = looked_at = messages = timed = 0;
    worst_us = 0;
    if (dump && (fseek(dump, 0, SEEK_SET) || ftruncate(fileno(dump), 0))) die("dump.bin");
    round_last_ns = grown(round_last_ns, count * sizeof *round_last_ns);
    memset(round_last_ns, 0, count * sizeof *round_last_ns);
    memset(histogram, 0, BUCKETS * sizeof *histogram);
    for (uint32_t i = 0; i < client_count; i++) {
        clients[i].received = 0;
        if (!clients[i].stalled) expected += (uint64_t)clients[i].plan->many * count;
    }
    cpu_before = cpu_s();
    running = 1;
}

static void resume(unsigned nth) {
    uint32_t number = 0;
    for (uint32_t i = 0; i < client_count; i++) {
        if (!clients[i].stalled || number++ % nth) continue;
        resumed++;
        watch(&clients[i], EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void report_stalled(void) {
    uint32_t too_slow = 0;
    for (uint32_t i = 0; i < client_count; i++)
        too_slow += clients[i].stalled && clients[i].code == 4008;
    say("{\"resumed\":%u,\"too_slow\":%u}", resumed, too_slow);
}

static void obey(void) {
    static char input[4096];
    static size_t held;
    ssize_t many = read(0, input + held, sizeof input - held - 1);
    if (many <= 0) exit(0);
    held += many;
    input[held] = 0;
    char *line = input, *end;
    while ((end = strchr(line, '\n'))) {
        *end = 0;
        long first;
        unsigned count, round, nth;
        double limit;
        if (sscanf(line, "go %ld %u %u %lf", &first, &count, &round, &limit) == 4)
            begin(first, count, round, limit);
        else if (sscanf(line, "resume %u", &nth) == 1 && nth)
            resume(nth);
        else if (!strcmp(line, "stalled"))
            report_stalled();
        else
            die("unknown command: %s", line);
        line = end + 1;
    }
    held = strlen(line);
    memmove(input, line, held + 1);
}

int main(int count, char **arguments) {
    if (count != 10) die("loadgen: expected 9 arguments");
    port = atoi(arguments[1]);
    healthy = atoi(arguments[2]);
    kind = !strcmp(arguments[3], "redis") ? REDIS : !strcmp(arguments[3], "nats") ? NATS : WS;
    folder = arguments[4];
    every = atoi(arguments[5]);
    shape = !strcmp(arguments[6], "batch") ? BATCH : !strcmp(arguments[6], "opaque") ? OPAQUE : EACH;
    offer_deflate = atoi(arguments[7]);
    subprotocol = strcmp(arguments[8], "-") ? arguments[8] : "";
    uint32_t stalled = atoi(arguments[9]);
    client_count = healthy + stalled;

    char path[4096];
    snprintf(path, sizeof path, "%s/texts.bin", folder);
    texts = read_payloads(path);
    read_plan();
    snprintf(path, sizeof path, "%s/dump.bin", folder);
    if (shape == OPAQUE && !(dump = fopen(path, "wb"))) die("%s: %s", path, strerror(errno));
    buffer = grown(NULL, BUFFER);
    inflated = grown(NULL, inflated_size);
    histogram = calloc(BUCKETS, sizeof *histogram);
    clients = calloc(client_count, sizeof *clients);
    if (!histogram || !clients || inflateInit2(&shared_inflater, -15) != Z_OK) die("out of memory");
    uint32_t others = 0;
    for (uint32_t i = 0; i < client_count; i++) {
        /* The stalled ones are spread evenly among the others. */
        clients[i].stalled = (uint64_t)(i + 1) * stalled / client_count !=
                             (uint64_t)i * stalled / client_count;
        clients[i].plan = &plans[others % plan_count];
        if (!clients[i].stalled) {
            clients[i].looks = shape != EACH || others % every == 0;
            others++;
        }
    }
    epoll_fd = epoll_create1(0);
    struct epoll_event events[EVENTS], input = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &input);
    int64_t began_ns = now_ns();
    int told = 0;
    connect_more();
    for (;;) {
        int wait_ms = -1;
        if (running) {
            int64_t left_ns = deadline_ns - now_ns();
            wait_ms = left_ns < 0 ? 0 : left_ns / 1000000 + 1;
        }
        int many = epoll_wait(epoll_fd, events, EVENTS, wait_ms);
        if (many < 0 && errno != EINTR) die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < many; i++) {
            struct client *client = events[i].data.ptr;
            if (!client)
                obey();
            else if (client->state == CONNECTING)
                connected(client);
            else if (client->state != GONE)
                readable(client);
        }
        connect_more();
        if (!told && opened == client_count) {
            told = 1;
            say("{\"connected\":%u,\"deflating\":%u,\"seconds\":%.6f}", opened, deflating,
                (now_ns() - began_ns) / 1e9);
        }
        if (running && ((shape != OPAQUE && received == expected) || now_ns() >= deadline_ns))
            report();
    }
}
