/* The simulated provider's HTTP/2 and TLS: a client in the same thread, bytes carried by hand, virtual time. */
#include "unit.h"

#include "base/rng.h"
#include "h2.h"
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define CALLS_MAX 64

/* What a client heard of one call. */
typedef struct heard {
    int32_t id;
    int status; /* 0: no headers came */
    pst_buf_t body;
    unsigned limits; /* headers x-ratelimit-… */
    bool ended, closed;
    uint32_t code; /* of the end; 0: a good one */
} heard_t;

typedef struct peer {
    sim_world_t *world;
    sim_service_t service;
    sim_h2_hub_t *hub;
    sim_h2_t *server;
    nghttp2_session *client;
    heard_t call[CALLS_MAX];
    unsigned calls;
    pst_view_t upload[CALLS_MAX];
    pst_ns_t now;
    bool alive;
    pst_buf_t sent; /* all the client ever said */
} peer_t;

static heard_t *find(peer_t *p, int32_t id)
{
    for (unsigned i = 0; i < p->calls; i++) {
        if (p->call[i].id == id)
            return &p->call[i];
    }
    return NULL;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_n,
                     const uint8_t *value, size_t value_n, uint8_t flags, void *arg)
{
    (void)s;
    (void)flags;
    heard_t *c = find(arg, f->hd.stream_id);
    pst_view_t n = pst_view((const char *)name, name_n);
    if (pst_view_eqs(n, ":status"))
        c->status = atoi((const char *)value);
    assert_false(pst_view_eqs(n, "connection"));
    if (name_n > 12 && memcmp(name, "x-ratelimit-", 12) == 0)
        c->limits += value_n > 0;
    return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *arg)
{
    (void)s;
    (void)flags;
    pst_buf_put(&find(arg, id)->body, data, n);
    return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
    (void)s;
    heard_t *c = f->hd.stream_id ? find(arg, f->hd.stream_id) : NULL;
    if (c && (f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS))
        c->ended |= (f->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
    (void)s;
    heard_t *c = find(arg, id);
    c->closed = true;
    c->code = code;
    return 0;
}

static ssize_t read_upload(nghttp2_session *s, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                           nghttp2_data_source *source, void *arg)
{
    (void)s;
    (void)id;
    (void)arg;
    pst_view_t *v = source->ptr;
    size_t n = PST_MIN(room, v->n);
    memcpy(to, v->p, n);
    *v = pst_view(v->p + n, v->n - n);
    *flags |= v->n ? 0 : NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static void start(peer_t *p, unsigned streams_max)
{
    memset(p, 0, sizeof *p);
    p->alive = true;
    p->world = sim_world_new();
    sim_service_init(&p->service, p->world);
    p->hub = sim_h2_hub_new(&p->service, streams_max);
    p->server = sim_h2_new(p->hub, p);
    pst_buf_init(&p->sent, 0);
    nghttp2_session_callbacks *cb;
    assert_int_equal(nghttp2_session_callbacks_new(&cb), 0);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    assert_int_equal(nghttp2_session_client_new(&p->client, cb, p), 0);
    nghttp2_session_callbacks_del(cb);
    nghttp2_submit_settings(p->client, NGHTTP2_FLAG_NONE, NULL, 0);
}

static void stop(peer_t *p)
{
    nghttp2_session_del(p->client);
    sim_h2_destroy(&p->server);
    sim_h2_hub_destroy(&p->hub);
    sim_service_release(&p->service);
    assert_int_equal(p->world->total.in_flight, 0);
    sim_world_destroy(&p->world);
    for (unsigned i = 0; i < p->calls; i++)
        pst_buf_release(&p->call[i].body);
    pst_buf_release(&p->sent);
}

static nghttp2_nv nv(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), 0};
}

static heard_t *post(peer_t *p, const char *body)
{
    nghttp2_nv head[] = {nv(":method", "POST"), nv(":scheme", "http"), nv(":path", "/v1/chat/completions"),
                         nv(":authority", "x"), nv("authorization", "Bearer k")};
    heard_t *c = &p->call[p->calls];
    p->upload[p->calls] = pst_view_str(body);
    nghttp2_data_provider data = {.source.ptr = &p->upload[p->calls], .read_callback = read_upload};
    c->id = nghttp2_submit_request(p->client, NULL, head, PST_COUNT(head), &data, NULL);
    assert_true(c->id > 0);
    pst_buf_init(&c->body, 0);
    p->calls++;
    return c;
}

