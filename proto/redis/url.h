/* url.h - where Redis is: unix:///path, redis://[[user]:pass@]host[:port][/db]. */
#ifndef PST_REDIS_URL_H
#define PST_REDIS_URL_H

#include "base/base.h"

typedef struct pst_redis_url {
    bool local;      /* a unix socket: path; else host and port */
    char path[108];  /* as long as sockaddr_un takes */
    char host[256];
    char port[6];
    char user[128];  /* empty: none */
    char pass[256];  /* empty: none; never printed */
    unsigned db;
} pst_redis_url_t;

/* PST_E_CONFIG with words in eb, which never repeat the password. */
PST_MUSTCHECK pst_err_t pst_redis_url_parse(const char *text, pst_redis_url_t *ret, pst_errbuf_t *eb);

#endif
