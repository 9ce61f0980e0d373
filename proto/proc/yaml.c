#include "proc/yaml.h"

#include <libfyaml.h>
#include <stdio.h>

#include "base/utf8.h"

typedef struct anchor {
    pst_view_t name;
    pst_yaml_t *node;
} anchor_t;

/* An open list or map and where its next child is hung. */
typedef struct level {
    pst_yaml_t *node;
    pst_yaml_t **tail;
} level_t;

typedef struct build {
    pst_arena_t *arena;
    pst_yaml_t *root;
    level_t level[PST_YAML_DEPTH_MAX];
    unsigned depth;
    uint32_t nodes;
    unsigned documents;
    anchor_t anchor[PST_YAML_ANCHORS_MAX];
    unsigned anchors;
    uint32_t line, column; /* where the last thing stood, for what has no place of its own */
    pst_yaml_fault_t *fault;
} build_t;

static pst_err_t refuse(build_t *b, const char *text)
{
    b->fault->line = b->line;
    b->fault->column = b->column;
    snprintf(b->fault->text, sizeof b->fault->text, "%s", text);
    return PST_E_CONFIG;
}

/* Length of the UTF-8 sequence at p if YAML allows its character, else 0.  libfyaml ends a scalar at a bad
 * byte without a word, so a text is looked at before it. */
static size_t printable(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80)
        return (p[0] >= 0x20 && p[0] != 0x7f) || p[0] == '\t' || p[0] == '\n' || p[0] == '\r';
    uint32_t c;
    size_t len = pst_utf8_decode(p, n, &c);
    bool control = c < 0xa0 && c != 0x85;
    return control || c == 0xfffe || c == 0xffff ? 0 : len;
}

static pst_err_t check_characters(build_t *b, pst_view_t text)
{
    const unsigned char *p = (const unsigned char *)text.p;
    b->line = b->column = 1;
    for (size_t i = 0; i < text.n;) {
        size_t len = printable(p + i, text.n - i);
        if (len == 0)
            return refuse(b, "a byte that is not printable UTF-8: save the file as UTF-8 text");
        b->column++;
        if (p[i] == '\n') {
            b->line++;
            b->column = 1;
        }
        i += len;
    }
    return PST_OK;
}

static pst_yaml_t *add(build_t *b, pst_yaml_kind_t kind)
{
    if (b->nodes >= PST_YAML_NODES_MAX)
        return NULL;
    pst_yaml_t *n = pst_arena_get(b->arena, sizeof *n);
    if (!n)
        return NULL;
    *n = (pst_yaml_t){.kind = (uint8_t)kind, .line = b->line, .column = b->column};
    b->nodes++;
    if (b->depth == 0) {
        b->root = n;
    } else {
        level_t *l = &b->level[b->depth - 1];
        *l->tail = n;
        l->tail = &n->next;
    }
    return n;
}

static pst_view_t token_text(struct fy_token *t)
{
    size_t n = 0;
    const char *p = t ? fy_token_get_text(t, &n) : NULL;
    return pst_view(p, p ? n : 0);
}

/* Tags would change a value's type behind the reader's back. */
static pst_err_t check_tag(build_t *b, struct fy_token *tag)
{
    return tag ? refuse(b, "tags (!…) have no meaning here: remove it") : PST_OK;
}

static pst_err_t remember(build_t *b, struct fy_token *anchor, pst_yaml_t *node)
{
    if (!anchor)
        return PST_OK;
    if (b->anchors == PST_YAML_ANCHORS_MAX)
        return refuse(b, "more than 256 anchors: write some of them out");
    pst_view_t name = pst_arena_copy(b->arena, token_text(anchor));
    if (!name.p)
        return PST_E_NOMEM;
    b->anchor[b->anchors++] = (anchor_t){name, node};
    return PST_OK;
}

static pst_err_t too_many(build_t *b)
{
    if (b->nodes < PST_YAML_NODES_MAX)
        return PST_E_NOMEM;
    return refuse(b, "more than 4,000,000 values: a config must be smaller than that");
}

static pst_err_t add_scalar(build_t *b, const struct fy_event *e)
{
    pst_err_t err = check_tag(b, e->scalar.tag);
    if (err)
        return err;
    pst_yaml_t *n = add(b, PST_YAML_SCALAR);
    if (!n)
        return too_many(b);
    n->text = pst_arena_copy(b->arena, token_text(e->scalar.value));
    if (!n->text.p)
        return PST_E_NOMEM;
    n->quoted = e->scalar.value && fy_token_scalar_style(e->scalar.value) != FYSS_PLAIN;
    return remember(b, e->scalar.anchor, n);
}

static pst_err_t open_level(build_t *b, pst_yaml_kind_t kind, struct fy_token *tag,
                            struct fy_token *anchor)
{
    pst_err_t err = check_tag(b, tag);
    if (err)
        return err;
    if (b->depth == PST_YAML_DEPTH_MAX)
        return refuse(b, "nested more than 16 deep: a config has no such depth");
    pst_yaml_t *n = add(b, kind);
    if (!n)
        return too_many(b);
    b->level[b->depth++] = (level_t){n, &n->first};
    return remember(b, anchor, n);
}

