/* msg_decode.c - a frame as a pst_msg_t: the envelope, then what clients and broker say to one
 * another, read from msgpack-c's tree.  The workers' link is link_decode.c, CLUSTER cluster.c.
 *
 * The envelope is read before anything else is asked of the frame: it is what a peer of another
 * version, whose messages may look quite different behind it, has to be told so. */
#include "wire/cursor.h"
#include "wire/fields.h"
#include "wire/tree.h"

static pst_cursor_t read_cursor(pst_fields_t *f)
{
    pst_fields_t pair = pst_field_array(f);
    pst_cursor_t c;
    c.segment = pst_field_u32(&pair);
    c.pack = pst_field_u32(&pair);
    return c;
}

static void read_welcome(pst_fields_t *f, pst_msg_welcome_t *m)
{
    m->heartbeat_ms = pst_field_u32(f);
    m->lost_ms = pst_field_u32(f);
    m->upload_packs = pst_field_u32(f);
    m->upload_bytes = pst_field_u32(f);
}

static void read_refused(pst_fields_t *f, pst_msg_refused_t *m)
{
    m->err = (uint16_t)pst_field_uint(f, UINT16_MAX);
    m->text = pst_field_str(f, PST_MESSAGE_BYTES_MAX);
}

static void read_route(pst_fields_t *f, pst_msg_route_t *m)
{
    m->req = pst_field_u32(f);
    m->url = (uint8_t)pst_field_uint(f, PST_URL_COUNT - 1);
    m->route = pst_field_bin(f, PST_ROUTE_BYTES_MAX);
}

static void read_open(pst_fields_t *f, pst_msg_open_t *m)
{
    m->req = pst_field_u32(f);
    m->batch = pst_field_id(f);
    m->name = pst_field_str(f, PST_NAME_BYTES_MAX);
    m->priority = (uint8_t)pst_field_uint(f, PST_PRIORITY_COUNT - 1);
    m->window_s = pst_field_uint(f, UINT64_MAX);
    m->max_cost_nano = pst_field_uint(f, UINT64_MAX);
    m->idempotency_key = pst_field_str(f, PST_NAME_BYTES_MAX);
    m->metadata = pst_field_str(f, PST_METADATA_BYTES_MAX);
    m->tenant = pst_field_str_if_any(f, PST_NAME_BYTES_MAX);
}

static void read_pack(pst_fields_t *f, pst_msg_pack_t *m)
{
    m->req = pst_field_u32(f);
    m->batch = pst_field_id(f);
    m->segment = pst_field_u32(f);
    m->pack = pst_field_u32(f);
    m->headers = pst_field_bin(f, PST_HEADERS_BYTES_MAX);
    m->bodies = pst_field_bin(f, PST_FRAME_BYTES_MAX);
}

static void read_commit(pst_fields_t *f, pst_msg_commit_t *m)
{
    m->req = pst_field_u32(f);
    m->batch = pst_field_id(f);
    m->packs = pst_field_u32(f);
    m->jobs = pst_field_u32(f);
}

static void read_batch_req(pst_fields_t *f, pst_msg_batch_req_t *m)
{
    m->req = pst_field_u32(f);
    m->batch = pst_field_id(f);
}

static void read_list(pst_fields_t *f, pst_msg_list_t *m)
{
    m->req = pst_field_u32(f);
    m->after = pst_field_id(f);
    m->limit = pst_field_u32(f);
}

static void read_fetch(pst_fields_t *f, pst_msg_fetch_t *m)
{
    m->req = pst_field_u32(f);
    m->batch = pst_field_id(f);
    m->cursor = read_cursor(f);
    m->bytes = pst_field_u32(f);
    m->wait_ms = pst_field_u32(f);
}

static void read_get(pst_fields_t *f, pst_msg_get_t *m)
{
    m->req = pst_field_u32(f);
    m->batch = pst_field_id(f);
    m->by_index = pst_field_bool(f);
    m->index = pst_field_u32(f);
    m->custom_id = pst_field_str(f, PST_CUSTOM_ID_BYTES_MAX);
}