static heard_t *chat(peer_t *p, const char *text)
{
    static char body[CALLS_MAX][256];
    char *to = body[p->calls];
    snprintf(to, sizeof body[0], "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}", text);
    return post(p, to);
}

static void to_server(peer_t *p, size_t step)
{
    const uint8_t *bytes;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(p->client, &bytes)) > 0) {
        pst_buf_put(&p->sent, bytes, (size_t)n);
        for (size_t at = 0; at < (size_t)n && p->alive; at += step)
            p->alive = sim_h2_read(p->server, (const char *)bytes + at, PST_MIN(step, (size_t)n - at), p->now);
    }
    assert_true(n == 0);
}

/* Carries bytes both ways, `step` at a time, until nobody has any. */
static void talk(peer_t *p, size_t step)
{
    pst_buf_t out;
    pst_buf_init(&out, 0);
    do {
        to_server(p, step);
        sim_h2_hub_step(p->hub, p->now);
        pst_buf_clear(&out);
        while (sim_h2_hub_ready(p->hub))
            p->alive = p->alive && sim_h2_write(p->server, &out, SIZE_MAX);
        for (size_t at = 0; at < out.n; at += step) {
            size_t n = PST_MIN(step, out.n - at);
            assert_int_equal(nghttp2_session_mem_recv(p->client, (const uint8_t *)out.p + at, n), n);
        }
    } while (p->alive && (out.n || nghttp2_session_want_write(p->client)));
    pst_buf_release(&out);
}

static bool says(const heard_t *c, const char *text)
{
    return c->body.n && memmem(c->body.p, c->body.n, text, strlen(text));
}

static void check_answer(const heard_t *c, int status, const char *text)
{
    assert_int_equal(c->status, status);
    assert_true(c->ended && c->closed);
    assert_int_equal(c->code, 0);
    assert_true(says(c, text));
}

/* All kinds of answers, side by side on one connection, however the bytes are cut. */
static void h2_answers_any_split(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 2, 7, 64, 1000, SIZE_MAX / 2};
    for (size_t i = 0; i < PST_COUNT(steps); i++) {
        peer_t p;
        start(&p, 100);
        heard_t *good = chat(&p, "one"), *error = chat(&p, "[[500]]"), *html = chat(&p, "[[garbage]]");
        heard_t *cut = chat(&p, "[[cut]]"), *mid = chat(&p, "[[cutmid]]"), *limit = chat(&p, "[[429]]");
        heard_t *bad = post(&p, "nonsense"), *last = chat(&p, "two");
        talk(&p, steps[i]);
        assert_true(p.alive);
        check_answer(good, 200, "echo:one");
        check_answer(error, 500, "server_error");
        check_answer(html, 200, "<!DOCTYPE html>");
        check_answer(limit, 429, "rate_limit_exceeded");
        check_answer(bad, 400, "invalid_request_error");
        check_answer(last, 200, "echo:two");
        assert_true(cut->closed && cut->status == 0 && cut->code == NGHTTP2_INTERNAL_ERROR);
        assert_true(mid->closed && mid->status == 200 && mid->code == NGHTTP2_INTERNAL_ERROR);
        assert_false(mid->ended);
        assert_in_range(mid->body.n, good->body.n / 2 - 8, good->body.n / 2 + 8);
        assert_memory_equal(mid->body.p, "{\"id\":\"chatcmpl-", 16);
        assert_int_equal(p.world->total.requests, 8);
        assert_int_equal(p.world->total.answered, 2);
        assert_int_equal(p.world->total.cut, 1);
        assert_int_equal(p.world->total.cut_mid, 1);
        assert_int_equal(p.world->wire.h2_streams, 8);
        stop(&p);
    }
}

static void set(peer_t *p, const char *name, const char *value)
{
    sim_change_t c;
    assert_int_equal(sim_change_read(pst_view_str(name), pst_view_str(value), &c), PST_OK);
    sim_world_change(p->world, NULL, &c);
}

