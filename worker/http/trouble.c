#include "http/trouble.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static void say(pst_trouble_t *ret, pst_cause_t cause, const char *fmt, ...)
{
    va_list ap;
    ret->cause = cause;
    va_start(ap, fmt);
    vsnprintf(ret->text, sizeof ret->text, fmt, ap);
    va_end(ap);
}

/* ": " and what curl said, if it did. */
static const char *colon(const char *said)
{
    return *said ? ": " : "";
}

/* ---- before anything was sent ---------------------------------------------------------------- */

/* "Could not resolve host: NAME" */
static void not_resolved(pst_trouble_t *ret, const char *whose, const char *said)
{
    const char *name = strrchr(said, ' ');
    if (name && name > said && name[-1] == ':')
        say(ret, PST_CAUSE_DNS, "%s name %s does not resolve", whose, name + 1);
    else
        say(ret, PST_CAUSE_DNS, "%s name does not resolve%s%s", whose, colon(said), said);
}

/* "Failed to connect to HOST port PORT after 3 ms: Couldn't connect to server", and why is in the error's number. */
static void not_connected(pst_trouble_t *ret, CURL *easy, const char *said)
{
    static const char before[] = "Failed to connect to ";
    long number = 0;
    const char *host = strncmp(said, before, sizeof before - 1) == 0 ? said + sizeof before - 1 : "";
    const char *after = strstr(host, " after ");
    int n = (int)(after ? (size_t)(after - host) : strlen(host));
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number);
    if (number == ECONNREFUSED && n)
        say(ret, PST_CAUSE_CONNECTION, "connection refused by %.*s", n, host);
    else if (number && n)
        say(ret, PST_CAUSE_CONNECTION, "no connection to %.*s: %s", n, host, strerror((int)number));
    else
        say(ret, PST_CAUSE_CONNECTION, "no connection to the provider%s%s", colon(said), said);
}

/* On the way to a connection.  true: that is what it was. */
static bool of_connecting(pst_trouble_t *ret, CURL *easy, CURLcode code, const char *said)
{
    curl_off_t began = 0;
    long made = 0;
    curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &began);
    curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &made);
    if (began > 0)
        return false;
    if (code == CURLE_OPERATION_TIMEDOUT && strncmp(said, "Resolving", 9) == 0)
        say(ret, PST_CAUSE_DNS, "the provider's name does not resolve: %s", said);
    else if (code == CURLE_OPERATION_TIMEDOUT && made > 0)
        say(ret, PST_CAUSE_TLS, "TLS handshake failed: %s", said);
    else
        not_connected(ret, easy, said);
    return true;
}

/* ---- afterwards ------------------------------------------------------------------------------ */

static void cut(pst_trouble_t *ret, size_t bytes, const char *said)
{
    if (bytes)
        say(ret, PST_CAUSE_CONNECTION, "connection cut after %zu bytes of the answer%s%s", bytes, colon(said), said);
    else
        say(ret, PST_CAUSE_CONNECTION, "connection cut before an answer%s%s", colon(said), said);
}

void pst_trouble_cut(pst_trouble_t *ret, size_t bytes)
{
    cut(ret, bytes, "");
}

void pst_trouble_too_large(pst_trouble_t *ret)
{
    say(ret, PST_CAUSE_PAYLOAD_TOO_LARGE, "the provider's answer is larger than this worker takes");
}

void pst_trouble_packed(pst_trouble_t *ret)
{
    say(ret, PST_CAUSE_BAD_ANSWER, "the provider's answer cannot be unpacked");
}

void pst_trouble_not_http(pst_trouble_t *ret)
{
    say(ret, PST_CAUSE_CONNECTION, "what came is not HTTP as this worker understands it");
}

void pst_trouble_stalled(pst_trouble_t *ret, size_t bytes, pst_ns_t idle)
{
    say(ret, PST_CAUSE_TIMEOUT, "the provider sent %zu bytes of an answer and then nothing for %.3g s", bytes,
        (double)idle / (double)PST_SEC);
}

void pst_trouble_late(pst_trouble_t *ret, bool connected, size_t bytes)
{
    if (!connected)
        say(ret, PST_CAUSE_CONNECTION, "no connection to the provider in the time of the call");
    else if (bytes)
        say(ret, PST_CAUSE_TIMEOUT, "the provider did not answer in time: %zu bytes had come", bytes);
    else
        say(ret, PST_CAUSE_TIMEOUT, "the provider did not answer in time");
}

size_t pst_trouble_bytes(CURL *easy)
{
    long header = 0;
    curl_off_t body = 0;
    curl_easy_getinfo(easy, CURLINFO_HEADER_SIZE, &header);
    curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &body);
    return (size_t)header + (size_t)body;
}

void pst_trouble_of_curl(pst_trouble_t *ret, CURL *easy, CURLcode code, const char *said)
{
    if (code == CURLE_COULDNT_RESOLVE_HOST)
        not_resolved(ret, "the", said);
    else if (code == CURLE_COULDNT_RESOLVE_PROXY)
        not_resolved(ret, "the proxy's", said);
    else if (code == CURLE_SSL_CONNECT_ERROR)
        say(ret, PST_CAUSE_TLS, "TLS handshake failed%s%s", colon(said), said);
    else if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE)
        say(ret, PST_CAUSE_CERTIFICATE, "the provider's certificate is not trusted: see ca_file%s%s", colon(said), said);
    else if (code == CURLE_BAD_CONTENT_ENCODING)
        pst_trouble_packed(ret);
    else if (code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_UNSUPPORTED_PROTOCOL)
        pst_trouble_not_http(ret);
    else if (of_connecting(ret, easy, code, said))
        return;
    else if (code == CURLE_OPERATION_TIMEDOUT)
        pst_trouble_late(ret, true, pst_trouble_bytes(easy));
    else
        cut(ret, pst_trouble_bytes(easy), said);
}