static void read_done(pst_fields_t *f, pst_msg_done_t *m)
{
    m->req = pst_field_u32(f);
    m->err = (uint16_t)pst_field_uint(f, UINT16_MAX);
    m->batch = pst_field_id(f);
    m->accepted = pst_field_bool(f);
    m->text = pst_field_str(f, PST_MESSAGE_BYTES_MAX);
}

static void read_batches(pst_fields_t *f, pst_arena_t *a, pst_msg_batches_t *m)
{
    void *v;
    m->req = pst_field_u32(f);
    pst_fields_t list = pst_field_list(f, a, PST_LIST_MAX, sizeof *m->infos, &v);
    m->infos = v;
    m->infos_n = list.n;
    for (uint32_t i = 0; i < m->infos_n; i++)
        m->infos[i] = pst_field_batch_info(&list, a);
    m->more = pst_field_bool(f);
}

static void read_results(pst_fields_t *f, pst_arena_t *a, pst_msg_results_t *m)
{
    void *v;
    m->req = pst_field_u32(f);
    m->next = read_cursor(f);
    m->ended = pst_field_bool(f);
    pst_fields_t list = pst_field_list(f, a, PST_FETCH_PACKS_MAX, sizeof *m->packs, &v);
    m->packs = v;
    m->packs_n = list.n;
    for (uint32_t i = 0; i < m->packs_n; i++)
        m->packs[i] = pst_field_bin(&list, PST_FRAME_BYTES_MAX);
    m->segments = pst_field_u32(f);
}

static void read_job(pst_fields_t *f, pst_msg_job_t *m)
{
    m->req = pst_field_u32(f);
    m->state = (uint8_t)pst_field_uint(f, PST_STATE_ENDED);
    m->index = pst_field_u32(f);
    m->attempts = pst_field_u32(f);
    m->due_wall_ms = pst_field_uint(f, UINT64_MAX);
    m->pack = pst_field_bin(f, PST_FRAME_BYTES_MAX);
}

static void read_fields(pst_fields_t *f, pst_arena_t *a, pst_msg_t *m)
{
    switch ((pst_msg_type_t)m->type) {
    case PST_MSG_WELCOME: read_welcome(f, &m->u.welcome); break;
    case PST_MSG_PING: break;
    case PST_MSG_BYE:
    case PST_MSG_REFUSED: read_refused(f, &m->u.refused); break;
    case PST_MSG_ROUTE: read_route(f, &m->u.route); break;
    case PST_MSG_OPEN: read_open(f, &m->u.open); break;
    case PST_MSG_PACK: read_pack(f, &m->u.pack); break;
    case PST_MSG_COMMIT: read_commit(f, &m->u.commit); break;
    case PST_MSG_ABORT:
    case PST_MSG_STATUS:
    case PST_MSG_CANCEL:
    case PST_MSG_DELETE: read_batch_req(f, &m->u.batch_req); break;
    case PST_MSG_LIST: read_list(f, &m->u.list); break;
    case PST_MSG_FETCH: read_fetch(f, &m->u.fetch); break;
    case PST_MSG_GET: read_get(f, &m->u.get); break;
    case PST_MSG_DONE: read_done(f, &m->u.done); break;
    case PST_MSG_BATCH:
        m->u.batch.req = pst_field_u32(f);
        m->u.batch.info = pst_field_batch_info(f, a);
        break;
    case PST_MSG_BATCHES: read_batches(f, a, &m->u.batches); break;
    case PST_MSG_RESULTS: read_results(f, a, &m->u.results); break;
    case PST_MSG_JOB: read_job(f, &m->u.job); break;
    case PST_MSG_TOP: m->u.top.req = pst_field_u32(f); break;
    case PST_MSG_ACK: m->u.ack.number = pst_field_uint(f, UINT64_MAX); break;
    case PST_MSG_HELLO:
    case PST_MSG_CAPACITY:
    case PST_MSG_OUTCOMES:
    case PST_MSG_PIECES:
    case PST_MSG_CALL:
    case PST_MSG_PIECE:
    case PST_MSG_TASKS:
    case PST_MSG_REVOKE:
    case PST_MSG_CLUSTER: PST_ASSERT(!"read by the cursor");
    }
}