/* Replies come when they are due, not in the order of their requests; who leaves or hangs is counted. */
static void h2_keeps_time(void **state)
{
    (void)state;
    peer_t p;
    start(&p, 100);
    set(&p, "rpm", "60000");
    heard_t *slow = chat(&p, "[[slow:50]] a"), *soon = chat(&p, "[[slow:20]] b"), *hang = chat(&p, "[[hang]]");
    heard_t *gone = chat(&p, "[[slow:30]] c"), *now = chat(&p, "d");
    talk(&p, 1000);
    check_answer(now, 200, "echo:d");
    assert_true(now->limits >= 3);
    assert_false(slow->closed || soon->closed || hang->closed || gone->closed);
    assert_int_equal(p.world->total.in_flight, 4);
    assert_int_equal(sim_h2_hub_due(p.hub), 20 * PST_MS);
    nghttp2_submit_rst_stream(p.client, NGHTTP2_FLAG_NONE, gone->id, NGHTTP2_CANCEL);
    p.now = 20 * PST_MS;
    talk(&p, 1000);
    check_answer(soon, 200, "echo:[[slow:20]] b");
    assert_int_equal(p.world->total.abandoned, 1);
    assert_int_equal(sim_h2_hub_due(p.hub), 50 * PST_MS);
    p.now = 50 * PST_MS;
    talk(&p, 1000);
    check_answer(slow, 200, "echo:[[slow:50]] a");
    assert_int_equal(sim_h2_hub_due(p.hub), PST_NEVER);
    assert_int_equal(p.world->total.in_flight, 1);
    assert_int_equal(p.world->total.hung, 1);
    stop(&p);
}

/* An outage cuts the connection, and all calls on it, when the first of them is due. */
static void h2_outage_cuts_the_connection(void **state)
{
    (void)state;
    peer_t p;
    start(&p, 100);
    heard_t *first = chat(&p, "[[slow:20]] a"), *second = chat(&p, "[[slow:40]] b");
    talk(&p, 1000);
    assert_true(p.alive);
    set(&p, "outage", "on");
    p.now = 20 * PST_MS;
    talk(&p, 1000);
    assert_false(p.alive);
    assert_false(first->closed || second->closed);
    sim_h2_destroy(&p.server);
    assert_int_equal(p.world->total.cut, 2);
    assert_int_equal(p.world->total.abandoned, 0);
    stop(&p);

    start(&p, 100);
    set(&p, "outage", "on");
    chat(&p, "a");
    talk(&p, 1000);
    assert_false(p.alive);
    assert_int_equal(p.world->total.cut, 1);
    stop(&p);
}

/* Large both ways: windows open as the bytes go through. */
static void h2_carries_megabytes(void **state)
{
    (void)state;
    enum { BYTES = 5 << 20 };
    char *body = malloc(BYTES);
    memset(body, 'x', BYTES);
    static const char head[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"", tail[] = "\"}]}";
    memcpy(body, head, sizeof head - 1);
    memcpy(body + BYTES - sizeof tail, tail, sizeof tail);
    peer_t p;
    start(&p, 2);
    talk(&p, 1000); /* or the client would not know yet that it may have two at once */
    heard_t *a = post(&p, body), *b = chat(&p, "b"), *c = chat(&p, "c");
    talk(&p, SIZE_MAX / 2);
    check_answer(a, 200, "xxx");
    assert_true(a->body.n > BYTES - 200);
    check_answer(b, 200, "echo:b"); /* c had to wait for a place */
    check_answer(c, 200, "echo:c");
    stop(&p);
    free(body);
}

static void h2_refuses_too_much(void **state)
{
    (void)state;
    peer_t p;
    start(&p, 10);
    nghttp2_nv head[80] = {nv(":method", "POST"), nv(":scheme", "http"), nv(":path", "/v1/chat/completions"),
                           nv(":authority", "x")};
    for (size_t i = 4; i < PST_COUNT(head); i++)
        head[i] = nv("a", "b");
    heard_t *c = &p.call[p.calls++];
    c->id = nghttp2_submit_request(p.client, NULL, head, PST_COUNT(head), NULL, NULL);
    pst_buf_init(&c->body, 0);
    talk(&p, 1000);
    check_answer(c, 431, "<h1>431");
    stop(&p);
}

/* Damaged bytes: any end but a crash, and every call in flight accounted for. */
static void h2_survives_damage(void **state)
{
    (void)state;
    peer_t p;
    start(&p, 100);
    for (unsigned i = 0; i < 6; i++)
        chat(&p, i % 2 ? "[[slow:5]] x" : "y");
    talk(&p, 1000);
    pst_buf_t good = p.sent;
    pst_buf_init(&p.sent, 0);
    stop(&p);
    pst_rng_t rng;
    pst_rng_seed(&rng, 17);
    for (unsigned i = 0; i < 3000; i++) {
        start(&p, 100);
        char *bytes = malloc(good.n);
        memcpy(bytes, good.p, good.n);
        for (uint64_t k = 1 + pst_rng_below(&rng, 3); k > 0; k--)
            bytes[24 + pst_rng_below(&rng, good.n - 24)] = (char)pst_rng_next(&rng);
        pst_buf_t out;
        pst_buf_init(&out, 0);
        for (size_t at = 0; at < good.n && p.alive; at += 300)
            p.alive = sim_h2_read(p.server, bytes + at, PST_MIN((size_t)300, good.n - at), 0) &&
                      sim_h2_write(p.server, &out, SIZE_MAX);
        sim_h2_hub_step(p.hub, 5 * PST_MS);
        if (p.alive)
            sim_h2_write(p.server, &out, SIZE_MAX);
        pst_buf_release(&out);
        free(bytes);
        stop(&p);
    }
    pst_buf_release(&good);
}

/* ---- TLS ---- */

typedef struct shop {
    char dir[64], cert[128], key[128];
} shop_t;

static int make_shop(void **state)
{
    static shop_t s;
    pst_errbuf_t eb;
    snprintf(s.dir, sizeof s.dir, "/tmp/pst-tls.XXXXXX");
    assert_non_null(mkdtemp(s.dir));
    snprintf(s.cert, sizeof s.cert, "%s/cert.pem", s.dir);
    snprintf(s.key, sizeof s.key, "%s/key.pem", s.dir);
    assert_true(sim_tls_self_signed(s.dir, &eb));
    *state = &s;
    return 0;
}

static int close_shop(void **state)
{
    shop_t *s = *state;
    return unlink(s->cert) || unlink(s->key) || rmdir(s->dir);
}

typedef struct line {
    int fd[2];
    SSL *client;
    sim_tls_t *server;
} line_t;

static void connect_line(line_t *l, SSL_CTX *ctx, sim_tls_config_t *config, SSL_SESSION *session)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, l->fd), 0);
    l->server = sim_tls_new(config, l->fd[0]);
    l->client = SSL_new(ctx);
    SSL_set_fd(l->client, l->fd[1]);
    SSL_set_connect_state(l->client);
    if (session)
        SSL_set_session(l->client, session);
}

