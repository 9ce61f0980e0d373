/* tree.h - reading fields out of msgpack-c's tree, for everything that is not a long list (those:
 * cursor.h).
 *
 * pst_tree_parse walks the bytes before msgpack-c sees them, and so knows how many values there
 * are: one allocation of just that size holds the whole tree.  Texts and blobs are not copied, they
 * point into the bytes. The first error sticks in tree->err; the reads after it give zeros, the
 * caller asks once. */
#ifndef PST_WIRE_TREE_H
#define PST_WIRE_TREE_H

#include <msgpack.h>

#include "wire/msg.h"

typedef struct pst_tree {
    msgpack_zone zone;
    bool live; /* zone is to be destroyed */
    pst_err_t err;
} pst_tree_t;

/* The values of one array that have not been read yet.  More than are asked for are no error. */
typedef struct pst_fields {
    pst_tree_t *tree;
    const msgpack_object *v;
    uint32_t n;
} pst_fields_t;

/* The fields of the array that `bytes` are; none after an error.  Release the tree either way. */
pst_fields_t pst_tree_parse(pst_tree_t *t, pst_view_t bytes, bool floats);
void pst_tree_release(pst_tree_t *t);

void pst_tree_fail(pst_tree_t *t, pst_err_t e);
/* The next field; a nil and PST_E_MALFORMED if there is none. */
const msgpack_object *pst_field(pst_fields_t *f);
uint64_t pst_field_uint(pst_fields_t *f, uint64_t max);
uint32_t pst_field_u32(pst_fields_t *f);
bool pst_field_bool(pst_fields_t *f);
pst_view_t pst_field_str(pst_fields_t *f, size_t max);
/* The same of fields that came later; an empty text, or 0, from who does not know them. */
pst_view_t pst_field_str_if_any(pst_fields_t *f, size_t max);
uint64_t pst_field_uint_if_any(pst_fields_t *f, uint64_t max);
pst_view_t pst_field_bin(pst_fields_t *f, size_t max);
pst_id_t pst_field_id(pst_fields_t *f);
/* A field that is itself an array. */
pst_fields_t pst_field_array(pst_fields_t *f);
/* A field that is a list of at most `max` items, and *ret_v: memory for as many structs of `size`
 * bytes, NULL when empty.  The count is in the answer's n. */
pst_fields_t pst_field_list(pst_fields_t *f, pst_arena_t *a, uint32_t max, size_t size,
                            void **ret_v);

/* One batch summary out of a field. */
pst_batch_info_t pst_field_batch_info(pst_fields_t *f, pst_arena_t *a);

#endif