static pst_err_t decode_tree(pst_view_t frame, pst_arena_t *a, pst_msg_t *m)
{
    pst_tree_t t;
    pst_fields_t f = pst_tree_parse(&t, frame, false);
    for (unsigned i = 0; i < PST_ENVELOPE_FIELDS; i++)
        pst_field(&f);
    read_fields(&f, a, m);
    pst_tree_release(&t);
    return t.err;
}

static void read_call(pst_in_t *c, pst_msg_call_t *m)
{
    m->req = pst_in_u32(c);
    m->batch = pst_in_id(c);
    m->tenant = pst_in_str(c, PST_NAME_BYTES_MAX);
    m->priority = pst_in_u8(c, PST_PRIORITY_COUNT - 1);
    m->max_cost_nano = pst_in_uint(c, UINT64_MAX);
    m->window_ms = pst_in_uint(c, UINT64_MAX);
    m->stream = pst_in_bool(c);
    m->headers = pst_in_bin(c, PST_HEADERS_BYTES_MAX);
    m->bodies = pst_in_bin(c, PST_FRAME_BYTES_MAX);
}

static void read_piece(pst_in_t *c, pst_msg_piece_t *m)
{
    m->req = pst_in_u32(c);
    m->number = pst_in_u32(c);
    m->bytes = pst_in_bin(c, PST_PIECE_BYTES_MAX);
}

/* Long lists, and what comes one a call, many thousand times a second; false, and nothing read, for
 * the others. */
static bool decode_by_cursor(pst_in_t *c, pst_arena_t *a, pst_msg_t *m)
{
    if (m->type == PST_MSG_CALL) {
        read_call(c, &m->u.call);
    } else if (m->type == PST_MSG_PIECE) {
        read_piece(c, &m->u.piece);
    } else if (m->type == PST_MSG_CLUSTER) {
        m->u.cluster.req = pst_in_u32(c);
        pst_in_cluster(c, a, &m->u.cluster.cluster);
    } else {
        return pst_link_decode(c, a, m);
    }
    return true;
}

/* Returns how many fields follow the envelope. */
static uint32_t read_envelope(pst_in_t *c, pst_msg_t *m)
{
    uint32_t fields = pst_in_open(c, PST_ENVELOPE_FIELDS);
    m->version = pst_in_u8(c, UINT8_MAX);
    m->type = pst_in_u8(c, UINT8_MAX);
    m->session = pst_in_uint(c, UINT64_MAX);
    m->epoch = pst_in_uint(c, UINT64_MAX);
    m->seq = pst_in_uint(c, UINT64_MAX);
    return fields;
}

pst_err_t pst_msg_decode(pst_view_t frame, pst_arena_t *a, pst_msg_t *ret)
{
    if (frame.n > PST_FRAME_BYTES_MAX)
        return PST_E_TOO_LARGE;
    pst_in_t c;
    pst_msg_t m = {0};
    pst_in_init(&c, frame);
    uint32_t fields = read_envelope(&c, &m);
    if (c.err != PST_OK)
        return c.err;
    if (m.version != PST_PROTOCOL_VERSION) {
        *ret = m;
        return PST_E_VERSION;
    }
    int known = pst_msg_fields(m.type);
    if (known < 0 || fields < (uint32_t)known)
        return PST_E_MALFORMED;
    pst_err_t e;
    if (decode_by_cursor(&c, a, &m)) {
        pst_in_close(&c, fields - (uint32_t)known);
        e = pst_in_end(&c);
    } else {
        e = decode_tree(frame, a, &m);
    }
    if (e == PST_OK)
        *ret = m;
    return e;
}
