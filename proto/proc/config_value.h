/* config_value.h - what a single value of the config may look like.  Pure, private to proc.
 *
 * Each returns NULL, or what to write instead ("write a duration with its unit, such as 600s"), which the
 * reader puts behind the value's place and name.  *ret is untouched then.  A number too large for its type
 * comes back as the largest, so that the bounds of its key refuse it. */
#ifndef PST_CONFIG_VALUE_H
#define PST_CONFIG_VALUE_H

#include "base/base.h"

const char *pst_value_number(pst_view_t v, uint64_t *ret);
const char *pst_value_duration(pst_view_t v, uint64_t *ret_ns); /* 500ms 600s 10m 24h 7d */
const char *pst_value_size(pst_view_t v, uint64_t *ret_bytes);  /* 512b 64kb 8gb 1tb, powers of 1024 */
const char *pst_value_price(pst_view_t v, double *ret);         /* 0.40 */
const char *pst_value_bool(pst_view_t v, bool *ret);

const char *pst_value_provider_name(pst_view_t v); /* letters, digits, . _ -; at most 40 bytes */
const char *pst_value_model_name(pst_view_t v);    /* what users ask for; at most 128 bytes */
const char *pst_value_upstream(pst_view_t v);      /* a provider's name of a model; at most 200 bytes */
const char *pst_value_word(pst_view_t v);          /* a short name such as fp8 */
const char *pst_value_path(pst_view_t v);          /* of a file, from the root on; at most 1024 bytes */
const char *pst_value_http_url(pst_view_t v);
/* The same, with ?api-version=… behind it or not. */
const char *pst_value_base_url(pst_view_t v);
const char *pst_value_proxy(pst_view_t v);         /* a URL with a scheme that curl knows a proxy by, ${VARIABLE}, or empty */
const char *pst_value_header(pst_view_t v);        /* its value: printable ASCII, ${VAR} or file:/path */
const char *pst_value_header_name(pst_view_t v);   /* of a request; none that a request has anyway */
const char *pst_value_redis_url(pst_view_t v);
const char *pst_value_zmq_address(pst_view_t v);   /* tcp://HOST:PORT or ipc:///path */
const char *pst_value_listen(pst_view_t v);        /* HOST:PORT, or empty for off */
const char *pst_value_secret(pst_view_t v);        /* ${VAR}, file:/path or a literal */

/* Of a good pst_value_listen: only this machine can reach it. */
bool pst_value_is_loopback(pst_view_t listen);
/* The VAR of a good "${VAR}"; empty for anything else. */
pst_view_t pst_value_variable(pst_view_t v);
/* Takes what stands before the next colon of a key, or that colon, off *v, which is not empty: a part that is a
 * variable stands for its value. */
pst_view_t pst_value_key_part(pst_view_t *v);

/* Prints an amount in the largest unit that shows it whole: "24h", "32mb". */
void pst_value_print_duration(uint64_t ns, char out[32]);
void pst_value_print_size(uint64_t bytes, char out[32]);

#endif
