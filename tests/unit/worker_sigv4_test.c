/* Cases of AWS's own test suite (aws-sig-v4-test-suite, names as there), the request that AWS's documentation takes for
 * its example, and one of Bedrock's, which botocore signs the same. */
#include "unit.h"

#include "http/sigv4.h"

#define AT UINT64_C(1440938160) /* 2015-08-30T12:36:00Z */
#define SUITE "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="
#define TOKEN                                                                                                        \
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUu" \
    "wthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQc" \
    "HNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/o" \
    "LxBA=="

static const pst_sigv4_key_t suite_key = {
    .id = PST_VIEW_LIT("AKIDEXAMPLE"),
    .secret = PST_VIEW_LIT("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
    .region = PST_VIEW_LIT("us-east-1"),
    .service = PST_VIEW_LIT("service"),
};

static void signs(const pst_sigv4_key_t *key, const pst_sigv4_req_t *req, const char *want)
{
    char date[PST_SIGV4_DATE_N + 1];
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_sigv4_sign(key, req, AT, date, &b);
    assert_string_equal(date, "20150830T123600Z");
    pst_buf_putc(&b, '\0');
    assert_false(b.failed);
    assert_string_equal(b.p, want);
    pst_buf_release(&b);
}

/* header: "Name", "value", or NULL. */
static void suite_case(const char *method, const char *target, const char *const header[2], const char *body,
                       const char *want)
{
    pst_http_header_t h = {{NULL, 0}, {NULL, 0}};
    pst_view_t piece = pst_view_str(body);
    pst_sigv4_req_t req = {.method = method, .host = PST_VIEW_LIT("example.amazonaws.com"),
                           .target = pst_view_str(target), .header = &h, .piece = &piece, .pieces = 1};
    if (header) {
        h = (pst_http_header_t){pst_view_str(header[0]), pst_view_str(header[1])};
        req.headers = 1;
    }
    signs(&suite_key, &req, want);
}

static void the_suite_is_signed_as_published(void **state)
{
    (void)state;
    static const char *const value1[] = {"My-Header1", "value1"}, *const upper[] = {"My-Header1", " VALUE1 "},
                      *const form[] = {"Content-Type", "application/x-www-form-urlencoded"},
                      *const session[] = {"X-Amz-Security-Token", TOKEN};
    static const struct {
        const char *name, *method, *target, *const *header, *body, *want;
    } cases[] = {
        {"get-vanilla", "GET", "/", NULL, "",
         SUITE "host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", NULL, "",
         SUITE "host;x-amz-date, Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
        {"get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", NULL, "",
         SUITE "host;x-amz-date, Signature=07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
        {"get-utf8", "GET", "/\xe1\x88\xb4", NULL, "",
         SUITE "host;x-amz-date, Signature=8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
        {"normalize-path/get-space", "GET", "/example space/", NULL, "",
         SUITE "host;x-amz-date, Signature=652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
        {"normalize-path/get-special-character", "GET", "/example/$delete", NULL, "",
         SUITE "host;x-amz-date, Signature=a853c9b21b528b19643d00910d35b83a10c366a10833ceefb45edd6c80e40f27"},
        {"post-vanilla", "POST", "/", NULL, "",
         SUITE "host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
        {"post-vanilla-query", "POST", "/?Param1=value1", NULL, "",
         SUITE "host;x-amz-date, Signature=28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
        {"post-header-key-sort", "POST", "/", value1, "",
         SUITE "host;my-header1;x-amz-date, Signature=c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
        {"post-header-value-case, with blanks around it", "POST", "/", upper, "",
         SUITE "host;my-header1;x-amz-date, Signature=cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
        {"post-x-www-form-urlencoded", "POST", "/", form, "Param1=value1",
         SUITE "content-type;host;x-amz-date, "
               "Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
        {"post-sts-header-before", "POST", "/", session, "",
         SUITE "host;x-amz-date;x-amz-security-token, "
               "Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"},
    };
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        print_message("%s\n", cases[i].name);
        suite_case(cases[i].method, cases[i].target, cases[i].header, cases[i].body, cases[i].want);
    }
}

static void the_example_of_the_documentation_is_signed(void **state)
{
    (void)state;
    const pst_http_header_t type = {PST_VIEW_LIT("Content-Type"),
                                    PST_VIEW_LIT("application/x-www-form-urlencoded; charset=utf-8")};
    const pst_sigv4_req_t req = {.method = "GET", .host = PST_VIEW_LIT("iam.amazonaws.com"),
                                 .target = PST_VIEW_LIT("/?Action=ListUsers&Version=2010-05-08"),
                                 .header = &type, .headers = 1};
    pst_sigv4_key_t key = suite_key;
    key.service = PST_VIEW_LIT("iam");
    signs(&key, &req,
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
          "SignedHeaders=content-type;host;x-amz-date, "
          "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

/* The path is signed as %253A; the body in pieces is one body. */
static void a_model_with_a_colon_is_signed(void **state)
{
    (void)state;
    const pst_http_header_t token = {PST_VIEW_LIT("X-Amz-Security-Token"), PST_VIEW_LIT("token")};
    const pst_view_t piece[] = {PST_VIEW_LIT("{\"messages\""), PST_VIEW_LIT(":[]}")};
    const pst_sigv4_req_t req = {
        .method = "POST", .host = PST_VIEW_LIT("bedrock-runtime.eu-west-1.amazonaws.com"),
        .target = PST_VIEW_LIT("/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse"),
        .header = &token, .headers = 1, .piece = piece, .pieces = 2};
    pst_sigv4_key_t key = suite_key;
    key.region = pst_sigv4_region(req.host);
    key.service = PST_VIEW_LIT("bedrock");
    signs(&key, &req,
          "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/bedrock/aws4_request, "
          "SignedHeaders=host;x-amz-date;x-amz-security-token, "
          "Signature=a823c4a31dc437147324744da8ce977443c74498b02c4c6076ed8e560e0acc38");
}

static void a_key_has_two_parts_or_three(void **state)
{
    (void)state;
    pst_sigv4_key_t k = {.token = PST_VIEW_LIT("before")};
    assert_false(pst_sigv4_key_parse(PST_VIEW_LIT("ABSKnocolon"), &k));
    assert_false(pst_sigv4_key_parse(pst_view(NULL, 0), &k));
    assert_true(pst_view_eqs(k.token, "before"));
    assert_true(pst_sigv4_key_parse(PST_VIEW_LIT("AKIA:s/+"), &k));
    assert_true(pst_view_eqs(k.id, "AKIA") && pst_view_eqs(k.secret, "s/+") && k.token.n == 0);
    assert_true(pst_sigv4_key_parse(PST_VIEW_LIT("ASIA:s:t=="), &k));
    assert_true(pst_view_eqs(k.id, "ASIA") && pst_view_eqs(k.secret, "s") && pst_view_eqs(k.token, "t=="));
}

static void the_region_is_the_hosts(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"bedrock-runtime.ap-southeast-2.amazonaws.com", "ap-southeast-2"},
        {"bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"},
        {"bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"},
        {"vpce-0a1b.bedrock-runtime.eu-central-1.vpce.amazonaws.com", "eu-central-1"},
        {"127.0.0.1:8080", "us-east-1"},
        {"bedrock-runtime", "us-east-1"},
        {"", "us-east-1"},
    };
    for (size_t i = 0; i < PST_COUNT(cases); i++)
        assert_true(pst_view_eqs(pst_sigv4_region(pst_view_str(cases[i][0])), cases[i][1]));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_suite_is_signed_as_published),
    cmocka_unit_test(the_example_of_the_documentation_is_signed),
    cmocka_unit_test(a_model_with_a_colon_is_signed),
    cmocka_unit_test(a_key_has_two_parts_or_three),
    cmocka_unit_test(the_region_is_the_hosts),
};

UNIT_MAIN(tests)
