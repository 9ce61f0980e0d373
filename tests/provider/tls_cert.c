#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAYS 30

static bool add_extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

/* A serial number that no certificate before it had: clients remember issuer and serial. */
static bool set_serial(X509 *x)
{
    uint64_t serial;
    return RAND_bytes((unsigned char *)&serial, sizeof serial) == 1 &&
           ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) == 1;
}

/* Its own authority: who trusts the file trusts the server. */
static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *x = X509_new();
    X509_NAME *name = x ? X509_get_subject_name(x) : NULL;
    bool ok =
        name && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                   (const unsigned char *)"pst-sim-provider", -1, -1, 0) == 1 &&
        X509_set_issuer_name(x, name) == 1 &&
        X509_gmtime_adj(X509_getm_notBefore(x), -3600) && /* clocks differ a little */
        X509_gmtime_adj(X509_getm_notAfter(x), DAYS * 86400L) && X509_set_pubkey(x, key) == 1 &&
        add_extension(x, NID_basic_constraints, "critical,CA:TRUE") &&
        add_extension(x, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1") &&
        X509_sign(x, key, EVP_sha256()) > 0;
    if (ok)
        return x;
    X509_free(x);
    return NULL;
}

/* Written beside its place and moved there: another provider may be reading it. */
static bool write_pem(const char *path, EVP_PKEY *key, X509 *x)
{
    char part[4096];
    if (snprintf(part, sizeof part, "%s.%ld", path, (long)getpid()) >= (int)sizeof part)
        return false;
    FILE *f = fopen(part, "wx");
    if (!f)
        return false;
    fchmod(fileno(f), x ? 0644 : 0600);
    int ok = x ? PEM_write_X509(f, x) : PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    bool closed = fclose(f) == 0;
    if (ok == 1 && closed && rename(part, path) == 0)
        return true;
    unlink(part);
    return false;
}

bool sim_tls_self_signed(const char *dir, pst_errbuf_t *eb)
{
    char cert[4000], key_file[4000];
    snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    snprintf(key_file, sizeof key_file, "%s/key.pem", dir);
    if (access(cert, R_OK) == 0 && access(key_file, R_OK) == 0)
        return true;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = key ? make_certificate(key) : NULL;
    bool ok = x && write_pem(key_file, key, NULL) && write_pem(cert, key, x);
    if (!ok)
        (void)pst_errf(eb, PST_E_CONFIG, "cannot make a certificate in %s: %s", dir,
                       x ? strerror(errno) : ERR_reason_error_string(ERR_peek_last_error()));
    X509_free(x);
    EVP_PKEY_free(key);
    return ok;
}
