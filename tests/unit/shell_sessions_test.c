/* Sessions over inproc: libzmq delivers at once and in this thread, and time is a number, so that nothing here waits. */
#include "unit.h"

#include <zmq.h>

#include "sessions.h"

#define EPOCH 7
#define LOST (PST_PEER_LOST_MS * PST_MS)

typedef struct world {
    void *zmq;
    pst_loop_t *loop;
    bool heard;
    pst_sessions_t *s;
    pst_peer_t last_peer;
    pst_ns_t now;
    char events[256];     /* "h1 m1 g1 …": hello, message, gone of a peer */
    pst_err_t answer;     /* of the callbacks */
    pst_arena_t arena;
} world_t;

typedef struct peer {
    void *socket;
    uint64_t session, seq;
} peer_t;

static void note(world_t *w, char what, pst_peer_t peer)
{
    size_t n = strlen(w->events);
    snprintf(w->events + n, sizeof w->events - n, "%s%c%u", n ? " " : "", what, peer);
}

static pst_err_t on_hello(void *arg, pst_peer_t peer, const pst_msg_hello_t *m)
{
    world_t *w = arg;
    assert_int_equal(m->role, PST_ROLE_CLIENT);
    note(w, 'h', peer);
    return w->answer;
}

static pst_err_t on_message(void *arg, pst_peer_t peer, const pst_msg_t *m)
{
    world_t *w = arg;
    assert_int_equal(m->type, PST_MSG_LIST);
    note(w, 'm', peer);
    return w->answer;
}

static void on_gone(void *arg, pst_peer_t peer)
{
    note(arg, 'g', peer);
}

/* The first turn of a run does not sleep and hears of descriptors; the second ends it. */
static pst_ns_t once(void *arg, pst_ns_t now)
{
    (void)now;
    world_t *w = arg;
    w->heard = !w->heard;
    if (!w->heard)
        pst_loop_stop(w->loop);
    return 0;
}

static void begin(world_t *w, const char *name, uint32_t sessions_max, size_t out_bytes_max)
{
    pst_sessions_opts_t o = {.role = PST_ROLE_CLIENT, .sessions_max = sessions_max, .out_bytes_max = out_bytes_max,
                             .high_water = 4, .epoch = EPOCH, .last_peer = &w->last_peer, .seed = 1};
    pst_sessions_ops_t ops = {on_hello, on_message, on_gone, w};
    pst_errbuf_t eb = {""};
    *w = (world_t){.zmq = zmq_ctx_new(), .loop = pst_loop_new(), .now = 1000 * PST_SEC};
    pst_arena_init(&w->arena, 0);
    pst_loop_prepare(w->loop, once, w);
    assert_int_equal(pst_sessions_new(w->loop, w->zmq, name, &o, &ops, &w->s, &eb), PST_OK);
}

static void finish(world_t *w)
{
    pst_sessions_destroy(&w->s);
    zmq_ctx_term(w->zmq);
    pst_loop_destroy(&w->loop);
    pst_arena_release(&w->arena);
}

static pst_ns_t turn(world_t *w)
{
    pst_loop_run(w->loop);
    pst_sessions_read(w->s, w->now);
    return pst_sessions_write(w->s, w->now);
}

/* Lets time pass as the loop would: by what the sessions ask for. */
static void pass(world_t *w, pst_ns_t d)
{
    pst_ns_t end = w->now + d;
    for (;;) {
        pst_ns_t next = turn(w);
        if (w->now == end)
            return;
        w->now = PST_MIN(PST_MAX(next, w->now + PST_MS), end);
    }
}