/* Whether both sides came to terms. */
static bool shake(line_t *l)
{
    int server = 0, client = 0;
    for (int i = 0; i < 20 && !(server == 1 && client == 1); i++) {
        bool write;
        client = SSL_do_handshake(l->client);
        if (client != 1 && SSL_get_error(l->client, client) != SSL_ERROR_WANT_READ)
            return false;
        server = server == 1 ? 1 : sim_tls_handshake(l->server, &write);
        if (server < 0)
            return false;
    }
    return server == 1 && client == 1;
}

static void hang_up(line_t *l)
{
    SSL_free(l->client);
    sim_tls_destroy(&l->server);
    close(l->fd[0]);
    close(l->fd[1]);
}

static SSL_SESSION *kept;
static int keep_session(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl;
    SSL_SESSION_free(kept);
    kept = s;
    return 1;
}

static SSL_CTX *client_of(const shop_t *s, int version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    if (s)
        assert_int_equal(SSL_CTX_load_verify_locations(ctx, s->cert, NULL), 1);
    return ctx;
}

/* More than one read takes at once; says so, or the server would wait for an event that does not come. */
static void carry(line_t *l)
{
    enum { RECORDS = 3, BYTES = 16000 };
    char *out = malloc(RECORDS * BYTES), *in = malloc(RECORDS * BYTES);
    for (size_t i = 0; i < RECORDS * BYTES; i++)
        out[i] = (char)(i * 7);
    for (int i = 0; i < RECORDS; i++)
        assert_int_equal(SSL_write(l->client, out + i * BYTES, BYTES), BYTES);
    size_t have = 0;
    bool more = true;
    ssize_t n;
    while ((n = sim_tls_read(l->server, in + have, PST_MIN((size_t)1000, RECORDS * BYTES - have))) > 0) {
        have += (size_t)n;
        more = sim_tls_more(l->server);
        if (have == RECORDS * BYTES)
            break;
        assert_true(more || have % BYTES == 0);
    }
    assert_int_equal(have, RECORDS * BYTES);
    assert_false(more);
    assert_memory_equal(in, out, have);
    assert_true(sim_tls_read(l->server, in, 1) == -1 && errno == EAGAIN);
    assert_int_equal(sim_tls_write(l->server, "answer", 6), 6);
    assert_int_equal(SSL_read(l->client, in, 100), 6);
    sim_tls_bye(l->server);
    assert_int_equal(SSL_read(l->client, in, 100), 0);
    assert_int_equal(SSL_get_error(l->client, 0), SSL_ERROR_ZERO_RETURN);
    free(out);
    free(in);
}

