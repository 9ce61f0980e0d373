#include "gateway/webhook_post.h"

#include <curl/curl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/list.h"
#include "gateway/webhook_url.h"

#define TIMEOUT_MS 10000L
#define CONNECT_TIMEOUT_MS 5000L
#define ANSWER_BYTES_MAX ((size_t)64 << 10)

struct pst_poster {
    pst_loop_t *loop;
    CURLM *multi;
    pst_link_t calls;    /* call_t.link */
    pst_ns_t due;        /* curl wants to run; PST_NEVER: it does not */
    const char *ca_file; /* NULL: what curl was built with */
    bool private_too;
};

typedef struct call {
    pst_link_t link;
    pst_poster_t *poster;
    CURL *easy;
    struct curl_slist *headers;
    size_t answered;     /* bytes of a body */
    bool refused;        /* an address */
    pst_post_done_fn *done;
    void *arg;
} call_t;

/* ---- the loop ---------------------------------------------------------------------------------- */

static void on_fd(void *arg, int fd, uint32_t events)
{
    pst_poster_t *p = arg;
    int mask = 0, running;
    if (events & (EPOLLIN | EPOLLHUP))
        mask |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        mask |= CURL_CSELECT_ERR;
    curl_multi_socket_action(p->multi, fd, mask, &running);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    (void)easy;
    (void)socket_arg;
    pst_poster_t *p = arg;
    if (what == CURL_POLL_REMOVE) {
        pst_loop_fd_remove(p->loop, fd);
        return 0;
    }
    uint32_t events = 0;
    if (what & CURL_POLL_IN)
        events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        events |= EPOLLOUT;
    pst_loop_fd(p->loop, fd, events, on_fd, p);
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    pst_poster_t *p = arg;
    p->due = timeout_ms < 0 ? PST_NEVER : pst_ns_add(pst_loop_now(p->loop), (pst_ns_t)timeout_ms * PST_MS);
    return 0;
}

/* ---- calls ------------------------------------------------------------------------------------- */

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    call_t *c = arg;
    if (!c->poster->private_too && !pst_webhook_address_public(&address->addr)) {
        c->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t on_body(char *bytes, size_t size, size_t n, void *arg)
{
    (void)bytes;
    call_t *c = arg;
    c->answered += size * n;
    return c->answered > ANSWER_BYTES_MAX ? 0 : size * n;
}

static void free_call(call_t *c)
{
    pst_link_remove(&c->link);
    curl_multi_remove_handle(c->poster->multi, c->easy);
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    free(c);
}

static const char *why_none(const call_t *c, CURLcode code)
{
    return c->refused ? "its address is not public" : curl_easy_strerror(code);
}

/* Whoever has sent a status has heard us, however the answer went on. */
static void finish(call_t *c, CURLcode code)
{
    long status = 0;
    curl_off_t after = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &after);
    pst_post_answer_t a = {.status = status >= 200 ? (int)status : 0, .after_s = after > 0 ? (uint64_t)after : 0};
    if (!a.status)
        a.why = why_none(c, code);
    pst_post_done_fn *done = c->done;
    void *arg = c->arg;
    free_call(c);
    done(arg, &a);
}

static void collect(pst_poster_t *p)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(p->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        call_t *c = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        finish(c, code);
    }
}

void pst_poster_step(pst_poster_t *p, pst_ns_t now)
{
    int running;
    if (p->due <= now) {
        p->due = PST_NEVER;
        curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    collect(p);
}

pst_ns_t pst_poster_due(const pst_poster_t *p)
{
    return p->due;
}

static void add_header(call_t *c, const char *line)
{
    struct curl_slist *more = curl_slist_append(c->headers, line);
    PST_ASSERT(more);
    c->headers = more;
}

static void set_manner(const pst_poster_t *p, call_t *c)
{
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_NOPROGRESS, 1L);
    curl_easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c->easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(c->easy, CURLOPT_USERAGENT, "penstock/" PST_VERSION);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, c);
    if (!p->private_too)
        curl_easy_setopt(c->easy, CURLOPT_PROXY, "");
    if (p->ca_file)
        curl_easy_setopt(c->easy, CURLOPT_CAINFO, p->ca_file);
}

void pst_poster_start(pst_poster_t *p, const pst_post_t *post, pst_post_done_fn *done, void *arg)
{
    call_t *c = pst_calloc(1, sizeof *c);
    c->poster = p;
    c->done = done;
    c->arg = arg;
    c->easy = curl_easy_init();
    PST_ASSERT(c->easy);
    set_manner(p, c);
    for (unsigned i = 0; i < post->headers; i++)
        add_header(c, post->header[i]);
    add_header(c, "Expect:"); /* without a value: is not sent */
    curl_easy_setopt(c->easy, CURLOPT_URL, post->url);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->body.n);
    curl_easy_setopt(c->easy, CURLOPT_COPYPOSTFIELDS, post->body.n ? post->body.p : "");
    pst_link_before(&p->calls, &c->link);
    PST_ASSERT(curl_multi_add_handle(p->multi, c->easy) == CURLM_OK);
}

/* ---- life -------------------------------------------------------------------------------------- */

pst_poster_t *pst_poster_new(pst_loop_t *loop, bool private_too)
{
    PST_ASSERT(curl_global_init(CURL_GLOBAL_ALL) == CURLE_OK);
    pst_poster_t *p = pst_calloc(1, sizeof *p);
    p->loop = loop;
    p->private_too = private_too;
    p->due = PST_NEVER;
    const char *named = getenv("SSL_CERT_FILE"); /* everybody's name for it, but curl's */
    p->ca_file = named && *named ? named : NULL;
    pst_link_init(&p->calls);
    p->multi = curl_multi_init();
    PST_ASSERT(p->multi);
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    return p;
}

void pst_poster_destroy(pst_poster_t **p)
{
    pst_poster_t *x = p ? pst_take(p) : NULL;
    if (!x)
        return;
    while (!pst_link_empty(&x->calls))
        free_call(PST_CONTAINER(x->calls.next, call_t, link));
    curl_multi_cleanup(x->multi);
    free(x);
    curl_global_cleanup();
}