static peer_t peer(world_t *w, const char *name, const char *id)
{
    peer_t p = {.socket = zmq_socket(w->zmq, ZMQ_DEALER), .session = 100};
    int none = 0, high_water = 4;
    if (id)
        zmq_setsockopt(p.socket, ZMQ_ROUTING_ID, id, strlen(id));
    zmq_setsockopt(p.socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(p.socket, ZMQ_RCVHWM, &high_water, sizeof high_water);
    assert_int_equal(zmq_connect(p.socket, name), 0);
    return p;
}

static void say(peer_t *p, pst_msg_t *m)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    m->version = m->version ? m->version : PST_PROTOCOL_VERSION;
    m->session = p->session;
    m->seq = p->seq++;
    pst_msg_encode(m, &b);
    assert_int_equal(zmq_send(p->socket, b.p, b.n, ZMQ_DONTWAIT), b.n);
    pst_buf_release(&b);
}

static void say_type(peer_t *p, pst_msg_type_t type)
{
    say(p, &(pst_msg_t){.type = (uint8_t)type});
}

static void say_hello(peer_t *p)
{
    pst_msg_t m = {.type = PST_MSG_HELLO};
    m.u.hello.role = PST_ROLE_CLIENT;
    p->session++;
    p->seq = 0;
    say(p, &m);
}

/* The next message; type 0: none. */
static pst_msg_t hear(world_t *w, peer_t *p)
{
    static char frame[4096];
    pst_msg_t m = {0};
    int n = zmq_recv(p->socket, frame, sizeof frame, ZMQ_DONTWAIT);
    if (n < 0)
        return m;
    pst_arena_clear(&w->arena);
    pst_err_t e = pst_msg_decode(pst_view(frame, (size_t)n), &w->arena, &m);
    assert_true(e == PST_OK || e == PST_E_VERSION);
    return m;
}

static void hear_type(world_t *w, peer_t *p, pst_msg_type_t type)
{
    pst_msg_t m = hear(w, p);
    assert_int_equal(m.type, type);
    assert_int_equal(m.session, p->session);
    assert_int_equal(m.epoch, EPOCH);
}

static void hear_refused(world_t *w, peer_t *p, pst_err_t e)
{
    pst_msg_t m = hear(w, p);
    assert_int_equal(m.type, PST_MSG_REFUSED);
    assert_int_equal(m.u.refused.err, e);
}

static peer_t open_peer(world_t *w, const char *name, const char *id)
{
    peer_t p = peer(w, name, id);
    say_hello(&p);
    turn(w);
    hear_type(w, &p, PST_MSG_WELCOME);
    return p;
}

static void a_session_is_welcomed_heard_and_ended(void **state)
{
    (void)state;
    world_t w;
    begin(&w, "inproc://plain", 10, 1 << 20);
    peer_t p = open_peer(&w, "inproc://plain", "a");
    say_type(&p, PST_MSG_LIST);
    say_type(&p, PST_MSG_PING);
    say_type(&p, PST_MSG_LIST);
    say_type(&p, PST_MSG_BYE);
    turn(&w);
    assert_string_equal(w.events, "h1 m1 m1 g1");
    assert_int_equal(hear(&w, &p).type, 0);
    assert_int_equal(pst_sessions_stats(w.s)->sessions, 0);
    zmq_close(p.socket);
    finish(&w);
}

static void what_belongs_to_no_session_is_refused(void **state)
{
    (void)state;
    world_t w;
    begin(&w, "inproc://stray", 10, 1 << 20);
    peer_t p = peer(&w, "inproc://stray", "a");
    say_type(&p, PST_MSG_LIST);
    turn(&w);
    hear_refused(&w, &p, PST_E_NO_SESSION);
    say_hello(&p);
    p.seq = 2; /* 1 is missing */
    say_type(&p, PST_MSG_LIST);
    say_type(&p, PST_MSG_LIST);
    turn(&w);
    hear_type(&w, &p, PST_MSG_WELCOME);
    hear_refused(&w, &p, PST_E_SEQUENCE);
    hear_refused(&w, &p, PST_E_NO_SESSION);
    say_hello(&p);
    say(&p, &(pst_msg_t){.type = PST_MSG_LIST, .epoch = EPOCH - 1});
    turn(&w);
    hear_type(&w, &p, PST_MSG_WELCOME);
    hear_refused(&w, &p, PST_E_NO_SESSION);
    assert_string_equal(w.events, "h1 g1 h2 g2");
    zmq_close(p.socket);
    finish(&w);
}