/* The latest anchor of a name counts, as YAML says. */
static pst_err_t add_alias(build_t *b, struct fy_token *token)
{
    pst_view_t name = token_text(token);
    for (unsigned i = b->anchors; i-- > 0;) {
        if (!pst_view_eq(b->anchor[i].name, name))
            continue;
        pst_yaml_t *n = add(b, PST_YAML_ALIAS);
        if (!n)
            return too_many(b);
        n->first = b->anchor[i].node;
        return PST_OK;
    }
    return refuse(b, "an alias (*…) of an anchor (&…) that does not stand before it");
}

/* libfyaml's marks of a quoted scalar and of an alias stand behind the quote and the star. */
static void set_place(build_t *b, struct fy_event *e)
{
    const struct fy_mark *m = fy_event_start_mark(e);
    if (!m)
        return;
    enum fy_scalar_style style = FYSS_PLAIN;
    if (e->type == FYET_SCALAR && e->scalar.value)
        style = fy_token_scalar_style(e->scalar.value);
    bool behind =
        e->type == FYET_ALIAS || style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
    b->line = (uint32_t)m->line + 1;
    b->column = (uint32_t)m->column + (behind && m->column > 0 ? 0 : 1);
}

static pst_err_t take(build_t *b, struct fy_event *e)
{
    set_place(b, e);
    switch (e->type) {
    case FYET_DOCUMENT_START:
        return b->documents++ ? refuse(b, "a second document (---): a config is one document")
                              : PST_OK;
    case FYET_SCALAR:
        return add_scalar(b, e);
    case FYET_SEQUENCE_START:
        return open_level(b, PST_YAML_LIST, e->sequence_start.tag, e->sequence_start.anchor);
    case FYET_MAPPING_START:
        return open_level(b, PST_YAML_MAP, e->mapping_start.tag, e->mapping_start.anchor);
    case FYET_ALIAS:
        return add_alias(b, e->alias.anchor);
    case FYET_SEQUENCE_END:
    case FYET_MAPPING_END:
        b->depth--;
        return PST_OK;
    case FYET_NONE:
    case FYET_STREAM_START:
    case FYET_STREAM_END:
    case FYET_DOCUMENT_END:
        return PST_OK;
    }
    return PST_OK;
}

/* The text of line `line` of the input, for a look at what stands there. */
static pst_view_t line_of(pst_view_t text, uint32_t line)
{
    const char *p = text.p, *end = text.p + text.n;
    while (line > 1 && p < end) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        if (!nl)
            return pst_view(NULL, 0);
        p = nl + 1;
        line--;
    }
    const char *nl = memchr(p, '\n', (size_t)(end - p));
    return pst_view(p, (size_t)((nl ? nl : end) - p));
}

/* libfyaml's first finding in our form. */
static pst_err_t syntax(build_t *b, struct fy_diag *diag, pst_view_t text)
{
    void *prev = NULL;
    const struct fy_diag_error *e = fy_diag_errors_iterate(diag, &prev);
    if (e && e->line > 0) {
        b->line = (uint32_t)e->line;
        b->column = (uint32_t)PST_MAX(e->column, 1);
    }
    pst_view_t line = line_of(text, b->line);
    bool reference = line.n && memmem(line.p, line.n, "${", 2);
    char what[120];
    snprintf(what, sizeof what, "%s: %s", e && e->msg ? e->msg : "not YAML",
             reference ? "inside { } a ${VARIABLE} needs quotes around it" : "mend the YAML");
    return refuse(b, what);
}

static pst_err_t parse(build_t *b, pst_view_t text, struct fy_diag *diag)
{
    struct fy_parse_cfg cfg = {
        .flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE,
        .diag = diag,
    };
    struct fy_parser *parser = fy_parser_create(&cfg);
    if (!parser)
        return PST_E_NOMEM;
    pst_err_t err = fy_parser_set_string(parser, text.p, text.n) ? PST_E_NOMEM : PST_OK;
    b->line = b->column = 1;
    while (!err) {
        struct fy_event *e = fy_parser_parse(parser);
        if (!e)
            break;
        err = take(b, e);
        fy_parser_event_free(parser, e);
    }
    if (!err && fy_parser_get_stream_error(parser))
        err = syntax(b, diag, text);
    fy_parser_destroy(parser);
    return err;
}

pst_err_t pst_yaml_parse(pst_view_t text, pst_arena_t *a, const pst_yaml_t **ret,
                         pst_yaml_fault_t *fault)
{
    build_t b = {.arena = a, .fault = fault};
    pst_err_t err = check_characters(&b, text);
    if (err)
        return err;
    if (text.n == 0) {
        *ret = NULL;
        return PST_OK;
    }
    struct fy_diag_cfg cfg;
    fy_diag_cfg_default(&cfg);
    cfg.fp = NULL;
    struct fy_diag *diag = fy_diag_create(&cfg);
    if (!diag)
        return PST_E_NOMEM;
    fy_diag_set_collect_errors(diag, true);
    err = parse(&b, text, diag);
    fy_diag_destroy(diag);
    if (!err)
        *ret = b.root;
    return err;
}

const pst_yaml_t *pst_yaml_deref(const pst_yaml_t *n)
{
    return n->kind == PST_YAML_ALIAS ? n->first : n;
}

bool pst_yaml_is_null(const pst_yaml_t *n)
{
    return n->kind == PST_YAML_SCALAR && !n->quoted &&
           (n->text.n == 0 || pst_view_eqs(n->text, "~") || pst_view_eqs(n->text, "null"));
}
