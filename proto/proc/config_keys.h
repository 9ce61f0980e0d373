/* config_keys.h - the one table of keys, and the reader it drives.  Private to proc.
 *
 * A section of the table says for each key its type, bounds, help and where its value goes; reading a map of the
 * YAML by a section fills the struct behind it and collects what is wrong.  Nothing stops at the first finding. */
#ifndef PST_CONFIG_KEYS_H
#define PST_CONFIG_KEYS_H

#include "base/arena.h"
#include "base/buf.h"
#include "proc/config.h"
#include "proc/yaml.h"

#define PST_CONFIG_ENDPOINTS_MAX 100000u
#define PST_CONFIG_MODEL_ENDPOINTS_MAX 64u
#define PST_CONFIG_PROVIDERS_MAX 256u

typedef struct pst_reader {
    pst_buf_t findings;
    unsigned count;
    const char *file;      /* name in findings */
    pst_arena_t *strings;  /* where values are kept */
    char path[256];        /* of the map being read: "providers.openai.limits" */
    size_t path_n;
    uint32_t visits;       /* values looked at, aliases followed again and again included */
    const pst_config_provider_t *providers; /* what an endpoint's `provider` may name */
    uint32_t providers_n;
} pst_reader_t;

typedef struct pst_section pst_section_t;
extern const pst_section_t pst_section_root;     /* fills a pst_config_t */
extern const pst_section_t pst_section_provider; /* fills a pst_config_provider_t */
extern const pst_section_t pst_section_endpoint; /* fills a pst_config_endpoint_t */

/* Adds "file:line:column: text" to the findings.  Past the first hundred they are only counted. */
void pst_reader_fail(pst_reader_t *r, const pst_yaml_t *at, const char *fmt, ...) PST_PRINTF(3, 4);
/* Takes all findings, NUL-terminated and malloc'd. */
char *pst_reader_findings(pst_reader_t *r);
/* Goes down by a name; returns what pst_reader_leave takes to come back. */
size_t pst_reader_enter(pst_reader_t *r, pst_view_t name);
void pst_reader_leave(pst_reader_t *r, size_t mark);
/* Reads a map (or null, an empty one) by its section.  False, with a finding, if n is none. */
bool pst_reader_section(pst_reader_t *r, const pst_section_t *s, const pst_yaml_t *n, void *into);
/* One more value looked at.  False, with a finding the first time, when aliases made too many of them. */
bool pst_reader_visit(pst_reader_t *r, const pst_yaml_t *n);
/* A copy that lives as long as the config. */
const char *pst_reader_keep(pst_reader_t *r, pst_view_t v);

/* The value of a key of a map, aliases followed; NULL if n is no map or has no such key. */
const pst_yaml_t *pst_config_value(const pst_yaml_t *n, const char *key);
/* "name" shortened and without control characters, for messages. */
const char *pst_config_show(pst_view_t v, char out[96]);
/* The wire protocols of this build, in words. */
extern const char pst_config_apis[];

#endif