static void wrong_frames_end_the_session(void **state)
{
    (void)state;
    world_t w;
    begin(&w, "inproc://wrong", 10, 1 << 20);
    peer_t p = open_peer(&w, "inproc://wrong", "a");
    zmq_send(p.socket, "nonsense", 8, ZMQ_DONTWAIT);
    turn(&w);
    hear_refused(&w, &p, PST_E_MALFORMED);
    say_hello(&p);
    for (int i = 0; i < 3; i++)
        zmq_send(p.socket, "part", 4, ZMQ_DONTWAIT | (i < 2 ? ZMQ_SNDMORE : 0));
    turn(&w);
    hear_type(&w, &p, PST_MSG_WELCOME);
    hear_refused(&w, &p, PST_E_MALFORMED);
    say(&p, &(pst_msg_t){.version = 9, .type = PST_MSG_HELLO});
    turn(&w);
    pst_msg_t m = hear(&w, &p);
    assert_int_equal(m.version, 9);
    assert_int_equal(m.type, PST_MSG_REFUSED);
    w.answer = PST_E_MALFORMED;
    say_hello(&p);
    turn(&w);
    hear_type(&w, &p, PST_MSG_WELCOME);
    hear_refused(&w, &p, PST_E_MALFORMED);
    assert_string_equal(w.events, "h1 g1 h2 g2 h3 g3");
    zmq_close(p.socket);
    finish(&w);
}

/* What the new session goes on with must not be given away in between. */
static void a_new_session_is_known_before_the_old_one_is_gone(void **state)
{
    (void)state;
    world_t w;
    begin(&w, "inproc://anew", 10, 1 << 20);
    peer_t p = open_peer(&w, "inproc://anew", "a");
    say_hello(&p);
    turn(&w);
    hear_type(&w, &p, PST_MSG_WELCOME);
    assert_string_equal(w.events, "h1 h2 g1");
    p.session--; /* a straggler of the first */
    say_type(&p, PST_MSG_LIST);
    turn(&w);
    hear_refused(&w, &p, PST_E_NO_SESSION);
    assert_string_equal(w.events, "h1 h2 g1");
    zmq_close(p.socket);
    finish(&w);
}

static void silence_ends_a_session_and_pings_fill_ours(void **state)
{
    (void)state;
    world_t w;
    begin(&w, "inproc://silence", 10, 1 << 20);
    peer_t p = open_peer(&w, "inproc://silence", "a");
    pass(&w, LOST - PST_MS);
    assert_string_equal(w.events, "h1");
    for (int i = 0; i < 3; i++)
        hear_type(&w, &p, PST_MSG_PING);
    assert_int_equal(hear(&w, &p).type, 0);
    say_type(&p, PST_MSG_PING);
    pass(&w, LOST - PST_MS);
    assert_string_equal(w.events, "h1");
    pass(&w, 10 * PST_MS);
    assert_string_equal(w.events, "h1 g1");
    assert_int_equal(pst_sessions_stats(w.s)->lost, 1);
    zmq_close(p.socket);
    finish(&w);
}

static void a_process_that_stood_still_blames_nobody(void **state)
{
    (void)state;
    world_t w;
    begin(&w, "inproc://still", 10, 1 << 20);
    peer_t p = open_peer(&w, "inproc://still", "a");
    pass(&w, PST_SEC);
    w.now += 30 * PST_SEC;
    turn(&w);
    assert_string_equal(w.events, "h1");
    pass(&w, LOST + PST_SEC);
    assert_string_equal(w.events, "h1 g1");
    zmq_close(p.socket);
    finish(&w);
}

static void send_text(world_t *w, pst_peer_t to, char *text, size_t n)
{
    pst_msg_t m = {.type = PST_MSG_RESULTS};
    pst_view_t pack = pst_view(text, n);
    m.u.results.packs = &pack;
    m.u.results.packs_n = 1;
    pst_sessions_send(w->s, to, &m);
}