static void tls_speaks_and_resumes(void **state)
{
    pst_errbuf_t eb;
    const shop_t *s = *state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    sim_tls_config_t *config = sim_tls_config_new(s->cert, s->key, true, &eb);
    assert_non_null(config);
    for (size_t v = 0; v < PST_COUNT(versions); v++) {
        SSL_CTX *ctx = client_of(s, versions[v]);
        for (int round = 0; round < 2; round++) {
            line_t l;
            SSL_SESSION *earlier = kept;
            kept = NULL;
            connect_line(&l, ctx, config, earlier);
            assert_true(shake(&l));
            assert_int_equal(SSL_version(l.client), versions[v]);
            carry(&l);
            assert_int_equal(sim_tls_resumed(l.server), round == 1);
            SSL_shutdown(l.client); /* else it would not trust the session again */
            hang_up(&l);
            SSL_SESSION_free(earlier);
        }
        SSL_SESSION_free(kept);
        kept = NULL;
        SSL_CTX_free(ctx);
    }
    sim_tls_config_destroy(&config);
}

static void tls_chooses_a_protocol(void **state)
{
    pst_errbuf_t eb;
    static const struct {
        const char *offer; /* as on the wire; NULL: nothing */
        bool http2;        /* the server has it */
        bool ok, h2;
    } cases[] = {
        {"\x02h2\x08http/1.1", true, true, true}, {"\x08http/1.1\x02h2", true, true, true},
        {"\x08http/1.1", true, true, false},      {"\x02h2\x08http/1.1", false, true, false},
        {"\x02h2", false, false, false},          {"\x03" "foo", true, false, false},
        {NULL, true, true, false},
    };
    const shop_t *s = *state;
    SSL_CTX *ctx = client_of(s, TLS1_3_VERSION);
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        sim_tls_config_t *config = sim_tls_config_new(s->cert, s->key, cases[i].http2, &eb);
        line_t l;
        connect_line(&l, ctx, config, NULL);
        if (cases[i].offer)
            assert_int_equal(SSL_set_alpn_protos(l.client, (const unsigned char *)cases[i].offer,
                                                 (unsigned)strlen(cases[i].offer)), 0);
        assert_int_equal(shake(&l), cases[i].ok);
        if (cases[i].ok)
            assert_int_equal(sim_tls_http2(l.server), cases[i].h2);
        hang_up(&l);
        sim_tls_config_destroy(&config);
    }
    SSL_SESSION_free(kept);
    kept = NULL;
    SSL_CTX_free(ctx);
}

static void tls_refusals(void **state)
{
    pst_errbuf_t eb;
    const shop_t *s = *state;
    sim_tls_config_t *config = sim_tls_config_new(s->cert, s->key, true, &eb);
    SSL_CTX *stranger = client_of(NULL, TLS1_3_VERSION);
    line_t l;
    connect_line(&l, stranger, config, NULL);
    assert_false(shake(&l)); /* who does not know the certificate does not speak to us */
    hang_up(&l);
    connect_line(&l, stranger, config, NULL);
    bool write;
    assert_int_equal(send(l.fd[1], "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    assert_int_equal(sim_tls_handshake(l.server, &write), -1);
    hang_up(&l);
    SSL_CTX_free(stranger);
    sim_tls_config_destroy(&config);
    assert_null(sim_tls_config_new(s->key, s->key, true, &eb));
    assert_non_null(strstr(eb.text, s->key));
    assert_null(sim_tls_config_new("/nonexistent", s->key, true, &eb));
    assert_false(sim_tls_self_signed("/nonexistent", &eb));
    struct stat before, after;
    assert_int_equal(stat(s->cert, &before), 0);
    assert_true(sim_tls_self_signed(s->dir, &eb)); /* another provider in the same folder shares it */
    assert_int_equal(stat(s->cert, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(stat(s->key, &after), 0);
    assert_int_equal(after.st_mode & 0777, 0600);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(h2_answers_any_split),
    cmocka_unit_test(h2_keeps_time),
    cmocka_unit_test(h2_outage_cuts_the_connection),
    cmocka_unit_test(h2_carries_megabytes),
    cmocka_unit_test(h2_refuses_too_much),
    cmocka_unit_test(h2_survives_damage),
    cmocka_unit_test_setup_teardown(tls_speaks_and_resumes, make_shop, close_shop),
    cmocka_unit_test_setup_teardown(tls_chooses_a_protocol, make_shop, close_shop),
    cmocka_unit_test_setup_teardown(tls_refusals, make_shop, close_shop),
};
UNIT_MAIN(tests)
