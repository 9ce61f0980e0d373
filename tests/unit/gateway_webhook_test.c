#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "gateway/webhook.h"
#include "gateway/webhook_url.h"

#define BATCH "batch_01J8ZQ4K7N9V0M2X3C4B5A6F7G"

static pst_webhook_t webhook(pst_webhook_dialect_t dialect)
{
    pst_webhook_t w = {.type = PST_WEBHOOK_COMPLETED, .dialect = dialect, .created_s = 1700000000};
    assert_int_equal(pst_id_parse(PST_VIEW_LIT(BATCH), &w.batch), PST_OK);
    return w;
}

/* ---- events ------------------------------------------------------------------------------------ */

static void statuses(void **state)
{
    (void)state;
    static const char *const names[] = {"completed", "failed", "expired", "cancelled"};
    pst_webhook_type_t t;
    for (unsigned i = 0; i < PST_WEBHOOK_TYPES; i++) {
        assert_true(pst_webhook_of_status(pst_view_str(names[i]), &t));
        assert_string_equal(pst_webhook_status(t), names[i]);
    }
    assert_false(pst_webhook_of_status(PST_VIEW_LIT("cancelling"), &t));
    assert_false(pst_webhook_of_status(PST_VIEW_LIT(""), &t));
    assert_null(pst_webhook_status(PST_WEBHOOK_TYPES));
}

/* The same for the same event, another for any other. */
static void ids(void **state)
{
    (void)state;
    char id[PST_WEBHOOK_ID_LEN + 1], other[PST_WEBHOOK_ID_LEN + 1];
    pst_webhook_t w = webhook(PST_WEBHOOK_OPENAI), x = webhook(PST_WEBHOOK_OPENROUTER);
    x.created_s++;
    pst_webhook_id(&w, PST_VIEW_LIT("https://h/"), id);
    assert_int_equal(strlen(id), PST_WEBHOOK_ID_LEN);
    assert_memory_equal(id, "evt_", 4);
    assert_int_equal(strspn(id + 4, "0123456789abcdef"), PST_WEBHOOK_ID_LEN - 4);
    pst_webhook_id(&x, PST_VIEW_LIT("https://h/"), other);
    assert_string_equal(id, other);
    pst_webhook_id(&w, PST_VIEW_LIT("https://h/x"), other);
    assert_string_not_equal(id, other);
    x.type = PST_WEBHOOK_FAILED;
    pst_webhook_id(&x, PST_VIEW_LIT("https://h/"), other);
    assert_string_not_equal(id, other);
    x = w;
    x.batch.b[15] ^= 1;
    pst_webhook_id(&x, PST_VIEW_LIT("https://h/"), other);
    assert_string_not_equal(id, other);
}

static void payload(pst_webhook_dialect_t dialect, const char *want)
{
    pst_webhook_t w = webhook(dialect);
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_webhook_payload(&w, "evt_1", &b);
    pst_buf_putc(&b, '\0');
    assert_string_equal(b.p, want);
    pst_buf_release(&b);
}

static void payloads(void **state)
{
    (void)state;
    payload(PST_WEBHOOK_OPENAI, "{\"id\":\"evt_1\",\"object\":\"event\",\"type\":\"batch.completed\",\"created_at\":1700000000,"
                                "\"data\":{\"id\":\"" BATCH "\"}}");
    payload(PST_WEBHOOK_OPENROUTER,
            "{\"id\":\"evt_1\",\"object\":\"event\",\"type\":\"batch.completed\",\"created_at\":1700000000,"
            "\"data\":{\"id\":\"" BATCH "\",\"object\":\"batch\",\"status\":\"completed\"}}");
}

/* ---- signatures -------------------------------------------------------------------------------- */

static void sign(const char *secret, const char *want)
{
    pst_webhook_key_t k;
    char got[PST_WEBHOOK_SIGNATURE_LEN + 1];
    assert_int_equal(pst_webhook_key_parse(pst_view_str(secret), &k, NULL), PST_OK);
    pst_webhook_sign(&k, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, PST_VIEW_LIT("{\"test\": 2432232314}"), got);
    assert_string_equal(got, want);
    pst_webhook_key_release(&k);
    assert_int_equal(k.n, 0);
}

/* The example that the libraries of Standard Webhooks are tested with. */
static void published_vector(void **state)
{
    (void)state;
    static const char want[] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_int_equal(sizeof want - 1, PST_WEBHOOK_SIGNATURE_LEN);
    sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", want);
    sign("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", want);
}

