/* yaml.h - a YAML text as a tree that knows where each thing stands.  Private to proc.
 *
 * libfyaml reads the syntax; this keeps of it what a config needs, in an arena, with bounds on depth and
 * count, so that no text makes more memory than its size warrants.  Repeated keys are kept: the reader of a
 * map names both places.  Aliases stay nodes of their own that point at their target: following one costs
 * nothing here, and the reader bounds how often. */
#ifndef PST_YAML_H
#define PST_YAML_H

#include "base/arena.h"

#define PST_YAML_DEPTH_MAX 16
#define PST_YAML_NODES_MAX 4000000u
#define PST_YAML_ANCHORS_MAX 256

typedef enum pst_yaml_kind { PST_YAML_SCALAR, PST_YAML_LIST, PST_YAML_MAP, PST_YAML_ALIAS } pst_yaml_kind_t;

typedef struct pst_yaml pst_yaml_t;
struct pst_yaml {
    pst_yaml_t *first;     /* LIST: its items; MAP: key, value, key, value …; ALIAS: its target */
    pst_yaml_t *next;      /* the next sibling */
    pst_view_t text;       /* SCALAR: decoded, NUL-terminated */
    uint32_t line, column; /* from 1 */
    uint8_t kind;          /* pst_yaml_kind_t */
    bool quoted;           /* SCALAR: "…", '…', | or >: a string, whatever it looks like */
};

/* Where and why a text is refused. */
typedef struct pst_yaml_fault {
    uint32_t line, column; /* from 1 */
    char text[160];        /* "what is wrong: what to do" */
} pst_yaml_fault_t;

/* *ret is NULL for a text that holds nothing.  The tree lives in the arena and borrows nothing. */
PST_MUSTCHECK pst_err_t pst_yaml_parse(pst_view_t text, pst_arena_t *a, const pst_yaml_t **ret,
                                       pst_yaml_fault_t *fault);
/* n, or what it stands for if it is an alias. */
const pst_yaml_t *pst_yaml_deref(const pst_yaml_t *n);
/* An empty plain scalar, ~ or null. */
bool pst_yaml_is_null(const pst_yaml_t *n);

#endif