static void a_reader_that_does_not_read_is_dropped_and_harms_nobody(void **state)
{
    (void)state;
    static char text[1 << 16];
    world_t w;
    begin(&w, "inproc://slow", 10, 1 << 20);
    peer_t slow = open_peer(&w, "inproc://slow", "a"), quick = open_peer(&w, "inproc://slow", "b");
    for (int i = 0; i < 15; i++)
        send_text(&w, 1, text, sizeof text);
    assert_in_range(pst_sessions_waiting(w.s, 1), 15 * sizeof text, 16 * sizeof text);
    send_text(&w, 2, text, 10);
    hear_type(&w, &quick, PST_MSG_RESULTS);
    send_text(&w, 1, text, sizeof text);
    assert_string_equal(w.events, "h1 h2"); /* never from within a send */
    turn(&w);
    assert_string_equal(w.events, "h1 h2 g1");
    assert_int_equal(pst_sessions_waiting(w.s, 1), 0);
    zmq_close(slow.socket);
    zmq_close(quick.socket);
    finish(&w);
}

static void what_waits_arrives_in_order(void **state)
{
    (void)state;
    world_t w;
    begin(&w, "inproc://order", 10, 1 << 20);
    peer_t p = open_peer(&w, "inproc://order", "a");
    for (uint32_t i = 0; i < 100; i++) {
        pst_msg_t m = {.type = PST_MSG_DONE, .u.done.req = i};
        pst_sessions_send(w.s, 1, &m);
    }
    for (uint32_t i = 0; i < 100; i++) {
        turn(&w);
        pst_msg_t m = hear(&w, &p);
        assert_int_equal(m.type, PST_MSG_DONE);
        assert_int_equal(m.u.done.req, i);
        assert_int_equal(m.seq, i + 1);
    }
    assert_int_equal(hear(&w, &p).type, 0);
    zmq_close(p.socket);
    finish(&w);
}

static void there_are_only_so_many_sessions(void **state)
{
    (void)state;
    world_t w;
    begin(&w, "inproc://many", 2, 1 << 20);
    peer_t a = open_peer(&w, "inproc://many", "a"), b = open_peer(&w, "inproc://many", "b");
    peer_t c = peer(&w, "inproc://many", "c");
    say_hello(&c);
    turn(&w);
    hear_refused(&w, &c, PST_E_FULL);
    say_type(&a, PST_MSG_BYE);
    say_hello(&c);
    turn(&w);
    hear_type(&w, &c, PST_MSG_WELCOME);
    assert_string_equal(w.events, "h1 h2 h3 g1");
    zmq_close(a.socket);
    zmq_close(b.socket);
    zmq_close(c.socket);
    finish(&w);
}

static void an_id_that_can_be_guessed_gets_no_answer(void **state)
{
    (void)state;
    world_t w;
    begin(&w, "inproc://guess", 10, 1 << 20);
    peer_t p = peer(&w, "inproc://guess", NULL);
    say_hello(&p);
    turn(&w);
    assert_int_equal(hear(&w, &p).type, 0);
    assert_string_equal(w.events, "");
    zmq_close(p.socket);
    finish(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_welcomed_heard_and_ended),
        cmocka_unit_test(what_belongs_to_no_session_is_refused),
        cmocka_unit_test(wrong_frames_end_the_session),
        cmocka_unit_test(a_new_session_is_known_before_the_old_one_is_gone),
        cmocka_unit_test(silence_ends_a_session_and_pings_fill_ours),
        cmocka_unit_test(a_process_that_stood_still_blames_nobody),
        cmocka_unit_test(a_reader_that_does_not_read_is_dropped_and_harms_nobody),
        cmocka_unit_test(what_waits_arrives_in_order),
        cmocka_unit_test(there_are_only_so_many_sessions),
        cmocka_unit_test(an_id_that_can_be_guessed_gets_no_answer),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