static void key(const char *text, int bytes)
{
    pst_webhook_key_t k = {.n = 0};
    pst_errbuf_t eb = {0};
    pst_err_t e = pst_webhook_key_parse(pst_view_str(text), &k, &eb);
    assert_int_equal(e, bytes ? PST_OK : PST_E_CONFIG);
    assert_int_equal(k.n, bytes);
    if (!bytes && strlen(text) > 8)
        assert_null(strstr(eb.text, text));
}

static void keys(void **state)
{
    (void)state;
    char most[128];
    memset(most, 'A', sizeof most);
    most[86] = '\0';
    key("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", 25);
    key("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 25);
    key("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 26);
    key("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 26);
    key(most, 64);
    most[86] = 'A';
    most[87] = '\0';
    key(most, 0);
    memset(most, 'A', sizeof most - 1);
    most[sizeof most - 1] = '\0';
    key(most, 0);
    key("", 0);
    key("whsec_", 0);
    key("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 0);    /* 23 bytes */
    key("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0);   /* half a group */
    key("whsec_AAAAAAAA=AAAAAAAAAAAAAAAAAAAAAAAAAAA", 0);
    key("whsec_AAAAAAAAAAAAAAAA!AAAAAAAAAAAAAAAAAAA", 0);
}

/* ---- tries ------------------------------------------------------------------------------------- */

static void verdicts(void **state)
{
    (void)state;
    static const int again[] = {0, 199, 300, 302, 307, 400, 404, 409, 411, 429, 500, 503};
    assert_int_equal(pst_webhook_verdict(200), PST_WEBHOOK_DELIVERED);
    assert_int_equal(pst_webhook_verdict(204), PST_WEBHOOK_DELIVERED);
    assert_int_equal(pst_webhook_verdict(299), PST_WEBHOOK_DELIVERED);
    assert_int_equal(pst_webhook_verdict(410), PST_WEBHOOK_GONE);
    for (size_t i = 0; i < sizeof again / sizeof *again; i++)
        assert_int_equal(pst_webhook_verdict(again[i]), PST_WEBHOOK_AGAIN);
}

static void schedule(void **state)
{
    (void)state;
    uint64_t least, most, low = 0, high = 0, before = 0;
    unsigned tries = 1;
    for (; pst_webhook_wait(tries, 0, 0, &least); tries++) {
        assert_true(least > before);
        before = least;
        most = least;
        for (uint64_t chance = 1; chance < 1u << 20; chance = chance * 3 + 1) {
            uint64_t ms;
            assert_true(pst_webhook_wait(tries, chance, 0, &ms));
            assert_true(ms >= least && ms <= least + least / 10);
            most = ms > most ? ms : most;
        }
        assert_true(most > least);
        low += least;
        high += least + least / 10;
    }
    assert_int_equal(tries, 9);
    assert_true(low > 22u * 3600 * 1000 && high < 25u * 3600 * 1000);
    assert_true(pst_webhook_wait(1, 0, 0, &least));
    assert_int_equal(least, 5000);
}

static void receivers_wish(void **state)
{
    (void)state;
    uint64_t ms;
    assert_true(pst_webhook_wait(1, 0, 90, &ms));
    assert_int_equal(ms, 90000);
    assert_true(pst_webhook_wait(5, 0, 90, &ms));
    assert_int_equal(ms, 3600000);
    assert_true(pst_webhook_wait(1, 0, UINT64_MAX, &ms));
    assert_int_equal(ms, 12u * 3600 * 1000);
    assert_false(pst_webhook_wait(9, 0, 1, &ms));
}

/* ---- addresses --------------------------------------------------------------------------------- */

static void address(const char *text, bool open)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    bool got;
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        got = pst_webhook_address_public((const struct sockaddr *)&v4);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
        got = pst_webhook_address_public((const struct sockaddr *)&v6);
    }
    if (got != open)
        fail_msg("%s is %s", text, got ? "taken for public" : "refused");
}

static void addresses4(void **state)
{
    (void)state;
    static const char *const closed[] = {
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1",
        "127.255.0.1", "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1",
        "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1",
        "239.255.255.250", "240.0.0.1", "255.255.255.255"};
    static const char *const open[] = {"1.1.1.1", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1", "126.0.0.1",
                                       "128.0.0.1", "168.63.129.17", "169.253.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1",
                                       "192.167.0.1", "198.17.0.1", "198.20.0.1", "223.255.255.255"};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        address(closed[i], false);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        address(open[i], true);
}

static void addresses6(void **state)
{
    (void)state;
    static const char *const closed[] = {
        "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::8.8.8.8",
        "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1",
        "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "4000::1", "5f00::1"};
    static const char *const open[] = {"2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450::1", "::ffff:8.8.8.8",
                                       "64:ff9b::8.8.8.8", "2002:808:808::1", "3ffe::1"};
    for (size_t i = 0; i < sizeof closed / sizeof *closed; i++)
        address(closed[i], false);
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        address(open[i], true);
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    assert_false(pst_webhook_address_public((const struct sockaddr *)&local));
}

/* ---- URLs -------------------------------------------------------------------------------------- */

static void good_url(const char *url, const char *host)
{
    char got[PST_WEBHOOK_HOST_BYTES_MAX + 1];
    pst_errbuf_t eb = {0};
    pst_err_t e = pst_webhook_url_check(pst_view_str(url), false, got, &eb);
    assert_string_equal(eb.text, "");
    assert_int_equal(e, PST_OK);
    assert_string_equal(got, host);
}

static void bad_url(const char *url, bool private_too, const char *word)
{
    pst_errbuf_t eb = {0};
    pst_err_t e = pst_webhook_url_check(pst_view_str(url), private_too, NULL, &eb);
    if (e != PST_E_INPUT || !strstr(eb.text, word))
        fail_msg("%s: %d %s", url, e, eb.text);
}

static void private_url(const char *url)
{
    bad_url(url, false, "private");
    assert_int_equal(pst_webhook_url_check(pst_view_str(url), true, NULL, NULL), PST_OK);
}

static void urls(void **state)
{
    (void)state;
    good_url("https://example.com", "example.com:443");
    good_url("http://example.com/a?token=x#f", "example.com:80");
    good_url("HTTPS://example.com:8443/", "example.com:8443");
    good_url("https://1.1.1.1/", "1.1.1.1:443");
    good_url("https://[2606:4700:4700::1111]:99/", "[2606:4700:4700::1111]:99");
    good_url("https://localhost.example.com/", "localhost.example.com:443");
    bad_url("", false, "no URL");
    bad_url("example.com/x", true, "no URL");
    bad_url("https://", true, "no URL");
    bad_url("https://h:99999/", true, "no URL");
    bad_url("ftp://example.com/", true, "begins with https:// or http://");
    bad_url("file:///etc/passwd", true, "no URL");
    bad_url("gopher://example.com/", true, "begins with");
    bad_url("https://u:p@example.com/", true, "no user and no password");
    bad_url("https://u@example.com/", true, "no user and no password");
    bad_url("https://example.com/a b", true, "printable ASCII");
    bad_url("https://example.com/\r\nx: y", true, "printable ASCII");
    bad_url("https://ex\xc3\xa4mple.com/", true, "printable ASCII");
    char longest[PST_WEBHOOK_URL_BYTES_MAX + 2];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "https://h/", 10);
    longest[PST_WEBHOOK_URL_BYTES_MAX + 1] = '\0';
    bad_url(longest, true, "2048");
    longest[PST_WEBHOOK_URL_BYTES_MAX] = '\0';
    good_url(longest, "h:443");
    memset(longest + 8, 'h', 300);
    longest[308] = '\0';
    bad_url(longest, true, "255 bytes");
}

/* Whichever way the address is written. */
static void private_urls(void **state)
{
    (void)state;
    static const char *const all[] = {
        "http://127.0.0.1/", "http://127.0.0.1:8080/x", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/",
        "http://0x7f.1/", "http://127.1/", "http://10.1.2.3/", "http://169.254.169.254/latest/meta-data/", "http://0/",
        "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[fe80::1%25eth0]/",
        "http://[fd00::1]/", "http://localhost/", "http://LOCALHOST:80/", "http://localhost./", "http://a.localhost/"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        private_url(all[i]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(statuses),   cmocka_unit_test(ids),        cmocka_unit_test(payloads), cmocka_unit_test(published_vector),
    cmocka_unit_test(keys),       cmocka_unit_test(verdicts),   cmocka_unit_test(schedule), cmocka_unit_test(receivers_wish),
    cmocka_unit_test(addresses4), cmocka_unit_test(addresses6), cmocka_unit_test(urls),     cmocka_unit_test(private_urls),
};
UNIT_MAIN(tests)
